"""Which rows calibrate the int8 ranges, which fit temperature and settings, and which check the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.errors import DataError
from fer_edge.fer2013.duplicates import held_out_tenth, in_training
from fer_edge.fer2013.reader import FerDataset
from fer_edge.fer2013.votes import people_votes


@dataclass(frozen=True)
class Rows:
    """Faces uint8 (n, 48, 48), labels int64 (n,), votes that count, float32 (n, 9), or None."""

    faces: NDArray[np.uint8]
    labels: NDArray[np.int64]
    votes: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.faces)


@dataclass(frozen=True)
class Choice:
    """What an export needs of a data set.

    calibration: faces from Training, (at most the wanted number, 48, 48); training_votes: the votes that
    count of all Training rows, or None; held_out: the tenth of Training that recipes leave out; check: the
    rows of PublicTest whose image is not in Training. Nothing looks at those of PrivateTest.
    """

    calibration: NDArray[np.uint8]
    training_votes: NDArray[np.float32] | None
    held_out: Rows
    check: Rows


def choose_rows(dataset: FerDataset, votes: NDArray[np.uint8] | None, count: int, seed: int) -> Choice:
    """Choose the rows of an export, those that calibrate by ``seed``.

    ``votes``: uint8 (n, 10), one row of FER+ votes a row. Raises DataError.
    """
    if dataset.labels is None or dataset.usage is None:
        raise DataError(
            "calibration needs emotions and a Usage (columns of a CSV, arrays of an .npz file, or a folder's "
            "train/ and test/): Training rows calibrate, PublicTest rows check the result"
        )
    training = np.flatnonzero(dataset.usage == "Training")
    check = (dataset.usage == "PublicTest") & ~in_training(dataset)
    if not len(training) or not check.any():
        raise DataError(
            f"calibration data have {len(training)} Training rows and {int(check.sum())} PublicTest rows "
            "whose image is not in Training; at least one of each is needed"
        )
    chosen = np.random.default_rng(seed).permutation(training)[:count]
    counted = None if votes is None else people_votes(votes)
    labels = dataset.labels.astype(np.int64)

    def rows(index: NDArray[Any]) -> Rows:
        return Rows(dataset.pixels[index], labels[index], None if counted is None else counted[index])

    return Choice(
        dataset.pixels[np.sort(chosen)],
        None if counted is None else counted[training],
        rows(training[held_out_tenth(dataset.pixels[training])]),
        rows(check),
    )
