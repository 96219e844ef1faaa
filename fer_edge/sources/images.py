"""Image files and folders of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .base import Frame, Source
from .capture import as_uint8

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


_log = logging.getLogger(__name__)


class ImageSource(Source):
    """An image, or the images of a folder in the order of their names, sub-folders left out.

    An unreadable image in a folder is logged as a warning, skipped, and counted in ``skipped``;
    if no image at all is readable, iterating ends with :class:`~fer_edge.errors.SourceError`.
    """

    related = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = Path(path)
        self.name = str(given)
        if not given.is_dir():
            self.paths = [given]
            return
        self.paths = sorted(
            entry for entry in given.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()
        )
        if not self.paths:
            raise SourceError(
                f"{given}: no image in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})"
            )

    def __iter__(self) -> Iterator[Frame]:
        for path in self.paths:
            try:
                image = read_image(path)
            except SourceError as error:
                if len(self.paths) == 1:
                    raise
                self.skipped += 1
                _log.warning("%s; skipped", error)
                continue
            yield Frame(image, 0.0, str(path))
        if self.skipped == len(self.paths):
            raise SourceError(f"{self.name}: none of the {self.skipped} images can be read")


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return an image file as uint8 (h, w, 3) in BGR order, turned upright by its EXIF orientation.

    Raises :class:`~fer_edge.errors.SourceError` for a file that is missing or no image.
    """
    import cv2

    try:
        # Not with cv2.imread, which crashes on names that are not UTF-8.
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:
        raise SourceError(f"{path}: OpenCV refuses this image ({error.err})") from error
    if image is None:
        raise SourceError(f"{path}: not an image that OpenCV can read")
    return as_uint8(image)
