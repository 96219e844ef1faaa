"""The averaged weights (exponential moving average), which are what is validated and exported."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged_model(net: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``net`` whose weights and buffers follow it, by ``decay`` a step in the long run."""
    return AveragedModel(net, multi_avg_fn=moving_average(decay), use_buffers=True)


def moving_average(decay: float) -> Callable[..., None]:
    """Exponential averaging whose memory grows with the steps made, so that early weights fade fast.

    Without the ramp the initial batch-norm variances outweigh the real ones for thousands of steps.
    """

    def average(averages: list[Tensor], values: list[Tensor], count: Tensor | int) -> None:
        steps = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averages, values, count)

    return average
