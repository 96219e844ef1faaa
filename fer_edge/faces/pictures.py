"""Labelled pictures of faces, in a CSV or a folder, to grey 48x48 faces in FER-2013 form.

This needs readers of pictures (``sources``) and the detector (``faces``): no lower room has both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MissingExtraError, SourceError
from ..fer2013.arrays import holds_arrays, read_arrays
from ..fer2013.folders import PictureFolder, list_pictures
from ..fer2013.reader import FerDataset, read_fer2013
from ..kernels.crop import FACE_SIZE, crop_faces
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
    if Path(path).is_dir():
        if skip_bad:
            raise DataError(f"{path}: --skip-bad is for a CSV; of a folder, bad pictures are always skipped")
        return read_pictures(list_pictures(path), detect=detect)[0]
    if detect:
        raise DataError(f"{path}: --detect is for a folder of pictures; a CSV holds faces already cut out")
    if holds_arrays(path):
        if skip_bad:
            raise DataError(f"{path}: --skip-bad is for a CSV; a file of arrays has no bad rows")
        return read_arrays(path)
    return read_fer2013(path, skip_bad=skip_bad)


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
    detector = FaceDetector() if detect else None
    faces = np.empty((len(pictures.files), FACE_SIZE, FACE_SIZE), np.uint8)
    read = np.zeros(len(pictures.files), np.bool_)
    skipped = []
    count = 0
    for index, path in enumerate(pictures.files):
        try:
            face = read_face(path, detector)
            if check is not None:
                check(path, face)
        except (SourceError, MissingExtraError) as error:
            skipped.append(str(error))
            continue
        faces[count] = face
        read[index] = True
        count += 1
    if not count:
        first = f"the first: {skipped[0]}" if skipped else "its folders are empty"
        raise DataError(f"{pictures.folder}: none of {len(read)} pictures shows a face; {first}")
    usage = None if pictures.usage is None else pictures.usage[read]
    return FerDataset(faces[:count], pictures.labels[read], usage, tuple(skipped)), read


def read_face(path: Path, detector: FaceDetector | None = None) -> NDArray[np.uint8]:
    """One face, uint8 (48, 48); raises SourceError for what is no picture, or shows no face."""
    if path.is_dir():
        raise SourceError(f"{path}: a folder, which is not looked into")
    # A named pipe would be waited for.
    if path.exists() and not path.is_file():
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
    return face
