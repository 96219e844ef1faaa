"""Video files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError
from .base import Frame, Source
from .film import film
from .opencv_capture import check_readable, is_utf8, open_capture, positive_or_none


class VideoSource(Source):
    """A video file, every frame in order."""

    choosy = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        check_readable(Path(path))
        if not is_utf8(self.name):
            # OpenCV would crash.
            raise SourceError(f"{path}: OpenCV opens videos with a UTF-8 name only; rename it")
        # FFmpeg takes what stands before a colon for a protocol, but not behind a slash.
        self._path = Path(path).absolute()
        self._capture = open_capture(str(self._path))
        if not self._capture.opened:
            raise SourceError(f"{self.name}: neither an image nor a video that OpenCV can read")
        self.fps = positive_or_none(self._capture.fps)

    def __iter__(self) -> Iterator[Frame]:
        yield from film(self._capture, self, self._path)

    def close(self) -> None:
        self._capture.release()
