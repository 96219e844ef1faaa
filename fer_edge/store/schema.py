"""The tables of a store, and the views over them that readers use.

Tables hold whole numbers, which SQLite keeps in one to four bytes each: a year of a busy camera has to fit
on a card. Views have the same rows in seconds, shares and UTC; :data:`TABLES` describes their columns, and
the views, CSV files and Parquet files are all made of it.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import DataError
from ..labels import EMOTIONS

VERSION = 3
"""``PRAGMA user_version``. It rises with any change that an older reader or writer would get wrong."""

CACHE = "PRAGMA cache_size = -512"
"""What each connection of a run keeps of the file, in KiB: with SQLite's own 2 MB memory grows for hours."""

APPLICATION = 0x46455245
"""``PRAGMA application_id``: "FERE", so that another program's database is not taken for a store."""

SHARE = 10_000
"""Shares and probabilities are stored in this part of one."""

TENTH = 10
"""Pixels, degrees and grey levels are stored in tenths."""

Kind = Literal["text", "whole", "real", "time", "flag"]


@dataclass(frozen=True)
class Column:
    """A column that readers see; ``time`` is milliseconds since 1970 in ``sql``, ISO text in views."""

    name: str
    kind: Kind
    sql: str
    since: int = 1
    """Version of the store from which on there is one; before, it is unknown of all rows."""


@dataclass(frozen=True)
class Table:
    """What readers see of a table."""

    columns: tuple[Column, ...]
    joins: str
    """What follows ``FROM``, with ``{row}`` for the name of the table that has a row for each."""
    row: str
    time: str
    """Column of ``row`` that has the time by the clock of the row."""
    order: str
    joins_by_time: str | None = None
    """The same as ``joins``, for a search by time: without being told, SQLite reads all rows."""

    def select(self, row: str, by_time: bool = False, version: int = VERSION) -> str:
        """Return the query of all rows of ``row`` or its twin, with times in milliseconds.

        ``version``: that of the store, which may be an older one.
        """
        joins = (self.joins_by_time if by_time else None) or self.joins
        told = ", ".join(
            f"{column.sql if column.since <= version else 'NULL'} AS {_quoted(column.name)}"
            for column in self.columns
        )
        return f"SELECT {told} FROM {joins.format(row=row)}"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _seconds(name: str) -> str:
    return f"{name} / 1000.0"


_SHARES = tuple(Column(name, "real", f"t.{name} / {SHARE}.0") for name in EMOTIONS)

_WHERE = (
    Column("device", "text", "device.name"),
    Column("camera", "text", "camera.name"),
)
_WHEN = (
    Column("boot", "text", "clock.boot"),
    Column("film", "text", "clock.film"),
    Column("monotonic", "real", _seconds("t.began")),
    Column("began", "time", "clock.origin + t.began"),
)
_LENGTH = (
    Column("ended", "time", "clock.origin + t.began + t.length"),
    Column("seconds", "real", _seconds("t.length")),
)
_ATTENTION = (
    Column("seen", "real", _seconds("t.seen")),
    Column("unsure", "real", _seconds("t.unsure")),
    Column("attention", "real", _seconds("t.attention")),
    Column("unclear", "real", _seconds("t.unclear")),
)
_CUT = Column("cut", "flag", "t.cut")
_LIGHT = (
    Column("brightness", "real", f"t.brightness / {TENTH}.0", since=3),
    Column("face_brightness", "real", f"t.face_brightness / {TENTH}.0", since=3),
    Column("dark", "real", _seconds("t.dark"), since=3),
    Column("bright", "real", _seconds("t.bright"), since=3),
)

_JOINS = (
    "{row} AS t JOIN clock ON clock.id = t.clock JOIN camera ON camera.id = t.camera "
    "JOIN device ON device.id = t.device"
)

_JOINS_BY_TIME = (
    "clock CROSS JOIN {row} AS t ON t.clock = clock.id JOIN camera ON camera.id = t.camera "
    "JOIN device ON device.id = t.device"
)

