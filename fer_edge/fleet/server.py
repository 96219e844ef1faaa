"""The fleet server: subscribes to all devices at a broker, writes their rows, requests missing ones.

Two things prevent losses. The broker keeps a session for this client, and a message is confirmed only
when its rows are in the database. And rows are numbered: whatever the broker could not keep leaves a gap,
which is requested from the device.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from ..backoff import Backoff
from ..control.broker import Broker
from ..errors import DataError, OutputError
from ..outputs.mqtt.link import Link, LinkLost, Message, Session
from ..outputs.mqtt.topics import AVAILABILITY, MINUTES, ONLINE, PEOPLE, STATE
from .asking import Ask, Asker
from .board import AVAILABILITIES, Board
from .book import Book, Source, TooMany
from .database import Database
from .limits import HISTORY, MOST_ASKS
from .payloads import (
    BadPayload,
    Refusal,
    Table,
    answer_of,
    parsed,
    row_of,
    store_of,
)

SESSION = Session(seconds=86_400, received=1000, packet=1024 * 1024)
"""How long the broker keeps messages while this server is away, as far as its own limits allow."""

COMMIT_SECONDS = 1.0
"""Rows wait so long for others, so that a transaction has many."""

COMMIT_AT_ONCE = 500
"""Messages after which a transaction is written at once."""

IDLE_MESSAGES = 8
"""Messages that are worth a transaction where no more come: a broker may send only some unconfirmed."""

PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds between tries to connect, a fifth more or less."""

DATABASE_PAUSES = (1.0, 2.0, 5.0, 10.0)

KEEP_SECONDS = 60.0
"""Seconds between two writings of what the page shows."""

DELETE_SECONDS = 600.0
"""Seconds between two searches for rows that are too old."""

DEAF_SECONDS = 40.0
"""Seconds without a message after which devices are asked; where they do not answer, the session is given up.

mosquitto 2.0.11 may stop sending to a client for which it had to drop messages; a session that is begun anew
is served again, and devices are asked for what was dropped.
"""

DEAF_AGAIN_SECONDS = 600.0
"""Seconds until the next new session, doubled each time: devices may not be allowed to answer."""

_TURN_SECONDS = 0.1
_FAULT_SECONDS = 3600.0
"""Seconds between two lines in the log about bad payloads of a device."""

_log = logging.getLogger(__name__)

MakeLink = Callable[[Broker, str, Session], Link]


def _link(broker: Broker, client_id: str, session: Session) -> Link:
    return Link(broker, client_id, session=session)


@dataclass(frozen=True)
class Limits:
    """How much is asked."""

    asks: int = MOST_ASKS
    history: int = HISTORY
    keep: float | None = None
    """Days after which rows are deleted; ``None``: never."""


