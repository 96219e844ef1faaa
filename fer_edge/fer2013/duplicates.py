"""Images that FER-2013 repeats, and the tenth of its images that is never trained on."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .reader import FerDataset


def same_image(pixels: NDArray[np.uint8], among: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which images of ``pixels`` (n,48,48) also are, to the byte, in ``among`` (m,48,48): bool (n,)."""
    known = {image.tobytes() for image in among}
    return np.fromiter((image.tobytes() in known for image in pixels), dtype=np.bool_, count=len(pixels))


def in_training(dataset: FerDataset) -> NDArray[np.bool_]:
    """Which rows outside ``Training`` repeat an image of ``Training`` to the byte: bool (n,).

    FER-2013 repeats itself: some 8 % of its test images also are training images. Raises
    ``DataError`` where the data set has no usage.
    """
    if dataset.usage is None:
        raise DataError("the data set has no Usage column: what is Training is not known")
    training = dataset.usage == "Training"
    repeated = np.zeros(len(dataset), dtype=np.bool_)
    repeated[~training] = same_image(dataset.pixels[~training], dataset.pixels[training])
    return repeated


HELD_OUT_RULE = "SHA-256 of the 2304 pixel bytes, first four as a big-endian number, divisible by 10"
"""Which images of Training are held out; checkpoints record it."""


def held_out_tenth(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the images (n,48,48) belong to the tenth that is never trained on: bool (n,).

    The content decides (:data:`HELD_OUT_RULE`), so that copies of an image stay together, whatever file
    or order they come in.
    """
    digests = (hashlib.sha256(image.tobytes()).digest() for image in pixels)
    return np.fromiter(
        (int.from_bytes(digest[:4], "big") % 10 == 0 for digest in digests),
        dtype=np.bool_,
        count=len(pixels),
    )
