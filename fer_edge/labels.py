"""The emotions in FER-2013 code order and the FER+ columns they map to; stated here and nowhere else."""

from __future__ import annotations

EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Index = FER-2013 code."""

VOTE_COLUMNS: tuple[str, ...] = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
"""Columns of a FER+ votes file; ``NF`` means "not a face"."""

VOTE_OF_EMOTION: tuple[int, ...] = (4, 5, 6, 1, 3, 2, 0)
"""For each emotion the index of its column in :data:`VOTE_COLUMNS`."""
