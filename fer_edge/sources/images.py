"""Image files and folders of them."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..defaults import MAX_PIXELS
from ..errors import LargePictureError, MissingExtraError, SourceError
from ..files import leads_to_folder
from .animation import frame_count, warn_of_more
from .base import Frame, Source
from .decode import check_pixels, decode
from .folder import left_out, read_folder
from .headers import HEAD_BYTES, picture_kind, tiff_at, tiff_pages
from .jpeg import followers, read_to_tell
from .opencv_capture import check_readable
from .urls import without_secrets

_log = logging.getLogger(__name__)


class ImageSource(Source):
    """An image, or the images of a folder in the order of their names, with sub-folders where ``recursive``.

    Images are known by what is in them. The files and sub-folders that are left out are counted and
    named in a warning. An unreadable image in a folder is logged as a warning, skipped, and counted in
    ``skipped``; if no image at all is readable, iterating ends with
    :class:`~fer_edge.errors.SourceError`. A TIFF of several pages gives each, and those that are unreadable
    are skipped as images are; one that is too large ends a file that is no folder's.
    """

    related = False

    def __init__(
        self, path: str | os.PathLike[str], recursive: bool = False, max_pixels: int = MAX_PIXELS
    ) -> None:
        given = Path(path)
        self.name = str(given)
        self._max_pixels = max_pixels
        self._in_folder = leads_to_folder(given)
        if not self._in_folder:
            self.paths = [given]
            return
        content = read_folder(given, recursive)
        self.paths = content.pictures
        others = left_out(content, recursive)
        if not self.paths:
            raise SourceError(f"{given}: no image in this folder" + (f" ({others})" if others else ""))
        if others:
            _log.warning("%s: %s", given, others)

    def __iter__(self) -> Iterator[Frame]:
        given = 0
        for path in self.paths:
            try:
                for name, image in read_images(path, self._max_pixels, self._skip_page):
                    yield Frame(image, 0.0, name)
                    given += 1
            except (SourceError, MissingExtraError) as error:
                if len(self.paths) == 1:
                    raise
                self._skip(error)
        if not given:
            raise SourceError(f"{self.name}: none of the {self.skipped} images can be read")

    def _skip_page(self, error: SourceError) -> None:
        # Whoever names a file can allow more pixels.
        if isinstance(error, LargePictureError) and not self._in_folder:
            raise error
        self._skip(error)

    def _skip(self, error: Exception) -> None:
        self.skipped += 1
        _log.warning("%s; skipped", error)


def read_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return an image file as uint8 (h, w, 3) in BGR order, turned upright by its EXIF orientation.

    Of several pages or frames the first. Raises :class:`~fer_edge.errors.SourceError` for a file that
    is missing, no image, or has more than ``max_pixels``.
    """
    return decode(read_content(path, max_pixels), str(path), max_pixels)


def read_images(
    path: str | os.PathLike[str],
    max_pixels: int = MAX_PIXELS,
    skip: Callable[[SourceError], None] | None = None,
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the name and pixels of each page of an image file, as :func:`read_image` gives them.

    Of a file that holds a film as well, or is one, the first picture, with a warning that says so. ``skip``
    is called with what is wrong with a further page that cannot be read; without it, that is raised.
    """
    content = read_content(path, max_pixels)
    yield from images_in(content, os.fspath(path), max_pixels, skip)


def images_in(
    content: bytes, name: str, max_pixels: int, skip: Callable[[SourceError], None] | None = None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """As :func:`read_images`, of the ``content`` of a file."""
    kind = picture_kind(content[:HEAD_BYTES])
    yield name, decode(content, name, max_pixels)
    if kind == "tiff":
        yield from _further_pages(content, name, max_pixels, skip)
    elif kind == "jpeg":
        behind = followers(content)
        if behind.film:
            _log.warning("%s: a film of %d frames; the first is read", name, 1 + behind.pictures)
        elif str(behind):
            _log.warning("%s: also holds %s; the first picture is read", name, behind)
    else:
        if (frames := frame_count(content)) != 1:
            _log.warning("%s: an animation of %s frames; the first is read", name, frames or "several")
        warn_of_more(kind, content, name)


def _further_pages(
    content: bytes, name: str, max_pixels: int, skip: Callable[[SourceError], None] | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for number, page in enumerate(tiff_pages(content)[1:], start=2):
        called = f"{name} page {number}"
        try:
            check_pixels((page.width, page.height), called, max_pixels)
            image = decode(tiff_at(content, page), called, max_pixels)
        except SourceError as error:
            if skip is None:
                raise
            skip(error)
            continue
        yield called, image


def is_mjpeg(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> bool:
    """Whether a file is a raw MJPEG film; no more of it is read than it takes to tell.

    Raises :class:`~fer_edge.errors.SourceError` for a file that is missing, or a device.
    """
    with _reading(path) as stream:
        head = stream.read(HEAD_BYTES)
        return picture_kind(head) == "jpeg" and read_to_tell(head, stream.read, content_limit(max_pixels))[1]


def read_content(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> bytes:
    """Return the bytes of an image file, up to the length that ``max_pixels`` can have.

    Raises :class:`~fer_edge.errors.SourceError` for a file that is missing, longer, or a device.
    """
    limit = content_limit(max_pixels)
    with _reading(path) as stream:
        head = stream.read(HEAD_BYTES)
        if picture_kind(head) is None:
            # Whatever it is, it need not be read to its end.
            return head
        # Read again from its beginning, as joining the two would take the memory of both. Python makes room
        # for all that it is asked to read, before it reads.
        stream.seek(0)
        content = stream.read(min(limit + 1, os.fstat(stream.fileno()).st_size))
    # Behind a JPEG may lie a film.
    if len(content) > limit and picture_kind(head) != "jpeg":
        raise SourceError(
            f"{path}: more bytes than an image of {max_pixels / 1e6:g} megapixels takes "
            f"(--max-pixels allows more)"
        )
    return content


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    check_readable(Path(path))
    try:
        with Path(path).open("rb") as stream:
            yield stream
    except OSError as error:
        raise SourceError(f"{without_secrets(str(path))}: {error.strerror}") from error


def content_limit(max_pixels: int) -> int:
    """The most bytes of an image file of so many pixels: eight each, and room for what lies beside them."""
    return 8 * max_pixels + (64 << 20)
