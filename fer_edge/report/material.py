"""What a report is made of, in memory: people, their seconds, minutes, gaps, sessions and events, as columns.

Readers make a :class:`Material` of stores, JSON lines or Parquet; measures, comparisons and the page work on
it alone. Columns are NumPy arrays of equal length, converted to the dtype of their field and checked when a
table is made. Times are int64 milliseconds since 1970 in UTC; those of a film are its position, added to the
time at which the run began, as in the store. Durations are seconds. What is not known is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import counted
from ..labels import EMOTIONS

Bools = NDArray[np.bool_]
Codes = NDArray[np.int32]
Times = NDArray[np.int64]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Shares = NDArray[np.float32]

SLACK = 0.002
"""Seconds, or parts of one, by which rounded columns may contradict each other."""


@dataclass(frozen=True)
class Source:
    """Where rows come from: one camera in one run of one device."""

    device: str
    camera: str
    run: str = ""
    """Number or name of the run, unique within the device."""
    film: str = ""
    """Path of the film; empty where the source was live."""
    settings: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """The record of its start (docs/jsonl.md), or what else is known of it."""


@dataclass(frozen=True)
class Session:
    """A time that was marked on one device, or on all where ``device`` is empty."""

    name: str
    began: int
    """Milliseconds, as all times."""
    ended: int
    device: str = ""
    run: str = ""
    """Empty: any run of the device."""


@dataclass(frozen=True)
class Event:
    """What was shown from ``began`` until before ``ended``. Events of equal names are one thing."""

    name: str
    began: int
    ended: int
    group: str = ""
    """What it belongs to; empty for nothing."""
    session: int = -1
    """Index into ``Material.sessions``; -1: it holds for all sources."""
    source: Source | None = None
    """The only one that it holds for, as a film; None: those of the session."""


def column(dtype: type[np.generic], width: int = 0, default: Any = MISSING) -> Any:
    """A dataclass field that is an array (n,) of ``dtype``, or (n, ``width``).

    ``default``: value of every row where no array is given.
    """
    return field(default=default, metadata={"dtype": np.dtype(dtype), "width": width})


@dataclass(frozen=True, eq=False)
class Columns:
    """A table; ``len`` is its number of rows."""

    def __post_init__(self) -> None:
        self._convert()
        self._check()

    def _convert(self) -> None:
        rows: int | None = None
        for one in fields(self):
            given = np.asarray(getattr(self, one.name))
            if not given.ndim:
                given = np.full(rows or 0, given)
            dtype, width = one.metadata["dtype"], one.metadata["width"]
            where = f"{type(self).__name__}.{one.name}"
            if not given.size:
                given = np.empty((len(given), width) if width else len(given), dtype)
            if not np.can_cast(given.dtype, dtype, "same_kind"):
                raise ValueError(f"{where} must be {dtype}; got {given.dtype}")
            if given.ndim != (2 if width else 1) or (width and given.shape[1] != width):
                raise ValueError(
                    f"{where} must be (n, {width}); got {given.shape}"
                    if width
                    else f"{where} must be (n,); got {given.shape}"
                )
            rows = len(given) if rows is None else rows
            if len(given) != rows:
                raise ValueError(f"{where} has {len(given)} rows; the columns before it have {rows}")
            object.__setattr__(self, one.name, given.astype(dtype, copy=False))

    def _check(self) -> None:
        for wrong, what in self._contradictions():
            self._refuse(wrong, what)

    def _contradictions(self) -> Iterator[tuple[Bools, str]]:
        """Yield which rows (n,) contradict themselves, and how."""
        yield from ()

    def _refuse(self, wrong: NDArray[Any], what: str) -> None:
        if wrong.any():
            raise ValueError(f"{type(self).__name__}, row {int(np.argmax(wrong))}: {what}")

    def _contradictions_in_seen(self) -> Iterator[tuple[Bools, str]]:
        names = [name for name in ("seen", "unsure", "attention", "unclear") if hasattr(self, name)]
        seen = np.asarray(self.seen, np.float64)  # type: ignore[attr-defined]
        for name in names:
            values = getattr(self, name)
            yield ~(values >= 0), f"{name} is negative or missing"
            yield values > seen + SLACK, f"{name} is more than seen"
        shares = self.shares  # type: ignore[attr-defined]
        missing = np.isnan(shares).sum(axis=1)
        yield (missing > 0) & (missing < len(EMOTIONS)), "some shares are missing, others not"
        yield shares.min(axis=1) < -SLACK, "a share is negative"
        total: Floats = shares.sum(axis=1, dtype=np.float64)
        yield (total < 1 - SLACK) | (total > 1 + SLACK), "the shares do not sum to 1"

    def _contradictions_in_order(self) -> Iterator[tuple[Bools, str]]:
        yield self.ended < self.began, "it ends before it begins"  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def empty(cls) -> Self:
        """A table without rows."""
        return cls(**{one.name: [] for one in fields(cls)})

    @classmethod
    def sound(cls, **columns: ArrayLike) -> tuple[Self, int]:
        """A table without the rows that contradict themselves, and how many these are."""
        table = object.__new__(cls)
        for one in fields(cls):
            object.__setattr__(table, one.name, columns.get(one.name, one.default))
        table._convert()
        wrong = np.zeros(len(table), np.bool_)
        for rows, _ in table._contradictions():
            wrong |= rows
        return table.take(~wrong), int(wrong.sum())

    def take(self, rows: NDArray[Any]) -> Self:
        """The rows that a mask (n,) or indices (m,) name, in that order."""
        return type(self)(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})

    def with_columns(self, **columns: ArrayLike) -> Self:
        """The same rows, with other values in some columns."""
        return replace(self, **columns)

    @classmethod
    def joined(cls, tables: Sequence[Self]) -> Self:
        """The rows of several tables, one after the other."""
        if not tables:
            return cls.empty()
        return cls(
            **{one.name: np.concatenate([getattr(t, one.name) for t in tables]) for one in fields(cls)}
        )


@dataclass(frozen=True, eq=False)
class People(Columns):
    """A row for each visit, from first to last sight; see ``visits`` in docs/store.md for each column."""

    source: Codes = column(np.int32)
    """Index into ``Material.sources``."""
    track: Counts = column(np.int64)
    """Number of the person within the source. A track that came back has several rows: one person."""
    began: Times = column(np.int64)
    ended: Times = column(np.int64)
    seen: Floats = column(np.float64)
    """Seconds."""
    unsure: Floats = column(np.float64)
    attention: Floats = column(np.float64)
    unclear: Floats = column(np.float64)
    shares: Shares = column(np.float32, len(EMOTIONS))
    """(n, 7): means over the time in sight, in the order of ``EMOTIONS``; NaN where nothing was seen."""
    smile: Floats = column(np.float64)
    """Largest share of happy over a second, 0 to 1; NaN where nothing was seen."""
    first_smile: Floats = column(np.float64)
    """Seconds from ``began``; NaN where there was no smile."""
    size: Floats = column(np.float64)
    """Mean size of the face in pixels; NaN where it is not known."""
    cut: Bools = column(np.bool_)
    """Whether the visit was broken off, or goes on: its end is not known."""

    def _contradictions(self) -> Iterator[tuple[Bools, str]]:
        yield from self._contradictions_in_order()
        yield from self._contradictions_in_seen()

    def _check(self) -> None:
        super()._check()
        self._refuse(self.source < 0, "the source is negative")

    @property
    def dwell(self) -> Floats:
        """Seconds from first to last sight."""
        return (self.ended - self.began) / 1000.0

    @cached_property
    def who(self) -> Counts:
        """(n,): a number from 0 for each (source, track), which is one person as far as tracking tells."""
        return numbered(self.source, self.track)


@dataclass(frozen=True, eq=False)
class Seconds(Columns):
    """A row for each person and second of the clock, while a session was marked or from JSON lines."""

    person: Codes = column(np.int32)
    """Index into ``Material.people``."""
    began: Times = column(np.int64)
    seen: Shares = column(np.float32)
    """Seconds of the second, above 0 and at most 1."""
    unsure: Shares = column(np.float32)
    attention: Shares = column(np.float32)
    unclear: Shares = column(np.float32)
    shares: Shares = column(np.float32, len(EMOTIONS))

    def _contradictions(self) -> Iterator[tuple[Bools, str]]:
        yield from self._contradictions_in_seen()
        yield ~((self.seen > 0) & (self.seen <= 1 + SLACK)), "seen is not above 0 and at most 1"
        yield np.isnan(self.shares[:, 0]), "the shares are missing"

    def _check(self) -> None:
        super()._check()
        self._refuse(self.person < 0, "the person is negative")


@dataclass(frozen=True, eq=False)
class Minutes(Columns):
    """A row for each minute of a camera; see ``minutes`` in docs/store.md for each column."""

    source: Codes = column(np.int32)
    began: Times = column(np.int64)
    ended: Times = column(np.int64)
    observed: Floats = column(np.float64)
    gap: Floats = column(np.float64)
    frames: Counts = column(np.int64)
    dropped: Counts = column(np.int64)
    lost: Counts = column(np.int64)
    people: Counts = column(np.int64)
    people_max: Counts = column(np.int64)
    visits_begun: Counts = column(np.int64)
    visits_ended: Counts = column(np.int64)
    dwell: Floats = column(np.float64)
    seen: Floats = column(np.float64)
    unsure: Floats = column(np.float64)
    attention: Floats = column(np.float64)
    unclear: Floats = column(np.float64)
    shares: Shares = column(np.float32, len(EMOTIONS))
    """(n, 7): of each person, then averaged over people; NaN where nobody was seen."""
    brightness: Floats = column(np.float64, default=math.nan)
    """Of the picture, 0 to 255; this and the next three are NaN where no light was measured."""
    face_brightness: Floats = column(np.float64, default=math.nan)
    """Of the faces in sight; NaN also where nobody was."""
    dark: Floats = column(np.float64, default=math.nan)
    """Seconds of ``seen`` in which the face was too dark."""
    bright: Floats = column(np.float64, default=math.nan)

    def _contradictions(self) -> Iterator[tuple[Bools, str]]:
        yield from self._contradictions_in_order()
        yield from self._contradictions_in_seen()

    def _check(self) -> None:
        super()._check()
        self._refuse(self.source < 0, "the source is negative")


@dataclass(frozen=True, eq=False)
class Gaps(Columns):
    """A row for each time without frames."""

    source: Codes = column(np.int32)
    began: Times = column(np.int64)
    ended: Times = column(np.int64)
    reason: NDArray[np.str_] = column(np.str_)

    def _contradictions(self) -> Iterator[tuple[Bools, str]]:
        yield from self._contradictions_in_order()

    def _check(self) -> None:
        super()._check()
        self._refuse(self.source < 0, "the source is negative")


Rows = TypeVar("Rows", People, Minutes, Gaps)


@dataclass(frozen=True, eq=False)
class Material:
    """All that a report is made of.

    Raises ValueError where a table names a source, person or session that is not there.
    """

    sources: tuple[Source, ...] = ()
    people: People = field(default_factory=People.empty)
    seconds: Seconds = field(default_factory=Seconds.empty)
    minutes: Minutes = field(default_factory=Minutes.empty)
    gaps: Gaps = field(default_factory=Gaps.empty)
    sessions: tuple[Session, ...] = ()
    events: tuple[Event, ...] = ()
    told: tuple[str, ...] = ()
    """What was damaged, missing or of an older schema, as sentences for the reader."""

    def __post_init__(self) -> None:
        if len(set(self.sources)) != len(self.sources):
            raise ValueError("Material.sources names one source twice")
        for table in (self.people, self.minutes, self.gaps):
            _refuse_beyond(table.source, len(self.sources), f"{type(table).__name__}.source", "sources")
        _refuse_beyond(self.seconds.person, len(self.people), "Seconds.person", "people")
        for event in self.events:
            if not -1 <= event.session < len(self.sessions):
                raise ValueError(f"event {event.name}: session {event.session} of {len(self.sessions)}")
        spans: tuple[Session | Event, ...] = (*self.sessions, *self.events)
        for one in spans:
            if one.ended < one.began:
                raise ValueError(f"{type(one).__name__.lower()} {one.name} ends before it begins")

    @classmethod
    def empty(cls) -> Material:
        """Material without anything."""
        return cls()

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last millisecond of people, minutes and gaps; None where there are none."""
        tables = [table for table in (self.people, self.minutes, self.gaps) if len(table)]
        if not tables:
            return None
        return min(int(t.began.min()) for t in tables), max(int(t.ended.max()) for t in tables)

    @property
    def used(self) -> Bools:
        """(sources,): which sources have people, minutes or gaps."""
        tables = (self.people, self.minutes, self.gaps)
        return np.isin(np.arange(len(self.sources)), np.concatenate([table.source for table in tables]))

    @property
    def cameras(self) -> list[tuple[str, str]]:
        """Device and name of each camera or film, in the order of the sources."""
        return list(dict.fromkeys((one.device, one.camera) for one in self.sources))

    @property
    def cameras_counted(self) -> str:
        """``2 cameras``, or ``2 films`` where all of them are."""
        return counted(len(self.cameras), "film" if all(one.film for one in self.sources) else "camera")

    @property
    def over_cameras(self) -> str:
        """What to add to a time that is added up over cameras or films: nothing if there is only one."""
        return f" over {self.cameras_counted}" if len(self.cameras) > 1 else ""

    def sources_where(
        self,
        *,
        device: str | None = None,
        camera: str | None = None,
        run: str | None = None,
        film: str | None = None,
    ) -> Bools:
        """(sources,): which sources have these names; None stands for any."""
        asked = {"device": device, "camera": camera, "run": run, "film": film}
        return np.array(
            [all(v is None or getattr(one, k) == v for k, v in asked.items()) for one in self.sources],
            np.bool_,
        )

    def sources_of(self, event: Event) -> Bools:
        """(sources,): which sources an event holds for: its own, else all of its session's device and run."""
        if event.source is not None:
            return np.array([one == event.source for one in self.sources], np.bool_)
        if event.session < 0:
            return np.ones(len(self.sources), np.bool_)
        session = self.sessions[event.session]
        return self.sources_where(device=session.device or None, run=session.run or None)

    def with_devices(self, names: Mapping[str, str]) -> Material:
        """The same with other names of devices, by their present ones; those not among ``names`` stay."""
        return replace(
            self,
            sources=tuple(replace(one, device=names.get(one.device, one.device)) for one in self.sources),
            sessions=tuple(replace(one, device=names.get(one.device, one.device)) for one in self.sessions),
        )

    def with_people(self, rows: NDArray[Any]) -> Material:
        """The people that a mask (n,) or indices (m,) name, with their seconds; the rest as it is."""
        kept = np.arange(len(self.people))[rows]
        index = np.full(len(self.people), -1, np.int32)
        index[kept] = np.arange(len(kept), dtype=np.int32)
        seconds = self.seconds.take(index[self.seconds.person] >= 0) if len(self.seconds) else self.seconds
        return replace(
            self,
            people=self.people.take(kept),
            seconds=seconds.with_columns(person=index[seconds.person]) if len(seconds) else seconds,
        )

    def select(
        self,
        since: int | None = None,
        until: int | None = None,
        *,
        devices: Collection[str] | None = None,
        cameras: Collection[str] | None = None,
    ) -> Material:
        """What began at ``since`` or later and before ``until`` (milliseconds), of these devices and cameras.

        Seconds follow their people. Sessions and events that touch the time stay, also those of other
        devices.
        """
        first = np.iinfo(np.int64).min if since is None else since
        last = np.iinfo(np.int64).max if until is None else until
        wanted = np.array(
            [
                (devices is None or one.device in devices) and (cameras is None or one.camera in cameras)
                for one in self.sources
            ],
            np.bool_,
        )

        def rows(table: People | Minutes | Gaps) -> Bools:
            return wanted[table.source] & (table.began >= first) & (table.began < last)

        whole = self.with_people(rows(self.people))
        touched = [one.began < last and one.ended > first for one in self.sessions]
        number = np.cumsum([0, *touched])
        return replace(
            whole,
            minutes=self.minutes.take(rows(self.minutes)),
            gaps=self.gaps.take(rows(self.gaps)),
            sessions=tuple(one for one, is_in in zip(self.sessions, touched, strict=True) if is_in),
            events=tuple(
                replace(one, session=int(number[one.session]) if one.session >= 0 else -1)
                for one in self.events
                if one.began < last and one.ended > first and (one.session < 0 or touched[one.session])
            ),
        )


