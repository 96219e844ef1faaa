"""The training loop: epoch after epoch, validated and saved, resumable to the same result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .accelerate import compiled, prepare_device
from .architectures import ARCHITECTURES
from .averaging import AveragedNet
from .budget import REPORTS, Budget
from .data import DeviceData, TrainingData, on_device
from .distributed import World, join_world
from .divergence import DivergedError, RunKind, TrainingError, refuse_infinite, way_out
from .epoch import Learner, train_epoch
from .model import EmotionNet
from .optimizer import Optimizer
from .options import TrainOptions
from .provenance import held_out_record
from .resume import complete_first, load_resumable, run_identity, save_epoch
from .validation import validate

_BANK_SHARE = 0.25
"""How much of a budget the bank of views may take."""


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
    kind: RunKind = "plain",
) -> list[dict[str, float]]:
    """Train, and write ``last.pt``, ``best.pt`` and ``metrics.csv`` into ``out`` after every epoch.

    ``start`` is a network to train further instead of a new one. ``resume`` continues from
    ``last.pt`` to the same result as an uninterrupted run. With ``options.minutes`` the run takes that
    long, however many epochs that makes, and reports after each twentieth of it (or each epoch, where that is
    longer); resumed, it has what is left of the time, and cannot come to the same result. Under
    ``torchrun`` every process takes its share of each batch. Its checkpoints record the ``stage``,
    and ``origin``, one entry for each run that this one builds on; and ``people``, the settings of the model
    it grew out of, for an export without votes. Returns one row of :data:`.metrics.METRICS` a report.
    Raises TrainingError where a batch has too few images for the processes, where several share a
    budget of time, and where loss or weights become infinite or no numbers (that epoch is not saved; the
    ``kind`` of the run decides on the advice), CheckpointError where the run to be resumed had other options.
    """
    started = time.perf_counter()
    world = join_world(device)
    refuse_unfit(options, data, world)
    target = torch.device(device)
    prepare_device(target)
    torch.manual_seed(options.seed)
    net = _prepared_net(options, data, start, target)
    averaged = AveragedNet(net, options.ema)
    optimizer = Optimizer(net, options.optimizer, options.learning_rate, options.weight_decay)
    identity = run_identity(data, world)
    history: list[dict[str, float]] = []
    finished = False
    origin = origin or []
    if resume:
        state = load_resumable(out / "last.pt", options, identity)
        if world.first:
            complete_first(out, state)
        # A checkpoint of an older version lacks it.
        origin = state.get("origin") or origin
        net.load_state_dict(state["net"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
        finished = state.get("finished", False)
    provenance: dict[str, Any] = {
        "stage": stage,
        "origin": origin,
        "held_out": held_out_record(data, origin),
        "detected": data.detected,
        **({"people": people} if people else {}),
    }

    spent = sum(row["seconds"] for row in history)
    budget = Budget(60 * options.minutes, spent, started) if options.minutes else None
    epoch = int(history[-1]["epoch"]) if history else 0
    ended = finished or _ended(history, options, budget)
    if not ended:
        seconds = None if budget is None else _BANK_SHARE * (budget.seconds - spent)
        rows = on_device(data, options, target, seconds)
        if rows.bank is not None:
            provenance["bank_views"] = views = len(rows.bank.views)
            if views < options.bank:
                print(f"bank: {views} of {options.bank} views, for lack of time", file=sys.stderr, flush=True)
        learner = Learner(net, _wrapped(net, rows, options, world), averaged, optimizer)
        if budget is not None:
            budget.begin_steps()

    while not ended:
        last_accuracy = history[-1].get("val_accuracy") if history else None
        try:
            train = train_epoch(learner, rows, options, epoch, world, last_accuracy, budget)
            epoch += 1
            reporting = time.perf_counter()
            due = budget is None or budget.over() or reporting - started > budget.seconds / REPORTS
            if not due:
                continue
            row = {"epoch": float(epoch), "learning_rate": optimizer.learning_rate, **train}
            if world.first:
                row |= _validated(learner, rows, options)
            refuse_infinite(net, averaged.module, row)
        except DivergedError as error:
            raise TrainingError(f"{error}; {way_out(out, history, kind)}") from error
        row["seconds"] = time.perf_counter() - started
        started = time.perf_counter()
        history.append(row)
        finished = budget is not None and budget.over()
        written = (out, learner, net.architecture, options, history, len(data.faces), identity, provenance)
        if world.first:
            save_epoch(*written, finished)
            if on_epoch is not None:
                on_epoch(history)
        if budget is not None:
            budget.reported(time.perf_counter() - reporting)
        ended = _ended(history, options, budget)
        if budget is not None and ended and not finished:
            # This report took so long that no time is left for another step.
            save_epoch(*written, ended)
    world.barrier()
    return history


def refuse_unfit(options: TrainOptions, data: TrainingData, world: World) -> None:
    """Raise TrainingError where these processes cannot train with these options on these data."""
    batch = min(options.batch, len(data.faces))
    if batch < world.size:
        raise TrainingError(f"a batch of {options.batch} cannot be shared by {world.size} processes")
    least = ARCHITECTURES[options.model].least_batch
    if batch // world.size < least:
        raise TrainingError(
            f"--model {options.model} needs at least {least} images of a batch in each process, since its "
            f"last batch norms take the spread over them alone; {batch} are too few for {world.size}"
        )
    if options.minutes and world.size > 1:
        raise TrainingError("--minutes goes with one process only: several would not end with the same step")


def _prepared_net(
    options: TrainOptions, data: TrainingData, start: EmotionNet | None, device: torch.device
) -> EmotionNet:
    """The network to train on the device, with a head for people's votes where there are votes."""
    net = EmotionNet(ARCHITECTURES[options.model]) if start is None else start
    if data.votes is None:
        net.people = None
    elif net.people is None:
        net.add_people()
    net.to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def _validated(learner: Learner, rows: DeviceData, options: TrainOptions) -> dict[str, float]:
    return validate(learner.averaged_net, rows.val_faces, rows.val_labels, options.bfloat16, rows.val_votes)


def _ended(history: list[dict[str, float]], options: TrainOptions, budget: Budget | None) -> bool:
    # At least one report: a bank of views may have taken all the time of a small budget.
    if not history:
        return False
    return history[-1]["epoch"] >= options.epochs if budget is None else budget.over()


def _wrapped(net: EmotionNet, rows: DeviceData, options: TrainOptions, world: World) -> nn.Module:
    """The network as it is called in training."""
    if world.size > 1:
        return DistributedDataParallel(net)
    if options.compile and rows.faces.device.type == "cuda":
        few = net.inputs(rows.faces[: options.batch]).contiguous(memory_format=torch.channels_last)
        return compiled(net, few, bfloat16=options.bfloat16)
    return net
