"""The networks: MobileNet-style CNNs for 48x48 grey faces, sized for int8 on a Raspberry Pi, and a teacher.

Inverted residuals with linear bottlenecks and ReLU6 come from MobileNetV2 (Sandler et al. 2018,
arXiv:1801.04381). The early stages use the fused form (one full 3x3 convolution instead of
1x1 expansion + 3x3 depthwise) of EfficientNetV2 (Tan & Le 2021, arXiv:2104.00298): with few
channels at high resolution a full convolution costs little more arithmetic and far less memory
traffic. There is no squeeze-excite and no hard-swish because both quantize badly. The teachers, for
distillation and not for a device, are ResNets of basic blocks (He et al. 2015, arXiv:1512.03385), one
with the shape of a face recognizer (:mod:`fer_edge.train.dlib_weights`), a VGG with batch norms (Simonyan
& Zisserman 2014, arXiv:1409.1556) and EfficientNet-Lite0 (:mod:`fer_edge.train.imagenet_weights`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_edge.kernels.constants import FACE_SIZE
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS

from .architectures import Architecture, Stage
from .contrast import normalize_contrast


class FloatDepthwise(nn.Conv2d):
    """A depthwise convolution in float32 even where the rest computes in bfloat16.

    oneDNN has no fast gradient in bfloat16 where there is a stride (40 ms instead of 0.9 for 64 images of
    160x12x12, a third of a training step of ``edge``) or the kernel is larger than 3x3 (114 ms instead of 22
    for 64 images of 1152x4x4, a quarter of a step of ``efficientnet``; PyTorch 2.13, one core).
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def _conv(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    *,
    activation: type[nn.Module] | None = nn.ReLU6,
    border: bool = True,
) -> nn.Sequential:
    slow = groups == inputs > 1 and (stride > 1 or kernel > 3)
    kind = FloatDepthwise if slow else nn.Conv2d
    padding = kernel // 2 if border else 0
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        norm=nn.BatchNorm2d(outputs),
    )
    if activation is not None:
        layers["activation"] = activation(inplace=True)
    return nn.Sequential(layers)


class InvertedResidual(nn.Module):
    """Expand, filter, project; added to its input where shapes allow it."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int, fused: bool, lean: bool
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        if fused and expansion == 1:
            self.block = nn.Sequential(_conv(inputs, outputs, kernel, stride))
        elif fused:
            self.block = nn.Sequential(
                _conv(inputs, hidden, kernel, stride), _conv(hidden, outputs, 1, activation=None)
            )
        else:
            self.block = nn.Sequential(
                *([] if lean else [_conv(inputs, hidden, 1)]),
                _conv(hidden, hidden, kernel, stride, groups=hidden),
                _conv(hidden, outputs, 1, activation=None),
            )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class PlainBlock(nn.Module):
    """One full convolution, where it has a stride after a maximum over each 2x2, as in a VGG."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int) -> None:
        super().__init__()
        pool = [nn.MaxPool2d(stride)] if stride > 1 else []
        self.block = nn.Sequential(*pool, _conv(inputs, outputs, kernel, activation=nn.ReLU))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return y


class BasicBlock(nn.Module):
    """Two full convolutions, added to the input, which is projected where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            _conv(inputs, outputs, kernel, stride), _conv(outputs, outputs, kernel, activation=None)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride, activation=None)
        self.activation = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.shortcut(x) + self.block(x))


class PooledBlock(nn.Module):
    """Two full convolutions, added to the input.

    Where shapes differ, the first convolution has no border, the input is averaged two by two, and
    zeros fill up what one of the two lacks in channels, rows and columns. As in dlib's network for
    face recognition, whose weights fit these.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            _conv(inputs, outputs, kernel, stride, activation=nn.ReLU, border=stride == 1),
            _conv(outputs, outputs, kernel, activation=None),
        )
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride)
            size = max(x.shape[-1], y.shape[-1])
            x, y = (
                F.pad(z, (0, size - z.shape[3], 0, size - z.shape[2], 0, y.shape[1] - z.shape[1]))
                for z in (x, y)
            )
        return F.relu(x + y)


