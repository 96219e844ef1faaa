"""Reads a store, also while it is written, and without changing it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from ..errors import DataError
from .clock import at, milliseconds
from .schema import CACHE, OPEN, TABLES, Kind, Table, version_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 5000
_COLUMNS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Device:
    """A device whose rows are in a store."""

    id: int
    uuid: str
    """Made with the store: a file that was begun anew counts from 1 again under another one."""
    name: str
    last: dict[str, int]
    """Of ``visits``, ``minutes`` and ``gaps`` the last ``seq`` that was given, 0 for none."""


class StoreReader:
    """An open store; use it in a ``with`` statement or close it. One thread may use it.

    Raises :class:`~fer_edge.errors.DataError` where there is no such file, or one that is no store, of a
    later version or damaged.
    """

    _sorts = False
    """Whether columns have to be sorted; SQLite reads rows as they lie in the file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{path}: no such file" if not self.path.exists() else f"{path}: is no file")
        self._connection = _opened(self.path)
        try:
            with self._telling():
                self._connection.execute(CACHE)
                version = version_of(self._connection, self.path)
            if not version:
                raise DataError(f"{path}: an empty file, not a store")
        except DataError:
            self._connection.close()
            raise
        self.version = version

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Let all rows that are read within be of the moment of the first, also while others write the store.

        Do not stay in it for long, as with :meth:`rows`.
        """
        with self._telling():
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def devices(self) -> list[Device]:
        """The devices whose rows there are; the one that writes the file is the first."""
        with self._telling():
            rows = self._connection.execute(
                "SELECT id, uuid, name, visit_seq, minute_seq, gap_seq FROM device ORDER BY id"
            ).fetchall()
        return [
            Device(number, uuid, name, {"visits": visits, "minutes": minutes, "gaps": gaps})
            for number, uuid, name, visits, minutes, gaps in rows
        ]

    def rows(
        self,
        table: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int | None = None,
        camera: str | None = None,
        device: str | None = None,
        limit: int | None = None,
        going_on: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of ``table``, one of :data:`~fer_edge.store.schema.TABLES`, by name of column.

        Times are ``datetime`` in UTC. ``since``, ``until``: only rows that began at or after, and before
        those times. ``after``: only rows with a greater ``seq``. ``camera``, ``device``: only theirs.
        ``going_on``: of ``visits`` and ``minutes`` those that are not over.
        Raises ``ValueError`` for a table or condition that does not exist.

        The rows are those of one moment. Do not hold the iterator for long: meanwhile, the file beside
        the store in which changes wait cannot shrink.
        """
        described = _described(table)
        query, values = _query(
            table,
            _row(table, going_on),
            {"since": since, "until": until, "after": after, "camera": camera, "device": device},
            self.version,
        )
        query += f" ORDER BY {described.order}"
        if limit is not None:
            query, values = f"{query} LIMIT ?", (*values, limit)
        return self._rows(query, values, described)

    def totals(
        self,
        table: str,
        sums: Mapping[str, str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        going_on: bool = False,
    ) -> dict[tuple[str, str], dict[str, Any]]:
        """Return figures over the rows of each device and camera, by the names of both.

        ``sums``: SQL aggregates of columns by the names of the results, as ``{"dwell": "avg(seconds)"}``.
        Times count in milliseconds since 1970. The rest is as for :meth:`rows`.
        """
        query, values = _query(table, _row(table, going_on), {"since": since, "until": until}, self.version)
        told = ", ".join(sums.values())
        with self._telling():
            found = self._connection.execute(
                f"SELECT device, camera, {told} FROM ({query}) AS t GROUP BY device, camera", values
            ).fetchall()
        return {(device, camera): dict(zip(sums, figures, strict=True)) for device, camera, *figures in found}

    def columns(
        self,
        table: str,
        names: Sequence[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        camera: str | None = None,
        device: str | None = None,
        going_on: bool = False,
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield columns of ``table`` by their ``names``, as arrays of some ten thousand rows at a time.

        Times are int64 milliseconds since 1970, reals and whole numbers float64 with NaN for what is unknown,
        texts objects. The rest is as for :meth:`rows`, which takes five times as long.
        """
        described = _described(table)
        kinds = {column.name: column.kind for column in described.columns}
        query, values = _query(
            table,
            _row(table, going_on),
            {"since": since, "until": until, "camera": camera, "device": device},
            self.version,
        )
        asked = ", ".join(f'"{name}"' for name in names)
        if self._sorts:
            query += f" ORDER BY {described.order}"
        with self._telling():
            # SQLite flattens the inner query, and so computes only what is asked for.
            cursor = self._connection.execute(f"SELECT {asked} FROM ({query}) AS t", values)
            while rows := cursor.fetchmany(_COLUMNS_AT_ONCE):
                yield {
                    name: _as_array(kinds[name], column)
                    for name, column in zip(names, zip(*rows, strict=True), strict=True)
                }

    def _rows(self, query: str, values: tuple[Any, ...], table: Table) -> Iterator[dict[str, Any]]:
        names = [column.name for column in table.columns]
        times = [index for index, column in enumerate(table.columns) if column.kind == "time"]
        with self._telling():
            # It is left to itself: where a consumer stops early, the file may be closed before this ends.
            cursor = self._connection.execute(query, values)
            while rows := cursor.fetchmany(_AT_ONCE):
                for row in rows:
                    told = list(row)
                    for index in times:
                        if told[index] is not None:
                            told[index] = at(told[index])
                    yield dict(zip(names, told, strict=True))

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error


def _opened(path: Path) -> sqlite3.Connection:
    """Open for reading only."""
    name = f"file:{quote(os.fsencode(path.resolve()))}?mode=ro"
    try:
        connection = sqlite3.connect(name, uri=True)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        # In a folder that cannot be written to, SQLite reads a file with WAL only if it knows that nobody
        # writes it.
        if Path(f"{path}-wal").exists() and not os.access(path.parent, os.W_OK):
            raise DataError(
                f"{path}: its last rows are in {path}-wal, and this folder cannot be written to: "
                "copy both files to one that can, and read them there"
            ) from error
        if Path(f"{path}-wal").exists() or not os.access(path, os.R_OK):
            raise DataError(f"{path}: cannot be read: {error}") from error
        connection = sqlite3.connect(f"{name}&immutable=1", uri=True)
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path}: cannot be read as a store: {error}") from error
    return connection


def _as_array(kind: Kind, values: tuple[Any, ...]) -> NDArray[Any]:
    # Summaries and exports do without.
    import numpy as np

    if kind == "text":
        return np.array(values, object)
    if kind == "time" and None not in values:
        return np.array(values, np.int64)
    return np.array(values, np.float64)


def _described(table: str) -> Table:
    if table not in TABLES:
        raise ValueError(f"table must be one of {', '.join(TABLES)}; got {table!r}")
    return TABLES[table]


def _row(table: str, going_on: bool) -> str:
    """The table that holds the rows of ``table``, or of what goes on."""
    described = _described(table)
    if going_on and table not in OPEN:
        raise ValueError(f"of {table} none goes on; only of {' and '.join(OPEN)}")
    return f"open_{described.row}" if going_on else described.row


def _query(table: str, row: str, wanted: Mapping[str, Any], version: int) -> tuple[str, tuple[Any, ...]]:
    """The query of the rows of ``table`` that are ``wanted``, in a store of that version; its parameters."""
    described = _described(table)
    names = {column.name for column in described.columns}
    conditions = {
        "since": ("began", f"t.{described.time} >= ? - clock.origin"),
        "until": ("began", f"t.{described.time} < ? - clock.origin"),
        # With the devices it is a search by the primary key.
        "after": ("seq", "t.device IN (SELECT id FROM device) AND t.seq > ?"),
        "camera": ("camera", "camera.name = ?"),
        "device": ("device", "device.name = ?"),
    }
    asked = {name: value for name, value in wanted.items() if value is not None}
    for name in asked:
        if conditions[name][0] not in names:
            raise ValueError(f"{table} has no {conditions[name][0]}")
    query = described.select(row, by_time=bool({"since", "until"} & set(asked)), version=version)
    if asked:
        query += f" WHERE {' AND '.join(conditions[name][1] for name in asked)}"
    return query, tuple(
        milliseconds(value) if isinstance(value, datetime) else value for value in asked.values()
    )
