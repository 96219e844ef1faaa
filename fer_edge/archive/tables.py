"""The tables of an archive: Parquet files in folders by date and source.

docs/archive.md describes them; the columns are those of the store's views.
"""

from __future__ import annotations

import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..files import LONGEST_NAME, atomic_path, cut_name, sync_folder
from ..labels import EMOTIONS
from ..store.schema import TABLES
from .films import Film
from .part import pyarrow_parquet

TABLE_OF = {"visits": "people", "minutes": "minutes", "gaps": "gaps", "seconds": "seconds"}
"""The tables of an archive, by the views of a store whose rows they have."""

FACES = "faces"

_PARTITION = "source="

_FACE_TYPES = {
    "frame": "int64",
    "seconds": "float64",
    "time": "time",
    "track": "int64",
    **dict.fromkeys(("x", "y", "width", "height", "score", "size", "yaw", "pitch"), "float32"),
    "emotion": "string",
    "unsure": "bool",
    "uncertainty": "float32",
    **dict.fromkeys(EMOTIONS, "float32"),
}
"""Columns of ``faces`` behind device, camera and film."""


@dataclass(frozen=True)
class TableFile:
    """A film's rows of one table and date."""

    table: str
    date: str
    """``2026-11-26``, in UTC."""
    source: str
    name: str
    """Without a suffix."""
    content: bytes

    def path_in(self, folder: Path) -> Path:
        """Where it lies in an archive."""
        return (
            folder
            / f"{self.table}.parquet"
            / f"date={self.date}"
            / f"{_PARTITION}{self.source}"
            / (f"{self.name}.parquet")
        )


def face_columns() -> dict[str, list[Any]]:
    """Empty columns of ``faces``."""
    return {name: [] for name in _FACE_TYPES}


def source_folder(source: str) -> str:
    """``source`` as the name of a partition, without anything that a path or another tool would misread.

    One that is too long for the name of a folder is cut.
    """
    name = re.sub(r"[^\w.+-]", "_", source).strip(".") or "films"
    return cut_name(name, LONGEST_NAME - len(_PARTITION))


def face_table(columns: Mapping[str, list[Any]]) -> Any:
    """Return ``columns`` of ``faces`` as an Arrow table."""
    pyarrow, _ = pyarrow_parquet()
    return pyarrow.table(
        {name: pyarrow.array(columns[name], _arrow_type(pyarrow, kind)) for name, kind in _FACE_TYPES.items()}
    )


def table_files(
    film: Film, rows: Mapping[str, list[dict[str, Any]]], faces: Sequence[Any], device: str
) -> Iterator[TableFile]:
    """Yield the files that a film adds to the tables: ``rows`` by views of a store, and ``faces``.

    ``faces``: tables of :func:`face_table`, in the order of time.
    """
    run = run_of(film)
    for view, table in TABLE_OF.items():
        of_day: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows[view]:
            of_day[_date(row["began"])].append({**row, "device": device, "run": run})
        for date, part in of_day.items():
            yield _file(film, table, date, _store_table(view, part))
    if faces:
        pyarrow, _ = pyarrow_parquet()
        seen = pyarrow.concat_tables(faces)
        everywhere = {"device": device, "camera": film.source, "film": film.path}
        columns = {
            name: pyarrow.array([value] * len(seen)).dictionary_encode() for name, value in everywhere.items()
        }
        columns["run"] = pyarrow.array([run] * len(seen), pyarrow.int64())
        table_of_all = pyarrow.table({**columns, **{name: seen[name] for name in _FACE_TYPES}})
        dates = [_date(moment) for moment in seen["time"].to_pylist()]
        for date in sorted(set(dates)):
            chosen = pyarrow.array([one == date for one in dates])
            yield _file(film, FACES, date, table_of_all.filter(chosen))


def run_of(film: Film) -> int:
    """The number of the run that watched a film: its rows of all tables have it, and no other film's."""
    return int(film.id[:13], 16)


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _arrow_type(pyarrow: Any, kind: str) -> Any:
    return (
        pyarrow.timestamp("ms", "UTC")
        if kind == "time"
        else getattr(pyarrow, f"{kind}_" if kind == "bool" else kind)()
    )


def _store_table(view: str, rows: list[dict[str, Any]]) -> Any:
    pyarrow, _ = pyarrow_parquet()
    kinds = {"text": "string", "whole": "int64", "real": "float64", "flag": "bool", "time": "time"}
    columns = TABLES[view].columns
    return pyarrow.table(
        {
            column.name: pyarrow.array(
                [bool(row[column.name]) if column.kind == "flag" else row[column.name] for row in rows],
                _arrow_type(pyarrow, kinds[column.kind]),
            )
            for column in columns
        }
    )


def _file(film: Film, table: str, date: str, content: Any) -> TableFile:
    _, parquet = pyarrow_parquet()
    sink = io.BytesIO()
    parquet.write_table(content, sink, compression="zstd")
    return TableFile(table, date, source_folder(film.source), film.id, sink.getvalue())


def write_files(folder: Path, files: Iterable[TableFile]) -> None:
    """Write ``files`` into an archive, each by :func:`write_durably`."""
    for file in files:
        write_durably(file.path_in(folder), file.content)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file in one step and sync it, so that a line of the manifest may say that it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(path.parent)
