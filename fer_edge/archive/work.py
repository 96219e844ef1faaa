"""What a worker does: plan a film, process a segment, join segments. Models are loaded once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DataError, FerEdgeError, SourceError, is_out_of_memory
from ..labels import ANSWERS
from ..pipeline.look import Look
from ..pipeline.options import WatchOptions
from ..pipeline.pace import Pace
from ..pipeline.recognizer import recognizer_of
from ..sources import open_source
from ..sources.base import CAMERA_FPS, Source
from ..sources.course import Course
from ..sources.stretch import UnclearTimesError
from ..sources.video import VideoSource
from .films import Film
from .join import (
    Joined,
    Joining,
    UnequalError,
    collected_messages,
    joining_from_bytes,
    joining_to_bytes,
)
from .objects import Objects
from .part import Part, part_from_bytes, part_to_bytes
from .plan import Plan, Segment, head_of, make_plan


@dataclass(frozen=True)
class Settings:
    """What all tasks of an archive share."""

    options: WatchOptions
    longest: float = 300.0
    """Approximate length of a segment in seconds."""
    faces: bool = False
    """Whether a row for each face is wanted, too."""
    seconds: bool = False
    """Whether a row for each person and second is wanted, too."""
    device: str = "archive"
    """What the column ``device`` has."""
    scratch: str = ""
    """Folder for fetched films, which is removed at the end."""
    scratch_bytes: int = 20_000_000_000
    """Bytes that it may hold."""


@dataclass(frozen=True)
class PlanTask:
    """Plan a film."""

    film: Film
    sharing: int = 1
    """See :func:`~.plan.make_plan`."""


@dataclass(frozen=True)
class SegmentTask:
    """Process a segment of a film."""

    film: Film
    number: int
    segment: Segment
    head: str
    course: Course | None = None
    """Of the segment, where only few of its frames are wanted."""


@dataclass(frozen=True)
class JoinTask:
    """Join some parts of a film, in their order; with the last one they become its tables."""

    film: Film
    plan: Plan
    parts: tuple[bytes, ...]
    first: int = 0
    """Number of the first one's segment."""
    before: bytes = b""
    """State of the joining of those before it."""

    @property
    def until(self) -> int:
        """How many parts are joined after it."""
        return self.first + len(self.parts)


Task = PlanTask | SegmentTask | JoinTask


@dataclass(frozen=True)
class Done:
    """The result of a task."""

    value: Plan | bytes | Joined
    cpu: float
    """Seconds of processor time."""
    wall: float
    """Seconds."""


@dataclass(frozen=True)
class Failed:
    """Why a task failed."""

    reason: str
    again: bool
    """Whether another try may succeed."""
    unequal: bool = False
    """Whether segments do not fit each other, so that the film has to be processed as a whole."""


def scratch_name(out: Path) -> str:
    """The name of the folder for fetched films: the same whenever the archive is continued."""
    digest = hashlib.sha256(os.fsencode(out.absolute())).hexdigest()[:12]
    return f"fer-edge-archive-{os.getuid()}-{digest}"


