"""The people head moved by some labelled faces, such as faint smiles, while its other answers stay.

FER-2013 teaches little about what its faces hardly show. The features of a network may tell it all the same,
so that a little change of the linear layer after them is enough, which a few dozen faces can give. How much
that helps on faces of others only leaving persons out tells: see ``benchmarks/people_faces.py``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_edge.fer2013.reader import FerDataset

from .augment import augment
from .linear_fit import minimize, people_features, scale_of
from .losses import soft_cross_entropy
from .model import EmotionNet
from .options import POOR_CAMERA

WEIGHT = 0.02
"""Of the labelled faces' loss, beside 1 for that of the faces whose answers are to stay."""

WEIGHT_DECAY = 1e-5
"""On the changes of weights. What keeps these small is mostly the answers that are to stay."""

_KEPT_STRENGTH = 0.5
"""Of the variation of the faces whose answers are to stay; they count as they are, too."""

_VARIED = 12
"""Views of each labelled face that are varied by chance."""

_STRENGTHS = 0.2, 0.8
"""Of the variation, from the first to the last."""

_DIM = (0.08, 0.1, 0.12, 0.15, 0.2)
"""Brightness of further views of each labelled face: an expression is the same in the dark.

Only for networks that bring faces to equal contrast; to others these would be black.
"""

_BATCH = 256


def move_people(
    net: EmotionNet,
    faces: Tensor,
    own: FerDataset,
    *,
    weight: float = WEIGHT,
    weight_decay: float = WEIGHT_DECAY,
    seed: int = 1,
) -> float:
    """Move the people head of ``net`` so that it answers with the labels of ``own`` faces, in place.

    Its answers to ``faces``, uint8 (n, 48, 48), stay as far as the ``weight`` of own faces lets them. Returns
    the cross-entropy of its answers to these with those of before. ``net`` has a people head; ``seed``
    decides how faces are varied.
    """
    assert net.people is not None and own.labels is not None
    own_faces, labels = (
        torch.from_numpy(array).to(faces.device) for array in (own.pixels, own.labels.astype(np.int64))
    )
    known = kept_features(net, faces, seed)
    seen = seen_features(net, own_faces, seed)
    weights, offsets = moved_head(net.people, known, seen, labels, weight=weight, weight_decay=weight_decay)
    with torch.no_grad():
        before = net.people(known).softmax(1)
        net.people.weight.copy_(weights)
        net.people.bias.copy_(offsets)
        return soft_cross_entropy(net.people(known), before).item()


def missed(net: EmotionNet, own: FerDataset) -> int:
    """How many of ``own`` faces the people head does not answer with their labels."""
    assert net.people is not None and own.labels is not None
    faces = torch.from_numpy(own.pixels).to(net.people.weight.device)
    with torch.no_grad():
        answers = net.people(people_features(net, faces)).argmax(1).cpu().numpy()
    return int((answers != own.labels).sum())


def kept_features(net: EmotionNet, faces: Tensor, seed: int) -> Tensor:
    """Features (2n, f) of ``faces`` uint8 (n, 48, 48) as they are and varied, whose answers are to stay."""
    generator = torch.Generator(device=faces.device).manual_seed(seed)
    varied = [_varied(part, _KEPT_STRENGTH, generator) for part in faces.split(_BATCH)]
    return torch.cat([people_features(net, faces), people_features(net, torch.cat(varied))])


def seen_features(net: EmotionNet, faces: Tensor, seed: int) -> Tensor:
    """Features (v, m, f) of the :func:`views` of labelled ``faces`` uint8 (m, 48, 48), first as they are."""
    seen = views(faces, seed, dark=net.architecture.contrast)
    return torch.stack([people_features(net, view) for view in seen])


def views(faces: Tensor, seed: int, *, dark: bool = True) -> list[Tensor]:
    """Of faces uint8 (m, 48, 48): as they are, mirrored, varied as cheap cameras do, and in the ``dark``."""
    generator = torch.Generator(device=faces.device).manual_seed(seed)
    strengths = np.linspace(*_STRENGTHS, _VARIED).tolist()
    varied = [_varied(faces, strength, generator) for strength in strengths]
    dimmed = [_dimmed(faces, share) for share in _DIM] if dark else []
    return [faces, faces.flip(2), *dimmed, *varied]


def _dimmed(faces: Tensor, share: float) -> Tensor:
    """The faces at a ``share`` of their brightness, in whole grey levels, of which few are left."""
    return (faces * share).round().to(torch.uint8)


def _varied(faces: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return augment(faces, POOR_CAMERA.scaled(strength), generator).round().to(torch.uint8)


def moved_head(
    head: nn.Linear,
    known: Tensor,
    seen: Tensor,
    labels: Tensor,
    *,
    weight: float = WEIGHT,
    weight_decay: float = WEIGHT_DECAY,
) -> tuple[Tensor, Tensor]:
    """Weights (9, f) and offsets (9,) of the ``head`` after it was moved, float64.

    ``known`` (n, f) are features of faces whose answers are to stay, ``seen`` (v, m, f) those of v views of
    each labelled face, the first as it is; ``labels`` int64 (m,). Minimized is the cross-entropy with the
    answers of before, plus ``weight`` times that with the labels, plus half the weight decay times the
    squared changes of weights: convex, by L-BFGS in float64. Only labels that the head misses move: what
    tells the other answers from each other stays.
    """
    before, offsets_before = head.weight.detach().double(), head.bias.detach().double()
    moving = labels[F.linear(seen[0].double(), before, offsets_before).argmax(1) != labels].unique()
    if not len(moving):
        return before, offsets_before
    known, seen = known.double(), seen.flatten(0, 1).double()
    stay, move = (F.linear(features, before, offsets_before) for features in (known, seen))
    kept = stay.softmax(1)
    said = F.one_hot(labels, len(before)).repeat(len(seen) // len(labels), 1)
    mean, size = scale_of(known, weight_decay)
    known, seen = (known - mean) / size, (seen - mean) / size
    weights, offsets = torch.zeros_like(before[moving]), torch.zeros_like(offsets_before[moving])

    def moved(logits: Tensor, features: Tensor) -> Tensor:
        return logits.index_add(1, moving, F.linear(features, weights, offsets))

    def value() -> Tensor:
        kept_loss = soft_cross_entropy(moved(stay, known), kept)
        own_loss = soft_cross_entropy(moved(move, seen), said)
        return kept_loss + weight * own_loss + weight_decay / 2 * (weights / size).square().sum()

    minimize(value, [weights, offsets])
    used = weights / size
    return before.index_add(0, moving, used), offsets_before.index_add(0, moving, offsets - used @ mean)
