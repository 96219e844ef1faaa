"""What a device publishes while it is connected to a broker, and how it executes commands."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from ...errors import DataError, FerEdgeError
from . import discovery
from .feed import CONFIRM_SECONDS, Feed, Stock, to_payload
from .identity import Identity, identity_of
from .link import Link, LinkLost, Message
from .progress import Progress
from .topics import (
    ANSWER,
    AVAILABILITY,
    COMMANDS,
    IDENTITY,
    MINUTES,
    ONLINE,
    PEOPLE,
    STATE,
    STOPPED,
    VERSION,
    WHO,
    Topics,
    camera_parts,
)

LOOK_SECONDS = 2.0
"""Seconds between looks into the store; it is written every few seconds."""

SOONEST_SECONDS = 1.0
"""Least time between two states, where something has changed that people wait for."""

ROWS_AT_ONCE = 120
"""Most rows in an answer."""

LATE_SECONDS = 60
"""A person who left longer ago is published as late: the broker was away in between."""

_SAVE_SECONDS = 10.0
"""Seconds between two checks whether the broker's progress has to be saved."""

_MOST_ASKED = 16
_SWITCH = {"ON": True, "OFF": False}
_MOST_BYTES = 4096
"""Length of the longest command that is accepted."""

_log = logging.getLogger(__name__)


class Controlled(Protocol):
    """What may be asked of a run, as :class:`fer_edge.control.control.Control` does it."""

    def pause(self) -> None:
        """Recognize nothing from now on."""

    def resume(self) -> None:
        """Go on."""

    def start_session(self, name: Any) -> None:
        """Begin a session. Raises DataError for what is no name."""

    def mark(self, name: Any, group: Any = None) -> None:
        """Record an event in it. Raises DataError for what is no name."""

    def stop_session(self) -> None:
        """End it."""


class NameTaken(Exception):
    """Another device has this name; it came first."""


@dataclass(frozen=True)
class Speaker:
    """Who speaks."""

    name: str
    identity: Identity
    topics: Topics
    cameras: Sequence[str]
    pictures: bool = False
    every: float = 5.0
    """Seconds between two states."""
    prefix: str | None = None
    """Of Home Assistant's discovery; ``None``: it is told nothing."""


