"""Payloads of devices (docs/mqtt.md), checked before anything in them is used.

Whoever may write to a topic may write anything there, so that each field has a kind and a range.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ..labels import EMOTIONS
from ..outputs.mqtt.topics import VERSION
from ..report.material import SLACK
from ..store.clock import milliseconds
from ..store.rows import MinuteRow, VisitRow, columns
from ..store.schema import SHARE, TENTH

LARGEST = 256 * 1024
"""Bytes of a payload; an answer of 120 rows has some 80,000."""

Fault = Literal["malformed", "oversized", "version"]

Table = Literal["minutes", "visits"]

COLUMNS: Mapping[Table, tuple[str, ...]] = {"minutes": columns(MinuteRow), "visits": columns(VisitRow)}
"""Of the figures of a row, in the order of :attr:`Row.values`."""

_LONGEST_NAME = 300
_MOST = 2**53
"""Whole numbers below are exact in JSON."""
_MOST_SECONDS = 1e10
_MOST_ROWS = 1000
_EARLIEST, _LATEST = (milliseconds(datetime(year, 1, 1, tzinfo=UTC)) for year in (1900, 9000))
"""Of the begin of a clock: any row of it, up to :data:`_MOST_SECONDS` later and as long, then has a date."""


class BadPayload(ValueError):
    """A payload is not what docs/mqtt.md says; ``fault`` is how it is counted."""

    def __init__(self, told: str, fault: Fault = "malformed") -> None:
        super().__init__(told)
        self.fault: Fault = fault


@dataclass(frozen=True, slots=True)
class Row:
    """A row of ``minutes`` or ``visits`` as a device told it, in the units of the store."""

    seq: int
    camera: str
    run: int
    boot: str
    film: str | None
    origin: int
    """Milliseconds to be added to a time of its clock for those since 1970, as the device knew it then."""
    values: tuple[int | None, ...]
    """Figures by :data:`COLUMNS`."""

    @property
    def began(self) -> int:
        """By the clock of its boot or film, in milliseconds."""
        value = self.values[_BEGAN] if len(self.values) == len(COLUMNS["minutes"]) else self.values[1]
        assert value is not None
        return value


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device said when it was asked for rows."""

    id: str | None
    store: str
    after: int
    next: int
    """All rows with ``seq`` above ``after`` up to this one that there are, are among ``rows``."""
    last: int
    """The last ``seq`` that the device has given."""
    more: bool
    rows: tuple[Row, ...]
    bad: tuple[BadPayload, ...]
    """Errors of the rows that are left out."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A device refused a request."""

    id: str | None
    told: str


