"""Teachers' answers for distillation (Hinton et al. 2015, arXiv:1503.02531): computed once, then stored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from fer_edge.errors import DataError
from fer_edge.labels import EMOTIONS

from .distributed import join_world
from .logits_file import LOGITS_NAME, load_logits, load_origin, save_logits
from .model import EmotionNet
from .pretrained import pretrained_net
from .provenance import describe
from .validation import predict_logits

_BATCH = 256

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
    :func:`.pretrained.pretrained_net`.
    """
    world = join_world(device)
    share = faces[world.rank :: world.size]
    teachers = [pretrained_net(name).to(device) for name in checkpoints]
    total = torch.zeros(len(share), len(EMOTIONS), device=device)
    bar = tqdm(
        range(0, len(share), _BATCH),
        desc="teachers",
        unit="batch",
        leave=False,
        disable=None if world.first else True,
    )
    for start in bar:
        part = torch.from_numpy(share[start : start + _BATCH]).to(device)
        views = torch.cat(list(_views(part)))
        for teacher in teachers:
            logits = predict_logits(teacher, views, bfloat16=bfloat16)
            total[start : start + _BATCH] += logits.reshape(-1, len(part), len(EMOTIONS)).mean(0)
    mean: NDArray[np.float32] = world.gather_shares(total / len(teachers), len(faces)).cpu().numpy()
    return mean


def prepare_teachers(
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
        raise DataError(
            f"{stored_files[0]}: holds logits of plain images, but live teachers answer to augmented ones; "
            "give a checkpoint or an exported model"
        )
    if live:
        return tuple(map(pretrained_net, teachers))
    if len(teachers) == 1 and stored_files:
        return load_logits(teachers[0], faces)
    stored = out / LOGITS_NAME
    origin = describe(teachers)
    if stored.exists():
        logits = load_logits(stored, faces)
        if load_origin(stored) != json.loads(json.dumps(origin)):
            raise DataError(f"{stored}: answers of other teachers; choose another --out, or delete it")
        return logits
    logits = teacher_logits(teachers, faces, device=device, bfloat16=bfloat16)
    if join_world(device).first:
        save_logits(stored, logits, faces, origin)
    return logits


def _views(faces: Tensor) -> Iterable[Tensor]:
    height, width = faces.shape[1:]
    border = max(max(abs(x), abs(y)) for x, y in SHIFTS)
    padded = F.pad(faces.unsqueeze(1).float(), [border] * 4, mode="replicate")[:, 0].to(faces.dtype)
    for x, y in SHIFTS:
        view = padded[:, border + y : border + y + height, border + x : border + x + width]
        yield view
        yield view.flip(2)
