"""Fine-tuning the bundled network on a user's own folder of labelled face images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_edge.errors import DataError, SourceError
from fer_edge.faces.pictures import read_pictures
from fer_edge.fer2013.folders import PictureFolder, list_pictures, usages_of
from fer_edge.fer2013.reader import FerDataset
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS, VOTERS

from .data import TrainingData
from .model import EmotionNet
from .pretrained import exported_net

TRAINED_BLOCKS = 3
"""The last blocks that learn; the earlier ones see edges and parts of faces, which do not change."""

_HELD_OUT = 5
"""One image in this many validates, so a class needs at least as many."""
_USED = ("Training", "PublicTest")
"""What trains and what validates."""
_LEAST_CONTRAST = 4.0
"""Standard deviation of a face's grey levels, 0 to 255, below which it shows nothing."""


def read_faces(folder: str | os.PathLike[str], *, detect: bool = False) -> FerDataset:
    """The pictures of ``folder``/emotion/ as grey 48x48 faces, in FER-2013 form.

    The whole picture, or its largest centred square, is the face; with ``detect`` the most certain
    face in it is. The other forms of :func:`~fer_edge.fer2013.folders.list_pictures` do as well.
    Every fifth picture of a class has Usage ``PublicTest``, the others ``Training``, unless the folder
    says which pictures are of either (:func:`~fer_edge.fer2013.folders.usages_of`). Where it says so of
    ``Training`` alone, every fifth of these has ``PublicTest``; pictures of any other Usage keep it. What
    cannot be read, shows no face or repeats another picture is skipped and named in ``skipped``. Raises
    DataError for a folder that is no emotion, and for a class with too few pictures, or with none to train
    on.
    """
    pictures, dataset, read = _usable(folder, detect)
    labels = pictures.labels[read]
    listed = _parts(pictures)
    usage = listed[read]
    _require_training(pictures, read, usage, dataset.skipped)
    held_out = np.zeros(len(labels), np.bool_)
    for emotion in pictures.emotions:
        code = EMOTIONS.index(emotion)
        of_emotion = listed[pictures.labels == code]
        if len(of_emotion) and not np.isin(of_emotion, _USED).any():
            continue
        rows = np.flatnonzero((labels == code) & (usage == "Training"))
        used = int(np.count_nonzero((labels == code) & (usage == "PublicTest"))) + len(rows)
        if used < _HELD_OUT:
            raise DataError(_too_few(pictures, read, emotion, used, dataset.skipped))
        if not len(rows):
            raise DataError(
                f"{pictures.folder}: {emotion}: no usable image of Usage Training; a class needs some, or "
                f"leave {emotion} out{_passed_over(pictures, read, dataset.skipped, emotion)}"
            )
        held_out[rows[::_HELD_OUT]] = True
    if len(np.unique(labels[usage == "Training"])) < 2:
        raise DataError(f"{pictures.folder}: want usable images of Usage Training of at least two emotions")
    if "PublicTest" not in usage:
        usage = np.where(held_out, "PublicTest", usage)
    return replace(dataset, usage=usage)


def _parts(pictures: PictureFolder) -> NDArray[np.str_]:
    """The Usage of all n pictures, where ``usages_of`` knows it, in any capitals, as FER-2013 calls it."""
    if pictures.usage is None or not any(pictures.usage.tolist()):
        return np.full(len(pictures.files), "Training")
    words = [word.casefold() for word in pictures.usage.tolist()]
    known = {word.casefold(): usage for word, usage in usages_of(words).items()}
    return np.array([known.get(word, word) for word in words], np.str_)


def _require_training(
    pictures: PictureFolder, read: NDArray[np.bool_], usage: NDArray[np.str_], skipped: tuple[str, ...]
) -> None:
    if "Training" not in usage:
        found = ", ".join(part or "empty ones" for part in sorted(set(usage.tolist())))
        raise DataError(
            f"{pictures.folder}: no usable image has the Usage Training (train); there are {found}"
            f"{_passed_over(pictures, read, skipped)}"
        )


