"""Which rows calibrate the int8 ranges, and which are held out to check the result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fer_edge.errors import DataError
from fer_edge.fer2013.duplicates import in_training
from fer_edge.fer2013.reader import FerDataset


def choose_rows(
    dataset: FerDataset, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """Calibration faces from Training, and held-out faces with labels that are not in Training.

    uint8 (at most ``count``, 48, 48), chosen by ``seed``; uint8 (n, 48, 48); int64 (n,). Raises DataError.
    """
    if dataset.labels is None or dataset.usage is None:
        raise DataError(
            "calibration needs a CSV with the columns emotion, pixels and Usage: Training rows calibrate, "
            "the others check the result"
        )
    training = np.flatnonzero(dataset.usage == "Training")
    held_out = (dataset.usage != "Training") & ~in_training(dataset)
    if not len(training) or not held_out.any():
        raise DataError(
            f"calibration CSV has {len(training)} Training rows and {int(held_out.sum())} held-out rows; "
            "at least one of each is needed"
        )
    chosen = np.random.default_rng(seed).permutation(training)[:count]
    return (
        dataset.pixels[np.sort(chosen)],
        dataset.pixels[held_out],
        dataset.labels[held_out].astype(np.int64),
    )
