"""Teachers' answers for distillation (Hinton et al. 2015, arXiv:1503.02531): computed once, then stored."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from operator import itemgetter
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


def load_teachers(
    names: Sequence[str | os.PathLike[str]], faces: NDArray[np.uint8]
) -> tuple[list[EmotionNet], list[Answers]]:
    """The networks among the teachers of these names, and what files (.npz) hold of answers to the faces.

    Raises DataError where such a file has answers to other faces, and as :func:`.pretrained.pretrained_net`.
    """
    files = [name for name in names if _is_stored(name)]
    nets = [pretrained_net(name) for name in names if not _is_stored(name)]
    return nets, [load_answers(name, faces) for name in files]


def _is_stored(name: str | os.PathLike[str]) -> bool:
    return Path(name).suffix == ".npz"


def teacher_answers(
    names: Sequence[str | os.PathLike[str]],
    faces: NDArray[np.uint8],
    *,
    device: str = "cpu",
    bfloat16: bool = False,
) -> Answers:
    """Logits for uint8 faces (n, 48, 48), averaged over teachers, shifts or crops, and mirroring.

    A file of stored answers counts as one teacher, however many gave them. Under ``torchrun`` each process
    does its share, and all get the whole. Raises as :func:`load_teachers`.
    """
    world = join_world(device)
    own = slice(world.rank, None, world.size)
    share = torch.from_numpy(np.ascontiguousarray(faces[own])).to(device)
    nets, files = load_teachers(names, faces)
    teachers = [net.to(device) for net in nets]
    stored = [answers.on(share.device).map(itemgetter(own)) for answers in files]
    bar = tqdm(
        share.split(_BATCH),
        desc="teachers",
        unit="batch",
        leave=False,
        disable=None if world.first else True,
    )
    parts = []
    for number, part in enumerate(bar):
        rows = slice(number * _BATCH, (number + 1) * _BATCH)
        given = [heads.map(itemgetter(rows)) for heads in stored]
        parts.append(mean_answers(teachers, part, bfloat16, stored=given))
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
    """What a run learns from its teachers: checkpoints, exported models, or files of stored answers (.npz).

    Their answers on average, from the run's folder ``out`` where they are stored there already; or, ``live``
    or for a bank, the networks themselves, which a file of answers cannot give. Raises CheckpointError,
    DataError (also where those stored in ``out`` came from other teachers), ModelError, MissingExtraError.
    """
    stored_files = [teacher for teacher in teachers if _is_stored(teacher)]
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
