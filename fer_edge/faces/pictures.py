"""Labelled pictures of faces, in a CSV or a folder, to grey 48x48 faces in FER-2013 form.

This needs readers of pictures (``sources``) and the detector (``faces``): no lower room has both.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MissingExtraError, SourceError
from ..fer2013.arrays import holds_arrays, iter_arrays, read_arrays
from ..fer2013.folders import PictureFolder, list_pictures
from ..fer2013.reader import FerDataset, iter_fer2013, read_fer2013
from ..kernels.constants import FACE_SIZE
from ..kernels.crop import crop_faces
from ..sources.images import read_image
from .detector import FaceDetector
from .geometry import centre_square, training_squares

SMALLEST = 12
"""Pixels a side of the smallest picture that can show a face."""


def read_labelled(
    path: str | os.PathLike[str], *, skip_bad: bool = False, detect: bool = False
) -> FerDataset:
    """Read labelled faces: a FER-2013 CSV, an ``.npz`` file of arrays, or a folder of pictures.

    See :func:`~fer_edge.fer2013.arrays.read_arrays` and :func:`list_pictures`. ``skip_bad`` is for a CSV, see
    :func:`~fer_edge.fer2013.reader.read_fer2013`; ``detect`` for a folder, see :func:`read_pictures`. Raises
    DataError.
    """
    _check_options(path, skip_bad, detect)
    if Path(path).is_dir():
        return read_pictures(list_pictures(path), detect=detect)[0]
    return read_arrays(path) if holds_arrays(path) else read_fer2013(path, skip_bad=skip_bad)


def iter_labelled(
    path: str | os.PathLike[str], *, skip_bad: bool = False, detect: bool = False
) -> Iterator[FerDataset]:
    """As :func:`read_labelled`, piece by piece, in memory that the number of rows hardly changes."""
    _check_options(path, skip_bad, detect)
    if Path(path).is_dir():
        return iter_pictures(list_pictures(path), detect=detect)
    return iter_arrays(path) if holds_arrays(path) else iter_fer2013(path, skip_bad=skip_bad)


def _check_options(path: str | os.PathLike[str], skip_bad: bool, detect: bool) -> None:
    folder = Path(path).is_dir()
    if folder and skip_bad:
        raise DataError(f"{path}: --skip-bad is for a CSV; of a folder, bad pictures are always skipped")
    if detect and not folder:
        raise DataError(f"{path}: --detect is for a folder of pictures; a CSV holds faces already cut out")
    if holds_arrays(path) and not folder and skip_bad:
        raise DataError(f"{path}: --skip-bad is for a CSV; a file of arrays has no bad rows")


def read_pictures(
    pictures: PictureFolder,
    *,
    detect: bool = False,
    check: Callable[[Path, NDArray[np.uint8]], object] | None = None,
) -> tuple[FerDataset, NDArray[np.bool_]]:
    """The faces of ``pictures``, and of each picture whether it gave one, bool (n,).

    A picture, or its largest centred square, is one face; with ``detect`` the most certain face in it is.
    What cannot be read or shows no face is left out and named in ``skipped``, and so is what ``check``,
    called with the file and its face, uint8 (48, 48), raises a SourceError for. Raises DataError where
    nothing is left.
    """
    faces = np.empty((len(pictures.files), FACE_SIZE, FACE_SIZE), np.uint8)
    read = np.zeros(len(pictures.files), np.bool_)
    skipped: list[str] = []
    told: set[bool | None] = set()
    count = 0
    for piece in iter_pictures(pictures, detect=detect, check=check):
        faces[count : count + len(piece)] = piece.pixels
        read[piece.rows - 1] = True
        skipped += piece.skipped
        told.add(piece.detected)
        count += len(piece)
    usage = None if pictures.usage is None else pictures.usage[read]
    # Pieces of faces that were cut out already say None.
    detected = detect if detect or False in told else None
    return FerDataset(faces[:count], pictures.labels[read], usage, tuple(skipped), detected=detected), read


def iter_pictures(
    pictures: PictureFolder,
    *,
    detect: bool = False,
    check: Callable[[Path, NDArray[np.uint8]], object] | None = None,
    batch: int = 1024,
) -> Iterator[FerDataset]:
    """As :func:`read_pictures`, piece by piece, of at most ``batch`` pictures each.

    Rows are numbered as ``pictures`` are, from 1; those that gave no face are ``bad_rows``. Raises
    DataError behind the last piece where no picture gave one.
    """
    detector = FaceDetector() if detect else None
    first = "its folders are empty"
    found = False
    for start in range(0, len(pictures.files), batch):
        files = pictures.files[start : start + batch]
        faces = np.empty((len(files), FACE_SIZE, FACE_SIZE), np.uint8)
        read = np.zeros(len(files), np.bool_)
        skipped = []
        larger = False
        for index, path in enumerate(files):
            try:
                face, cut_out = _read(path, detector)
                if check is not None:
                    check(path, face)
            except (SourceError, MissingExtraError) as error:
                skipped.append(str(error))
                continue
            faces[index] = face
            read[index] = True
            larger = larger or not cut_out
        if skipped and not start:
            first = f"the first: {skipped[0]}"
        found = found or bool(read.any())
        place = slice(start, start + len(files))
        yield FerDataset(
            faces[read],
            pictures.labels[place][read],
            None if pictures.usage is None else pictures.usage[place][read],
            tuple(skipped),
            tuple((start + 1 + np.flatnonzero(~read)).tolist()),
            start + 1,
            detected=detect if detect or larger else None,
        )
    if not found:
        raise DataError(f"{pictures.folder}: none of {len(pictures.files)} pictures shows a face; {first}")


def read_face(path: Path, detector: FaceDetector | None = None) -> NDArray[np.uint8]:
    """One face, uint8 (48, 48); raises SourceError for what is no picture, or shows no face."""
    return _read(path, detector)[0]


def _read(path: Path, detector: FaceDetector | None) -> tuple[NDArray[np.uint8], bool]:
    """As :func:`read_face`; and whether the picture is as large as a face that was cut out as in FER-2013."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise SourceError(f"{path}: a folder, which is not looked into")
    # A named pipe would be waited for.
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path}: not a file")
    image = read_image(path)
    if min(image.shape[:2]) < SMALLEST:
        raise SourceError(
            f"{path}: {image.shape[1]}x{image.shape[0]} pixels; a face needs at least {SMALLEST} each way"
        )
    square = centre_square(image.shape[1], image.shape[0])
    if detector is not None:
        detections = detector.detect_in_picture(image)
        if not len(detections):
            raise SourceError(f"{path}: shows no face that the detector finds")
        square = training_squares(detections.boxes[:1])
    face = np.empty((FACE_SIZE, FACE_SIZE), np.uint8)
    crop_faces(image, square, face[np.newaxis])
    return face, image.shape[:2] == face.shape
