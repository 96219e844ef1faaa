"""The thread that talks to a broker: it connects and reconnects, and nothing waits for it."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...backoff import Backoff, varied
from ...control.broker import Broker
from ...errors import FerEdgeError
from .feed import Stock
from .identity import Identity, look
from .link import Connect, Link, LinkLost, Message
from .presence import Controlled, NameTaken, Outbox, Presence, Speaker
from .progress import Progress, device_id
from .topics import AVAILABILITY, OFFLINE, Topics, plain

PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds until a broker is tried again; the last repeats for ever. Each varies by a fifth, by chance."""

TAKEN_SECONDS = 60.0
"""Seconds until a name that another device has is asked for again."""

MOST_TAKEOVERS = 3
"""Times that another client with this device's id may take its place within :data:`_TAKEOVER_SECONDS`."""

_TAKEOVER_SECONDS = 180.0
_TURN_SECONDS = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Telling:
    """What a device is to tell a broker, and how it is to be called there."""

    broker: Broker
    name: str
    folder: Path
    """The state folder."""
    store: Path
    cameras: tuple[str, ...]
    every: float = 5.0
    """Seconds between two states."""
    prefix: str | None = None
    """Of Home Assistant's discovery; ``None``: it is told nothing."""
    pictures: bool = False


class Publisher:
    """Tells a broker how a run goes, in a thread of its own, from :meth:`start` to :meth:`stop`.

    ``snapshot``: gives the state that is told. ``link``: makes connections.

    Raises ``OSError`` where the state folder cannot be used.
    """

    def __init__(
        self,
        telling: Telling,
        snapshot: Callable[[], Mapping[str, Any]],
        control: Controlled,
        link: Connect = Link,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._telling, self._snapshot, self._control = telling, snapshot, control
        self._make, self._clock = link, clock
        began = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.identity = Identity(device_id(telling.folder), uuid.uuid4().hex[:12], began)
        self.topics = Topics.of(telling.broker, telling.name)
        self._client_id = f"fer-edge-{plain(telling.name)}-{self.identity.id[:12]}"
        self._progress = Progress(telling.folder, telling.broker, telling.name)
        self._stock = Stock(telling.store)
        self._begin_store()
        self._outbox = Outbox()
        self._over = threading.Event()
        self._finish_by = 0.0
        self._online = threading.Event()
        self._takeovers: list[float] = []
        self._lost_at: float | None = None
        self._told: str | None = None
        self._was_online = False
        # A daemon: a broker or a resolver that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="mqtt", daemon=True)

    @property
    def online(self) -> bool:
        """Whether the broker hears this device now."""
        return self._online.is_set()

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def set_store(self, store: Path) -> None:
        """The run writes another store from now on; what the broker lacks of the one before comes first."""
        self._stock.follow(store)
        try:
            self._begin_store()
        except (OSError, FerEdgeError) as error:
            _log.warning("mqtt: %s: %s", self._progress.path, error)

    def _begin_store(self) -> None:
        """From where on this broker is told of the store, also where it is met only later."""
        device = self._stock.device(newest=True)
        if device is not None:
            for table in ("minutes", "visits"):
                self._progress.after(device.uuid, table, device.last[table])
            self._progress.save()

    def stop(self, seconds: float) -> bool:
        """Tell what is left and that the run has ended, in so many seconds; returns whether that was done."""
        self._finish_by = self._clock() + seconds
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(seconds + 0.1)
        return not self._thread.is_alive()

    def tell(self, event: Mapping[str, Any]) -> None:
        """Tell of a moment, unless nobody listens."""
        if self.online:
            with self._outbox.lock:
                self._outbox.events.append(event)

    def show(self, camera: str, picture: bytes) -> None:
        """Show a picture of a camera, instead of one that waits, unless nobody listens."""
        if self.online:
            with self._outbox.lock:
                self._outbox.pictures[camera] = picture

    def forget_pictures(self) -> None:
        """Show none of those that wait."""
        with self._outbox.lock:
            self._outbox.pictures.clear()

    def _work(self) -> None:
        backoff = Backoff(PAUSES)
        while not self._over.is_set():
            pause = backoff.pause()
            try:
                if self._is_free():
                    self._talk()
                    return
                pause = varied(TAKEN_SECONDS)
            except NameTaken:
                self._tell_taken(f"another device had this name first, on {self.topics.base}/…")
                pause = varied(TAKEN_SECONDS)
            except LinkLost as lost:
                if self._was_online:
                    backoff.reset()
                    pause = backoff.pause()
                pause = self._count(lost, pause)
            except Exception as error:  # nothing here may end silently, or end the run
                told = str(error) if isinstance(error, FerEdgeError) else repr(error)
                self._tell_lost(told)
            finally:
                self._online.clear()
                self._was_online = False
            self._over.wait(pause)

    def _is_free(self) -> bool:
        """Whether no other run has this name; says so where one has. Raises :class:`LinkLost`."""
        found = look(self._telling.broker, self.topics, self._client_id, self._make, self.identity)
        if found.alive and found.identity is not None:
            self._tell_taken(_who(found.identity, self.identity, self._telling))
        return not found.alive

    def _talk(self) -> None:
        """Be present until the run ends. Raises :class:`LinkLost` and :class:`NameTaken`."""
        telling = self._telling
        will = Message(self.topics[AVAILABILITY], OFFLINE.encode(), qos=1, retain=True)
        link = self._make(telling.broker, self._client_id, will)
        link.connect()
        if self._over.is_set() and self._clock() >= self._finish_by:
            # The run did not wait for a broker that takes this long.
            link.close(1.0)
            return
        speaker = Speaker(
            telling.name,
            self.identity,
            self.topics,
            telling.cameras,
            telling.pictures,
            telling.every,
            telling.prefix,
        )
        presence: Presence | None = None
        try:
            presence = Presence(
                link,
                speaker,
                self._snapshot,
                self._control,
                self._stock,
                self._progress,
                self._outbox,
                self._clock(),
            )
            self._outbox.take()
            self._tell_online()
            while not self._over.is_set():
                presence.step(self._clock())
                link.turn(_TURN_SECONDS)
            while presence.catch_up(self._clock()) and (left := self._finish_by - self._clock()) > 0:
                link.turn(min(left, _TURN_SECONDS))
            presence.leave()
            link.close(max(0.0, self._finish_by - self._clock()))
        except NameTaken:
            # Not with the will: the name is not this device's.
            if presence is not None:
                presence.withdraw()
            link.close(1.0)
            raise
        finally:
            if presence is not None:
                presence.remember()
            link.abandon()

    def _count(self, lost: LinkLost, pause: float) -> float:
        """Take note of a lost connection; returns the seconds until the next one."""
        now = self._clock()
        if lost.taken_over:
            self._takeovers = [at for at in self._takeovers if now - at < _TAKEOVER_SECONDS] + [now]
            if len(self._takeovers) >= MOST_TAKEOVERS:
                self._tell_taken(
                    "another client takes the connection again and again: a second run, or a device made "
                    f"from a copy of this one's card? Then delete {self._telling.folder / 'mqtt' / 'id'} "
                    "on one of them"
                )
                return varied(TAKEN_SECONDS)
        self._tell_lost(str(lost))
        return pause

    def _tell_online(self) -> None:
        place = self._telling.broker.place
        if self._lost_at is None:
            _log.info("mqtt: connected to %s as %s", place, self.topics.base)
        else:
            seconds = self._clock() - self._lost_at
            _log.warning("mqtt: connected to %s again after %.0f s", place, seconds)
        self._lost_at = self._told = None
        self._was_online = True
        self._online.set()

    def _tell_lost(self, reason: str) -> None:
        """Say once that the broker is not there, and again only where it refuses instead."""
        if self._lost_at is None:
            self._lost_at = self._clock()
        kind = "refused" if "refuses" in reason else "lost"
        if self._told != kind:
            self._told = kind
            _log.warning("mqtt: %s: %s; trying again", self._telling.broker.place, reason)

    def _tell_taken(self, reason: str) -> None:
        if self._lost_at is None:
            self._lost_at = self._clock()
        if self._told != "taken":
            self._told = "taken"
            _log.error(
                "mqtt: refused at %s as %r: %s; nothing is published there until the name is free",
                self._telling.broker.place,
                self._telling.name,
                reason,
            )


def _who(other: Identity, own: Identity, telling: Telling) -> str:
    """Say who has the name."""
    if other.id == own.id:
        return (
            f"a run with this device's id has been going on since {other.started}: a second run, or a device "
            f"made from a copy of this one's card? Then delete {telling.folder / 'mqtt' / 'id'} on one of "
            "them, or give it another --mqtt-name"
        )
    return f"another device, with id {other.id[:12]}, has this name; give one of them another --mqtt-name"
