"""Network streams: RTSP, and MJPEG and the like over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..errors import SourceError, SourceLostError
from .base import Frame, Source
from .capture import Capture, positive_or_none
from .film import film
from .urls import without_secrets

OPEN_TIMEOUT = 10.0

READ_TIMEOUT = 10.0


class StreamSource(Source):
    """A network stream (RTSP, or MJPEG and the like over HTTP); passwords are left out of its name.

    A URL whose content has an end, such as a video file on a web server, is not live.
    """

    def __init__(
        self, url: str, open_timeout: float = OPEN_TIMEOUT, read_timeout: float = READ_TIMEOUT
    ) -> None:
        import cv2

        self.name = without_secrets(url)
        started = time.monotonic()
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            int(open_timeout * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            int(read_timeout * 1000),
        ]
        self._capture = Capture(cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts))
        if not self._capture.opened:
            waited = time.monotonic() - started
            reason = (
                f"no answer within {open_timeout:g} s"
                if waited >= open_timeout
                else "refused, not found, or not a video"
            )
            raise SourceError(f"{self.name}: the stream cannot be opened: {reason}")
        self.live = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0
        self.fps = positive_or_none(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame]:
        if not self.live:
            yield from film(self._capture, self)
            return
        started = time.monotonic()
        while True:
            image = self._capture.read()
            if image is None:
                raise SourceLostError(f"{self.name}: the stream stopped")
            yield Frame(image, time.monotonic() - started, self.name)

    def close(self) -> None:
        self._capture.release()
