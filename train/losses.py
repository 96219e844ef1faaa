"""Targets and losses: smoothed labels, teachers' answers, FER+ votes, and their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_edge.labels import EMOTIONS

from .model import Heads
from .options import TrainOptions


def label_targets(labels: Tensor, smoothing: float) -> Tensor:
    """Target distributions, float32 (n, 7): ``smoothing`` spread evenly, the rest on the label."""
    classes = len(EMOTIONS)
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def rare_weights(votes: Tensor, power: float) -> Tensor:
    """Weight of each answer of people, (9,), in the loss on votes (n, 9): its frequency to minus ``power``.

    Scaled so that the weights of the seven emotions are 1 on average over the votes; the two answers that are
    no emotion count as much as the commonest one, and what is rarer than 1 in 100 as if it were not.
    """
    emotions = len(EMOTIONS)
    frequency = (votes / votes.sum(1, keepdim=True).clamp(min=1e-6)).sum(0)[:emotions]
    frequency = frequency / frequency.sum()
    weights = frequency.clamp(min=0.01) ** -power
    weights = weights / (weights * frequency).sum()
    return torch.cat([weights, weights.min().repeat(votes.shape[1] - emotions)])


def cross_entropies(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy (n,) of logits (n, k) against distributions (n, k); classes may have weights (k,).

    With these the logits are offset by their logarithms (as Menon et al. 2021, arXiv:2007.07314, do), so that
    the targets themselves still are what makes the loss least.
    """
    if weights is not None:
        targets, logits = targets * weights, logits + weights.log()
    return -(targets * F.log_softmax(logits, 1)).sum(1)


def soft_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of logits (n, k) against target distributions (n, k)."""
    return cross_entropies(logits, targets, weights).mean()


def distillation_loss(
    logits: Tensor, targets: Tensor, temperature: float, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy at ``temperature``, scaled so that its gradient does not depend on that."""
    return temperature**2 * soft_cross_entropy(logits / temperature, targets, weights)


def vote_loss(logits: Tensor, votes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of logits (n, 9) against the distribution of votes; rows without votes count nothing."""
    total = votes.sum(1, keepdim=True)
    losses = cross_entropies(logits, votes / total.clamp(min=1e-6), weights)
    voted = (total[:, 0] > 0).float()
    return (losses * voted).sum() / voted.sum().clamp(min=1)


def objective(
    output: Heads, targets: Mapping[str, Tensor], options: TrainOptions, answer_weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What a step minimizes, its part that the labels give, and the emotion logits (n, 7).

    ``targets`` have ``votes`` (n, 9) where the network has a head for them. The others are distributions:
    ``labels`` (n, 7), and ``teacher`` (n, 7) and ``teacher_people`` (n, 9) where there is one.
    ``answer_weights``: of people's answers, (9,), see :func:`rare_weights`; None: 1 each.
    """
    logits = output.fer2013.float()
    total = label_loss = soft_cross_entropy(logits, targets["labels"])
    if "teacher" in targets:
        total = (1 - options.distill_weight) * label_loss + options.distill_weight * distillation_loss(
            logits, targets["teacher"], options.distill_temperature
        )
    if output.people is not None:
        people = output.people.float()
        people_loss = vote_loss(people, targets["votes"], answer_weights)
        if "teacher_people" in targets:
            share = options.people_distill_weight
            people_loss = (1 - share) * people_loss + share * distillation_loss(
                people, targets["teacher_people"], options.distill_temperature, answer_weights
            )
        total = total + options.vote_weight * people_loss
    return total, label_loss, logits
