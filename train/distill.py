"""Teachers' logits for distillation (Hinton et al. 2015, arXiv:1503.02531): computed once, then stored."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from fer_edge.errors import DataError
from fer_edge.files import atomic_path
from fer_edge.labels import EMOTIONS
from fer_edge.models.manifest import bundled_models

from .beginning import exported_file, exported_net, exported_record, is_exported
from .checkpoint import load, load_net
from .loop import distinct, predict_logits
from .model import EmotionNet
from .processes import join

_BATCH = 256

LOGITS_NAME = "teacher_logits.npz"
SHIFTS = ((-1, 0), (1, 0))
"""Offsets in pixels (x, y) over which a teacher's answers are averaged, each also mirrored."""


def teacher_logits(
    checkpoints: Sequence[str | os.PathLike[str]],
    faces: NDArray[np.uint8],
    *,
    device: str = "cpu",
    bfloat16: bool = False,
) -> NDArray[np.float32]:
    """Logits float32 (n, 7) of uint8 faces (n, 48, 48), averaged over teachers, shifts and mirroring.

    Under ``torchrun`` each process does its share, and all get the whole. Raises as
    :func:`teacher_net`.
    """
    processes = join(device)
    share = faces[processes.rank :: processes.count]
    teachers = [teacher_net(name).to(device) for name in checkpoints]
    total = torch.zeros(len(share), len(EMOTIONS), device=device)
    bar = tqdm(
        range(0, len(share), _BATCH),
        desc="teachers",
        unit="batch",
        leave=False,
        disable=None if processes.first else True,
    )
    for start in bar:
        part = torch.from_numpy(share[start : start + _BATCH]).to(device)
        views = torch.cat(list(_views(part)))
        for teacher in teachers:
            logits = predict_logits(teacher, views, bfloat16=bfloat16)
            total[start : start + _BATCH] += logits.reshape(-1, len(part), len(EMOTIONS)).mean(0)
    mean: NDArray[np.float32] = processes.gather_shares(total / len(teachers), len(faces)).cpu().numpy()
    return mean


def teacher_net(name: str | os.PathLike[str]) -> EmotionNet:
    """The network of a checkpoint, or of an exported model, named as for :func:`.beginning.exported_net`.

    Raises CheckpointError, ModelError, MissingExtraError.
    """
    return exported_net(name).eval() if is_exported(name) else load_net(name)[0]


def describe(teachers: Sequence[str], role: str = "given teacher") -> list[dict[str, Any]]:
    """How each teacher (checkpoint, exported model, stored logits) came to be: one entry a training run.

    A run that several build on is told once. Raises CheckpointError, DataError, ModelError.
    """
    found: list[dict[str, Any]] = []
    for teacher in teachers:
        if Path(teacher).suffix == ".npz":
            found += json.loads(str(_stored(teacher)["origin"]))
        elif is_exported(teacher):
            record = exported_record(teacher)
            known = "bundled" if teacher in bundled_models() else "exported"
            found += [
                *record.get("origin", []),
                {
                    "stage": f"{role}: {known} {exported_file(teacher).model}",
                    "epoch": record["epochs"],
                    "val_accuracy": record["held_out"]["torch_accuracy"] / 100,
                    "options": record["training_options"],
                    "torch": record["versions"]["torch"],
                    "history": [],
                },
            ]
        else:
            state = load(teacher)
            found += [
                *state.get("origin", []),
                {
                    "stage": role,
                    "epoch": state["epoch"],
                    "val_accuracy": state["history"][-1]["val_accuracy"],
                    "options": state["options"],
                    "torch": state["torch"],
                    "history": state["history"],
                },
            ]
    return distinct(found)


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


def teaching(
    out: Path,
    teachers: Sequence[str],
    faces: NDArray[np.uint8],
    *,
    live: bool = False,
    device: str = "cpu",
    bfloat16: bool = False,
) -> NDArray[np.float32] | tuple[EmotionNet, ...]:
    """What a run learns from its teachers: checkpoints, exported models, or a file of stored logits (.npz).

    Their logits, float32 (n, 7), from the run's folder ``out`` where they are stored there already;
    or, ``live``, the networks themselves, which a file of logits cannot give. Raises
    CheckpointError, DataError (also where those stored in ``out`` came from other teachers), ModelError,
    MissingExtraError.
    """
    stored_files = [teacher for teacher in teachers if Path(teacher).suffix == ".npz"]
    if live and stored_files:
        raise DataError(f"{stored_files[0]}: holds answers to plain images; live teachers are .pt")
    if live:
        return tuple(map(teacher_net, teachers))
    if len(teachers) == 1 and stored_files:
        return load_logits(teachers[0], faces)
    stored = out / LOGITS_NAME
    told = describe(teachers)
    if stored.exists():
        logits = load_logits(stored, faces)
        if json.loads(str(_stored(stored)["origin"])) != json.loads(json.dumps(told)):
            raise DataError(f"{stored}: answers of other teachers; choose another --out, or delete it")
        return logits
    logits = teacher_logits(teachers, faces, device=device, bfloat16=bfloat16)
    if join(device).first:
        save_logits(stored, logits, faces, told)
    return logits


def _stored(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in ("logits", "faces", "origin")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a file of teacher logits ({error})") from error


def _views(faces: Tensor) -> Iterable[Tensor]:
    height, width = faces.shape[1:]
    border = max(max(abs(x), abs(y)) for x, y in SHIFTS)
    padded = F.pad(faces.unsqueeze(1).float(), [border] * 4, mode="replicate")[:, 0].to(faces.dtype)
    for x, y in SHIFTS:
        view = padded[:, border + y : border + y + height, border + x : border + x + width]
        yield view
        yield view.flip(2)


def _checksum(faces: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(faces).data)
