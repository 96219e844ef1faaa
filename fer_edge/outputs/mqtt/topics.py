"""Names of topics, of devices and of cameras in them."""

from __future__ import annotations

import hashlib
import itertools
import re
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...control.broker import Broker

VERSION = 1
"""Of topics and payloads. It rises where one changes its meaning or goes; new ones may come without."""

ONLINE, STOPPED, OFFLINE = "online", "stopped", "offline"
"""What the topic of availability says: it runs, it has ended, it vanished."""

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


def plain(name: str) -> str:
    """``name`` as part of a topic: letters, digits, ``_``, ``.`` and ``-``, and never empty."""
    return _cleaned(name) or "device"


def camera_parts(cameras: Sequence[str]) -> dict[str, str]:
    """Of each of a run's ``cameras`` its part of topics, by name; no two have the same.

    A name without any letter that a topic takes has eight hexadecimal digits instead, which stay the same
    whatever other cameras there are.
    """
    parts = [_cleaned(camera) or _digest(camera) for camera in cameras]
    return dict(zip(cameras, distinct(parts, "-"), strict=True))


def distinct(values: Sequence[str], joint: str) -> list[str]:
    """``values``, with ``joint`` and a number behind those that are there more than once.

    One that is there once stays as it is, and so does the first of several.
    """
    counts = Counter(values)
    taken = {value for value in values if counts[value] == 1}
    found = []
    for value in values:
        free = value
        if counts[value] > 1:
            numbered = (f"{value}{joint}{number}" for number in itertools.count(2))
            free = next(one for one in itertools.chain([value], numbered) if one not in taken)
            taken.add(free)
        found.append(free)
    return found


def _cleaned(name: str) -> str:
    return _NOT_PLAIN.sub("-", name).strip("-")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def default_name() -> str:
    """What a device is called that has no other name."""
    return socket.gethostname().partition(".")[0] or "device"


@dataclass(frozen=True)
class Topics:
    """The topics of one device."""

    base: str

    @classmethod
    def of(cls, broker: Broker, device: str) -> Topics:
        """The topics of the device of that name at a broker."""
        return cls(f"{broker.root}/{plain(device)}")

    def __getitem__(self, name: str) -> str:
        return f"{self.base}/{name}"

    def name(self, topic: str) -> str | None:
        """What ``topic`` is called below the device; ``None`` where it is of another one."""
        return topic.removeprefix(f"{self.base}/") if topic.startswith(f"{self.base}/") else None

    def picture(self, part: str) -> str:
        """Where pictures of a camera go, by its part of topics."""
        return self[f"camera/{part}/picture"]


AVAILABILITY = "availability"
IDENTITY = "identity"
WHO = "identity/get"
"""Whoever is there tells its identity once more."""
STATE = "state"
PEOPLE = "people"
MINUTES = "minutes"
ANSWER = "answer"
COMMANDS = ("pause/set", "session/set", "minutes/get", "visits/get")
"""What may be asked of a device."""
