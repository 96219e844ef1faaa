"""Each person's probabilities averaged over time, for each face by itself."""

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
        self, keys: NDArray[np.int64], probabilities: NDArray[np.float32], timestamp: float
    ) -> NDArray[np.float32]:
        """Fold ``probabilities`` (n, k) into the means of the tracks ``keys`` (n,); return those means.

        Each track has a mean of its own, ``m += (1 - exp(-dt / seconds)) * (p - m)``, that starts at
        its first probabilities. The result is float32 (n, k).
        """
        means = np.array(probabilities, np.float32)
        for key, mean in zip(keys.tolist(), means, strict=True):
            before = self._means.get(key)
            if before is not None and self.seconds > 0:
                kept = math.exp(-max(0.0, timestamp - before.timestamp) / self.seconds)
                mean += kept * (before.probabilities - mean)
            self._means[key] = _Mean(mean, timestamp)
        return means.copy()

    def keep(self, keys: NDArray[np.int64]) -> None:
        """Forget the means of all tracks but ``keys`` (m,)."""
        kept = set(keys.tolist())
        self._means = {key: mean for key, mean in self._means.items() if key in kept}
