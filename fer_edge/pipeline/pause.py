"""A switch that stops recognition while a run goes on, as whoever is in sight may want it."""

from __future__ import annotations

import threading
import time


class Pause:
    """Whether a run is paused, and for how long it was; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._before = 0.0

    @property
    def on(self) -> bool:
        """Whether nothing is to be recognized now."""
        return self._since is not None

    @property
    def lasting(self) -> float:
        """Seconds since this pause began, 0 without one."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def seconds(self) -> float:
        """Seconds of all pauses so far, one that goes on included."""
        with self._lock:
            return self._before + self.lasting

    def begin(self) -> None:
        """Pause; does nothing where it is paused already."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()

    def end(self) -> None:
        """Go on; does nothing where it is not paused."""
        with self._lock:
            self._before += self.lasting
            self._since = None
