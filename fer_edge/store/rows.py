"""The rows of a store as they are written: milliseconds, parts of ten thousand, tenths.

The fields of each are columns of its table, in any order; ``shares`` stands for the seven emotions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..labels import EMOTIONS

Shares = tuple[int, ...] | None
"""Of the seven emotions, in parts of ten thousand; ``None`` where nobody was seen."""


@dataclass(frozen=True)
class VisitRow:
    """A person from first to last sight."""

    track: int
    began: int
    length: int
    seen: int
    unsure: int
    attention: int
    unclear: int
    shares: Shares
    smile: int | None
    first_smile: int | None
    size: int | None
    yaw: int | None
    pitch: int | None
    cut: int = 0


@dataclass(frozen=True)
class MinuteRow:
    """A minute of a camera."""

    began: int
    length: int
    observed: int
    gap: int
    frames: int
    dropped: int
    lost: int
    people: int
    people_max: int
    visits_begun: int
    visits_ended: int
    dwell: int
    seen: int
    unsure: int
    attention: int
    unclear: int
    shares: Shares
    cut: int = 0
    brightness: int | None = None
    """Tenths of a grey level, as the next one; ``None`` where no light was measured."""
    face_brightness: int | None = None
    dark: int | None = None
    bright: int | None = None


@dataclass(frozen=True)
class GapRow:
    """A time without frames."""

    began: int
    length: int
    reason: str


@dataclass(frozen=True)
class SecondRow:
    """A person in a second of a session."""

    began: int
    track: int
    seen: int
    unsure: int
    attention: int
    unclear: int
    shares: Shares
    size: int | None
    yaw: int | None
    pitch: int | None


Row = VisitRow | MinuteRow | GapRow | SecondRow

TABLE: dict[type[Row], str] = {
    VisitRow: "visit",
    MinuteRow: "minute",
    GapRow: "gap",
    SecondRow: "second",
}
"""Where each kind of row goes."""


def columns(kind: type[Row]) -> tuple[str, ...]:
    """Return the names of the columns for which :func:`values` has values."""
    names: list[str] = []
    for field in fields(kind):
        names += EMOTIONS if field.name == "shares" else [field.name]
    return tuple(names)


def values(row: Row) -> tuple[Any, ...]:
    """Return the values of ``row`` in the order of :func:`columns`."""
    told: list[Any] = []
    for field in fields(row):
        value = getattr(row, field.name)
        told += (value or [None] * len(EMOTIONS)) if field.name == "shares" else [value]
    return tuple(told)
