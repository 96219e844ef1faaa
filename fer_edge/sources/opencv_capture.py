"""OpenCV's captures: guarded against threads, with the times of their frames."""

from __future__ import annotations

import math
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .base import Frame, Source
from .urls import without_secrets

if TYPE_CHECKING:
    import cv2

FAILED_READS_ALLOWED = 25
"""Failed reads in a row after which a camera, stream or film is at its end; fewer are damaged frames."""

LIVE_PATIENCE = 3.0
"""Seconds of nothing but failed reads after which a camera or stream has stopped."""

Result = TypeVar("Result")


class Capture:
    """An OpenCV capture that one thread can release while another waits in a read."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._lock = threading.Lock()

    @property
    def opened(self) -> bool:
        return self._capture.isOpened()

    @property
    def fps(self) -> float:
        import cv2

        return self.get(cv2.CAP_PROP_FPS)

    def get(self, key: int) -> float:
        return self._capture.get(key)

    def set(self, key: int, value: float) -> bool:
        return self._capture.set(key, value)

    def grab(self) -> bool:
        """Go on to the next frame, or packet, which takes less time than to decode it as well."""
        with self._lock:
            return self._capture.grab()

    def retrieve(self) -> NDArray[np.uint8] | None:
        """Decode the frame that was grabbed; ``None`` for one that cannot be decoded."""
        import cv2

        try:
            with self._lock:
                ok, image = self._capture.retrieve()
        except cv2.error as error:
            # OpenCV refuses a picture of a camera that claims an impossible size.
            if error.code == cv2.Error.StsNoMem:
                raise
            return None
        return as_uint8(image) if ok else None

    def release(self) -> None:
        # A read that hangs in a driver never gives the lock back; the process's end frees the device.
        if self._lock.acquire(timeout=1):
            self._capture.release()
            self._lock.release()


def open_capture(name: str, parameters: Sequence[int] = ()) -> Capture:
    """Open a file, pipe or URL with FFmpeg; Ctrl-C ends the wait for it."""
    import cv2

    return patiently(lambda: Capture(cv2.VideoCapture(name, cv2.CAP_FFMPEG, list(parameters))))


def patiently(work: Callable[[], Result]) -> Result:
    """Return what ``work`` returns, or raise what it raises; a thread does it, so that signals are heard.

    Python runs the handlers of signals in the main thread only, and there not within other libraries.
    """
    answers: queue.Queue[tuple[Result | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, name="opening", daemon=True).start()
    result, error = answers.get()
    if error is not None:
        raise error
    return cast("Result", result)


def live_frames(
    capture: Capture, source: Source, gone: Callable[[], bool] = lambda: False
) -> Iterator[Frame]:
    """Yield the frames that the camera or stream ``source`` wants, until reads fail or it is ``gone``.

    Reads that fail after a long wait are fewer: what gave nothing for so long has stopped.
    """
    started = time.monotonic()
    failed, last = 0, started
    while failed <= FAILED_READS_ALLOWED:
        grabbed = capture.grab()
        now = time.monotonic()
        wanted = grabbed and source.wants(now - started)
        image = capture.retrieve() if wanted else None
        if image is not None or (grabbed and not wanted):
            failed, last = 0, now
            if image is not None:
                yield Frame(image, now - started, source.name)
        elif gone() or (failed and now - last > LIVE_PATIENCE):
            return
        else:
            failed += 1
            time.sleep(0.05)


def check_readable(path: Path) -> None:
    """Raise :class:`~fer_edge.errors.SourceError` for what is missing, forbidden, or a device.

    Pipes are not opened, since their writer would take that for a reader.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb"):
                pass
    except OSError as error:
        # A URL whose slashes were mistyped is a path.
        name = str(path)
        named = name in ("demo", "picamera2") or name.isdecimal()
        meant = f"; the camera is --camera {name}" if named else ""
        raise SourceError(f"{without_secrets(name)}: {error.strerror}{meant}") from error
    if stat.S_ISDIR(mode):
        raise SourceError(f"{path}: is a folder")
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise SourceError(f"{path}: is a device, not a file")


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def positive_or_none(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """OpenCV's type stubs allow any dtype; what it decodes here is uint8."""
    pixels: NDArray[np.uint8] = image
    return pixels