TABLES: dict[str, Table] = {
    "visits": Table(
        (
            *_WHERE,
            Column("seq", "whole", "t.seq"),
            Column("run", "whole", "t.run"),
            Column("track", "whole", "t.track"),
            *_WHEN,
            *_LENGTH,
            *_ATTENTION,
            *_SHARES,
            Column("smile", "real", f"t.smile / {SHARE}.0"),
            Column("first_smile", "real", _seconds("t.first_smile")),
            Column("size", "real", f"t.size / {TENTH}.0"),
            Column("yaw", "real", f"t.yaw / {TENTH}.0"),
            Column("pitch", "real", f"t.pitch / {TENTH}.0"),
            _CUT,
        ),
        _JOINS,
        "visit",
        "began",
        "t.device, t.seq",
        joins_by_time=_JOINS_BY_TIME,
    ),
    "minutes": Table(
        (
            *_WHERE,
            Column("seq", "whole", "t.seq"),
            Column("run", "whole", "t.run"),
            *_WHEN,
            *_LENGTH,
            Column("observed", "real", _seconds("t.observed")),
            Column("gap", "real", _seconds("t.gap")),
            Column("frames", "whole", "t.frames"),
            Column("dropped", "whole", "t.dropped"),
            Column("lost", "whole", "t.lost"),
            Column("people", "whole", "t.people"),
            Column("people_mean", "real", "CASE WHEN t.observed > 0 THEN t.seen * 1.0 / t.observed END"),
            Column("people_max", "whole", "t.people_max"),
            Column("visits_begun", "whole", "t.visits_begun"),
            Column("visits_ended", "whole", "t.visits_ended"),
            Column("dwell", "real", _seconds("t.dwell")),
            *_ATTENTION,
            *_SHARES,
            _CUT,
            *_LIGHT,
        ),
        _JOINS,
        "minute",
        "began",
        "t.device, t.seq",
        joins_by_time=_JOINS_BY_TIME,
    ),
    "gaps": Table(
        (
            *_WHERE,
            Column("seq", "whole", "t.seq"),
            Column("run", "whole", "t.run"),
            *_WHEN,
            *_LENGTH,
            Column("reason", "text", "t.reason"),
        ),
        _JOINS,
        "gap",
        "began",
        "t.device, t.seq",
        joins_by_time=_JOINS_BY_TIME,
    ),
    "seconds": Table(
        (
            *_WHERE,
            Column("session", "whole", "t.session"),
            Column("run", "whole", "session.run"),
            Column("track", "whole", "t.track"),
            *_WHEN,
            *_ATTENTION,
            *_SHARES,
            Column("size", "real", f"t.size / {TENTH}.0"),
            Column("yaw", "real", f"t.yaw / {TENTH}.0"),
            Column("pitch", "real", f"t.pitch / {TENTH}.0"),
        ),
        "session JOIN clock ON clock.id = session.clock JOIN {row} AS t ON t.session = session.id "
        "JOIN camera ON camera.id = t.camera JOIN device ON device.id = camera.device",
        "second",
        "began",
        "t.session, t.began, t.camera, t.track",
    ),
    "sessions": Table(
        (
            Column("device", "text", "device.name"),
            Column("session", "whole", "t.id"),
            Column("run", "whole", "t.run"),
            Column("name", "text", "t.name"),
            *_WHEN,
            Column("ended", "time", "clock.origin + t.ended"),
            _CUT,
        ),
        "{row} AS t JOIN clock ON clock.id = t.clock JOIN device ON device.id = clock.device",
        "session",
        "began",
        "t.id",
    ),
    "events": Table(
        (
            Column("device", "text", "device.name"),
            Column("session", "whole", "t.session"),
            Column("name", "text", "t.name"),
            Column("group", "text", "t.kind"),
            *_WHEN,
            Column("ended", "time", "clock.origin + t.ended", since=2),
        ),
        "session JOIN clock ON clock.id = session.clock JOIN {row} AS t ON t.session = session.id "
        "JOIN device ON device.id = clock.device",
        "event",
        "began",
        "t.session, t.began, t.id",
    ),
    "runs": Table(
        (
            Column("device", "text", "device.name"),
            Column("run", "whole", "t.id"),
            *_WHEN,
            Column("ended", "time", "clock.origin + t.ended"),
            Column("start", "text", "t.start"),
            _CUT,
        ),
        "{row} AS t JOIN clock ON clock.id = t.clock JOIN device ON device.id = clock.device",
        "run",
        "began",
        "t.id",
    ),
    "jumps": Table(
        (
            Column("device", "text", "device.name"),
            *_WHEN,
            Column("seconds", "real", _seconds("t.length")),
        ),
        "{row} AS t JOIN clock ON clock.id = t.clock JOIN device ON device.id = clock.device",
        "jump",
        "began",
        "t.id",
    ),
}
"""Of each view its columns, in order. ``open_visits`` and ``open_minutes`` have those of their twins."""

