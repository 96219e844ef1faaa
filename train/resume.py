"""What a run saves after each epoch, and whether it may go on from that to the same result."""

from __future__ import annotations

import copy
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge import __version__
from fer_edge.files import write_text

from . import checkpoint
from .architectures import Architecture
from .data import TrainingData
from .distributed import World
from .epoch import Learner
from .logits_file import Answers
from .metrics import best_row, metrics_csv
from .model import EmotionNet
from .options import TrainOptions
from .renamed import REMOVED

_RESUMABLE = ("identity", "net", "averaged", "optimizer")
"""What only last.pt has."""


def save_epoch(
    out: Path,
    learner: Learner,
    architecture: Architecture,
    options: TrainOptions,
    history: list[dict[str, float]],
    rows: int,
    identity: dict[str, int],
    provenance: dict[str, Any],
    finished: bool,
) -> None:
    """Write ``metrics.csv``, ``last.pt``, and ``best.pt`` where the last epoch of ``history`` is the best.

    ``rows`` were trained on; ``identity`` is that of :func:`run_identity`; ``provenance`` has the run's
    ``stage`` and ``origin``, the rows ``held_out``, whether faces were ``detected`` in pictures, and the
    ``bank_views`` that there was time for; ``finished``: whether this is the run's end, which a budget of
    time alone does not tell later.
    """
    state = {
        "architecture": architecture.to_dict(),
        "options": asdict(options),
        "torch": str(torch.__version__),
        "fer-edge": __version__,
        "rows": rows,
        "epoch": int(history[-1]["epoch"]),
        "history": copy.deepcopy(history),
        **provenance,
        "finished": finished,
        "ema": learner.averaged_net.state_dict(),
    }
    resumable = {
        "identity": identity,
        "net": learner.net.state_dict(),
        "averaged": learner.averaged.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
    }
    # Without last.pt, a folder with other files could be neither resumed nor begun anew.
    first = len(history) == 1
    if first:
        checkpoint.save(out / "last.pt", state | resumable)
    if best_row(history) is history[-1]:
        checkpoint.save(out / "best.pt", state)
    write_text(out / "metrics.csv", metrics_csv(history))
    if not first:
        # Last, because an epoch that is in last.pt is not repeated.
        checkpoint.save(out / "last.pt", state | resumable)


def complete_first(out: Path, state: dict[str, Any]) -> None:
    """Write what is missing beside ``last.pt``, the ``state``, where saving the first epoch was cut off."""
    if len(state["history"]) > 1:
        return
    if not (out / "best.pt").exists():
        left_out = {"format", *_RESUMABLE}
        checkpoint.save(
            out / "best.pt", {name: value for name, value in state.items() if name not in left_out}
        )
    if not (out / "metrics.csv").exists():
        write_text(out / "metrics.csv", metrics_csv(state["history"]))


def load_resumable(path: Path, options: TrainOptions, identity: dict[str, int]) -> dict[str, Any]:
    """The checkpoint at ``path``; raises CheckpointError where this run would not continue that one."""
    state = checkpoint.load(path)
    if not {"history", *_RESUMABLE} <= state.keys():
        raise checkpoint.CheckpointError(f"{path}: has no training state; only last.pt can be resumed")
    # An older version's checkpoint lacks the options that came later, which it left at their defaults.
    defaults = asdict(TrainOptions())
    before = defaults | state["options"]
    before["augmentation"] = defaults["augmentation"] | before["augmentation"]
    different = [
        f"{name} was {before[name]!r}, now {value!r}"
        for name, value in asdict(options).items()
        if before[name] != value
    ]
    different += [
        f"{name} was {before[name]!r}, an option that this version no longer has"
        for name, neutral in REMOVED.items()
        if before.get(name, neutral) != neutral
    ]
    different += [
        f"the {name} differ" if name != "number of processes" else f"{name} was {state['identity'].get(name)}"
        for name, value in identity.items()
        if state["identity"].get(name) != value
    ]
    if different:
        raise checkpoint.CheckpointError(f"{path}: cannot be resumed: " + "; ".join(different))
    return state


def run_identity(data: TrainingData, world: World) -> dict[str, int]:
    """What besides the options has to be the same for a run to go on to the same result."""
    arrays = {
        "training images": data.faces,
        "training labels": data.labels,
        "votes": np.empty(0, np.float32) if data.votes is None else data.votes,
        "teachers": _teachers_identity(data.teacher),
        "validation images": data.val_faces,
        "validation labels": data.val_labels,
    }
    checks = {name: zlib.crc32(np.ascontiguousarray(array).data) for name, array in arrays.items()}
    return {"number of processes": world.size, **checks}


def _teachers_identity(teacher: Answers | tuple[EmotionNet, ...] | None) -> NDArray[np.float32]:
    if isinstance(teacher, Answers):
        heads = (teacher.fer2013, teacher.people)
        return np.concatenate([head.ravel() for head in heads if head is not None])
    tensors = [tensor.cpu().float() for net in teacher or () for tensor in net.state_dict().values()]
    return np.concatenate([np.empty(0), *(tensor.numpy().ravel() for tensor in tensors)], dtype=np.float32)
