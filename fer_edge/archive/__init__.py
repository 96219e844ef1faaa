"""Many films at once, cut into segments, by several processes or machines."""
