"""Visits counted from the seconds of which they consist, as the store counts them from frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS
from ..store.tally import SMILE, SMILE_SEEN
from .material import Codes, Counts, Floats, People, Seconds

_HAPPY = EMOTIONS.index("happy")


def visits_of(seconds: Seconds, source: Codes, track: Counts, size: Floats) -> People:
    """The visits (n,) that have these seconds, each of which has some, as the store would count them."""
    count = len(source)
    seen = totals(seconds.person, seconds.seen, count)
    shares = np.stack(
        [
            totals(seconds.person, seconds.seen * seconds.shares[:, i], count) / seen
            for i in range(len(EMOTIONS))
        ],
        axis=1,
    )
    began = np.full(count, np.iinfo(np.int64).max)
    ended = np.zeros(count, np.int64)
    np.minimum.at(began, seconds.person, seconds.began)
    np.maximum.at(ended, seconds.person, seconds.began + 1000)
    judged = seconds.seen >= SMILE_SEEN / 1000
    happy = seconds.shares[:, _HAPPY]
    smile = np.full(count, -1.0)
    np.maximum.at(smile, seconds.person[judged], happy[judged])
    first = np.full(count, np.inf)
    smiling = judged & (happy >= SMILE)
    np.minimum.at(first, seconds.person[smiling], seconds.began[smiling].astype(np.float64))
    return People(
        source=source,
        track=track,
        began=began,
        ended=ended,
        seen=seen,
        unsure=totals(seconds.person, seconds.unsure, count),
        attention=totals(seconds.person, seconds.attention, count),
        unclear=totals(seconds.person, seconds.unclear, count),
        shares=shares.astype(np.float32),
        smile=np.where(smile < 0, shares[:, _HAPPY], smile),
        first_smile=np.where(np.isinf(first), np.nan, (first - began) / 1000),
        size=size,
        cut=np.zeros(count, np.bool_),
    )


def totals(codes: NDArray[np.integer[Any]], weights: NDArray[Any], count: int = 0) -> Floats:
    """Return the sum of the ``weights`` of each code, float64 (``count``,)."""
    return np.bincount(codes, weights, count).astype(np.float64)
