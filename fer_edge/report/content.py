"""What the page shows and the tables hold: figures, timelines, parts, comparisons, days, quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..kernels.crop import FACE_SIZE
from ..labels import EMOTIONS
from ..store.clock import DAY, HOUR, MINUTE
from .compare import HEADLINES, Comparison, Estimate, compare, estimate
from .material import Event, Floats, Material, Times, local
from .measures import MEASURES, Figure, Measure, Options, Persons, Timeline, figures, persons, timeline
from .parts import By, Part, Span, parts, whole
from .wording import people_counted, percent, position, spoken

STACK = ("happy", "surprise", "sad", "fear", "disgust", "angry", "neutral")
"""From the bottom up: what is compared most stands on the axis; neutral, mostly the largest, is the rest."""

MOVING = tuple(name for name in STACK if name != "neutral")

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
_MOST_STEPS = 240
_MOST_PARTS = 12
_BY: tuple[By, ...] = ("film", "session", "device", "camera")
_MOST_COMPARED = 8
_ALL_PAIRS = 4
"""Parts up to which each is compared with each."""

FEW = 5
"""People below which a figure may reveal something about each of them."""

_SHOWN = ("dwell", "attention_share", "attraction", *EMOTIONS, "valence", "smile", "first_smile", "unsure")
"""Measures of a part's row, besides people and visits."""

Kind = Literal["text", "count", "share", "seconds", "number", "signed", "time", "date"]


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
    """People at a time; NaN where nothing was observed."""
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
    """Visits that began, by hour of observation."""
    happy: Floats


@dataclass(frozen=True)
class Quality:
    """How much the figures rest on; times in seconds."""

    observed: float
    frames: int
    dropped: int
    lost: int
    gaps: int
    gap_seconds: float
    unsure: float
    unclear: float
    small: float
    """Share of the visits whose faces were smaller than what the classifier sees."""
    cut: int
    few: bool


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
    film: bool
    """Whether times are positions in a film: counted from ``span[0]``."""
    span: tuple[int, int]
    figures: dict[str, Figure]
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


def content(
    material: Material,
    *,
    zone: tzinfo,
    options: Options | None = None,
    title: str | None = None,
    simulated: bool = False,
    show_people: bool = False,
    by: By | None = None,
) -> Content:
    """Work out what the page shows. ``by``: what is shown side by side and compared.

    Raises :class:`~fer_edge.errors.DataError` where there is nothing to show.
    """
    options = options or Options()
    span = material.span
    if span is None or span[0] == span[1] or not (len(material.minutes) or len(material.people)):
        raise DataError(
            "nothing was recorded in that time: no camera gave frames, or the first minute is not over yet; "
            "fer-edge store FILE shows what a store holds"
        )
    film = all(source.film for source in material.sources) and len(material.sources) == 1
    kind, found = _parts_of(material, zone, by)
    events = tuple(sorted(material.events, key=lambda event: event.began))
    people = {part.name: persons(material, part, options) for part in found} if len(material.people) else {}
    pieces = tuple(
        _piece(material, part, options, events, people.get(part.name)) for part in found[:_MOST_PARTS]
    )
    curve = _curve(material, span, options)
    measured = figures(material, whole(), options)
    everybody = measured["people"].value
    result = Content(
        material=material,
        zone=zone,
        options=options,
        title=title or _title(material),
        simulated=simulated,
        film=film,
        span=span,
        figures=measured,
        people=0 if np.isnan(everybody) else int(everybody),
        curve=curve,
        pieces=pieces,
        kind=kind,
        more=len(found) - len(pieces),
        events=events,
        peaks=_peaks(curve, events),
        days=_days(material, zone, options),
        heat=_heat(material, zone, span),
        quality=_quality(material, measured),
        comparisons=_comparisons(material, found, people, options),
    )
    return replace(result, tables=_tables(result, show_people))


def _title(material: Material) -> str:
    names = [session.name for session in material.sessions]
    if names:
        return ", ".join(dict.fromkeys(names)) if len(set(names)) < 4 else f"{len(set(names))} sessions"
    cameras = dict.fromkeys(source.camera for source in material.sources)
    return ", ".join(cameras) if len(cameras) < 4 else f"{len(cameras)} cameras"


