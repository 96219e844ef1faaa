"""The C kernels of ext/kernels.h in NumPy, for machines without a compiler: same bytes, same faults.

Every step is integer arithmetic as in the C, or IEEE double arithmetic by the same operations in
the same order. The explanations are in kernels.h.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import factorial
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

_FACE_SIZE = 48
FACE_PIXELS = _FACE_SIZE * _FACE_SIZE

# ---------------------------------------------------------------- faces out of a frame

_WEIGHT_BITS = 15
_ONE = 1 << _WEIGHT_BITS
_GREY_BITS = 15
_GREY_OF_BGR = np.array([3735, 19235, 9798], dtype=np.int64)
_ORDER_RGB = 2
_ROTATION_BITS = 16
_PATCH_STEP = 8
_PATCH_LIMIT = 200


class _Spans(NamedTuple):
    """What each output pixel takes from one axis; all int64 (n,)."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    w_first: NDArray[np.int64]
    w_middle: NDArray[np.int64]
    w_last: NDArray[np.int64]


def _floor_within(t: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    return np.clip(np.floor(t), 0, size - 1).astype(np.int64)


def _area_spans(start: NDArray[np.float64], stop: NDArray[np.float64], scale: float, size: int) -> _Spans:
    first = _floor_within(start, size)
    last = _floor_within(stop, size)
    last = np.maximum(first, last - (last >= stop))
    alone = first == last

    density = _ONE / scale
    between = np.maximum(0, last - first - 1)
    middle = np.minimum(int(density), _ONE // np.maximum(1, between))
    rest = _ONE - between * middle
    head = ((first + 1).astype(np.float64) - np.where(alone, first, start)) * density + 0.5
    w_first = np.minimum(head, rest).astype(np.int64)
    w_first[alone] = _ONE
    middle[alone] = 0
    return _Spans(first, last, w_first, middle, np.where(alone, 0, rest - w_first))


def _linear_spans(centre: NDArray[np.float64], size: int) -> _Spans:
    first = _floor_within(centre, size)
    alone = (centre <= 0) | (centre >= size - 1)
    fraction = np.where(alone, 0.0, centre - first)
    w_last = (fraction * _ONE + 0.5).astype(np.int64)
    return _Spans(first, np.where(alone, first, first + 1), _ONE - w_last, np.zeros_like(first), w_last)


def _axis_spans(origin: float, side: float, size: int) -> _Spans:
    steps = np.arange(_FACE_SIZE + 1, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        if side >= _FACE_SIZE:
            edges = origin + side * steps / _FACE_SIZE
            return _area_spans(edges[:-1], edges[1:], side / _FACE_SIZE, size)
        return _linear_spans(origin + side * (steps[:-1] + 0.5) / _FACE_SIZE - 0.5, size)


def _weigh_rows(frame: NDArray[np.uint8], spans: _Spans) -> NDArray[np.int64]:
    """(h,w,c) to 8.8 samples, a row for each of the ``spans``."""
    out = np.empty((len(spans.first), *frame.shape[1:]), dtype=np.int64)
    for y, (first, last, w_first, w_middle, w_last) in enumerate(zip(*spans, strict=True)):
        # NumPy 1 would multiply bytes by a scalar in the smallest integers that hold the scalar.
        np.multiply(frame[first], w_first, out=out[y], dtype=np.int64)
        out[y] += np.multiply(frame[last], w_last, dtype=np.int64)
        if last - first > 1:
            out[y] += frame[first + 1 : last].sum(axis=0, dtype=np.int64) * w_middle
    return (out + (1 << (_WEIGHT_BITS - 9))) >> (_WEIGHT_BITS - 8)


def _weigh_columns(grey: NDArray[np.int64], spans: _Spans) -> NDArray[np.int64]:
    """8.8 samples (n,w) to grey levels, a column for each of the ``spans``."""
    up_to = np.cumsum(grey, axis=1)
    before_last = up_to[:, spans.last] - grey[:, spans.last]
    middle = np.where(spans.first < spans.last, before_last - up_to[:, spans.first], 0)
    ends = grey[:, spans.first] * spans.w_first + grey[:, spans.last] * spans.w_last
    return (ends + middle * spans.w_middle + (1 << (_WEIGHT_BITS + 7))) >> (_WEIGHT_BITS + 8)


def _grey(samples: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """(n,w,c) to (n,w)."""
    if samples.shape[2] == 1:
        return samples[:, :, 0]
    weights = _GREY_OF_BGR[::-1] if order == _ORDER_RGB else _GREY_OF_BGR
    return samples @ weights >> _GREY_BITS


def _cut(frame: NDArray[np.uint8], order: int, across: _Spans, down: _Spans) -> NDArray[np.int64]:
    left = across.first[0]
    across = across._replace(first=across.first - left, last=across.last - left)
    samples = _weigh_rows(frame[:, left : left + across.last[-1] + 1], down)
    return _weigh_columns(_grey(samples, order), across)


def _rotation_step(length: float) -> int:
    half = float(1 << (_ROTATION_BITS - 1))
    return 2 * (int(min(max(length, -1.0), 1.0) * half + (half + 0.5)) - (1 << (_ROTATION_BITS - 1)))


def _patch_spans(origin: float, side: float, frame: int, size: int) -> tuple[_Spans, int]:
    middle = origin + side / 2
    cells = np.arange(size + 1, dtype=np.float64) - size // 2
    if side >= _FACE_SIZE:
        cell = min(side, 1e300) / (2 * _FACE_SIZE)
        edges = middle + cell * cells
        return _area_spans(edges[:-1], edges[1:], cell, frame), (size - 1) << (_ROTATION_BITS - 1)
    centre = min(max(middle, -_PATCH_LIMIT), frame + _PATCH_LIMIT) - 0.5
    first = int(centre + 2 * _PATCH_LIMIT) - 2 * _PATCH_LIMIT - (size // 2 - 1)
    pixels = _floor_within(first + np.arange(size, dtype=np.float64), frame)
    nothing = np.zeros_like(pixels)
    spans = _Spans(pixels, pixels, nothing + _ONE, nothing, nothing)
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
    sums: NDArray[np.int64] = samples.reshape(_FACE_SIZE, fine, _FACE_SIZE, fine).sum(axis=(1, 3))
    shift = 18 if fine == 2 else 16
    return (sums + (1 << (shift - 1))) >> shift


def _crop_rotated(
    frame: NDArray[np.uint8], order: int, square: Sequence[float], rotation: Sequence[float]
) -> NDArray[np.int64]:
    x, y, side = square
    step, fine = (side / _FACE_SIZE, 1) if side < _FACE_SIZE else (1.0, 2)
    dx, dy = (_rotation_step(step * part) for part in rotation)
    last = fine * _FACE_SIZE - 1
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
    faces = out.view((np.uint8, np.int8, np.float32)[kind]).reshape(-1, _FACE_SIZE, _FACE_SIZE)
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


# ---------------------------------------------------------------- exposure and contrast of faces

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
    across, down = (2 * np.arange(_FACE_SIZE) + 1 - 2 * centre for centre in CONTRAST_CENTRE)
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
    numbers = faces.reshape(-1, _FACE_SIZE, _FACE_SIZE)
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


# ---------------------------------------------------------------- a frame made smaller


def _shrinking_spans(size: int, to: int) -> _Spans:
    edges = float(size) * np.arange(to + 1, dtype=np.float64) / to
    return _area_spans(edges[:-1], edges[1:], size / to, size)


_BLOCK = 1 << 16  # samples at once, which stay in the processor's cache


def _weigh(samples: NDArray[np.unsignedinteger], spans: _Spans, shift: int) -> NDArray[np.uint16]:
    """The weighed sums over the first axis of (size,n), one for each of ``spans``, less ``shift`` bits."""
    sums = np.empty((len(spans.first), samples.shape[1]), np.uint16)
    step = max(1, _BLOCK // samples.shape[1])
    for start in range(0, len(sums), step):
        block = slice(start, start + step)
        _weigh_block(samples, _Spans(*(numbers[block] for numbers in spans)), shift, sums[block])
    return sums


def _weigh_block(
    samples: NDArray[np.unsignedinteger], spans: _Spans, shift: int, out: NDArray[np.uint16]
) -> None:
    def weighed(part: NDArray[np.unsignedinteger], weights: NDArray[np.int64]) -> NDArray[np.uint32]:
        product: NDArray[np.uint32] = np.multiply(
            part, weights.astype(np.uint32)[:, np.newaxis], dtype=np.uint32
        )
        return product

    sums = weighed(samples.take(spans.first, 0), spans.w_first)
    between = np.maximum(spans.last - spans.first - 1, 0)
    common, most = int(between.min()), int(between.max())
    if spans.w_last.any():
        sums += weighed(samples.take(spans.last, 0), spans.w_last)
    if common:
        narrow = samples.dtype == np.uint8 and common <= 257
        middle: NDArray[np.unsignedinteger] = samples.take(spans.first + 1, 0).astype(
            np.uint16 if narrow else np.uint32
        )
        for index in range(2, common + 1):
            middle += samples.take(spans.first + index, 0)
        sums += weighed(middle, spans.w_middle)
    for index in range(common + 1, most + 1):
        part = samples.take(np.minimum(spans.first + index, spans.last), 0)
        sums += weighed(part, np.where(index <= between, spans.w_middle, 0))
    sums += np.uint32(1 << (shift - 1))
    sums >>= np.uint32(shift)
    out[...] = sums


def _area_means(frame: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint16]:
    """(h,w,c) to (columns,c,rows): so turned, both axes are weighed in long rows of memory."""
    height, width, channels = frame.shape
    # Of rows that are apart, every `take` would copy all.
    flat = np.require(frame.reshape(height, -1), requirements="C")
    samples = _weigh(flat, _shrinking_spans(height, rows), _WEIGHT_BITS - 8)
    turned = np.ascontiguousarray(samples.T).reshape(width, -1)
    means = _weigh(turned, _shrinking_spans(width, columns), _WEIGHT_BITS + 8)
    return means.reshape(columns, channels, rows)


_ROUNDLESS = (1, 2, 4, 8, 16)
"""Ratios whose weights and 8.8 samples are exact, so that there is one rounding, at the end."""


def _block_means(frame: NDArray[np.uint8], down: int, across: int) -> NDArray[np.uint16]:
    """(h,w,c) to (h / down,w,c): the means of blocks that begin at each column; both of :data:`_ROUNDLESS`.

    Those of a row's last columns, which lack pixels, are no means.
    """
    height, width, channels = frame.shape
    flat = frame.reshape(height, -1)
    sums = flat[::down].astype(np.uint16)
    for row in range(1, down):
        sums += flat[row::down]
    reach = channels
    while reach < across * channels:
        sums[:, :-reach] += sums[:, reach:]
        reach *= 2
    sums += np.uint16(down * across // 2)
    sums >>= np.uint16((down * across).bit_length() - 1)
    return sums.reshape(height // down, width, channels)


def _ratio(size: int, to: int) -> int:
    """How many samples become one, of :data:`_ROUNDLESS`; 0 for others."""
    return size // to if size % to == 0 and size // to in _ROUNDLESS else 0


def _shrunk(frame: NDArray[np.uint8], out: NDArray[np.generic]) -> None:
    """Channels (h,w,c) to (h,w,c) of any numbers; a grey frame to each channel of ``out``."""
    rows, columns, samples = out.shape
    down, across = _ratio(frame.shape[0], rows), _ratio(frame.shape[1], columns)
    if down and across:
        means = _block_means(frame, down, across)[:, ::across]
    else:
        means = _area_means(frame, rows, columns).transpose(2, 0, 1)
    for channel in range(samples):
        out[:, :, channel] = means[:, :, channel % frame.shape[2]]


def shrink(frame: NDArray[np.uint8], order: int, out: NDArray[np.generic]) -> None:
    """``fer_shrink``: frame (h,w,c), out (h,w,3) of uint8, float32 or int8."""
    if out.dtype == np.int8:
        shrink(frame, order, levels := out.view(np.uint8))
        levels ^= 0x80
        return
    _shrunk(frame, out[:, :, ::-1] if order == _ORDER_RGB else out)


_YUV_BITS = 14
_LUMA, _BLUE_OF_U, _GREEN_OF_U, _GREEN_OF_V, _RED_OF_V = 19071, 33063, -6406, -13320, 26149


def shrink_yuv(
    luma: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8], out: NDArray[np.generic]
) -> None:
    """``fer_shrink_yuv``: luma (h,w,1), u and v (h,w), out (h,w,3) of uint8, float32 or int8."""
    if out.dtype == np.int8:
        shrink_yuv(luma, u, v, levels := out.view(np.uint8))
        levels ^= 0x80
        return
    planes = np.empty((3, *out.shape[:2]), np.uint8)
    for plane, samples in zip(planes, (luma, u[:, :, np.newaxis], v[:, :, np.newaxis]), strict=True):
        _shrunk(samples, plane[:, :, np.newaxis])
    light = np.maximum(planes[0].astype(np.int32) - 16, 0) * _LUMA
    light += 1 << (_YUV_BITS - 1)
    from_u, from_v = planes[1:].astype(np.int32) - 128
    for channel, sums in enumerate(
        (
            light + from_u * _BLUE_OF_U,
            light + from_u * _GREEN_OF_U + from_v * _GREEN_OF_V,
            light + from_v * _RED_OF_V,
        )
    ):
        out[:, :, channel] = (sums >> _YUV_BITS).clip(0, 255)


# ---------------------------------------------------------------- faces out of the detector's outputs

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


# ---------------------------------------------------------------- FER-2013 text to pixels

_USAGE_LIMIT = 32

OK = 0
EMPTY_ROW = 1
LONG_LINE = 2
OPEN_QUOTE = 3
FIELD_COUNT = 4
LABEL = 5
PIXEL_TEXT = 6
PIXEL_RANGE = 7
PIXEL_COUNT = 8
USAGE = 9

_BLANKS = b" \t"
_QUOTED = re.compile(rb'"((?:[^"]|"")*+)"[ \t]*(?=,|\Z)')
_BLANK_RUN = re.compile(rb"[ \t]*")
_TOKEN = re.compile(rb"[^ \t]+")
_USAGE_TEXT = re.compile(rb"[ !#-~]*")


class _FaultError(Exception):
    """A fault in a line: its kind, its offset in the line, its detail."""

    def __init__(self, kind: int, offset: int, detail: int = 0) -> None:
        super().__init__(kind, offset, detail)
        self.kind = kind
        self.offset = offset
        self.detail = detail


class _Slice(NamedTuple):
    """A field without its quotes and the blanks around it, and its offset in the line."""

    text: bytes
    offset: int


def _trimmed(line: bytes, start: int, end: int) -> _Slice:
    text = line[start:end].lstrip(_BLANKS)
    return _Slice(text.rstrip(_BLANKS), end - len(text))


def _split_line(line: bytes, columns: int) -> list[_Slice]:
    fields: list[_Slice] = []
    position = 0
    while True:
        start = cast("re.Match[bytes]", _BLANK_RUN.match(line, position)).end()
        if line[start : start + 1] == b'"':
            match = _QUOTED.match(line, start)
            if match is None:
                raise _FaultError(OPEN_QUOTE, start, len(fields))
            fields.append(_trimmed(line, *match.span(1)))
            position = match.end()
        else:
            comma = line.find(b",", start)
            position = comma if comma >= 0 else len(line)
            fields.append(_trimmed(line, start, position))
        if position == len(line):
            break
        position += 1
    if len(fields) != columns:
        raise _FaultError(FIELD_COUNT, 0, len(fields))
    return fields


def _parse_usual_pixels(text: bytes) -> NDArray[np.uint8] | None:
    """2304 numbers of at most three digits and 255 between single spaces, or None for any other text."""
    characters = np.frombuffer(text, dtype=np.uint8)
    ends = np.append(np.flatnonzero(characters == ord(" ")), characters.size)
    if ends.size != FACE_PIXELS:
        return None
    digits = characters - np.uint8(ord("0"))
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() < 1 or lengths.max() > 3 or np.count_nonzero(digits > 9) != FACE_PIXELS - 1:
        return None
    values = digits[ends - 1].astype(np.int64)
    values += 10 * np.where(lengths > 1, digits[ends - 2], np.uint8(0)).astype(np.int64)
    values += 100 * np.where(lengths > 2, digits[ends - 3], np.uint8(0)).astype(np.int64)
    return values.astype(np.uint8) if values.max() <= 255 else None


def _parse_pixels(field: _Slice) -> NDArray[np.uint8]:
    usual = _parse_usual_pixels(field.text)
    if usual is not None:
        return usual
    values = bytearray()
    for match in _TOKEN.finditer(field.text):
        token = match.group()
        index, offset = len(values) + 1, field.offset + match.start()
        if index > FACE_PIXELS:
            found = FACE_PIXELS + sum(1 for _ in _TOKEN.finditer(field.text, match.start()))
            raise _FaultError(PIXEL_COUNT, offset, found)
        digits = len(token) - len(token.lstrip(b"0123456789"))
        if digits > 3:
            raise _FaultError(PIXEL_RANGE, offset, index)
        if digits < len(token):
            raise _FaultError(PIXEL_TEXT, offset, index)
        if int(token) > 255:
            raise _FaultError(PIXEL_RANGE, offset, index)
        values.append(int(token))
    if len(values) != FACE_PIXELS:
        raise _FaultError(PIXEL_COUNT, field.offset + len(field.text), len(values))
    return np.frombuffer(values, dtype=np.uint8)


def _parse_line(
    line: bytes,
    layout: tuple[int, int, int, int, int],
    pixels: NDArray[np.uint8],
    label: NDArray[np.int8],
    usage: NDArray[np.uint8],
) -> None:
    """Fill pixels (2304,), label (1,) and usage (32,)."""
    columns, label_at, pixels_at, usage_at, line_limit = layout
    if len(line) > line_limit:
        raise _FaultError(LONG_LINE, 0)
    if not line.strip(_BLANKS):
        raise _FaultError(EMPTY_ROW, 0)
    fields = _split_line(line, columns)
    if label_at >= 0:
        code = fields[label_at]
        if len(code.text) != 1 or code.text not in b"0123456":
            raise _FaultError(LABEL, code.offset)
        label[0] = int(code.text)
    pixels[:] = _parse_pixels(fields[pixels_at])
    if usage_at >= 0:
        text, offset = fields[usage_at]
        if len(text) > _USAGE_LIMIT or not _USAGE_TEXT.fullmatch(text):
            raise _FaultError(USAGE, offset)
        usage[:] = np.frombuffer(text.ljust(_USAGE_LIMIT, b"\0"), dtype=np.uint8)


def parse_rows(
    text: NDArray[np.uint8],
    final: bool,
    layout: tuple[int, int, int, int, int],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int8],
    usages: NDArray[np.uint8],
) -> tuple[int, int, int, int, int, int]:
    """``fer_parse_rows``: layout (columns, label, pixels, usage, line_limit), the outputs one row a line.

    Returns (rows, consumed, fault, line_end, offset, detail).
    """
    data = text.tobytes()
    line_limit = layout[4]
    rows = consumed = 0
    while rows < len(pixels) and consumed < len(data):
        feed = data.find(b"\n", consumed)
        end, following = (feed, feed + 1) if feed >= 0 else (len(data), len(data))
        line = data[consumed:end].removesuffix(b"\r")
        if feed < 0 and not final and len(line) <= line_limit:
            break
        try:
            _parse_line(line, layout, pixels[rows], labels[rows : rows + 1], usages[rows])
        except _FaultError as fault:
            return rows, consumed, fault.kind, following, consumed + fault.offset, fault.detail
        rows += 1
        consumed = following
    return rows, consumed, OK, 0, 0, 0
