"""The course of a film: when each frame is shown, and how to come to one without decoding all before it.

If few frames of a film are wanted, the others need not be decoded: decoding can begin at a key frame.
OpenCV's seeks go back to a key frame at least :data:`_BEHIND` frames before the one that is asked for, decode
up to that one, and then tell its time. So a leap asks for a frame just so far behind the key frame at which
decoding should begin, checks by its time where it landed, and decodes on from there. The pictures are those
of decoding everything if decoding began at a key frame to which nothing refers across
(:attr:`.Packet.fresh`), or after a whole group of pictures otherwise.

What leaps and decoding cost is measured as they happen, since it depends on film, container and machine;
frames and results do not depend on the choice.
"""

from __future__ import annotations

import math
import os
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .holes import LONGEST_STEP
from .opencv_capture import Capture
from .packets import packets

NEAR = 1e-6
"""Seconds within which two times are the same: they are whole ticks, divided."""

_BEHIND = 16
"""OpenCV begins to decode at least so many frames before the one that is asked for."""

_LEAST_STEP = 1e-4
"""Seconds between frames below which their times do not tell them apart."""

LEAST_GAP = _BEHIND + 4
"""Frames from one that is needed to the next below which no leap pays."""

_POSITIONING = LEAST_GAP
"""Cost of getting to the first frame of a leap, in decoded frames, until it is measured."""

_MOST_COST = 5000.0
"""Upper limit of a measurement of that cost, which other work on the machine can spoil."""

_GAIN = 0.85
"""A leap is made if it costs less than this share of decoding on."""

_EARLIER = (0, _BEHIND, 4 * _BEHIND)
"""Frames before the one to ask for that are tried, one after the other, until a seek lands early enough."""

_MOST_FAILED = 2
"""Leaps in a row that may fail until no more are tried."""


@dataclass(frozen=True, eq=False)
class Course:
    """When the frames of a film are shown, in seconds as its container tells them, in order."""

    times: NDArray[np.float64]
    keys: NDArray[np.intp]
    """Which of them are key frames."""
    fresh: NDArray[np.bool_]
    """Which of those are fresh, see :class:`~fer_edge.sources.packets.Packet`."""
    indexed: bool
    """Whether the container has an index, so that seeks land at key frames."""

    def between(self, begin: float, end: float, earliest: float) -> Course:
        """What leaps within the frames from ``begin`` to before ``end`` need.

        It keeps the key frames from ``earliest`` on, and the first frame behind.
        """
        first = int(np.searchsorted(self.times, min(begin, earliest) - NEAR))
        last = int(np.searchsorted(self.times, end - NEAR)) + 1
        chosen = (self.keys >= first) & (self.keys < last)
        return Course(self.times[first:last], self.keys[chosen] - first, self.fresh[chosen], self.indexed)

    def index(self, seconds: float) -> int | None:
        """Which frame is shown at ``seconds``; ``None`` where none is."""
        at = int(np.searchsorted(self.times, seconds - NEAR))
        return at if at < len(self.times) and self.times[at] <= seconds + NEAR else None


@dataclass(frozen=True, eq=False)
class Survey:
    """The packets of a film, in the order of the file."""

    times: NDArray[np.float64]
    """When each is shown, in seconds; 0 or not finite where the container does not tell."""
    keys: NDArray[np.bool_]
    fresh: NDArray[np.bool_]
    """See :class:`~fer_edge.sources.packets.Packet`."""
    indexed: bool

    def course(self) -> Course:
        """The film's course, if :func:`why_unclear` says nothing of its times."""
        order = np.argsort(self.times, kind="stable")
        keys = np.flatnonzero(self.keys[order])
        return Course(self.times[order], keys, self.fresh[order][keys], self.indexed)


def survey(path: str | os.PathLike[str]) -> Survey:
    """Read the packets of the film ``path``, without decoding any."""
    times, keys, fresh = array("d"), bytearray(), bytearray()
    for packet in packets(path):
        times.append(packet.seconds)
        keys.append(packet.key)
        fresh.append(packet.fresh)
    return Survey(
        np.array(times, np.float64), np.array(keys, np.bool_), np.array(fresh, np.bool_), has_index(path)
    )


def why_unclear(times: NDArray[np.float64], fps: float | None) -> str:
    """Why the ``times`` of a film's packets do not distinguish its frames; empty if they do."""
    if not len(times) or not np.isfinite(times).all():
        return "its container has no times"
    ordered = np.sort(times)
    steps = np.diff(ordered)
    if ordered[0] < 0:
        return "its times begin before 0"
    if len(steps) and steps.min() < _LEAST_STEP:
        return "two of its frames have the same time"
    if len(steps) and steps.max() > max(LONGEST_STEP, 100 / (fps or 30.0)):
        return "its clock jumps"
    return ""


def has_index(path: str | os.PathLike[str]) -> bool:
    """Whether a film's container is one of which FFmpeg knows where key frames are: MP4, Matroska, kin."""
    with Path(path).open("rb") as stream:
        head = stream.read(12)
    return head[4:8] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True, eq=False)
