"""A camera without hardware: a window that wanders over a photograph."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator

import numpy as np

from ..errors import MissingExtraError
from .base import CAMERA_FPS, CAMERA_SIZE, Frame, Source
from .opencv_capture import as_uint8


def require_photo() -> None:
    """Raise :class:`~fer_edge.errors.MissingExtraError` where the photo is missing."""
    try:
        from skimage import data  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("The demo camera", "scikit-image", "demo") from error


class DemoSource(Source):
    """A camera without hardware: a window that wanders and zooms over a photo of an astronaut.

    Frame k is the same on every run. ``paced`` frames come at 30 a second and are live, as from a
    camera; otherwise every frame is given, as fast as it is taken. Needs scikit-image, whose
    package contains the photo (NASA, public domain).
    """

    name = "demo camera"
    choosy = True
    fps = CAMERA_FPS

    def __init__(self, size: tuple[int, int] = CAMERA_SIZE, paced: bool = True) -> None:
        require_photo()
        from skimage import data

        self._photo = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
        self._size = size
        self.live = paced

    def __iter__(self) -> Iterator[Frame]:
        for index in self._paced() if self.live else itertools.count():
            if self.wants(index / CAMERA_FPS):
                yield self._frame(index)

    @staticmethod
    def _paced() -> Iterator[int]:
        started = time.monotonic()
        index = 0
        while True:
            ahead = index / CAMERA_FPS - (time.monotonic() - started)
            if ahead > 0:
                time.sleep(ahead)
            yield index
            index = max(index + 1, int((time.monotonic() - started) * CAMERA_FPS))

    def _frame(self, index: int) -> Frame:
        import cv2

        seconds = index / CAMERA_FPS
        width, height = self._size
        # Pixels of the frame per pixel of the photo; the periods have no common multiple below a minute.
        zoom = width / 640 * (2.3 + 0.3 * math.sin(seconds / 1.7))
        centre_x = 223 + 35 * math.sin(seconds / 1.3)
        centre_y = 136 + 14 * math.sin(seconds / 0.9)
        window = np.array(
            [[zoom, 0, width / 2 - zoom * centre_x], [0, zoom, height / 2 - zoom * centre_y]], np.float32
        )
        image = cv2.warpAffine(
            self._photo, window, self._size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return Frame(as_uint8(image), seconds, self.name)
