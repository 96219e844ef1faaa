"""From frames to recognized faces: single pictures, and the loop over a source."""
