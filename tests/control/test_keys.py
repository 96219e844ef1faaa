"""Keys in the terminal of a run, on a terminal of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pytest

pytest.importorskip("cv2")
pytest.importorskip("skimage", reason="scikit-image is not installed")

from control.test_control import Sessions
from pipeline.several import Recognizer, Script

from fer_edge.control.control import Control
from fer_edge.control.keys import explained, keys, press
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.watch import Watch
from fer_edge.store.reader import StoreReader

PATIENCE = 60.0
HINT = b"keys: m marks an event, s starts or stops a session, p pauses or resumes"

# Signals and processes under an emulator are the emulator's.
heavy = pytest.mark.heavy


@pytest.fixture
def control():
    with Watch(Script(), WatchOptions(), Recognizer()) as run:
        yield Control(run, Sessions())


def test_keys_mark_start_stop_and_pause(control, caplog):
    for key in "sMxsq":
        press(control, key)
    press(control, "m")
    store = control._store
    assert [asked[0] for asked in store.asked] == ["start", "mark", "stop", "start", "mark"]
    assert [asked[1] for asked in store.asked if asked[0] == "mark"] == ["event 1", "event 1"]
    press(control, "p")
    assert control.paused
    press(control, "P")
    assert not control.paused
    control.set_store(None)
    caplog.clear()
    press(control, "m")
    assert caplog.messages == ["this run has no store to keep sessions in; start it with --store FILE.db"]
    assert explained(control) == "keys: p pauses or resumes"


def test_without_a_terminal_there_are_no_keys(control, caplog, capsys):
    caplog.set_level("INFO", "fer_edge")
    before = signal.getsignal(signal.SIGTSTP)
    with keys(control):
        assert signal.getsignal(signal.SIGTSTP) is before
    assert caplog.messages == []


class Terminal:
    """A run that is the foreground job of a terminal; ``stdout``: another place for its output."""

    def __init__(self, folder, *arguments, stdout=None):
        self.folder, self.shown = folder, b""
        self.terminal, self.side = pty.openpty()
        # Its child makes the terminal its own, as a shell does for its foreground job.
        code = (
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "os.execv(sys.executable, [sys.executable, '-m', 'fer_edge', 'run', *sys.argv[1:]])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "--camera", "demo", *arguments],
            cwd=folder,
            stdin=self.side,
            stdout=self.side if stdout is None else stdout,
            stderr=self.side,
            env={**os.environ, "XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder)},
        )

    def press(self, text):
        os.write(self.terminal, text)

    def until(self, wanted):
        """Read what is shown until ``wanted`` is; return that, and forget it."""
        deadline = time.monotonic() + PATIENCE
        while wanted not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.shown += os.read(self.terminal, 4096)
        before, _, self.shown = self.shown.partition(wanted)
        return before + wanted

    @property
    def line_by_line(self):
        flags = termios.tcgetattr(self.side)[3]
        return bool(flags & termios.ICANON) and bool(flags & termios.ECHO)

    def await_line_by_line(self, wanted):
        deadline = time.monotonic() + PATIENCE
        while self.line_by_line != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def close(self):
        self.process.kill()
        self.process.wait()
        for one in (self.terminal, self.side):
            with contextlib.suppress(OSError):
                os.close(one)


@pytest.fixture
def terminal():
    made = []

    def start(*arguments, **options):
        made.append(Terminal(Path(folder), *arguments, **options))
        return made[-1]

    with tempfile.TemporaryDirectory() as folder:
        yield start
        for one in made:
            one.close()


@heavy
def test_keys_mark_in_the_store_and_the_terminal_is_given_back(terminal):
    one = terminal("--store", "shop.db")
    one.until(HINT)
    one.await_line_by_line(False)
    one.until(b"frame ")
    one.press(b"s")
    one.until(b"has started")
    # An arrow key is no m.
    one.press(b"\x1b[m")
    one.press(b"m")
    one.until(b"marked 'event 1'")
    one.press(b"p")
    one.until(b"paused: nothing is recognized")
    one.press(b"p")
    one.until(b"recognizing again")
    one.press(b"s")
    one.until(b"has stopped")
    one.press(b"\x03")
    one.until(b"latency")
    assert one.process.wait(PATIENCE) == 0
    assert one.line_by_line
    with StoreReader(one.folder / "shop.db") as store:
        assert len([*store.rows("sessions")]) == 1
        assert [row["name"] for row in store.rows("events")] == ["event 1"]


@heavy
def test_a_run_that_is_stopped_gives_the_terminal_back_and_takes_it_again(terminal):
    one = terminal("--store", "shop.db")
    one.until(HINT)
    one.await_line_by_line(False)
    one.press(b"\x1a")
    assert os.WIFSTOPPED(os.waitpid(one.process.pid, os.WUNTRACED)[1])
    assert one.line_by_line
    one.process.send_signal(signal.SIGCONT)
    one.await_line_by_line(False)
    one.press(b"m")
    one.until(b"marked 'event 1'")
    one.press(b"\x03")
    assert one.process.wait(PATIENCE) == 0
    assert one.line_by_line


@heavy
def test_a_reader_of_the_output_keeps_the_terminal_for_itself(terminal):
    reading, writing = os.pipe()
    one = terminal("--jsonl", "-", stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            if json.loads(line)["type"] == "frame":
                break
        assert one.line_by_line
        one.press(b"\x03")
        lines.read()
    assert one.process.wait(PATIENCE) == 0
    assert b"keys:" not in one.shown
