"""A drawn face and a drawn frame with known results, to check whether this machine computes as others do.

Both come from integer formulas, so that they are the same to the byte everywhere.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..kernels.constants import FACE_SIZE
from ..kernels.crop import crop_faces
from ..labels import Labels
from .classifier import Classifier
from .manifest import Reference

MOST_STEPS = 1
"""Steps by which an int8 logit may differ: runtimes round sums that lie halfway differently."""
LARGEST_ERROR = 0.01
"""By how much an fp32 logit may differ: processors add in different orders."""

_SQUARES = np.array([[20.25, 9.5, 101.5], [60.0, 30.0, 31.75], [-9.5, 40.0, 90.0]])
"""Shrunk, enlarged, and reaching over an edge of the frame."""
_ANGLES = (0.25, -0.5, 0.125)
_CROPS = {"colour": 4227252034, "grey int8": 387885749, "grey float32": 3832066574, "turned": 1712403447}
"""CRC-32 of the squares cut out of the frame, for each kind of frame and output."""


def reference_face() -> NDArray[np.uint8]:
    """A smiling cartoon, (48, 48)."""
    return _drawn(FACE_SIZE)


def reference_frame() -> NDArray[np.uint8]:
    """The cartoon on a colourful background, (120, 160, 3)."""
    y, x = np.mgrid[0:120, 0:160].astype(np.int64)
    frame = np.stack([x + y, 255 - x, (x * y) >> 6], axis=-1) & 255
    frame[12:108, 32:128] = _drawn(96)[:, :, np.newaxis] * np.array([14, 15, 16]) >> 4
    return frame.astype(np.uint8)


def _drawn(side: int) -> NDArray[np.uint8]:
    """Face, eyes and mouth, (side, side), with all levels from 0 to 255."""
    y, x = np.mgrid[0:side, 0:side].astype(np.int64)
    # In units of 1/96 of the side, from the middle.
    x, y = (2 * x + 1) * 48 // side - 48, (2 * y + 1) * 48 // side - 48
    # Grain, which makes every channel of a network answer.
    image = 96 + y // 2 + (x * 7 + y * 13) * (x + y) % 17
    image[x * x * 5 + y * y * 4 < 9000] += 64
    for middle in (-16, 16):
        image[(x - middle) ** 2 + 2 * (y + 10) ** 2 < 40] = 24
        image[(abs(x - middle) < 10) & (abs(y + 22) < 2)] = 48
    image[(abs(y - 22 + x * x // 48) < 3) & (abs(x) < 20)] = 40
    image[0, 0], image[0, 1] = 0, 255
    return np.asarray(image, np.uint8)


def reference_answer(classifier: Classifier) -> Reference:
    """What ``classifier`` answers to the reference face, for its manifest."""
    face = reference_face()
    logits = classifier.logits(face[np.newaxis])
    stored = {head: tuple(_stored(classifier, head, values[0]).tolist()) for head, values in logits.items()}
    return Reference(zlib.crc32(face.tobytes()), stored)


def deviation(classifier: Classifier) -> float | None:
    """By how much the worst logit of the reference face differs from the manifest's.

    In steps of the output for int8, else in logits; None where the manifest has no answer. Raises
    ModelError where its answer is to another face.
    """
    expected = classifier.file.reference
    if expected is None:
        return None
    found = reference_answer(classifier)
    if found.face != expected.face:
        raise ModelError(
            f"{classifier.file.path}: the manifest holds the answer to another reference face (CRC-32 "
            f"{expected.face}) than this version's ({found.face}); export the model again"
        )
    return float(
        max(np.abs(np.subtract(found.logits[head], logits)).max() for head, logits in expected.logits.items())
    )


def tolerance(classifier: Classifier) -> float:
    """The largest :func:`deviation` of a machine that computes correctly."""
    return MOST_STEPS if classifier.precision == "int8" else LARGEST_ERROR


def wrong_crops() -> list[str]:
    """Which kinds of crops of the reference frame have other bytes than they should."""
    frame = reference_frame()
    grey = frame[:, :, 1]
    found = {
        "colour": crop_faces(frame, _SQUARES, _faces(np.uint8)),
        "grey int8": crop_faces(grey, _SQUARES, _faces(np.int8)),
        "grey float32": crop_faces(grey, _SQUARES, _faces(np.float32)),
        "turned": crop_faces(frame, _SQUARES, _faces(np.int8), angles=_ANGLES),
    }
    return [kind for kind, faces in found.items() if zlib.crc32(faces.tobytes()) != _CROPS[kind]]


def _faces(dtype: type[np.generic]) -> NDArray[np.generic]:
    return np.empty((len(_SQUARES), FACE_SIZE, FACE_SIZE), dtype)


def _stored(classifier: Classifier, head: Labels, logits: NDArray[np.float32]) -> NDArray[np.generic]:
    """Logits (k,) of an output as the file has them: int8 numbers, or real ones to four decimals."""
    spec = classifier.file.outputs[head]
    if spec.dtype == "int8":
        return np.asarray(np.rint(logits / np.float32(spec.scale) + spec.zero_point), np.int64)
    return np.asarray(np.round(logits.astype(np.float64), 4))
