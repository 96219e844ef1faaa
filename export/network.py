"""The trained network as it is deployed: batch norm folded, temperature folded, no reshape."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_edge.train.batch_norm import fold_batch_norm
from fer_edge.train.model import EmotionNet


class InferenceNet(nn.Module):
    """Normalized faces, float32 (n, 1, 48, 48), to calibrated logits, float32 (n, 7, 1, 1).

    The last layer is a 1x1 convolution and its output keeps four dimensions, because a flattened
    tensor would fix the batch size in the TFLite file. The logits are divided by ``temperature``
    (Guo et al. 2017, arXiv:1706.04599) through the weights of that layer.
    """

    def __init__(self, net: EmotionNet, temperature: float = 1.0) -> None:
        super().__init__()
        net = copy.deepcopy(net).eval().cpu()
        fold_batch_norm(net.features)
        self.features = net.features
        self.pool = net.pool
        linear = net.classifier
        self.classifier = nn.Conv2d(linear.in_features, linear.out_features, 1)
        with torch.no_grad():
            self.classifier.weight.copy_(linear.weight[:, :, None, None] / temperature)
            self.classifier.bias = nn.Parameter(linear.bias / temperature)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)))


def short_half(values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """``values`` as float16 with 8 significant bits, rounded to nearest even.

    The three bits less make packed files a sixth smaller; int8 weights have no more bits either.
    """
    bits = values.astype(np.float16).view(np.uint16)
    return ((bits + 3 + (bits >> 3 & 1)) & np.uint16(0xFFF8)).view(np.float16)
