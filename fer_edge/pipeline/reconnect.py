"""Frames of a source that is opened again whenever it is lost.

A camera or stream that fails, ends or falls silent is closed, and opened again after growing pauses. All of
that is done in threads, because drivers and name servers may hang in it; the loop goes on meanwhile and can
be stopped. A thread that hangs for good is abandoned. What it holds, only the end of the process frees, so
the run ends where that is in the way of the camera.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ..backoff import Backoff
from ..errors import SourceError, SourceLostError, WrongSourceError, named
from ..sources.base import Frame, Source
from ..sources.reconnect import AbsentSource
from .capture import FrameSlot
from .options import WatchOptions
from .pace import Pace
from .pause import Pause
from .state import PAUSED, RUNNING, Gap, State

PAUSES = (1.0,) * 5 + (5.0,) * 5 + (10.0,)
"""Seconds before each attempt to open a lost source; the last repeats for ever."""

SETTLED = 60.0
"""Seconds of frames after which a source counts as well again, and the pauses begin anew."""

POLL = 0.2
"""Seconds after which the loop looks around while no frame comes."""

OPEN_PATIENCE = 120.0
"""Seconds for opening a source again: name servers that do not answer can take one or two minutes."""

CLOSE_PATIENCE = 0.5
"""Seconds for closing a lost source, before that is left to go on by itself."""

MOST_HANGING = 3
"""Threads that hang at once, at which the run ends."""

HANGS_AFTER = 30.0
"""Seconds after which an abandoned thread hangs; network streams return from a read after 10."""

LONGEST_HANGING = 60.0
"""Seconds for which a thread may hang while the source is lost, before the run ends."""

TELL_EVERY = 0.5
"""Seconds between two tellings that there are no frames."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Loss:
    """That the source is lost."""

    reason: str
    noticed: float
    """By the monotonic clock."""
    gap: Gap | None
    """As far as it is known; ``None`` where there was no frame before."""


@dataclass(frozen=True)
class _Seen:
    """The times of the latest frame."""

    timestamp: float
    monotonic: float


@dataclass(frozen=True)
class _Missed:
    """A time of which nothing was given, up to the next frame that is."""

    since: float
    """By the monotonic clock."""
    gap: Gap
    lost_before: float
    """Seconds of all gaps before this one."""


@dataclass(frozen=True)
class _Hanging:
    """What was abandoned at a loss."""

    threads: list[threading.Thread]
    since: float


