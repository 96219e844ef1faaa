"""Requests missing rows from devices: a few at a time, and at growing intervals if nobody answers."""

from __future__ import annotations

import heapq
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from .book import TABLES, Book, Source
from .limits import MOST_ASKS
from .payloads import Answer, Refusal, Table

ANSWER_SECONDS = 30.0

SOON_SECONDS = 5.0
"""Time for a gap to close by itself: rows of a moment may come in any order."""

BACK_OFF = (30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds until a device that did not answer, or refused, is asked again."""

QUIET_SECONDS = 600.0
"""A device that is online, but has sent no row for so long, is asked: its last ones may have been dropped."""

PROBED = 3
"""Devices that are asked where nothing comes at all."""

UNKNOWN = 2**62
"""Asked of an unknown device: no row lies above, so the answer has only its store and last row."""


@dataclass(frozen=True)
class Ask:
    """A question: rows of ``table`` with ``seq`` above ``after``, up to ``until``."""

    id: str
    name: str
    table: Table
    source: Source | None
    after: int
    until: int | None
    at: float


@dataclass
class _Want:
    due: float
    tries: int = 0
    look: bool = False
    """Whether to ask for rows after the last known one, too."""


class Asker:
    """``send`` asks, and returns whether the question could be sent."""

    def __init__(self, book: Book, send: Callable[[Ask], bool], most: int = MOST_ASKS) -> None:
        self._book, self._send, self._most = book, send, most
        self._wants: dict[tuple[str, Table], _Want] = {}
        self._due: list[tuple[float, int, tuple[str, Table]]] = []
        self._count = itertools.count()
        self._instance = secrets.token_hex(4)
        self.asked: dict[str, Ask] = {}
        """Questions without an answer, by their ids."""
        self._asking: set[tuple[str, Table]] = set()
        self._there: dict[str, float] = {}
        """Devices that are online, and when they last sent a row or were asked for one."""
        self._quiet_at = 0.0
        self._tries: dict[tuple[str, Table], int] = {}
        """How often those did not answer over the connection before."""
        self.asks = 0
        """Questions since the start."""
        self.unanswered = 0

    def greet(self, name: str, now: float, anew: bool = True) -> None:
        """A device is online: ask what it has. ``anew``: it has just connected, and may answer again."""
        self._there[name] = now
        for table in TABLES:
            self._want(name, table, now, look=True, anew=anew)

    def probe(self, now: float) -> None:
        """Ask some of the devices that are online, to see whether anything comes back."""
        for name in itertools.islice(self._there, PROBED):
            self._want(name, "minutes", now, look=True)

    def leave(self, name: str) -> None:
        """A device is offline: do not ask it."""
        self._there.pop(name, None)

    def miss(self, source: Source, table: Table, now: float) -> None:
        """A row of ``source`` came; before it, some may be missing."""
        if source.name in self._there:
            self._there[source.name] = now
        if source.spans[table].missing:
            self._want(source.name, table, now + SOON_SECONDS)

    def forget(self) -> None:
        """The connection is lost: nothing that was asked will be answered, and nobody is there."""
        self.asked.clear()
        self._asking.clear()
        self._there.clear()
        self._due.clear()
        # Silent devices stay marked until they connect again.
        self._tries = {key: want.tries for key, want in self._wants.items() if want.tries}
        self._wants.clear()

    def step(self, now: float) -> None:
        """Ask what is due."""
        if now >= self._quiet_at:
            self._quiet_at = now + QUIET_SECONDS / 10
            for name in [name for name, at in self._there.items() if now - at >= QUIET_SECONDS]:
                self._there[name] = now
                for table in TABLES:
                    self._want(name, table, now, look=True)
        for late in [ask for ask in self.asked.values() if now - ask.at > ANSWER_SECONDS]:
            self.unanswered += 1
            self._failed(late, now)
        while self._due and self._due[0][0] <= now and len(self.asked) < self._most:
            due, _, key = heapq.heappop(self._due)
            want = self._wants.get(key)
            if want is None or want.due != due or key in self._asking:
                continue
            if key[0] not in self._there:
                # It is asked when it connects.
                del self._wants[key]
                continue
            ask = self._ask(key, want, now)
            if ask is None:
                del self._wants[key]
                continue
            if not self._send(ask):
                heapq.heappush(self._due, (due, next(self._count), key))
                return
            self.asks += 1
            self.asked[ask.id] = ask
            self._asking.add(key)

    def answered(self, name: str, table: Table, told: Answer | Refusal, now: float) -> Ask | None:
        """Record an answer; returns the question, ``None`` if another client asked it."""
        ask = self.asked.get(told.id) if told.id is not None else None
        if ask is None or (ask.name, ask.table) != (name, table):
            return None
        if isinstance(told, Refusal):
            self._failed(ask, now)
            return ask
        if told.more and told.next <= ask.after:
            # Otherwise the same question would be asked for ever.
            self._failed(ask, now)
            return ask
        self._end(ask)
        want = self._wants[name, table]
        want.tries = 0
        want.look = want.look and not (ask.until is None and not told.more)
        self._push((name, table), want, now)
        return ask

    def _ask(self, key: tuple[str, Table], want: _Want, now: float) -> Ask | None:
        name, table = key
        number = f"{self._instance}-{next(self._count)}"
        source = self._book.current.get(name)
        if source is None or table not in source.met:
            return Ask(number, name, table, source, UNKNOWN, None, now) if want.look else None
        gap = source.spans[table].first_gap
        if gap is not None:
            return Ask(number, name, table, source, gap[0] - 1, gap[1], now)
        return Ask(number, name, table, source, source.spans[table].last, None, now) if want.look else None

    def _want(self, name: str, table: Table, due: float, *, look: bool = False, anew: bool = False) -> None:
        key = (name, table)
        want = self._wants.get(key)
        if want is None:
            tries = self._tries.pop(key, 0)
            want = self._wants[key] = _Want(due, 0 if anew else tries)
        elif anew:
            want.tries = 0
        else:
            # Already on the list, perhaps for later since it did not answer.
            want.look = want.look or look
            return
        want.look = want.look or look
        if key not in self._asking:
            self._push(key, want, due)

    def _push(self, key: tuple[str, Table], want: _Want, due: float) -> None:
        want.due = due
        heapq.heappush(self._due, (due, next(self._count), key))

    def _failed(self, ask: Ask, now: float) -> None:
        self._end(ask)
        key = (ask.name, ask.table)
        want = self._wants.get(key)
        if want is not None:
            pause = BACK_OFF[min(want.tries, len(BACK_OFF) - 1)]
            want.tries += 1
            self._push(key, want, now + pause)

    def _end(self, ask: Ask) -> None:
        del self.asked[ask.id]
        self._asking.discard((ask.name, ask.table))
