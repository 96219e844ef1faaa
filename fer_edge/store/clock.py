"""Which time it was: the machine's monotonic clock never jumps, but only the other clock knows the date.

A Raspberry Pi without a real-time clock starts with the time of its last shutdown, and is set by hours or
months when the network tells the time. Rows therefore have monotonic times, and a clock has the one number
that makes dates of them; where the date is corrected, that number is, and with it all rows of the boot.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SECOND = 1000
"""Milliseconds, as all that follow."""

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

JUMP = 1000
"""Milliseconds by which the clock must differ to have jumped; less is the time between reading two clocks."""

_CONFIRMED_BY = 3
"""Results in a row that must agree, as one may have been held up between reading the two clocks."""


def at(milliseconds: int) -> datetime:
    """Return the time so many milliseconds after 1970, in UTC."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def milliseconds(moment: datetime) -> int:
    """Return the milliseconds from 1970 to ``moment``. Raises ``ValueError`` where it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return round((moment - EPOCH) / timedelta(milliseconds=1))


class WallClock:
    """Follows the difference of the two clocks. All times are milliseconds.

    ``origin``: what is added to a monotonic time for milliseconds since 1970.
    """

    def __init__(self, origin: int) -> None:
        self.origin = origin
        self._others: list[int] = []

    def see(self, at: int, wall: int) -> int:
        """Compare the clocks; return by how much the wall clock has jumped, mostly 0."""
        other = wall - at
        if abs(other - self.origin) <= JUMP:
            self._others.clear()
            return 0
        if self._others and abs(other - self._others[0]) > JUMP:
            self._others.clear()
        self._others.append(other)
        if len(self._others) < _CONFIRMED_BY:
            return 0
        # Whatever holds a reading up makes the difference larger.
        jump = min(self._others) - self.origin
        self.origin += jump
        self._others.clear()
        return jump
