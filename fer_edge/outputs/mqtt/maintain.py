"""What ``fer-edge mqtt`` does at a broker: checks it, and removes a device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...control.broker import Broker
from ...errors import OutputError
from . import discovery
from .identity import Found, look
from .link import Connect, Link, LinkLost, Message
from .progress import Progress, device_id
from .topics import IDENTITY, Topics, plain

_SECONDS = 10.0


@dataclass(frozen=True)
class Checked:
    """What a broker has let this device do."""

    topics: Topics
    found: Found
    own_id: str
    protocol: str


def check(broker: Broker, name: str, folder: Path, link: Connect = Link) -> Checked:
    """Connect as the device ``name`` would, and have a message confirmed.

    Raises :class:`~fer_edge.errors.OutputError` where the broker is not there or refuses.
    """
    topics, own = Topics.of(broker, name), device_id(folder)
    client_id = f"fer-edge-{plain(name)}-{own[:12]}"
    with _telling(broker):
        found = look(broker, topics, client_id, link)
        made = link(broker, f"{client_id}-check", None)
        made.connect()
        try:
            _confirmed(made, [Message(topics["check"], b"", qos=1)])
            return Checked(topics, found, own, made.protocol)
        finally:
            made.close()


def remove(broker: Broker, name: str, folder: Path, prefix: str | None = None, link: Connect = Link) -> int:
    """Let Home Assistant forget the device ``name``, and the broker all that it keeps of it.

    ``prefix``: of discovery. Returns how many retained topics were deleted. Works from any machine, since the
    identity that the broker keeps has the device's id. Raises :class:`~fer_edge.errors.OutputError` where the
    broker is not there, refuses, or the device is online.
    """
    topics, own = Topics.of(broker, name), device_id(folder)
    client_id = f"fer-edge-{plain(name)}-{own[:12]}"
    with _telling(broker):
        found = look(broker, topics, client_id, link)
        if found.alive:
            raise OutputError(f"{topics.base}: the device is online; end its fer-edge run first")
        made = link(broker, f"{client_id}-remove", None)
        made.connect()
        try:
            # What is kept comes before the answer to the second subscription.
            made.subscribe([f"{topics.base}/#"])
            last = made.subscribe([topics[IDENTITY]])
            _until(made, lambda: any(number == last for number, _ in made.subscribed))
            kept = {message.topic for message in made.received if message.retain and message.payload}
            gone = own if found.identity is None else found.identity.id
            # The identity last: until then, all of this can be done again.
            order = sorted(kept, key=lambda topic: (topic == topics[IDENTITY], topic))
            announced = discovery.topic_of(prefix or discovery.PREFIX, gone, name)
            _confirmed(made, [Message(topic, b"", qos=1, retain=True) for topic in (announced, *order)])
        finally:
            made.close()
    Progress(folder, broker, name).forget()
    return len(kept)


@contextlib.contextmanager
def _telling(broker: Broker) -> Iterator[None]:
    """Say of which broker an error is."""
    try:
        yield
    except LinkLost as lost:
        raise OutputError(f"{broker.place}: {lost}") from lost


def _confirmed(link: Link, messages: Sequence[Message]) -> None:
    """Publish ``messages`` and wait until the broker has them. Raises :class:`LinkLost` where it does not."""
    waiting = {link.publish(message): message.topic for message in messages}

    def done() -> bool:
        while link.acknowledged:
            number, refusal = link.acknowledged.popleft()
            topic = waiting.pop(number, None)
            if refusal is not None:
                raise LinkLost(f"the broker refuses {topic}: {refusal.lower()}")
        return not waiting

    _until(link, done)


def _until(link: Link, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise LinkLost("the broker does not answer")
        link.turn(0.2)
