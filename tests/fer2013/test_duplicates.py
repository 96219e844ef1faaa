"""Repeated images, and figures of the development data."""

from __future__ import annotations

import numpy as np
import pytest
from fer2013.rows import PIXELS

from fer_edge.errors import DataError
from fer_edge.fer2013.duplicates import in_training
from fer_edge.fer2013.reader import FerDataset, read_fer2013
from fer_edge.fer2013.votes import (
    majority_votes,
    read_votes,
)

pytestmark = pytest.mark.usefixtures("kernels")


def test_rows_outside_training_that_repeat_a_training_image_are_found():
    almost = PIXELS[0].copy()
    almost[47, 47] ^= 1
    images = np.stack([PIXELS[0], PIXELS[0], PIXELS[0], almost, PIXELS[1], PIXELS[1]])
    usage = np.array(["Training", "Training", "PublicTest", "PublicTest", "PublicTest", "PrivateTest"])
    found = in_training(FerDataset(images, None, usage))
    assert found.dtype == np.bool_
    assert found.tolist() == [False, False, True, False, False, False]


def test_duplicates_need_a_usage():
    with pytest.raises(DataError, match="no Usage"):
        in_training(FerDataset(PIXELS, None, None))


@pytest.fixture(scope="module")
def dataset(fer2013):
    return read_fer2013(fer2013)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ("Training", [3995, 436, 4097, 7215, 4830, 3171, 4965]),
        ("PublicTest", [467, 56, 496, 895, 653, 415, 607]),
    ],
)
def test_fer2013_has_its_published_class_counts(dataset, usage, counts):
    assert np.bincount(dataset.labels[dataset.usage == usage], minlength=7).tolist() == counts


def test_fer2013_repeats_279_training_images_in_public_test(dataset):
    repeated = in_training(dataset)
    assert np.count_nonzero(repeated[dataset.usage == "PublicTest"]) == 279


def test_the_majority_votes_mostly_agree_with_the_labels(dataset, ferplus):
    codes = majority_votes(read_votes(ferplus))
    assert len(codes) == len(dataset)
    clear = codes >= 0
    assert np.mean(codes[clear] == dataset.labels[clear]) > 0.6
