"""A store as material: its views, read straight into columns."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import counted, printable
from ..labels import EMOTIONS
from ..sources.urls import without_secrets
from ..store.clock import milliseconds
from ..store.postgresql import open_store
from ..store.reader import StoreReader
from ..store.schema import VERSION
from .lines_runs import camera_of
from .material import (
    Event,
    Gaps,
    Material,
    Minutes,
    People,
    Seconds,
    Session,
    Source,
    lasting,
    visit_at,
)
from .progress import Progress

WHERE = ("device", "camera", "run", "film")
PEOPLE = ("track", "began", "ended", "seen", "unsure", "attention", "unclear", *EMOTIONS, "smile",
          "first_smile", "size", "cut")  # fmt: skip
MINUTES = ("began", "ended", "observed", "gap", "frames", "dropped", "lost", "people", "people_max",
           "visits_begun", "visits_ended", "dwell", "seen", "unsure", "attention", "unclear",
           *EMOTIONS)  # fmt: skip
LIGHT = ("brightness", "face_brightness", "dark", "bright")
"""Further columns of minutes, which earlier versions lack."""
SECONDS = ("track", "began", "seen", "unsure", "attention", "unclear", *EMOTIONS)

Chunk = Mapping[str, NDArray[Any]]

Odd = Counter[str]
"""Rows left out because their figures contradict each other, by what a row is.

