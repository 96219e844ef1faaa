"""The averaged weights (exponential moving average), which are what is validated and exported."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .model import EmotionNet


class AveragedNet:
    """A copy of a network whose weights and buffers follow it, by ``decay`` a step in the long run.

    As ``torch.optim.swa_utils.AveragedModel``, whose states it reads and writes, but it counts its steps on
    the host: that one asks the device for them, so that a GPU waits in every step.
    """

    def __init__(self, net: EmotionNet, decay: float) -> None:
        self.module = copy.deepcopy(net)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, net: EmotionNet) -> None:
        """Move towards ``net``; the first time become it."""
        averaged: tuple[list[Tensor], list[Tensor]] = ([], [])
        copied: tuple[list[Tensor], list[Tensor]] = ([], [])
        for average, value in zip(self._tensors(self.module), self._tensors(net), strict=True):
            kind = averaged if self.steps and average.is_floating_point() else copied
            kind[0].append(average)
            kind[1].append(value)
        if averaged[0]:
            get_ema_multi_avg_fn(ramped_decay(self.decay, self.steps))(*averaged, self.steps)
        if copied[0]:
            torch._foreach_copy_(*copied)
        self.steps += 1

    @staticmethod
    def _tensors(net: EmotionNet) -> list[Tensor]:
        return [value.detach() for value in (*net.parameters(), *net.buffers())]

    def state_dict(self) -> dict[str, Any]:
        """Weights, buffers and the number of steps."""
        named = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        return {"n_averaged": torch.tensor(self.steps), **named}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.steps = int(state["n_averaged"])
        prefix = "module."
        self.module.load_state_dict(
            {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        )


def ramped_decay(decay: float, steps: int) -> float:
    """The decay of a step: the memory grows with the steps made, so that early weights fade fast.

    Without the ramp the initial batch-norm variances outweigh the real ones for thousands of steps.
    """
    return min(decay, (1 + steps) / (10 + steps))
