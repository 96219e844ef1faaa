"""Whose turn it is to be classified: each person every few frames, and not all in the same frame."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

CLASSIFY_EVERY = 3
"""On live sources each person is classified in one frame of so many. At 30 a second expressions last longer
than the 0.1 s between, and over 0.4 s they are averaged anyway."""

_PITCH_EVERY = 3
"""So many times as seldom pitch is measured: it takes half as long as the classifier, and heads that stay
bent for less than the 0.3 s between are not what attention is about."""


def pitch_every(classify_every: int) -> int:
    """In one of how many frames a person's pitch is measured; in each where each is classified in each."""
    return classify_every if classify_every == 1 else _PITCH_EVERY * classify_every


class Turns:
    """Classification by turns: a new track at once, then each in one frame of ``every``."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._frame = 0
        self._next: dict[int, int] = {}
        """The frame in which each track is due."""

    @property
    def every(self) -> int:
        """In one of so many frames each is due; may be changed between two frames."""
        return self._every

    @every.setter
    def every(self, every: int) -> None:
        self._every = every
        # Who waits for longer than that need not any more.
        latest = self._frame + every - 1
        self._next = {key: min(due, latest) for key, due in self._next.items()}

    def take(self, keys: NDArray[np.int64], sparse: bool = False) -> NDArray[np.bool_]:
        """Return which of the tracks ``keys`` (n,) of the next frame are due, bool (n,).

        ``sparse``: so long after the frame before that all are.
        """
        if sparse:
            self._next = {}
        due = np.array([self._next.get(key, 0) <= self._frame for key in keys.tolist()], np.bool_)
        for key in keys[due].tolist():
            self._next[key] = self._frame + (self.every if key in self._next else self._free_place())
        self._frame += 1
        return due

    def keep(self, keys: NDArray[np.int64]) -> None:
        """Forget all tracks but ``keys`` (m,)."""
        kept = set(keys.tolist())
        self._next = {key: due for key, due in self._next.items() if key in kept}

    def _free_place(self) -> int:
        """In how many frames, at most ``every``, the fewest tracks are due; the latest of such frames."""
        load = Counter(self._next.values())
        # Among one more than there are tracks, one is free; ``every`` may be any number.
        places = range(self._every, max(0, self._every - len(self._next) - 1), -1)
        return min(places, key=lambda ahead: load[self._frame + ahead])


class Latest:
    """What was measured of each track when it was last due."""

    def __init__(self) -> None:
        self._measured: dict[int, float] = {}

    def update(
        self, keys: NDArray[np.int64], due: NDArray[np.bool_], measured: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Take what was ``measured`` (m,) of those of the tracks ``keys`` (n,) that are ``due``, bool (n,).

        Returns the latest of each track, float32 (n,), NaN where it was never measured.
        """
        self._measured.update(zip(keys[due].tolist(), measured.tolist(), strict=True))
        return np.array([self._measured.get(key, np.nan) for key in keys.tolist()], np.float32)

    def keep(self, keys: NDArray[np.int64]) -> None:
        """Forget all tracks but ``keys`` (m,)."""
        kept = set(keys.tolist())
        self._measured = {key: value for key, value in self._measured.items() if key in kept}
