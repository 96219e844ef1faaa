"""From a face detector's box to the square the classifier was trained on; the only place that knows.

The figures are medians over 746 faces of the FER-2013 PublicTest images that YuNet finds when they
are enlarged and padded: a training square has a side of 1.14 times the geometric mean of the box's
width and height, and the box's centre lies at (0.500, 0.495) of that side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIDE_PER_BOX = 1.14
"""Side of the training square over the geometric mean of the box's width and height."""

BOX_CENTRE = (0.500, 0.495)
"""Where the box's centre lies in the training square, as (x, y) fractions of its side."""


def training_squares(boxes: ArrayLike) -> NDArray[np.float64]:
    """Return the training square of each detector box.

    ``boxes`` is (n, 4): x, y of the top-left corner, width, height, in pixels. The result is
    float64 (n, 3): x, y of the square's top-left corner and its side, in pixels. Squares may leave
    the frame; the crop replicates the border. Raises ``ValueError`` for another shape and for a
    width or height that is not positive.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 3))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must be (n, 4): x, y, width, height; got shape {array.shape}")
    sizes = array[:, 2:]
    if not (sizes > 0).all():
        raise ValueError("boxes must have a positive width and height")
    sides = SIDE_PER_BOX * np.sqrt(sizes.prod(axis=1, keepdims=True))
    corners = array[:, :2] + sizes / 2 - np.array(BOX_CENTRE) * sides
    return np.concatenate([corners, sides], axis=1)


def centre_square(width: int, height: int) -> NDArray[np.float64]:
    """Return the largest centred square of an image, float64 (1, 3): x, y of its corner, side, in pixels."""
    side = min(width, height)
    return np.array([[(width - side) / 2, (height - side) / 2, side]], np.float64)
