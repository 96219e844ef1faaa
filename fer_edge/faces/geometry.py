"""From a face detector's box to the square the classifier was trained on; stated here and nowhere else.

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


def eye_angles(landmarks: ArrayLike) -> NDArray[np.float64]:
    """Return the angle of the line through the eyes of each face, in radians.

    ``landmarks`` is (n, 5, 2) or (n, k, 2) with k > 1: x, y in pixels, the right eye first, then the
    left one, as the person has them, which is YuNet's order. The result is float64 (n,), from -pi to
    pi: 0 where the eyes are level and the person's left one is on the right of the image, positive
    where it is lower (clockwise). Eyes in the same place give 0. A square turned by this angle has the
    eyes level; see ``angles`` of :func:`fer_edge.kernels.crop.crop_faces`. Raises ``ValueError`` for
    another shape and for eyes that are not finite.
    """
    array = np.asarray(landmarks, dtype=np.float64)
    if array.size == 0:
        return np.empty(0)
    if array.ndim != 3 or array.shape[1] < 2 or array.shape[2] != 2:
        raise ValueError(f"landmarks must be (n, 5, 2): x, y, the two eyes first; got shape {array.shape}")
    across, down = (array[:, 1] - array[:, 0]).T
    if not (np.isfinite(across) & np.isfinite(down)).all():
        raise ValueError("the landmarks of the eyes must be finite")
    angles: NDArray[np.float64] = np.arctan2(down, across)
    return angles


def centre_square(width: int, height: int) -> NDArray[np.float64]:
    """Return the largest centred square of an image, float64 (1, 3): x, y of its corner, side, in pixels."""
    side = min(width, height)
    return np.array([[(width - side) / 2, (height - side) / 2, side]], np.float64)
