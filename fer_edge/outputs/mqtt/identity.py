"""Which device has a name at a broker: two of the same name would overwrite each other."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...control.broker import Broker
from .link import Connect, Link, LinkLost, Message
from .topics import AVAILABILITY, IDENTITY, ONLINE, VERSION, WHO, Topics

ANSWER_SECONDS = 5.0
"""Seconds for a device that seems to be online to answer."""

_LOOK_SECONDS = 10.0
_LONGEST = 64
"""Characters of each part of an identity."""


@dataclass(frozen=True)
class Identity:
    """A run of a device, as the topic of its identity tells it."""

    id: str
    """Of the device, made with its state folder."""
    instance: str
    """Of the run, made at its start."""
    started: str
    """When the run began, in UTC by ISO 8601."""

    @property
    def record(self) -> Mapping[str, Any]:
        """The payload of the topic."""
        return {"version": VERSION, **asdict(self)}

    def yields_to(self, other: Identity) -> bool:
        """Whether this one leaves the name to ``other`` where both have it: the later one does."""
        return (self.started, self.instance) > (other.started, other.instance)


def identity_of(payload: bytes) -> Identity | None:
    """The identity that a payload tells; ``None`` of one that tells none."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        record = json.loads(payload)
        fields = [str(record[name]) for name in ("id", "instance", "started")]
        # Any client of the broker may say this, and the log repeats it.
        if all(one.isprintable() and len(one) <= _LONGEST for one in fields):
            return Identity(*fields)
    return None


@dataclass(frozen=True)
class Found:
    """What a broker knows of a name."""

    identity: Identity | None = None
    availability: str | None = None
    """As retained by the broker, which may be wrong: a broker that was killed has lost all wills."""
    alive: bool = False
    """Whether another run has that name, and has answered."""


def look(
    broker: Broker, topics: Topics, client_id: str, link: Connect = Link, own: Identity | None = None
) -> Found:
    """Find out who has the name of ``topics``, as a client of another id.

    A device that seems to be online, and is not this run, ``own``, is asked, and has
    :data:`ANSWER_SECONDS` to answer. Raises :class:`LinkLost`.
    """
    made = link(broker, f"{client_id}-look", None)
    made.connect()
    try:
        # What was kept comes after the answer to the first subscription, and before that to the second.
        made.subscribe([topics[IDENTITY], topics[AVAILABILITY]])
        last = made.subscribe([topics[IDENTITY]])
        if not _turned(made, _LOOK_SECONDS, lambda: any(number == last for number, _ in made.subscribed)):
            raise LinkLost("the broker does not confirm the subscription")
        kept = {message.topic: message.payload for message in made.received if message.retain}
        identity = identity_of(kept.get(topics[IDENTITY], b""))
        told = kept.get(topics[AVAILABILITY])
        availability = None if told is None else told.decode("utf-8", "replace")
        alive = False
        if availability == ONLINE and (own is None or identity is None or identity.instance != own.instance):
            made.received.clear()
            made.publish(Message(topics[WHO], b"", qos=1))

            def others() -> list[Identity]:
                answers = [
                    identity_of(one.payload)
                    for one in made.received
                    if one.topic == topics[IDENTITY] and not one.retain
                ]
                return [one for one in answers if one is not None and one != own]

            alive = _turned(made, ANSWER_SECONDS, lambda: bool(others()))
            identity = others()[0] if alive else identity
    finally:
        made.close()
    return Found(identity, availability, alive)


def _turned(link: Link, seconds: float, done: Callable[[], bool]) -> bool:
    """Let ``link`` work until something is ``done``; returns whether it was, within so many seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        link.turn(0.1)
    return True
