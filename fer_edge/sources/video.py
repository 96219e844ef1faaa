"""Video files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import SourceError
from .base import Frame, Source
from .containers import is_broken
from .course import LEAST_GAP, Course, Leaps, survey, why_unclear
from .film import film
from .opencv_capture import Capture, check_readable, is_utf8, open_capture, positive_or_none
from .stretch import Span, Stretch, stretch

_SAMPLE = 1000
"""Frames of which is asked how many are wanted."""


class VideoSource(Source):
    """A video file, every frame in order, or those of a ``span`` of it.

    ``threads``: that decode; 0: as many as OpenCV takes. ``course``: of the span, see
    :func:`~fer_edge.sources.stretch.stretch`.
    """

    choosy = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        span: Span | None = None,
        threads: int = 0,
        course: Course | None = None,
    ) -> None:
        self.name = os.fspath(path)
        check_readable(Path(path))
        if not is_utf8(self.name):
            # OpenCV would crash.
            raise SourceError(f"{path}: OpenCV opens videos with a UTF-8 name only; rename it")
        # FFmpeg takes what stands before a colon for a protocol, but not behind a slash.
        self._path = Path(path).absolute()
        self._threads = threads
        self._capture = self._open()
        if not self._capture.opened:
            raise SourceError(f"{self.name}: neither an image nor a video that OpenCV can read")
        self.fps = positive_or_none(self._capture.fps)
        self._span, self._course = span, course
        self.stretch = Stretch()
        """Of a span what was read of it so far."""

    @property
    def declared(self) -> float:
        """Number of frames by the container's header, or anything where it has none."""
        import cv2

        return self._capture.get(cv2.CAP_PROP_FRAME_COUNT)

    def __iter__(self) -> Iterator[Frame]:
        if self._span is None:
            yield from film(self._capture, self, self._path, self._leaps())
        else:
            yield from stretch(self._reopened, self, self._span, self.stretch, self._course)

    def _leaps(self) -> Leaps | None:
        """Leaps over frames that nobody wants, where these are so many that reading the packets pays."""
        if self.foresees is None or self.fps is None:
            return None
        chosen = int(self.foresees([index / self.fps for index in range(_SAMPLE)]).sum())
        if chosen * LEAST_GAP > _SAMPLE:
            return None
        read = survey(self._path)
        if why_unclear(read.times, self.fps) or is_broken(self._path):
            return None
        course = read.course()
        needed = self.foresees(course.times.tolist())
        # So that the end of a film that was cut off is noticed.
        needed[-1] = True
        return Leaps(course, needed, self.fps, lambda: (self._reopened(), False))

    def close(self) -> None:
        self._capture.release()

    def _open(self) -> Capture:
        import cv2

        parameters: Sequence[int] = (cv2.CAP_PROP_N_THREADS, self._threads) if self._threads else ()
        return open_capture(str(self._path), parameters)

    def _reopened(self) -> Capture:
        self._capture.release()
        self._capture = self._open()
        return self._capture
