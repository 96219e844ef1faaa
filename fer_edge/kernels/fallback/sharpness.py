"""How sharp faces are: ``ext/sharpness.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..constants import FACE_SIZE

_PART = np.s_[:, 10:44, 10:38]  # with a pixel around what is measured


def _spreads(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each of (n,h,w) its size times the sum of squared deviations from the mean, (n,).

    Doubles hold all sums of 832 whole numbers up to 510 exactly.
    """
    count, height, width = numbers.shape
    rows = numbers.reshape(count, height * width)
    sums = rows.sum(axis=1)
    spreads: NDArray[np.float64] = rows.shape[1] * np.einsum("ij,ij->i", rows, rows) - sums * sums
    return spreads


def measure_sharpness(faces: NDArray[np.generic], kind: int, out: NDArray[np.float64]) -> None:
    """``fer_measure_sharpness``: faces n*48*48 of ``kind``, out (n,)."""
    part = faces.reshape(-1, FACE_SIZE, FACE_SIZE)[_PART]
    # Neither differences nor variances depend on which level is 0.
    levels = part.astype(np.float64)
    if kind == 2:
        sums = part.astype(np.float32) + np.float32(131074)
        levels = sums.view(np.uint32).astype(np.uint8).astype(np.float64)
    middle = levels[:, 1:-1, 1:-1]
    across = 2 * middle - levels[:, 1:-1, :-2] - levels[:, 1:-1, 2:]
    down = 2 * middle - levels[:, :-2, 1:-1] - levels[:, 2:, 1:-1]
    contrast, finest = _spreads(middle), np.minimum(_spreads(across), _spreads(down))
    out[...] = finest / np.where(contrast == 0, np.inf, contrast)
