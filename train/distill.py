"""Teachers' answers for distillation (Hinton et al. 2015, arXiv:1503.02531): computed once, then stored."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fer_edge.errors import DataError

from .distributed import join_world
from .logits_file import LOGITS_NAME, Answers, load_answers, load_origin, save_answers
from .model import EmotionNet, combine_heads
from .pretrained import pretrained_net
from .provenance import describe
from .teachers import mean_answers

_BATCH = 256


def teacher_answers(
    checkpoints: Sequence[str | os.PathLike[str]],
    faces: NDArray[np.uint8],
    *,
    device: str = "cpu",
    bfloat16: bool = False,
) -> Answers:
    """Logits for uint8 faces (n, 48, 48), averaged over teachers, shifts or crops, and mirroring.

    Under ``torchrun`` each process does its share, and all get the whole. Raises as
    :func:`.pretrained.pretrained_net`.
    """
    world = join_world(device)
    share = torch.from_numpy(np.ascontiguousarray(faces[world.rank :: world.size])).to(device)
    teachers = [pretrained_net(name).to(device) for name in checkpoints]
    bar = tqdm(
        share.split(_BATCH),
        desc="teachers",
        unit="batch",
        leave=False,
        disable=None if world.first else True,
    )
    parts = [mean_answers(teachers, part, bfloat16) for part in bar]
    fer2013, people = combine_heads(parts, torch.cat).map(
        lambda logits: world.gather_shares(logits, len(faces)).cpu()
    )
    return Answers(fer2013.numpy(), None if people is None else people.numpy())


def prepare_teachers(
    out: Path,
    teachers: Sequence[str],
    faces: NDArray[np.uint8],
    *,
    live: bool = False,
    device: str = "cpu",
    bfloat16: bool = False,
) -> Answers | tuple[EmotionNet, ...]:
    """What a run learns from its teachers: checkpoints, exported models, or a file of stored answers (.npz).

    Their answers, from the run's folder ``out`` where they are stored there already; or, ``live`` or for
    a bank, the networks themselves, which a file of answers cannot give. Raises
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
        return load_answers(teachers[0], faces)
    stored = out / LOGITS_NAME
    origin = describe(teachers)
    if stored.exists():
        answers = load_answers(stored, faces)
        if load_origin(stored) != json.loads(json.dumps(origin)):
            raise DataError(f"{stored}: answers of other teachers; choose another --out, or delete it")
        return answers
    answers = teacher_answers(teachers, faces, device=device, bfloat16=bfloat16)
    if join_world(device).first:
        save_answers(stored, answers, faces, origin)
    return answers
