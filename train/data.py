"""What a training run learns from and is validated on, taken from a FER-2013 CSV and FER+ votes."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_edge.errors import DataError
from fer_edge.faces.pictures import read_labelled
from fer_edge.fer2013.duplicates import held_out_tenth, in_training
from fer_edge.fer2013.reader import FerDataset
from fer_edge.fer2013.votes import people_votes, read_votes
from fer_edge.labels import EMOTIONS

from .bank import Bank, make_bank
from .batch_norm import folded_copy
from .logits_file import Answers
from .model import EmotionNet, Heads
from .options import TrainOptions

SAMPLE_ROWS = 512
RESULTS = ("best.pt", "metrics.csv", "recipe.json", "model/manifest.json")
"""What a training run, of whatever kind, may leave in its folder besides ``last.pt``."""


@dataclass(frozen=True)
class TrainingData:
    """What is learned from, and what selects the model.

    faces uint8 (n, 48, 48), labels int64 (n,), votes float32 (n, 9) or None (those that count, in
    :data:`~fer_edge.labels.PEOPLE_ANSWERS` order, rows of zeros where there are none); val_faces,
    val_labels and val_votes likewise; teacher: stored answers, or the networks that are to give them during
    training, or None. calibration_faces are the tenth of Training's images that
    is not learned from (:func:`~fer_edge.fer2013.duplicates.held_out_tenth`), None where there is none.
    detected: as :attr:`~fer_edge.fer2013.reader.FerDataset.detected`.
    """

    faces: NDArray[np.uint8]
    labels: NDArray[np.int64]
    votes: NDArray[np.float32] | None
    val_faces: NDArray[np.uint8]
    val_labels: NDArray[np.int64]
    teacher: Answers | tuple[EmotionNet, ...] | None = None
    val_votes: NDArray[np.float32] | None = None
    calibration_faces: NDArray[np.uint8] | None = None
    detected: bool | None = None


@dataclass(frozen=True)
class DeviceData:
    """The rows of :class:`TrainingData` on the device.

    ``teacher``, ``bank`` and ``live_teachers`` are three ways to teach, of which there is one, or none.
    """

    faces: Tensor
    labels: Tensor
    votes: Tensor | None
    teacher: Heads | None
    bank: Bank | None
    live_teachers: tuple[EmotionNet, ...]
    val_faces: Tensor
    val_labels: Tensor
    val_votes: Tensor | None


def on_device(
    data: TrainingData, options: TrainOptions, device: torch.device, bank_seconds: float | None = None
) -> DeviceData:
    """What a run with these options needs of ``data``; a bank is made in ``bank_seconds`` at most."""

    def moved(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device)

    votes, teacher = data.votes, data.teacher
    faces = moved(data.faces)
    stored: Heads | None = None
    bank: Bank | None = None
    live: tuple[EmotionNet, ...] = ()
    if isinstance(teacher, Answers):
        stored = teacher.on(device)
    elif teacher is not None:
        nets = tuple(folded_copy(net).to(device) for net in teacher)
        if options.bank:
            generator = device_generator(device, options.seed)
            bank = make_bank(
                *(nets, faces, options.bank, options.augmentation, generator),
                bfloat16=options.bfloat16,
                seconds=bank_seconds,
            )
        else:
            live = nets
    return DeviceData(
        faces=faces,
        labels=moved(data.labels),
        votes=None if votes is None else moved(votes),
        teacher=stored,
        bank=bank,
        live_teachers=live,
        val_faces=moved(data.val_faces),
        val_labels=moved(data.val_labels),
        val_votes=None if data.val_votes is None else moved(data.val_votes),
    )


def device_generator(device: torch.device, seed: int) -> torch.Generator:
    """A source of random numbers on the device."""
    return torch.Generator(device=device).manual_seed(seed)


def read_data(
    path: str | os.PathLike[str],
    votes: str | os.PathLike[str] | None = None,
    *,
    skip_bad: bool = False,
    detect: bool = False,
) -> FerDataset:
    """Read a CSV, and the votes in the same row order.

    Instead of a CSV ``path`` may be an ``.npz`` file of arrays, which may hold the votes as well, or a folder
    of pictures, in each of which ``detect`` finds the face: see
    :func:`~fer_edge.faces.pictures.read_labelled`. Raises DataError.
    """
    if votes is not None and skip_bad:
        raise DataError("--votes needs a CSV without bad rows: votes are matched by row")
    if votes is not None and Path(path).is_dir():
        raise DataError(f"{path}: is a folder; --votes needs a CSV, since votes are matched by row")
    dataset = read_labelled(path, skip_bad=skip_bad, detect=detect)
    if votes is None:
        return dataset
    return replace(dataset, votes=read_votes(votes, len(dataset), dataset.usage))


def load_training_data(
    path: str | os.PathLike[str],
    votes: str | os.PathLike[str] | None = None,
    *,
    skip_bad: bool = False,
    detect: bool = False,
) -> tuple[TrainingData, FerDataset]:
    """Read data as :func:`read_data` does; returns the split data and the whole set.

    Training rows train, but for a tenth of their images, chosen by their content, that is held out for
    calibration; PublicTest rows whose image is not in Training validate. Data without a Usage gives
    another tenth of its images to validation. With votes, Training rows without votes that count are left
    out: most are no faces. Raises DataError.
    """
    dataset = read_data(path, votes, skip_bad=skip_bad, detect=detect)
    if dataset.labels is None:
        raise DataError(f"{path}: has no emotion column, so there is nothing to learn from")
    labels = dataset.labels.astype(np.int64)
    training, validation = _split(dataset)
    ballots = None
    if dataset.votes is not None:
        ballots = people_votes(dataset.votes)
        voted = training & ballots.any(1)
        if training.any() and not voted.any():
            raise DataError(
                f"{votes or path}: no Training row has votes that count: a single vote for an answer is left "
                "out as an outlier, and so is a row that six call no face; want votes of several people a row"
            )
        training = voted
    held_out = training & held_out_tenth(dataset.pixels)
    training &= ~held_out
    if not training.any() or not validation.any():
        raise DataError(
            f"{path}: {int(training.sum())} rows to train on and {int(validation.sum())} to validate on; "
            "both are needed (rows of Usage Training train, those of PublicTest validate)"
        )
    present = np.unique(labels[training])
    if len(present) < 2:
        raise DataError(
            f"{path}: every row to train on is {EMOTIONS[present[0]]}; want at least two emotions of "
            f"{', '.join(EMOTIONS)}"
        )
    votes_of = (lambda rows: None) if ballots is None else ballots.__getitem__
    data = TrainingData(
        dataset.pixels[training],
        labels[training],
        votes_of(training),
        dataset.pixels[validation],
        labels[validation],
        val_votes=votes_of(validation),
        calibration_faces=dataset.pixels[held_out],
        detected=dataset.detected,
    )
    return data, dataset


def _split(dataset: FerDataset) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    if dataset.usage is None:
        held_out = np.array([zlib.crc32(image.tobytes()) % 10 == 0 for image in dataset.pixels], np.bool_)
        return ~held_out, held_out
    return dataset.usage == "Training", (dataset.usage == "PublicTest") & ~in_training(dataset)


def sample(faces: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Some of the faces in their order, chosen by ``seed``, on which to measure a network's ranges."""
    chosen = np.random.default_rng(seed).permutation(len(faces))[:SAMPLE_ROWS]
    return faces[np.sort(chosen)]


def prepare_folder(out: Path, *, resume: bool) -> None:
    """Make the run's folder; raises DataError where it holds another run, or none to resume."""
    previous = (out / "last.pt").exists()
    if previous and not resume:
        raise DataError(f"{out}: already holds a run; --resume continues it, another --out starts a new one")
    if resume and not previous:
        raise DataError(f"{out}: nothing to resume, {out / 'last.pt'} does not exist")
    if not resume:
        refuse_overwriting(out, RESULTS)
    out.mkdir(parents=True, exist_ok=True)


def refuse_overwriting(out: Path, names: Iterable[str]) -> None:
    """Raise DataError where the folder ``out`` holds a file of one of these names already."""
    for name in names:
        if (out / name).exists():
            raise DataError(f"{out / name}: is there already and would be overwritten; choose another --out")
