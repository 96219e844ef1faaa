"""Raw frames without any container, as ffmpeg -f rawvideo and rpicam-vid --codec yuv420 write them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..kernels.planes import split_planes
from .base import CAMERA_FPS, Frame, Source
from .mjpeg import Readable, read_up_to
from .opencv_capture import as_uint8

PIXEL_FORMATS = ("bgr24", "rgb24", "gray", "yuv420p", "nv12")
"""By ffmpeg's names."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawFormat:
    """The layout of raw frames. Raises ``ValueError`` for one that is unknown or impossible."""

    pixels: str
    """One of :data:`PIXEL_FORMATS`."""
    width: int
    height: int
    fps: float = CAMERA_FPS

    def __post_init__(self) -> None:
        if self.pixels not in PIXEL_FORMATS:
            raise ValueError(f"raw format {self.pixels!r}; want one of {', '.join(PIXEL_FORMATS)}")
        if self.width < 1 or self.height < 1 or not self.fps > 0:
            raise ValueError(
                f"raw frames of {self.width}x{self.height} at {self.fps:g} a second; want 1x1 "
                "or more, and more than 0 a second"
            )
        if self.planar and (self.width % 2 or self.height % 2):
            raise ValueError(
                f"{self.pixels} frames of {self.width}x{self.height}; want even width and height"
            )

    @property
    def planar(self) -> bool:
        """Whether brightness comes before colour, which has a quarter of its pixels."""
        return self.pixels in ("yuv420p", "nv12")

    @property
    def frame_bytes(self) -> int:
        """The length of a frame."""
        count = self.width * self.height
        return count * 3 // 2 if self.planar else count if self.pixels == "gray" else 3 * count


def raw_format(text: str) -> RawFormat:
    """Parse for example ``bgr24:640x480@25``; without a rate, 30 a second. Raises ``ValueError``."""
    match = re.fullmatch(r"(\w+):(\d{1,6})x(\d{1,6})(?:@(\d+(?:\.\d+)?))?", text)
    if match is None:
        raise ValueError(f"raw format {text!r}; want FORMAT:WIDTHxHEIGHT@FPS as in bgr24:640x480@25")
    pixels, width, height, fps = match.groups()
    return RawFormat(pixels, int(width), int(height), float(fps) if fps else CAMERA_FPS)


class RawSource(Source):
    """Raw frames from an open binary stream, which is closed with it.

    Images of planar formats are grey, with their colour beside them, unless ``colour`` is asked for.
    """

    blocking = True
    choosy = True

    def __init__(self, stream: Readable, name: str, layout: RawFormat, colour: bool = False) -> None:
        self.name = name
        self.fps = layout.fps
        self._stream = stream
        self._layout = layout
        self._colour = colour

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            content = read_up_to(self._stream, self._layout.frame_bytes)
            if len(content) < self._layout.frame_bytes:
                break
            timestamp = index / self._layout.fps
            if self.wants(timestamp):
                yield self._frame(np.frombuffer(content, np.uint8), timestamp)
            index += 1
        if content:
            self.missing = 1
            _log.warning(
                "%s: the last frame has %d of %d bytes; is the format right?",
                self.name,
                len(content),
                self._layout.frame_bytes,
            )
        if not index:
            raise SourceError(f"{self.name}: ends before one whole frame ({self._layout.frame_bytes} bytes)")

    def close(self) -> None:
        self._stream.close()

    def _frame(self, values: NDArray[np.uint8], timestamp: float) -> Frame:
        layout = self._layout
        if not layout.planar:
            return Frame(self._picture(values), timestamp, self.name)
        planes = values.reshape(-1, layout.width)
        if not self._colour:
            grey, chroma = split_planes(planes, "nv12" if layout.pixels == "nv12" else "yuv420")
            return Frame(grey, timestamp, self.name, chroma=chroma)
        import cv2

        code = cv2.COLOR_YUV2BGR_I420 if layout.pixels == "yuv420p" else cv2.COLOR_YUV2BGR_NV12
        return Frame(as_uint8(cv2.cvtColor(planes, code)), timestamp, self.name)

    def _picture(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A frame that is not planar."""
        height, width = self._layout.height, self._layout.width
        if self._layout.pixels == "gray":
            return values.reshape(height, width)
        if self._layout.pixels == "bgr24":
            return values.reshape(height, width, 3)
        import cv2

        return as_uint8(cv2.cvtColor(values.reshape(height, width, 3), cv2.COLOR_RGB2BGR))
