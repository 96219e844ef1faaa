"""How bright a picture and the faces in it are, from a few of their pixels.

A mean of samples costs a few microseconds however large the picture is. docs/measures.md says how the limits
were chosen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .faces import Faces

DARK = 40.0
"""Mean grey level of a face below which its emotion is recognized less well: noise is all that is left."""

BRIGHT = 195.0
"""Mean grey level of a face above which it is recognized less well, too: much of it is white."""

_ROWS, _COLUMNS = 12, 16
"""Samples of a picture, at least."""

_OF_FACE = 8
"""Rows, and columns, of samples of a face, at least."""


def brightness(image: NDArray[np.uint8]) -> float:
    """Return the mean brightness of ``image``, uint8 (h, w, 3) or (h, w): 0 black to 255 white.

    Of colours it is the mean of the three channels. It is taken of every so many-th row and column.
    """
    down, across = max(image.shape[0] // _ROWS, 1), max(image.shape[1] // _COLUMNS, 1)
    return _mean(image[down // 2 :: down, across // 2 :: across])


def with_brightness(image: NDArray[np.uint8], faces: Faces) -> Faces:
    """Return the ``faces`` of ``image`` with the brightness of each.

    It is that of the middle half of the box in both directions: cheeks, nose and eyes without hair and
    background, which is what a window behind a person would brighten. NaN where that lies outside of the
    picture.
    """
    found = np.full(len(faces), np.nan, np.float32)
    for row, (x, y, width, height) in enumerate(faces.boxes.tolist()):
        left, top = max(round(x + width / 4), 0), max(round(y + height / 4), 0)
        right, bottom = round(x + 0.75 * width), round(y + 0.75 * height)
        down, across = max((bottom - top) // _OF_FACE, 1), max((right - left) // _OF_FACE, 1)
        samples = image[top : max(bottom, 0) : down, left : max(right, 0) : across]
        if samples.size:
            found[row] = _mean(samples)
    return replace(faces, brightness=found)


def _mean(samples: NDArray[np.uint8]) -> float:
    # Twice as fast as mean(), which would convert to float64 first.
    return int(np.add.reduce(samples, axis=None, dtype=np.uint32)) / samples.size
