"""Means over areas of a frame: what ``ext/area.h`` is to crops and smaller frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WEIGHT_BITS = 15
ONE = 1 << WEIGHT_BITS
"""The sum of an output pixel's weights."""


class Spans(NamedTuple):
    """What each output pixel takes from one axis; all int64 (n,)."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    w_first: NDArray[np.int64]
    w_middle: NDArray[np.int64]
    w_last: NDArray[np.int64]


def floor_within(t: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """The pixels in which positions ``t`` lie, of an axis of ``size``."""
    return np.clip(np.floor(t), 0, size - 1).astype(np.int64)


def area_spans(start: NDArray[np.float64], stop: NDArray[np.float64], scale: float, size: int) -> Spans:
    """What areas from ``start`` to ``stop``, each ``scale`` long, take from an axis of ``size`` pixels."""
    first = floor_within(start, size)
    last = floor_within(stop, size)
    last = np.maximum(first, last - (last >= stop))
    alone = first == last

    density = ONE / scale
    between = np.maximum(0, last - first - 1)
    middle = np.minimum(int(density), ONE // np.maximum(1, between))
    rest = ONE - between * middle
    head = ((first + 1).astype(np.float64) - np.where(alone, first, start)) * density + 0.5
    w_first = np.minimum(head, rest).astype(np.int64)
    w_first[alone] = ONE
    middle[alone] = 0
    return Spans(first, last, w_first, middle, np.where(alone, 0, rest - w_first))
