"""From YuNet's outputs to faces, with the results of OpenCV's FaceDetectorYN."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .network import STRIDES

COLUMNS = 15
"""Of a face: box x, y, width, height; five landmarks x, y; score."""

NMS_IOU = 0.3
CANDIDATES_KEPT = 500

_LARGEST_LOGIT = 15.0
"""Single precision knows no probability between that of this logit and 1."""


def decode(
    outputs: Sequence[NDArray[np.float32]], height: int, width: int, min_score: float
) -> NDArray[np.float32]:
    """Return the faces, (n, 15), best first, in pixels of the network's input of ``height`` and ``width``.

    ``outputs``: for each stride (cells, 16), see :data:`~.network.CHANNELS`. The score is the geometric
    mean of the probabilities of class and objectness; ``min_score`` is the least, 0 to 1. Of faces that
    overlap by more than :data:`NMS_IOU` the best is left.
    """
    # Neither probability is above 1, so each is at least the squared score.
    least = min_score * min_score
    logit = -np.inf if least == 0 else np.log(least) - np.log1p(-least) if least < 1 else np.inf
    logit = min(logit, _LARGEST_LOGIT)
    faces = []
    for stride, output, cells in zip(STRIDES, outputs, _cells(height, width), strict=True):
        likely = np.flatnonzero(np.minimum(output[:, 0], output[:, 1]) >= logit)
        if likely.size:
            faces.append(_faces(output[likely], cells[likely], stride))
    if not faces:
        return np.empty((0, COLUMNS), np.float32)
    found = np.concatenate(faces)
    return best(found[found[:, 14] >= np.float32(min_score)])


def _faces(output: NDArray[np.float32], cells: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    faces = np.empty((len(output), COLUMNS), np.float32)
    # At logits below -80 the exponential overflows to infinity, which makes the right probability, 0.
    with np.errstate(over="ignore"):
        class_, objectness = (1 + np.exp(-output[:, :2])).T
        np.sqrt(1 / (class_ * objectness), out=faces[:, 14])
    sizes = np.exp(output[:, 4:6]) * stride
    faces[:, :2] = cells + output[:, 2:4] * stride - sizes / 2
    faces[:, 2:4] = sizes
    landmarks = output[:, 6:].reshape(-1, 5, 2) * stride + cells[:, np.newaxis]
    faces[:, 4:14] = landmarks.reshape(-1, 10)
    return faces


@lru_cache(maxsize=8)
def _cells(height: int, width: int) -> list[NDArray[np.float32]]:
    """For each stride x and y of the cells' corners, (cells, 2)."""
    grids = []
    for stride in STRIDES:
        y, x = np.mgrid[0:height:stride, 0:width:stride]
        grids.append(np.stack([x.ravel(), y.ravel()], 1).astype(np.float32))
    return grids


def best(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``faces``, (n, 15), best first, without those that overlap a better one too much.

    As OpenCV does, the overlap is that of boxes whose numbers lost their fractions, and no more than
    :data:`CANDIDATES_KEPT` are looked at. A single face counts whatever its box.
    """
    if len(faces) < 2:
        return faces
    faces = faces[np.argsort(-faces[:, 14], kind="stable")[:CANDIDATES_KEPT]]
    boxes = np.trunc(faces[:, :4])
    corners = boxes[:, :2] + boxes[:, 2:]
    areas = boxes[:, 2] * boxes[:, 3]
    kept = []
    rest = np.arange(len(faces))
    while rest.size:
        first, rest = rest[0], rest[1:]
        kept.append(first)
        shared = np.minimum(corners[first], corners[rest]) - np.maximum(boxes[first, :2], boxes[rest, :2])
        overlap = np.maximum(shared, 0).prod(axis=1)
        rest = rest[overlap <= NMS_IOU * (areas[first] + areas[rest] - overlap)]
    return faces[kept]
