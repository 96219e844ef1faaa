"""Where a training begins that does not begin at random weights: a bundled model, or a face recognizer.

dlib's network for face recognition (Davis King, http://dlib.net/dnn_metric_learning_ex.cpp.html; in the
public domain, CC0) learned from about three million photographs what faces look like. FER-2013 has a
hundredth of that, so a teacher that begins there learns faster than another one. The weights come out of
the PyPI package ``face_recognition_models``, the extra ``teacher``; they are needed for that teacher's
training only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_edge.errors import MissingExtraError, ModelError
from fer_edge.models.manifest import SUFFIXES, ModelFile, bundled_models, find_model, read_manifest

from .data import sample
from .model import ARCHITECTURES, Architecture, EmotionNet, normalize, normalized_convolutions

FACE_TEACHER = "face-teacher"
"""The architecture that begins with the weights of dlib's network."""

_PACKAGE = "face_recognition_models"
_FILE = "dlib_face_recognition_resnet_model_v1.dat"
_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
# What is subtracted from red, green and blue, of which 256 are one.
_MEANS = (122.782, 117.001, 104.298)
_UNIT = 256.0
# Of our own inputs 64 are one and 128 is zero.
_GREY_UNIT, _GREY_ZERO = 64.0, 128.0


def beginning(model: str, faces: NDArray[np.uint8], seed: int) -> EmotionNet | None:
    """Where the training of an architecture begins on uint8 faces (n, 48, 48); None: at random weights.

    Raises MissingExtraError, ModelError.
    """
    if model != FACE_TEACHER:
        return None
    torch.manual_seed(seed)
    return recognizing_net(package_file(), sample(faces, seed))


def is_exported(name: str | os.PathLike[str]) -> bool:
    """Whether this names exported files (:func:`exported_net`) rather than a checkpoint."""
    return str(name) in bundled_models() or Path(name).is_dir() or Path(name).suffix in SUFFIXES.values()


def exported_net(name: str | os.PathLike[str]) -> EmotionNet:
    """The network of an exported model, from its fp32 ONNX file; raises MissingExtraError, ModelError.

    ``name`` is that of a bundled one, or else a folder or file that ``fer-edge export-int8`` wrote.
    That file has the batch norms folded into the convolutions, so they only add their bias here, and
    stay as they are in training; and the temperature into the classifier.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtraError("Learning from an exported model", "onnx", "export") from error

    file = exported_file(name)
    architecture = Architecture.from_dict(exported_record(name)["architecture"])
    graph = onnx.load_from_string(file.read()).graph
    tensors = {
        value.name.removesuffix("_half"): torch.tensor(numpy_helper.to_array(value).astype(np.float32))
        for value in graph.initializer
    }
    return EmotionNet.from_folded(architecture, tensors)


def exported_record(name: str | os.PathLike[str]) -> dict[str, Any]:
    """What the manifest tells of an exported model, named as for :func:`exported_net`; raises ModelError."""
    file = exported_file(name)
    record: dict[str, Any] = read_manifest(file.path.parent)["models"][file.model]
    return record


def exported_file(name: str | os.PathLike[str]) -> ModelFile:
    """The fp32 ONNX file of an exported model, named as for :func:`exported_net`; raises ModelError."""
    file = find_model(name, "onnx", "fp32")
    if (file.backend, file.precision) != ("onnx", "fp32"):
        raise ModelError(f"{name}: training needs the fp32 ONNX file")
    return file


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
        net.embed(normalize(torch.from_numpy(faces)))
    for handle in handles:
        handle.remove()
    net.fixed_statistics = False
    net.requires_grad_(True)


def is_folded(net: EmotionNet) -> bool:
    """Whether the batch norms have no statistics any more, as after training with rounding."""
    norms = [norm for _, _, norm in normalized_convolutions(net)]
    return all(
        norm.running_mean is not None and not bool(norm.running_mean.any()) and bool((norm.weight == 1).all())
        for norm in norms
    )


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
