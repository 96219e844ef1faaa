"""Where a fleet's store lies: a file of SQLite, or PostgreSQL. Both take the same statements."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DataError, OutputError
from ..files import check_target, is_special, sync_folder
from ..store import postgresql
from ..store.schema import VERSION as STORE_VERSION
from ..store.schema import changes, statements, telling_what_it_is, version_of
from ..store.writer import locked
from .schema import CLOCKS, VERSION, tables

if TYPE_CHECKING:
    import psycopg

_BUSY_SECONDS = 5.0
_WAL_BYTES = 16_000_000
_LOCK = 0x464552454647
"""Of the database: "FEREFG", so that one server writes it."""
_STATEMENT_SECONDS = 60
_PAGES_AT_ONCE = 500

Values = Sequence[Any]


class Work(Protocol):
    """A transaction that goes on. Statements have ``?`` for each parameter."""

    def run(self, statement: str, values: Values = ()) -> None:
        """Do ``statement``."""

    def many(self, statement: str, rows: Sequence[Values]) -> int:
        """Do ``statement`` once for each of ``rows``; returns how many rows of the table it changed."""

    def all(self, statement: str, values: Values = ()) -> list[Any]:
        """The rows that ``statement`` finds, or returns."""


class Database(Protocol):
    """A store that one server writes."""

    place: str
    """What messages call it."""

    def open(self) -> str:
        """Connect, make the tables where there are none; returns the id of the store.

        Raises :class:`~fer_edge.errors.DataError` where this is no store, or another server writes it, and
        :class:`~fer_edge.errors.OutputError` where it cannot be reached.
        """

    def close(self) -> None:
        """Let it go; :meth:`open` opens it again."""

    def shrink(self) -> None:
        """Return some of the space of deleted rows to the file system. Raises OutputError."""

    def transaction(self) -> contextlib.AbstractContextManager[Work]:
        """Everything done within it is kept or, if it raises OutputError, nothing."""


def database_of(name: str) -> Database:
    """The database that ``--store`` names; it is not opened yet.

    Raises :class:`~fer_edge.errors.MissingExtraError` where a package for it is missing.
    """
    if postgresql.is_postgresql(name):
        postgresql.require_psycopg()
        return PostgresqlDatabase(name)
    return SqliteDatabase(name)


@contextlib.contextmanager
def _opening(database: Database) -> Iterator[None]:
    """Close ``database`` before it is opened, and where that fails, so that it is open as a whole or not."""
    database.close()
    try:
        yield
    except BaseException:
        database.close()
        raise


def _make_store(work: Work, made_by: Iterable[str]) -> None:
    """Make an empty store, of the statements ``made_by``."""
    for statement in made_by:
        work.run(statement)
    work.run("INSERT INTO fleet VALUES (?, ?, ?)", (VERSION, STORE_VERSION, str(uuid.uuid4())))


class SqliteDatabase:
    """A file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if os.fspath(path) == "-" or is_special(path):
            raise DataError(f"{path}: is no regular file; a store needs one")
        check_target(path, force=True)
        self._path = Path(path).resolve()
        self.place = str(path)
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None

    def open(self) -> str:
        """See :class:`Database`."""
        with _opening(self), self._telling():
            return self._open()

    def _open(self) -> str:
        self._lock = locked(self._path)
        new = not self._path.exists()
        self._connection = connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        with telling_what_it_is(self._path):
            version = version_of(connection, self._path)
            if version == 0:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise DataError(f"{self.place}: a store cannot lie on this file system, which has no WAL")
            # What is confirmed to the broker must be on the disk.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        with self.transaction() as work:
            if version == 0:
                _make_store(work, (*statements(), *tables()))
            elif not work.all("SELECT 1 FROM sqlite_master WHERE name = 'fleet'"):
                raise DataError(
                    f"{self.place}: the store of a single device, of fer-edge run; name another file"
                )
            made = _checked(self.place, work, changes)
        if new:
            sync_folder(self._path.parent)
        return made

    def close(self) -> None:
        """See :class:`Database`."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
        finally:
            if lock is not None:
                os.close(lock)

    def shrink(self) -> None:
        """See :class:`Database`."""
        if self._connection is not None:
            with self._telling():
                # execute() would take one step of it, which frees one page.
                self._connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Work]:
        """See :class:`Database`."""
        connection = self._connection
        if connection is None:
            raise OutputError(f"{self.place}: is closed")
        with self._telling():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteWork(connection)
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled it back already.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(f"{self.place}: cannot be written: {error}") from error


class _SqliteWork:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, values: Values = ()) -> None:
        self._connection.execute(statement, values)

    def many(self, statement: str, rows: Sequence[Values]) -> int:
        return self._connection.executemany(statement, rows).rowcount

    def all(self, statement: str, values: Values = ()) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()


class PostgresqlDatabase:
    """A database of a server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.place = postgresql.place_of(url)
        self._connection: psycopg.Connection[Any] | None = None

    def open(self) -> str:
        """See :class:`Database`."""
        with _opening(self), self._telling():
            return self._open()

    def _open(self) -> str:
        self._connection = connection = postgresql.connected(self._url)
        connection.autocommit = True
        connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise DataError(f"{self.place}: its encoding is {encoding}; make a database with ENCODING 'UTF8'")
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
        if not row or not row[0]:
            raise DataError(f"{self.place}: another fer-edge fleet writes it already; end that one")
        with self.transaction() as work:
            there = work.all(
                "SELECT 1 FROM pg_tables WHERE schemaname = ? AND tablename = 'fleet'", (postgresql.SCHEMA,)
            )
            if not there:
                _make_store(work, postgresql.statements([*tables()]))
            return _checked(self.place, work, postgresql.changes)

    def close(self) -> None:
        """See :class:`Database`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def shrink(self) -> None:
        """See :class:`Database`; the server does it by itself."""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Work]:
        """See :class:`Database`."""
        connection = self._connection
        if connection is None:
            raise OutputError(f"{self.place}: is closed")
        with self._telling(), connection.transaction(), connection.cursor() as cursor:
            yield _PostgresqlWork(cursor)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise OutputError(f"{self.place}: {postgresql.told_of(error, self._url)}") from error


class _PostgresqlWork:
    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor

    def run(self, statement: str, values: Values = ()) -> None:
        self._cursor.execute(_sql(statement), values)

    def many(self, statement: str, rows: Sequence[Values]) -> int:
        if not rows:
            return 0
        self._cursor.executemany(_sql(statement), rows)
        return int(self._cursor.rowcount)

    def all(self, statement: str, values: Values = ()) -> list[Any]:
        rows: list[Any] = self._cursor.execute(_sql(statement), values).fetchall()
        return rows


def _sql(statement: str) -> bytes:
    return postgresql.translated(statement).encode()


def _checked(place: str, work: Work, changes_of: Callable[[int], Iterable[str]]) -> str:
    """The id of the store, which becomes one of this version.

    ``changes_of``: what that takes, by its version. Raises :class:`~fer_edge.errors.DataError` for a later
    one.
    """
    version, store, made = work.all("SELECT version, store, uuid FROM fleet")[0]
    if version > VERSION or store > STORE_VERSION:
        raise DataError(
            f"{place}: a store of version {store}, of a fleet {version}; this fer-edge knows up to "
            f"{STORE_VERSION} and {VERSION}: update it, or name another store"
        )
    work.run(CLOCKS)
    if store < STORE_VERSION:
        for statement in changes_of(store):
            work.run(statement)
        work.run("UPDATE fleet SET store = ?", (STORE_VERSION,))
    return str(made)
