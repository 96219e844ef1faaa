"""OpenCV's captures: guarded against threads, with the times of their frames."""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError

if TYPE_CHECKING:
    import cv2
from .base import CAMERA_FPS, Frame
from .urls import without_secrets

_log = logging.getLogger(__name__)


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


def film(capture: Capture, name: str, fps: float | None) -> Iterator[Frame]:
    import cv2

    told = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    seconds = -1.0
    for index in itertools.count():
        image = capture.read()
        if image is None:
            if index == 0:
                raise SourceError(f"{name}: the video has no frame that can be decoded")
            # Some containers count one frame more than they hold.
            if told > index + 1:
                _log.warning("%s: ends after %d of %d frames; damaged?", name, index, told)
            return
        # Telephones film at a varying rate. A container that does not tell gives 0 each time.
        shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        last, seconds = seconds, index / (fps or CAMERA_FPS)
        if math.isfinite(shown) and shown >= 0 and shown > last:
            seconds = shown
        elif seconds <= last:
            seconds = last + 1 / (fps or CAMERA_FPS)
        yield Frame(image, seconds, name)


def check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        # A URL whose slashes were mistyped is a path.
        raise SourceError(f"{without_secrets(str(path))}: {error.strerror}") from error


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