class Heads(NamedTuple):
    """Logits of a network's two outputs."""

    fer2013: Tensor
    """(n, 7): the labels of 2013, in their order."""
    people: Tensor | None
    """(n, 9): votes for each of :data:`fer_edge.labels.PEOPLE_ANSWERS`; None without that head."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Heads:
        """Each output changed in the same way."""
        return Heads(change(self.fer2013), None if self.people is None else change(self.people))


def combine_heads(parts: Sequence[Heads], combine: Callable[[list[Tensor]], Tensor]) -> Heads:
    """One of several: each output's tensors combined, of people's those that there are."""
    people = [part.people for part in parts if part.people is not None]
    return Heads(combine([part.fer2013 for part in parts]), combine(people) if people else None)


class EmotionNet(nn.Module):
    """Normalized grey faces, float32 (n, 1, 48, 48), to the logits of :class:`Heads`.

    The input is what :meth:`inputs` makes of grey levels. Both heads work on the same features. Without
    ``people`` there is only one, as in networks that never saw FER+ votes.
    """

    def __init__(self, architecture: Architecture, people: bool = True) -> None:
        super().__init__()
        self.architecture = architecture
        self.fixed_statistics = False
        blocks = _stem(architecture)
        channels = architecture.stem
        for stage in architecture.stages:
            for index in range(stage.repeats):
                stride = stage.stride if index == 0 else 1
                blocks.append(_block(stage, channels, stride))
                channels = stage.channels
        if architecture.head:
            blocks.append(_conv(channels, architecture.head, 1))
            channels = architecture.head
        self.features = nn.Sequential(*blocks)
        # A fixed window instead of AdaptiveAvgPool2d, which ONNX export turns into a float ReduceMean.
        self.pool = nn.AvgPool2d(architecture.output_side)
        self.dropout = nn.Dropout(architecture.dropout)
        self.classifier = nn.Linear(channels, len(EMOTIONS))
        self.people: nn.Linear | None = None
        self._initialize()
        if people:
            self.add_people()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _initialize_head(self.classifier)

    def add_people(self) -> None:
        """Give the network a head for votes that has learned nothing yet."""
        head = nn.Linear(self.classifier.in_features, len(PEOPLE_ANSWERS))
        _initialize_head(head)
        self.people = head.to(self.classifier.weight.device)

    @classmethod
    def from_folded(cls, architecture: Architecture, tensors: Mapping[str, Tensor]) -> EmotionNet:
        """A network whose batch norms only add a bias, and stay as they are in training.

        ``tensors`` are weight and bias of each convolution with its batch norm folded in, and of the
        heads, 1x1 convolutions, named as in :class:`fer_edge.export.network.InferenceNet`.
        Raises KeyError.
        """
        net = cls(architecture, people="people.weight" in tensors)
        with torch.no_grad():
            for name, norm in net.named_modules():
                if isinstance(norm, nn.BatchNorm2d):
                    layer = name.removesuffix(".norm")
                    net.get_parameter(f"{layer}.conv.weight").copy_(tensors[f"{layer}.conv.weight"])
                    norm.bias.copy_(tensors[f"{layer}.conv.bias"])
                    assert norm.running_var is not None
                    norm.running_var.fill_(1 - norm.eps)
                    norm.weight.requires_grad_(False)
            for name, head in (("classifier", net.classifier), ("people", net.people)):
                if head is not None:
                    head.weight.copy_(tensors[f"{name}.weight"][:, :, 0, 0])
                    head.bias.copy_(tensors[f"{name}.bias"])
        net.freeze(0)
        return net

    def freeze(self, blocks: int) -> None:
        """Keep the first ``blocks`` of the features, and all batch statistics, as they are in training."""
        self.features[:blocks].requires_grad_(False)
        self.fixed_statistics = True

    def train(self, mode: bool = True) -> EmotionNet:
        super().train(mode)
        if self.fixed_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def embed(self, x: Tensor) -> Tensor:
        """Pooled features, float32 (n, k): k is the width of the head, or of the last stage without one."""
        crop = self.architecture.crop
        if crop:
            top, left = (x.shape[2] - crop) // 2, (x.shape[3] - crop) // 2
            x = x[:, :, top : top + crop, left : left + crop]
        if self.architecture.side != FACE_SIZE:
            side = (self.architecture.side, self.architecture.side)
            x = F.interpolate(x, side, mode="bilinear", align_corners=False)
        return self.dropout(self.pool(self.features(x)).flatten(1))

    def inputs(self, faces: Tensor) -> Tensor:
        """Grey levels (n, 48, 48), uint8 or, of varied faces, float32, as the network wants them.

        float32 (n, 1, 48, 48).
        """
        if self.architecture.contrast:
            faces = normalize_contrast(faces.round().clamp(0, 255).to(torch.uint8))
        return normalize(faces)

    def forward(self, x: Tensor) -> Heads:
        features = self.embed(x)
        return Heads(self.classifier(features), None if self.people is None else self.people(features))


def _initialize_head(head: nn.Linear) -> None:
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)


def _stem(architecture: Architecture) -> list[nn.Module]:
    """The first blocks."""
    kernel, stride, window = architecture.stem_kernel, architecture.stem_stride, architecture.stem_pool
    if not window:
        return [_conv(1, architecture.stem, kernel, stride)]
    stem = _conv(1, architecture.stem, kernel, stride, activation=nn.ReLU, border=False)
    return [stem, nn.MaxPool2d(window, 2)]


def _block(stage: Stage, inputs: int, stride: int) -> nn.Module:
    if stage.block == "basic":
        return BasicBlock(inputs, stage.channels, stride, stage.kernel)
    if stage.block == "pooled":
        return PooledBlock(inputs, stage.channels, stride, stage.kernel)
    if stage.block == "plain":
        return PlainBlock(inputs, stage.channels, stride, stage.kernel)
    fused = stage.block == "fused"
    return InvertedResidual(inputs, stage.channels, stage.expansion, stride, stage.kernel, fused, stage.lean)


def normalize(faces: Tensor) -> Tensor:
    """Grey uint8 (n, 48, 48) to the network's input, float32 (n, 1, 48, 48): (grey - 128) / 64.

    A power of two as divisor and 128 as centre make the quantized input exactly ``grey - 128``.
    """
    return (faces.unsqueeze(1).float() - 128.0) / 64.0
