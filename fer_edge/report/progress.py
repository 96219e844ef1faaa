"""How far reading has come, on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_EVERY = 0.2


class Progress:
    """Tells nothing; :class:`Bar` does."""

    def begin(self, name: str, total: int) -> None:
        """Begin with what is called ``name`` and has so many steps or bytes."""

    def step(self, done: int) -> None:
        """Count further steps or bytes."""

    def end(self) -> None:
        """Leave nothing of it on the terminal."""


class Bar(Progress):
    """A line that changes in place."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._name, self._done, self._total, self._shown, self._began = "", 0, 0, 0.0, 0.0

    def begin(self, name: str, total: int) -> None:
        self._name, self._done, self._total = name, 0, total
        self._began = self._shown = time.monotonic()

    def step(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if now - self._shown < _EVERY or not self._total:
            return
        self._shown = now
        part = min(1.0, self._done / self._total)
        left = (now - self._began) * (1 - part) / part if part else 0
        filled = round(24 * part)
        name = self._name if len(self._name) <= 40 else "…" + self._name[-39:]
        self._stream.write(
            f"\r\x1b[K{name} {'█' * filled}{'·' * (24 - filled)} {100 * part:3.0f} %, {left:.0f} s left"
        )
        self._stream.flush()

    def end(self) -> None:
        self._stream.write("\r\x1b[K")
        self._stream.flush()