@dataclass
class Outbox:
    """What other threads have to say; the newest only, and only while somebody listens."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    events: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=256))
    pictures: dict[str, bytes] = field(default_factory=dict)

    def take(self) -> tuple[list[Mapping[str, Any]], dict[str, bytes]]:
        """Empty it."""
        with self.lock:
            events, pictures = [*self.events], dict(self.pictures)
            self.events.clear()
            self.pictures.clear()
        return events, pictures


class Presence:
    """A device at a broker, over one :class:`Link`; used in one thread."""

    def __init__(
        self,
        link: Link,
        device: Speaker,
        snapshot: Callable[[], Mapping[str, Any]],
        control: Controlled,
        stock: Stock,
        progress: Progress,
        outbox: Outbox,
        now: float,
    ) -> None:
        self._link, self._device, self._topics = link, device, device.topics
        self._parts = camera_parts(device.cameras)
        self._snapshot, self._control = snapshot, control
        self._stock, self._progress, self._outbox = stock, progress, outbox
        self._feeds = (
            Feed("minutes", self._topics[MINUTES], dict, 0.6),
            Feed("visits", self._topics[PEOPLE], self._went, 0.3),
        )
        self._asked: deque[tuple[str, bytes]] = deque()
        self._answering: int | None = None
        self._answered_at = now
        self._look_at = self._state_at = self._changed_at = self._save_at = now
        self._shown: object = None
        link.subscribe([self._topics[name] for name in (IDENTITY, WHO, *COMMANDS)])
        if device.prefix is not None:
            link.subscribe([discovery.status_of(device.prefix)])
        self._claim()
        self._announce()

    def step(self, now: float) -> None:
        """Do what is due. Raises :class:`LinkLost`, and :class:`NameTaken` for an older one of the name."""
        self._receive()
        self._confirm(now)
        self._tell_state(now)
        self._tell_moment()
        self._answer(now)
        if now >= self._look_at:
            self.feed(now)
        if now >= self._save_at:
            self._save_at = now + _SAVE_SECONDS
            self._save()

    def feed(self, now: float) -> bool:
        """Send rows that the broker does not have; returns whether some are left or not yet confirmed."""
        self._look_at = now + LOOK_SECONDS
        device = self._stock.device()
        more = False
        if device is None:
            more = self._stock.go_on()
            self._look_at = now if more else self._look_at
            return more
        for feed in self._feeds:
            try:
                more |= feed.fill(self._link, self._stock, device, self._progress, now)
            except DataError as error:
                _log.warning("mqtt: no rows for the broker: %s", error)
        if all(feed.has_all(device) for feed in self._feeds):
            more |= self._stock.go_on()
        if more:
            # Confirmations make room for the next.
            self._look_at = now
        return more or any(feed.waiting for feed in self._feeds)

    def catch_up(self, now: float) -> bool:
        """As :meth:`feed`, at the end of a run, when nothing else is said any more."""
        self._confirm(now)
        return self.feed(now)

    def leave(self) -> None:
        """Say that the run has ended, and save the broker's progress."""
        self._link.publish(Message(self._topics[AVAILABILITY], STOPPED.encode(), qos=1, retain=True))

    def remember(self) -> None:
        """Save the broker's progress."""
        self._confirm(self._save_at)
        self._save()

    def _save(self) -> None:
        try:
            self._progress.save()
        except (OSError, DataError) as error:
            _log.warning(
                "mqtt: %s: %s; after a restart the broker gets some rows again", self._progress.path, error
            )

    def _claim(self) -> None:
        """Say who has this name, and that it is there."""
        self._identify()
        self._link.publish(Message(self._topics[AVAILABILITY], ONLINE.encode(), qos=1, retain=True))

    def _identify(self) -> None:
        identity = to_payload(self._device.identity.record)
        self._link.publish(Message(self._topics[IDENTITY], identity, qos=1, retain=True))

    def withdraw(self) -> None:
        """Let Home Assistant forget what was announced under a name that is another device's."""
        device = self._device
        if device.prefix is not None:
            topic = discovery.topic_of(device.prefix, device.identity.id, device.name)
            self._link.publish(Message(topic, b"", qos=1))
            self._progress.announce({})

    def _announce(self) -> None:
        """Announce the device to Home Assistant, and withdraw components that no longer exist."""
        device = self._device
        if device.prefix is None:
            return
        announced = discovery.payload(
            device.identity.id,
            device.name,
            self._topics,
            device.cameras,
            device.pictures,
            discovery.expiry(device.every),
            self._progress.components,
        )
        topic = discovery.topic_of(device.prefix, device.identity.id, device.name)
        whole = {key: one for key, one in announced["cmps"].items() if len(one) > 1}
        if len(whole) < len(announced["cmps"]):
            self._link.publish(Message(topic, to_payload(announced), qos=1))
        self._link.publish(Message(topic, to_payload({**announced, "cmps": whole}), qos=1))
        self._progress.announce(discovery.platforms(announced))

    def _receive(self) -> None:
        while self._link.subscribed:
            _, refusals = self._link.subscribed.popleft()
            if refusals:
                _log.warning("mqtt: the broker refuses the subscription to commands: %s", refusals[0].lower())
        while self._link.received:
            message = self._link.received.popleft()
            if self._device.prefix is not None and message.topic == discovery.status_of(self._device.prefix):
                if message.payload == ONLINE.encode():
                    self._announce()
                    self._shown = None
                continue
            name = self._topics.name(message.topic)
            # One that was kept is of before, and was judged before this one was claimed.
            if name == IDENTITY and not message.retain:
                self._meet(identity_of(message.payload))
            elif name == WHO:
                self._identify()
            elif name in COMMANDS:
                self._take(name, message)

    def _meet(self, other: Identity | None) -> None:
        """Somebody says that this name is theirs."""
        own = self._device.identity
        if other is None or other == own:
            return
        if own.yields_to(other):
            raise NameTaken
        self._claim()
        self._shown = None

    def _take(self, name: str, message: Message) -> None:
        if message.retain:
            _log.warning("mqtt: %s: ignored, since it is a retained command", message.topic)
        elif len(self._asked) >= _MOST_ASKED or len(message.payload) > _MOST_BYTES:
            _log.warning("mqtt: %s: dropped: too many commands wait, or it is too long", message.topic)
        elif message.payload:
            self._asked.append((name, message.payload))

    def _answer(self, now: float) -> None:
        """Do one thing that was asked, once the broker has the answer before."""
        if self._answering is not None and now - self._answered_at > CONFIRM_SECONDS:
            raise LinkLost("the broker confirms no messages")
        if not self._asked or self._answering is not None or self._link.congested:
            return
        name, asked = self._asked.popleft()
        topic, answer = self._topics[ANSWER], {"version": VERSION, "to": name}
        repeated: dict[str, Any] = {}
        try:
            request: Any = json.loads(asked) if asked[:1] == b"{" else asked.decode()
            if isinstance(request, dict) and "id" in request:
                # Before anything is done: what came as 1e999 or is very deep cannot be sent back.
                to_payload({"id": request["id"]})
                repeated["id"] = request["id"]
            table, _, verb = name.partition("/")
            if verb == "get":
                topic = self._topics[f"{table}/{ANSWER}"]
                told = self._rows(table, request)
            else:
                told = _obey(self._control, name, request)
            answer |= {"ok": True, **told}
        except (FerEdgeError, ValueError, RecursionError) as error:
            answer |= {"ok": False, "error": str(error)}
        answer |= repeated
        self._answered_at = now
        self._answering = self._link.publish(Message(topic, to_payload(answer), qos=1))
        self._shown = None

    def _rows(self, table: str, request: Any) -> dict[str, Any]:
        """Rows that were asked for; ``next`` is the ``after`` of the request that goes on."""
        if not isinstance(request, dict):
            raise DataError(f'give {{"after": SEQ}}; got {request!r:.40}')
        after, until = request.get("after", 0), request.get("until")
        if type(after) is not int or not 0 <= after < 2**63 or type(until) not in (int, type(None)):
            raise DataError(f"after and until are the seq of {table}, whole numbers from 0 on")
        device = self._stock.device(newest=True)
        if device is None:
            raise DataError("the store cannot be read")
        last = device.last[table] if until is None else min(until, device.last[table])
        rows = self._stock.rows(device, table, after, ROWS_AT_ONCE, newest=True)
        more = len(rows) == ROWS_AT_ONCE and rows[-1]["seq"] < last
        rows = [row for row in rows if row["seq"] <= last]
        reached = rows[-1]["seq"] if more else max(after, last)
        return {
            "store": device.uuid,
            "after": after,
            "rows": rows,
            "next": reached,
            "more": more,
            "last": device.last[table],
        }

    def _confirm(self, now: float) -> None:
        while self._link.acknowledged:
            number, refusal = self._link.acknowledged.popleft()
            if number == self._answering:
                self._answering = None
            for feed in self._feeds:
                if feed.confirm(number, refusal, self._progress, now):
                    break
            else:
                if refusal is not None:
                    _log.warning("mqtt: the broker refuses a message: %s", refusal.lower())

    def _tell_state(self, now: float) -> None:
        if now < self._changed_at or self._link.congested:
            return
        state = self._snapshot()
        seen = _awaited(state)
        if seen == self._shown and now < self._state_at:
            return
        self._shown = seen
        self._changed_at = now + min(SOONEST_SECONDS, self._device.every)
        self._state_at = now + self._device.every
        self._link.publish(Message(self._topics[STATE], to_payload(state), retain=True))

    def _tell_moment(self) -> None:
        """Tell who came, and show pictures; both are dropped for a slow broker."""
        events, pictures = self._outbox.take()
        if self._link.congested:
            return
        for event in events:
            self._link.publish(Message(self._topics[PEOPLE], to_payload(event)))
        for camera, picture in pictures.items():
            self._link.publish(Message(self._topics.picture(self._parts[camera]), picture))

    @staticmethod
    def _went(row: dict[str, Any]) -> dict[str, Any]:
        late = (datetime.now(UTC) - row["ended"]).total_seconds() > LATE_SECONDS
        return {"event": "went", "late": late, **row}


def _awaited(state: Mapping[str, Any]) -> object:
    """The part of a state whose changes are published at once."""
    cameras = [(one.get("name"), one.get("state"), one.get("people")) for one in state.get("cameras", ())]
    return state.get("people"), state.get("paused"), state.get("session"), cameras


def _obey(control: Controlled, name: str, request: Any) -> dict[str, Any]:
    """Execute a command; raises DataError if it cannot be done."""
    if name == "pause/set":
        paused = request.get("paused") if isinstance(request, dict) else _SWITCH.get(request)
        if not isinstance(paused, bool):
            raise DataError('give ON, OFF or {"paused": true}')
        (control.pause if paused else control.resume)()
        return {"paused": paused}
    told = request if isinstance(request, dict) else {}
    action, named = told.get("action"), told.get("name")
    if action == "stop":
        control.stop_session()
    elif action == "start":
        control.start_session(named)
    elif action == "mark":
        control.mark(named, told.get("group"))
    else:
        raise DataError('give {"action": "start" | "mark", "name": "…", "group": "…"} or {"action": "stop"}')
    return {"action": action}
