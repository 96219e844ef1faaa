"""How far an archive is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TextIO

from ..errors import counted, printable
from .archive import Progress

_BAR = 24
_LINE_EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


class Teller:
    """Writes to ``stream``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._drawn = 0
        self._next = time.monotonic() + (0 if self._terminal else _LINE_EVERY)

    def tell(self, line: str) -> None:
        """Write a line, above the bar."""
        self._clear()
        print(printable(line), file=self._stream, flush=True)

    def show(self, progress: Progress) -> None:
        """Draw the bar anew, or write a line when it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.5 if self._terminal else _LINE_EVERY)
        line = bar(progress, now - progress.began) if self._terminal else told(progress, now - progress.began)
        if self._terminal:
            padded = line.ljust(self._drawn)
            self._drawn = len(line)
            print(f"\r{padded}", end="", file=self._stream, flush=True)
        else:
            print(line, file=self._stream, flush=True)

    def end(self) -> None:
        """Remove the bar."""
        self._clear()

    def _clear(self) -> None:
        if self._drawn:
            print(f"\r{' ' * self._drawn}\r", end="", file=self._stream, flush=True)
            self._drawn = 0


def told(progress: Progress, seconds: float) -> str:
    """The progress in words, after so many seconds."""
    parts = [f"{progress.done} of {counted(progress.films, 'film')}"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    parts.append(counted(progress.segments, "segment"))
    if seconds > 0 and progress.seconds:
        parts.append(f"{progress.seconds / 3600:.1f} h of film at {progress.seconds / seconds:.1f} x")
    if left := seconds_left(progress, seconds):
        end = datetime.now().astimezone() + timedelta(seconds=left)
        parts.append(f"{_duration(left)} left, until {end:%a %H:%M}")
    return ", ".join(parts)


def bar(progress: Progress, seconds: float) -> str:
    """The same, after a bar."""
    total = progress.bytes_done + progress.bytes_left
    share = min(max(progress.bytes_done / total, 0.0), 1.0) if total > 0 else 0.0
    full = round(_BAR * share)
    return f"[{'#' * full}{'.' * (_BAR - full)}] {100 * share:.0f} %  {told(progress, seconds)}"


def seconds_left(progress: Progress, seconds: float) -> float | None:
    """How long the rest takes at the rate so far; ``None`` where there is none yet."""
    if progress.bytes_done <= 0 or progress.bytes_left <= 0:
        return None
    return seconds * progress.bytes_left / progress.bytes_done


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
