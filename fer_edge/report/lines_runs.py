"""Runs in JSON lines: which frames belong to which camera, run and device, and by which clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..store.clock import JUMP, WallClock
from ..store.tally import longest_step
from .lines_material import as_material
from .lines_rows import Rows
from .material import Material, Source
from .tally import CameraTally, Counted, Frames

_KEPT_SECONDS = 1_500_000
"""Rows of seconds that fit into memory, with room for the rest."""

_MIXED = 3
"""Changes between two clocks in one piece, from which on two devices write one file."""


def camera_of(start: Mapping[str, Any]) -> str:
    """What a record of a start calls its camera."""
    return str(start.get("camera") or start.get("source") or "")


@dataclass
class Stream:
    """A camera in one run. ``lost`` and ``reason`` wait for its next frame."""

    source: Source
    clock: WallClock
    tally: CameraTally | None = None
    options: dict[str, Any] = field(default_factory=dict)
    live: bool | None = None
    lost: int = 0
    reason: str | None = None


class Runs:
    """Counts the frames of one device, or of several that write the same files, run by run.

    Live cameras of one boot share a clock. ``tell`` takes what a reader of the report has to know.
    """

    def __init__(self, name: str, keep_seconds: bool, tell: Callable[[str], None]) -> None:
        self._name, self._keep, self._tell = name, keep_seconds, tell
        self.frames = 0
        self.cut: set[int] = set()
        """Numbers of the runs that have no record of their end."""
        self._streams: dict[tuple[str, str], Stream] = {}
        self._run = 0
        self._ended: set[int] = set()
        self._clock: WallClock | None = None
        self._finished: list[tuple[Stream, Counted]] = []
        self._kept = 0

    def start(self, start: Mapping[str, Any]) -> None:
        """Take the record with which a camera begins."""
        camera = camera_of(start)
        key = (self._name, camera)
        # Cameras of one run begin together, each with a record.
        if key in self._streams or not self._streams or self._run in self._ended:
            self._begin_run()
        stream = self._streams[key] = self._new_stream(self._name, camera, start)
        stream.options = start.get("options") or {}
        stream.live = start.get("live")
        if not stream.live:
            stream.source = replace(stream.source, film=str(start.get("source") or ""))

    def end(self) -> None:
        """Take the record with which a run ends."""
        self._ended.add(self._run)

    def gap(self, rows: Rows, mark: int) -> None:
        """Take the record ``mark``, which tells that there were no frames."""
        camera = rows.camera[mark]
        for (_, name), stream in self._streams.items():
            if camera is None and not stream.lost:
                stream.lost += int(np.nan_to_num(rows.lost[mark]))
                break
            if name == camera:
                stream.reason = str(rows.reason[mark] or "no frames")

    def take(self, rows: Rows, begin: int, end: int) -> None:
        """Count the records from ``begin`` until before ``end``, which are frames."""
        if begin == end:
            return
        cameras = rows.camera[begin:end]
        names = list(dict.fromkeys(cameras.tolist()))
        for name in names:
            which = np.arange(begin, end) if len(names) == 1 else begin + np.flatnonzero(cameras == name)
            self._take_camera(rows, which, str(name or rows.source[which[0]] or ""))

    def bound_seconds(self) -> None:
        """Keep no more seconds of people where memory would not hold them."""
        tallies = [stream.tally for stream in self._streams.values() if stream.tally is not None]
        if not self._keep or self._kept + sum(tally.kept for tally in tallies) <= _KEPT_SECONDS:
            return
        self._keep = False
        for tally in tallies:
            tally.keep_no_more()
        self._tell(
            f"{self._name}: more than {_KEPT_SECONDS:,} seconds of people; later ones count in visits and "
            "minutes only. Choose a shorter time for events."
        )

    def finish(self) -> list[Material]:
        """End all runs; returns what was counted. Raises ``ValueError`` where that contradicts itself."""
        for key in list(self._streams):
            self._finish(key)
        parts = [as_material(stream.source, done) for stream, done in self._finished]
        self._finished.clear()
        return parts

    def _begin_run(self) -> None:
        for key in list(self._streams):
            self._finish(key)
        self._run += 1

    def _new_stream(self, device: str, camera: str, settings: Mapping[str, Any] | None = None) -> Stream:
        self._run = max(self._run, 1)
        return Stream(Source(device, camera, str(self._run), settings=settings), WallClock(0))

    def _take_camera(self, rows: Rows, which: NDArray[np.int64], camera: str) -> None:
        """Count frames of what is called ``camera``, in their order in the file."""
        at, wall = rows.at(which), rows.wall[which]
        key = (self._name, camera)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = self._new_stream(self._name, camera)
        if stream.live is None:
            stream.live = rows.looks_live(which)
        if not stream.live:
            self._count(key, stream, rows, which, rows.position(which), wall)
            return
        order = np.sort(wall - at)
        parts = order[np.flatnonzero(np.diff(order, prepend=order[0] - 2 * JUMP) > JUMP)]
        if len(parts) > 1 or (stream.tally is not None and abs(int(order[0]) - stream.clock.origin) > JUMP):
            code = np.searchsorted(parts, wall - at, side="right") - 1
            if (
                int(np.count_nonzero(np.diff(code))) >= max(_MIXED, len(parts))
                or (key[0] + " (2)", camera) in self._streams
            ):
                self._take_mixed(rows, which, camera, parts, code)
                return
        # A clock that goes back is another boot, or files in another order.
        last = stream.tally.last if stream.tally is not None else None
        back = np.flatnonzero(np.diff(at, prepend=at[0] if last is None else last) < 0)
        bounds = sorted({0, *back.tolist(), len(at)})
        for first, until in itertools.pairwise(bounds):
            if first in back:
                old = stream
                self._begin_run()
                self._tell(f"{self._name}: the machine's clock restarts without a record of a start.")
                stream = self._streams[key] = self._new_stream(self._name, camera, old.source.settings)
                stream.live, stream.options = old.live, old.options
            self._count(key, stream, rows, which[first:until], at[first:until], wall[first:until])

    def _take_mixed(
        self,
        rows: Rows,
        which: NDArray[np.int64],
        camera: str,
        parts: NDArray[np.int64],
        code: NDArray[np.int64],
    ) -> None:
        """Count frames of two devices that write one file under one name, known by their clocks."""
        self._tell(
            f"{self._name}: lines of several devices are mixed under the name {camera}; they are told "
            "apart by their clocks."
        )
        for number, offset in enumerate(parts.tolist()):
            mine = which[code == number]
            same = [
                key
                for key, stream in self._streams.items()
                if key[1] == camera and stream.tally is not None and abs(stream.clock.origin - offset) <= JUMP
            ]
            if same:
                key = same[0]
            else:
                count = sum(
                    key[1] == camera and stream.tally is not None for key, stream in self._streams.items()
                )
                key = (self._name if not count else f"{self._name} ({count + 1})", camera)
                known = self._streams.get(key)
                if known is None or known.tally is not None:
                    self._streams[key] = self._new_stream(key[0], camera)
                self._streams[key].live = True
            self._count(key, self._streams[key], rows, mine, rows.at(mine), rows.wall[mine])

    def _count(
        self,
        key: tuple[str, str],
        stream: Stream,
        rows: Rows,
        which: NDArray[np.int64],
        at: NDArray[np.int64],
        wall: NDArray[np.int64],
    ) -> None:
        if not len(which):
            return
        if stream.tally is None:
            origin = int(wall[0] - at[0])
            known = self._clock
            if stream.live and known is not None and abs(known.origin - origin) <= JUMP:
                # The same boot: its clocks keep their difference.
                origin = known.origin
            stream.clock = WallClock(origin)
            if stream.live and key[0] == self._name:
                self._clock = stream.clock
            stream.tally = CameraTally(stream.clock, bool(stream.live), _longest_step(stream, at), self._keep)
        lost = np.zeros(len(which), np.int64)
        lost[0], stream.lost = stream.lost, 0
        reasons = {} if stream.reason is None else {0: stream.reason}
        stream.reason = None
        stream.tally.take(
            Frames(
                at,
                wall,
                np.nan_to_num(rows.dropped[which]).astype(np.int64),
                lost,
                reasons,
                rows.brightness[which],
            ),
            rows.faces_of(which),
        )
        self.frames += len(which)

    def _finish(self, key: tuple[str, str]) -> None:
        stream = self._streams.pop(key)
        if stream.tally is None:
            return
        done = stream.tally.end()
        for at, jump in stream.tally.jumps:
            moment = np.datetime64(at + done.origin, "ms").astype(datetime)
            self._tell(
                f"The clock of {key[0]} was corrected by {jump / 1000:+.1f} s at {moment:%Y-%m-%d %H:%M} "
                "UTC; times before that are corrected."
            )
        self._kept += len(done.seconds[0])
        if int(stream.source.run) not in self._ended:
            self.cut.add(int(stream.source.run))
        self._finished.append((stream, done))


def _longest_step(stream: Stream, at: NDArray[np.int64]) -> int:
    """Milliseconds between frames beyond which there is a gap, as the run's store would take it."""
    options = stream.options
    rates = [options.get(name) for name in ("fps", "max_fps", "idle_fps" if stream.live else "")]
    pauses = [1 / rate for rate in rates if isinstance(rate, int | float) and rate > 0]
    if len(at) > 2:
        # A source that gives a picture every ten seconds says so nowhere else.
        pauses.append(float(np.median(np.diff(at))) / 1000)
    return longest_step(max(pauses, default=0.0))
