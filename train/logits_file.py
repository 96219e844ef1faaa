"""A file of teachers' logits (.npz): which faces they answer to, and how the teachers came to be."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.errors import DataError
from fer_edge.files import atomic_path
from fer_edge.labels import EMOTIONS

from .renamed import current_stages

LOGITS_NAME = "teacher_logits.npz"
"""Its name in the folder of a run."""


def save_logits(
    path: str | os.PathLike[str],
    logits: NDArray[np.float32],
    faces: NDArray[np.uint8],
    origin: list[dict[str, Any]],
) -> None:
    """Write logits, float32 (n, 7), with a checksum of the faces they belong to and who gave them."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, logits=logits, faces=_checksum(faces), origin=json.dumps(origin))


def load_logits(path: str | os.PathLike[str], faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Read what :func:`save_logits` wrote; raises DataError where it is not for these faces."""
    stored = _stored(path)
    logits, checksum = stored["logits"], int(stored["faces"])
    if checksum != _checksum(faces) or logits.shape != (len(faces), len(EMOTIONS)):
        raise DataError(f"{path}: the logits are for {len(logits)} other training images, not for these")
    return logits.astype(np.float32)


def load_origin(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The training runs of the teachers that gave these logits; raises DataError."""
    return current_stages(json.loads(str(_stored(path)["origin"])))


def _stored(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in ("logits", "faces", "origin")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a file of teacher logits ({error})") from error


def _checksum(faces: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(faces).data)
