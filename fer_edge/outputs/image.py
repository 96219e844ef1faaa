"""Annotated images."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError, OutputError
from ..files import atomic_path, check_target
from ..pipeline.result import FrameResult
from .draw import annotated

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class ImageOutput:
    """Writes annotated images, each in one step.

    ``target`` is a file, which gets the last frame, or an existing folder, which gets every image
    under its own name, as PNG. Raises :class:`~fer_edge.errors.DataError` for another suffix or a
    folder that cannot be written to.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self._target = Path(target)
        self._last: FrameResult | None = None
        if self._target.is_dir():
            check_target(self._target / "image.png")
            return
        if self._target.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{target}: the name of an image must end in {', '.join(SUFFIXES)}, or be an existing folder"
            )
        check_target(self._target)

    def write(self, result: FrameResult) -> None:
        """Write the image into the folder, or keep it as the last one so far."""
        if self._target.is_dir():
            save(path_in(self._target, Path(result.source)), result)
        else:
            self._last = result

    def close(self) -> None:
        """Write the last frame."""
        if self._last is not None:
            save(self._target, self._last)


def path_in(folder: Path, source: Path) -> Path:
    """Where the annotated image of ``source`` goes; two images may differ in their suffix alone."""
    return folder / f"{source.name}.png"


def save(path: Path, result: FrameResult) -> None:
    """Write the annotated frame of ``result`` under ``path``, in the format of its suffix."""
    import cv2

    encoded, content = cv2.imencode(path.suffix, annotated(result))
    if not encoded:
        raise OutputError(f"{path}: OpenCV could not encode this image")
    try:
        # Not with cv2.imwrite, which crashes on names that are not UTF-8 and hides what went wrong.
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.tobytes())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
