"""Where a film is cut: at key frames, into stretches that give the same frames as the whole film."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, SourceError
from ..pipeline.options import WatchOptions
from ..sources import open_source
from ..sources.base import CAMERA_FPS
from ..sources.course import LEAST_GAP, Course, Survey, survey, why_unclear
from ..sources.holes import FileEvidence
from ..sources.stretch import Span
from ..sources.video import VideoSource
from .part import pyarrow_parquet

HEAD_BYTES = 1 << 16
"""Bytes of a file's head whose checksum tells whether it is the same file."""

_TOLD = (
    *("head", "why_whole", "pause", "fps", "declared", "size", "is_broken", "header_counts", "told_behind"),
    "indexed",
)
"""Fields of a plan that are stored besides segments and times."""

_SHORTEST = 8
"""No segment is made shorter than this part of the wanted length: each begins with frames decoded twice."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a film that is processed by itself."""

    span: Span | None
    """``None``: the whole film."""
    seconds: float
    """Its approximate length in seconds."""
    before: int = 0
    """Frames of the film before it."""
    first: float = 0.0
    """Time of the film's first frame."""
    last: float = 0.0
    """Time of the last frame before it."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How a film is cut, and what its file says."""

    segments: tuple[Segment, ...]
    head: str
    """SHA-256 of the first :data:`HEAD_BYTES` bytes."""
    why_whole: str = ""
    """Why it is not cut; empty if it is."""
    pause: float = 0.0
    """Most seconds between two processed frames if nothing is wrong."""
    fps: float | None = None
    declared: float = 0.0
    size: int = 0
    is_broken: bool = False
    header_counts: bool = False
    told_behind: str = ""
    indexed: bool = False
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Of its packets, in seconds, in the order of the file; and the next two, of each."""
    keys: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    fresh: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    """See :class:`~fer_edge.sources.course.Survey`."""

    def course(self, segment: Segment, options: WatchOptions) -> Course | None:
        """What leaping over frames of ``segment`` needs; ``None`` where that is not done.

        Where many of them are wanted, it would not pay.
        In a film with a broken container frames may be missing that only reading all of it shows.
        """
        gap = options.every if options.fps is None else (self.fps or CAMERA_FPS) / options.fps
        if segment.span is None or self.is_broken or gap < LEAST_GAP:
            return None
        span = segment.span
        whole = Survey(self.times, self.keys, self.fresh, self.indexed).course()
        return whole.between(span.begin, span.end, span.begin if span.seek is None else span.seek)

    def packet_times(self) -> Iterable[float]:
        """See :class:`~fer_edge.sources.holes.Evidence`, as the next three."""
        return map(float, self.times)

    def broken(self) -> bool:
        return self.is_broken

    def counts_frames(self) -> bool:
        return self.header_counts

    def behind(self) -> str:
        return self.told_behind


def head_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the first :data:`HEAD_BYTES` bytes of a file, in hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.sha256(stream.read(HEAD_BYTES)).hexdigest()


def whole(plan: Plan, why: str) -> Plan:
    """The plan of the same film as one segment."""
    seconds = sum(segment.seconds for segment in plan.segments)
    return Plan((Segment(None, seconds),), plan.head, why, plan.pause)


def segment_to_json(segment: Segment) -> dict[str, Any]:
    """Return a segment as the manifest has it; of a whole film only its length."""
    span = segment.span
    told: dict[str, Any] = {"seconds": round(segment.seconds, 3)}
    if span is not None:
        told |= {
            "begin": None if span.begin == float("-inf") else span.begin,
            "end": None if span.end == float("inf") else span.end,
            "seek": span.seek,
            "before": segment.before,
            "first": segment.first,
            "last": segment.last,
        }
    return told


def segment_from_json(told: Mapping[str, Any]) -> Segment:
    """Return the segment that :func:`segment_to_json` wrote."""
    if "before" not in told:
        return Segment(None, told["seconds"])
    begin = float("-inf") if told["begin"] is None else told["begin"]
    end = float("inf") if told["end"] is None else told["end"]
    span = Span(begin, end, told["seek"])
    return Segment(span, told["seconds"], told["before"], told["first"], told["last"])


def plan_to_bytes(plan: Plan) -> bytes:
    """Return ``plan`` as a Parquet file of its packets' times."""
    pyarrow, parquet = pyarrow_parquet()
    told = {name: getattr(plan, name) for name in _TOLD}
    told["segments"] = [segment_to_json(segment) for segment in plan.segments]
    columns = {"time": plan.times, "key": plan.keys, "fresh": plan.fresh}
    table = pyarrow.table(columns, metadata={"fer-edge": json.dumps(told)})
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def plan_from_bytes(content: bytes) -> Plan:
    """Return the plan that :func:`plan_to_bytes` wrote.

    Raises :class:`~fer_edge.errors.DataError` where it is none.
    """
    pyarrow, parquet = pyarrow_parquet()
    try:
        table = parquet.read_table(io.BytesIO(content))
        told = json.loads(table.schema.metadata[b"fer-edge"])
        segments = tuple(segment_from_json(one) for one in told.pop("segments"))
        times, keys, fresh = (table[name].to_numpy() for name in ("time", "key", "fresh"))
        return Plan(segments=segments, times=times, keys=keys, fresh=fresh, **told)
    except (pyarrow.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(f"a damaged plan: {error}") from error


def make_plan(path: Path, options: WatchOptions, longest: float, sharing: int = 1) -> Plan:
    """Plan the film ``path``, in segments of about ``longest`` seconds.

    ``sharing``: workers that will have nothing else to do when this film ends. Its segments become shorter
    towards the end, so that none of them waits long for the others. Raises
    :class:`~fer_edge.errors.SourceError` where it is no film that can be opened.
    """
    head = head_of(path)
    with open_source(path, options.source_options) as source:
        if not source.related:
            raise SourceError(f"{path}: is a single picture, not a film; fer-edge predict is for those")
        pause = options.longest_pause(source)
        if not isinstance(source, VideoSource):
            return Plan((Segment(None, 0.0),), head, "it is a sequence of pictures", pause)
        fps, declared = source.fps, source.declared
    read = survey(path)
    keys = sorted(read.times[read.keys].tolist())
    if why := why_unclear(read.times, fps) or ("" if len(keys) > 1 else "it has no second key frame"):
        length = declared / fps if fps and declared > 0 else 0.0
        return Plan((Segment(None, length),), head, why, pause)
    evidence = FileEvidence(path)
    return Plan(
        tuple(_cut(np.sort(read.times), keys, longest, sharing)),
        head,
        "",
        pause,
        fps,
        declared,
        evidence.size,
        evidence.broken(),
        evidence.counts_frames(),
        evidence.behind(),
        read.indexed,
        read.times,
        read.keys,
        read.fresh,
    )


def _cut(times: NDArray[np.float64], keys: list[float], longest: float, sharing: int) -> Iterable[Segment]:
    """Cut a film whose frames have these ``times``, in order, at some of its ``keys``."""
    end = float(times[-1])
    # The first key frame is where the film begins, the second one needs the group before it.
    starts: list[int] = [0]
    for index in range(1, len(keys)):
        start = keys[starts[-1]] if len(starts) > 1 else float(times[0])
        length = longest
        if sharing > 1:
            # Guided self-scheduling (Polychronopoulos and Kuck, 1987), with half of each worker's share.
            length = min(max((end - start) / (2 * sharing), longest / _SHORTEST), longest)
        if keys[index] - start >= length and end - keys[index] >= length / 2:
            starts.append(index)
    begins = [-math.inf, *(keys[index] for index in starts[1:])]
    for number, (begin, until) in enumerate(itertools.pairwise([*begins, math.inf])):
        seek = keys[starts[number] - 1] if number else None
        before = int(np.searchsorted(times, begin)) if number else 0
        seconds = min(until, end) - max(begin, float(times[0]))
        last = float(times[before - 1]) if before else 0.0
        yield Segment(Span(begin, until, seek), seconds, before, float(times[0]), last)
