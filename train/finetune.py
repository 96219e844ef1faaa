"""Fine-tuning the bundled network on a user's own folder of labelled face images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_edge.errors import DataError, SourceError
from fer_edge.faces.detector import FaceDetector
from fer_edge.faces.geometry import centre_square, training_squares
from fer_edge.fer2013.reader import FerDataset
from fer_edge.kernels.crop import FACE_SIZE, crop_faces
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS, VOTERS
from fer_edge.sources.images import read_image

from .data import TrainingData
from .model import EmotionNet
from .pretrained import exported_net

TRAINED_BLOCKS = 3
"""The last blocks that learn; the earlier ones see edges and parts of faces, which do not change."""

_HELD_OUT = 5
"""One image in this many validates, so a class needs at least as many."""
_SMALLEST = 12
"""Pixels a side of the smallest image that can show a face."""
_LEAST_CONTRAST = 4.0
"""Standard deviation of a face's grey levels, 0 to 255, below which it shows nothing."""


def read_faces(folder: str | os.PathLike[str], *, detect: bool = False) -> FerDataset:
    """The images of ``folder``/emotion/ as grey 48x48 faces, in FER-2013 form.

    The whole image, or its largest centred square, is the face; with ``detect`` the most certain
    face in it is. Every fifth image of a class has Usage ``PublicTest``, the others ``Training``.
    What cannot be read, shows no face or repeats another image is skipped and named in ``skipped``.
    Raises DataError for a folder that is no emotion, and for a class with too few images.
    """
    classes = _classes(Path(folder))
    detector = FaceDetector() if detect else None
    faces: list[NDArray[np.uint8]] = []
    labels, usage, skipped = [], [], []
    seen: dict[bytes, Path] = {}
    for emotion, path in classes.items():
        found, passed_over = [], []
        for entry in sorted(path.iterdir()):
            if entry.name.startswith("."):
                continue
            try:
                face = _face(entry, detector)
                first = seen.setdefault(face.tobytes(), entry)
                if first != entry:
                    raise SourceError(f"{entry}: the same face as {first}")
                found.append(face)
            except SourceError as error:
                passed_over.append(str(error))
        if len(found) < _HELD_OUT:
            raise DataError(
                f"{path}: {len(found)} usable images; a class needs at least {_HELD_OUT}, or leave its "
                "folder out"
                + (f" ({len(passed_over)} skipped, the first: {passed_over[0]})" if passed_over else "")
            )
        skipped += passed_over
        faces += found
        labels += [EMOTIONS.index(emotion)] * len(found)
        usage += ["Training" if index % _HELD_OUT else "PublicTest" for index in range(len(found))]
    return FerDataset(np.stack(faces), np.array(labels, np.int8), np.array(usage), tuple(skipped))


def training_data(dataset: FerDataset) -> TrainingData:
    """The split that :func:`read_faces` made, for ``fit``.

    Each label counts as ten people's votes, so that both heads learn it.
    """
    assert dataset.labels is not None and dataset.usage is not None
    training, labels = dataset.usage == "Training", dataset.labels.astype(np.int64)
    votes = np.zeros((int(training.sum()), len(PEOPLE_ANSWERS)), np.float32)
    votes[np.arange(len(votes)), labels[training]] = VOTERS
    return TrainingData(
        faces=dataset.pixels[training],
        labels=labels[training],
        votes=votes,
        val_faces=dataset.pixels[~training],
        val_labels=labels[~training],
    )


def frozen_net(model: str) -> EmotionNet:
    """The network of a bundled model with its first blocks frozen; raises ModelError.

    Its batch norms only add their bias, and stay as they are while the rest learns.
    """
    net = exported_net(model)
    net.freeze(len(net.features) - TRAINED_BLOCKS)
    return net


def _classes(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; want one with a sub-folder of images for each emotion")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    unknown = [path.name for path in found if path.name not in EMOTIONS]
    if unknown:
        raise DataError(f"{folder}: {', '.join(unknown)} is no emotion; use {', '.join(EMOTIONS)}")
    if len(found) < 2:
        raise DataError(
            f"{folder}: {len(found)} emotions; want at least two sub-folders, named {', '.join(EMOTIONS)}"
        )
    return {path.name: path for path in found}


def _face(path: Path, detector: FaceDetector | None) -> NDArray[np.uint8]:
    """One face, uint8 (48, 48); raises SourceError for what is no image, or shows no face."""
    if path.is_dir():
        raise SourceError(f"{path}: a folder in an emotion's folder, which is not looked into")
    # A named pipe would be waited for.
    if path.exists() and not path.is_file():
        raise SourceError(f"{path}: not a file")
    image = read_image(path)
    if min(image.shape[:2]) < _SMALLEST:
        raise SourceError(
            f"{path}: {image.shape[1]}x{image.shape[0]} pixels; a face needs at least {_SMALLEST} each way"
        )
    square = centre_square(image.shape[1], image.shape[0])
    if detector is not None:
        detections = detector.detect_in_picture(image)
        if not len(detections):
            raise SourceError(f"{path}: shows no face that the detector finds")
        square = training_squares(detections.boxes[:1])
    out = np.empty((1, FACE_SIZE, FACE_SIZE), np.uint8)
    crop_faces(image, square, out)
    if out.std() < _LEAST_CONTRAST:
        raise SourceError(f"{path}: one even grey, or nearly so (transparent?)")
    return out[0]
