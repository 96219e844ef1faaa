"""Quantization-aware training: the network computes with int8 values rounded as on the device.

Weights are rounded per output channel and activations per tensor; gradients pass through the
rounding as if it were not there (Jacob et al. 2017, arXiv:1712.05877). Batch norms are folded in
before, and the ranges of activations are measured once and then stay, so that what is learned is to
live with exactly the steps that the exported file has.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .model import EmotionNet, InvertedResidual, fold_batch_norm, normalize


class Rounding(nn.Module):
    """Activations as int8 would hold them; measures their range while ``measuring``."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.measuring = True
        self.register_buffer("low", torch.zeros(()), persistent=False)
        self.register_buffer("high", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.measuring:
            self.low.copy_(torch.minimum(self.low, x.detach().min()))
            self.high.copy_(torch.maximum(self.high, x.detach().max()))
            return x
        scale = float((self.high - self.low).clamp(min=1e-6)) / 255
        zero_point = int(np.clip(round(-128 - float(self.low) / scale), -128, 127))
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127)


class RoundedConv2d(nn.Conv2d):
    """A convolution with int8 weights, one scale an output channel."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, _rounded(self.weight), self.bias, self.stride, self.padding, groups=self.groups)


class RoundedLinear(nn.Linear):
    """A linear layer with int8 weights, one scale an output."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, _rounded(self.weight), self.bias)


def rounded_net(net: EmotionNet, calibration: NDArray[np.uint8]) -> EmotionNet:
    """A copy of a trained network that computes in steps of int8, to train further.

    ``calibration`` are faces, uint8 (n, 48, 48), that give the ranges of activations. The copy's
    parameters have the names of an ordinary :class:`EmotionNet`, so its checkpoints are ordinary too.
    """
    rounded = EmotionNet.from_folded(net.architecture, folded_tensors(net))
    for module in list(rounded.modules()):
        if isinstance(module, nn.Sequential) and hasattr(module, "conv"):
            module.conv.__class__ = RoundedConv2d
            module.add_module("rounding", Rounding())
        elif isinstance(module, InvertedResidual) and module.residual:
            module.after_sum = Rounding()
    rounded.classifier.__class__ = RoundedLinear
    _measure(rounded, calibration)
    return rounded


def folded_tensors(net: EmotionNet) -> dict[str, Tensor]:
    """Weight and bias of each convolution with its batch norm folded in, and of the classifier."""
    folded = copy.deepcopy(net).eval()
    fold_batch_norm(folded)
    tensors = {name: parameter.detach() for name, parameter in folded.named_parameters()}
    return tensors | {"classifier.weight": tensors["classifier.weight"][:, :, None, None]}


def _measure(net: EmotionNet, faces: NDArray[np.uint8]) -> None:
    net.eval()
    with torch.no_grad():
        for part in torch.from_numpy(faces).split(256):
            net(normalize(part))
    for module in net.modules():
        if isinstance(module, Rounding):
            module.measuring = False


def _rounded(weight: Tensor) -> Tensor:
    largest = weight.detach().abs().amax(tuple(range(1, weight.ndim))).clamp(min=1e-8)
    zero_points = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, largest / 127, zero_points, 0, -127, 127)
