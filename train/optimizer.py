"""The optimizer: SGD with Nesterov momentum, or Muon for the convolutions that mix channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_RATE = 0.25
"""Muon's rate in units of SGD's: orthogonalized steps have a size of their own."""
_DECAY = 50.0
"""Muon's weight decay in units of SGD's."""


class Optimizer:
    """One step at a time, in place, for the parameters of ``net`` that learn.

    ``kind`` is one of :data:`.options.OPTIMIZERS`. With ``muon`` (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon) the convolutions between channels move by the nearest
    orthogonal matrix to their momentum, so that all its directions advance alike; the first and the
    depthwise convolutions, batch norms and linear layers learn by SGD as with ``sgd``. Norms and biases have
    no weight decay. The convolutions of ``net`` must be in the channels-last memory format.
    """

    def __init__(self, net: nn.Module, kind: str, learning_rate: float, weight_decay: float) -> None:
        trained = [p for p in net.parameters() if p.requires_grad]
        mixing = {id(p) for p in trained if kind == "muon" and p.ndim == 4 and p.shape[1] > 1}
        self._parameters = trained
        # As Muon wants them: matrices that share the memory of the convolutions.
        self._matrices = [
            (p, nn.Parameter(_channels_last(p.detach()).view(len(p), -1))) for p in trained if id(p) in mixing
        ]
        rest = [p for p in trained if id(p) not in mixing]
        on_gpu = bool(trained) and trained[0].device.type == "cuda"
        self.sgd = torch.optim.SGD(
            [
                {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
                {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=learning_rate,
            momentum=0.9,
            nesterov=True,
            fused=on_gpu or None,
        )
        self.muon = (
            torch.optim.Muon(
                [matrix for _, matrix in self._matrices],
                lr=_RATE * learning_rate,
                weight_decay=_DECAY * weight_decay,
            )
            if self._matrices
            else None
        )

    @property
    def learning_rate(self) -> float:
        """The rate of the next step, that of SGD."""
        rate: float = self.sgd.param_groups[0]["lr"]
        return rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for group in self.sgd.param_groups:
            group["lr"] = rate
        if self.muon is not None:
            for group in self.muon.param_groups:
                group["lr"] = _RATE * rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move the parameters by their gradients."""
        self.sgd.step()
        if self.muon is None:
            return
        for parameter, matrix in self._matrices:
            grad = parameter.grad
            matrix.grad = None if grad is None else _channels_last(grad).reshape(matrix.shape)
        self.muon.step()

    def state_dict(self) -> dict[str, Any]:
        """Rates and momenta."""
        return {"sgd": self.sgd.state_dict(), "muon": None if self.muon is None else self.muon.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`; also takes what versions wrote that knew SGD only."""
        fused = self.sgd.param_groups[0]["fused"]
        self.sgd.load_state_dict(state.get("sgd", state))
        for group in self.sgd.param_groups:  # a property of the device, not of the run
            group["fused"] = fused
        if self.muon is not None:
            self.muon.load_state_dict(state["muon"])


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 2, 3, 1)
