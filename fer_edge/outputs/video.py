"""Annotated video files."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, OutputError
from ..files import atomic_path, check_target
from ..pipeline.result import FrameResult
from .draw import annotated

if TYPE_CHECKING:
    import cv2

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
"""Codec by suffix; these encoders are in every OpenCV wheel and need no hardware."""

LIVE_FPS = 15.0

_LOOK_EVERY = 1.0
"""Seconds between looks at the disk: OpenCV does not tell of writes that failed."""
_RESERVE = 16_000_000
_INDEX_ENTRY = 32
"""Bytes that have to be free for the last frames, and for a frame's entry in the index at the end."""


class VideoOutput:
    """Writes the annotated frames as a video that appears under its name when it is complete.

    ``fps``: of a recorded source, every frame of which is written once; ``None`` for a live one,
    whose frames are dropped or repeated so that the video keeps real time at 15 a second. Frames of
    another size than the first are scaled to it. Raises :class:`~fer_edge.errors.DataError` for a
    suffix without codec or a folder that cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float | None = None) -> None:
        self._path = Path(path)
        self._codec = CODECS.get(self._path.suffix.lower(), "")
        if not self._codec:
            raise DataError(f"{path}: the name of a video must end in {', '.join(CODECS)}")
        check_target(self._path)
        self._fps = LIVE_FPS if fps is None else fps
        self._keeps_time = fps is None
        self._files = contextlib.ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._temporary = self._path
        self._size = (0, 0)
        self._written = 0
        self._first_timestamp = 0.0
        self._looked = -_LOOK_EVERY

    def write(self, result: FrameResult) -> None:
        """Encode one frame.

        Raises :class:`~fer_edge.errors.OutputError` where OpenCV lacks the codec, and where the disk is
        nearly full, as long as :meth:`close` can still finish what was written.
        """
        import cv2

        if self._writer is None:
            height, width = annotated(result).shape[:2]
            self._size = (width, height)
            self._first_timestamp = result.timestamp
            self._writer = self._open()
        due = 1
        if self._keeps_time:
            due = int((result.timestamp - self._first_timestamp) * self._fps) + 1 - self._written
        if due < 1:
            return
        picture = annotated(result)
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA).astype(picture.dtype)
        for _ in range(due):
            self._writer.write(picture)
        self._written += due
        self._refuse_full_disk()

    def close(self) -> None:
        """Finish the file and give it its name; without any frame there is no file.

        Raises :class:`~fer_edge.errors.OutputError` where the file did not become whole, as on a full
        disk, and leaves none.
        """
        if self._writer is None:
            return
        self._writer.release()
        with self._files:
            self._check()

    def _open(self) -> cv2.VideoWriter:
        import cv2

        with contextlib.ExitStack() as files:
            temporary = files.enter_context(atomic_path(self._path))
            writer = cv2.VideoWriter(
                str(temporary), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*self._codec), self._fps, self._size
            )
            if not writer.isOpened():
                raise OutputError(
                    f"{self._path}: this OpenCV cannot encode {self._codec} at "
                    f"{self._size[0]}x{self._size[1]}; try another suffix of {', '.join(CODECS)}"
                )
            self._temporary = temporary
            self._files = files.pop_all()
        return writer

    def _refuse_full_disk(self) -> None:
        now = time.monotonic()
        if now < self._looked + _LOOK_EVERY:
            return
        self._looked = now
        free = shutil.disk_usage(self._temporary.parent).free
        if free < _RESERVE + _INDEX_ENTRY * self._written:
            raise OutputError(f"{self._path}: ends here, because the disk has but {free / 1e6:.0f} MB left")

    def _check(self) -> None:
        """OpenCV does not tell of writes that failed, so count what can be read back."""
        import cv2

        film = cv2.VideoCapture(str(self._temporary), cv2.CAP_FFMPEG)
        complete = film.get(cv2.CAP_PROP_FRAME_COUNT) >= self._written
        if complete:
            film.set(cv2.CAP_PROP_POS_FRAMES, self._written - 1)
            complete = film.grab()
        film.release()
        if not complete:
            raise OutputError(f"{self._path}: could not be written whole; is the disk full?")
