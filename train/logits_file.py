"""A file of teachers' answers (.npz): which faces they answer to, and how the teachers came to be."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge.errors import DataError
from fer_edge.files import atomic_path
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS

from .model import Heads
from .renamed import current_stages

LOGITS_NAME = "teacher_logits.npz"
"""Its name in the folder of a run."""
FORMAT = 2


@dataclass(frozen=True)
class Answers:
    """Teachers' logits for n faces: ``fer2013`` float32 (n, 7), ``people`` float32 (n, 9) or None."""

    fer2013: NDArray[np.float32]
    people: NDArray[np.float32] | None = None

    def on(self, device: torch.device) -> Heads:
        """The same as tensors on the device."""
        people = None if self.people is None else torch.from_numpy(self.people).to(device)
        return Heads(torch.from_numpy(self.fer2013).to(device), people)


def save_answers(
    path: str | os.PathLike[str], answers: Answers, faces: NDArray[np.uint8], origin: list[dict[str, Any]]
) -> None:
    """Write answers with a checksum of the faces that they belong to, and who gave them."""
    people = {} if answers.people is None else {"people": answers.people}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            format=FORMAT,
            logits=answers.fer2013,
            faces=_checksum(faces),
            origin=json.dumps(origin),
            **people,  # type: ignore[arg-type]
        )


def load_answers(path: str | os.PathLike[str], faces: NDArray[np.uint8]) -> Answers:
    """Read what :func:`save_answers` wrote; raises DataError where it is not for these faces.

    Files of the first format, without a number, have the answers of one head, ``fer2013``.
    """
    stored = _stored(path)
    logits, checksum = stored["logits"], int(stored["faces"])
    if checksum != _checksum(faces) or logits.shape != (len(faces), len(EMOTIONS)):
        raise DataError(f"{path}: the logits are for {len(logits)} other training images, not for these")
    people = stored.get("people")
    if people is not None and people.shape != (len(faces), len(PEOPLE_ANSWERS)):
        raise DataError(
            f"{path}: people's answers have shape {people.shape}; want {(len(faces), len(PEOPLE_ANSWERS))}"
        )
    return Answers(logits.astype(np.float32), None if people is None else people.astype(np.float32))


def load_origin(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The training runs of the teachers that gave these logits; raises DataError."""
    return current_stages(json.loads(str(_stored(path)["origin"])))


def _stored(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if int(stored.get("format", 1)) > FORMAT:
                raise DataError(f"{path}: of a later version of fer-edge (format {int(stored['format'])})")
            names = ["logits", "faces", "origin", *(["people"] if "people" in stored else [])]
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a file of teacher logits ({error})") from error


def _checksum(faces: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(faces).data)