def joined(materials: Iterable[Material]) -> Material:
    """One material of several, as of two devices or of the files of a week.

    Sources of equal names become one. Rows that two of them both have (the same file twice) are not found
    out: readers do that.
    """
    everything = list(materials)
    code: dict[Source, int] = {}
    people, seconds, minutes, gaps = [], [], [], []
    sessions: list[Session] = []
    events: list[Event] = []
    persons = 0
    for one in everything:
        codes = np.array([code.setdefault(source, len(code)) for source in one.sources], np.int32)

        def moved(table: Rows, codes: Codes = codes) -> Rows:
            return table.with_columns(source=codes[table.source]) if len(table) else table

        people.append(moved(one.people))
        minutes.append(moved(one.minutes))
        gaps.append(moved(one.gaps))
        seconds.append(one.seconds.with_columns(person=one.seconds.person + np.int32(persons)))
        events += [
            replace(e, session=e.session + len(sessions) if e.session >= 0 else -1) for e in one.events
        ]
        sessions += one.sessions
        persons += len(one.people)
    return Material(
        tuple(code),
        People.joined(people),
        Seconds.joined(seconds),
        Minutes.joined(minutes),
        Gaps.joined(gaps),
        tuple(sessions),
        tuple(events),
        tuple(dict.fromkeys(told for one in everything for told in one.told)),
    )


