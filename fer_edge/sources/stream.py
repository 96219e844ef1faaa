"""Network streams: RTSP, and films, MJPEG and snapshots over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..errors import SourceError, SourceLostError
from .base import Frame, Source
from .decode import check_pixels
from .film import film
from .headers import HEAD_BYTES, picture_kind, picture_size
from .http import Errors, ask
from .images import content_limit
from .opencv_capture import live_frames, open_capture, patiently, positive_or_none
from .options import SourceOptions
from .password import with_password
from .snapshot import MjpegStream, SnapshotSource
from .urls import without_secrets

OPEN_TIMEOUT = 10.0

READ_TIMEOUT = 10.0


def open_stream(url: str, options: SourceOptions) -> Source:
    """Open a URL as what its server says it is: a film, a live stream, or a picture that is polled.

    Raises :class:`~fer_edge.errors.SourceError` for a stream that does not answer or is none, and for a
    password that cannot be read, see :func:`~fer_edge.sources.password.with_password`.
    """
    if options.password_file is not None:
        url = with_password(url, options.password_file)
    if not url.lower().startswith(("http://", "https://")):
        return StreamSource(url)
    answer = patiently(lambda: ask(url, OPEN_TIMEOUT))
    if answer is None:
        return StreamSource(url)
    name = without_secrets(url)
    if answer.is_mjpeg:
        return MjpegStream(answer, name, options.max_pixels)
    try:
        if answer.is_picture:
            content = answer.read_picture(content_limit(options.max_pixels))
            # A camera's next picture would be as large, and be waited for in vain.
            kind = picture_kind(content[:HEAD_BYTES])
            check_pixels(picture_size(kind, content) if kind else None, name, options.max_pixels)
            return SnapshotSource(url, name, content, options.poll, READ_TIMEOUT, options.max_pixels)
    except Errors as error:
        raise SourceError(f"{name}: the stream cannot be opened: {error}") from error
    finally:
        answer.close()
    return StreamSource(url, has_end=answer.has_end)


class StreamSource(Source):
    """A network stream that FFmpeg reads; passwords are left out of its name.

    A URL whose content has an end, such as a video file on a web server, is not live: FFmpeg finds
    a number of frames, or ``has_end`` says so.
    """

    blocking = True
    choosy = True

    def __init__(
        self,
        url: str,
        open_timeout: float = OPEN_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        has_end: bool = False,
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
        self._capture = open_capture(url, timeouts)
        if not self._capture.opened:
            waited = time.monotonic() - started
            reason = (
                f"no answer within {open_timeout:g} s"
                if waited >= open_timeout
                else "refused, not found, or not a video"
            )
            raise SourceError(f"{self.name}: the stream cannot be opened: {reason}")
        self.live = not has_end and self._capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0
        self.fps = positive_or_none(self._capture.fps)

    def __iter__(self) -> Iterator[Frame]:
        if not self.live:
            yield from film(self._capture, self)
            return
        yield from live_frames(self._capture, self)
        raise SourceLostError(f"{self.name}: the stream stopped")

    def close(self) -> None:
        self._capture.release()
