"""Batch norms: folded into the convolutions before them, and restored where they were folded."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .model import EmotionNet


def normalized_convolutions(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution that a batch norm follows, from the image on, behind the module that holds both."""
    for child in module.modules():
        convolution, norm = getattr(child, "conv", None), getattr(child, "norm", None)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield child, convolution, norm


def fold_batch_norm(module: nn.Module) -> None:
    """Merge each batch norm of a network in evaluation mode into the convolution before it, in place."""
    for child, convolution, norm in list(normalized_convolutions(module)):
        child.conv = fuse_conv_bn_eval(convolution, norm)
        del child.norm


def folded_copy(net: EmotionNet) -> EmotionNet:
    """A copy that gives the same answers in less time: its batch norms are in the convolutions."""
    copied = copy.deepcopy(net).eval()
    fold_batch_norm(copied)
    return copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def restore_norms(net: EmotionNet, faces: NDArray[np.uint8]) -> None:
    """Make a network trainable whose batch norms only multiply and add, and leave what it computes.

    So they do, with statistics of 0 and 1, after they were folded into the convolutions. Some
    hundred ``faces``, uint8 (n, 48, 48), give the batch statistics. Every convolution gets weights of
    the size with which training usually begins, because that and the rate decide how fast it learns,
    and its batch norm undoes it.
    """
    handles = [
        convolution.register_forward_hook(_Restoring(convolution, norm))
        for _, convolution, norm in normalized_convolutions(net)
    ]
    net.eval()
    with torch.no_grad():
        net.embed(net.inputs(torch.from_numpy(faces)))
    for handle in handles:
        handle.remove()
    net.fixed_statistics = False
    net.requires_grad_(True)


def is_folded(net: EmotionNet) -> bool:
    """Whether the batch norms have no statistics, as in an exported or fine-tuned network."""
    norms = [norm for _, _, norm in normalized_convolutions(net)]
    return all(
        norm.running_mean is not None and not bool(norm.running_mean.any()) and bool((norm.weight == 1).all())
        for norm in norms
    )


class _Restoring:
    """Gives a convolution, when it is used, the usual weights, and its batch norm the statistics."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        self.convolution, self.norm = convolution, norm

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        norm, weight = self.norm, self.convolution.weight
        assert norm.running_mean is not None and norm.running_var is not None
        usual = (2 / (weight.shape[0] * weight.shape[2] * weight.shape[3])) ** 0.5
        size = weight.detach().square().mean((1, 2, 3)).sqrt()
        # A channel that computes next to nothing stays small, or noise would become of it.
        scale = usual / size.clamp(min=0.01 * float(size.mean()) + 1e-12)
        weight.mul_(scale.view(-1, 1, 1, 1))
        scaled = output * scale.view(1, -1, 1, 1)
        variance, mean = torch.var_mean(scaled, (0, 2, 3), correction=0)
        deviation = (variance + norm.eps).sqrt()
        norm.bias.add_(norm.weight * mean / scale)
        norm.weight.mul_(deviation / scale)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        return scaled