def numbered(*keys: NDArray[Any]) -> Counts:
    """(n,) int64: a number from 0 for each different combination of ``keys``, arrays (n,), in their order."""
    number = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        values, codes = np.unique(key, return_inverse=True)
        number = np.unique(number * max(len(values), 1) + codes, return_inverse=True)[1].astype(np.int64)
    return number


def visit_at(people: People, source: NDArray[Any], track: NDArray[Any], at: NDArray[Any]) -> Codes:
    """(m,) int32: the row of ``people`` that ``track`` (m,) of ``source`` (m,) belongs to at ``at`` (m,) ms.

    That is the latest visit of the track that began before the end of that second; its first one where none
    did; -1 where there is no such track. Readers use it to make ``Seconds.person``.
    """
    if not len(people):
        return np.full(len(at), -1, np.int32)
    asked_source, asked_track = np.asarray(source, np.int64), np.asarray(track, np.int64)
    key = numbered(
        np.concatenate([people.source.astype(np.int64), asked_source]),
        np.concatenate([people.track, asked_track]),
    )
    own, asked = key[: len(people)], key[len(people) :]
    order = np.lexsort((people.began, own))
    first = people.began.min()
    # One sorted number for track and time: times are made small, so that the product fits into 64 bits.
    width = (
        int(max(people.began.max(), np.max(at, initial=first)) - min(first, np.min(at, initial=first))) + 2001
    )
    base = min(first, np.min(at, initial=first))
    sorted_keys = own[order] * width + (people.began[order] - base)
    place = np.searchsorted(sorted_keys, asked * width + (np.asarray(at) - base) + 999, side="right") - 1
    place = np.clip(place, 0, len(order) - 1)
    before = own[order][place] != asked
    place = np.where(before, np.minimum(place + 1, len(order) - 1), place)
    found = own[order][place] == asked
    # Where the track's first visit is the very first row, clipping has named it already.
    return np.where(found, order[place], -1).astype(np.int32)