class Feed:
    """The frames of a live or blocking source; iterate over it once.

    ``stopped`` and ``is_over`` are asked whether to end; ``on_state`` is called while there are no frames.
    During a ``pause`` the frames of a live source are dropped, unread where the source can skip them.
    """

    def __init__(
        self,
        source: Source,
        options: WatchOptions,
        pace: Pace,
        stopped: Callable[[], bool],
        is_over: Callable[[], bool],
        on_state: Callable[[State], None],
        pause: Pause | None = None,
    ) -> None:
        self.source = source
        """The one that is read; another after a gap."""
        self.dropped = self.gaps = 0
        self._gap_seconds = 0.0
        self._first, self._options, self._pace = source, options, pace
        self._stopped, self._is_over, self._on_state = stopped, is_over, on_state
        self._pause = pause or Pause()
        self._missed: _Missed | None = None
        self._backoff = Backoff(PAUSES)
        self._slot: FrameSlot | None = None
        self._retry_at = self._told_at = -math.inf
        self._dropped_before = 0
        self._loss: _Loss | None = None
        self._latest = ""
        self._hanging: list[_Hanging] = []
        self._last: _Seen | None = None
        self._opened_at = self._ended = 0.0
        self._ahead = 0.0

    @property
    def gap_seconds(self) -> float:
        """Seconds without frames, over all gaps, one that goes on included."""
        going_on = 0.0
        if self._loss is not None and self._last is not None:
            going_on = (self._ended or time.monotonic()) - self._last.monotonic
        return self._gap_seconds + going_on

    def __iter__(self) -> Generator[tuple[Frame, Gap | None], None, None]:
        """Yield each frame, and with the first after a gap that gap.

        Raises :class:`~fer_edge.errors.SourceLostError` where the source is lost for good.
        """
        self._slot = FrameSlot(self.source, self._pace)
        try:
            while not self._stopped():
                if self._pause.on and self.source.live:
                    if self._is_over():
                        return
                    self._hold()
                    continue
                self._pace.held = False
                frame = self._taken()
                if frame is not None:
                    yield self._after_pause(*self._received(frame))
                elif self._loss is None:
                    if self._is_over() or (self._slot is not None and self._slot.ended):
                        return
                    self._report_not_due()
                else:
                    self._wait(self._loss)
        finally:
            self._ended = time.monotonic()
            self._close()

    def drop(self, frame: Frame, gap: Gap | None) -> None:
        """Take back a ``frame`` that came with ``gap``, the latest to be yielded, as a pause began."""
        self._pace.pass_over()
        self._miss(frame.monotonic - (gap.seconds if gap else 0.0), gap, gap.lost if gap else 0.0)

    def newest(self, frame: Frame) -> Frame:
        """Return ``frame``, which was the latest to be yielded, or what a live source has given since."""
        slot = self._slot
        newest = slot.newer() if slot is not None and self.source.live else None
        if slot is None or newest is None:
            return frame
        self.dropped = self._dropped_before + slot.dropped
        return self._received(newest)[0]

    def _hold(self) -> None:
        """Let a moment of a pause pass. A source that is lost meanwhile is opened again as at any time."""
        if self._last is not None and self._missed is None:
            self._miss(self._last.monotonic, self._loss.gap if self._loss else None)
        # The first frame of one that is back has to be read, as nothing else shows that it is.
        self._pace.held = self._loss is None
        frame = self._taken()
        if frame is not None:
            self._pace.pass_over()
            if self._loss is not None:
                self._received(frame)
        elif self._loss is not None:
            self._check_waiting(self._loss)
        if self._pause.on:
            self._report(State("paused", self._latest if self._loss else "", self._pause.lasting))

    def _miss(self, since: float, before: Gap | None, counted: float = 0.0) -> None:
        """Let the next frame report that none was given ``since`` then; a gap ``before`` began it.

        ``counted``: seconds of that gap which are in the sum of all gaps already.
        """
        if self._missed is None:
            ago = time.monotonic() - since
            gap = before or Gap(datetime.now(UTC) - timedelta(seconds=ago), ago, PAUSED)
            self._missed = _Missed(since, gap, self._gap_seconds - counted)

    def _taken(self) -> Frame | None:
        """The next frame, or ``None`` after a moment without one."""
        slot = self._slot
        if slot is None:
            self._attempt()
            return None
        try:
            frame = slot.take(POLL)
        except (SourceError, OSError) as error:
            self._lose(slot, error)
            return None
        finally:
            self.dropped = self._dropped_before + slot.dropped
        if frame is None and not self._is_over() and (late := self._overdue(slot)):
            self._lose(slot, SourceLostError(late))
        return frame

    def _attempt(self) -> None:
        """Open the source again, or wait a moment for the time to do so."""
        wait = self._retry_at - time.monotonic()
        if wait > 0:
            # Not an event: a signal handler that sets one while this thread takes its lock would hang.
            time.sleep(min(wait, POLL))
            return
        reopen = self.source.reopen
        assert reopen is not None
        self._dropped_before = self.dropped
        self._slot = FrameSlot(reopen, self._pace)

    def _overdue(self, slot: FrameSlot) -> str:
        """What is wrong with a source that gives nothing, or nothing."""
        source = slot.source
        if source is None:
            hangs = slot.waited > OPEN_PATIENCE
            return f"{self.source.name}: opening it hangs for {OPEN_PATIENCE:g} s" if hangs else ""
        limit = max(self._options.silence, 3 * source.pause)
        silent = source.live and slot.waited > limit
        return f"{source.name}: no frame for {limit:g} s" if silent else ""

    def _lose(self, slot: FrameSlot, error: OSError) -> None:
        """Close a source that failed; raise ``error`` where it is not to be opened again."""
        self._end_where_hopeless(error)
        if threads := slot.abandon(CLOSE_PATIENCE):
            self._hanging.append(_Hanging(threads, time.monotonic()))
        self._slot = None
        now = time.monotonic()
        if self._loss is None:
            remedy = "opening it again" if self._last else "waiting for it"
            _log.warning("%s; %s", named(self._options.camera, str(error)), remedy)
            self._loss = _Loss(str(error), now, self._gap_so_far(str(error)))
            if self._last is not None and self._last.monotonic - self._opened_at >= SETTLED:
                self._backoff.reset()
        self._latest = str(error)
        self._retry_at = now + self._backoff.pause()
        self._told_at = -math.inf

    def _end_where_hopeless(self, error: OSError) -> None:
        if self._last is None:
            # What never gave a frame is missing, not lost: an error at once helps whoever sets it up.
            waited_for = self._options.wait_for_camera or isinstance(self.source, AbsentSource)
            wanted = waited_for and not isinstance(error, WrongSourceError)
        else:
            wanted = self._options.reconnect > 0
        if not wanted or not self.source.live or self.source.reopen is None:
            raise error

    def _gap_so_far(self, reason: str) -> Gap | None:
        if self._last is None:
            return None
        ago = time.monotonic() - self._last.monotonic
        return Gap(datetime.now(UTC) - timedelta(seconds=ago), ago, reason)

    def _wait(self, loss: _Loss) -> None:
        """Tell that the source is waited for; raises as :meth:`_check_waiting`."""
        self._check_waiting(loss)
        self._report(State("waiting", self._latest, time.monotonic() - loss.noticed))

    def _check_waiting(self, loss: _Loss) -> None:
        """Raise SourceLostError where waiting for the source takes too long, or makes no sense."""
        waited = time.monotonic() - loss.noticed
        limit = self._options.reconnect or math.inf
        if waited >= limit:
            raise SourceLostError(f"{loss.reason}; not there again within {limit:g} s")
        if self._is_over():
            raise SourceLostError(f"{loss.reason}; not there again when the time was up")
        self._check_hanging(loss)

    def _report(self, state: State) -> None:
        if time.monotonic() >= self._told_at + TELL_EVERY:
            self._told_at = time.monotonic()
            self._on_state(state)

    def _check_hanging(self, loss: _Loss) -> None:
        """Raise SourceLostError where threads hang in a driver, which then gives nothing to another one."""
        self._hanging = [old for old in self._hanging if any(thread.is_alive() for thread in old.threads)]
        now = time.monotonic()
        hang = [now - old.since for old in self._hanging if now - old.since >= HANGS_AFTER]
        if len(hang) >= MOST_HANGING or max(hang, default=0.0) >= LONGEST_HANGING:
            raise SourceLostError(
                f"{loss.reason}; its driver hangs ({len(hang)} times, for {max(hang):.0f} s), and only a new "
                f"process can open it again"
            )

    def _report_not_due(self) -> None:
        """A source that gives a picture once a minute runs also between two of them; so does one at rest."""
        assert self._slot is not None
        resting = time.monotonic() < self._pace.due
        if self._last is not None and (resting or 1 < self.source.pause > self._slot.waited):
            self._on_state(RUNNING)

    def _after_pause(self, frame: Frame, gap: Gap | None) -> tuple[Frame, Gap | None]:
        """Return ``frame`` with all that was missed before it."""
        if self._missed is not None:
            missed, self._missed = self._missed, None
            seconds, lost = frame.monotonic - missed.since, self._gap_seconds - missed.lost_before
            gap = replace(missed.gap, seconds=seconds, paused=seconds - lost)
        return frame, gap

    def _received(self, frame: Frame) -> tuple[Frame, Gap | None]:
        assert self._slot is not None and self._slot.source is not None
        gap = None
        if self._loss is not None:
            self.source = self._slot.source
            gap = self._back(self._loss, frame)
            self._loss = None
        if self._last is None:
            self._opened_at = frame.monotonic
        elif gap is not None:
            # Sources count from when they were opened; the run goes on counting.
            passed = frame.monotonic - self._last.monotonic
            self._ahead = self._last.timestamp + passed - frame.timestamp
            self._opened_at = frame.monotonic
        if self._ahead and self._last is not None:
            frame = replace(frame, timestamp=max(frame.timestamp + self._ahead, self._last.timestamp))
        self._last = _Seen(frame.timestamp, frame.monotonic)
        return frame, gap

    def _back(self, loss: _Loss, frame: Frame) -> Gap | None:
        """Log that the source is back; return what was missed."""
        if loss.gap is None or self._last is None:
            waited = time.monotonic() - loss.noticed
            _log.warning("%s", named(self._options.camera, f"{self.source.name}: there after {waited:.0f} s"))
            return None
        gap = replace(loss.gap, seconds=frame.monotonic - self._last.monotonic)
        self.gaps += 1
        self._gap_seconds += gap.seconds
        told = f"{self.source.name}: back after {gap.seconds:.1f} s"
        _log.warning("%s", named(self._options.camera, told))
        return gap

    def _close(self) -> None:
        """Stop reading; close the source, unless it is the one that was given."""
        if self._slot is None:
            return
        if self.source is self._first and self._loss is None:
            self._slot.close()
        elif self._slot.source is None:
            self._slot.abandon(0)
        else:
            self._slot.abandon(CLOSE_PATIENCE)
