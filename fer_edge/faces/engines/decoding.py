"""From YuNet's outputs to faces, with the results of OpenCV's FaceDetectorYN."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ... import kernels
from ...kernels.fallback.decode import FACE_NUMBERS, FACES_LIMIT

_LARGEST_LOGIT = 15.0
"""Single precision knows no probability between that of this logit and 1."""
_MARGIN = 0.001


def decode(
    outputs: Sequence[NDArray[np.float32]], height: int, width: int, min_score: float
) -> NDArray[np.float32]:
    """Return the faces, (n, 15), best first, in pixels of the network's input of ``height`` and ``width``.

    Each is box x, y, width, height; five landmarks x, y; score. ``outputs``: for each stride (cells, 16), see
    :data:`~.network.CHANNELS`. The score is the geometric mean of the probabilities of class and objectness;
    ``min_score`` is the least, 0 to 1. Of faces that overlap by more than ``NMS_IOU`` the best is left;
    only the best ``FACES_LIMIT`` are looked at.
    """
    # Neither probability is above 1, so each is at least the squared score.
    least = min_score * min_score
    logit = -math.inf if least == 0 else math.log(least) - math.log1p(-least) if least < 1 else math.inf
    faces = np.empty((FACES_LIMIT, FACE_NUMBERS), np.float32)
    count = kernels.implementation.decode_faces(
        tuple(outputs), height, width, min(logit, _LARGEST_LOGIT) - _MARGIN, min_score, faces
    )
    return faces[:count].copy()
