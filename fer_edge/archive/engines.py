"""What runs tasks: workers, local or remote, each with one task at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import FerEdgeError
from .work import Done, Failed, Task


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its models, and is free."""

    worker: int


@dataclass(frozen=True)
class Finished:
    """A worker has done its task, and is free."""

    worker: int
    outcome: Done | Failed


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with its task where it had one; another takes its place, under another number."""

    worker: int
    reason: str


@dataclass(frozen=True)
class CannotStart:
    """A worker cannot load its models. Carries the text, since not every error can be pickled."""

    reason: str
    exit_code: int

    def error(self) -> FerEdgeError:
        """The error to raise for it."""
        error = FerEdgeError(self.reason)
        error.exit_code = self.exit_code
        return error


Event = Ready | Finished | Lost


class Engine(Protocol):
    """Workers, counted from 0, each with one task at a time."""

    @property
    def count(self) -> int:
        """How many there should be at a time."""

    def submit(self, worker: int, task: Task) -> None:
        """Give a free worker a task."""

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened, after ``seconds`` at the latest.

        Raises :class:`~fer_edge.errors.FerEdgeError` where workers cannot start at all.
        """

    def place(self, worker: int) -> str:
        """The machine that a worker is on."""

    def close(self) -> None:
        """End all workers at once; their tasks are lost."""
