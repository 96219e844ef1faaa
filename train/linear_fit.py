"""What fits of a linear layer on the features of a network, which stay as they are, have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .model import EmotionNet

_STEPS = 500
_BATCH = 256
_CURVATURE = 0.1
"""Second derivative of the cross-entropy by a logit, in order of magnitude."""


def scale_of(features: Tensor, weight_decay: float) -> tuple[Tensor, Tensor]:
    """What to subtract from ``features`` (n, f) and to divide them by, (f,) each.

    Then an objective is about equally curved in all directions, whatever the features' sizes.
    """
    variance, mean = torch.var_mean(features, 0)
    return mean, (_CURVATURE * variance + weight_decay).sqrt().clamp(min=1e-6)


def minimize(value: Callable[[], Tensor], parameters: Sequence[Tensor]) -> None:
    """Change the ``parameters``, all that a convex ``value`` depends on, until that is least: by L-BFGS."""
    optimizer = torch.optim.LBFGS(
        [parameter.requires_grad_() for parameter in parameters],
        max_iter=_STEPS,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        now = value()
        now.backward()
        return now

    optimizer.step(closure)
    for parameter in parameters:
        parameter.requires_grad_(False)


@torch.no_grad()
def people_features(net: EmotionNet, faces: Tensor) -> Tensor:
    """What the heads of ``net`` see of uint8 ``faces`` (n, 48, 48), float32 (n, f)."""
    net.eval()
    return torch.cat([net.embed(net.inputs(part)) for part in faces.split(_BATCH)])
