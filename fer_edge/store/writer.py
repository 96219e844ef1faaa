"""Writes a store: one process at a time, in transactions that survive a pulled plug."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, OutputError
from ..files import check_target, is_special, sync_folder
from .clock import DAY
from .rows import TABLE, MinuteRow, Row, SecondRow, VisitRow, columns, values
from .schema import CACHE, VERSION, changes, refuse_of_fleet, statements, telling_what_it_is, version_of

DELETED_AT_ONCE = 500
"""Rows of each table that one step of :meth:`StoreWriter.delete` deletes at most."""

_LOCAL = 1
"""The device that writes: the first in its own store."""

_BUSY_SECONDS = 5.0
_WAL_BYTES = 4_000_000


@dataclass(frozen=True)
class ClockState:
    """The clock of a run; see :mod:`fer_edge.store.clock`."""

    boot: str
    """Id of the machine's boot."""
    film: str | None
    """Name of the film whose positions the times are; ``None``: they are the machine's monotonic clock."""
    origin: int


@dataclass(frozen=True)
class Jump:
    """A correction of the wall clock."""

    at: int
    by: int


@dataclass(frozen=True)
class SessionBegun:
    """From here on rows of seconds belong to this session."""

    at: int
    name: str


@dataclass(frozen=True)
class Marked:
    """An event in the session that goes on."""

    at: int
    name: str
    group: str | None
    ended: int | None = None
    """Where its end is known beforehand."""


@dataclass(frozen=True)
class SessionEnded:
    """The session that went on is over."""

    at: int


Entry = Jump | SessionBegun | Marked | SessionEnded | tuple[str, Row]
"""What happened, a row with the name of its camera."""


@dataclass(frozen=True)
class Batch:
    """What one transaction writes."""

    clock: ClockState
    entries: Sequence[Entry]
    """In the order in which they happened."""
    open_rows: Sequence[tuple[str, VisitRow | MinuteRow]]
    """What goes on, with the names of cameras."""
    began: int
    """When the run began."""
    at: int
    """Up to when this tells everything."""
    ended: bool = False
    """Whether the run is over."""


