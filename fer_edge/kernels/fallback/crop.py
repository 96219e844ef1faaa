"""Faces cut out of a frame: ``ext/crop.c``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..constants import FACE_SIZE, RGB
from .area import ONE, WEIGHT_BITS, Spans, area_spans, floor_within

_GREY_BITS = 15
_GREY_OF_BGR = np.array([3735, 19235, 9798], dtype=np.int64)
_ROTATION_BITS = 16
_PATCH_STEP = 8
_PATCH_LIMIT = 200


def _linear_spans(centre: NDArray[np.float64], size: int) -> Spans:
    first = floor_within(centre, size)
    alone = (centre <= 0) | (centre >= size - 1)
    fraction = np.where(alone, 0.0, centre - first)
    w_last = (fraction * ONE + 0.5).astype(np.int64)
    return Spans(first, np.where(alone, first, first + 1), ONE - w_last, np.zeros_like(first), w_last)


def _axis_spans(origin: float, side: float, size: int) -> Spans:
    steps = np.arange(FACE_SIZE + 1, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        if side >= FACE_SIZE:
            edges = origin + side * steps / FACE_SIZE
            return area_spans(edges[:-1], edges[1:], side / FACE_SIZE, size)
        return _linear_spans(origin + side * (steps[:-1] + 0.5) / FACE_SIZE - 0.5, size)


def _weigh_rows(frame: NDArray[np.uint8], spans: Spans) -> NDArray[np.int64]:
    """(h,w,c) to 8.8 samples, a row for each of the ``spans``."""
    out = np.empty((len(spans.first), *frame.shape[1:]), dtype=np.int64)
    for y, (first, last, w_first, w_middle, w_last) in enumerate(zip(*spans, strict=True)):
        # NumPy 1 would multiply bytes by a scalar in the smallest integers that hold the scalar.
        np.multiply(frame[first], w_first, out=out[y], dtype=np.int64)
        out[y] += np.multiply(frame[last], w_last, dtype=np.int64)
        if last - first > 1:
            out[y] += frame[first + 1 : last].sum(axis=0, dtype=np.int64) * w_middle
    return (out + (1 << (WEIGHT_BITS - 9))) >> (WEIGHT_BITS - 8)


def _weigh_columns(grey: NDArray[np.int64], spans: Spans) -> NDArray[np.int64]:
    """8.8 samples (n,w) to grey levels, a column for each of the ``spans``."""
    up_to = np.cumsum(grey, axis=1)
    before_last = up_to[:, spans.last] - grey[:, spans.last]
    middle = np.where(spans.first < spans.last, before_last - up_to[:, spans.first], 0)
    ends = grey[:, spans.first] * spans.w_first + grey[:, spans.last] * spans.w_last
    return (ends + middle * spans.w_middle + (1 << (WEIGHT_BITS + 7))) >> (WEIGHT_BITS + 8)


def _grey(samples: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """(n,w,c) to (n,w)."""
    if samples.shape[2] == 1:
        return samples[:, :, 0]
    weights = _GREY_OF_BGR[::-1] if order == RGB else _GREY_OF_BGR
    return samples @ weights >> _GREY_BITS


def _cut(frame: NDArray[np.uint8], order: int, across: Spans, down: Spans) -> NDArray[np.int64]:
    left = across.first[0]
    across = across._replace(first=across.first - left, last=across.last - left)
    samples = _weigh_rows(frame[:, left : left + across.last[-1] + 1], down)
    return _weigh_columns(_grey(samples, order), across)


def _rotation_step(length: float) -> int:
    half = float(1 << (_ROTATION_BITS - 1))
    return 2 * (int(min(max(length, -1.0), 1.0) * half + (half + 0.5)) - (1 << (_ROTATION_BITS - 1)))


def _patch_spans(origin: float, side: float, frame: int, size: int) -> tuple[Spans, int]:
    middle = origin + side / 2
    cells = np.arange(size + 1, dtype=np.float64) - size // 2
    if side >= FACE_SIZE:
        cell = min(side, 1e300) / (2 * FACE_SIZE)
        edges = middle + cell * cells
        return area_spans(edges[:-1], edges[1:], cell, frame), (size - 1) << (_ROTATION_BITS - 1)
    centre = min(max(middle, -_PATCH_LIMIT), frame + _PATCH_LIMIT) - 0.5
    first = int(centre + 2 * _PATCH_LIMIT) - 2 * _PATCH_LIMIT - (size // 2 - 1)
    pixels = floor_within(first + np.arange(size, dtype=np.float64), frame)
    nothing = np.zeros_like(pixels)
    spans = Spans(pixels, pixels, nothing + ONE, nothing, nothing)
    return spans, int((centre - first) * (1 << _ROTATION_BITS) + 0.5)


def _sample_patch(
    patch: NDArray[np.int64], fine: int, x: NDArray[np.int64], y: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(n,n) to (48,48): the means of the ``fine``**2 samples at ``x`` and ``y`` (fine*48,fine*48)."""
    column, row = x >> _ROTATION_BITS, y >> _ROTATION_BITS
    right, down = x >> (_ROTATION_BITS - 8) & 255, y >> (_ROTATION_BITS - 8) & 255
    above = patch[row, column] * (256 - right) + patch[row, column + 1] * right
    below = patch[row + 1, column] * (256 - right) + patch[row + 1, column + 1] * right
    samples = above * (256 - down) + below * down
    sums: NDArray[np.int64] = samples.reshape(FACE_SIZE, fine, FACE_SIZE, fine).sum(axis=(1, 3))
    shift = 18 if fine == 2 else 16
    return (sums + (1 << (shift - 1))) >> shift