def parsed(payload: bytes) -> dict[str, Any]:
    """The object that a payload holds, of a version that is known. Raises :class:`BadPayload`."""
    if len(payload) > LARGEST:
        raise BadPayload(f"{len(payload):,} bytes; at most {LARGEST:,} are read", "oversized")
    try:
        found = json.loads(payload.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadPayload(f"not JSON: {str(error)[:80]}") from error
    if not isinstance(found, dict):
        raise BadPayload("not an object, as in {...}")
    version = found.get("version")
    if version != VERSION or isinstance(version, bool):
        raise BadPayload(f"version {_cut(version):.20}; this fer-edge knows {VERSION}", "version")
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def row_of(table: Table, told: Any) -> Row:
    """The row that an object tells. Raises :class:`BadPayload`."""
    if not isinstance(told, dict):
        raise BadPayload("a row is an object, as in {...}")
    began = _milliseconds(told, "monotonic")
    origin = _moment(told, "began") - began
    if not _EARLIEST <= origin < _LATEST:
        raise BadPayload(
            f"began less monotonic must be a time from 1900 to 9000; began is {_cut(told['began'])}"
        )
    figures = {"began": began, "length": _milliseconds(told, "seconds"), "cut": _flag(told, "cut")}
    for name in _DURATIONS[table]:
        figures[name] = _milliseconds(told, name)
    for name in _COUNTS[table]:
        figures[name] = _whole(told, name)
    values: dict[str, int | None] = {**figures}
    for name in _SHARED[table]:
        share = _number(told, name, 0.0, 1.0, unknown=True)
        values[name] = None if share is None else round(share * SHARE)
    if table == "minutes":
        # Devices with an earlier version tell nothing of light.
        for name in ("brightness", "face_brightness"):
            level = _number(told, name, 0.0, 255.0, unknown=True)
            values[name] = None if level is None else round(level * TENTH)
        for name in ("dark", "bright"):
            known = _number(told, name, 0.0, _MOST_SECONDS, unknown=True)
            values[name] = None if known is None else round(known * 1000)
    if table == "visits":
        first = _number(told, "first_smile", 0.0, _MOST_SECONDS, unknown=True)
        values["first_smile"] = None if first is None else round(first * 1000)
        for name in ("size", "yaw", "pitch"):
            tenths = _number(told, name, -1e5, 1e5, unknown=True)
            values[name] = None if tenths is None else round(tenths * TENTH)
    _refuse_contradictions(values)
    film = told.get("film")
    return Row(
        _whole(told, "seq", 1),
        _text(told, "camera"),
        _whole(told, "run"),
        _text(told, "boot"),
        None if film in (None, "") else _text(told, "film"),
        origin,
        tuple(values[name] for name in COLUMNS[table]),
    )


def _refuse_contradictions(values: Mapping[str, int | None]) -> None:
    """Raise :class:`BadPayload` where figures contradict each other: a report would refuse the whole store.

    What differs by :data:`~fer_edge.report.material.SLACK` exactly is refused, as a report may do, which has
    fractions.
    """
    seen = values["seen"] or 0
    for name in ("unsure", "attention", "unclear"):
        if (values[name] or 0) - seen >= SLACK * 1000:
            raise BadPayload(f"{name} is more than seen")
    shares = [share for name in EMOTIONS if (share := values[name]) is not None]
    if shares and len(shares) < len(EMOTIONS):
        raise BadPayload(f"some shares are missing, others not: there are {len(shares)} of {len(EMOTIONS)}")
    if shares and abs(sum(shares) - SHARE) >= SLACK * SHARE:
        raise BadPayload(f"the shares must sum to 1, not {sum(shares) / SHARE:g}")


_BEGAN = COLUMNS["minutes"].index("began")

_DURATIONS: Mapping[Table, tuple[str, ...]] = {
    "minutes": ("observed", "gap", "dwell", "seen", "unsure", "attention", "unclear"),
    "visits": ("seen", "unsure", "attention", "unclear"),
}
_COUNTS: Mapping[Table, tuple[str, ...]] = {
    "minutes": ("frames", "dropped", "lost", "people", "people_max", "visits_begun", "visits_ended"),
    "visits": ("track",),
}
_SHARED: Mapping[Table, tuple[str, ...]] = {"minutes": EMOTIONS, "visits": (*EMOTIONS, "smile")}


def store_of(told: Mapping[str, Any]) -> str:
    """Which store a payload is of. Raises :class:`BadPayload`."""
    return _text(told, "store")


def answer_of(table: Table, told: Mapping[str, Any]) -> Answer | Refusal:
    """What a device answered. Raises :class:`BadPayload`."""
    given = told.get("id")
    id_ = given if isinstance(given, str) else None
    if told.get("ok") is not True:
        error = told.get("error")
        return Refusal(id_, error[:200] if isinstance(error, str) else _cut(error))
    listed = told.get("rows")
    if not isinstance(listed, list) or len(listed) > _MOST_ROWS:
        raise BadPayload(f"rows must be a list of {_MOST_ROWS} at most")
    rows: list[Row] = []
    bad: list[BadPayload] = []
    for one in listed:
        try:
            rows.append(row_of(table, one))
        except BadPayload as error:
            bad.append(error)
    after, last = _whole(told, "after", most=2**63), _whole(told, "last")
    more = told.get("more") is True
    reached = min(_whole(told, "next", most=2**63), last)
    return Answer(id_, store_of(told), after, reached, last, more, tuple(rows), tuple(bad))


def _cut(value: Any) -> str:
    """``value`` as messages have it; of what is nested, only so much as no depth of it can overflow."""
    return reprlib.repr(value)[:40]


def _number(told: Mapping[str, Any], name: str, least: float, most: float, unknown: bool = False) -> Any:
    value = told.get(name)
    if value is None and unknown:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadPayload(f"{name} must be a number, not {_cut(value)}")
    # Infinity lies in no range, and neither do whole numbers that are too large to become a float.
    if not least <= value <= most:
        raise BadPayload(f"{name} must be from {least:g} to {most:g}, not {_cut(value)}")
    return value


def _milliseconds(told: Mapping[str, Any], name: str) -> int:
    seconds: float = _number(told, name, 0.0, _MOST_SECONDS)
    return round(seconds * 1000)


def _whole(told: Mapping[str, Any], name: str, least: int = 0, most: int = _MOST) -> int:
    value = told.get(name)
    if type(value) is not int or not least <= value < most:
        raise BadPayload(f"{name} must be a whole number from {least} on, not {_cut(value)}")
    return value


def _flag(told: Mapping[str, Any], name: str) -> int:
    value = told.get(name)
    if value not in (0, 1):
        raise BadPayload(f"{name} must be 0 or 1, not {_cut(value)}")
    return int(value)


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise BadPayload(f"{name} must be a text of 1 to {_LONGEST_NAME} characters, not {_cut(value)}")
    # Half a pair of surrogates can be written in JSON but not in UTF-8; databases end texts at a NUL.
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadPayload(f"{name} has characters that no text has: {_cut(value)}")
    return value


def _moment(told: Mapping[str, Any], name: str) -> int:
    text = told.get(name)
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise BadPayload(
            f"{name} must be a time such as 2026-11-26T12:00:00.000Z, not {_cut(text)}"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return milliseconds(moment)