def lasting(marks: Iterable[Event], sessions: Sequence[Session]) -> tuple[Event, ...]:
    """Marks as events: each lasts until the next one of its session, or the session's end.

    ``ended`` of the marks is not read. Marks of no session end at the next such mark, the last one where it
    began.
    """
    kept = sorted(marks, key=lambda mark: (mark.session, mark.began))
    ended = [
        following.began
        if following is not None and following.session == mark.session
        else max(sessions[mark.session].ended, mark.began)
        if mark.session >= 0
        else mark.began
        for mark, following in zip(kept, [*kept[1:], None], strict=True)
    ]
    return tuple(replace(mark, ended=end) for mark, end in zip(kept, ended, strict=True))


def local(times: Times, zone: tzinfo = UTC) -> Times:
    """(n,) int64: milliseconds of the clock on the wall in ``zone``, counted as if they were UTC.

    ``local(t, zone) // 86_400_000`` numbers days. Summer time is followed to the quarter of an hour.
    """
    quarter = 900_000
    values, codes = np.unique(np.asarray(times, np.int64) // quarter, return_inverse=True)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    offsets = [
        ((epoch + timedelta(milliseconds=int(v) * quarter)).astimezone(zone).utcoffset() or timedelta(0))
        for v in values
    ]
    shift = np.array([offset // timedelta(milliseconds=1) for offset in offsets], np.int64)
    return np.asarray(times, np.int64) + (shift[codes] if len(shift) else 0)


def _refuse_beyond(codes: Codes, count: int, what: str, of: str) -> None:
    if len(codes) and int(codes.max()) >= count:
        raise ValueError(f"{what} is {int(codes.max())}; there are {count} {of}")
