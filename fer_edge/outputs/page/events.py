"""What happens, as server-sent events that a browser can go on with where it was cut off."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

KEPT = 128
"""Events that are kept for those who come back."""

ALIVE = 15.0
"""Seconds after which a comment is sent where nothing happens, so that proxies keep the connection."""

_LATEST_ID = re.compile(r"([0-9a-f]{8})-(\d{1,15})")


class Events:
    """A bounded list of numbered events. All but the making of it is for the thread of the server."""

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        """Begins every id, so that one of an earlier run is known to be that."""
        self._events: deque[bytes] = deque(maxlen=KEPT)
        self._last = 0
        self._news = asyncio.Event()
        self.ended = False

    def tell(self, name: str, data: dict[str, Any]) -> None:
        """Add an event; ``data`` is what JSON can say."""
        self._last += 1
        self._events.append(self.made(name, data))
        self.ended |= name == "ended"
        news, self._news = self._news, asyncio.Event()
        news.set()

    def made(self, name: str, data: dict[str, Any]) -> bytes:
        """Return an event of this moment, with the id of the latest, for one reader alone."""
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return f"id: {self.run}-{self._last}\nevent: {name}\ndata: {text}\n\n".encode()

    def place_of(self, last_id: str | None) -> int | None:
        """The number behind an id of this run; ``None`` for another."""
        found = _LATEST_ID.fullmatch(last_id or "")
        if found is None or found[1] != self.run or int(found[2]) > self._last:
            return None
        return int(found[2])

    async def after(self, last_id: str | None, first: Callable[[], bytes]) -> AsyncIterator[bytes]:
        """Yield all events after ``last_id``, and comments between; without one of this run, ``first`` first.

        A reader that is too slow, or was away for too long, gets an event ``gap``: how many are missing.
        """
        place = self.place_of(last_id)
        yield b"retry: 2000\n\n"
        if place is None:
            place = self._last
            yield first()
        while True:
            news = self._news
            oldest = self._last - len(self._events) + 1
            if place + 1 < oldest:
                missing = oldest - 1 - place
                place = oldest - 1
                yield f'event: gap\ndata: {{"lost":{missing}}}\n\n'.encode()
            if place < self._last:
                # Once more from the deque after each, as it goes on while the reader takes one.
                place += 1
                yield self._events[place - oldest]
                continue
            if self.ended:
                return
            try:
                async with asyncio.timeout(ALIVE):
                    await news.wait()
            except TimeoutError:
                yield b": alive\n\n"