A fleet's store may have some of a time when the server did not yet refuse them.
"""


def read_store(
    path: str | os.PathLike[str],
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress | None = None,
    devices: Collection[str] | None = None,
) -> Material:
    """Return what a store holds at one moment of what began in that time, also of what goes on.

    ``path``: a file, or the URL of a database. ``devices``: only what is of these, if all of them are there.
    Raises :class:`~fer_edge.errors.DataError` where it cannot be read.
    """
    progress = progress or Progress()
    place = without_secrets(os.fspath(path))
    progress.begin(place, 4)
    with open_store(os.fspath(path)) as store, store.at_one_moment():
        sources = Sources()
        # Devices of one name in several stores are renamed only later: such a new name is unknown here.
        names_there = {one.name for one in store.devices()}
        only = sorted(set(devices)) if devices and names_there.issuperset(devices) else [None]

        def rows(table: str, names: Sequence[str]) -> Iterator[Chunk]:
            going_on = (False, True) if table in ("visits", "minutes") else (False,)
            return itertools.chain.from_iterable(
                store.columns(table, (*WHERE, *names), since=since, until=until, device=one, going_on=going)
                for going in going_on
                for one in only
            )

        odd: Odd = Counter()
        people = people_of(rows("visits", PEOPLE), sources, odd)
        progress.step(1)
        minutes = minutes_of(rows("minutes", (*MINUTES, *LIGHT)), sources, odd)
        progress.step(1)
        seconds = seconds_of(rows("seconds", SECONDS), people, sources)
        progress.step(1)
        gaps = gaps_of(rows("gaps", ("began", "ended", "reason")), sources)
        last = max((int(table.ended.max()) for table in (people, minutes) if len(table)), default=0)
        sessions, events = _sessions(store, last)
        starts, told = _runs(store, place)
        progress.step(1)
    told += told_of_odd(place, odd)
    known = tuple(
        replace(one, settings=_settings_of(one.camera, starts.get((one.device, one.run))))
        for one in sources.known
    )
    return Material(known, people, seconds, minutes, gaps, sessions, events, tuple(told))


class Sources:
    """Numbers sources in the order in which they are met."""

    def __init__(self) -> None:
        self._codes: dict[tuple[Any, ...], int] = {}

    @property
    def known(self) -> tuple[Source, ...]:
        """The sources, each at the place of its number."""
        return tuple(
            Source(str(device), str(camera), "" if run is None else f"{run:.0f}", film or "")
            for device, camera, run, film in self._codes
        )

    def codes(self, rows: Chunk) -> NDArray[np.int32]:
        """Number (n,) of the source of each row."""
        codes = self._codes
        keys = zip(*(rows[name].tolist() for name in WHERE), strict=True)
        return np.array([codes.setdefault(key, len(codes)) for key in keys], np.int32)


def people_of(rows: Iterable[Chunk], sources: Sources, odd: Odd) -> People:
    """Visits with the columns :data:`WHERE` and :data:`PEOPLE`; counts in ``odd`` what it leaves out."""
    found = []
    for chunk in rows:
        people, count = People.sound(
            source=sources.codes(chunk),
            track=chunk["track"].astype(np.int64),
            began=chunk["began"],
            ended=chunk["ended"],
            **_floats(chunk, ("seen", "unsure", "attention", "unclear", "smile", "first_smile", "size")),
            shares=_shares(chunk),
            cut=chunk["cut"] > 0,
        )
        found.append(people)
        odd["visit"] += count
    return People.joined(found)


def minutes_of(rows: Iterable[Chunk], sources: Sources, odd: Odd) -> Minutes:
    """Minutes with the columns :data:`WHERE` and :data:`MINUTES`, and :data:`LIGHT` where they have these.

    Counts in ``odd`` what it leaves out.
    """
    counts = ("frames", "dropped", "lost", "people", "people_max", "visits_begun", "visits_ended")
    found = []
    for chunk in rows:
        minutes, count = Minutes.sound(
            source=sources.codes(chunk),
            began=chunk["began"],
            ended=chunk["ended"],
            **_counts(chunk, counts),
            **_floats(chunk, ("observed", "gap", "dwell", "seen", "unsure", "attention", "unclear")),
            shares=_shares(chunk),
            **_floats(chunk, [name for name in LIGHT if name in chunk]),
        )
        found.append(minutes)
        odd["minute"] += count
    return Minutes.joined(found)


def told_of_odd(place: str, odd: Odd) -> list[str]:
    """What the reader is told of rows that were left out."""
    return [
        printable(f"{place}: {counted(count, row)} with figures that contradict each other; left out.")
        for row, count in odd.items()
        if count
    ]


def seconds_of(rows: Iterable[Chunk], people: People, sources: Sources) -> Seconds:
    """Seconds with the columns :data:`WHERE` and :data:`SECONDS`; of visits that are not there, none."""
    found = []
    for chunk in rows:
        person = visit_at(people, sources.codes(chunk), chunk["track"].astype(np.int64), chunk["began"])
        seconds = Seconds(
            person=np.maximum(person, 0),
            began=chunk["began"],
            **_floats(chunk, ("seen", "unsure", "attention", "unclear")),
            shares=_shares(chunk),
        )
        found.append(seconds.take(person >= 0))
    return Seconds.joined(found)


def gaps_of(rows: Iterable[Chunk], sources: Sources) -> Gaps:
    """Gaps with the columns :data:`WHERE`, ``began``, ``ended`` and ``reason``."""
    return Gaps.joined(
        [
            Gaps(sources.codes(chunk), chunk["began"], chunk["ended"], chunk["reason"].astype(np.str_))
            for chunk in rows
        ]
    )


def _floats(rows: Chunk, names: Sequence[str]) -> dict[str, Any]:
    return {name: rows[name].astype(np.float64) for name in names}


def _counts(rows: Chunk, names: Sequence[str]) -> dict[str, Any]:
    return {name: rows[name].astype(np.int64) for name in names}


def _shares(rows: Chunk) -> NDArray[np.float32]:
    return np.stack([rows[name] for name in EMOTIONS], axis=1).astype(np.float32)


def _sessions(store: StoreReader, last: int) -> tuple[tuple[Session, ...], tuple[Event, ...]]:
    sessions: list[Session] = []
    number: dict[int, int] = {}
    for row in store.rows("sessions"):
        began = milliseconds(row["began"])
        # Stores may have sessions that were started while no frames came, and end with the frame before.
        ended = last if row["ended"] is None else milliseconds(row["ended"])
        number[row["session"]] = len(sessions)
        sessions.append(Session(row["name"], began, max(ended, began), row["device"], str(row["run"])))
    marks: list[tuple[Event, int | None]] = []
    for row in store.rows("events"):
        began = milliseconds(row["began"])
        until = row.get("ended")
        event = Event(row["name"], began, began, row["group"] or "", number[row["session"]])
        marks.append((event, None if until is None else milliseconds(until)))
    return tuple(sessions), closed(marks, sessions)


def closed(marks: Iterable[tuple[Event, int | None]], sessions: Sequence[Session]) -> tuple[Event, ...]:
    """Events with their ends: those that are known, else the next event of the session or its end."""
    kept = sorted(marks, key=lambda mark: (mark[0].session, mark[0].began))
    if not kept:
        return ()
    return tuple(
        event if ended is None else replace(event, ended=max(ended, event.began))
        for event, (_, ended) in zip(lasting([event for event, _ in kept], sessions), kept, strict=True)
    )


def _settings_of(camera: str, start: Any) -> dict[str, Any] | None:
    """The record of ``camera`` in the ``start`` of its run; where none is called so, the first."""
    records = [
        one for one in (start if isinstance(start, list) else [start]) if isinstance(one, dict) and one
    ]
    return next((one for one in records if camera_of(one) == camera), records[0] if records else None)


def _runs(store: StoreReader, name: str) -> tuple[dict[tuple[str, str], Any], list[str]]:
    """The start of each run, by the names of its device and its own; and what the reader is told of runs."""
    starts: dict[tuple[str, str], Any] = {}
    cut = 0
    for row in store.rows("runs"):
        starts[row["device"], str(row["run"])] = json.loads(row["start"])
        cut += bool(row["cut"])
    told = []
    if store.version < VERSION:
        told.append(f"{name} is a store of version {store.version} (now {VERSION}) and was read as it is.")
    if cut:
        told.append(f"{name}: {counted(cut, 'run')} without an end: it goes on, or was broken off.")
    for row in store.rows("jumps"):
        told.append(
            f"The clock of {row['device']} was corrected by {row['seconds']:+.1f} s at "
            f"{row['began']:%Y-%m-%d %H:%M} UTC; times before that are corrected."
        )
    return starts, told
