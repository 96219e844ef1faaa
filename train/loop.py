"""The training loop: epoch after epoch, validated and saved, resumable to the same result."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .architectures import ARCHITECTURES
from .averaging import averaged_model
from .data import TrainingData, on_device
from .distributed import join_world
from .divergence import DivergedError, TrainingError, refuse_infinite, way_out
from .epoch import Learner, train_epoch
from .model import EmotionNet
from .optimizer import Optimizer
from .options import TrainOptions
from .provenance import held_out_record
from .resume import load_resumable, run_identity, save_epoch
from .validation import validate


def fit(
    data: TrainingData,
    options: TrainOptions,
    out: Path,
    *,
    start: EmotionNet | None = None,
    resume: bool = False,
    device: str = "cpu",
    on_epoch: Callable[[list[dict[str, float]]], None] | None = None,
    stage: str = "training",
    origin: list[dict[str, Any]] | None = None,
    people: dict[str, Any] | None = None,
) -> list[dict[str, float]]:
    """Train, and write ``last.pt``, ``best.pt`` and ``metrics.csv`` into ``out`` after every epoch.

    ``start`` is a network to train further instead of a new one. ``resume`` continues from
    ``last.pt`` to the same result as an uninterrupted run. Under ``torchrun`` every process takes
    its share of each batch. Its checkpoints tell that it is the ``stage``, and ``origin``, one
    entry for each run that this one builds on; and ``people``, the settings of the model it grew out of,
    for an export without votes. Returns one row of :data:`.metrics.METRICS` an epoch.
    Raises TrainingError where a batch has fewer images than there are processes, and where loss or weights
    become infinite or no numbers (that epoch is not saved), CheckpointError where the run to be resumed
    had other options.
    """
    world = join_world(device)
    if min(options.batch, len(data.faces)) < world.size:
        raise TrainingError(f"a batch of {options.batch} cannot be shared by {world.size} processes")
    target = torch.device(device)
    torch.manual_seed(options.seed)
    net = EmotionNet(ARCHITECTURES[options.model]) if start is None else start
    if data.votes is None:
        net.people = None
    elif net.people is None:
        net.add_people()
    net.to(target)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = averaged_model(net, options.ema)
    optimizer = Optimizer(net, options.optimizer, options.learning_rate, options.weight_decay)
    identity = run_identity(data, world)
    history: list[dict[str, float]] = []
    origin = origin or []
    if resume:
        state = load_resumable(out / "last.pt", options, identity)
        # A checkpoint of an older version lacks it.
        origin = state.get("origin") or origin
        net.load_state_dict(state["net"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
    wrapped: nn.Module = DistributedDataParallel(net) if world.size > 1 else net
    learner = Learner(net, wrapped, averaged, optimizer)
    rows = on_device(data, options, target)

    for epoch in range(len(history), options.epochs):
        started = time.perf_counter()
        last_accuracy = history[-1].get("val_accuracy") if history else None
        try:
            train = train_epoch(learner, rows, options, epoch, world, last_accuracy)
            row = {"epoch": float(epoch + 1), "learning_rate": optimizer.learning_rate, **train}
            if world.first:
                row.update(
                    validate(
                        learner.averaged_net,
                        rows.val_faces,
                        rows.val_labels,
                        options.bfloat16,
                        rows.val_votes,
                    )
                )
            refuse_infinite(net, averaged, row)
        except DivergedError as error:
            raise TrainingError(f"{error} in epoch {epoch + 1}; {way_out(out, len(history))}") from error
        row["seconds"] = time.perf_counter() - started
        history.append(row)
        if world.first:
            provenance = {
                "stage": stage,
                "origin": origin,
                "held_out": held_out_record(data, origin),
                **({"people": people} if people else {}),
            }
            save_epoch(
                out, learner, net.architecture, options, history, len(data.faces), identity, provenance
            )
            if on_epoch is not None:
                on_epoch(history)
    world.barrier()
    return history
