"""Detector, tracker, and the geometry of a face crop."""
