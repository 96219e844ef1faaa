"""Raw MJPEG: JPEG pictures one behind the other, as rpicam-vid and many cameras write them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from ..errors import SourceError
from .base import CAMERA_FPS, Frame, Source
from .decode import decode
from .headers import jpeg_picture

CHUNK = 1 << 16
"""Bytes that are read at once."""

LONGEST_PICTURE = 64 << 20
"""Bytes after which a JPEG without an end is given up."""

_log = logging.getLogger(__name__)


class Readable(Protocol):
    """Where bytes come from: a file, a pipe, the answer to an HTTP request."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def read_up_to(stream: Readable, count: int, check: Callable[[], None] = lambda: None) -> bytes:
    """Return the next ``count`` bytes of ``stream``, waiting for them; fewer at its end.

    ``check`` is called after each read, and gives up by what it raises.
    """
    parts = []
    # Not all at once: a read reserves memory for all it asks for.
    while count and (part := stream.read(min(CHUNK, count))):
        check()
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def pictures(stream: Readable, first: bytes = b"") -> Iterator[bytes]:
    """Yield the JPEG pictures of ``stream``, which goes on from the bytes ``first``.

    What lies between them is passed over. A last one without its end is yielded as far as it goes.
    """
    buffer = bytearray(first)
    ended = False
    searched = 0
    while True:
        start = buffer.find(b"\xff\xd8\xff")
        if start < 0:
            del buffer[:-2]
        else:
            del buffer[:start]
            # Walking again over a picture that grows chunk by chunk would take the square of its length.
            if ended or b"\xff\xd9" in buffer[max(0, searched - 1) :]:
                end = jpeg_picture(bytes(buffer), 0).end
                if end is not None:
                    yield bytes(buffer[:end])
                    del buffer[:end]
                    searched = 0
                    continue
            searched = len(buffer)
            if ended or len(buffer) > LONGEST_PICTURE:
                yield bytes(buffer)
                buffer.clear()
                searched = 0
        if ended:
            return
        chunk = stream.read(CHUNK)
        ended = not chunk
        buffer += chunk


class MjpegSource(Source):
    """A raw MJPEG film of the JPEG pictures ``parts``; ``stream`` is closed with it.

    Its pictures have no times: 30 a second are assumed.
    """

    blocking = True
    choosy = True
    fps = CAMERA_FPS

    def __init__(self, parts: Iterator[bytes], name: str, max_pixels: int, stream: Readable) -> None:
        self.name = name
        self._parts = parts
        self._max_pixels = max_pixels
        self._stream = stream

    def __iter__(self) -> Iterator[Frame]:
        _log.warning("%s: raw MJPEG has no times; %g frames a second are assumed", self.name, CAMERA_FPS)
        given = 0
        for index, picture in enumerate(self._parts):
            if not self.wants(index / CAMERA_FPS):
                continue
            try:
                image = decode(picture, f"{self.name}: frame {index}", self._max_pixels)
            except SourceError as error:
                self.missing += 1
                _log.debug("%s", error)
                continue
            given += 1
            yield Frame(image, index / CAMERA_FPS, self.name)
        if not given:
            raise SourceError(f"{self.name}: no picture or frame in it can be decoded")
        if self.missing:
            _log.warning("%s: %d damaged frames are left out", self.name, self.missing)

    def close(self) -> None:
        self._stream.close()
