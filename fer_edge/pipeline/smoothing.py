"""Each person's probabilities, and other figures, averaged over time for each face by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class _Mean:
    probabilities: NDArray[np.float32]
    timestamp: float


class Smoother:
    """Exponential means of the probabilities of tracks.

    ``seconds``: time constant; 0 switches the smoothing off. Being in seconds, it means the same at
    any frame rate. Raises ``ValueError`` for one that is negative or not finite.
    """

    def __init__(self, seconds: float = 0.4) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"smoothing must be 0 or more seconds, got {seconds}")
        self.seconds = seconds
        self._means: dict[int, _Mean] = {}

    def update(
        self,
        keys: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        timestamp: float,
        classified: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Fold ``probabilities`` (m, k) into the means of the tracks ``keys`` (n,); return all those means.

        ``classified`` (n,): the m tracks that the probabilities belong to, in order; ``None``: all. A new
        track must be among them. Each track has a mean of its own,
        ``m += (1 - exp(-dt / seconds)) * (p - m)``, that starts at its first probabilities; ``dt`` is the
        time since its last ones, so that the mean is as fast where they come seldom. The result is float32
        (n, k).
        """
        due = keys if classified is None else keys[classified]
        for key, new in zip(due.tolist(), np.array(probabilities, np.float32), strict=True):
            mean, before = new, self._means.get(key)
            if before is not None and self.seconds > 0:
                kept = math.exp(-max(0.0, timestamp - before.timestamp) / self.seconds)
                mean = new + np.float32(kept) * (before.probabilities - new)
            self._means[key] = _Mean(mean, timestamp)
        means = np.empty((len(keys), probabilities.shape[1]), np.float32)
        for row, key in zip(means, keys.tolist(), strict=True):
            row[:] = self._means[key].probabilities
        return means

    def keep(self, keys: NDArray[np.int64]) -> None:
        """Forget the means of all tracks but ``keys`` (m,)."""
        kept = set(keys.tolist())
        self._means = {key: mean for key, mean in self._means.items() if key in kept}
