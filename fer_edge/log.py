"""Messages of a command as lines: levels, dates where nobody looks on, faults that repeat once a minute."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from .errors import printable

LEVELS = ("debug", "info", "warning", "error")

AGAIN = 60.0
"""Seconds for which a fault that comes again is only counted."""

_KEPT = 200
"""Different faults that are remembered, so that a run of a year does not grow."""

_FIGURE = re.compile(r"\d+(?:\.\d+)?(?= (?:s|ms|MB|°C|times|frames)\b)")
"""What differs between messages about the same fault, unlike the numbers of cameras."""

_PACKAGE = __name__.partition(".")[0]


@dataclass
class _Fault:
    """One that was logged at ``since``, and has come ``count`` times after that."""

    since: float
    count: int = 0
    latest: logging.LogRecord | None = None


class Lines(logging.Handler):
    """Hands each message to ``write`` as a line, with its level.

    Of warnings and errors that come again within :data:`AGAIN` seconds, the latest is logged after that time,
    with how many there were. ``dated``: begin lines with time and level.
    """

    def __init__(
        self, write: Callable[[str, int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.dated = False
        self._write, self._clock = write, clock
        self._faults: dict[str, _Fault] = {}
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Tell or count a message; called with the handler's lock held."""
        if record.levelno < logging.WARNING:
            self._write_record(record)
            return
        self.report_repeated()
        key = f"{record.levelno} {_FIGURE.sub('#', record.getMessage())}"
        fault = self._faults.get(key)
        if fault is None:
            if len(self._faults) >= _KEPT:
                del self._faults[next(iter(self._faults))]
            self._faults[key] = _Fault(self._clock())
            self._write_record(record)
            return
        fault.count += 1
        fault.latest = record
        self._wake()

    def report_repeated(self, all_of_them: bool = False) -> None:
        """Tell faults that were counted for long enough, or ``all_of_them``."""
        with self.lock or contextlib.nullcontext():
            now = self._clock()
            for key, fault in list(self._faults.items()):
                if not all_of_them and now - fault.since < AGAIN:
                    continue
                if fault.latest is None:
                    del self._faults[key]
                else:
                    self._write_record(fault.latest, f" ({_times(fault.count)} in {now - fault.since:.0f} s)")
                    self._faults[key] = _Fault(now)

    def close(self) -> None:
        """Tell what was counted, and end."""
        if self._timer is not None:
            self._timer.cancel()
        self.report_repeated(all_of_them=True)
        super().close()

    def _wake(self) -> None:
        """Let a thread log what was counted, where no other message comes."""
        counted = [fault.since for fault in self._faults.values() if fault.latest]
        if counted and self._timer is None:
            self._timer = threading.Timer(max(0.0, min(counted) + AGAIN - self._clock()), self._due)
            self._timer.daemon = True
            self._timer.start()

    def _due(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._timer = None
            self.report_repeated()
            self._wake()

    def _write_record(self, record: logging.LogRecord, after: str = "") -> None:
        date = ""
        if self.dated:
            moment = datetime.fromtimestamp(record.created).astimezone()
            date = f"{moment.isoformat(timespec='seconds')} {record.levelname.lower()}: "
        self._write(f"{date}{printable(record.getMessage())}{after}", record.levelno)


def _times(count: int) -> str:
    return "once more" if count == 1 else f"{count} times more"


@contextlib.contextmanager
def shown(write: Callable[[str, int], None]) -> Iterator[None]:
    """Show the package's messages, from level info on, while the context lasts."""
    log, lines = logging.getLogger(_PACKAGE), Lines(write)
    before = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(before)
        log.removeHandler(lines)
        lines.close()


def set_level(level: str) -> None:
    """Show messages from one of :data:`LEVELS` on."""
    logging.getLogger(_PACKAGE).setLevel(level.upper())


def date_lines() -> None:
    """Begin lines with time and level, unless they go to a terminal, or to the journal, which has both."""
    if sys.stderr.isatty() or "JOURNAL_STREAM" in os.environ:
        return
    for handler in logging.getLogger(_PACKAGE).handlers:
        if isinstance(handler, Lines):
            handler.dated = True