def read_training_faces(folder: str | os.PathLike[str], *, detect: bool = False) -> FerDataset:
    """As :func:`read_faces`, but all of them, or where the folder tells a Usage those of ``Training``."""
    pictures, dataset, read = _usable(folder, detect)
    usage = _parts(pictures)[read]
    _require_training(pictures, read, usage, dataset.skipped)
    rows = usage == "Training"
    assert dataset.labels is not None
    return replace(dataset, pixels=dataset.pixels[rows], labels=dataset.labels[rows], usage=usage[rows])


def _usable(
    folder: str | os.PathLike[str], detect: bool
) -> tuple[PictureFolder, FerDataset, NDArray[np.bool_]]:
    """The pictures of a folder, those that show a face of their own, and of each whether it does."""
    pictures = list_pictures(folder)
    if len(pictures.emotions) < 2:
        raise DataError(
            f"{folder}: pictures of {', '.join(pictures.emotions)} alone; want at least two emotions of "
            f"{', '.join(EMOTIONS)}"
        )
    seen: dict[bytes, Path] = {}

    def check(path: Path, face: NDArray[np.uint8]) -> None:
        if face.std() < _LEAST_CONTRAST:
            raise SourceError(f"{path}: one even grey, or nearly so (transparent?)")
        first = seen.setdefault(face.tobytes(), path)
        if first != path:
            raise SourceError(f"{path}: the same face as {first}")

    return pictures, *read_pictures(pictures, detect=detect, check=check)


def _too_few(
    pictures: PictureFolder, read: NDArray[np.bool_], emotion: str, usable: int, skipped: tuple[str, ...]
) -> str:
    """Which class has too few pictures, and why the first of those that were skipped is unusable."""
    named = pictures.folder / emotion
    parts = "" if pictures.usage is None else " of Usage Training or PublicTest"
    return (
        f"{named if named.is_dir() else f'{pictures.folder}: {emotion}'}: {usable} usable images{parts}; a "
        f"class needs at least {_HELD_OUT}, or leave its folder out"
        f"{_passed_over(pictures, read, skipped, emotion)}"
    )


def _passed_over(
    pictures: PictureFolder, read: NDArray[np.bool_], skipped: tuple[str, ...], emotion: str | None = None
) -> str:
    """How many pictures, of the emotion or of all, were skipped, and why the first was; empty for none."""
    labels = pictures.labels[~read]
    messages = [
        message
        for message, label in zip(skipped, labels, strict=True)
        if emotion is None or label == EMOTIONS.index(emotion)
    ]
    return f" ({len(messages)} skipped, the first: {messages[0]})" if messages else ""


def training_data(dataset: FerDataset) -> TrainingData:
    """The split that :func:`read_faces` made, for ``fit``: rows of any other Usage are in neither part.

    Each label counts as ten people's votes, so that both heads learn it, and the best epoch is that of the
    head ``people``, which answers by default.
    """
    assert dataset.labels is not None and dataset.usage is not None
    training, validating = (dataset.usage == part for part in ("Training", "PublicTest"))
    labels = dataset.labels.astype(np.int64)
    votes = np.zeros((len(labels), len(PEOPLE_ANSWERS)), np.float32)
    votes[np.arange(len(votes)), labels] = VOTERS
    return TrainingData(
        faces=dataset.pixels[training],
        labels=labels[training],
        votes=votes[training],
        val_faces=dataset.pixels[validating],
        val_labels=labels[validating],
        val_votes=votes[validating],
        detected=dataset.detected,
    )


def frozen_net(model: str) -> EmotionNet:
    """The network of a bundled model with its first blocks frozen; raises ModelError.

    Its batch norms only add their bias, and stay as they are while the rest learns.
    """
    net = exported_net(model)
    net.freeze(len(net.features) - TRAINED_BLOCKS)
    return net
