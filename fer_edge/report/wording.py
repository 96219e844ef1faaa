"""Numbers as a report writes them: counts, shares, lengths of time, places in a film."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import counted

UNKNOWN = "–"
"""What stands for a number that is not known."""


def position(milliseconds: float) -> str:
    """A place in a film, as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def people_counted(count: int) -> str:
    """``1 person``, ``2,000 people``."""
    return f"{count:,} {'person' if count == 1 else 'people'}"


def gaps_counted(gaps: int | None, length: str) -> str:
    """``2 gaps of 40 s`` or ``no gaps``; ``gaps of at least 40 s`` where they are not all listed."""
    if gaps == 0:
        return "no gaps"
    return f"gaps of at least {length}" if gaps is None else f"{counted(gaps, 'gap')} of {length}"


def in_a_row(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def percent(share: float) -> str:
    """A share as ``12 %``; a dash where it is unknown."""
    if math.isnan(share):
        return UNKNOWN
    if 0 < share < 0.005:
        return "<1 %"
    return f"{100 * share:.0f} %"


def spoken(seconds: float) -> str:
    """A length of time in words."""
    if math.isnan(seconds):
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 20 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours / 24:.1f} days"


def number(value: float) -> str:
    """A number with two decimals, or none where it is a whole one from 1 on."""
    if math.isnan(value):
        return UNKNOWN
    whole = value == round(value) and abs(value) >= 1
    return f"{value:,.0f}".replace("-", "−") if whole else f"{value:.2f}".replace("-", "−")


def signed_points(change: float) -> str:
    """The change in a share in percentage points with one decimal, and its sign where that is not 0."""
    if math.isnan(change):
        return UNKNOWN
    told = f"{100 * change:+.1f}"
    return "0.0" if float(told) == 0 else told.replace("-", "−")


def signed(value: float) -> str:
    """A number with two decimals and its sign."""
    return UNKNOWN if math.isnan(value) else f"{value:+.2f}".replace("-", "−")
