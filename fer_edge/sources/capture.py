"""OpenCV's captures: guarded against threads, with the times of their frames."""

from __future__ import annotations

import math
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError

if TYPE_CHECKING:
    import cv2
from .urls import without_secrets


class Capture:
    """An OpenCV capture that one thread can release while another waits in a read."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._lock = threading.Lock()

    @property
    def opened(self) -> bool:
        return self._capture.isOpened()

    def get(self, key: int) -> float:
        return self._capture.get(key)

    def set(self, key: int, value: float) -> bool:
        return self._capture.set(key, value)

    def read(self) -> NDArray[np.uint8] | None:
        with self._lock:
            ok, image = self._capture.read()
        return as_uint8(image) if ok else None

    def release(self) -> None:
        # A read that hangs in a driver never gives the lock back; the process's end frees the device.
        if self._lock.acquire(timeout=1):
            self._capture.release()
            self._lock.release()


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
        raise SourceError(f"{without_secrets(str(path))}: {error.strerror}") from error
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
