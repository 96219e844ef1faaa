"""The tables of a report as CSV and Parquet."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import atomic_path, check_target
from ..spreadsheet import inert
from ..store.clock import at
from ..utc import utc_text
from .content_types import Column, Table


def check_tables(tables: Sequence[Table], folder: str | os.PathLike[str], force: bool) -> None:
    """Make the folder; raise :class:`~fer_edge.errors.DataError` unless :func:`write_tables` may write."""
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: no folder for tables can be made there: {error.strerror}") from error
    for table in tables:
        for suffix in (".csv", ".parquet"):
            check_target(target / f"{table.name}{suffix}", force=force)


def write_tables(tables: Sequence[Table], folder: str | os.PathLike[str]) -> list[Path]:
    """Write each table into ``folder`` as CSV and, where pyarrow is installed, as Parquet; return the files.

    Times are UTC by ISO 8601 to the millisecond in CSV, timestamps in Parquet; shares are 0 to 1, lengths of
    time seconds; what is unknown is empty. Text that a spreadsheet would execute begins with an apostrophe in
    CSV (:func:`~fer_edge.spreadsheet.inert`).
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path = target / f"{table.name}.csv"
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(column.name for column in table.columns)
            writer.writerows(
                [_text(column, value) for column, value in zip(table.columns, row, strict=True)]
                for row in table.rows
            )
        written.append(path)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return written
    for table in tables:
        path = target / f"{table.name}.parquet"
        with atomic_path(path) as temporary:
            parquet.write_table(_arrow(pyarrow, table), temporary)
        written.append(path)
    return written


def _text(column: Column, value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if column.kind == "time":
        return utc_text(at(value))
    if column.kind == "count":
        return int(value)
    if isinstance(value, str):
        return inert(value)
    return round(value, 6) if isinstance(value, float) else value


def _arrow(pyarrow: Any, table: Table) -> Any:
    types = {
        "text": pyarrow.string(),
        "date": pyarrow.string(),
        "count": pyarrow.int64(),
        "time": pyarrow.timestamp("ms", "UTC"),
    }

    def known(column: Column, value: Any) -> Any:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        return int(value) if column.kind in ("count", "time") else value

    return pyarrow.table(
        {
            column.name: pyarrow.array(
                [known(column, row[index]) for row in table.rows], types.get(column.kind, pyarrow.float64())
            )
            for index, column in enumerate(table.columns)
        }
    )
