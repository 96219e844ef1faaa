"""dlib's network for face recognition as the beginning of the architecture ``face-teacher``.

It (Davis King, http://dlib.net/dnn_metric_learning_ex.cpp.html; in the public domain, CC0) learned from
about three million photographs what faces look like. FER-2013 has a hundredth of that, so a teacher that
begins there learns faster than another one. The weights come out of the PyPI package
``face_recognition_models``, the extra ``teacher``; they are needed for that teacher's training only.
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

from .architectures import ARCHITECTURES, FACE_TEACHER
from .batch_norm import normalized_convolutions, restore_norms
from .model import EmotionNet

_PACKAGE = "face_recognition_models"
_FILE = "dlib_face_recognition_resnet_model_v1.dat"
_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
# What is subtracted from red, green and blue, of which 256 are one.
_MEANS = (122.782, 117.001, 104.298)
_UNIT = 256.0
# Of our own inputs 64 are one and 128 is zero.
_GREY_UNIT, _GREY_ZERO = 64.0, 128.0


def package_file() -> Path:
    """Where the installed package has dlib's weights; raises MissingExtraError, ModelError."""
    found = importlib.util.find_spec(_PACKAGE)  # importing it would need pkg_resources
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(f"Training {FACE_TEACHER!r}", _PACKAGE, "teacher")
    path = Path(found.submodule_search_locations[0]) / "models" / _FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        raise ModelError(f"{path}: not the file of {_PACKAGE} 0.3.0; install that version again")
    return path


def recognizing_net(path: str | os.PathLike[str], faces: NDArray[np.uint8]) -> EmotionNet:
    """A ``face-teacher`` with dlib's weights from its file, and a classifier that has learned nothing.

    ``faces`` are as for :func:`restore_norms`. Raises ModelError.
    """
    net = EmotionNet(ARCHITECTURES[FACE_TEACHER])
    stored = _Tensors(path)
    for number, (_, convolution, norm) in enumerate(normalized_convolutions(net)):
        _take_over(convolution, norm, stored, colours=number == 0)
    restore_norms(net, faces)
    return net


class _Tensors:
    """The parameters in dlib's file, layer by layer from the image on.

    Nothing but the sizes of the tensors is read of dlib's structure: each follows on a header, its
    version 2 and its four lengths in dlib's variable-length integers, as float32.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        try:
            self.content = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
        self.position = 0

    def next(self, length: int) -> Tensor:
        """The next tensor of that many numbers, float32 (length,)."""
        header = b"".join(map(_integer, (2, length, 1, 1, 1)))
        start = self.content.find(header, self.position) + len(header)
        self.position = start + 4 * length
        if start < len(header) or self.position > len(self.content):
            raise ModelError(f"{self.path}: not dlib's network for face recognition: no {length} numbers")
        values = torch.frombuffer(bytearray(self.content[start : self.position]), dtype=torch.float32)
        if not values.isfinite().all():
            raise ModelError(f"{self.path}: damaged: holds weights that are not finite numbers")
        return values


def _integer(value: int) -> bytes:
    """A positive integer as dlib writes it: how many bytes, then those, lowest first."""
    length = (value.bit_length() + 7) // 8
    return bytes([length]) + value.to_bytes(length, "little")


def _take_over(convolution: nn.Conv2d, norm: nn.BatchNorm2d, stored: _Tensors, *, colours: bool) -> None:
    """Fill a layer from dlib's file; its batch norm only multiplies and adds, its statistics are 0 and 1."""
    outputs = convolution.out_channels
    shape = list(convolution.weight.shape)
    if colours:
        shape[1] = len(_MEANS)
    size = int(np.prod(shape))
    values = stored.next(size + outputs)
    weight, bias = values[:size].view(shape), values[size:]
    factor, addend = stored.next(2 * outputs).split(outputs)
    if colours:
        zero = (_GREY_ZERO - torch.tensor(_MEANS)) / _UNIT
        bias = bias + (weight * zero.view(1, -1, 1, 1)).sum((1, 2, 3))
        weight = weight.sum(1, keepdim=True) * (_GREY_UNIT / _UNIT)
    assert norm.running_var is not None
    with torch.no_grad():
        convolution.weight.copy_(weight)
        norm.weight.copy_(factor)
        norm.bias.copy_(addend + factor * bias)
        norm.running_var.fill_(1 - norm.eps)
