"""Pauses between attempts that fail, which grow and differ by chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

JITTER = 0.2
"""Part by which a pause is longer or shorter by chance: many devices are not to ask one server at once."""


def varied(seconds: float, chance: Callable[[], float] = random.random, jitter: float = JITTER) -> float:
    """Return ``seconds``, up to the part ``jitter`` more or less. ``chance`` returns a number in [0, 1)."""
    return seconds * (1 + jitter * (2 * chance() - 1))


class Backoff:
    """Gives one of the ``pauses`` (seconds) after the other, and the last for ever; see :func:`varied`."""

    def __init__(
        self, pauses: Sequence[float], chance: Callable[[], float] = random.random, jitter: float = JITTER
    ) -> None:
        self._pauses, self._chance, self._jitter = pauses, chance, jitter
        self._attempts = 0

    def pause(self) -> float:
        """Return the seconds to wait before the next attempt."""
        pause = self._pauses[min(self._attempts, len(self._pauses) - 1)]
        self._attempts += 1
        return varied(pause, self._chance, self._jitter)

    def reset(self) -> None:
        """Begin anew with the first pause."""
        self._attempts = 0
