"""A thread that reads a source: of a live one it keeps only the newest frame, of others it gives each."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
from collections.abc import Callable

from ..errors import SourceLostError
from ..sources.base import Frame, Source
from .pace import Pace


class FrameSlot:
    """Reads a source in a thread: of a live one keeps the newest frame, else waits until each is taken.

    ``source``: an open one, or what opens it in that thread. ``pace`` says which of its frames are wanted.
    """

    def __init__(self, source: Source | Callable[[], Source], pace: Pace) -> None:
        self.source = source if isinstance(source, Source) else None
        """``None`` while it is being opened."""
        self._given, self._pace = source, pace
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._wanted_at = self._frame_wanted_at = -math.inf
        self._error: BaseException | None = None
        self._ended = self._abandoned = False
        self._last = time.monotonic()
        self.dropped = 0
        # A daemon: a driver that never returns from a read must not keep the process alive.
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self._thread.start()

    @property
    def waited(self) -> float:
        """Seconds since the source gave a frame or was opened; until then, since that began."""
        return time.monotonic() - self._last

    @property
    def ended(self) -> bool:
        """Whether the source has ended, and its last frame was taken."""
        return self._ended and self._frame is None

    def take(self, timeout: float) -> Frame | None:
        """Return the newest frame not yet taken, waiting for one; ``None`` after ``timeout`` seconds.

        Raises what the source raised, :class:`~fer_edge.errors.SourceLostError` where a live one ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_fresh() or self._ended, timeout)
            frame, self._frame = self._frame, None
            self._changed.notify()
            if frame is None and self._ended:
                if self._error:
                    raise self._error
                if self.source is not None and self.source.live:
                    raise SourceLostError(f"{self.source.name}: ended")
            return frame

    def newer(self) -> Frame | None:
        """Return what has come since a frame was taken, which is dropped then; ``None`` for nothing."""
        with self._changed:
            if not self._is_fresh():
                return None
            frame, self._frame = self._frame, None
            self.dropped += 1
            return frame

    def close(self) -> None:
        """Stop reading a source that was given open; it stays open."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout=2)

    def abandon(self, patience: float) -> list[threading.Thread]:
        """Stop reading, close the source; return the threads that hang in it for ``patience`` seconds."""
        with self._changed:
            self._ended = self._abandoned = True
            self._frame = None
            self._changed.notify()
        # Closing may hang as reading does.
        closing = threading.Thread(target=self._close_source, name="closing", daemon=True)
        closing.start()
        deadline = time.monotonic() + patience
        threads = (closing, self._thread)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return [thread for thread in threads if thread.is_alive()]

    def _is_fresh(self) -> bool:
        """Whether a frame waits; passes over one that was wanted before a rest, and is old after it."""
        live = self.source is not None and self.source.live
        if self._frame is not None and live and self._frame_wanted_at < self._pace.due:
            self._frame = None
            self._pace.pass_over()
        return self._frame is not None

    def _wants(self, live: bool, timestamp: float) -> bool:
        self._last = time.monotonic()
        if self._ended:
            # A frame that is given lets the thread end; what was abandoned is being closed and gives none.
            return not self._abandoned
        if not live:
            return self._pace.chooses(timestamp)
        wanted = self._pace.wants(timestamp)
        self._wanted_at = time.monotonic()
        return wanted

    def _read(self) -> None:
        try:
            source = self._given if isinstance(self._given, Source) else self._given()
            self._last = time.monotonic()
            with self._changed:
                self.source = source
                # Whoever abandoned it found nothing to close, and one that chooses its frames never ends.
                if self._abandoned:
                    return
            source.chooser = functools.partial(self._wants, source.live)
            for frame in source.chosen():
                with self._changed:
                    if not source.live:
                        self._changed.wait_for(lambda: self._frame is None or self._ended)
                    if self._ended:
                        return
                    if self._frame is not None:
                        self.dropped += 1
                    self._frame, self._frame_wanted_at = frame, self._wanted_at
                    self._last = time.monotonic()
                    self._changed.notify()
        except BaseException as error:
            self._error = error
        finally:
            # What was abandoned while it was being opened or hung is closed by nobody else.
            if self._abandoned:
                self._close_source()
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _close_source(self) -> None:
        if self.source is not None:
            with contextlib.suppress(Exception):
                self.source.close()
