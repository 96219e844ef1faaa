"""Processes an archive: which task is next, where its result goes, what is already done.

Only this process writes, and it writes each result when it comes: parts into ``parts/``, a film's rows into
the tables once all of its parts are there, and a line into the manifest for each. Workers hold nothing
that would be lost with them.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, FerEdgeError, OutputError
from ..faces.detector import model_digest
from ..models.manifest import digest_of
from ..option import options_of
from ..pipeline.options import WatchOptions
from .engines import Engine, Finished, Lost, Ready
from .films import Film
from .join import Joined
from .manifest import DONE, PLANNED, Known, Manifest
from .part import is_usable
from .plan import Plan, plan_from_bytes, plan_to_bytes, whole
from .tables import write_durably, write_files
from .work import Done, Failed, JoinTask, PlanTask, SegmentTask, Settings, Task

PARTS = "parts"

JOINED_AT_ONCE = 4
"""Parts joined at a time while workers go on with later ones, so that few are left for the end."""

TRIES = 3
"""Tries of a task whose worker was lost, or that failed for a reason that may pass."""

RESULT_OPTIONS = (
    "model",
    "backend",
    "precision",
    "labels",
    "balance",
    "detector_model",
    "detector_engine",
    "detector_precision",
    "detect_size",
    "min_hits",
    "smoothing",
    "min_score",
    "align",
    "rotate",
    "mirror",
    "region",
    "mask",
    "every",
    "fps",
)
"""Options that an archive shares with a run. The results depend on each of them."""


@dataclass
class Progress:
    """How far an archive is."""

    films: int
    done: int = 0
    failed: int = 0
    kept: int = 0
    """Films done by an earlier command; ``done`` includes them."""
    segments: int = 0
    """Done by this command."""
    seconds: float = 0.0
    """Of films, in those."""
    bytes_left: float = 0.0
    bytes_done: float = 0.0
    """Of films, by this command."""
    retries: int = 0
    lost: int = 0
    """Workers that were lost."""
    cpu: float = 0.0
    """Seconds of processor time of all tasks."""
    busy: float = 0.0
    """Seconds that workers spent on tasks."""
    began: float = field(default_factory=time.monotonic)
    failures: dict[str, str] = field(default_factory=dict)
    """Why films were given up, by path."""
    damaged: list[str] = field(default_factory=list)
    """Films of which more than a tenth is missing."""


@dataclass
class _Work:
    """A film in progress."""

    film: Film
    plan: Plan | None = None
    waiting: deque[int] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)
    running: int = 0
    tries: dict[int | None, int] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    """Machines that have fetched it."""
    is_joining: bool = False
    joined: int = 0
    """How many of its parts are joined, from the first one on."""
    state: bytes = b""
    """State of the joining; only this process has it, so another command begins with the first part."""

    def share(self, number: int) -> float:
        """The bytes of the film that a segment accounts for."""
        assert self.plan is not None
        total = sum(segment.seconds for segment in self.plan.segments)
        parts = len(self.plan.segments)
        return self.film.size * (self.plan.segments[number].seconds / total if total else 1 / parts)

    def joinable(self) -> range:
        """Parts to join next; none while only few are ready and more are to come."""
        if self.plan is None or self.is_joining:
            return range(0)
        until = next(number for number in itertools.count(self.joined) if number not in self.done)
        # With all segments handed out, waiting for more parts would only make the last joining longer.
        enough = not self.waiting or until - self.joined >= JOINED_AT_ONCE
        return range(self.joined, until if enough else self.joined)


def result_options(settings: Settings) -> dict[str, Any]:
    """What the results of an archive depend on, by name, as JSON has it.

    Raises :class:`~fer_edge.errors.ModelError` where a model is missing or cannot be read.
    """
    options, described = settings.options, options_of(WatchOptions)
    told = {name: described[name].written(getattr(options, name)) for name in RESULT_OPTIONS}
    told |= {"faces": settings.faces, "seconds": settings.seconds}
    told["model_sha256"] = digest_of(options.model)
    told["detector_sha256"] = model_digest(options.detector_model)
    return {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in told.items()
    }


class Archive:
    """Processes ``films`` into ``folder``, continuing where an earlier command stopped.

    ``tell``: takes a line about a film. ``shown``: is called with the progress, at least once a second.
    """

    def __init__(
        self,
        folder: Path,
        films: Sequence[Film],
        settings: Settings,
        tell: Callable[[str], None],
        shown: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._folder, self._settings = folder, settings
        self._films = films
        self._tell, self._shown = tell, shown
        self.progress = Progress(len(films), bytes_left=sum(film.size for film in films))
        self._new: deque[Film] = deque()
        self._open: dict[str, _Work] = {}
        self._running: dict[int, tuple[_Work, Task]] = {}
        self._free: list[int] = []

    def run(self, engine: Callable[[], Engine], versions: Mapping[str, Any]) -> Progress:
        """Do what is left; returns what was done.

        Raises :class:`~fer_edge.errors.DataError` for a folder that cannot be used,
        :class:`~fer_edge.errors.ModelError` where a model is missing,
        :class:`~fer_edge.errors.OutputError` where the folder cannot be written any more, and what workers
        raise that cannot start. All that was done stays.
        """
        options = result_options(self._settings)
        with _telling(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        with Manifest(self._folder, options, versions) as self._manifest:
            with _telling(self._folder):
                self._resume()
            if self._new or self._open:
                with contextlib.closing(engine()) as self._engine:
                    self._loop()
            with contextlib.suppress(OSError):
                (self._folder / PARTS).rmdir()
        return self.progress

    def _resume(self) -> None:
        """Find out what is left."""
        left = []
        for film in self._films:
            known = self._manifest.films.get(film.id, Known())
            if known.state == DONE and known.is_same(film):
                self.progress.done += 1
                self.progress.kept += 1
                self.progress.bytes_left -= film.size
                if known.told.get("damaged"):
                    self.progress.damaged.append(film.path)
                self._forget_parts(film)
                continue
            self._remove(known.files)
            left.append((film, known))
        # The largest first, so that the last tasks are short.
        for film, known in sorted(left, key=lambda one: -one[0].size):
            plan = self._stored_plan(film) if known.state == PLANNED and known.is_same(film) else None
            if plan is None:
                self._forget_parts(film)
                self._new.append(film)
                continue
            work = self._open[film.id] = _Work(film, plan)
            for number in range(len(plan.segments)):
                if number in known.segments and is_usable(self._part(film, number)):
                    work.done.add(number)
                    self.progress.bytes_left -= work.share(number)
                else:
                    work.waiting.append(number)

    def _loop(self) -> None:
        while self._new or self._open:
            self._hand_out()
            for event in self._engine.wait(0.5):
                match event:
                    case Ready(worker):
                        self._free.append(worker)
                    case Finished(worker, outcome):
                        self._free.append(worker)
                        self._take(worker, outcome)
                    case Lost(worker, reason):
                        self.progress.lost += 1
                        if worker in self._free:
                            self._free.remove(worker)
                        self._take(worker, Failed(reason, again=True))
            self._shown(self.progress)

    def _hand_out(self) -> None:
        """Give free workers what is next."""
        for worker in list(self._free):
            chosen = self._next(self._engine.place(worker))
            if chosen is None:
                return
            work, task = chosen
            self._free.remove(worker)
            work.running += 1
            self._running[worker] = work, task
            self._engine.submit(worker, task)

    def _next(self, place: str) -> tuple[_Work, Task] | None:
        """The next task for a worker at ``place``.

        Films are finished before others are begun, so that little is under way; among those, where a machine
        has fetched one already.
        """
        for work in self._open.values():
            if work.plan is None and not work.running:
                work.places.add(place)
                return work, self._plan_task(work.film)
            if numbers := work.joinable():
                return work, self._join_task(work, numbers)
        waiting = [work for work in self._open.values() if work.waiting]
        waiting.sort(key=lambda work: work.film.remote and place not in work.places)
        if waiting and not (self._new and waiting[0].film.remote and place not in waiting[0].places):
            work = waiting[0]
        elif self._new:
            film = self._new.popleft()
            work = self._open[film.id] = _Work(film, places={place})
            return work, self._plan_task(film)
        elif waiting:
            work = waiting[0]
        else:
            return None
        assert work.plan is not None
        number = work.waiting.popleft()
        work.places.add(place)
        segment = work.plan.segments[number]
        course = work.plan.course(segment, self._settings.options)
        return work, SegmentTask(work.film, number, segment, work.plan.head, course)

    def _plan_task(self, film: Film) -> PlanTask:
        # While there are other films, workers that are done with this one go on with those.
        return PlanTask(film, 1 if self._new else self._engine.count)

    def _join_task(self, work: _Work, numbers: range) -> JoinTask:
        assert work.plan is not None
        work.is_joining = True
        with _telling(self._folder):
            parts = tuple(self._part(work.film, number).read_bytes() for number in numbers)
        return JoinTask(work.film, work.plan, parts, numbers.start, work.state)

    def _take(self, worker: int, outcome: Done | Failed) -> None:
        """Take the result of the task that ``worker`` had, if it had one."""
        if worker not in self._running:
            return
        work, task = self._running.pop(worker)
        work.running -= 1
        if isinstance(task, JoinTask):
            work.is_joining = False
        if work.film.id not in self._open or self._open[work.film.id] is not work:
            return
        if isinstance(outcome, Failed):
            self._failed(work, task, outcome)
            return
        self.progress.cpu += outcome.cpu
        self.progress.busy += outcome.wall
        with _telling(self._folder):
            match task, outcome.value:
                case PlanTask(film), Plan() as plan:
                    self._planned(work, film, plan)
                case SegmentTask(film, number), bytes() as part:
                    write_durably(self._part(film, number), part)
                    tries = work.tries.get(number, 0) + 1
                    told = {"cpu": round(outcome.cpu, 3), "wall": round(outcome.wall, 3)}
                    self._manifest.segment(film, number, tries, told)
                    work.done.add(number)
                    assert work.plan is not None
                    self.progress.segments += 1
                    self.progress.seconds += work.plan.segments[number].seconds
                    self.progress.bytes_left -= work.share(number)
                    self.progress.bytes_done += work.share(number)
                case JoinTask(), bytes() as state:
                    work.state, work.joined = state, task.until
                case JoinTask(film), Joined() as joined:
                    self._joined(film, joined)

    def _planned(self, work: _Work, film: Film, plan: Plan) -> None:
        write_durably(self._parts(film) / "plan.parquet", plan_to_bytes(plan))
        self._manifest.planned(film, plan)
        work.plan = plan
        work.waiting = deque(range(len(plan.segments)))

    def _joined(self, film: Film, joined: Joined) -> None:
        paths = tuple(
            os.fspath(file.path_in(self._folder).relative_to(self._folder)) for file in joined.files
        )
        self._manifest.writing(film, paths)
        write_files(self._folder, joined.files)
        told = {
            "frames": joined.frames,
            "missing": joined.missing,
            "damaged": joined.damaged,
            "seconds": round(joined.seconds, 3),
            "people": joined.people,
            "messages": joined.messages,
        }
        self._manifest.done(film, told)
        self._forget_parts(film)
        del self._open[film.id]
        self.progress.done += 1
        for message in joined.messages:
            self._tell(message)
        if joined.damaged:
            self.progress.damaged.append(film.path)
        self._tell(f"{film.path}: {joined.seconds:.0f} s, visits {joined.people}")

    def _failed(self, work: _Work, task: Task, failure: Failed) -> None:
        """Try a task again, or give its film up."""
        film = work.film
        number = task.number if isinstance(task, SegmentTask) else None
        if failure.unequal and work.plan is not None:
            self._tell(f"{failure.reason}; the film is read as a whole")
            for done in work.done:
                self.progress.bytes_left += work.share(done)
            with _telling(self._folder):
                self._forget_parts(film)
                # Its tasks in progress are of no use any more.
                work = self._open[film.id] = _Work(film, work.plan, places=work.places)
                assert work.plan is not None
                self._planned(work, film, whole(work.plan, failure.reason))
            return
        tries = work.tries[number] = work.tries.get(number, 0) + 1
        if failure.again and tries < TRIES:
            self.progress.retries += 1
            self._manifest.tried(film, number, tries, failure.reason)
            if isinstance(task, SegmentTask):
                work.waiting.appendleft(task.number)
            return
        reason = failure.reason
        if failure.again and number is not None:
            reason = f"{film.path}: segment {number + 1}: {reason}, {tries} times"
        elif failure.again:
            reason = f"{film.path}: {reason}, {tries} times" if not reason.startswith(film.path) else reason
        self._manifest.failed(film, reason)
        with _telling(self._folder):
            self._forget_parts(film)
        del self._open[film.id]
        self.progress.failed += 1
        self.progress.failures[film.path] = reason
        self.progress.bytes_left -= film.size - sum(map(work.share, work.done))
        self._tell(f"failed: {reason}")

    def _parts(self, film: Film) -> Path:
        return self._folder / PARTS / film.id

    def _part(self, film: Film, number: int) -> Path:
        return self._parts(film) / f"{number:05d}.parquet"

    def _forget_parts(self, film: Film) -> None:
        shutil.rmtree(self._parts(film), ignore_errors=True)

    def _stored_plan(self, film: Film) -> Plan | None:
        try:
            return plan_from_bytes((self._parts(film) / "plan.parquet").read_bytes())
        except (OSError, DataError):
            return None

    def _remove(self, files: Iterable[str]) -> None:
        """Remove files of the tables, and folders that are empty then."""
        for name in files:
            path = self._folder / name
            path.unlink(missing_ok=True)
            for parent in (path.parent, path.parent.parent):
                with contextlib.suppress(OSError):
                    parent.rmdir()


@contextlib.contextmanager
def _telling(folder: Path) -> Iterator[None]:
    try:
        yield
    except FerEdgeError:
        raise
    except OSError as error:
        remedy = "; free some space, and run the same command again" if error.errno == errno.ENOSPC else ""
        raise OutputError(
            f"{error.filename or folder}: cannot be written: {error.strerror}{remedy}"
        ) from error
