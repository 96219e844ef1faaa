"""Cameras that give one picture at a time: a URL that is read again and again, and MJPEG over HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from ..errors import SourceError, SourceLostError
from .base import Frame, Source
from .decode import decode
from .http import Answer, Errors, fetch
from .images import content_limit, images_in
from .mjpeg import pictures
from .opencv_capture import FAILED_READS_ALLOWED

_log = logging.getLogger(__name__)


class SnapshotSource(Source):
    """The URL of a picture, read again every ``poll`` seconds; with 0, once.

    ``content``: the picture as it was read first. Several failures in a row end it with
    :class:`~fer_edge.errors.SourceLostError`.
    """

    def __init__(
        self, url: str, name: str, content: bytes, poll: float, timeout: float, max_pixels: int
    ) -> None:
        self.name = name
        self.live = self.related = poll > 0
        self.fps = 1 / poll if poll > 0 else None
        self.pause = poll
        self._url = url
        self._content = content
        self._timeout = timeout
        self._max_pixels = max_pixels
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        if not self.live:
            for name, image in images_in(self._content, self.name, self._max_pixels):
                yield Frame(image, 0.0, name)
            return
        started = time.monotonic()
        content: bytes | None = self._content
        failed = 0
        while failed <= FAILED_READS_ALLOWED:
            began = time.monotonic()
            try:
                if content is None:
                    limit = content_limit(self._max_pixels)
                    content = fetch(self._url, self._timeout, limit, self._closed.is_set)
                image = decode(content, self.name, self._max_pixels)
            except (SourceError, *Errors) as error:
                failed += 1
                _log.debug("%s: %s", self.name, error)
            else:
                failed = 0
                yield Frame(image, began - started, self.name)
            content = None
            if self._closed.wait(max(0.0, began + self.pause - time.monotonic())):
                return
        raise SourceLostError(f"{self.name}: {failed} times in a row no picture; the stream stopped")

    def close(self) -> None:
        self._closed.set()


class MjpegStream(Source):
    """MJPEG over HTTP, from an open answer; empty and damaged pictures are passed over.

    Several in a row, an end, or silence end it with :class:`~fer_edge.errors.SourceLostError`.
    """

    live = True
    choosy = True

    def __init__(self, answer: Answer, name: str, max_pixels: int) -> None:
        self.name = name
        self._answer = answer
        self._max_pixels = max_pixels

    def __iter__(self) -> Iterator[Frame]:
        started = time.monotonic()
        failed = 0
        try:
            for part in pictures(self._answer, self._answer.head):
                timestamp = time.monotonic() - started
                if not self.wants(timestamp):
                    continue
                try:
                    # Half a picture is no frame: the next one follows at once.
                    image = decode(part, self.name, self._max_pixels) if part.endswith(b"\xff\xd9") else None
                except SourceError as error:
                    _log.debug("%s", error)
                    image = None
                failed = 0 if image is not None else failed + 1
                if image is not None:
                    yield Frame(image, timestamp, self.name)
                elif failed > FAILED_READS_ALLOWED:
                    break
        except Errors as error:
            raise SourceLostError(f"{self.name}: the stream stopped ({error})") from error
        raise SourceLostError(f"{self.name}: the stream stopped")

    def close(self) -> None:
        self._answer.close()
