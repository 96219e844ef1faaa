"""What was shown when: a list of events as CSV, and where they lie in a session.

docs/control.md describes the columns for those who write such a file.
"""

from __future__ import annotations

import csv
import difflib
import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from ..errors import DataError, shortened

COLUMNS = ("time", "offset", "duration", "end", "name", "group")

MOST_EVENTS = 10_000

MOST_BYTES = 10_000_000

LONGEST_NAME = 200
"""Characters of the name of a session, event or group."""

_DELIMITERS = ",;\t"

_AS_IN = {
    "time": "2026-11-26T20:15:30, or with its zone 2026-11-26T20:15:30+01:00",
    "offset": "seconds as 90 or 90.5, or 1:30, or 0:01:30",
}


@dataclass(frozen=True)
class ListedEvent:
    """A row of the file. Both times are of one kind: moments of the clock, or offsets in seconds."""

    number: int
    """Of the event, from 1."""
    row: int
    """Line of the file, from 1."""
    name: str
    group: str | None
    began: datetime | float
    """A moment in UTC, or seconds since the session or the film began."""
    ended: datetime | float | None = None
    """``None``: until the next one, or the end."""

    @property
    def told(self) -> str:
        """What messages call it."""
        return f"event {self.number} ({shortened(self.name, 40)!r})"


@dataclass(frozen=True)
class PlacedEvent:
    """An event where it lies on a clock, in milliseconds of it."""

    listed: ListedEvent
    began: int
    ended: int | None
    """As told by the file; ``None`` where it tells none."""


def read_events(path: str | os.PathLike[str], zone: tzinfo | None = None) -> list[ListedEvent]:
    """Read a CSV file of events, in the order of the file.

    Columns: ``time`` (a moment by ISO 8601, of ``zone`` where it names none) or ``offset`` (seconds, m:ss or
    h:mm:ss since the session or film began); ``name``; if wanted ``group``, and ``duration`` or ``end``, an
    end being of the same kind as the begin. Other columns are ignored. Commas, semicolons or tabs between
    them, UTF-8. ``zone``: the machine's by default.

    Raises :class:`~fer_edge.errors.DataError` with row and column for what is none of that.
    """
    rows = _rows(Path(path))
    _, header = next(rows, (0, []))
    columns = _columns(header, path)
    events: list[ListedEvent] = []
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(events) == MOST_EVENTS:
            raise DataError(f"{path}, row {line}: more than {MOST_EVENTS:,} events")
        events.append(_event(path, line, len(events) + 1, columns, cells, zone))
    if not events:
        raise DataError(f"{path}: has no events; each is a row, as 0:01:30,Trailer A, below offset,name")
    return events


def placed(events: Sequence[ListedEvent], zero: int, origin: int | None = None) -> list[PlacedEvent]:
    """Place ``events`` on a clock of milliseconds, in their order on it.

    ``zero``: where offsets count from: the begin of the session, or of the film. ``origin``: what the clock
    has to be added for milliseconds since 1970; ``None`` where it has nothing to do with the time of day, as
    positions in a film.

    Raises :class:`~fer_edge.errors.DataError` for moments where ``origin`` is ``None``.
    """

    def at(event: ListedEvent, moment: datetime | float) -> int:
        if not isinstance(moment, datetime):
            return zero + round(1000 * moment)
        if origin is None:
            raise DataError(
                f"row {event.row}, column time: a film knows no time of day; give offset, as 0:01:30"
            )
        return round(1000 * moment.timestamp()) - origin

    found = [
        PlacedEvent(one, at(one, one.began), None if one.ended is None else at(one, one.ended))
        for one in events
    ]
    return sorted(found, key=lambda one: (one.began, one.listed.number))


def problems(events: Sequence[PlacedEvent], began: int | None = None, ended: int | None = None) -> list[str]:
    """What is odd about placed ``events``, in words: outside of ``began`` to ``ended``, or overlapping."""
    told = []
    for one in events:
        if began is not None and one.began < began:
            told.append(f"{one.listed.told} lies {_seconds(began - one.began)} before the beginning")
        elif ended is not None and one.began >= ended:
            told.append(f"{one.listed.told} lies {_seconds(one.began - ended)} after the end")
        elif ended is not None and one.ended is not None and one.ended > ended:
            told.append(f"{one.listed.told} goes on for {_seconds(one.ended - ended)} after the end")
    longest: PlacedEvent | None = None
    for one in events:
        if longest is not None and longest.ended is not None and longest.ended > one.began:
            until = min(longest.ended, longest.ended if one.ended is None else one.ended)
            shared = _seconds(until - one.began)
            told.append(f"{longest.listed.told} and {one.listed.told} overlap by {shared}")
        if one.ended is not None and (longest is None or longest.ended is None or one.ended > longest.ended):
            longest = one
    for one, other in itertools.pairwise(events):
        if one.began == other.began:
            told.append(f"{one.listed.told} and {other.listed.told} begin at the same moment")
    return told


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f} s"


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line in which it begins."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(
                f"{path}: more than {MOST_BYTES // 1_000_000} MB; a list of events is a small CSV file"
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, byte {error.start}: not UTF-8; save it as CSV UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; a list of events is a CSV file") from error
    head = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, row {line}: no CSV: {error}") from error