OPEN = ("visits", "minutes")
"""Tables with a twin for what goes on: ``open_visit``, ``open_minute``."""

_EMOTIONS = ", ".join(f"{name} INTEGER" for name in EMOTIONS)

_KEYS = """
    device INTEGER NOT NULL REFERENCES device, seq INTEGER NOT NULL,
    camera INTEGER NOT NULL REFERENCES camera, clock INTEGER NOT NULL REFERENCES clock,
    run INTEGER NOT NULL REFERENCES run,"""

_VISIT = f"""{_KEYS}
    track INTEGER NOT NULL, began INTEGER NOT NULL, length INTEGER NOT NULL,
    seen INTEGER NOT NULL, unsure INTEGER NOT NULL, attention INTEGER NOT NULL, unclear INTEGER NOT NULL,
    {_EMOTIONS}, smile INTEGER, first_smile INTEGER,
    size INTEGER, yaw INTEGER, pitch INTEGER, cut INTEGER NOT NULL"""

_MINUTE = f"""{_KEYS}
    began INTEGER NOT NULL, length INTEGER NOT NULL, observed INTEGER NOT NULL, gap INTEGER NOT NULL,
    frames INTEGER NOT NULL, dropped INTEGER NOT NULL, lost INTEGER NOT NULL,
    people INTEGER NOT NULL, people_max INTEGER NOT NULL,
    visits_begun INTEGER NOT NULL, visits_ended INTEGER NOT NULL, dwell INTEGER NOT NULL,
    seen INTEGER NOT NULL, unsure INTEGER NOT NULL, attention INTEGER NOT NULL, unclear INTEGER NOT NULL,
    {_EMOTIONS}, cut INTEGER NOT NULL,
    brightness INTEGER, face_brightness INTEGER, dark INTEGER, bright INTEGER"""

_ADDED: dict[int, dict[str, tuple[str, ...]]] = {
    2: {"event": ("ended",)},
    3: dict.fromkeys(("minute", "open_minute"), ("brightness", "face_brightness", "dark", "bright")),
}
"""Of each version the columns, all whole numbers, that tables of the version before lack."""

_DDL = f"""
CREATE TABLE device (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    visit_seq INTEGER NOT NULL DEFAULT 0, minute_seq INTEGER NOT NULL DEFAULT 0,
    gap_seq INTEGER NOT NULL DEFAULT 0);
CREATE TABLE camera (id INTEGER PRIMARY KEY, device INTEGER NOT NULL REFERENCES device, name TEXT NOT NULL,
    UNIQUE (device, name));
CREATE TABLE clock (id INTEGER PRIMARY KEY, device INTEGER NOT NULL REFERENCES device, boot TEXT NOT NULL,
    film TEXT, origin INTEGER NOT NULL);
CREATE TABLE jump (id INTEGER PRIMARY KEY, clock INTEGER NOT NULL REFERENCES clock, began INTEGER NOT NULL,
    length INTEGER NOT NULL);
CREATE TABLE run (id INTEGER PRIMARY KEY, clock INTEGER NOT NULL REFERENCES clock, began INTEGER NOT NULL,
    ended INTEGER, start TEXT NOT NULL, cut INTEGER NOT NULL);
CREATE TABLE session (id INTEGER PRIMARY KEY, clock INTEGER NOT NULL REFERENCES clock,
    run INTEGER NOT NULL REFERENCES run, name TEXT NOT NULL, began INTEGER NOT NULL, ended INTEGER,
    cut INTEGER NOT NULL);
CREATE TABLE event (id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES session,
    began INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT, ended INTEGER);
CREATE TABLE visit ({_VISIT}, PRIMARY KEY (device, seq)) WITHOUT ROWID;
CREATE INDEX visit_time ON visit (clock, began);
CREATE TABLE open_visit ({_VISIT});
CREATE TABLE minute ({_MINUTE}, PRIMARY KEY (device, seq)) WITHOUT ROWID;
CREATE INDEX minute_time ON minute (clock, began);
CREATE TABLE open_minute ({_MINUTE});
CREATE TABLE gap ({_KEYS} began INTEGER NOT NULL, length INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (device, seq)) WITHOUT ROWID;
CREATE INDEX gap_time ON gap (clock, began);
CREATE TABLE second (session INTEGER NOT NULL REFERENCES session, began INTEGER NOT NULL,
    camera INTEGER NOT NULL REFERENCES camera, track INTEGER NOT NULL, seen INTEGER NOT NULL,
    unsure INTEGER NOT NULL, attention INTEGER NOT NULL, unclear INTEGER NOT NULL,
    {_EMOTIONS}, size INTEGER, yaw INTEGER, pitch INTEGER,
    PRIMARY KEY (session, began, camera, track)) WITHOUT ROWID;
"""


