"""What the page shows and the tables hold, as values: figures, timelines, parts, comparisons, quality."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Literal

from ..store.clock import DAY
from .compare import Comparison, Estimate
from .material import Event, Floats, Material, Times
from .measures import Figure, Measure, Options
from .parts import Part
from .wording import position

STACK = ("happy", "surprise", "sad", "fear", "disgust", "angry", "neutral")
"""From the bottom up: what is compared most stands on the axis; neutral, mostly the largest, is the rest."""

MOVING = tuple(name for name in STACK if name != "neutral")

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Kind = Literal["text", "count", "share", "points", "seconds", "number", "signed", "time", "date"]


@dataclass(frozen=True)
class Column:
    """A column of a table; ``kind`` says how the page shows its values, NaN and None being unknown."""

    name: str
    label: str
    kind: Kind


@dataclass(frozen=True)
class Table:
    """A table of the page, and of ``--tables`` under its ``name``."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, eq=False)
class Curve:
    """How something went, in steps of ``step`` milliseconds without holes between them; (t,) each."""

    began: Times
    step: int
    people: Floats
    """People at a time, per camera; NaN where nothing was observed."""
    shares: Floats
    """(t, 7); NaN where nobody was seen."""
    attention: Floats

    @property
    def middle(self) -> Times:
        """Where a chart draws each step."""
        return self.began + self.step // 2


@dataclass(frozen=True, eq=False)
class Piece:
    """An event, a session or another part, beside others of its kind."""

    name: str
    group: str
    part: Part
    figures: dict[str, Figure]
    averages: dict[str, Figure]
    """The emotions as the curve shows them: from which no baseline is taken off."""
    people: int
    curve: Curve
    told: tuple[str, ...]


@dataclass(frozen=True)
class Peak:
    """Where an emotion was strongest."""

    emotion: str
    at: int
    share: float
    where: str
    """Name of the event, or empty."""
    picture: str = ""
    """Of the film that was shown, a ``data:`` URL."""


@dataclass(frozen=True, eq=False)
class Heat:
    """By weekday (0 Monday) and hour, (7, 24) each; NaN where nothing was observed."""

    people: Floats
    """Visits that began, by hour in which a camera observed."""
    happy: Floats


@dataclass(frozen=True)
class Quality:
    """How much the figures rest on; times in seconds."""

    observed: float
    frames: int
    dropped: int
    lost: int
    gaps: int | None
    """None where some are not listed, and known from minutes alone."""
    gap_seconds: float
    unsure: float
    unclear: float
    small: float
    """Share of the visits whose faces were smaller than what the classifier sees."""
    cut: int
    few: bool
    lit: float
    """Share of the time observed of which the light is known; the next four are of that time."""
    brightness: float
    """Mean of the picture, 0 to 255."""
    face_brightness: float
    dark: float
    """Share of the time in sight in which faces were too dark."""
    bright: float


@dataclass(frozen=True)
class Comparisons:
    """Measures of the parts with intervals, and the differences between them."""

    measures: tuple[Measure, ...]
    estimates: tuple[Estimate, ...]
    differences: tuple[Comparison, ...]


@dataclass(frozen=True, eq=False)
class Content:
    """All that the page shows."""

    material: Material
    zone: tzinfo
    options: Options
    title: str
    simulated: bool
    scope: str
    """Which sessions count and what is left out, as sentences; empty where everything counts."""
    film: bool
    """Whether times are positions in a film: counted from ``span[0]``."""
    span: tuple[int, int]
    figures: dict[str, Figure]
    averages: dict[str, Figure]
    """The emotions as the curve shows them: from which no baseline is taken off."""
    people: int
    curve: Curve
    pieces: tuple[Piece, ...]
    kind: str
    """What the pieces are, one of :data:`~fer_edge.report.parts.By`, or empty."""
    more: int
    """Further ones, which are not shown."""
    events: tuple[Event, ...]
    peaks: tuple[Peak, ...]
    days: Table | None
    heat: Heat | None
    quality: Quality
    comparisons: Comparisons | None = None
    tables: tuple[Table, ...] = field(default=())

    @property
    def per_camera(self) -> str:
        """What to add to the name of a mean over cameras: nothing if there is only one."""
        return ", per camera" if len(self.material.cameras) > 1 else ""

    @property
    def baseline(self) -> str:
        """What figures of emotions are changes from; empty where they are no changes."""
        seconds = self.options.baseline
        return f"each person’s first {seconds:g} s" if seconds else ""

    def time(self, at: int, seconds: bool = False) -> str:
        """A moment as the page writes it."""
        if self.film:
            return position(at - self.span[0])
        form = "%H:%M:%S" if seconds else "%H:%M"
        if self.span[1] - self.span[0] > DAY:
            form = f"%a %-d %b, {form}"
        return self.moment(at).strftime(form)

    def moment(self, at: int) -> datetime:
        """A moment by the clock on the wall."""
        return datetime.fromtimestamp(at / 1000, self.zone)
