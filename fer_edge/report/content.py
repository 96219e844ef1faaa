"""Works out what the page shows and the tables hold, from a material."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..faces.light import DARK
from ..kernels.constants import FACE_SIZE
from ..labels import EMOTIONS
from ..store.clock import DAY, HOUR, MINUTE, SECOND
from .compare import HEADLINES, compare, estimate
from .content_types import (
    MOVING,
    Column,
    Comparisons,
    Content,
    Curve,
    Heat,
    Peak,
    Piece,
    Quality,
    Table,
)
from .material import Event, Floats, Material, Minutes, Times, local
from .measures import Basis, Figure, Options, Persons, Timeline, figures, persons, timeline
from .page_tables import column, tables_of
from .parts import By, Part, Span, parts, whole
from .wording import people_counted, percent, spoken

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
_MOST_STEPS = 240
_MOST_PARTS = 12
_BY: tuple[By, ...] = ("film", "device", "camera")
_MOST_COMPARED = 8
_ALL_PAIRS = 4
"""Parts up to which each is compared with each."""

FEW = 5
"""People below which a figure may reveal something about each of them."""


def content(
    material: Material,
    *,
    zone: tzinfo,
    options: Options | None = None,
    title: str | None = None,
    simulated: bool = False,
    show_people: bool = False,
    by: By | None = None,
    scope: str = "",
) -> Content:
    """Work out what the page shows. ``by``: what is shown side by side and compared. ``scope``: which part
    of what was recorded the material is, for readers.

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
    everyone = persons(material, whole(), options) if len(material.people) else None
    measured = figures(material, whole(), options, people=everyone)
    if everyone is not None:
        material = replace(material, told=(*material.told, *(f"{text}." for text in everyone.told)))
    everybody = measured["people"].value
    result = Content(
        material=material,
        zone=zone,
        options=options,
        title=title or _title(material),
        simulated=simulated,
        scope=scope,
        film=film,
        span=span,
        figures=measured,
        averages=_averages(material, whole(), options, measured),
        people=0 if np.isnan(everybody) else int(everybody),
        curve=curve,
        pieces=pieces,
        kind=kind,
        more=len(found) - len(pieces),
        events=events,
        peaks=_peaks(curve, events),
        days=_days(material, zone, options),
        heat=_heat(material, zone, span),
        quality=_quality(material),
        comparisons=_comparisons(material, found, people, options),
    )
    return replace(result, tables=tables_of(result, show_people))


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
    if len({session.name for session in material.sessions}) > 1:
        return "session", parts(material, "session", zone)
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
    estimates = tuple(
        one for part in chosen for one in estimate(material, part, options=options, people=people[part.name])
    )
    return Comparisons(
        tuple(one.measure for one in estimates[: len(HEADLINES)]),
        estimates,
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
        _averages(material, part, options, found),
        0 if people is None else len(people),
        _folded(material, part, options),
        () if people is None else people.told,
    )


def _averages(
    material: Material, part: Part, options: Options, found: dict[str, Figure]
) -> dict[str, Figure]:
    """The emotions of a part without the baseline that ``found`` may have."""
    return figures(material, part, replace(options, baseline=0.0), EMOTIONS) if options.baseline else found


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
    observed = _observed(material, began, step, found.basis)
    people = np.where(observed > 0, 0.0, np.nan)
    shares, attention = np.full((count, len(EMOTIONS)), np.nan), np.full(count, np.nan)
    at = place[inside]
    # Rounded times may leave a step people, but hardly any time: 20 ms are the least.
    people[at] = found.present[inside] / np.maximum(observed[at], 20 / step)
    shares[at], attention[at] = found.shares[inside], found.attention[inside]
    return Curve(began, step, people, shares, attention)


def _length(found: Timeline, span: tuple[int, int]) -> int:
    """Milliseconds of the steps that :func:`timeline` took: of minutes they are no shorter."""
    step = _step(span[1] - span[0]) * 1000
    return max(step, MINUTE) if found.basis == "minutes" else step


def _observed(material: Material, began: Times, step: int, basis: Basis) -> Floats:
    """Of each step the part in which a camera gave frames, added up over cameras.

    ``basis``: what was counted in it. A minute counts for the step that has its middle. Seconds count in full
    where their middle lies in a session, so what was observed is taken from its first such second to its
    last.
    """
    minutes = material.minutes
    if not len(minutes):
        return np.ones(len(began))
    if basis == "minutes":
        place = (minutes.began + minutes.ended) // 2 // step - began[0] // step
        return np.bincount(place, minutes.observed, len(began))[: len(began)] * 1000 / step
    edges = np.append(began, began[-1] + step)
    starts, ends = (np.sort(times) for times in _watched(material))

    def passed(times: Times, at: Times) -> Floats:
        total = np.concatenate([[0], np.cumsum(times)])
        count = np.searchsorted(times, at)
        return np.asarray(at * count - total[count], np.float64)

    return np.diff(passed(starts, edges) - passed(ends, edges)) / step


