"""Which numbers of a sequence are there, and which are missing."""

from __future__ import annotations

import bisect
from collections.abc import Iterator


class Spans:
    """Whole numbers from 1 on. All up to ``settled`` are dealt with; above it, some.

    Memory is that of the gaps, not of the numbers.
    """

    def __init__(self, settled: int = 0) -> None:
        self.settled = settled
        self.last = settled
        """The greatest number that exists as far as is known."""
        self._begins: list[int] = []
        self._ends: list[int] = []

    def add(self, first: int, last: int) -> None:
        """Let the numbers from ``first`` to ``last`` be dealt with."""
        self.last = max(self.last, last)
        first = max(first, self.settled + 1)
        if last < first:
            return
        # Spans that overlap or touch the new one become part of it.
        low = bisect.bisect_left(self._ends, first - 1)
        high = bisect.bisect_right(self._begins, last + 1)
        if low < high:
            first, last = min(first, self._begins[low]), max(last, self._ends[high - 1])
        self._begins[low:high], self._ends[low:high] = [first], [last]
        if self._begins[0] == self.settled + 1:
            self.settled = self._ends[0]
            del self._begins[0], self._ends[0]

    def exists(self, last: int) -> None:
        """Take note that there are numbers up to ``last``."""
        self.last = max(self.last, last)

    def gaps(self, first: int = 1, last: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield the first and last number of each gap, of what lies from ``first`` to ``last``."""
        until = self.last if last is None else min(last, self.last)
        at = max(first, self.settled + 1)
        index = bisect.bisect_left(self._ends, at)
        while at <= until:
            begins = self._begins[index] if index < len(self._begins) else until + 1
            if at < begins:
                yield at, min(begins - 1, until)
            if index == len(self._begins):
                return
            at = self._ends[index] + 1
            index += 1

    @property
    def first_gap(self) -> tuple[int, int] | None:
        """The first gap, ``None`` where nothing is missing."""
        return next(self.gaps(), None)

    @property
    def missing(self) -> int:
        """How many numbers are missing."""
        there = sum(self._ends) - sum(self._begins) + len(self._begins)
        return self.last - self.settled - there
