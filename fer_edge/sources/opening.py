"""Opening sources in threads of their own, so that one that does not answer keeps no other waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .base import Source
from .reconnect import AbsentSource


class Opening:
    """A source that is being opened."""

    def __init__(self, open_source: Callable[[], Source]) -> None:
        self._open = open_source
        self._changed = threading.Condition()
        self._source: Source | None = None
        self._error: BaseException | None = None
        self._done = self._abandoned = False
        # A daemon: a driver or server that never answers must not keep the process alive.
        threading.Thread(target=self._run, name="opening", daemon=True).start()

    def result(self) -> Source:
        """Wait for the source and return it; it is the caller's then. Raises what opening it raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._done)
            if self._source is None:
                raise self._error or RuntimeError("a source is given to one caller only")
            source, self._source = self._source, None
            return source

    def result_or_absent(self, seconds: float, name: str, open_again: Callable[[], Source]) -> Source:
        """Return the source; where it is not open in so many ``seconds``, an AbsentSource of this ``name``.

        That one becomes the source later, or what ``open_again`` opens where it cannot be opened.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: self._done, max(0.0, seconds))
        if done:
            return self.result()
        ways = iter([self.result])
        return AbsentSource(name, f"{name}: does not answer yet", lambda: next(ways, open_again)())

    def abandon(self) -> None:
        """Close the source as soon as it is open, unless it is somebody's already."""
        with self._changed:
            self._abandoned = True
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def _run(self) -> None:
        source, error = None, None
        try:
            source = self._open()
        except BaseException as failure:
            error = failure
        with self._changed:
            if not self._abandoned:
                self._source, source = source, None
            self._error, self._done = error, True
            self._changed.notify_all()
        if source is not None:
            source.close()
