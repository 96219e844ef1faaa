"""What sessions amount to: measures, comparisons, and the page that shows them."""