def tables() -> Iterator[str]:
    """Yield what makes the tables and indices of a store, without its views."""
    for statement in _DDL.split(";"):
        if statement.strip():
            yield re.sub(r"\s+", " ", statement).strip()


def statements() -> Iterator[str]:
    """Yield what makes an empty store of :data:`VERSION`, in an empty database."""
    yield from tables()
    for name, (table, row) in views().items():
        yield f"CREATE VIEW {name} AS {_as_text(table, row)}"
    yield f"PRAGMA application_id = {APPLICATION}"
    yield f"PRAGMA user_version = {VERSION}"


def changes(version: int) -> Iterator[str]:
    """Yield what makes a store of :data:`VERSION` of one of an earlier ``version``."""
    yield from added(version)
    for name, (table, row) in views(version).items():
        yield f"DROP VIEW {name}"
        yield f"CREATE VIEW {name} AS {_as_text(table, row)}"
    yield f"PRAGMA user_version = {VERSION}"


def added(version: int) -> Iterator[str]:
    """Yield what gives tables of an earlier ``version`` the columns that they lack."""
    for since, there in _ADDED.items():
        for row, names in there.items():
            if since > version:
                yield from (f"ALTER TABLE {row} ADD COLUMN {name} INTEGER" for name in names)


def views(version: int = 0) -> dict[str, tuple[Table, str]]:
    """Of each view the table and the name of its rows; only views that changed since ``version``."""
    found = {}
    for name, table in TABLES.items():
        if not version or any(column.since > version for column in table.columns):
            found[name] = table, table.row
            if name in OPEN:
                found[f"open_{name}"] = table, f"open_{table.row}"
    return found


def _as_text(table: Table, row: str) -> str:
    told = ", ".join(
        f"strftime('%Y-%m-%dT%H:%M:%fZ', ({column.sql}) / 1000.0, 'unixepoch') AS {_quoted(column.name)}"
        if column.kind == "time"
        else f"{column.sql} AS {_quoted(column.name)}"
        for column in table.columns
    )
    return f"SELECT {told} FROM {table.joins.format(row=row)}"


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a store, 0 of an empty database.

    Raises :class:`~fer_edge.errors.DataError` for what is no store, and for one of a later version.
    """
    with telling_what_it_is(path):
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application == 0 and version == 0 and tables == 0:
        return 0
    if application != APPLICATION:
        raise DataError(f"{path}: a database of another program; name a file of its own for the store")
    if version > VERSION:
        raise DataError(
            f"{path}: a store of version {version}; this fer-edge knows up to {VERSION}: update it, or name "
            "another file"
        )
    return version


def refuse_of_fleet(connection: sqlite3.Connection, path: Path) -> None:
    """Raise :class:`~fer_edge.errors.DataError` for a store of many devices."""
    if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'fleet'").fetchone()[0]:
        raise DataError(f"{path}: belongs to fer-edge fleet; name a file of its own for the store")


@contextlib.contextmanager
def telling_what_it_is(path: Path) -> Iterator[None]:
    """Raise :class:`~fer_edge.errors.DataError` where SQLite finds that a file is no database, or broken."""
    try:
        yield
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path}: cannot be read as a store: {error}") from error
