"""Mixup (Zhang et al. 2017, arXiv:1710.09412): pairs of images blended, and their targets with them."""

from __future__ import annotations

import torch
from torch import Tensor

from .losses import vote_shares


def mix(
    inputs: Tensor, targets: dict[str, Tensor], share: float, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Blend each image with another of the batch, and all its targets alike, ``votes`` as shares of them.

    ``share`` of the first in the blend, one a batch, comes from Beta(strength, strength).
    """
    if "votes" in targets:
        # Outliers are left out, so that faces have different numbers of votes.
        targets = {**targets, "votes": vote_shares(targets["votes"])}
    order = torch.randperm(len(inputs), generator=generator, device=inputs.device)

    def blend(values: Tensor) -> Tensor:
        return share * values + (1 - share) * values[order]

    return blend(inputs), {name: blend(values) for name, values in targets.items()}
