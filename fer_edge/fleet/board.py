"""What is known of each device, for the page and Prometheus."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from ..outputs.mqtt.topics import OFFLINE, ONLINE, STOPPED
from .payloads import BadPayload

VERSION = 1
"""Of :meth:`Board.snapshot`."""

SILENT_SECONDS = 180.0
"""A device that the broker calls online, but that sends nothing for so long, is silent."""

MOST_DEVICES = 20_000
"""Names of devices; a stranger at the broker could make up any number."""

AVAILABILITIES = (ONLINE, STOPPED, OFFLINE)

_LONGEST = 100


@dataclass
class Shown:
    """A device."""

    name: str
    availability: str = OFFLINE
    seen: float | None = None
    """When it last sent something, in seconds since 1970."""
    told: dict[str, Any] = field(default_factory=dict)
    """Of its state, what is shown."""
    minute: int | None = None
    """When the minute ended that came last: milliseconds since 1970."""
    missing: int = 0
    lost: int = 0
    faults: int = 0
    fault: str | None = None
    """What was wrong with its latest bad payload."""
    unsaved: bool = False

    def state(self, now: float) -> str:
        """In one word."""
        if self.availability != ONLINE:
            return self.availability
        if self.seen is None or now - self.seen > SILENT_SECONDS:
            return "silent"
        if self.told.get("paused"):
            return "paused"
        return "problem" if self.told.get("problem") else ONLINE


class Board:
    """Thread-safe. ``clock``: seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._devices: dict[str, Shown] = {}
        self.counts: Counter[str] = Counter()
        """Of messages by what they were, of faults by their kind, and of rows."""
        self.broker: str | None = "not connected yet"
        """Why the broker cannot be reached, ``None`` if it is connected."""
        self.database: str | None = None
        """Why the database cannot be reached, ``None`` if it can."""
        self._made: tuple[float, dict[str, Any]] | None = None

    def knows(self, name: str) -> bool:
        """Whether there is, or may be, a device of that name."""
        return name in self._devices or len(self._devices) < MOST_DEVICES

    def load(self, name: str, seen: float | None, told: str) -> None:
        """Take what was kept of a device, but for what cannot be shown: earlier versions kept that, too."""
        kept = json.loads(told)
        shown = {key: value for key, value in kept.get("told", {}).items() if _is_json(value)}
        minute = kept.get("minute")
        with self._lock:
            self._devices[name] = Shown(
                name,
                kept.get("availability", OFFLINE),
                seen,
                shown,
                minute if minute is None or _has_date(minute) else None,
            )

    def unsaved(self) -> list[tuple[str, float | None, str]]:
        """What has to be kept of devices that have changed, as :meth:`load` takes it."""
        with self._lock:
            found = [one for one in self._devices.values() if one.unsaved]
            for one in found:
                one.unsaved = False
            return [
                (
                    one.name,
                    one.seen,
                    json.dumps({"availability": one.availability, "told": one.told, "minute": one.minute}),
                )
                for one in found
            ]

    def hear(self, name: str, *, retained: bool) -> None:
        """A device has said something."""
        with self._lock:
            one = self._of(name)
            if not retained:
                one.seen = round(self._clock(), 3)

    def is_available(self, name: str, availability: str) -> None:
        """A device is there, or not, as the broker tells."""
        with self._lock:
            self._of(name).availability = availability

    def show(self, name: str, state: Mapping[str, Any]) -> None:
        """Take the state of a device. Raises :class:`~fer_edge.fleet.payloads.BadPayload`."""
        told = _shown(state)
        for key, value in told.items():
            if not _is_json(value):
                raise BadPayload(f"{key} is infinite, or has characters that no text has: {value!r:.40}")
        with self._lock:
            self._of(name).told = told

    def has_minutes(self, name: str, until: int) -> None:
        """A minute came that ended then.

        Devices send theirs in order, and the next one may be earlier: with it, a device corrects its clock.
        """
        with self._lock:
            self._of(name).minute = until

    def misses(self, name: str, missing: int, lost: int) -> None:
        """So many rows of a device are not here."""
        with self._lock:
            one = self._of(name)
            one.missing, one.lost = missing, lost

    def refuse(self, name: str, kind: str, told: str) -> bool:
        """Count a bad payload of a device; whether it is the first of it."""
        with self._lock:
            self.counts[kind] += 1
            one = self._of(name)
            one.faults += 1
            one.fault = told[:200]
            return one.faults == 1

    def snapshot(self) -> dict[str, Any]:
        """Everything, ready for JSON; made at most once a second, however many viewers there are."""
        now = self._clock()
        with self._lock:
            if self._made is not None and 0 <= now - self._made[0] < 1.0:
                return self._made[1]
            devices = [_record(one, now) for one in sorted(self._devices.values(), key=lambda one: one.name)]
            counts = dict(self.counts)
        states = Counter(one["state"] for one in devices)
        told = {
            "version": VERSION,
            "time": _iso(now),
            "broker": {"connected": self.broker is None, "reason": self.broker},
            "store": {"writable": self.database is None, "reason": self.database},
            "states": dict(states),
            "counts": counts,
            "devices": devices,
        }
        with self._lock:
            self._made = (now, told)
        return told

    def _of(self, name: str) -> Shown:
        one = self._devices.get(name)
        if one is None:
            one = self._devices[name] = Shown(name)
        one.unsaved = True
        return one


def _record(one: Shown, now: float) -> dict[str, Any]:
    told = one.told
    return {
        "name": one.name,
        "state": one.state(now),
        "seen": None if one.seen is None else _iso(one.seen),
        "people": told.get("people") if one.availability == ONLINE else None,
        "people_today": told.get("people_today") if _heard_today(one, now) else None,
        "cameras": told.get("cameras"),
        "problem": told.get("problem"),
        "fer_edge": told.get("fer_edge"),
        "temperature": told.get("temperature"),
        "throttled": told.get("throttled"),
        "fps": told.get("fps"),
        "minutes_until": None if one.minute is None else _iso(one.minute / 1000),
        "missing": one.missing,
        "lost": one.lost,
        "faults": one.faults,
        "fault": one.fault,
    }


def _heard_today(one: Shown, now: float) -> bool:
    """Whether a device has sent something since midnight, by the clock here; its count is of that day."""
    return one.seen is not None and date.fromtimestamp(one.seen) == date.fromtimestamp(now)


def _shown(state: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of a state; a field of the wrong type counts as unknown."""

    def number(name: str) -> float | int | None:
        value = state.get(name)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def text(value: Any) -> str | None:
        return value if isinstance(value, str) else None

    version, cameras = text(state.get("fer_edge")), state.get("cameras")
    listed = [one for one in cameras if isinstance(one, dict)] if isinstance(cameras, list) else []
    waiting = [one for one in listed if one.get("state") == "waiting"]
    told: dict[str, Any] = {name: number(name) for name in ("people", "people_today", "fps", "temperature")}
    told |= {
        "fer_edge": None if version is None else version[:_LONGEST],
        "paused": state.get("paused") is True,
        "throttled": state.get("throttled") is True,
        "cameras": len(listed),
        "problem": None,
    }
    if waiting:
        name, reason = text(waiting[0].get("name")), text(waiting[0].get("reason"))
        told["problem"] = f"{name or 'a camera'}: {reason or 'no frames'}"[:200]
    return told


def _is_json(value: Any) -> bool:
    """Whether ``value`` can be written as the page is: without infinity and half pairs of surrogates."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return False
    return True


def _has_date(milliseconds: int) -> bool:
    try:
        _iso(milliseconds / 1000)
    except (ValueError, OverflowError, OSError):
        return False
    return True


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
