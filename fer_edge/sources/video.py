"""Video files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError
from .base import Frame, Source
from .capture import Capture, check_readable, is_utf8, positive_or_none
from .film import film


class VideoSource(Source):
    """A video file, every frame in order."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import cv2

        self.name = os.fspath(path)
        check_readable(Path(path))
        if not is_utf8(self.name):
            # OpenCV would crash.
            raise SourceError(f"{path}: OpenCV opens videos with a UTF-8 name only; rename it")
        self._capture = Capture(cv2.VideoCapture(self.name, cv2.CAP_FFMPEG))
        if not self._capture.opened:
            raise SourceError(f"{self.name}: neither an image nor a video that OpenCV can read")
        self.fps = positive_or_none(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame]:
        yield from film(self._capture, self)

    def close(self) -> None:
        self._capture.release()
