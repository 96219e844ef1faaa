"""Workers as actors on a Ray cluster.

An actor holds its models for as long as it lives, and takes one task at a time: whatever the size of the
cluster, no more results than actors wait for this process. If an actor or a whole node is lost, another actor
repeats its task; nodes that join get actors.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

# Otherwise Ray reports each use to its makers.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import RayActorError, RayError

from ..errors import DataError, FerEdgeError, OutputError
from .engines import CannotStart, Event, Finished, Lost, Ready
from .local import SINGLE_THREAD
from .work import Settings, Task, Worker

_LOOK_EVERY = 5.0
"""Seconds between two checks of the cluster's size."""

_MOST_BAD_STARTS = 20
"""So many actors in a row that are lost before they are ready mean that none will ever be ready."""

_GIVES_WAY = 5
"""Niceness from which on a process gets less than a third of the core that an ordinary one gets beside it."""

_log = logging.getLogger(__name__)

_QUIET = {**SINGLE_THREAD, "OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


class _Remote:
    """What an actor is."""

    def __init__(self, settings: Settings) -> None:
        self._error: CannotStart | None = None
        try:
            self._worker = Worker(settings)
        except FerEdgeError as error:
            self._error = CannotStart(str(error), error.exit_code)

    def place(self) -> tuple[str, int] | CannotStart:
        """The node it is on, and its niceness there."""
        return self._error or (
            str(ray.get_runtime_context().get_node_id()),
            os.getpriority(os.PRIO_PROCESS, 0),
        )

    def perform(self, task: Task) -> Any:
        """See :meth:`.work.Worker.perform`."""
        return self._worker.perform(task)

    def close(self) -> None:
        """See :meth:`.work.Worker.close`."""
        self._worker.close()


@dataclass
class _Actor:
    handle: Any
    running: Any
    """Reference of its task; ``None`` if idle."""
    place: str = ""


class RayEngine:
    """Actors with a core each: ``count``, by default as many as the cluster has cores.

    ``address``: ``auto``, or that of the cluster's head, ``HOST:PORT``. Raises
    :class:`~fer_edge.errors.DataError` where there is no cluster.
    """

    def __init__(self, settings: Settings, address: str, count: int | None = None) -> None:
        try:
            _check_listens(address)
            ray.init(
                address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True
            )
        except (OSError, RuntimeError, ValueError) as error:
            told = str(error).strip().partition("\n")[0]
            raise DataError(
                f"--ray {address}: no Ray cluster there: {told}; start one with: ray start --head"
            ) from error
        self._settings, self._count, self.count = settings, count, count or 1
        self._class: Any = ray.remote(_Remote)
        self._actors: dict[int, _Actor] = {}
        self._next = self._bad = 0
        self._look_at = 0.0
        self._warned = False
        self._fill()

    def submit(self, worker: int, task: Task) -> None:
        actor = self._actors[worker]
        actor.running = actor.handle.perform.remote(task)

    def wait(self, seconds: float) -> list[Event]:
        if time.monotonic() >= self._look_at:
            self._fill()
        numbers = {
            actor.running: number for number, actor in self._actors.items() if actor.running is not None
        }
        if not numbers:
            time.sleep(seconds)
            return []
        ready, rest = ray.wait(list(numbers), num_returns=1, timeout=seconds)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [self._event(numbers[reference]) for reference in ready]

    def place(self, worker: int) -> str:
        return self._actors[worker].place

    def close(self) -> None:
        # On each machine, one of its idle actors removes the folder of fetched films.
        idle = [actor.handle.close.remote() for actor in self._actors.values() if actor.running is None]
        with contextlib.suppress(RayError):
            ray.wait(idle, num_returns=len(idle), timeout=10) if idle else None
        for actor in self._actors.values():
            ray.kill(actor.handle)
        self._actors = {}
        ray.shutdown()

    def _event(self, number: int) -> Event:
        actor = self._actors[number]
        try:
            told = ray.get(actor.running)
        except RayError as error:
            return self._lost(number, error)
        actor.running = None
        if isinstance(told, CannotStart):
            raise told.error()
        if not actor.place:
            (actor.place, niceness), self._bad = told, 0
            self._warn(niceness)
            return Ready(number)
        return Finished(number, told)

    def _warn(self, niceness: int) -> None:
        if niceness >= _GIVES_WAY and not self._warned:
            self._warned = True
            _log.warning(
                "workers of this Ray cluster have a niceness of %d, so that other processes there take "
                "most of the cores; to change that, start its nodes by: RAY_worker_niceness=0 ray start ...",
                niceness,
            )

    def _lost(self, number: int, error: RayError) -> Lost:
        actor = self._actors.pop(number)
        # An actor that is merely unreachable must not go on beside its successor.
        ray.kill(actor.handle)
        told = " ".join(str(error).split())[:300]
        if not actor.place:
            self._bad += 1
            if self._bad >= _MOST_BAD_STARTS:
                raise OutputError(f"actors end before they can begin, {self._bad} times in a row: {told}")
        self._fill()
        if isinstance(error, RayActorError):
            return Lost(number, "a worker on the cluster was lost")
        return Lost(number, f"a worker on the cluster failed: {told}")

    def _fill(self) -> None:
        """Have as many actors as there should be."""
        self._look_at = time.monotonic() + _LOOK_EVERY
        resources: Any = ray.cluster_resources()
        self.count = self._count or max(1, int(resources.get("CPU", 1)))
        while len(self._actors) < self.count:
            handle = self._class.options(
                num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD", runtime_env={"env_vars": _QUIET}
            ).remote(self._settings)
            self._actors[self._next] = _Actor(handle, handle.place.remote())
            self._next += 1


def _check_listens(address: str) -> None:
    """Raise ``OSError`` where nobody listens at ``HOST:PORT``, for which Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
