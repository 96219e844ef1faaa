"""One epoch of training: batches, augmentation, teachers' answers, loss, steps of the optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from .augment import augment
from .data import DeviceData
from .distributed import World
from .divergence import DivergedError
from .losses import label_targets, objective, teacher_targets
from .mixup import mix
from .model import EmotionNet
from .optimizer import Optimizer
from .options import TrainOptions
from .schedule import augmentation_strength, learning_rate


@dataclass(frozen=True)
class Learner:
    """What an epoch changes.

    net: the network; wrapped: the same, its gradients averaged over all processes; averaged: the copy
    with averaged weights.
    """

    net: EmotionNet
    wrapped: nn.Module
    averaged: AveragedModel
    optimizer: Optimizer

    @property
    def averaged_net(self) -> EmotionNet:
        """The network with averaged weights."""
        net = self.averaged.module
        assert isinstance(net, EmotionNet)
        return net


def train_epoch(
    learner: Learner,
    data: DeviceData,
    options: TrainOptions,
    epoch: int,
    world: World,
    last_accuracy: float | None = None,
) -> dict[str, float]:
    """Train for one epoch (from 0); returns mean label loss and accuracy on the augmented images.

    ``last_accuracy`` on the validation rows is shown on the progress bar. Raises DivergedError.
    """
    device = data.faces.device
    generator = torch.Generator(device=device)
    generator.manual_seed(epoch_seed(options.seed, epoch, world.rank))
    torch.manual_seed(epoch_seed(options.seed, epoch, world.rank))
    augmentation = options.augmentation.scaled(augmentation_strength(options, epoch))
    steps = list(batches(len(data.faces), options, epoch, world))
    bar = tqdm(
        steps,
        desc=f"epoch {epoch + 1}/{options.epochs}",
        unit="batch",
        leave=False,
        disable=None if world.first else True,
    )
    if last_accuracy is not None:
        bar.set_postfix(val=f"{last_accuracy:.4f}")
    # Figures stay on the device: reading one in the loop would make a GPU wait for every step.
    totals, label_losses = torch.zeros(len(steps), device=device), torch.zeros((), device=device)
    correct, seen = torch.zeros((), dtype=torch.int64, device=device), 0
    learner.wrapped.train()
    for step, indices in enumerate(bar):
        learner.optimizer.learning_rate = learning_rate(options, epoch + step / len(steps))
        index = indices.to(device, non_blocking=True)
        views = augment(data.faces[index], augmentation, generator)
        inputs = [learner.net.inputs(views), *(teacher.inputs(views) for teacher in data.live_teachers)]
        targets = _targets(data, index, options)
        if options.mixup > 0:
            mixed, targets = mix(torch.cat(inputs, 1), targets, options.mixup, generator)
            inputs = list(mixed.split(1, 1))
        inputs = [one.contiguous(memory_format=torch.channels_last) for one in inputs]
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bfloat16):
            if data.live_teachers:
                answers = _mean_answers(data.live_teachers, inputs[1:])
                targets["teacher"] = teacher_targets(answers, targets.get("vote_answers"), options)
            output = learner.wrapped(inputs[0])
        total, label_loss, logits = objective(output, targets, options)
        learner.optimizer.zero_grad()
        total.backward()
        learner.optimizer.step()
        learner.averaged.update_parameters(learner.net)
        totals[step] = total.detach()
        label_losses += label_loss.detach() * len(index)
        correct += (logits.argmax(1) == targets["labels"].argmax(1)).sum()
        seen += len(index)
    bad = (~totals.isfinite()).nonzero()
    if len(bad):
        step = int(bad[0])
        raise DivergedError(f"the loss became {totals[step].item()} in step {step + 1}")
    return {"train_loss": label_losses.item() / seen, "train_accuracy": correct.item() / seen}


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


def _targets(data: DeviceData, index: Tensor, options: TrainOptions) -> dict[str, Tensor]:
    """What a batch is to learn, except from live teachers, who have not seen it yet."""
    targets = {"labels": label_targets(data.labels[index], options.label_smoothing)}
    if data.votes is not None:
        targets["votes"] = data.votes[index]
    vote_answers = None if data.vote_answers is None else data.vote_answers[index]
    if data.teacher is not None:
        targets["teacher"] = teacher_targets(data.teacher[index], vote_answers, options)
    elif vote_answers is not None:
        targets["vote_answers"] = vote_answers
    return targets


@torch.no_grad()
def _mean_answers(teachers: Sequence[EmotionNet], inputs: Sequence[Tensor]) -> Tensor:
    """Mean logits, float32 (n, 7), of the same faces as each teacher wants them, (n, 1, 48, 48)."""
    answers = [teacher(own).fer2013.float() for teacher, own in zip(teachers, inputs, strict=True)]
    return torch.stack(answers).mean(0)
