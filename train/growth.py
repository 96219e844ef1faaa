"""Networks that grow: residual blocks between those of a smaller one, which at first do next to nothing.

So training goes on where that of the smaller network ended, with room to learn more (Chen et al. 2016,
arXiv:1511.05641).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from .architectures import Architecture
from .model import EmotionNet

_FIRST_SCALE = 0.1
"""What the last batch norm of a new block multiplies by; not zero, or its other layers would not learn."""


def grown(net: EmotionNet, wanted: Architecture, seed: int) -> EmotionNet | None:
    """A network of the ``wanted`` architecture with the weights of ``net``; None where that does not fit.

    It fits where only blocks are missing: the last ones of a stage, or whole stages that keep the shape, all
    inverted or fused. ``seed`` decides their weights. A network of that architecture is returned itself.
    """
    if net.architecture == wanted:
        return net
    places = _places(net.architecture, wanted)
    if places is None:
        return None
    torch.manual_seed(seed)
    larger = EmotionNet(wanted, people=net.people is not None)
    for block, place in zip(larger.features, places, strict=True):
        if place is not None:
            block.load_state_dict(net.features[place].state_dict())
        else:
            *_, last = (module for module in block.modules() if isinstance(module, nn.BatchNorm2d))
            nn.init.constant_(last.weight, _FIRST_SCALE)
    larger.classifier.load_state_dict(net.classifier.state_dict())
    if larger.people is not None and net.people is not None:
        larger.people.load_state_dict(net.people.state_dict())
    return larger


def _places(had: Architecture, wanted: Architecture) -> list[int | None] | None:
    """Where each feature of ``wanted`` is in ``had``, None for new ones; None where that does not fit."""
    if replace(had, stages=wanted.stages) != wanted:
        return None
    after = 2 if wanted.stem_pool else 1
    places: list[int | None] = list(range(after))
    left, channels = list(had.stages), wanted.stem
    for stage in wanted.stages:
        contained = bool(left) and replace(left[0], repeats=stage.repeats) == stage
        kept = left.pop(0).repeats if contained else 0
        new = stage.repeats - kept
        if new < 0 or (new and stage.block not in ("inverted", "fused")):
            return None
        if not kept and (stage.stride != 1 or stage.channels != channels):
            return None
        places += [*range(after, after + kept), *[None] * new]
        after, channels = after + kept, stage.channels
    if left:
        return None
    return [*places, after] if wanted.head else places
