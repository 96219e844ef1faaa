"""Pipes: standard input, FIFOs and process substitution, with films, pictures or raw frames in them."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError
from .animation import AnimationSource, frame_count
from .base import Frame, Source
from .film import film
from .headers import HEAD_BYTES, jpeg_picture, picture_kind
from .images import content_limit, images_in
from .mjpeg import CHUNK, MjpegSource, pictures, read_up_to
from .opencv_capture import open_capture, positive_or_none
from .options import SourceOptions
from .raw import RawSource

STANDARD_INPUT = "/dev/stdin"


def is_pipe(path: Path) -> bool:
    """Whether ``path`` is a pipe or socket, which can be read once only."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def open_pipe(path: Path, options: SourceOptions) -> Source:
    """Open what comes through a pipe: a film, one picture, or raw frames.

    Waits for the first bytes. Every frame is read; whoever writes waits meanwhile. Raises
    :class:`~fer_edge.errors.SourceError` where nothing comes, and for what is neither.
    """
    stream, name = _open(path), str(path)
    if options.raw is not None:
        return RawSource(stream, name, options.raw, options.colour)
    with contextlib.ExitStack() as failing:
        failing.callback(stream.close)
        head = read_up_to(stream, HEAD_BYTES)
        if not head:
            raise SourceError(f"{name}: nothing came through this pipe")
        kind = picture_kind(head)
        source: Source
        if kind is None:
            source = FilmPipe(stream, name, head)
        elif kind == "jpeg":
            source = _open_jpegs(stream, name, head, options)
        else:
            with stream:
                content = head + read_up_to(stream, content_limit(options.max_pixels))
            if frame_count(content) > 1:
                source = AnimationSource(path, content, options.max_pixels)
            else:
                source = PictureInMemory(content, name, options.max_pixels)
        failing.pop_all()
        return source


def _open_jpegs(stream: io.FileIO, name: str, head: bytes, options: SourceOptions) -> Source:
    """A film where more than one picture comes, unless the first says that it is one of several views."""
    parts = pictures(stream, head)
    first = list(itertools.islice(parts, 2))
    if len(first) == 2 and not jpeg_picture(first[0], 0).indexed:
        return MjpegSource(itertools.chain(first, parts), name, options.max_pixels, stream)
    stream.close()
    return PictureInMemory(b"".join(first), name, options.max_pixels)


def _open(path: Path) -> io.FileIO:
    """Open for reading what may be one of our own descriptors, which is duplicated, not opened again."""
    own = re.fullmatch(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)|/dev/stdin", str(path))
    try:
        if own:
            return io.FileIO(os.dup(int(own.group(1) or own.group(2) or 0)), "rb")
        return io.FileIO(path, "rb")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error


class PictureInMemory(Source):
    """A picture that was read already; of several pages each."""

    related = False

    def __init__(self, content: bytes, name: str, max_pixels: int) -> None:
        self.name = name
        self._content = content
        self._max_pixels = max_pixels

    def __iter__(self) -> Iterator[Frame]:
        for name, image in images_in(self._content, self.name, self._max_pixels):
            yield Frame(image, 0.0, name)


class FilmPipe(Source):
    """A film that comes through the open pipe ``stream``, of which ``head`` was read already.

    FFmpeg reads from another pipe, into which a thread pours ``head`` and what follows.
    """

    blocking = True
    choosy = True

    def __init__(self, stream: io.FileIO, name: str, head: bytes) -> None:
        self.name = name
        self._stream = stream
        self._reading, writing = os.pipe()
        threading.Thread(target=self._pour, args=(head, writing), name="pipe", daemon=True).start()
        self._capture = open_capture(f"pipe:{self._reading}")
        if not self._capture.opened:
            self.close()
            raise SourceError(
                f"{name}: neither an image nor a video that OpenCV can read; raw frames need --raw"
            )
        self.fps = positive_or_none(self._capture.fps)

    def __iter__(self) -> Iterator[Frame]:
        yield from film(self._capture, self)

    def close(self) -> None:
        self._capture.release()
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1

    def _pour(self, part: bytes, writing: int) -> None:
        # Errors: of a reader that has gone, and of a pipe that breaks, after which the film ends as well.
        with contextlib.suppress(OSError), open(writing, "wb", buffering=0) as target, self._stream:
            while part:
                rest = memoryview(part)
                while rest:
                    rest = rest[target.write(rest) :]
                part = self._stream.read(CHUNK)