class Worker:
    """Performs tasks, one after the other.

    Raises what :class:`~fer_edge.pipeline.recognizer.Recognizer` raises where models cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        import cv2

        # Workers share a machine, with one core each.
        cv2.setNumThreads(1)
        self._settings = replace(settings, options=replace(settings.options, threads=1))
        self._recognizer = recognizer_of(self._settings.options)
        self._look = Look(self._recognizer, self._settings.options)
        self._objects = Objects(settings.scratch, settings.scratch_bytes)

    def perform(self, task: Task) -> Done | Failed:
        """Do ``task``; a failure is returned, not raised."""
        cpu, wall = time.process_time(), time.monotonic()
        try:
            value = self._perform(task)
        except (UnequalError, UnclearTimesError) as error:
            return Failed(str(error), again=False, unequal=True)
        except FerEdgeError as error:
            return Failed(str(error), again=False)
        except Exception as error:
            if is_out_of_memory(error):
                return Failed("not enough memory for a worker", again=True)
            told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return Failed(f"{task.film.path}: {type(error).__name__}: {told.strip()[:300]}", again=True)
        return Done(value, time.process_time() - cpu, time.monotonic() - wall)

    def close(self) -> None:
        """Remove fetched films."""
        self._objects.close()

    def _perform(self, task: Task) -> Plan | bytes | Joined:
        settings = self._settings
        match task:
            case PlanTask(film, sharing):
                with self._objects.local(film) as path, _named(film, path):
                    return make_plan(path, settings.options, settings.longest, sharing)
            case SegmentTask(film, _, segment, head, course):
                with self._objects.local(film) as path, _named(film, path):
                    if head_of(path) != head:
                        raise SourceError(f"{path}: was changed while it was read; run the command again")
                    part = self._see(path, segment, course)
                    told = part.told["messages"]
                    part.told["messages"] = [one.replace(os.fspath(path), film.path) for one in told]
                    return part_to_bytes(part)
            case JoinTask():
                return self._join(task)

    def _join(self, task: JoinTask) -> bytes | Joined:
        """The tables, or the state from which joining continues."""
        classifier = self._recognizer.classifier
        answers = len(ANSWERS[classifier.labels])
        known = task.film, task.plan, classifier, self._settings
        joining = joining_from_bytes(task.before, *known) if task.before else Joining(*known)
        joining.take(_parts(task, answers))
        if task.until < len(task.plan.segments):
            return joining_to_bytes(joining, *known)
        return joining.end()

    def _see(self, path: Path, segment: Segment, course: Course | None) -> Part:
        options = self._settings.options
        with collected_messages() as messages, _opened(path, segment, course, options) as source:
            pace = Pace(options.every, options.fps, period=1 / (source.fps or CAMERA_FPS))
            if segment.before:
                pace.resume(segment.before, segment.first, segment.last)
            source.chooser, source.foresees = pace.chooses, pace.foresees
            if isinstance(source, VideoSource) and segment.span is not None:
                part = self._see_stretch(source)
            else:
                part = self._see_whole(source, pace)
                if not part.looked:
                    raise SourceError(f"{path}: none of its frames was processed")
        part.told["messages"] = messages
        return part

    def _see_whole(self, source: Source, pace: Pace) -> Part:
        part = Part()

        def chooses(timestamp: float) -> bool:
            part.times.append(timestamp)
            return pace.chooses(timestamp)

        source.chooser = chooses
        for frame in source.chosen():
            part.looked.append(len(part.times) - 1)
            part.seen.append(self._look.see(frame))
        part.told = {"missing": source.missing, "passed": pace.passed}
        return part

    def _see_stretch(self, source: VideoSource) -> Part:
        part, read = Part(), source.stretch
        for frame in source.chosen():
            part.looked.append(len(read.shown) - 1)
            part.seen.append(self._look.see(frame))
        part.times = read.shown
        part.told = {
            "missing": read.failed,
            "decoded": read.decoded,
            "first": read.first,
            "behind": read.behind,
            "leaps": read.leaps,
        }
        return part


def _parts(task: JoinTask, answers: int) -> list[Part]:
    parts = []
    for number, content in enumerate(task.parts, task.first + 1):
        try:
            parts.append(part_from_bytes(content, answers))
        except DataError as error:
            raise DataError(f"{task.film.path}: segment {number}: {error}") from error
    return parts


def _opened(path: Path, segment: Segment, course: Course | None, options: WatchOptions) -> Source:
    if segment.span is not None:
        return VideoSource(path, segment.span, 1, course)
    source = open_source(path, options.source_options)
    if isinstance(source, VideoSource):
        source.close()
        return VideoSource(path, threads=1)
    return source


@contextlib.contextmanager
def _named(film: Film, path: Path) -> Iterator[None]:
    """Let errors name ``film`` as the user does, not the fetched file."""
    try:
        yield
    except FerEdgeError as error:
        if not film.remote:
            raise
        raise type(error)(str(error).replace(os.fspath(path), film.path)) from error