class Fleet:
    """Opens ``database`` and reads what is there; :meth:`run` does the rest, in one thread.

    Raises :class:`~fer_edge.errors.DataError` and :class:`~fer_edge.errors.OutputError` as its ``open`` does.
    """

    def __init__(
        self,
        broker: Broker,
        database: Database,
        limits: Limits | None = None,
        make_link: MakeLink = _link,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        limits = limits or Limits()
        self._broker, self._database, self._make, self._clock = broker, database, make_link, clock
        self._id = database.open()
        self.board = Board(wall)
        self.book = Book(database, limits.history, wall)
        self.book.load()
        self._load_board()
        self.asker = Asker(self.book, self._send, limits.asks)
        self._keep_days = limits.keep
        self._delete_at = clock() + DELETE_SECONDS
        self._over = threading.Event()
        self._link: Link | None = None
        self._unconfirmed: deque[Message] = deque()
        self._heard = 0
        self._heard_at = self._deaf_at = self._probe_at = clock()
        self._unanswered = self._deaf_tries = 0
        self._anew = False
        self._waits_since: float | None = None
        self._database_backoff = Backoff(DATABASE_PAUSES, jitter=0.0)
        self._database_at = 0.0
        self._keep_at = clock() + KEEP_SECONDS
        self._faults_told: dict[str, float] = {}
        self._lost_at: float | None = None
        self._told: str | None = None

    def stop(self) -> None:
        """Let :meth:`run` end; from any thread, or a signal."""
        self._over.set()

    def run(self) -> None:
        """Serve until :meth:`stop`, also while the broker or the database cannot be reached."""
        backoff = Backoff(PAUSES)
        while not self._over.is_set():
            try:
                self._talk()
                break
            except LinkLost as lost:
                if self.board.broker is None:
                    backoff.reset()
                self._tell_lost(lost)
            self._wait(backoff.pause())
        self._end()

    def _wait(self, seconds: float) -> None:
        """Pause, and write meanwhile what waits."""
        until = self._clock() + seconds
        while not self._over.is_set() and (left := until - self._clock()) > 0:
            self._commit_where_due(idle=True)
            self._over.wait(min(left, COMMIT_SECONDS))

    def _talk(self) -> None:
        """One connection. Raises :class:`LinkLost`."""
        # The broker sends unconfirmed messages again, and those are the ones to confirm.
        self._unconfirmed.clear()
        self.asker.forget()
        session = replace(SESSION, anew=self._anew)
        link = self._make(self._broker, f"fer-edge-fleet-{self._id[:13]}", session)
        link.connect()
        self._anew = False
        self._heard_at, self._unanswered = self._clock(), self.asker.unanswered
        self._link = link
        try:
            root = f"{self._broker.root}/+"
            answers = [f"{root}/minutes/answer", f"{root}/visits/answer"]
            link.subscribe([f"{root}/{name}" for name in (AVAILABILITY, MINUTES, PEOPLE)] + answers)
            link.subscribe([f"{root}/{STATE}"], qos=0)
            self._tell_connected()
            while not self._over.is_set():
                heard = self._heard
                link.turn(_TURN_SECONDS)
                self._receive(link)
                self._commit_where_due(idle=self._heard == heard)
                self.asker.step(self._clock())
                self._listen_again_where_deaf()
                self._keep_where_due()
                self._delete_where_due()
            if self.book.changed or self._unconfirmed:
                self._commit_where_due(idle=True, now_or_never=True)
            link.close(1.0)
        finally:
            self._link = None
            link.abandon()

    def _end(self) -> None:
        try:
            if self.book.changed:
                self.book.commit()
            self._keep()
        except OutputError as error:
            _log.error("fleet: not written at the end: %s; requested from the devices next time", error)
        self._database.close()

    def _receive(self, link: Link) -> None:
        while link.subscribed:
            _, refusals = link.subscribed.popleft()
            if refusals:
                _log.error("fleet: the broker refuses this client's subscription: %s", refusals[0].lower())
        link.acknowledged.clear()
        while link.received:
            message = link.received.popleft()
            if message.qos:
                self._unconfirmed.append(message)
                self._heard += 1
                if not message.retain:
                    self._heard_at, self._deaf_tries = self._clock(), 0
            self._hear(message)

    def _listen_again_where_deaf(self) -> None:
        """Raise :class:`LinkLost` if the broker seems to have stopped sending."""
        now = self._clock()
        if now - self._heard_at >= DEAF_SECONDS and now >= self._probe_at:
            self._probe_at = now + DEAF_SECONDS
            self.asker.probe(now)
        silent = now - self._heard_at >= DEAF_SECONDS and self.asker.unanswered > self._unanswered
        if silent and now >= self._deaf_at:
            self._deaf_at, self._anew = now + DEAF_AGAIN_SECONDS * 2**self._deaf_tries, True
            self._deaf_tries = min(self._deaf_tries + 1, 7)
            raise LinkLost("the broker delivers nothing any more; beginning a new session there")

    def _hear(self, message: Message) -> None:
        """Take a message of any topic."""
        name, _, kind = message.topic.removeprefix(f"{self._broker.root}/").partition("/")
        if not self.board.knows(name):
            self.board.counts["strangers"] += 1
            return
        self.board.counts["messages"] += 1
        self.board.hear(name, retained=message.retain)
        try:
            if kind == AVAILABILITY:
                self._available(name, message.payload, message.retain)
            elif kind == STATE:
                self.board.show(name, parsed(message.payload))
            elif kind == MINUTES:
                self._row(name, "minutes", parsed(message.payload))
            elif kind == PEOPLE:
                told = parsed(message.payload)
                if told.get("event") == "went":
                    self._row(name, "visits", told)
            else:
                self._answer(name, cast(Table, kind.partition("/")[0]), parsed(message.payload))
        except BadPayload as error:
            self._refuse(name, kind, error)
        except TooMany as error:
            self.board.counts["strangers"] += 1
            self._tell_fault(name, str(error))

    def _available(self, name: str, payload: bytes, retained: bool) -> None:
        told = payload[:20].decode("ascii", "replace")
        if told not in AVAILABILITIES:
            raise BadPayload(f"{told!r} is none of {', '.join(AVAILABILITIES)}")
        self.board.is_available(name, told)
        if told == ONLINE:
            self.asker.greet(name, self._clock(), anew=not retained)
        else:
            self.asker.leave(name)

    def _source(self, name: str, store: str) -> Source:
        before = self.book.current.get(name)
        source = self.book.source(name, store)
        if before is not source and not source.met and (other := self.book.known_elsewhere(source)):
            _log.warning(
                "fleet: %s sends rows of a store that %s had: it was renamed, or its card was copied; rows "
                "received so far stay with %s",
                name,
                other,
                other,
            )
        return source

    def _row(self, name: str, table: Table, told: dict[str, Any]) -> None:
        row = row_of(table, told)
        source = self._source(name, store_of(told))
        self.book.take(source, table, row)
        self.asker.miss(source, table, self._clock())
        if table == "minutes":
            self._has_minute(name, row.origin + row.began, row.values)

    def _has_minute(self, name: str, began: int, values: tuple[int | None, ...]) -> None:
        self.board.has_minutes(name, began + (values[1] or 0))

    def _answer(self, name: str, table: Table, payload: dict[str, Any]) -> None:
        told = answer_of(table, payload)
        if isinstance(told, Refusal):
            if self.asker.answered(name, table, told, self._clock()) is not None:
                self._tell_fault(name, f"does not give {table}: {told.told}")
            return
        source = self._source(name, told.store)
        self.book.meet(source, table, told.last)
        for row in told.rows:
            self.book.take(source, table, row, fresh=True)
        for error in told.bad:
            self._refuse(name, f"{table}/answer", error)
        ask = self.asker.answered(name, table, told, self._clock())
        gone = self.book.settle(source, table, told.after + 1, told.next)
        if ask is not None and not told.more and ask.until is not None and ask.source is source:
            # The device no longer has rows that it once announced.
            gone += self.book.settle(source, table, told.next + 1, ask.until)
        if gone:
            _log.warning("fleet: %s no longer has %d rows of %s, which never arrived here", name, gone, table)

    def _refuse(self, name: str, kind: str, error: BadPayload) -> None:
        self.board.refuse(name, error.fault, f"{kind}: {error}")
        self._tell_fault(name, f"{kind}: {error}")

    def _tell_fault(self, name: str, told: str) -> None:
        """Log what is wrong with a device, once an hour."""
        now = self._clock()
        if now - self._faults_told.get(name, -_FAULT_SECONDS) >= _FAULT_SECONDS:
            self._faults_told[name] = now
            _log.warning("fleet: %s: %s", name, told)

    def _send(self, ask: Ask) -> bool:
        link = self._link
        if link is None or link.congested:
            return False
        question: dict[str, Any] = {"after": ask.after, "id": ask.id}
        if ask.until is not None:
            question["until"] = ask.until
        topic = f"{self._broker.root}/{ask.name}/{ask.table}/get"
        link.publish(Message(topic, json.dumps(question).encode(), qos=1))
        return True

    def _commit_where_due(self, idle: bool, now_or_never: bool = False) -> None:
        """Write and confirm what has waited long enough. Raises :class:`LinkLost`."""
        if not (self.book.changed or self._unconfirmed):
            return
        now, waiting = self._clock(), len(self._unconfirmed)
        if self._waits_since is None:
            self._waits_since = now
        due = (
            now - self._waits_since >= COMMIT_SECONDS
            or waiting >= COMMIT_AT_ONCE
            or self.book.pending >= COMMIT_AT_ONCE * 4
            or (idle and waiting >= IDLE_MESSAGES)
        )
        if not (due or now_or_never) or (now < self._database_at and not now_or_never):
            return
        try:
            if self.board.database is not None:
                self._reopen()
            changed = self.book.commit()
        except OutputError as error:
            self._tell_database(error, now)
            return
        self._waits_since = None
        self._tell_writable()
        self.board.counts["rows"] = self.book.written
        self.board.counts["doubles"] = self.book.doubles
        for name in {source.name for source in changed}:
            source = self.book.current[name]
            self.board.misses(name, source.missing, sum(source.lost.values()))
        link = self._link
        if link is not None:
            while self._unconfirmed:
                link.take(self._unconfirmed.popleft())

    def _reopen(self) -> None:
        try:
            made = self._database.open()
        except DataError as error:
            raise OutputError(str(error)) from error
        if made != self._id:
            raise OutputError(f"{self._database.place}: no longer the same store; restart fer-edge fleet")

    def _tell_database(self, error: OutputError, now: float) -> None:
        if self.board.database is None:
            _log.error("fleet: %s; trying again, nothing is confirmed meanwhile", error)
        self.board.database = str(error)
        self._database_at = now + self._database_backoff.pause()

    def _tell_writable(self) -> None:
        if self.board.database is not None:
            _log.warning("fleet: %s can be written again", self._database.place)
        self.board.database = None
        self._database_backoff.reset()

    def _tell_connected(self) -> None:
        place = self._broker.place
        if self._lost_at is None:
            _log.info("fleet: connected to %s, listening below %s/", place, self._broker.root)
        else:
            _log.warning("fleet: connected to %s again after %.0f s", place, self._clock() - self._lost_at)
        self.board.broker = self._lost_at = self._told = None

    def _tell_lost(self, lost: LinkLost) -> None:
        """Log once that the broker cannot be reached, and again only if it then refuses."""
        if self._lost_at is None:
            self._lost_at = self._clock()
        kind = "refused" if lost.refused else "lost"
        if self._told != kind:
            self._told = kind
            _log.warning("fleet: %s: %s; trying again", self._broker.place, lost)
        self.board.broker = str(lost)

    def _load_board(self) -> None:
        with self._database.transaction() as work:
            for name, seen, told in work.all("SELECT name, seen, told FROM fleet_device"):
                self.board.load(name, None if seen is None else seen / 1000, told)
        for name, source in self.book.current.items():
            self.board.misses(name, source.missing, sum(source.lost.values()))

    def _keep_where_due(self) -> None:
        if self._clock() < self._keep_at or self.board.database is not None:
            return
        self._keep_at = self._clock() + KEEP_SECONDS
        try:
            self._keep()
        except OutputError as error:
            self._tell_database(error, self._clock())

    def _delete_where_due(self) -> None:
        """Delete some of what is too old."""
        now = self._clock()
        if self._keep_days is None or now < self._delete_at or self.board.database is not None:
            return
        self._delete_at = now + DELETE_SECONDS
        try:
            if self.book.delete(self._keep_days):
                self._delete_at = now + COMMIT_SECONDS
        except OutputError as error:
            self._tell_database(error, now)

    def _keep(self) -> None:
        """Write what the page shows, for the next start."""
        rows = [
            (name, None if seen is None else round(seen * 1000), told)
            for name, seen, told in self.board.unsaved()
        ]
        if rows:
            with self._database.transaction() as work:
                work.many(
                    "INSERT INTO fleet_device (name, seen, told) VALUES (?, ?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, told = excluded.told",
                    rows,
                )
