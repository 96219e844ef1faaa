"""Annotated images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError, OutputError
from ..files import LONGEST_NAME, atomic_path, check_target, cut_name, is_folder
from ..pipeline.result import FrameResult
from .base import SlowOutput
from .draw import annotated

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class ImageOutput(SlowOutput):
    """Writes annotated images, each in one step.

    ``target`` is a file, which gets the last frame, or a folder, which gets every image under its own
    name, as PNG; a folder that does not exist yet is made where ``target`` ends in a slash. ``sources``
    are these images, as far as they are known, and ``root`` is the folder that they were read from, whose
    sub-folders ``target`` gets as well. Raises :class:`~fer_edge.errors.DataError` for another
    suffix, for a folder that cannot be written to, for an image that exists already, save with
    ``force``, and for one of ``sources``.
    """

    name = "image"

    def __init__(
        self,
        target: str | os.PathLike[str],
        sources: Iterable[Path] = (),
        force: bool = False,
        unsure: bool = True,
        root: Path | None = None,
    ) -> None:
        self._unsure = unsure
        self._root = root
        self._target = Path(target)
        self._last: FrameResult | None = None
        sources = list(sources)
        if is_folder(target) and self._target.parent.is_dir():
            self._target.mkdir(exist_ok=True)
        if self._target.is_dir():
            check_target(self._target / "image.png", force=True)
            for source in sources:
                place = path_in(self._target, source, root)
                if place.parent.is_dir():
                    check_target(place, sources, force=force)
            return
        if self._target.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{target}: the name of an image must end in {', '.join(SUFFIXES)}, or be a folder; one that "
                "ends in / is made"
            )
        check_target(self._target, sources, force=force)

    @property
    def pending(self) -> int:
        """1 for the last frame until it is saved."""
        return int(self._last is not None)

    def write(self, result: FrameResult) -> None:
        """Write the image into the folder, or keep it as the last one so far."""
        if self._target.is_dir():
            path = path_in(self._target, Path(result.source), self._root)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
            save(path, result, self._unsure)
        else:
            self._last = result

    def close(self) -> None:
        """Write the last frame."""
        if self._last is not None:
            save(self._target, self._last, self._unsure)
            self._last = None


def path_in(folder: Path, source: Path, root: Path | None = None) -> Path:
    """Where the annotated image of ``source`` goes; two images may differ in their suffix alone.

    It lies in the sub-folder of ``folder`` that ``source`` has in ``root``. A name too long to take
    another suffix is cut, and a hash keeps it apart from others.
    """
    if root is not None and source.is_relative_to(root):
        folder = folder / source.relative_to(root).parent
    return folder / f"{cut_name(source.name, LONGEST_NAME - len('.png'))}.png"


def save(path: Path, result: FrameResult, unsure: bool = True) -> None:
    """Write the annotated frame of ``result`` under ``path``, in the format of its suffix."""
    import cv2

    encoded, content = cv2.imencode(path.suffix, annotated(result, unsure))
    if not encoded:
        raise OutputError(f"{path}: OpenCV could not encode this image")
    try:
        # Not with cv2.imwrite, which crashes on names that are not UTF-8 and hides what went wrong.
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.tobytes())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
