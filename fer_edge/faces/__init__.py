"""Detector, tracker, the geometry of a face crop, and labelled pictures of faces."""
