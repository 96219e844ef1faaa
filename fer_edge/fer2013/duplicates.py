"""Images that FER-2013 repeats, and the tenth of its images that is never trained on."""

from __future__ import annotations

from hashlib import blake2b, sha256

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .reader import FerDataset


def in_training(dataset: FerDataset) -> NDArray[np.bool_]:
    """Which rows outside ``Training`` repeat an image of ``Training`` to the byte: bool (n,).

    FER-2013 repeats itself: some 8 % of its test images also are training images. Raises
    ``DataError`` where the data set has no usage.
    """
    if dataset.usage is None:
        raise DataError("the data set has no Usage column: what is Training is not known")
    training = dataset.usage == "Training"
    prints = fingerprints(dataset.pixels)
    return np.asarray(~training & np.isin(prints, prints[training]), np.bool_)


HELD_OUT_RULE = "SHA-256 of the 2304 pixel bytes, first four as a big-endian number, divisible by 10"
"""Which images of Training are held out; checkpoints record it."""


def held_out_tenth(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the images (n,48,48) belong to the tenth that is never trained on: bool (n,).

    The content decides (:data:`HELD_OUT_RULE`), so that copies of an image stay together, whatever file
    or order they come in.
    """
    digests = (sha256(image.tobytes()).digest() for image in pixels)
    return np.fromiter(
        (int.from_bytes(digest[:4], "big") % 10 == 0 for digest in digests),
        dtype=np.bool_,
        count=len(pixels),
    )


def fingerprints(images: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Of each image (n,48,48) 16 bytes that no other one has, (n,), to compare without the images."""
    digests = (blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    return np.fromiter(digests, dtype="S16", count=len(images))
