"""Names of topics, of devices and of cameras in them."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from ...control.broker import Broker

VERSION = 1
"""Of topics and payloads. It rises where one changes its meaning or goes; new ones may come without."""

ONLINE, STOPPED, OFFLINE = "online", "stopped", "offline"
"""What the topic of availability says: it runs, it has ended, it vanished."""

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


def plain(name: str) -> str:
    """``name`` as part of a topic: letters, digits, ``_``, ``.`` and ``-``, and never empty."""
    return _NOT_PLAIN.sub("-", name).strip("-") or "device"


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

    def picture(self, camera: str) -> str:
        """Where pictures of ``camera`` go."""
        return self[f"camera/{plain(camera)}/picture"]


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
