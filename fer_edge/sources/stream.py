"""Network streams: RTSP, and films, MJPEG and snapshots over HTTP."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from ..errors import SourceError, SourceLostError
from .animation import AnimationSource, frame_count
from .base import Frame, Source
from .decode import check_pixels
from .film import film
from .headers import picture_kind, picture_size
from .http import Answer, Download, Errors, ask
from .images import content_limit
from .jpeg import read_to_tell
from .mjpeg import MjpegSource, pictures
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
    with contextlib.ExitStack() as closing:
        closing.callback(answer.close)
        if answer.is_mjpeg:
            closing.pop_all()
            return MjpegStream(answer, name, options.max_pixels)
        if answer.is_picture:
            content, film = _read_picture(answer, name, options.max_pixels)
            if film:
                closing.pop_all()
                download = Download(answer, name, len(content))
                return MjpegSource(pictures(download, content), name, options.max_pixels, download)
            if frame_count(content) > 1:
                return AnimationSource(name, content, options.max_pixels)
            return SnapshotSource(url, name, content, options.poll, READ_TIMEOUT, options.max_pixels)
    return StreamSource(url, has_end=answer.has_end)


def _read_picture(answer: Answer, name: str, max_pixels: int) -> tuple[bytes, bool]:
    """The content of an ``answer``, or its beginning where it is raw MJPEG, and whether it is."""
    limit = content_limit(max_pixels)
    kind = picture_kind(answer.head)
    content, film = answer.head, False
    read = answer.picture_reader()
    try:
        if kind == "jpeg" and answer.has_end:
            content, film = read_to_tell(content, read, limit)
        if not film:
            content += read(max(0, limit - len(content)))
            # A camera's next picture would be as large, and be waited for in vain.
            check_pixels(picture_size(kind, content) if kind else None, name, max_pixels)
    except Errors as error:
        raise SourceError(f"{name}: the stream cannot be opened: {error}") from error
    return content, film


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
