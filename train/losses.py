"""Targets and losses: smoothed labels, teachers' answers, FER+ votes, and their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from fer_edge.labels import EMOTIONS

from .model import Heads
from .options import TrainOptions


def label_targets(labels: Tensor, smoothing: float) -> Tensor:
    """Target distributions, float32 (n, 7): ``smoothing`` spread evenly, the rest on the label."""
    classes = len(EMOTIONS)
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (n, k) against target distributions (n, k)."""
    return -(targets * F.log_softmax(logits, 1)).sum(1).mean()


def distillation_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Cross-entropy at ``temperature``, scaled so that its gradient does not depend on that."""
    return temperature**2 * soft_cross_entropy(logits / temperature, targets)


def vote_loss(logits: Tensor, votes: Tensor) -> Tensor:
    """Cross-entropy of logits (n, 9) against the distribution of votes; rows without votes count nothing."""
    total = votes.sum(1, keepdim=True)
    losses = -(votes / total.clamp(min=1e-6) * F.log_softmax(logits, 1)).sum(1)
    voted = (total[:, 0] > 0).float()
    return (losses * voted).sum() / voted.sum().clamp(min=1)


def objective(
    output: Heads, targets: Mapping[str, Tensor], options: TrainOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """What a step minimizes, its part that the labels give, and the emotion logits (n, 7).

    ``targets`` have ``votes`` (n, 9) where the network has a head for them. The others are distributions:
    ``labels`` (n, 7), and ``teacher`` (n, 7) and ``teacher_people`` (n, 9) where there is one.
    """
    logits = output.fer2013.float()
    total = label_loss = soft_cross_entropy(logits, targets["labels"])
    if "teacher" in targets:
        total = (1 - options.distill_weight) * label_loss + options.distill_weight * distillation_loss(
            logits, targets["teacher"], options.distill_temperature
        )
    if output.people is not None:
        people = output.people.float()
        people_loss = vote_loss(people, targets["votes"])
        if "teacher_people" in targets:
            share = options.people_distill_weight
            people_loss = (1 - share) * people_loss + share * distillation_loss(
                people, targets["teacher_people"], options.distill_temperature
            )
        total = total + options.vote_weight * people_loss
    return total, label_loss, logits
