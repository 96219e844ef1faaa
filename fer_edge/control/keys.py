"""Keys in the terminal of a run: mark an event, begin or end a session, pause."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import signal
import stat
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ..errors import FerEdgeError
from .control import Control

_POLL = 0.2
"""Seconds between two checks whether the run is in the foreground."""

_LOCAL_FLAGS = 3
"""Where ``tcgetattr`` has what the terminal does with keys."""

_SEQUENCES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|O?.)?")
"""What arrows and other such keys send, letters among it."""

_log = logging.getLogger(__name__)


def press(control: Control, key: str) -> None:
    """Do what ``key`` stands for: m, s, p, of either case; others do nothing."""
    try:
        match key.lower():
            case "m":
                control.mark_next()
            case "s" if control.session is None:
                control.start_next()
            case "s":
                control.stop_session()
            case "p" if control.paused:
                control.resume()
            case "p":
                control.pause()
    except FerEdgeError as error:
        _log.warning("%s", error)


def explained(control: Control) -> str:
    """The keys in a line."""
    sessions = "m marks an event, s starts or stops a session, " if control.keeps_sessions else ""
    return f"keys: {sessions}p pauses or resumes"


@contextlib.contextmanager
def keys(control: Control) -> Iterator[None]:
    """Let keys work while the context lasts, where a person sits at the terminal of this run.

    That is where standard input and messages are the same terminal, this is its foreground job, and output
    goes into no pipe, whose reader may be a pager with keys of its own. To be entered from the main thread.
    """
    terminal = _terminal()
    if terminal is None:
        yield
        return
    _log.info("%s", explained(control))
    reader = _Keyboard(terminal, lambda key: press(control, key))
    try:
        yield
    finally:
        reader.close()


def _terminal() -> int | None:
    """The descriptor of the terminal where a person may press keys."""
    try:
        descriptor = sys.stdin.fileno()
        piped = stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
        seen = os.isatty(descriptor) and os.isatty(sys.stderr.fileno())
    except (OSError, ValueError):
        return None
    return descriptor if seen and not piped and _in_foreground(descriptor) else None


def _in_foreground(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


class _Keyboard:
    """Reads single keys in a thread, and gives the terminal back as it was at the end and at Ctrl-Z."""

    def __init__(self, terminal: int, pressed: Callable[[str], None]) -> None:
        self._terminal, self._pressed = terminal, pressed
        self._lock = threading.Lock()
        self._before: list[Any] | None = None
        self._over = threading.Event()
        self._stopping = signal.signal(signal.SIGTSTP, self._stop)
        self._thread = threading.Thread(target=self._read, name="keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(1)
        signal.signal(signal.SIGTSTP, self._stopping)
        self._give_back()

    def _read(self) -> None:
        while not self._over.is_set():
            # Whoever reads from a terminal in the background is stopped.
            if not _in_foreground(self._terminal):
                self._over.wait(_POLL)
                continue
            self._take()
            ready, _, _ = select.select([self._terminal], [], [], _POLL)
            if ready and not self._over.is_set() and _in_foreground(self._terminal):
                try:
                    text = os.read(self._terminal, 64)
                except OSError:
                    return
                if not text:
                    return
                for key in _SEQUENCES.sub(b"", text).decode("ascii", "ignore"):
                    self._pressed(key)

    def _take(self) -> None:
        """Let the terminal pass on single keys, without echo."""
        with self._lock, contextlib.suppress(termios.error):
            if self._before is None and not self._over.is_set():
                self._before = termios.tcgetattr(self._terminal)
                now = termios.tcgetattr(self._terminal)
                now[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
                termios.tcsetattr(self._terminal, termios.TCSADRAIN, now)

    def _give_back(self) -> None:
        with self._lock, contextlib.suppress(termios.error):
            before, self._before = self._before, None
            # In the background the shell has done so, and this would stop the process.
            if before is not None and _in_foreground(self._terminal):
                termios.tcsetattr(self._terminal, termios.TCSADRAIN, before)

    def _stop(self, *_: FrameType | int | None) -> None:
        """Ctrl-Z: the shell gets its terminal as it was; the thread takes it again in the foreground."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