class StoreWriter:
    """The only writer of a store, which is made where there is none.

    ``start``: JSON that tells of the run. Raises
    :class:`~fer_edge.errors.DataError` where the file cannot be opened, is no store, of a later version, or
    written by another process.
    """

    def __init__(self, path: str | os.PathLike[str], start: str) -> None:
        if os.fspath(path) == "-" or is_special(path):
            raise DataError(f"{path}: is no regular file; a store needs one")
        check_target(path, force=True)
        self.path = Path(path).resolve()
        self._start = start
        self._run: int | None = None
        self._session: int | None = None
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        try:
            self.open()
            self._finish_what_was_broken_off()
        except OutputError as error:
            self.close()
            raise DataError(str(error)) from error
        except DataError:
            self.close()
            raise

    def open(self) -> None:
        """Open the file, after :meth:`close` again. Raises as the constructor does, and OutputError."""
        if self._connection is not None:
            return
        with _telling(self.path):
            if self._lock is None:
                self._lock = locked(self.path)
            new = not self.path.exists()
            self._connection = connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            with telling_what_it_is(self.path):
                version = version_of(connection, self.path)
                refuse_of_fleet(connection, self.path)
                if version == 0:
                    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                if mode != "wal":
                    raise DataError(f"{self.path}: a store cannot lie on this file system, which has no WAL")
                # A commit is on the disk when it returns, also where the plug is pulled then.
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
                connection.execute(CACHE)
                if version == 0:
                    self._create(connection)
                elif version < VERSION:
                    with self._transaction():
                        for statement in changes(version):
                            connection.execute(statement)
            if new:
                sync_folder(self.path.parent)

    def close(self) -> None:
        """Close the file and let others write it; :meth:`open` opens it again."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                connection.close()
        finally:
            if lock is not None:
                os.close(lock)

    def origin_of(self, boot: str) -> int | None:
        """The origin of the clock of this boot, where it is known; see :class:`ClockState`."""
        with _telling(self.path):
            row = (
                self._opened()
                .execute(
                    "SELECT origin FROM clock WHERE device = ? AND boot = ? AND film IS NULL", (_LOCAL, boot)
                )
                .fetchone()
            )
        return None if row is None else int(row[0])

    def write(self, batch: Batch) -> None:
        """Write all of ``batch`` or, where it raises :class:`~fer_edge.errors.OutputError`, nothing."""
        with self._transaction() as connection:
            clock = self._clock(connection, batch.clock)
            run = self._run
            if run is None:
                run = _inserted(
                    connection,
                    "INSERT INTO run (clock, began, start, cut) VALUES (?, ?, ?, 1)",
                    (clock, batch.began, self._start),
                )
            session = self._session
            numbers = _Numbers(connection)
            for entry in batch.entries:
                match entry:
                    case Jump(at, by):
                        connection.execute(
                            "INSERT INTO jump (clock, began, length) VALUES (?, ?, ?)", (clock, at, by)
                        )
                    case SessionBegun(at, name):
                        session = _inserted(
                            connection,
                            "INSERT INTO session (clock, run, name, began, cut) VALUES (?, ?, ?, ?, 1)",
                            (clock, run, name, at),
                        )
                    case Marked(at, name, group, ended):
                        connection.execute(
                            "INSERT INTO event (session, began, name, kind, ended) VALUES (?, ?, ?, ?, ?)",
                            (session, at, name, group, ended),
                        )
                    case SessionEnded(at):
                        # One of listed events begins with the first frame, and may be stopped before.
                        connection.execute(
                            "UPDATE session SET ended = max(began, ?), cut = 0 WHERE id = ?", (at, session)
                        )
                        session = None
                    case (camera, row):
                        self._insert(connection, numbers, camera, row, clock, run, session)
            numbers.store()
            for name in ("open_visit", "open_minute"):
                connection.execute(f"DELETE FROM {name}")
            for camera, row in batch.open_rows:
                keys = {"device": _LOCAL, "seq": 0, "clock": clock, "run": run}
                _insert(
                    connection,
                    f"open_{TABLE[type(row)]}",
                    row,
                    {**keys, "camera": _camera(connection, camera)},
                )
            connection.execute(
                "UPDATE run SET ended = ?, cut = ? WHERE id = ?", (batch.at, int(not batch.ended), run)
            )
            if session is not None:
                # Started while no frames come, it began after the last one.
                connection.execute(
                    "UPDATE session SET ended = max(began, ?) WHERE id = ?", (batch.at, session)
                )
        self._run, self._session = run, session

    def delete(self, now: int, keep: float, keep_detail: float) -> bool:
        """Delete some of what is older than ``keep`` days, of seconds than ``keep_detail``.

        ``now``: milliseconds since 1970. Returns whether more may be left. Raises
        :class:`~fer_edge.errors.OutputError`.
        """
        before = now - round(keep * DAY)
        with self._transaction() as connection:
            left = self._delete_some(
                connection, "second", "session, began, camera, track", now - round(keep_detail * DAY)
            )
            for name in ("visit", "minute", "gap"):
                left |= self._delete_some(connection, name, "device, seq", before)
            if not left:
                _delete_runs(connection, before)
        with _telling(self.path):
            # execute() would take one step of it, which frees one page.
            self._opened().executescript(f"PRAGMA incremental_vacuum({DELETED_AT_ONCE})")
        return left

    def _delete_some(self, connection: sqlite3.Connection, table: str, key: str, before: int) -> bool:
        keys = ", ".join(f"t.{name}" for name in key.split(", "))
        of = "session JOIN clock ON clock.id = session.clock" if table == "second" else "clock"
        on = "t.session = session.id" if table == "second" else "t.clock = clock.id"
        deleted = connection.execute(
            f"DELETE FROM {table} WHERE ({key}) IN (SELECT {keys} FROM {of} CROSS JOIN {table} AS t ON {on} "
            "AND t.began < ? - clock.origin LIMIT ?)",
            (before, DELETED_AT_ONCE),
        ).rowcount
        return deleted == DELETED_AT_ONCE

    def _create(self, connection: sqlite3.Connection) -> None:
        with self._transaction():
            for statement in statements():
                connection.execute(statement)
            connection.execute(
                "INSERT INTO device (id, uuid, name) VALUES (?, ?, ?)",
                (_LOCAL, str(uuid.uuid4()), socket.gethostname()),
            )

    def _finish_what_was_broken_off(self) -> None:
        """Give what an earlier process had not finished its place among what is."""
        with self._transaction() as connection:
            numbers = _Numbers(connection)
            for kind in (VisitRow, MinuteRow):
                table = TABLE[kind]
                names = ", ".join(("camera", "clock", "run", *columns(kind)))
                for row in connection.execute(f"SELECT {names} FROM open_{table}").fetchall():
                    connection.execute(
                        f"INSERT INTO {table} (device, seq, {names}) VALUES ({_marks(len(row) + 2)})",
                        (_LOCAL, numbers.next(table), *row),
                    )
                connection.execute(f"DELETE FROM open_{table}")
            numbers.store()

    def _clock(self, connection: sqlite3.Connection, clock: ClockState) -> int:
        """The id of ``clock``, whose origin is corrected."""
        if clock.film is None:
            found = connection.execute(
                "SELECT id FROM clock WHERE device = ? AND boot = ? AND film IS NULL", (_LOCAL, clock.boot)
            ).fetchone()
        else:
            found = connection.execute("SELECT clock FROM run WHERE id = ?", (self._run,)).fetchone()
        if found is None:
            return _inserted(
                connection,
                "INSERT INTO clock (device, boot, film, origin) VALUES (?, ?, ?, ?)",
                (_LOCAL, clock.boot, clock.film, clock.origin),
            )
        connection.execute(
            "UPDATE clock SET origin = ? WHERE id = ? AND origin <> ?", (clock.origin, found[0], clock.origin)
        )
        return int(found[0])

    def _insert(
        self,
        connection: sqlite3.Connection,
        numbers: _Numbers,
        camera: str,
        row: Row,
        clock: int,
        run: int,
        session: int | None,
    ) -> None:
        table, number = TABLE[type(row)], _camera(connection, camera)
        if isinstance(row, SecondRow):
            # Where the clock jumps by whole seconds, the part of a second before and after it is one row.
            _insert(connection, table, row, {"session": session, "camera": number}, "OR IGNORE")
            return
        keys = {"device": _LOCAL, "seq": numbers.next(table), "camera": number, "clock": clock, "run": run}
        _insert(connection, table, row, keys)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._opened()
        with _telling(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled it back already.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise OutputError(f"{self.path}: is closed")
        return self._connection


class _Numbers:
    """Gives rows their numbers, which grow by one for ever, whatever is deleted."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        row = connection.execute(
            "SELECT visit_seq, minute_seq, gap_seq FROM device WHERE id = ?", (_LOCAL,)
        ).fetchone()
        self._last: dict[str, int] = dict(zip(("visit", "minute", "gap"), row, strict=True))
        self._before = dict(self._last)

    def next(self, table: str) -> int:
        self._last[table] += 1
        return self._last[table]

    def store(self) -> None:
        if self._last != self._before:
            self._connection.execute(
                "UPDATE device SET visit_seq = :visit, minute_seq = :minute, gap_seq = :gap WHERE id = 1",
                self._last,
            )


