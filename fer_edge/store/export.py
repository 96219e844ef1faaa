"""A store's rows as CSV and Parquet."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from ..errors import MissingExtraError
from ..files import atomic_path, check_target
from ..spreadsheet import inert
from ..utc import utc_text
from .reader import StoreReader
from .schema import TABLES, Table

_AT_ONCE = 50_000
"""Rows of a group of a Parquet file."""


def write_csv(rows: Iterable[Mapping[str, Any]], table: Table, stream: TextIO) -> int:
    """Write ``rows`` of ``table`` as CSV (RFC 4180 with newlines of the system); return how many.

    Times are UTC by ISO 8601 to the millisecond, reals have up to four decimals, what is unknown is empty.
    Text that a spreadsheet would execute begins with an apostrophe (:func:`~fer_edge.spreadsheet.inert`).
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.name for column in table.columns)
    count = 0
    for row in rows:
        writer.writerow(_as_text(value) for value in row.values())
        count += 1
    return count


def _as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, str):
        return inert(value)
    return round(value, 4) if isinstance(value, float) else value


def write_parquet(rows: Iterable[Mapping[str, Any]], table: Table, path: Path) -> int:
    """Write ``rows`` of ``table`` as a Parquet file; return how many.

    Times are timestamps in milliseconds, UTC. Raises :class:`~fer_edge.errors.MissingExtraError` without
    pyarrow.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("Parquet", "pyarrow", "parquet") from error
    types = {
        "text": pyarrow.string(),
        "whole": pyarrow.int64(),
        "real": pyarrow.float64(),
        "flag": pyarrow.bool_(),
        "time": pyarrow.timestamp("ms", "UTC"),
    }
    schema = pyarrow.schema([(column.name, types[column.kind]) for column in table.columns])
    flags = [column.name for column in table.columns if column.kind == "flag"]
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for group in _groups(rows):
            plain = [{**row, **{name: bool(row[name]) for name in flags}} for row in group]
            writer.write_table(pyarrow.Table.from_pylist(plain, schema=schema))
            count += len(group)
    return count


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    iterator = iter(rows)
    while group := list(itertools.islice(iterator, _AT_ONCE)):
        yield group


def write_tables(
    store: StoreReader,
    folder: str | os.PathLike[str],
    suffix: str,
    since: datetime | None,
    until: datetime | None,
    force: bool,
) -> dict[str, int]:
    """Write every table into ``folder`` as ``NAME.csv`` or, by ``suffix``, ``NAME.parquet``.

    Returns the count of rows of each. Raises :class:`~fer_edge.errors.DataError` where a file exists, unless
    with ``force``.
    """
    target = Path(folder)
    target.mkdir(exist_ok=True)
    paths = {name: target / f"{name}{suffix}" for name in TABLES}
    for path in paths.values():
        check_target(path, [store.path], force=force)
    return {name: write_file(store, name, path, since, until) for name, path in paths.items()}


def write_file(
    store: StoreReader, table: str, path: Path, since: datetime | None, until: datetime | None
) -> int:
    """Write one table as the CSV or, by its suffix, Parquet file ``path``; return the count of rows."""
    rows = store.rows(table, since=since, until=until)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            return write_parquet(rows, TABLES[table], temporary)
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            return write_csv(rows, TABLES[table], stream)