def _parts_of(material: Material, zone: tzinfo, by: By | None) -> tuple[str, list[Part]]:
    """What is shown side by side; where ``by`` leaves that open, the first of which there are several."""
    if by is not None:
        found = parts(material, by, zone)
        if len(found) < 2:
            named = f" ({found[0].name})" if found else ""
            raise DataError(f"--by {by}: there are not two of them to compare{named}")
        return by, found
    if material.events:
        return "event", parts(material, "event", zone)
    for each in _BY:
        found = parts(material, each, zone)
        if len(found) > 1:
            return each, found
    return "", []


def _comparisons(
    material: Material, found: Sequence[Part], people: dict[str, Persons], options: Options
) -> Comparisons | None:
    """What is compared: each part with each other one; of many, each with the first."""
    chosen = [part for part in found[:_MOST_COMPARED] if len(people.get(part.name, ())) > 1]
    if len(chosen) < 2:
        return None
    return Comparisons(
        tuple(MEASURES[name] for name in HEADLINES),
        tuple(
            one
            for part in chosen
            for one in estimate(material, part, options=options, people=people[part.name])
        ),
        tuple(
            compare(
                material, chosen, options=options, against="all" if len(chosen) <= _ALL_PAIRS else "first"
            )
        ),
    )


def _piece(
    material: Material, part: Part, options: Options, events: Sequence[Event], people: Persons | None
) -> Piece:
    found = figures(material, part, options, people=people)
    groups = dict.fromkeys(event.group for event in events if event.name == part.name and event.group)
    return Piece(
        part.name,
        ", ".join(groups),
        part,
        found,
        0 if people is None else len(people),
        _folded(material, part, options),
        () if people is None else people.told,
    )


def _step(length: int) -> int:
    """Seconds of the steps of a chart over so many milliseconds."""
    return next((step for step in _STEPS if length / 1000 / step <= _MOST_STEPS), _STEPS[-1])


def _curve(material: Material, span: tuple[int, int], options: Options) -> Curve:
    found = timeline(material, _step(span[1] - span[0]), options=options)
    step = _length(found, span)
    first = span[0] // step
    count = (span[1] - 1) // step - first + 1
    began = (first + np.arange(count)) * step
    place = found.began // step - first
    inside = (place >= 0) & (place < count)
    people = np.where(_observed(material, began, step) > 0, 0.0, np.nan)
    shares, attention = np.full((count, len(EMOTIONS)), np.nan), np.full(count, np.nan)
    at = place[inside]
    # The first and last step are observed in part only.
    people[at] = found.present[inside] / np.clip(_observed(material, began, step)[at], 0.02, 1)
    shares[at], attention[at] = found.shares[inside], found.attention[inside]
    return Curve(began, step, people, shares, attention)


def _length(found: Timeline, span: tuple[int, int]) -> int:
    """Milliseconds of the steps that :func:`timeline` took: of minutes they are no shorter."""
    step = _step(span[1] - span[0]) * 1000
    return max(step, MINUTE) if found.basis == "minutes" else step


def _observed(material: Material, began: Times, step: int) -> Floats:
    """Of each step the part in which a camera gave frames."""
    minutes = material.minutes
    if not len(minutes):
        return np.ones(len(began))
    edges = np.append(began, began[-1] + step)
    starts = np.sort(minutes.began)
    ends = np.sort(minutes.ended)

    def passed(times: Times, at: Times) -> Floats:
        total = np.concatenate([[0], np.cumsum(times)])
        count = np.searchsorted(times, at)
        return np.asarray(at * count - total[count], np.float64)

    return np.diff(passed(starts, edges) - passed(ends, edges)) / step


