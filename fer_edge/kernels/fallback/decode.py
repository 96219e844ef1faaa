"""Faces out of the detector's outputs: ``ext/decode.c``."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

FACES_LIMIT, FACE_NUMBERS = 500, 15
NMS_IOU = 0.3

_SERIES = tuple(1.0 / factorial(k) for k in range(12, -1, -1))


def _exponential(numbers: NDArray[np.float32]) -> NDArray[np.float64]:
    x = np.maximum(numbers, -88).astype(np.float64)
    above = numbers > 88
    x[above] = 0
    n = np.floor(x * 1.4426950408889634 + 0.5)
    r = x - n * 0.693145751953125 - n * 1.4286068203094173e-06
    sums = np.full_like(r, _SERIES[0])
    for term in _SERIES[1:]:
        sums = sums * r + term
    powers = np.ldexp(sums, np.nan_to_num(n).astype(np.int32))
    powers[above] = np.inf
    return powers


def _candidates(
    output: NDArray[np.float32], columns: int, stride: int, min_logit: np.float32
) -> NDArray[np.float32]:
    places = np.flatnonzero((output[:, 0] >= min_logit) & (output[:, 1] >= min_logit))
    faces = np.empty((len(places), FACE_NUMBERS), np.float32)
    if not len(places):
        return faces
    values = output[places]
    corners = (np.stack([places % columns, places // columns], 1) * stride).astype(np.float32)
    improbable = 1.0 + _exponential(-values[:, :2])
    faces[:, 14] = np.sqrt(1.0 / (improbable[:, 0] * improbable[:, 1]))
    faces[:, 2:4] = _exponential(values[:, 4:6]).astype(np.float32) * np.float32(stride)
    faces[:, :2] = corners + values[:, 2:4] * np.float32(stride) - faces[:, 2:4] / np.float32(2)
    points = values[:, 6:].reshape(-1, 5, 2) * np.float32(stride) + corners[:, np.newaxis]
    faces[:, 4:14] = points.reshape(-1, 10)
    return faces


def _best(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    faces = faces[np.argsort(-faces[:, 14], kind="stable")[:FACES_LIMIT]]
    boxes = np.trunc(faces[:, :4])
    corners = boxes[:, :2] + boxes[:, 2:]
    areas = boxes[:, 2] * boxes[:, 3]
    kept = []
    rest = np.arange(len(faces))
    while rest.size:
        first, rest = rest[0], rest[1:]
        kept.append(first)
        shared = np.minimum(corners[first], corners[rest]) - np.maximum(boxes[first, :2], boxes[rest, :2])
        shared = np.maximum(shared, np.float32(0))
        overlap = shared[:, 0] * shared[:, 1]
        rest = rest[overlap <= np.float32(NMS_IOU) * (areas[first] + areas[rest] - overlap)]
    return faces[kept]


def decode_faces(
    outputs: tuple[NDArray[np.float32], ...],
    height: int,
    width: int,
    min_logit: float,
    min_score: float,
    out: NDArray[np.float32],
) -> int:
    """``fer_decode_faces``: three outputs (cells,16), out (500,15); returns the number of faces."""
    # Overflows, and what is no number, are sorted out at the end.
    with np.errstate(over="ignore", invalid="ignore"):
        faces = np.concatenate(
            [
                _candidates(output, width // stride, stride, np.float32(min_logit))
                for output, stride in zip(outputs, (8, 16, 32), strict=True)
            ]
        )
        likely = np.isfinite(faces).all(axis=1) & (faces[:, 14] >= np.float32(min_score))
        best = _best(faces[likely])
    out[: len(best)] = best
    return len(best)