def _watched(material: Material) -> tuple[Times, Times]:
    """Begins and ends (n,) of the times in which a camera gave frames: its minutes without its gaps."""
    minutes, gaps = material.minutes, material.gaps
    count = (len(minutes), len(minutes), len(gaps), len(gaps))
    source = np.concatenate([minutes.source, minutes.source, gaps.source, gaps.source])
    times = np.concatenate([minutes.began, minutes.ended, gaps.began, gaps.ended])
    times = _to_seconds(times, [at for one in material.sessions for at in (one.began, one.ended)])
    order = np.lexsort((times, source))
    times = times[order]
    watching = np.cumsum(np.repeat([1, -1, 0, 0], count)[order]) > 0
    missing = np.cumsum(np.repeat([0, 0, 1, -1], count)[order]) > 0
    # No minute goes on after the last time of a source, so that the next one is of the same source.
    rows = np.flatnonzero(watching & ~missing)
    return times[rows], times[rows + 1]


def _to_seconds(times: Times, edges: Sequence[int]) -> Times:
    """``times`` (n,); those that are ``edges`` of sessions are moved to where the next counted second is."""
    return np.where(np.isin(times, edges), -((SECOND // 2 - times) // SECOND) * SECOND, times)


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
    rows, measured = [], {}
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
            *(
                column(measured[name].measure)
                for name in ("dwell", "attention_share", "happy", "valence", "smile", "unsure")
            ),
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


def _quality(material: Material) -> Quality:
    minutes, people = material.minutes, material.people
    gaps, gap_seconds = _gaps(material)
    table = people if len(people) else minutes
    seen = float(table.seen.sum())
    return Quality(
        observed=float(minutes.observed.sum()),
        frames=int(minutes.frames.sum()),
        dropped=int(minutes.dropped.sum()),
        lost=int(minutes.lost.sum()),
        gaps=gaps,
        gap_seconds=gap_seconds,
        unsure=float(table.unsure.sum()) / seen if seen else float("nan"),
        unclear=float(table.unclear.sum()) / seen if seen else float("nan"),
        small=float(np.mean(people.size < FACE_SIZE)) if not np.isnan(people.size).all() else float("nan"),
        cut=int(people.cut.sum()),
        few=0 < len(people) < FEW,
        **_light(minutes),
    )


def _gaps(material: Material) -> tuple[int | None, float]:
    """How many gaps there are, and their seconds; of a source that lists none, those that its minutes tell.

    A fleet's store lists none at all, another one not the gap in which its run was killed.
    """
    gaps, minutes, count = material.gaps, material.minutes, len(material.sources)
    listed = np.bincount(gaps.source, (gaps.ended - gaps.began) / 1000, count)
    told = np.bincount(minutes.source, minutes.gap, count)
    unlisted = (np.bincount(gaps.source, minlength=count) == 0) & (told > 0)
    return None if unlisted.any() else len(gaps), float(np.where(unlisted, told, listed).sum())


def _light(minutes: Minutes) -> dict[str, float]:
    """The fields of :class:`Quality` that tell of light."""
    known = ~np.isnan(minutes.brightness)

    def mean(values: Floats, weights: Floats) -> float:
        there = known & ~np.isnan(values)
        total = float(weights[there].sum())
        return float((values[there] * weights[there]).sum()) / total if total else float("nan")

    with np.errstate(invalid="ignore", divide="ignore"):
        dark, bright = minutes.dark / minutes.seen, minutes.bright / minutes.seen
    observed = float(minutes.observed.sum())
    return {
        "lit": float(minutes.observed[known].sum()) / observed if observed else float("nan"),
        "brightness": mean(minutes.brightness, minutes.observed),
        "face_brightness": mean(minutes.face_brightness, minutes.seen),
        "dark": mean(dark, minutes.seen),
        "bright": mean(bright, minutes.seen),
    }


def absence(found: Content) -> str:
    """What there is to say where nobody was in sight; empty where somebody was."""
    if found.people or not np.isnan(found.curve.shares).all():
        return ""
    observed = f"{spoken(found.quality.observed)} observed{found.material.over_cameras}"
    told = f"Nobody was in sight in the {observed}: there are no figures of people."
    if found.quality.brightness < DARK:
        return f"{told} The picture was dark, so faces may have been missed."
    return f"{told} If people were there, their faces may be too small, turned away or in the dark."


def glimpsed(found: Content) -> int:
    """How many people were in sight, where none of them was for long enough to count; else 0."""
    people = found.material.people
    return 0 if found.people else len(np.unique(people.who[people.seen > 0]))


def passages(found: Content) -> list[str]:
    """What the figures say, in sentences."""
    figure = {name: one.value for name, one in found.figures.items()}
    told: list[str] = []
    if absence(found):
        return told
    people = people_counted(found.people)
    if found.people and not np.isnan(figure["dwell"]):
        verb = "was" if found.people == 1 else "were"
        mean = "" if found.people == 1 else " on average"
        told.append(f"{people} {verb} there for {spoken(figure['dwell'])}{mean}.")
    if briefly := glimpsed(found):
        verb = "was in sight," if briefly == 1 else "were in sight, each"
        told.append(f"{people_counted(briefly)} {verb} for less than {found.options.min_seconds:g} s.")
    order = sorted(
        (name for name in EMOTIONS if not np.isnan(figure[name])), key=lambda name: -abs(figure[name])
    )
    if order:
        first, second = order[0], order[1]
        unit = "over their time in sight" if found.options.weight == "time" else "over people"
        if found.baseline:
            told.append(
                f"Averaged {unit}, the share of {first} was {_changed(figure[first])} and that of {second} "
                f"{_changed(figure[second])} than in {found.baseline}."
            )
        else:
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


def _changed(change: float) -> str:
    return f"{100 * abs(change):.1f} percentage points {'higher' if change >= 0 else 'lower'}"
