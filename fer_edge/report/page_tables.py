"""The tables of a report, as the page shows and ``--tables`` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS
from .content_types import WEEKDAYS, Column, Comparisons, Content, Heat, Kind, Table
from .measures import MEASURES, Measure

_SHOWN = ("dwell", "attention_share", "attraction", *EMOTIONS, "valence", "smile", "first_smile", "unsure")
"""Measures of a part's row, besides people and visits."""


def column(measure: Measure) -> Column:
    """The column of a measure, which has no room to say that it is a change: its signs do."""
    kinds: dict[str, Kind] = {
        "share": "share",
        "s": "seconds",
        "people": "count",
        "visits": "count",
        "": "signed",
    }
    kind = "number" if measure.name in ("present", "smiles") else kinds[measure.unit]
    return Column(measure.name, MEASURES[measure.name].label, "points" if measure.points else kind)


def tables_of(found: Content, show_people: bool) -> tuple[Table, ...]:
    """All tables that there is something for; rows of single people only with ``show_people``."""
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
        tables.append(_heat_table(found, found.heat))
    tables.append(_gaps_table(found))
    if show_people:
        tables.append(_people_table(found))
    return tuple(tables)


def _rows(*columns: NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of columns of equal length, as plain numbers and texts."""
    return zip(*(one.tolist() for one in columns), strict=True)


def _summary(found: Content) -> Table:
    rows = tuple(
        (
            name,
            f"{one.measure.label}{found.per_camera}" if name == "present" else one.measure.label,
            one.value,
            one.measure.unit,
            one.people,
            one.basis,
        )
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
            Column("people", f"People at a time{found.per_camera}", "number"),
            *(column(MEASURES[name]) for name in EMOTIONS),
            Column("attention", "Attention", "share"),
        ),
        tuple(
            (began, people, *shares, attention)
            for began, people, shares, attention in _rows(
                curve.began, curve.people, curve.shares, curve.attention
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
            *(column(found.pieces[0].figures[name].measure) for name in _SHOWN),
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


def _heat_table(found: Content, heat: Heat) -> Table:
    return Table(
        "hours",
        "By weekday and hour",
        (
            Column("weekday", "Weekday", "text"),
            Column("hour", "Hour", "count"),
            Column("people", f"Visits an hour{found.per_camera}", "number"),
            Column("happy", "Happy", "share"),
        ),
        tuple(
            (WEEKDAYS[day], hour, float(heat.people[day, hour]), float(heat.happy[day, hour]))
            for day in range(7)
            for hour in range(24)
            if not np.isnan(heat.people[day, hour])
        ),
    )


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
            for code, began, ended, reason in _rows(gaps.source, gaps.began, gaps.ended, gaps.reason)
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
            *(column(MEASURES[name]) for name in EMOTIONS),
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
            for row in _rows(
                people.source,
                people.track,
                people.began,
                people.ended,
                people.seen,
                people.attention,
                people.unsure,
                people.shares,
                people.smile,
                people.first_smile,
            )
        ),
    )
