"""The emotions in FER-2013 code order and the FER+ columns they map to; stated here and nowhere else."""

from __future__ import annotations

from typing import Literal

Labels = Literal["people", "fer2013"]
"""Which question a model answers: what ten people would say (FER+), or the label of 2013."""

LABELS: tuple[Labels, ...] = ("people", "fer2013")

VOTERS = 10
"""People who were asked about each face of FER+."""

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

PEOPLE_ANSWERS: tuple[str, ...] = (*EMOTIONS, "contempt", "unknown")
"""What people can say of a face, in the order of a model's output: FER+'s columns but ``NF``."""

VOTE_OF_ANSWER: tuple[int, ...] = tuple(
    VOTE_COLUMNS.index(name) if code >= len(EMOTIONS) else VOTE_OF_EMOTION[code]
    for code, name in enumerate(PEOPLE_ANSWERS)
)
"""For each of :data:`PEOPLE_ANSWERS` the index of its column in :data:`VOTE_COLUMNS`."""

ANSWERS: dict[Labels, tuple[str, ...]] = {"people": PEOPLE_ANSWERS, "fer2013": EMOTIONS}
"""What each output of a model chooses among, in its order; their numbers differ and tell outputs apart."""
