"""The trained network as it is deployed: batch norm folded, temperature folded, no reshape."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_edge.labels import ANSWERS, Labels
from fer_edge.train.batch_norm import fold_batch_norm
from fer_edge.train.model import EmotionNet


class InferenceNet(nn.Module):
    """Normalized faces, float32 (n, 1, 48, 48), to calibrated logits, float32 (n, 7, 1, 1) and (n, 9, 1, 1).

    They are those of :attr:`heads`: ``fer2013`` and, where the network has it, ``people``. The last
    layers are 1x1 convolutions and their outputs keep four dimensions, because a flattened tensor would
    fix the batch size in the TFLite file. The logits are divided by the head's of the ``temperatures``
    (Guo et al. 2017, arXiv:1706.04599), 1 where there is none, through the weights of that layer.
    """

    def __init__(self, net: EmotionNet, temperatures: Mapping[Labels, float] = MappingProxyType({})) -> None:
        super().__init__()
        net = copy.deepcopy(net).eval().cpu()
        fold_batch_norm(net.features)
        self.features = net.features
        self.pool = net.pool
        self.classifier = _head(net.classifier, temperatures.get("fer2013", 1.0))
        self.people = None if net.people is None else _head(net.people, temperatures.get("people", 1.0))
        self.eval()

    @property
    def heads(self) -> tuple[Labels, ...]:
        """What the outputs are, in their order."""
        return ("fer2013",) if self.people is None else ("fer2013", "people")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.pool(self.features(x))
        return tuple(head(features) for head in (self.classifier, self.people) if head is not None)


def _head(linear: nn.Linear, temperature: float) -> nn.Conv2d:
    """A 1x1 convolution that computes what ``linear`` does, divided by ``temperature``."""
    head = nn.Conv2d(linear.in_features, linear.out_features, 1)
    with torch.no_grad():
        head.weight.copy_(linear.weight[:, :, None, None] / temperature)
        head.bias = nn.Parameter(linear.bias / temperature)
    return head


def head_of(width: int) -> Labels:
    """Which head has so many numbers; raises KeyError for none."""
    return {len(answers): head for head, answers in ANSWERS.items()}[width]


def short_half(values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """``values`` as float16 with 8 significant bits, rounded to nearest even.

    The three bits less make packed files a sixth smaller; int8 weights have no more bits either.
    """
    bits = values.astype(np.float16).view(np.uint16)
    return ((bits + 3 + (bits >> 3 & 1)) & np.uint16(0xFFF8)).view(np.float16)
