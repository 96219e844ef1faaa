"""Equal exposure and contrast of faces: ``ext/normalize.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..constants import FACE_SIZE

CONTRAST_MEAN = 128
CONTRAST_DEVIATION = 48
CONTRAST_CENTRE = 24, 27
CONTRAST_RADII = 13, 16
GAIN_BITS = 12
GAIN_LIMIT = (1 << 16) - 1
LEVEL_BITS = 3
_CONTRAST_BATCH = 64  # faces at once, whose numbers stay in the processor's cache


def _contrast_part() -> NDArray[np.bool_]:
    """Which pixels (48,48) have their centre in the ellipse."""
    across, down = (2 * np.arange(FACE_SIZE) + 1 - 2 * centre for centre in CONTRAST_CENTRE)
    width, height = CONTRAST_RADII
    inside: NDArray[np.bool_] = (across * height) ** 2 + (down[:, np.newaxis] * width) ** 2 <= (
        2 * width * height
    ) ** 2
    return inside


_CONTRAST_PART = _contrast_part()
CONTRAST_PIXELS = int(_CONTRAST_PART.sum())


def _normalized(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Levels of grey (n,48,48), each face with its mean and deviation brought to the fixed ones."""
    part = levels[:, _CONTRAST_PART].astype(np.int64)
    sums, squares = part.sum(axis=1), (part * part).sum(axis=1)
    # Doubles hold these numbers exactly, and their roots, rounded correctly, are whole only for squares.
    deviations = np.sqrt(CONTRAST_PIXELS * squares - sums * sums).astype(np.int64)
    wanted = (CONTRAST_DEVIATION * CONTRAST_PIXELS) << GAIN_BITS
    exact = (wanted + deviations // 2) // np.maximum(deviations, 1)
    gains = np.where(deviations == 0, GAIN_LIMIT, np.minimum(exact, GAIN_LIMIT))
    multiplied = sums * gains // CONTRAST_PIXELS >> (GAIN_BITS - LEVEL_BITS)
    black = multiplied - ((CONTRAST_MEAN << LEVEL_BITS) + (1 << (LEVEL_BITS - 1)))
    products = levels * gains.astype(np.int32)[:, np.newaxis, np.newaxis] >> (GAIN_BITS - LEVEL_BITS)
    products -= black.astype(np.int32)[:, np.newaxis, np.newaxis]
    return (products >> LEVEL_BITS).clip(0, 255).astype(np.uint8)


def normalize_contrast(faces: NDArray[np.generic], kind: int) -> None:
    """``fer_normalize_contrast``: faces n*48*48 of ``kind``."""
    numbers = faces.reshape(-1, FACE_SIZE, FACE_SIZE)
    for start in range(0, len(numbers), _CONTRAST_BATCH):
        some = numbers[start : start + _CONTRAST_BATCH]
        if kind == 2:
            floats = some.view(np.float32)
            # 2^17, whose last bit is a 64th, and the 2 of level 128.
            sums = floats + np.float32(131074)
            levels = _normalized(sums.view(np.uint32).astype(np.uint8))
            np.subtract(levels, 128, out=floats, dtype=np.float32)
            floats /= 64
        else:
            sign = np.uint8(0x80 if kind == 1 else 0)
            levels = some.view(np.uint8)
            levels[...] = _normalized(levels ^ sign) ^ sign