def _crop_rotated(
    frame: NDArray[np.uint8], order: int, square: Sequence[float], rotation: Sequence[float]
) -> NDArray[np.int64]:
    x, y, side = square
    step, fine = (side / FACE_SIZE, 1) if side < FACE_SIZE else (1.0, 2)
    dx, dy = (_rotation_step(step * part) for part in rotation)
    last = fine * FACE_SIZE - 1
    cells = last * (abs(dx) + abs(dy)) >> _ROTATION_BITS
    size = (cells + 3 + _PATCH_STEP - 1) // _PATCH_STEP * _PATCH_STEP
    across, centre_x = _patch_spans(x, side, frame.shape[1], size)
    down, centre_y = _patch_spans(y, side, frame.shape[0], size)
    i, j = np.arange(last + 1), np.arange(last + 1)[:, np.newaxis]
    at_x = centre_x - last * ((dx - dy) // 2) + i * dx - j * dy
    at_y = centre_y - last * ((dx + dy) // 2) + i * dy + j * dx
    return _sample_patch(_cut(frame, order, across, down), fine, at_x, at_y)


def _crop_upright(frame: NDArray[np.uint8], order: int, square: Sequence[float]) -> NDArray[np.int64]:
    x, y, side = square
    return _cut(frame, order, _axis_spans(x, side, frame.shape[1]), _axis_spans(y, side, frame.shape[0]))


def crop_faces(
    frame: NDArray[np.uint8],
    order: int,
    squares: NDArray[np.float64],
    rotations: NDArray[np.float64] | None,
    kind: int,
    out: NDArray[np.generic],
) -> None:
    """``fer_crop_faces``: frame (h,w,c), squares (n,3), rotations (n,2), out n*48*48 of ``kind``."""
    faces = out.view((np.uint8, np.int8, np.float32)[kind]).reshape(-1, FACE_SIZE, FACE_SIZE)
    directions = [[1.0, 0.0]] * len(squares) if rotations is None else rotations.tolist()
    for face, square, rotation in zip(faces, squares.tolist(), directions, strict=True):
        upright = rotation == [1.0, 0.0]
        grey = (
            _crop_upright(frame, order, square) if upright else _crop_rotated(frame, order, square, rotation)
        )
        if kind == 0:
            face[:] = grey
        elif kind == 1:
            face[:] = grey - 128
        else:
            face[:] = (grey - 128) / 64


def crop_usual(frame: object, squares: object, out: object, layout: object) -> bool:
    """There is no short cut here: leaves everything to checks and ``crop_faces``."""
    return False
