"""A stretch of a film by itself, with the frames that reading the whole film gives, pixel by pixel.

OpenCV seeks by time, and lands at a key frame at or before it, or a little behind. Decoding begins at a key
frame before the stretch and goes on until it begins: after one whole group of pictures a decoder no longer
depends on what came before, also where frames refer across a key frame (open groups). The frames of a stretch
are known by their times, which therefore must grow.

Nobody has to believe this: the first frames of a stretch and those that follow on it get checksums, so that
whoever reads the stretches of a film can compare them where they meet.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .base import Frame, Source
from .course import NEAR, Course, Leaps
from .opencv_capture import FAILED_READS_ALLOWED, Capture

COMPARED = 8
"""Frames at a border that get checksums."""

_EARLIER = (0.0, 1.0, 5.0, 20.0, 60.0)
"""Seconds before a key frame that are tried, one after the other, until a seek does not land behind it."""


class UnclearTimesError(SourceError):
    """The times of a film's frames do not grow, so that no stretch of it can be told from the rest."""


@dataclass(frozen=True)
class Span:
    """Which stretch of a film, in seconds as its container tells them."""

    begin: float = -math.inf
    """Of the first frame."""
    end: float = math.inf
    """Of the first frame that follows."""
    seek: float | None = None
    """Where decoding may begin: a key frame; ``None``: at the begin of the film."""


@dataclass
class Stretch:
    """What was read of a stretch so far."""

    shown: list[float] = field(default_factory=list)
    """The time of each of its frames, wanted or not, in seconds."""
    failed: int = 0
    """Failed reads between its frames."""
    first: list[int] = field(default_factory=list)
    """CRC-32 of its first :data:`COMPARED` frames."""
    behind: list[int] = field(default_factory=list)
    """CRC-32 of the first frames behind it."""
    decoded: int = 0
    """Frames that were decoded for it."""
    leaps: int = 0
    """How often frames were leapt over."""


def stretch(
    reopen: Callable[[], Capture], source: Source, span: Span, told: Stretch, course: Course | None = None
) -> Iterator[Frame]:
    """Yield the frames of ``span`` that ``source`` wants; ``told`` is filled meanwhile.

    ``reopen`` gives a capture at the film's begin, and releases the one before. ``course``: of the span, from
    its seek on and with the first frame behind it; with it, frames that are not wanted are leapt over where
    that costs less, if the source foresees them. Raises :class:`UnclearTimesError` where times do not grow.
    """
    import cv2

    def begun() -> tuple[Capture, bool]:
        capture = reopen()
        if span.seek is None or _sought(capture, span.seek):
            return capture, span.seek is not None
        return reopen(), False

    capture, grabbed = begun()
    leaps = None
    if course is not None and source.foresees is not None:
        leaps = Leaps(course, _needed(course, span, source.foresees), capture.fps, begun, begin=span.begin)
    failed, last, begin = 0, -math.inf, span.begin
    while failed <= FAILED_READS_ALLOWED:
        if leaps and not failed and len(told.first) >= COMPARED and (leap := leaps.leap(capture)):
            capture, grabbed, last, begin = leap.capture, leap.grabbed, -math.inf, leap.until
            told.leaps += 1
            for shown in map(float, leap.passed):
                source.wants(shown)
                told.shown.append(shown)
        if not grabbed and not (leaps.grab(capture) if leaps else capture.grab()):
            failed += 1
            continue
        grabbed = False
        told.decoded += 1
        shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if not (math.isfinite(shown) and shown > last):
            raise UnclearTimesError(f"{source.name}: the times of its frames do not grow at {last:.3f} s")
        last = shown
        if shown < begin - NEAR:
            failed = 0
            continue
        if leaps:
            leaps.saw(shown)
        if shown >= span.end - NEAR:
            image = capture.retrieve()
            if image is not None:
                told.behind.append(zlib.crc32(np.ascontiguousarray(image).data))
            if len(told.behind) >= COMPARED:
                return
            leaps = None
            continue
        compared = len(told.first) < COMPARED
        wanted = source.wants(shown)
        image = capture.retrieve() if wanted or compared else None
        if image is None and (wanted or compared):
            failed += 1
            continue
        told.failed += failed
        failed = 0
        told.shown.append(shown)
        if image is not None:
            if compared:
                told.first.append(zlib.crc32(np.ascontiguousarray(image).data))
            if wanted:
                yield Frame(image, shown, source.name)


def _needed(
    course: Course, span: Span, foresees: Callable[[Sequence[float]], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Which frames of ``course`` have to be decoded: those that are wanted, and the first behind ``span``.

    Where none is behind it, the film's last one, so that the end of a film that was cut off is noticed.
    """
    inside = (course.times >= span.begin - NEAR) & (course.times < span.end - NEAR)
    needed = course.times >= span.end - NEAR
    needed[inside] = foresees(course.times[inside].tolist())
    needed[-1:] = True
    return needed


def _sought(capture: Capture, seconds: float) -> bool:
    """Let ``capture`` go to a key frame at ``seconds`` or before, and grab it; False where it cannot."""
    import cv2

    # Where the rate varies, OpenCV lands elsewhere than it was asked to.
    for earlier in _EARLIER:
        if seconds - earlier <= 0:
            return False
        capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * (seconds - earlier))
        if capture.grab() and capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 <= seconds + NEAR:
            return True
    return False
