"""How much is asked of devices; read before anything else is loaded."""

HISTORY = 10_080
"""Rows of each table that are asked of a device that is new: a camera's week of minutes."""

MOST_ASKS = 16
"""Questions that wait for their answers, of all devices together."""
