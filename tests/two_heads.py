"""A classifier whose answers a test writes down, to count figures by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS
from fer_edge.models.people import People

STEP = 20
"""Grey levels between a picture's mean for one answer and that for the next."""


def shares(**said: float) -> list[float]:
    """A distribution over the nine answers of people; what is not named gets 0."""
    return [said.get(name, 0.0) for name in PEOPLE_ANSWERS]


def face(answer: int) -> np.ndarray:
    """An even grey 48x48 picture to which :class:`TwoHeads` gives its ``answer``-th answer."""
    return np.full((48, 48), STEP * answer + 10, np.uint8)


class TwoHeads:
    """Answers each face by its mean grey level, as two tables say; ``votes`` None: an older export."""

    model, backend, precision = "edge", "litert", "int8"
    file = SimpleNamespace(path=Path("edge-int8.tflite"))

    def __init__(self, labels, votes=None, people: People | None = None) -> None:
        self._tables = {"people": votes, "fer2013": labels}
        self._tables = {name: np.array(table, np.float32) for name, table in self._tables.items() if table}
        self.heads = tuple(self._tables)
        self.people = people
        self.largest_block = 0

    def distributions(self, faces):
        assert faces.dtype == np.uint8
        assert faces.shape[1:] == (48, 48)
        self.largest_block = max(self.largest_block, len(faces))
        answers = (faces.mean((1, 2)) // STEP).astype(int)
        return {name: table[answers] for name, table in self._tables.items()}


def sure_of_each() -> TwoHeads:
    """The i-th answer is the i-th emotion, with 0.9 by the labels and nine votes of ten by people."""
    labels = (np.full((7, 7), 0.1 / 6) + np.eye(7) * (0.9 - 0.1 / 6)).tolist()
    votes = [shares(**{emotion: 0.9, "unknown": 0.1}) for emotion in EMOTIONS]
    return TwoHeads(labels, votes, People((1 / 7,) * 7, 0.5, 0.5))