class Leap:
    """What a leap has done."""

    capture: Capture
    """Goes on from here; maybe another one than before."""
    grabbed: bool
    """Whether it holds a frame already."""
    passed: NDArray[np.float64]
    """Times of the frames leapt over; they have not been decoded."""
    until: float
    """Time of the frame behind them. Frames before it that are still decoded on the way count as passed."""


class Leaps:
    """Leaps over frames of a film where that costs less than decoding them.

    ``needed``: of each frame of ``course`` whether it is to be decoded. ``fps``: frames a second as OpenCV
    counts them. ``back`` opens the film again at a place before all of ``course``, for leaps that fail; gives
    the capture, and whether it holds a frame. ``cpu`` gives seconds. ``begin``: from how many seconds on
    :meth:`saw` is told of frames.
    """

    def __init__(
        self,
        course: Course,
        needed: NDArray[np.bool_],
        fps: float | None,
        back: Callable[[], tuple[Capture, bool]],
        cpu: Callable[[], float] = time.process_time,
        *,
        begin: float = -math.inf,
    ) -> None:
        self._course, self._needed = course, np.flatnonzero(needed)
        self._fps, self._back, self._cpu = fps or 0.0, back, cpu
        self._at: int | None = None
        self._following = int(np.searchsorted(course.times, begin - NEAR))
        self._declined = -1
        self._failed = 0
        self._on = self._fps > 0
        self._frames = 0
        self._seconds = 0.0
        self._cost = float(_POSITIONING)

    def grab(self, capture: Capture) -> bool:
        """Let ``capture`` go on to the next frame, and measure that."""
        began = self._cpu()
        grabbed = capture.grab()
        self._frames += 1
        self._seconds += self._cpu() - began
        return grabbed

    def saw(self, shown: float) -> None:
        """Take note of the next frame, shown at so many seconds.

        After one that is not the first or does not follow on the frame before it, no more leaps are made:
        the film is damaged, or its packets tell other times than its frames, as in AVI with B-frames.
        """
        index = self._course.index(shown)
        if index is None or index != self._following:
            self._on = False
        else:
            self._following = index + 1
        self._at = index

    def leap(self, capture: Capture) -> Leap | None:
        """Leap to the next frame that is needed, where that pays."""
        if not self._on or self._at is None:
            return None
        at, course = self._at, self._course
        following = int(np.searchsorted(self._needed, at, "right"))
        if following == len(self._needed):
            return None
        target = int(self._needed[following])
        if target == self._declined:
            return None
        start = self._start(at, target)
        if start is None:
            self._declined = target
            return None
        self._at, self._following = target - 1, target
        passed, until = course.times[at + 1 : target], float(course.times[target])
        if self._positioned(capture, start, target):
            self._failed = 0
            return Leap(capture, True, passed, until)
        self._failed += 1
        self._on = self._failed < _MOST_FAILED
        return Leap(*self._back(), passed, until)

    def _start(self, at: int, target: int) -> int | None:
        """The key frame from which to decode frame ``target``; ``None``: decode on from frame ``at``."""
        course = self._course
        if target - at <= _POSITIONING:
            return None
        number = int(np.searchsorted(course.keys, target, "right")) - 1
        if number >= 0 and not (course.fresh[number] and course.indexed):
            number -= 1
        # Of what OpenCV decodes behind the key frame, the first frames do not come to light.
        while number >= 0 and target - course.keys[number] <= self._hidden:
            number -= 1
        if number < 0 or course.keys[number] <= at:
            return None
        start = int(course.keys[number])
        if self._cost + target - start - self._hidden < _GAIN * (target - at):
            return start
        # One slow leap must not be the last one.
        self._cost = _POSITIONING + 0.9 * (self._cost - _POSITIONING)
        return None

    @property
    def _hidden(self) -> int:
        """Frames behind the key frame that is meant at which to ask for one.

        Without an index, seeks land anywhere: a frame before the key frame has to come to light.
        """
        return _BEHIND + 1 if self._course.indexed else 0

    def _positioned(self, capture: Capture, start: int, target: int) -> bool:
        """Let ``capture`` decode from key frame ``start`` on and hold a frame up to ``target``, if it can."""
        import cv2

        began, course = self._cpu(), self._course
        asked = float(course.times[start]) + self._hidden / self._fps
        latest = target if course.indexed else start
        reached = False
        # Where the rate varies, OpenCV lands elsewhere than it was asked to.
        for earlier in _EARLIER:
            seconds = asked - earlier / self._fps
            if seconds <= 0:
                break
            capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * seconds)
            shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if capture.grab() else math.nan
            index = course.index(shown) if math.isfinite(shown) else None
            if reached := index is not None and index <= latest:
                break
        if self._frames >= _BEHIND and self._seconds > 0:
            cost = (self._cpu() - began) / (self._seconds / self._frames)
            self._cost += (min(cost, _MOST_COST) - self._cost) / 3
        return reached
