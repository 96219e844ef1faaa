"""A material limited to marked sessions: to the times at which the audience was there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .material import (
    SLACK,
    Bools,
    Counts,
    Event,
    Floats,
    Gaps,
    Material,
    Minutes,
    People,
    Rows,
    Seconds,
    Session,
    joined,
)
from .parts import Span
from .visits import visits_of
from .wording import in_a_row, spoken

_SCALED = ("observed", "gap", "dwell", "seen", "unsure", "attention", "unclear", "dark", "bright")
_COUNTED = ("frames", "dropped", "lost", "visits_begun", "visits_ended")
"""Of these and the columns above, a part of a minute gets its share; these are whole numbers."""


@dataclass(frozen=True, eq=False)
class Limited:
    """A material that is limited to sessions."""

    material: Material
    told: str
    """Which ones they are and what is left out, as sentences."""


def in_sessions(material: Material, names: Collection[str] | None = None, where: str = "") -> Limited | None:
    """Return what lies in the sessions of these ``names``; ``None``: in all of them.

    Visits and minutes are cut where a session begins and ends: visits by their seconds or, where these are
    not kept, those of which more than half lies in a session count as a whole; minutes in proportion, but
    their gaps where they are listed. What lies in several sessions counts once.
    Returns ``None`` where no session was marked and none is asked for. Raises
    :class:`~fer_edge.errors.DataError` for a name that is not there; ``where``: what the message says of the
    choice that the material already is, such as " in the time chosen".
    """
    there = [one for one in material.sessions if _sources_of(material, one).any()]
    known = list(dict.fromkeys(one.name for one in there))
    for name in names or ():
        if name not in known:
            verb = "is" if len(known) == 1 else "are"
            which = f"there {verb} {in_a_row(known)}{where}" if known else f"no session was marked{where}"
            raise DataError(f"--session {name}: no such session; {which}")
    if not there:
        return None
    chosen = sorted((one for one in there if names is None or one.name in names), key=lambda one: one.began)
    spans, overlap = _spans(material, chosen)
    cut = joined([_in_span(material, span, mine) for span, mine in spans])
    number = {id(one): index for index, one in enumerate(chosen)}
    limited = replace(
        material,
        people=cut.people,
        seconds=cut.seconds,
        minutes=cut.minutes,
        gaps=cut.gaps,
        sessions=tuple(chosen),
        events=tuple(_events(material, number)),
    )
    return Limited(limited, _told(material, limited, names is not None, overlap))


def _spans(material: Material, sessions: Sequence[Session]) -> tuple[list[tuple[Span, Bools]], list[str]]:
    """When ``sessions`` went on, on which sources (sources,); those that overlap on a source are one there.

    ``sessions``: in the order in which they begin. Also returns the names of those that overlap.
    """
    on = np.array([_sources_of(material, one) for one in sessions])
    sources: dict[tuple[int, int], list[int]] = {}
    overlap: dict[str, None] = {}
    for source in range(len(material.sources)):
        found: list[tuple[int, int]] = []
        latest = ""
        for one in (sessions[index] for index in np.flatnonzero(on[:, source]).tolist()):
            if found and one.began < found[-1][1]:
                overlap |= dict.fromkeys((latest, one.name))
                began, ended = found.pop()
                one = replace(one, began=began, ended=max(ended, one.ended))
            found.append((one.began, one.ended))
            latest = one.name
        for ends in found:
            sources.setdefault(ends, []).append(source)
    everywhere = np.arange(len(material.sources))
    spans = [(Span(*ends), np.isin(everywhere, mine)) for ends, mine in sorted(sources.items())]
    return spans, list(overlap)


def _told(material: Material, limited: Material, asked: bool, overlap: Sequence[str]) -> str:
    names = list(dict.fromkeys(one.name for one in limited.sessions))
    shown = in_a_row([f"“{name}”" for name in names]) if len(names) < 4 else f"{len(names)} of them"
    one, several = f"Only the marked session {shown} counts.", f"Only the marked sessions count: {shown}."
    told = one if len(names) == 1 else several
    whole, kept = (float(one.minutes.observed.sum()) for one in (material, limited))
    if whole - kept >= 1:
        observed = f"{spoken(whole)} observed{material.over_cameras}"
        told += f" The other {spoken(whole - kept)} of {observed} are left out"
        told += "." if asked else "; --session all includes them."
    if overlap:
        shown = in_a_row([f"“{name}”" for name in overlap]) if len(overlap) < 4 else f"{len(overlap)} of them"
        told += f" Sessions overlap ({shown}): what lies in several counts once."
    marked = np.any([_sources_of(limited, one) for one in limited.sessions], axis=0)
    without = set(material.cameras) - {
        (one.device, one.camera) for one, is_in in zip(material.sources, marked, strict=True) if is_in
    }
    if without:
        which = ("It was" if len(names) == 1 else "They were") if asked else "No session was"
        not_on = in_a_row(sorted(f"{device} / {camera}" for device, camera in without))
        told += f" {which}{' not' if asked else ''} marked on {not_on}."
    return told


def _sources_of(material: Material, session: Session) -> Bools:
    return material.sources_where(device=session.device or None, run=session.run or None)


def _events(material: Material, number: dict[int, int]) -> Sequence[Event]:
    """Those of the sessions, whose new indices ``number`` has by identity; and those of no session."""
    found = []
    for event in material.events:
        if event.session < 0:
            found.append(event)
        elif id(material.sessions[event.session]) in number:
            found.append(replace(event, session=number[id(material.sessions[event.session])]))
    return found


def _in_span(material: Material, span: Span, mine: Bools) -> Material:
    """What lies in ``span`` of the sources ``mine`` (sources,)."""
    people, seconds = _people_in(material, span, mine)
    return Material(
        material.sources,
        people,
        seconds,
        _minutes_in(material, span, mine),
        _cut(material.gaps, span, mine)[0],
    )


def _people_in(material: Material, span: Span, mine: Bools) -> tuple[People, Seconds]:
    visits, seconds = material.people, material.seconds
    began, ended = _ends(visits, span)
    length = visits.ended - visits.began
    within = np.where(length > 0, ended - began, (began == visits.began).astype(np.int64))
    touching = mine[visits.source] & (ended >= began) & (within > 0)
    middle = seconds.began + 500
    inside = (middle >= span.began) & (middle < span.ended) & touching[seconds.person]
    kept = seconds.take(inside)
    partly = touching & (within < length)
    known = np.bincount(kept.person, minlength=len(visits)) > 0
    rows = np.flatnonzero(touching & np.where(partly & ~known, 2 * within > length, True))
    index = np.full(len(visits), -1, np.int32)
    index[rows] = np.arange(len(rows), dtype=np.int32)
    kept = kept.take(index[kept.person] >= 0)
    found = visits.take(rows)
    again = np.flatnonzero((partly & known)[rows])
    if len(again):
        found = _counted_again(found, again, kept, index, began[rows], ended[rows])
    return found, kept.with_columns(person=index[kept.person]) if len(kept) else kept


def _counted_again(
    found: People,
    again: NDArray[np.intp],
    seconds: Seconds,
    index: NDArray[np.int32],
    began: Counts,
    ended: Counts,
) -> People:
    """The visits with those at ``again`` counted from their ``seconds`` alone."""
    place = np.full(len(found), -1, np.int32)
    place[again] = np.arange(len(again), dtype=np.int32)
    person = place[index[seconds.person]]
    own = seconds.take(person >= 0).with_columns(person=person[person >= 0])
    cut = visits_of(own, found.source[again], found.track[again], found.size[again])
    smiled_at = cut.began / 1000 + cut.first_smile
    cut = cut.with_columns(
        began=began[again],
        ended=ended[again],
        first_smile=np.maximum(smiled_at - began[again] / 1000, 0),
        cut=found.cut[again],
    )
    order = np.arange(len(found))
    order[again] = len(found) + np.arange(len(again))
    return People.joined([found, cut]).take(order)


def _minutes_in(material: Material, span: Span, mine: Bools) -> Minutes:
    found, rows, share = _cut(material.minutes, span, mine)
    scaled = {name: getattr(found, name) * share for name in _SCALED}
    counted = {name: np.rint(getattr(found, name) * share).astype(np.int64) for name in _COUNTED}
    partly = share < 1
    whole, part = material.minutes.take(rows[partly]), found.take(partly)
    unlisted = whole.gap - _listed(material.gaps, whole)
    # What is not listed may lie anywhere in the minute.
    scaled["gap"][partly] = _listed(material.gaps, part) + share[partly] * np.where(
        unlisted > SLACK, unlisted, 0.0
    )
    return found.with_columns(**scaled, **counted) if len(found) else found


def _listed(gaps: Gaps, minutes: Minutes) -> Floats:
    """Seconds of each minute that lie in a listed gap of its source."""
    began = np.maximum(gaps.began, minutes.began[:, None])
    ended = np.minimum(gaps.ended, minutes.ended[:, None])
    inside = (gaps.source == minutes.source[:, None]) & (ended > began)
    return np.asarray(np.where(inside, ended - began, 0).sum(axis=1) / 1000, np.float64)


def _cut(table: Rows, span: Span, mine: Bools) -> tuple[Rows, NDArray[np.intp], Floats]:
    """The rows that touch a span, cut at its ends; their indices, and the share of each that is left."""
    began, ended = _ends(table, span)
    rows = np.flatnonzero(mine[table.source] & (ended > began))
    found = table.take(rows)
    share = (ended - began)[rows] / (found.ended - found.began)
    cut = found.with_columns(began=began[rows], ended=ended[rows]) if len(rows) else found
    return cut, rows, share


def _ends(table: People | Minutes | Gaps, span: Span) -> tuple[Counts, Counts]:
    """Begin and end of the part of each row that lies in a span; the end is first where none does."""
    return np.maximum(table.began, span.began), np.minimum(table.ended, span.ended)
