"""A folder of Parquet as material: an archive's, or what ``fer-edge store --parquet`` writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MissingExtraError, printable
from .from_store import (
    LIGHT,
    MINUTES,
    PEOPLE,
    SECONDS,
    WHERE,
    Odd,
    Sources,
    closed,
    gaps_of,
    minutes_of,
    people_of,
    seconds_of,
    told_of_odd,
)
from .material import Event, Material, Seconds, Session
from .progress import Progress

_AT_ONCE = 100_000

_PEOPLE = ("people", "visits")
"""What an archive and a store call the same table."""


def is_folder_of_tables(folder: Path) -> bool:
    """Whether ``folder`` has a table of people or minutes."""
    return any((folder / f"{name}.parquet").exists() for name in (*_PEOPLE, "minutes"))


def read_parquet(folder: Path, progress: Progress | None = None) -> Material:
    """Return what the tables in ``folder`` hold.

    Raises :class:`~fer_edge.errors.DataError` where one cannot be read or lacks columns.
    """
    progress = progress or Progress()
    progress.begin(str(folder), 4)
    sources = Sources()
    odd: Odd = Counter()
    people = people_of(_chunks(folder, _PEOPLE, (*WHERE, *PEOPLE)), sources, odd)
    progress.step(1)
    minutes = minutes_of(_chunks(folder, ("minutes",), (*WHERE, *MINUTES), LIGHT), sources, odd)
    progress.step(1)
    seconds = seconds_of(_chunks(folder, ("seconds",), (*WHERE, *SECONDS)), people, sources)
    progress.step(1)
    gaps = gaps_of(_chunks(folder, ("gaps",), (*WHERE, "began", "ended", "reason")), sources)
    progress.step(1)
    sessions, events = _sessions(folder)
    if sessions:
        seconds = _once(seconds)
    told = told_of_odd(str(folder), odd)
    if not (folder / "minutes.parquet").exists():
        told.append(printable(f"{folder}: no minutes.parquet: the time observed is not known."))
    return Material(sources.known, people, seconds, minutes, gaps, sessions, events, told=tuple(told))


def _once(seconds: Seconds) -> Seconds:
    """``seconds`` without those that a table has again, for another session that goes on at the same time."""
    if not len(seconds):
        return seconds
    order = np.lexsort((seconds.began, seconds.person))
    person, began = seconds.person[order], seconds.began[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (person[1:] != person[:-1]) | (began[1:] != began[:-1])
    return seconds if new.all() else seconds.take(np.sort(order[new]))


def _chunks(
    folder: Path, tables: Sequence[str], names: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[dict[str, NDArray[Any]]]:
    """Columns of the first of ``tables`` that is there; ``optional`` ones where it has them."""
    path = next((p for table in tables if (p := folder / f"{table}.parquet").exists()), None)
    if path is None:
        return
    try:
        import pyarrow
        from pyarrow import dataset
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "pyarrow", "report") from error
    try:
        table = dataset.dataset(path, format="parquet")
        missing = [name for name in names if name not in table.schema.names]
        if missing:
            raise DataError(f"{path}: lacks the columns {', '.join(missing)}; docs/store.md has them all")
        there = [*names, *(name for name in optional if name in table.schema.names)]
        for batch in table.to_batches(columns=there, batch_size=_AT_ONCE):
            if batch.num_rows:
                yield {name: _array(pyarrow, batch.column(name)) for name in there}
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error


def _array(pyarrow: Any, column: Any) -> NDArray[Any]:
    kinds = pyarrow.types
    if kinds.is_timestamp(column.type):
        # A session that goes on has no end, nor has an event that lasts until the next one.
        whole = column.cast(pyarrow.timestamp("ms", column.type.tz)).cast("int64")
        found: NDArray[Any] = whole.fill_null(-1).to_numpy(zero_copy_only=False)
        return found
    if kinds.is_floating(column.type) or kinds.is_integer(column.type) or kinds.is_boolean(column.type):
        return np.asarray(column.cast("float64").to_numpy(zero_copy_only=False))
    return np.array(column.to_pylist(), object)


def _sessions(folder: Path) -> tuple[tuple[Session, ...], tuple[Event, ...]]:
    sessions: list[Session] = []
    number: dict[tuple[str, float], int] = {}
    for chunk in _chunks(folder, ("sessions",), ("device", "session", "run", "name", "began", "ended")):
        for device, session, run, name, began, ended in zip(
            *(v.tolist() for v in chunk.values()), strict=True
        ):
            number[device, session] = len(sessions)
            sessions.append(Session(name, began, max(ended, began), device, f"{run:.0f}"))
    marks: list[tuple[Event, int | None]] = []
    for chunk in _chunks(folder, ("events",), ("device", "session", "name", "group", "began"), ("ended",)):
        times = chunk.pop("ended", None)
        ends = np.full(len(chunk["name"]), -1) if times is None else times
        columns = (column.tolist() for column in (*chunk.values(), ends))
        for device, session, name, group, began, ended in zip(*columns, strict=True):
            if (device, session) in number:
                event = Event(name, began, began, group or "", number[device, session])
                marks.append((event, None if ended < 0 else ended))
    return tuple(sessions), closed(marks, sessions)
