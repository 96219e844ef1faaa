"""Workers as processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from ..errors import FerEdgeError, OutputError
from ..native_output import litert_greeting
from .engines import CannotStart, Event, Finished, Lost, Ready
from .work import Settings, Task, Worker

SINGLE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""Variables by which native libraries take one thread; read when they are loaded."""

_MOST_BAD_STARTS = 3
"""So many workers in a row that end before they are ready mean that none will ever be ready."""


@dataclass
class _Child:
    process: SpawnProcess
    pipe: Connection
    lifeline: Connection
    ready: bool = False


class LocalEngine:
    """``count`` processes, which end with this one."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings, self.count = settings, count
        self._context = multiprocessing.get_context("spawn")
        self._children: dict[int, _Child] = {}
        self._next = self._bad = 0
        for _ in range(count):
            self._start()

    def submit(self, worker: int, task: Task) -> None:
        # If one has just died, wait reports it.
        with contextlib.suppress(OSError):
            self._children[worker].pipe.send(task)

    def wait(self, seconds: float) -> list[Event]:
        channels = {child.pipe: number for number, child in self._children.items()}
        events: list[Event] = []
        for channel in wait(list(channels), seconds):
            assert isinstance(channel, Connection)
            number = channels[channel]
            child = self._children[number]
            try:
                told = channel.recv()
            except (EOFError, OSError):
                events.append(Lost(number, self._buried(number)))
                self._start()
                continue
            if isinstance(told, CannotStart):
                raise told.error()
            if told is None:
                child.ready, self._bad = True, 0
                events.append(Ready(number))
            else:
                events.append(Finished(number, told))
        return events

    def place(self, worker: int) -> str:
        return "here"

    def close(self) -> None:
        for child in self._children.values():
            child.process.kill()
        for child in self._children.values():
            child.process.join()
            child.pipe.close()
            child.lifeline.close()
        self._children = {}
        if self._settings.scratch:
            shutil.rmtree(self._settings.scratch, ignore_errors=True)

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        held, lifeline = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work, args=(theirs, held, self._settings), name="fer-edge archive worker", daemon=True
        )
        with _surroundings():
            process.start()
        theirs.close()
        held.close()
        self._children[self._next] = _Child(process, ours, lifeline)
        self._next += 1

    def _buried(self, number: int) -> str:
        child = self._children.pop(number)
        child.process.join()
        child.pipe.close()
        child.lifeline.close()
        code = child.process.exitcode or 0
        reason = (
            f"a worker was killed by {_signal(-code)}" if code < 0 else f"a worker ended with code {code}"
        )
        if not child.ready:
            self._bad += 1
            if self._bad >= _MOST_BAD_STARTS:
                raise OutputError(f"{reason} before it could begin, {self._bad} times in a row")
        return reason


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """Let children load native libraries with one thread each."""
    before = {name: os.environ.get(name) for name in SINGLE_THREAD}
    os.environ.update(SINGLE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(pipe: Connection, lifeline: Connection, settings: Settings) -> None:
    """The life of a worker."""
    # Ctrl-C goes to all processes of a terminal; the first one handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    try:
        with litert_greeting():
            worker = Worker(settings)
    except FerEdgeError as error:
        pipe.send(CannotStart(str(error), error.exit_code))
        return
    pipe.send(None)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(worker.perform(pipe.recv()))


def _end_with(lifeline: Connection) -> None:
    """End this process when the one that started it has ended, for whatever reason."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
