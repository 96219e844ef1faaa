"""A run's budget of time: how much of it has passed, and when the last step has to be made."""

from __future__ import annotations

import time

_SHARE_OF_A_REPORT = 0.02
"""What validating and saving is thought to take of the budget before it was measured."""
_MARGIN = 1.3
"""Reports may take that much longer than the longest so far."""
REPORTS = 20
"""Reports in the course of a budget, at most about; each validates and saves."""


class Budget:
    """``seconds`` for a run that goes on since ``started`` (of ``time.perf_counter``), ``spent`` before that.

    The time for a last report, which validates and saves, is kept free.
    """

    def __init__(self, seconds: float, spent: float = 0.0, started: float | None = None) -> None:
        self.seconds = seconds
        self._begun = (time.perf_counter() if started is None else started) - spent
        self._report = _SHARE_OF_A_REPORT * seconds
        self._spent = self._first = spent

    def elapsed(self) -> float:
        """Seconds gone."""
        return time.perf_counter() - self._begun

    def begin_steps(self) -> None:
        """Tell that the first step comes now: what was prepared before it is no part of :meth:`fraction`."""
        self._first = self.elapsed()

    def fraction(self) -> float:
        """Which part of the course of rates is over, 0 to 1.

        It begins at 0 with the first step, however long a bank of views or a compiler took, since a warm-up
        is for first steps. A resumed run begins at the part of the whole time that was spent before.
        """
        whole = max(self._whole(), 1e-6)
        before = min(self._spent / whole, 1.0)
        left = max(whole - self._first, 1e-6)
        return before + (1 - before) * min(max(self.elapsed() - self._first, 0.0) / left, 1.0)

    def over(self) -> bool:
        """Whether there is no more time for steps."""
        return self.elapsed() >= self._whole()

    def _whole(self) -> float:
        """Seconds from the beginning to the last step."""
        return self.seconds - _MARGIN * self._report

    def reported(self, seconds: float) -> None:
        """Tell how long a report took."""
        self._report = max(self._report, seconds)