def _columns(header: Sequence[str], path: str | os.PathLike[str]) -> dict[str, int]:
    """Where each known column is; raises DataError where the needed ones are not there once."""
    names = [name.strip().lower() for name in header]
    found = {name: names.index(name) for name in COLUMNS if name in names}
    for name in found:
        if names.count(name) > 1:
            raise DataError(f"{path}, row 1: there are two columns {name}")
    for name in names:
        near = difflib.get_close_matches(name, COLUMNS, 1, cutoff=0.75)
        if name not in COLUMNS and near and near[0] not in found:
            raise DataError(f"{path}, row 1: column {name!r}: did you mean {near[0]}?")
    known = "time or offset, name, and if wanted duration or end, and group"
    told = ", ".join(shortened(name) for name in names) or "nothing"
    if "name" not in found or not {"time", "offset"} & set(found):
        raise DataError(f"{path}, row 1: names the columns {told}; needed are {known}")
    for pair in (("time", "offset"), ("duration", "end")):
        if set(pair) <= set(found):
            raise DataError(f"{path}, row 1: has the columns {pair[0]} and {pair[1]}; leave one of them out")
    return found


def _event(
    path: str | os.PathLike[str],
    line: int,
    number: int,
    columns: dict[str, int],
    cells: Sequence[str],
    zone: tzinfo | None,
) -> ListedEvent:
    def cell(column: str) -> str:
        index = columns.get(column)
        return "" if index is None or index >= len(cells) else cells[index].strip()

    def at(column: str) -> str:
        return f"{path}, row {line}, column {column}"

    def moment(column: str, text: str, kind: str) -> datetime | float:
        value = _time(text, zone) if kind == "time" else _offset(text)
        if value is None:
            wrong = f"{shortened(text, 40)!r} is not" if text else "is empty, not"
            raise DataError(f"{at(column)}: {wrong} {_AS_IN[kind]}")
        return value

    kind = "time" if "time" in columns else "offset"
    began = moment(kind, cell(kind), kind)
    ended: datetime | float | None = None
    if cell("end"):
        ended = moment("end", cell("end"), kind)
    elif cell("duration"):
        length = moment("duration", cell("duration"), "offset")
        assert isinstance(length, float)
        ended = began + timedelta(seconds=length) if isinstance(began, datetime) else began + length
    if ended is not None and not _before(began, ended):
        column = "end" if cell("end") else "duration"
        raise DataError(f"{at(column)}: {cell(column)!r} ends the event before it has begun")
    name = _text(cell("name"), at("name"))
    if not name:
        raise DataError(f"{at('name')}: is empty; say what was shown")
    return ListedEvent(number, line, name, _text(cell("group"), at("group")) or None, began, ended)


def _before(began: datetime | float, ended: datetime | float) -> bool:
    if isinstance(began, datetime) and isinstance(ended, datetime):
        return began < ended
    return not isinstance(began, datetime) and not isinstance(ended, datetime) and began < ended


def _text(text: str, place: str) -> str:
    if len(text) > LONGEST_NAME:
        raise DataError(f"{place}: has {len(text)} characters; at most {LONGEST_NAME}")
    if not text.isprintable():
        raise DataError(f"{place}: {shortened(text, 40)!r} has control characters")
    return text


def _time(text: str, zone: tzinfo | None) -> datetime | None:
    # Without a time of day it would be midnight, which nobody means.
    if not re.match(r"\d{4}-?\d\d-?\d\d[T ]\d", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _offset(text: str) -> float | None:
    # A comma may be the decimal sign where semicolons separate.
    found = re.fullmatch(r"(?:(?:(\d+):)?(\d{1,4}):)?(\d{1,9}(?:[.,]\d+)?)", text, re.ASCII)
    if not found:
        return None
    hours, minutes, seconds = found.groups()
    last = float(seconds.replace(",", "."))
    if (minutes is not None and last >= 60) or (hours is not None and int(minutes) >= 60):
        return None
    value = 3600 * int(hours or 0) + 60 * int(minutes or 0) + last
    return value if math.isfinite(value) else None