def _camera(connection: sqlite3.Connection, name: str) -> int:
    """The id of a camera of this device."""
    found = connection.execute(
        "SELECT id FROM camera WHERE device = ? AND name = ?", (_LOCAL, name)
    ).fetchone()
    if found is not None:
        return int(found[0])
    return _inserted(connection, "INSERT INTO camera (device, name) VALUES (?, ?)", (_LOCAL, name))


def _insert(
    connection: sqlite3.Connection, table: str, row: Row, keys: Mapping[str, int | None], otherwise: str = ""
) -> None:
    names = (*keys, *columns(type(row)))
    connection.execute(
        f"INSERT {otherwise} INTO {table} ({', '.join(names)}) VALUES ({_marks(len(names))})",
        (*keys.values(), *values(row)),
    )


def _inserted(connection: sqlite3.Connection, statement: str, parameters: Iterable[object]) -> int:
    """Insert a row and return its id."""
    identity = connection.execute(statement, tuple(parameters)).lastrowid
    assert identity is not None
    return identity


def _delete_runs(connection: sqlite3.Connection, before: int) -> None:
    """Delete what is told of runs that ended ``before``, whose rows have gone."""
    old = "SELECT {0}.id FROM {0} JOIN clock ON clock.id = {0}.clock WHERE clock.origin + {0}.ended < ?"
    sessions = old.format("session")
    connection.execute(f"DELETE FROM second WHERE session IN ({sessions})", (before,))
    connection.execute(f"DELETE FROM event WHERE session IN ({sessions})", (before,))
    connection.execute(f"DELETE FROM session WHERE id IN ({sessions})", (before,))
    connection.execute(f"DELETE FROM run WHERE id IN ({old.format('run')})", (before,))
    connection.execute("DELETE FROM jump WHERE clock NOT IN (SELECT clock FROM run)")
    connection.execute("DELETE FROM clock WHERE id NOT IN (SELECT clock FROM run)")


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def locked(path: Path) -> int:
    """Take the lock of a store's writer; the kernel lets it go with the process, however that ends.

    It is a file of its own: closing any descriptor of a database would release SQLite's own locks on it.
    """
    lock = Path(f"{path}-lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        writer = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise DataError(
            f"{path}: another fer-edge writes it already{f' (process {writer})' if writer else ''}; end that "
            "one, or name another file with --store"
        ) from error
    # On a full disk nobody learns who it is.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
