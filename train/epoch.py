"""One epoch of training: batches, augmentation, teachers' answers, loss, steps of the optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .accelerate import autocast
from .augment import augment
from .averaging import AveragedNet
from .budget import Budget
from .data import DeviceData, device_generator
from .distributed import World
from .divergence import DivergedError
from .losses import label_targets, objective, rare_weights
from .mixup import mix
from .model import EmotionNet, Heads
from .optimizer import Optimizer
from .options import TrainOptions
from .schedule import augmentation_strength, learning_rate
from .teachers import live_answers


@dataclass(frozen=True)
class Learner:
    """What an epoch changes.

    net: the network; wrapped: the same, its gradients averaged over all processes; averaged: the copy
    with averaged weights.
    """

    net: EmotionNet
    wrapped: nn.Module
    averaged: AveragedNet
    optimizer: Optimizer

    @property
    def averaged_net(self) -> EmotionNet:
        """The network with averaged weights."""
        return self.averaged.module

    def step(self, loss: Tensor) -> None:
        """Change the weights, and their averages, so that ``loss`` becomes less."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.averaged.update(self.net)


@dataclass(frozen=True)
class _Sums:
    """Figures of some steps, on the device: each one's loss, and sums over ``seen`` images."""

    totals: Tensor
    label_loss: Tensor
    correct: Tensor
    steps: int
    seen: int


def train_epoch(
    learner: Learner,
    data: DeviceData,
    options: TrainOptions,
    epoch: int,
    world: World,
    last_accuracy: float | None = None,
    budget: Budget | None = None,
) -> dict[str, float]:
    """Train for one epoch (from 0); returns mean label loss and accuracy on the augmented images.

    With a ``budget`` rates and augmentation follow that, and the epoch ends with it, after one step at
    least. ``last_accuracy`` on the validation rows is shown on the progress bar. Raises DivergedError.
    """
    order = torch.stack(list(batches(len(data.faces), options, epoch, world)))
    bar = tqdm(
        order.to(data.faces.device),
        desc=f"epoch {epoch + 1}" + ("" if budget else f"/{options.epochs}"),
        unit="batch",
        leave=False,
        disable=None if world.first else True,
    )
    if last_accuracy is not None:
        bar.set_postfix(val=f"{last_accuracy:.4f}")
    sums = train_steps(learner, data, options, epoch, bar, world, budget)
    totals = sums.totals[: sums.steps].cpu()
    bad = (~totals.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise DivergedError(f"the loss became {totals[step].item()} in step {step + 1} in epoch {epoch + 1}")
    return {
        "train_loss": sums.label_loss.item() / sums.seen,
        "train_accuracy": sums.correct.item() / sums.seen,
    }


def train_steps(
    learner: Learner,
    data: DeviceData,
    options: TrainOptions,
    epoch: int,
    order: Iterable[Tensor],
    world: World,
    budget: Budget | None = None,
) -> _Sums:
    """Make a step for each batch of ``order``, rows int64 (m,) on the device.

    Nothing is read from the device in between, for that would make a GPU wait in every step.
    """
    device = data.faces.device
    seed = epoch_seed(options.seed, epoch, world.rank)
    generator = device_generator(device, seed)
    torch.manual_seed(seed)
    count = len(data.faces) // min(options.batch, len(data.faces))
    # From the host, which needs the number itself.
    shares = np.random.default_rng(seed).beta(options.mixup, options.mixup, count) if options.mixup else None
    augmentation = options.augmentation.scaled(augmentation_strength(options, epoch))
    weights = None
    if options.rare_weight and data.votes is not None:
        weights = rare_weights(data.votes, options.rare_weight)
    totals, label_loss = torch.zeros(count, device=device), torch.zeros((), device=device)
    correct, seen, step = torch.zeros((), dtype=torch.int64, device=device), 0, -1
    learner.wrapped.train()
    for step, index in enumerate(order):
        now = epoch + step / count if budget is None else options.epochs * budget.fraction()
        learner.optimizer.learning_rate = learning_rate(options, now)
        if budget is not None:
            augmentation = options.augmentation.scaled(augmentation_strength(options, now))
        answers: Heads | None = None
        if data.bank is not None:
            varied, answers = data.bank.draw(index, _calm(options, now), generator)
        else:
            varied = augment(data.faces[index], augmentation, generator)
            if data.teacher is not None:
                answers = data.teacher.map(itemgetter(index))
        targets = _targets(data, index, options)
        if answers is not None:
            _teach(targets, answers, options)
        share = None if shares is None else float(shares[step])
        inputs, targets = _inputs(learner, data, varied, targets, share, generator)
        with autocast(device, options.bfloat16):
            if data.live_teachers:
                _teach(targets, live_answers(data.live_teachers, inputs[1:]), options)
            output = learner.wrapped(inputs[0])
        total, batch_loss, logits = objective(output, targets, options, weights)
        learner.step(total)
        totals[step] = total.detach()
        label_loss += batch_loss.detach() * len(index)
        correct += (logits.argmax(1) == targets["labels"].argmax(1)).sum()
        seen += len(index)
        if budget is not None and budget.over():
            break
    return _Sums(totals, label_loss, correct, step + 1, seen)


def batches(count: int, options: TrainOptions, epoch: int, world: World) -> Iterator[Tensor]:
    """This process's rows of each batch of an epoch, int64, shuffled; an incomplete last batch is dropped."""
    generator = torch.Generator().manual_seed(epoch_seed(options.seed, epoch, -1))
    order = torch.randperm(count, generator=generator)
    size = min(options.batch, count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size][world.rank :: world.size]


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """The seed of one process's random numbers in an epoch; of rank -1, of what all have in common."""
    return int(
        np.random.SeedSequence([seed, epoch, rank + 1]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    )


def _inputs(
    learner: Learner,
    data: DeviceData,
    varied: Tensor,
    targets: dict[str, Tensor],
    share: float | None,
    generator: torch.Generator,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The faces as each network takes them, and the targets; with a ``share`` pairs of both are mixed."""
    inputs = [learner.net.inputs(varied), *(teacher.inputs(varied) for teacher in data.live_teachers)]
    if share is not None:
        mixed, targets = mix(torch.cat(inputs, 1), targets, share, generator)
        inputs = list(mixed.split(1, 1))
    return [one.contiguous(memory_format=torch.channels_last) for one in inputs], targets


def _targets(data: DeviceData, index: Tensor, options: TrainOptions) -> dict[str, Tensor]:
    """What a batch is to learn, except from teachers."""
    targets = {"labels": label_targets(data.labels[index], options.label_smoothing)}
    if data.votes is not None:
        targets["votes"] = data.votes[index]
    return targets


def _teach(targets: dict[str, Tensor], answers: Heads, options: TrainOptions) -> None:
    """Add what a batch is to learn from the teachers' logits."""
    targets["teacher"] = F.softmax(answers.fer2013 / options.distill_temperature, 1)
    if answers.people is not None and "votes" in targets:
        targets["teacher_people"] = F.softmax(answers.people / options.distill_temperature, 1)


def _calm(options: TrainOptions, now: float) -> float:
    """How far augmentation has decayed, from 0 to 1."""
    if options.augmentation_floor >= 1:
        return 0.0
    return (1 - augmentation_strength(options, now)) / (1 - options.augmentation_floor)