def _folded(material: Material, part: Part, options: Options) -> Curve:
    """A part from its begin, averaged over people where it was shown several times."""
    spans = [_within(material, span) for span in part.spans]
    length = max(1000, max(ended - began for began, ended in spans))
    step = _step(length * 3)
    found = timeline(material, step, part, options)
    size = _length(found, (0, length * 3))
    count = max(1, -(-length // size))
    people, weight = np.zeros(count), np.zeros(count)
    shares, attention = np.zeros((count, len(EMOTIONS))), np.zeros(count)
    for began, ended in spans:
        rows = np.flatnonzero((found.began + size > began) & (found.began < ended))
        place = np.clip((found.began[rows] + size // 2 - began) // size, 0, count - 1)
        heads = found.people[rows].astype(np.float64)
        np.add.at(people, place, found.present[rows])
        np.add.at(weight, place, heads)
        np.add.at(shares, place, found.shares[rows] * heads[:, None])
        np.add.at(attention, place, found.attention[rows] * heads)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Curve(
            np.arange(count) * size,
            size,
            people / len(spans),
            shares / np.where(weight > 0, weight, np.nan)[:, None],
            attention / np.where(weight > 0, weight, np.nan),
        )


def _within(material: Material, span: Span) -> tuple[int, int]:
    first, last = material.span or (0, 0)
    return max(span.began, first), max(min(span.ended, last), max(span.began, first))


def _peaks(curve: Curve, events: Sequence[Event]) -> tuple[Peak, ...]:
    """The strongest moment of each emotion that has one, of moments with as many people as is usual."""
    usual = np.nanmedian(curve.people[curve.people > 0]) if (curve.people > 0).any() else 0
    enough = curve.people >= usual / 2
    found = []
    for name in MOVING:
        share = np.where(enough, curve.shares[:, EMOTIONS.index(name)], np.nan)
        if np.isnan(share).all():
            continue
        place = int(np.nanargmax(share))
        if share[place] < 0.1 or share[place] < 1.5 * np.nanmean(share):
            continue
        at = int(curve.middle[place])
        where = next((event.name for event in events if event.began <= at < event.ended), "")
        found.append(Peak(name, at, float(share[place]), where))
    return tuple(sorted(found, key=lambda peak: -peak.share))


def _days(material: Material, zone: tzinfo, options: Options) -> Table | None:
    found = parts(material, "day", zone)
    if len(found) < 2 or all(source.film for source in material.sources):
        return None
    rows = []
    for part in found:
        measured = figures(material, part, options)
        values = {name: one.value for name, one in measured.items()}
        rows.append(
            (
                part.name,
                values["people"] if not np.isnan(values["people"]) else values["visits"],
                values["dwell"],
                values["attention_share"],
                values["happy"],
                values["valence"],
                values["smile"],
                values["unsure"],
            )
        )
    return Table(
        "days",
        "By day",
        (
            Column("day", "Day", "date"),
            Column("people", "People", "count"),
            *(_column(name) for name in ("dwell", "attention_share", "happy", "valence", "smile", "unsure")),
        ),
        tuple(rows),
    )


def _heat(material: Material, zone: tzinfo, span: tuple[int, int]) -> Heat | None:
    minutes = material.minutes
    if span[1] - span[0] < 1.5 * DAY or not len(minutes):
        return None
    hour = local(minutes.began, zone) // HOUR
    # 1970 began with a Thursday.
    cell = ((hour // 24 + 3) % 7 * 24 + hour % 24).astype(np.int64)

    def total(values: NDArray[Any]) -> Floats:
        return np.asarray(np.bincount(cell, values, 168).reshape(7, 24), np.float64)

    seen = minutes.people > 0
    happy = np.where(seen, np.nan_to_num(minutes.shares[:, EMOTIONS.index("happy")]), 0) * minutes.people
    with np.errstate(invalid="ignore", divide="ignore"):
        return Heat(
            total(minutes.visits_begun) / total(minutes.observed) * 3600,
            total(happy) / total(minutes.people),
        )


def _quality(material: Material, measured: dict[str, Figure]) -> Quality:
    minutes, people, gaps = material.minutes, material.people, material.gaps
    table = people if len(people) else minutes
    seen = float(table.seen.sum())
    return Quality(
        observed=float(minutes.observed.sum()),
        frames=int(minutes.frames.sum()),
        dropped=int(minutes.dropped.sum()),
        lost=int(minutes.lost.sum()),
        gaps=len(gaps),
        gap_seconds=float((gaps.ended - gaps.began).sum() / 1000),
        unsure=float(table.unsure.sum()) / seen if seen else float("nan"),
        unclear=float(table.unclear.sum()) / seen if seen else float("nan"),
        small=float(np.mean(people.size < FACE_SIZE)) if not np.isnan(people.size).all() else float("nan"),
        cut=int(people.cut.sum()),
        few=0 < len(people) < FEW,
    )


def _column(name: str) -> Column:
    measure = MEASURES[name]
    kinds: dict[str, Kind] = {
        "share": "share",
        "s": "seconds",
        "people": "count",
        "visits": "count",
        "": "signed",
    }
    kind = "number" if name in ("present", "smiles") else kinds[measure.unit]
    return Column(name, measure.label, kind)


def _tables(found: Content, show_people: bool) -> tuple[Table, ...]:
    tables = [_summary(found), _timeline_table(found)]
    if found.pieces:
        tables.append(_pieces_table(found))
    if found.events:
        tables.append(_events_table(found))
    if found.comparisons:
        tables.append(_comparisons_table(found.comparisons))
    if found.days:
        tables.append(found.days)
    if found.heat:
        tables.append(_heat_table(found.heat))
    tables.append(_gaps_table(found))
    if show_people:
        tables.append(_people_table(found))
    return tuple(tables)


def _summary(found: Content) -> Table:
    rows = tuple(
        (name, one.measure.label, one.value, one.measure.unit, one.people, one.basis)
        for name, one in found.figures.items()
    )
    return Table(
        "measures",
        "All measures",
        (
            Column("measure", "Name", "text"),
            Column("label", "Measure", "text"),
            Column("value", "Value", "number"),
            Column("unit", "Unit", "text"),
            Column("people", "Of people", "count"),
            Column("basis", "From", "text"),
        ),
        rows,
    )


def _timeline_table(found: Content) -> Table:
    curve = found.curve
    return Table(
        "timeline",
        "Over time",
        (
            Column("began", "From", "time"),
            Column("people", "People at a time", "number"),
            *(_column(name) for name in EMOTIONS),
            Column("attention", "Attention", "share"),
        ),
        tuple(
            (began, people, *shares, attention)
            for began, people, shares, attention in zip(
                curve.began.tolist(),
                curve.people.tolist(),
                curve.shares.tolist(),
                curve.attention.tolist(),
                strict=True,
            )
        ),
    )


def _pieces_table(found: Content) -> Table:
    label = found.kind.capitalize()
    grouped = len({piece.group for piece in found.pieces}) > 1
    return Table(
        "parts",
        f"{label}s side by side",
        (
            Column("name", label, "text"),
            *((Column("group", "Group", "text"),) if grouped else ()),
            Column("people", "People", "count"),
            *(_column(name) for name in _SHOWN),
        ),
        tuple(
            (
                piece.name,
                *((piece.group,) if grouped else ()),
                piece.people,
                *(piece.figures[name].value for name in _SHOWN),
            )
            for piece in found.pieces
        ),
    )


def _comparisons_table(found: Comparisons) -> Table:
    numbers = ("value_a", "value_b", "difference", "low", "high", "p", "holm", "effect")
    labels = ("Value of A", "Value of B", "Difference", "Low", "High", "p", "p (Holm)", "Cliff’s delta")
    return Table(
        "comparisons",
        "Differences",
        (
            Column("measure", "Measure", "text"),
            Column("a", "A", "text"),
            Column("b", "B", "text"),
            Column("people", "People", "count"),
            Column("design", "Design", "text"),
            *(Column(name, label, "number") for name, label in zip(numbers, labels, strict=True)),
        ),
        tuple(
            (
                one.measure.label,
                one.a,
                one.b,
                one.people,
                one.design,
                *(getattr(one, name) for name in numbers),
            )
            for one in found.differences
        ),
    )


def _events_table(found: Content) -> Table:
    return Table(
        "events",
        "What was shown when",
        (
            Column("name", "Event", "text"),
            Column("group", "Group", "text"),
            Column("began", "From", "time"),
            Column("ended", "To", "time"),
        ),
        tuple((event.name, event.group, event.began, event.ended) for event in found.events),
    )


def _heat_table(heat: Heat) -> Table:
    return Table(
        "hours",
        "By weekday and hour",
        (
            Column("weekday", "Weekday", "text"),
            Column("hour", "Hour", "count"),
            Column("people", "Visits an hour", "number"),
            Column("happy", "Happy", "share"),
        ),
        tuple(
            (WEEKDAYS[day], hour, float(heat.people[day, hour]), float(heat.happy[day, hour]))
            for day in range(7)
            for hour in range(24)
            if not np.isnan(heat.people[day, hour])
        ),
    )


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _gaps_table(found: Content) -> Table:
    gaps = found.material.gaps
    sources = found.material.sources
    return Table(
        "gaps",
        "Gaps",
        (
            Column("device", "Device", "text"),
            Column("camera", "Camera", "text"),
            Column("began", "From", "time"),
            Column("ended", "To", "time"),
            Column("seconds", "Length", "seconds"),
            Column("reason", "Why", "text"),
        ),
        tuple(
            (sources[code].device, sources[code].camera, began, ended, (ended - began) / 1000, reason)
            for code, began, ended, reason in zip(
                gaps.source.tolist(),
                gaps.began.tolist(),
                gaps.ended.tolist(),
                gaps.reason.tolist(),
                strict=True,
            )
        ),
    )


def _people_table(found: Content) -> Table:
    people, sources = found.material.people, found.material.sources
    people = people.take(np.argsort(people.began, kind="stable"))
    return Table(
        "people",
        "Each visit",
        (
            Column("device", "Device", "text"),
            Column("camera", "Camera", "text"),
            Column("run", "Run", "text"),
            Column("track", "Track", "count"),
            Column("began", "From", "time"),
            Column("ended", "To", "time"),
            Column("seen", "In sight", "seconds"),
            Column("attention", "Facing the camera", "seconds"),
            Column("unsure", "Unsure", "seconds"),
            *(_column(name) for name in EMOTIONS),
            Column("smile", "Largest share of happy", "share"),
            Column("first_smile", "First smile after", "seconds"),
        ),
        tuple(
            (
                sources[row[0]].device,
                sources[row[0]].camera,
                sources[row[0]].run,
                *row[1:7],
                *row[7],
                *row[8:],
            )
            for row in zip(
                people.source.tolist(),
                people.track.tolist(),
                people.began.tolist(),
                people.ended.tolist(),
                people.seen.tolist(),
                people.attention.tolist(),
                people.unsure.tolist(),
                people.shares.tolist(),
                people.smile.tolist(),
                people.first_smile.tolist(),
                strict=True,
            )
        ),
    )


def passages(found: Content) -> list[str]:
    """What the figures say, in sentences."""
    figure = {name: one.value for name, one in found.figures.items()}
    told = []
    if not found.people and np.isnan(found.curve.shares).all():
        return ["Nobody was in sight."]
    people = people_counted(found.people)
    if found.people and not np.isnan(figure["dwell"]):
        verb = "was" if found.people == 1 else "were"
        mean = "" if found.people == 1 else " on average"
        told.append(f"{people} {verb} there for {spoken(figure['dwell'])}{mean}.")
    order = sorted((name for name in EMOTIONS if not np.isnan(figure[name])), key=lambda name: -figure[name])
    if order:
        first, second = order[0], order[1]
        unit = "of their time in sight" if found.options.weight == "time" else "over people"
        told.append(
            f"Averaged {unit}, {percent(figure[first])} of onlookers would call a face {first} and "
            f"{percent(figure[second])} {second}."
        )
    if found.peaks and not found.options.baseline:
        peak = found.peaks[0]
        where = f", in “{peak.where}”" if peak.where else ""
        told.append(
            f"{peak.emotion.capitalize()} peaked at {found.time(peak.at, True)}{where}, with "
            f"{percent(peak.share)}."
        )
    smiles = figure["smile"]
    if found.people > 1 and not np.isnan(smiles):
        told.append(f"An onlooker would have seen about {smiles * found.people:,.0f} of the {people} smile.")
    return told
