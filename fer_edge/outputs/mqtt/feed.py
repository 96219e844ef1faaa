"""Rows of the store on their way to a broker: in order, some at a time, each until it is confirmed."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...errors import DataError
from ...store.reader import Device, StoreReader
from ...utc import utc_text
from .link import Link, LinkLost, Message
from .progress import Progress
from .topics import VERSION

CONFIRM_SECONDS = 60.0
"""Time for the broker to confirm a message; then the connection is taken to be broken."""

_REFUSED_SECONDS = 60.0
"""Time after which rows are offered again to a broker that refused them."""

_log = logging.getLogger(__name__)


def to_payload(record: Mapping[str, Any]) -> bytes:
    """``record`` as JSON in UTF-8; times get a ``Z``."""
    return json.dumps(
        record, separators=(",", ":"), allow_nan=False, ensure_ascii=False, default=_plain
    ).encode("utf-8", "backslashreplace")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return utc_text(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class Stock:
    """The store that the run writes, and before it those that it wrote until it got another one.

    Each is opened for each look, so that nothing of it is held.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._paths = deque([path])
        self._told: str | None = None

    def follow(self, path: str | os.PathLike[str]) -> None:
        """The run writes another one from now on; from any thread."""
        if path != self._paths[-1]:
            self._paths.append(path)

    def go_on(self) -> bool:
        """Leave the oldest one, all of which was told; returns whether there is a next one."""
        if len(self._paths) > 1:
            self._paths.popleft()
            return True
        return False

    def device(self, newest: bool = False) -> Device | None:
        """Whose rows the run writes, with the last ``seq`` of each table; ``None`` where none is read.

        ``newest``: of the store that is written now, else of the oldest one.
        """
        try:
            with StoreReader(self._paths[-1 if newest else 0]) as store:
                found = store.devices()
        except DataError as error:
            if str(error) != self._told:
                self._told = str(error)
                _log.warning("mqtt: no rows for the broker: %s", error)
            return None
        self._told = None
        return found[0] if found else None

    def rows(
        self, device: Device, table: str, after: int, limit: int, newest: bool = False
    ) -> list[dict[str, Any]]:
        """Rows of ``table`` with a greater ``seq``, in order, at most so many; ``newest``: as above.

        Raises :class:`~fer_edge.errors.DataError` where the store cannot be read.
        """
        with StoreReader(self._paths[-1 if newest else 0]) as store:
            return [*store.rows(table, after=after, device=device.name, limit=limit)]


@dataclass
class _Sent:
    number: int
    seq: int
    at: float
    confirmed: bool = False


class Feed:
    """One table of the store, a message a row.

    ``made``: the payload of a row. ``share``: the part of the link's window that this feed may fill.
    """

    def __init__(
        self, table: str, topic: str, made: Callable[[dict[str, Any]], Mapping[str, Any]], share: float
    ) -> None:
        self.table, self._topic, self._made, self._share = table, topic, made, share
        self._sent: deque[_Sent] = deque()
        self._store: str | None = None
        self._next = 0
        self._closed_until = 0.0

    @property
    def waiting(self) -> int:
        """Messages that are not confirmed."""
        return len(self._sent)

    def has_all(self, device: Device) -> bool:
        """Whether the broker has confirmed all that is there."""
        return not self._sent and self._store == device.uuid and self._next >= device.last[self.table]

    def fill(self, link: Link, stock: Stock, device: Device, progress: Progress, now: float) -> bool:
        """Send as many rows as may be on their way; returns whether there may be more.

        Raises :class:`LinkLost`, also where the broker confirms nothing for :data:`CONFIRM_SECONDS`.
        """
        if self._sent and now - self._sent[0].at > CONFIRM_SECONDS:
            raise LinkLost("the broker confirms no messages")
        if device.uuid != self._store:
            self._store, self._next = (
                device.uuid,
                progress.after(device.uuid, self.table, device.last[self.table]),
            )
            self._sent.clear()
        most = max(1, int(self._share * link.window))
        room = most - len(self._sent)
        if now < self._closed_until or self._next >= device.last[self.table]:
            return False
        if room < most / 2 or link.congested:
            # Some at a time, for which the store is opened once.
            return True
        rows = stock.rows(device, self.table, self._next, room)
        for row in rows:
            record = {"version": VERSION, "store": device.uuid, **self._made(row)}
            number = link.publish(Message(self._topic, to_payload(record), qos=1))
            self._sent.append(_Sent(number, row["seq"], now))
            self._next = row["seq"]
        if not rows:
            # The rows up to the last one were deleted.
            self._next = device.last[self.table]
        return len(rows) == room

    def confirm(self, number: int, refusal: str | None, progress: Progress, now: float) -> bool:
        """Take note of what the broker says of a message; returns whether it is one of these."""
        found = next((sent for sent in self._sent if sent.number == number), None)
        if found is None:
            return False
        if refusal is not None:
            if now >= self._closed_until:
                _log.warning(
                    "mqtt: the broker refuses %s: %s; trying again every minute", self._topic, refusal.lower()
                )
            self._closed_until = now + _REFUSED_SECONDS
            self._store = None
            self._sent.clear()
            return True
        found.confirmed = True
        while self._sent and self._sent[0].confirmed:
            assert self._store is not None
            progress.advance(self._store, self.table, self._sent.popleft().seq)
        return True
