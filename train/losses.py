"""Targets and losses: smoothed labels, teachers' answers, FER+ votes, and their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_edge.labels import EMOTIONS
from fer_edge.models.people import LEAST_FREQUENCY

from .model import Heads
from .options import TrainOptions


def label_targets(labels: Tensor, smoothing: float) -> Tensor:
    """Target distributions, float32 (n, 7): ``smoothing`` spread evenly, the rest on the label."""
    classes = len(EMOTIONS)
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def vote_shares(votes: Tensor) -> Tensor:
    """The ``votes`` (n, k) of each row as shares of them; rows without votes stay zeros."""
    return votes / votes.sum(1, keepdim=True).clamp(min=1e-6)


def rare_weights(votes: Tensor, power: float) -> Tensor:
    """Weights of people's answers in the loss on votes, (9,): an emotion's frequency to minus ``power``.

    Frequencies are mean shares among the seven emotions over the rows of ``votes`` (n, 9), at least
    :data:`~fer_edge.models.people.LEAST_FREQUENCY`. Weighted by them the seven weights are 1 on average;
    contempt and unknown weigh as much as the commonest emotion. Where nobody votes for any of the seven all
    weights are 1.
    """
    shares = vote_shares(votes[:, : len(EMOTIONS)]).sum(0) + 1e-6
    frequencies = shares / shares.sum()
    weights = frequencies.clamp(min=LEAST_FREQUENCY) ** -power
    weights = weights / (weights * frequencies).sum()
    return torch.cat([weights, weights.min().repeat(votes.shape[1] - len(EMOTIONS))])


def row_cross_entropies(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy (n,) of logits (n, k) against distributions (n, k), with ``weights`` (k,) of the classes.

    Weights w change how much a wrong share costs, not which shares are best: softmax(logits + log w) equals
    the targets times w, scaled to sum 1, where softmax(logits) equals the targets.
    """
    if weights is not None:
        targets, logits = targets * weights, logits + weights.log()
    return -(targets * F.log_softmax(logits, 1)).sum(1)


def soft_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of :func:`row_cross_entropies`."""
    return row_cross_entropies(logits, targets, weights).mean()


def distillation_loss(
    logits: Tensor, targets: Tensor, temperature: float, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy at ``temperature``, scaled so that its gradient does not depend on that.

    ``weights``: of the classes, as for :func:`row_cross_entropies`; their logarithms are not divided.
    """
    return temperature**2 * soft_cross_entropy(logits / temperature, targets, weights)


def vote_loss(logits: Tensor, votes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of logits (n, 9) against the distribution of votes; rows without votes count nothing.

    ``weights``: of the answers, as :func:`rare_weights` gives them.
    """
    losses = row_cross_entropies(logits, vote_shares(votes), weights)
    voted = (votes.sum(1) > 0).float()
    return (losses * voted).sum() / voted.sum().clamp(min=1)


def objective(
    output: Heads, targets: Mapping[str, Tensor], options: TrainOptions, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What a step minimizes, its part that the labels give, and the emotion logits (n, 7).

    ``targets`` have ``votes`` (n, 9) where the network has a head for them. The others are distributions:
    ``labels`` (n, 7), and ``teacher`` (n, 7) and ``teacher_people`` (n, 9) where there is one.
    ``weights``: of people's answers, (9,), as :func:`rare_weights` gives them; None: 1 each.
    """
    logits = output.fer2013.float()
    total = label_loss = soft_cross_entropy(logits, targets["labels"])
    if "teacher" in targets:
        total = (1 - options.distill_weight) * label_loss + options.distill_weight * distillation_loss(
            logits, targets["teacher"], options.distill_temperature
        )
    if output.people is not None:
        people = output.people.float()
        people_loss = vote_loss(people, targets["votes"], weights)
        if "teacher_people" in targets:
            share = options.people_distill_weight
            people_loss = (1 - share) * people_loss + share * distillation_loss(
                people, targets["teacher_people"], options.distill_temperature, weights
            )
        total = total + options.vote_weight * people_loss
    return total, label_loss, logits
