"""The store: visits, minutes and gaps in an SQLite file. docs/store.md explains every column."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..defaults import KEEP, KEEP_DETAIL
from ..errors import DataError, counted
from ..machine import boot_id
from ..pipeline.result import FrameResult
from ..store.clock import WallClock
from ..store.events import ListedEvent, PlacedEvent, placed, problems
from ..store.tally import CameraTally, longest_step
from ..store.writer import (
    Batch,
    ClockState,
    Entry,
    Jump,
    Marked,
    SessionBegun,
    SessionEnded,
    StoreWriter,
)
from .base import SlowOutput
from .jsonl import to_line
from .keeping import TRUST_AFTER

COMMIT_SECONDS = 3.5
"""Seconds between two transactions. With a second until an idle output is flushed, a pulled plug costs less
than five."""

_DELETE_EVERY = 60.0

_Request = tuple[int | None, Callable[[int], SessionBegun | Marked | SessionEnded]]
"""When something was asked for, and what makes an entry of that time; ``None``: where the film is."""

_log = logging.getLogger(__name__)


class StoreOutput(SlowOutput):
    """Writes what results amount to: who came, how long, with which emotions.

    ``live``: whether times are the machine's (a camera or stream) or positions in a film. ``pause``: gives
    the seconds from one frame to the next, at most, where nothing is wrong; called at each camera's first
    frame, since a camera that is waited for does not tell before. ``keep``, ``keep_detail``: days. ``start``:
    the record that describes the run, of :func:`~fer_edge.outputs.jsonl.start_to_json`; of
    several cameras, those of all. ``events``: what is shown when, in a session ``title`` that goes on from
    the beginning; offsets count from the first result, or from the begin of the film.

    Raises :class:`~fer_edge.errors.DataError` where the file cannot be opened or is refused; ``ValueError``
    for days out of range.
    """

    name = "store"
    # Cards may take seconds to write; without pictures, results are small.
    capacity = 512
    needs_image = False
    idles = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        live: bool,
        pause: Callable[[], float] = float,
        keep: float = KEEP,
        keep_detail: float = KEEP_DETAIL,
        start: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        events: Sequence[ListedEvent] = (),
        title: str = "events",
        wall: Callable[[], float] = time.time,
    ) -> None:
        for name, days in (("keep", keep), ("keep_detail", keep_detail)):
            if not days > 0:
                raise ValueError(f"{name} must be more than 0 days, got {days}")
        self._writer = StoreWriter(path, to_line(start or {}))
        self._live, self._clock, self._date = live, clock, wall
        self._keep, self._keep_detail = keep, keep_detail
        self._pause = pause
        self._boot = boot_id() or str(uuid.uuid4())
        self._film: str | None = None
        self._wall = WallClock(round(1000 * (wall() - clock())))
        self._cameras: dict[str, CameraTally] = {}
        self._waiting: list[Entry] = []
        self._began: int | None = None
        self._at = self._lost = 0
        self._commit_at = -math.inf
        self._changed = False
        self._delete_at = clock() + TRUST_AFTER
        self._asked: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._session: str | None = None
        self._detailed = False
        self._session_lock = threading.Lock()
        self._over = False
        self._to_come: Sequence[ListedEvent] = events
        self._planned: list[PlacedEvent] = []
        self._title = title
        if events:
            self._session = title

    @property
    def session(self) -> str | None:
        """Name of the session that goes on."""
        return self._session

    def start_session(self, name: str) -> None:
        """Write a row for each person and second from now on, until :meth:`stop_session` or the run's end.

        This and the next two may be called from any thread, and take effect at the moment of the call.
        Raises :class:`~fer_edge.errors.DataError` where a session goes on.
        """
        with self._session_lock:
            self._check_going_on()
            if self._session is not None:
                raise DataError(f"session {self._session!r} goes on; stop it before starting another")
            self._session = name
            self._ask(lambda at: SessionBegun(at, name))

    def mark(self, name: str, group: str | None = None) -> None:
        """Record that ``name`` begins now, as a scene or an advertisement does.

        ``group``: what it belongs to, for comparisons. Raises :class:`~fer_edge.errors.DataError` where no
        session goes on.
        """
        with self._session_lock:
            self._check_session()
            self._ask(lambda at: Marked(at, name, group))

    def stop_session(self) -> None:
        """End the session. Raises :class:`~fer_edge.errors.DataError` where none goes on."""
        with self._session_lock:
            self._check_session()
            self._session = None
            self._ask(SessionEnded)

    def open(self) -> None:
        """Open the file; what waited is written with the next result."""
        self._writer.open()
        self._commit_at = -math.inf

    def write(self, result: FrameResult) -> None:
        """Count one result; at times write what they amount to."""
        # First, so that a result is either counted or lost, and nothing grows while the disk is full.
        if self._began is not None and self._clock() >= self._commit_at:
            self._commit()
        at = round(1000 * (result.monotonic if self._live else result.timestamp))
        wall = round(1000 * result.time.timestamp())
        if self._began is None:
            self._begin(result, at, wall)
        self._follow_clock(at, wall)
        self._mark_planned(at)
        self._obey()
        tally = self._tally(result.camera)
        tally.lose(self._lost)
        self._lost = 0
        tally.take(result, at)
        self._at = max(self._at, at)
        self._changed = True
        self._collect()

    def gap(self, lost: int) -> None:
        """Count results that are missing."""
        self._lost += lost

    def flush(self) -> None:
        """Finish what no frame has come for, write, and delete what has become old, also before any frame."""
        if self._live:
            # Else a clock that is set during a pause would make rows old, or keep them.
            self._follow_clock(self._now(), round(1000 * self._date()))
        elif self._began is None:
            return
        if self._began is not None:
            self._obey()
            if self._live:
                self._mark_planned(self._now())
                for tally in self._cameras.values():
                    tally.wait(self._now())
                self._collect()
            if self._changed or self._waiting:
                self._commit()
        if self._clock() >= self._delete_at:
            self._delete()

    def end(self, record: Mapping[str, Any]) -> None:
        """Write what is left, as finished."""
        with self._session_lock:
            self._over = True
        if self._began is None:
            if asked := self._asked.qsize():
                requests = counted(asked, "request")
                _log.warning("store: there was no frame: %s about sessions and events not recorded", requests)
            return
        self._obey()
        self._mark_planned(self._now())
        for one in self._planned:
            _log.warning("store: %s lies after the end, and is not recorded", one.listed.told)
        with self._session_lock:
            if self._session is not None:
                self._session = None
                self._ask(SessionEnded)
        self._obey()
        for tally in self._cameras.values():
            tally.end()
        self._collect()
        self._commit(ended=True)
        # So that many short runs delete, too.
        self._delete()

    def close(self) -> None:
        """Close the file and let others write it."""
        self._writer.close()

    def _begin(self, result: FrameResult, at: int, wall: int) -> None:
        """Take note of the first frame, of which the clocks tell ``at`` and ``wall``."""
        known = self._writer.origin_of(self._boot) if self._live else None
        self._film = None if self._live else result.source
        self._wall = WallClock(wall - at if known is None else known)
        self._began = self._at = at
        if self._to_come:
            self._plan(at)

    def _follow_clock(self, at: int, wall: int) -> None:
        """See whether the clock was set, by what both tell of one moment, in milliseconds."""
        jump = self._wall.see(at, wall) if self._live else 0
        if not jump:
            return
        self._delete_at = self._clock() + TRUST_AFTER
        if self._began is None:
            # Nothing has a time yet.
            return
        _log.warning(
            "store: the clock jumped by %+.1f s; times since the machine was started are corrected",
            jump / 1000,
        )
        self._waiting.append(Jump(at, jump))
        self._place(self._began)
        for tally in self._cameras.values():
            tally.set_origin(self._wall.origin)

    def _now(self) -> int:
        """The time on the clock of the rows: in a film, its latest frame's."""
        return round(1000 * self._clock()) if self._live else self._at

    def _plan(self, began: int) -> None:
        """Begin the session of the listed events, and log what is odd about them."""
        self._waiting.append(SessionBegun(began, self._title))
        self._detailed = True
        self._place(began)
        for problem in problems(self._planned, began):
            _log.warning("store: %s", problem)
        self._to_come = [one.listed for one in self._planned if one.began >= began]
        self._place(began)

    def _place(self, began: int) -> None:
        """Place the events that are still to come, again where the clock was put right."""
        zero, origin = (began, self._wall.origin) if self._live else (0, None)
        self._planned = placed(self._to_come, zero, origin)

    def _mark_planned(self, at: int) -> None:
        """Record the events whose time has come, each at its time."""
        while self._planned and self._planned[0].began <= at:
            one, *self._planned = self._planned
            self._to_come = [other.listed for other in self._planned]
            if self._detailed:
                self._waiting.append(Marked(one.began, one.listed.name, one.listed.group, one.ended))
            else:
                _log.warning("store: %s came when no session went on, and is not recorded", one.listed.told)

    def _tally(self, camera: str) -> CameraTally:
        if camera not in self._cameras:
            self._cameras[camera] = CameraTally(self._wall.origin, longest_step(self._pause()))
            self._cameras[camera].set_detail(self._detailed)
        return self._cameras[camera]

    def _check_going_on(self) -> None:
        if self._over:
            raise DataError("the store is closed, as the run ends or has got another one")

    def _check_session(self) -> None:
        self._check_going_on()
        if self._session is None:
            raise DataError("no session goes on; start one first")

    def _ask(self, entry: Callable[[int], SessionBegun | Marked | SessionEnded]) -> None:
        """Hand a request over to the thread that writes."""
        self._asked.put((round(1000 * self._clock()) if self._live else None, entry))

    def _obey(self) -> None:
        """Do what was asked for in other threads."""
        with contextlib.suppress(queue.Empty):
            while True:
                at, entry_at = self._asked.get_nowait()
                entry = entry_at(self._at if at is None else at)
                if not isinstance(entry, Marked):
                    self._detailed = isinstance(entry, SessionBegun)
                    for tally in self._cameras.values():
                        tally.set_detail(self._detailed)
                    self._collect()
                self._waiting.append(entry)

    def _collect(self) -> None:
        for camera, tally in self._cameras.items():
            self._waiting += ((camera, row) for row in tally.rows)
            tally.rows.clear()

    def _commit(self, ended: bool = False) -> None:
        assert self._began is not None
        batch = Batch(
            clock=ClockState(self._boot, self._film, self._wall.origin),
            entries=self._waiting,
            open_rows=[(camera, row) for camera, tally in self._cameras.items() for row in tally.open_rows()],
            began=self._began,
            at=self._at,
            ended=ended,
        )
        self._writer.write(batch)
        self._waiting = []
        self._changed = False
        self._commit_at = self._clock() + COMMIT_SECONDS
        if not ended and self._clock() >= self._delete_at:
            self._delete()

    def _delete(self) -> None:
        more = self._writer.delete(self._wall.origin + self._now(), self._keep, self._keep_detail)
        self._delete_at = self._clock() + (0 if more else _DELETE_EVERY)
