"""Which rows of each device have arrived, and which are missing; rows wait here until they are written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

from ..store.clock import DAY
from .database import Database, Work
from .limits import HISTORY
from .payloads import COLUMNS, Row, Table
from .spans import Spans

MOST_SOURCES = 50_000
"""Stores of devices that are kept apart; a stranger at the broker could make up any number."""

DELETED_AT_ONCE = 2000
"""Rows of each table that one step deletes."""

OVER_AFTER = DAY
"""Milliseconds without a row after which a boot is over: until then, its device may yet set its clock."""

_NEWEST = "(SELECT max(minute.began) FROM minute WHERE minute.clock = clock.id)"
OUTDATED = (
    "SELECT c.id, c.until FROM (SELECT clock.id, "
    f"CASE WHEN coalesce(fleet_clock.heard, 0) < ? OR {_NEWEST} >= ? - clock.origin "
    f"THEN ? - clock.origin ELSE {_NEWEST} - ? END AS until, "
    "(SELECT min(t.began) FROM {row} AS t WHERE t.clock = clock.id) AS first "
    "FROM clock LEFT JOIN fleet_clock ON fleet_clock.clock = clock.id) AS c WHERE c.first < c.until LIMIT ?"
)
"""Clocks of rows that are too old, and the time by each before which they are."""

# Joined with the clocks, PostgreSQL would read all rows, and search the newest minute once for each.
DELETE = (
    "DELETE FROM {row} WHERE (device, seq) IN "
    "(SELECT device, seq FROM {row} WHERE clock = ? AND began < ? LIMIT ?)"
)
"""Deletes rows of a clock that began before that time."""

TABLES: tuple[Table, ...] = get_args(Table)

_ROW: Mapping[Table, str] = {"minutes": "minute", "visits": "visit"}
_KEYS = ("device", "seq", "camera", "clock", "run")
_MOST_REMEMBERED = 100_000
"""Ids of cameras, clocks and runs that are not looked up again."""


class TooMany(ValueError):
    """There are more stores of devices than are kept apart."""


@dataclass(eq=False)
class Source:
    """One store of one device."""

    name: str
    """The device, as topics call it."""
    store: str
    """The id of its store, which counts its rows."""
    key: str
    """By which the database knows it."""
    id: int | None = None
    spans: dict[Table, Spans] = field(default_factory=lambda: {table: Spans() for table in TABLES})
    lost: dict[Table, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    """Rows that the device no longer has and that never arrived."""
    met: set[Table] = field(default_factory=set)
    """Tables of which the first row to request is known."""
    begun: dict[Table, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    """The last row when the device was met: what it had deleted before is not lost."""

    @property
    def missing(self) -> int:
        """Rows that the device may still have."""
        return sum(spans.missing for spans in self.spans.values())


@dataclass
class _Pending:
    source: Source
    table: Table
    row: Row
    fresh: bool
    """Whether its origin is what the device knows now."""


class Book:
    """Takes rows and writes them some at a time. ``history``: see
    :data:`~fer_edge.fleet.limits.HISTORY`. ``wall``: seconds since 1970."""

    def __init__(
        self, database: Database, history: int = HISTORY, wall: Callable[[], float] = time.time
    ) -> None:
        self._database, self._history, self._wall = database, history, wall
        self._sources: dict[tuple[str, str], Source] = {}
        self._by_store: dict[str, Source] = {}
        self.current: dict[str, Source] = {}
        """Of each device the store that it told of last."""
        self._pending: list[_Pending] = []
        # In their order, so that devices are numbered as they were met.
        self._changed: dict[Source, None] = {}
        self._made: set[Source] = set()
        self._cameras: dict[tuple[int, str], int] = {}
        self._clocks: dict[tuple[int, str], tuple[int, int]] = {}
        self._runs: dict[tuple[int, int], tuple[int, int | None]] = {}
        self.written = 0
        """Rows that were written since the start."""
        self.doubles = 0
        """Rows that arrived again."""

    @property
    def pending(self) -> int:
        """Rows that are not written yet."""
        return len(self._pending)

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return bool(self._pending or self._changed)

    def load(self) -> None:
        """Read what is there. Raises :class:`~fer_edge.errors.OutputError`."""
        with self._database.transaction() as work:
            known: dict[int, Source] = {}
            for number, key, name in work.all("SELECT id, uuid, name FROM device ORDER BY id"):
                source = Source(name, key.partition("/")[0], key, number)
                known[number] = self._sources[name, source.store] = source
                self._by_store.setdefault(source.store, source)
                self.current[name] = source
            for number, kind, settled, last, lost, begun in work.all(
                "SELECT device, kind, settled, last, lost, begun FROM fleet_progress"
            ):
                source = known[number]
                source.begun[kind] = begun
                source.spans[kind] = spans = Spans(settled)
                source.lost[kind] = lost
                source.met.add(kind)
                if last > settled:
                    for first, end in _runs_of(
                        seq
                        for (seq,) in work.all(
                            f"SELECT seq FROM {_ROW[kind]} WHERE device = ? AND seq > ? ORDER BY seq",
                            (number, settled),
                        )
                    ):
                        spans.add(first, end)
                    spans.exists(last)

    def source(self, name: str, store: str) -> Source:
        """The source of that device and store, made where it is new. Raises :class:`TooMany`."""
        source = self._sources.get((name, store))
        if source is None:
            if len(self._sources) >= MOST_SOURCES:
                raise TooMany(f"{MOST_SOURCES:,} stores of devices are known, and {name} has another one")
            other = self._by_store.get(store)
            key = store if other is None and "/" not in store else f"{store}/{name}"
            source = self._sources[name, store] = Source(name, store, key)
            self._by_store.setdefault(store, source)
        self.current[name] = source
        return source

    def known_elsewhere(self, source: Source) -> str | None:
        """The other device that had this store before: it was renamed, or its card was copied."""
        first = self._by_store[source.store]
        return None if first is source else first.name

    def meet(self, source: Source, table: Table, last: int) -> None:
        """Learn that there are rows up to ``last``; at the first time, decide how far to look back."""
        spans = source.spans[table]
        if table not in source.met:
            source.met.add(table)
            source.begun[table] = last
            other = self._by_store[source.store]
            # What is there under another name is not asked for once more.
            floor = 0 if other is source else min(other.spans[table].settled, last)
            spans.add(1, max(floor, last - self._history))
            self._changed[source] = None
        if last > spans.last:
            spans.exists(last)
            self._changed[source] = None

    def take(self, source: Source, table: Table, row: Row, fresh: bool = False) -> None:
        """Take a row, which is written by :meth:`commit`. ``fresh``: the device has read it just now."""
        spans = source.spans[table]
        fresh = fresh or row.seq > spans.last
        self.meet(source, table, row.seq - 1)
        spans.add(row.seq, row.seq)
        self._changed[source] = None
        self._pending.append(_Pending(source, table, row, fresh))

    def settle(self, source: Source, table: Table, first: int, last: int) -> int:
        """Rows missing from ``first`` to ``last`` will never come; returns how many these are."""
        spans = source.spans[table]
        since = max(first, source.begun[table] + 1)
        gone = sum(end - begin + 1 for begin, end in spans.gaps(since, last))
        spans.add(first, last)
        source.lost[table] += gone
        self._changed[source] = None
        return gone

    def commit(self) -> set[Source]:
        """Write what waits, all or nothing; returns the sources that have changed.

        Raises :class:`~fer_edge.errors.OutputError`; what waits then goes on waiting.
        """
        try:
            with self._database.transaction() as work:
                written = self._write(work)
        except BaseException:
            # Ids assigned in the failed transaction are void.
            self._forget()
            for source in self._made:
                source.id = None
            raise
        self.written += written
        self.doubles += len(self._pending) - written
        changed = set(self._changed)
        self._pending, self._changed = [], {}
        return changed

    def delete(self, keep: float) -> bool:
        """Delete some rows that are older than ``keep`` days; whether more may be left.

        While a boot goes on, its device may not have set its clock yet: rows must then also be so much older
        than its newest minute. Raises :class:`~fer_edge.errors.OutputError`.
        """
        now, age = self._now(), round(keep * DAY)
        ages = (now - OVER_AFTER, now, now - age, age)
        left = False
        with self._database.transaction() as work:
            for row in _ROW.values():
                rest = DELETED_AT_ONCE
                for clock, until in work.all(OUTDATED.format(row=row), (*ages, DELETED_AT_ONCE)):
                    rest -= work.many(DELETE.format(row=row), [(clock, until, rest)])
                    if not rest:
                        left = True
                        break
        self._database.shrink()
        return left

    def _now(self) -> int:
        return round(self._wall() * 1000)

    def _forget(self) -> None:
        self._cameras.clear()
        self._clocks.clear()
        self._runs.clear()

    def _write(self, work: Work) -> int:
        if len(self._cameras) + len(self._clocks) + len(self._runs) > _MOST_REMEMBERED:
            self._forget()
        self._made = set()
        for source in self._changed:
            if source.id is None:
                self._made.add(source)
                source.id = work.all(
                    "INSERT INTO device (uuid, name) VALUES (?, ?) "
                    "ON CONFLICT (uuid) DO UPDATE SET name = excluded.name RETURNING id",
                    (source.key, source.name),
                )[0][0]
        rows: dict[Table, list[tuple[int | None, ...]]] = {table: [] for table in TABLES}
        for one in self._pending:
            rows[one.table].append(self._numbers(work, one))
        written = 0
        for table, found in rows.items():
            if found:
                names = (*_KEYS, *COLUMNS[table])
                written += work.many(
                    f"INSERT INTO {_ROW[table]} ({', '.join(names)}) VALUES "
                    f"({', '.join('?' * len(names))}) ON CONFLICT DO NOTHING",
                    found,
                )
        at = _KEYS.index("clock")
        heard = {numbers[at] for found in rows.values() for numbers in found}
        work.many(
            "INSERT INTO fleet_clock (clock, heard) VALUES (?, ?) "
            "ON CONFLICT (clock) DO UPDATE SET heard = excluded.heard",
            [(clock, self._now()) for clock in heard],
        )
        progress = [
            (source.id, table, spans.settled, spans.last, source.lost[table], source.begun[table])
            for source in self._changed
            for table, spans in source.spans.items()
            if table in source.met
        ]
        work.many(
            "INSERT INTO fleet_progress (device, kind, settled, last, lost, begun) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (device, kind) DO UPDATE SET settled = excluded.settled, last = excluded.last, "
            "lost = excluded.lost",
            progress,
        )
        work.many(
            "UPDATE device SET minute_seq = ?, visit_seq = ? WHERE id = ?",
            [(one.spans["minutes"].last, one.spans["visits"].last, one.id) for one in self._changed],
        )
        return written

    def _numbers(self, work: Work, one: _Pending) -> tuple[int | None, ...]:
        """A row as its table has it."""
        device, row = one.source.id, one.row
        assert device is not None
        camera = self._cameras.get((device, row.camera))
        if camera is None:
            camera = _found_or_made(work, "camera", {"device": device, "name": row.camera})
            self._cameras[device, row.camera] = camera
        clock, run = self._clock_and_run(work, device, one)
        return (device, row.seq, camera, clock, run, *row.values)

    def _clock_and_run(self, work: Work, device: int, one: _Pending) -> tuple[int, int]:
        row = one.row
        known = self._runs.get((device, row.run))
        if known is None:
            found = work.all(
                "SELECT run.id, run.clock FROM fleet_run JOIN run ON run.id = fleet_run.run "
                "WHERE fleet_run.device = ? AND fleet_run.number = ?",
                (device, row.run),
            )
            known = (found[0][0], found[0][1]) if found else None
        # Each run of a film has a clock of its own; those of a boot share one.
        clock = self._clock(work, device, one, known[1] if known and row.film is not None else None)
        if known is None:
            run = work.all(
                "INSERT INTO run (clock, began, start, cut) VALUES (?, ?, '{}', 0) RETURNING id",
                (clock, row.began),
            )[0][0]
            work.run("INSERT INTO fleet_run (run, device, number) VALUES (?, ?, ?)", (run, device, row.run))
            known = (run, clock)
        self._runs[device, row.run] = known
        return clock, known[0]

    def _clock(self, work: Work, device: int, one: _Pending, of_run: int | None) -> int:
        row = one.row
        name = row.boot if row.film is None else f"{row.run}\0{row.film}"
        known = self._clocks.get((device, name))
        if known is None:
            if row.film is None:
                found = work.all(
                    "SELECT id, origin FROM clock WHERE device = ? AND boot = ? AND film IS NULL",
                    (device, row.boot),
                )
            else:
                found = work.all(
                    "SELECT id, origin FROM clock WHERE id = ? AND film = ?", (of_run or 0, row.film)
                )
            if found:
                known = (found[0][0], found[0][1])
            else:
                made = work.all(
                    "INSERT INTO clock (device, boot, film, origin) VALUES (?, ?, ?, ?) RETURNING id",
                    (device, row.boot, row.film, row.origin),
                )
                known = (made[0][0], row.origin)
        if one.fresh and known[1] != row.origin:
            # The device has corrected its clock, which corrects all times of that boot.
            work.run("UPDATE clock SET origin = ? WHERE id = ?", (row.origin, known[0]))
            known = (known[0], row.origin)
        self._clocks[device, name] = known
        return known[0]


def _found_or_made(work: Work, table: str, wanted: Mapping[str, object]) -> int:
    where = " AND ".join(f"{name} = ?" for name in wanted)
    found = work.all(f"SELECT id FROM {table} WHERE {where}", (*wanted.values(),))
    if not found:
        names, marks = ", ".join(wanted), ", ".join("?" * len(wanted))
        found = work.all(f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id", (*wanted.values(),))
    return int(found[0][0])


def _runs_of(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of numbers that follow each other, of sorted ``numbers``."""
    first = last = None
    for number in numbers:
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last
