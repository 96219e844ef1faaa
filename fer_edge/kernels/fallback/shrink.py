"""A frame made smaller: ``ext/shrink.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..constants import RGB
from .area import WEIGHT_BITS, Spans, area_spans


def _shrinking_spans(size: int, to: int) -> Spans:
    edges = float(size) * np.arange(to + 1, dtype=np.float64) / to
    return area_spans(edges[:-1], edges[1:], size / to, size)


_BLOCK = 1 << 16  # samples at once, which stay in the processor's cache


def _weigh(samples: NDArray[np.unsignedinteger], spans: Spans, shift: int) -> NDArray[np.uint16]:
    """The weighed sums over the first axis of (size,n), one for each of ``spans``, less ``shift`` bits."""
    sums = np.empty((len(spans.first), samples.shape[1]), np.uint16)
    step = max(1, _BLOCK // samples.shape[1])
    for start in range(0, len(sums), step):
        block = slice(start, start + step)
        _weigh_block(samples, Spans(*(numbers[block] for numbers in spans)), shift, sums[block])
    return sums


def _weigh_block(
    samples: NDArray[np.unsignedinteger], spans: Spans, shift: int, out: NDArray[np.uint16]
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
    samples = _weigh(flat, _shrinking_spans(height, rows), WEIGHT_BITS - 8)
    turned = np.ascontiguousarray(samples.T).reshape(width, -1)
    means = _weigh(turned, _shrinking_spans(width, columns), WEIGHT_BITS + 8)
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
    _shrunk(frame, out[:, :, ::-1] if order == RGB else out)


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
