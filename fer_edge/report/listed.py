"""Events of a list, ``--events``, placed on the clock of a material."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from ..errors import DataError, printable
from ..store.clock import DAY
from ..store.events import PlacedEvent, placed, problems, read_events
from .material import Event, Material, Source


def with_events(material: Material, path: str | os.PathLike[str], zone: tzinfo | None = None) -> Material:
    """Return the material with the events of a list beside those that it has.

    Offsets count from the begin of each session, else of each film, else from the first minute. Times that
    name no zone are of ``zone``, by default the machine's. An event without an end lasts until the next one,
    unless it began more than a day too early. Anything odd, such as an event after the end, is reported.
    Raises :class:`~fer_edge.errors.DataError` where the list cannot be read, or none of its events lies
    within.
    """
    listed = read_events(path, zone)
    span = material.span
    if span is None:
        return material
    clocked = not isinstance(listed[0].began, float)
    events: list[Event] = []
    told: list[str] = []
    for start in [_Start(*span)] if clocked else _starts(material):
        found = placed(listed, start.began, 0)
        told += problems(found, start.began, start.ended)
        events += _lasting(found, start)
    if not any(event.ended > span[0] and event.began < span[1] for event in events):
        why = told[0] if told else "they lie before or after what was chosen"
        raise DataError(f"{path}: none of its events lies in the time that was recorded: {why}")
    return replace(
        material,
        events=(*material.events, *events),
        told=(*material.told, *(printable(f"{path}: {text}.") for text in dict.fromkeys(told))),
    )


@dataclass(frozen=True)
class _Start:
    """What offsets count from."""

    began: int
    ended: int
    session: int = -1
    source: Source | None = None
    """The film: films that were watched at the same time, or faster than they last, overlap."""


def _starts(material: Material) -> list[_Start]:
    if material.sessions:
        return [_Start(one.began, one.ended, index) for index, one in enumerate(material.sessions)]
    minutes = material.minutes
    films = [index for index, source in enumerate(material.sources) if source.film]
    if films and len(minutes):
        rows = [(film, minutes.take(minutes.source == film)) for film in films]
        return [
            _Start(int(one.began.min()), int(one.ended.max()), source=material.sources[film])
            for film, one in rows
            if len(one)
        ]
    assert material.span is not None
    return [_Start(*material.span)]


def _lasting(found: Sequence[PlacedEvent], start: _Start) -> list[Event]:
    events = []
    began, ended = start.began, start.ended
    for index, one in enumerate(found):
        following = found[index + 1].began if index + 1 < len(found) else max(ended, one.began)
        last = following if one.ended is None else one.ended
        # What lies outside must not count as something that nobody watched.
        early = one.ended is None and one.began < began - DAY
        if one.began < ended and last > began and not early:
            events.append(
                Event(one.listed.name, one.began, last, one.listed.group or "", start.session, start.source)
            )
    return events
