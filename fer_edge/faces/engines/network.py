"""YuNet's layers, with the weights of OpenCV Zoo's ONNX file and its twelve heads fused into three.

A head is a pointwise and a depthwise convolution without anything between, so the four heads of a stride
(class, objectness, box, landmarks) are together one of 64 to 16 channels and one of 16 channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from .protobuf import fields

STRIDES = (8, 16, 32)
"""Pixels from one cell to the next in each of the three outputs."""

DIVISOR = 32
"""Sides of the input are multiples."""

CHANNELS = 16
"""Of an output: logits of class and objectness, then 4 numbers of the box and 10 of the landmarks."""

INPUT = "input"
OUTPUTS = ("faces 8", "faces 16", "faces 32")

_CONVOLUTIONS = 53
_HEADS_FROM = 29
_HEADS_IN_FILE = ("class", "box", "objectness", "landmarks")
_HEADS = ("class", "objectness", "box", "landmarks")


@dataclass(frozen=True)
class Convolution:
    """``weights``: float32 (out, in, k, k), in = 1 for a depthwise one; ``bias``: float32 (out,)."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """One operation on named tensors.

    ``convolve``: with ``convolution``; a 3x3 depthwise one keeps the size, the first layer of all has
    stride 2 and no padding. ``pool``: the largest of 2x2. ``double``: each value to 2x2. ``add``: the sum
    of two inputs.
    """

    operation: Literal["convolve", "pool", "double", "add"]
    inputs: tuple[str, ...]
    output: str
    convolution: Convolution | None = None
    relu: bool = False


def read_layers(model: bytes) -> list[Layer]:
    """Return the layers in the order of computation, from :data:`INPUT` to the three :data:`OUTPUTS`.

    ``model``: ``face_detection_yunet_2023mar.onnx``. The input is (2 * rows + 1, 2 * columns + 1) pixels,
    whose first row and column are the zeros around the picture; BGR, 0 to 255. Raises
    :class:`~fer_edge.errors.ModelError` for a file that is not this network.
    """
    try:
        convolutions = list(_convolutions(memoryview(model)))
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ModelError(f"the face detector is no ONNX file that can be read ({error!r})") from error
    if len(convolutions) != _CONVOLUTIONS:
        raise ModelError(
            f"the face detector has {len(convolutions)} convolutions; want the {_CONVOLUTIONS} of YuNet"
        )
    layers = list(_layers(convolutions[:_HEADS_FROM], list(_fused_heads(convolutions[_HEADS_FROM:]))))
    assert layers[-1].output == OUTPUTS[-1]
    return layers


def _layers(body: Sequence[Convolution], heads: Sequence[Convolution]) -> Iterator[Layer]:
    rest = iter(body)

    def separable(
        source: str, output: str, *, relu: bool = True, of: Iterator[Convolution] = rest
    ) -> list[Layer]:
        return [
            Layer("convolve", (source,), f"{output}, mixed", next(of)),
            Layer("convolve", (f"{output}, mixed",), output, next(of), relu),
        ]

    yield Layer("convolve", (INPUT,), "stem", next(rest), relu=True)
    yield from separable("stem", "block 0")
    yield Layer("pool", ("block 0",), "pooled 0")
    source = "pooled 0"
    for stage in range(1, 6):
        yield from separable(source, f"block {stage}a")
        yield from separable(f"block {stage}a", f"block {stage}")
        source = f"block {stage}"
        if 1 < stage < 5:
            yield Layer("pool", (source,), f"pooled {stage}")
            source = f"pooled {stage}"
    yield from separable("block 5", "neck 32")
    for stage, stride in ((4, 16), (3, 8)):
        yield Layer("double", (f"neck {2 * stride}",), f"doubled {stride}")
        yield Layer("add", (f"block {stage}", f"doubled {stride}"), f"joined {stride}")
        yield from separable(f"joined {stride}", f"neck {stride}")
    of_heads = iter(heads)
    for stride, output in zip(STRIDES, OUTPUTS, strict=True):
        yield from separable(f"neck {stride}", output, relu=False, of=of_heads)


def _fused_heads(convolutions: Sequence[Convolution]) -> Iterator[Convolution]:
    """A pointwise and a depthwise convolution for each stride, of those that the file has for each head."""
    parts = {
        (head, stride): convolutions[2 * i : 2 * i + 2]
        for i, (head, stride) in enumerate((head, stride) for head in _HEADS_IN_FILE for stride in STRIDES)
    }
    for stride in STRIDES:
        for step in (0, 1):
            several = [parts[head, stride][step] for head in _HEADS]
            yield Convolution(
                np.concatenate([one.weights for one in several]),
                np.concatenate([one.bias for one in several]),
            )


def _convolutions(model: memoryview) -> Iterator[Convolution]:
    """The convolutions of an ONNX file, in its order. Numbers of fields: onnx.proto."""
    (graph,) = (value for number, value in fields(model) if number == 7)
    tensors: dict[str, NDArray[np.float32]] = {}
    inputs: list[list[str]] = []
    for number, value in fields(_message(graph)):
        if number == 5:
            tensors.update(_tensor(_message(value)))
        elif number == 1:
            node = list(fields(_message(value)))
            if any(at == 4 and part == memoryview(b"Conv") for at, part in node):
                inputs.append([str(_message(part), "utf-8") for at, part in node if at == 1])
    for _, weights, bias in inputs:
        yield Convolution(tensors[weights], tensors[bias])


def _tensor(message: memoryview) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The name and content of a tensor, if it is one of floats."""
    parts = list(fields(message))
    if (2, 1) not in parts:
        return
    content = dict(parts)
    # Lists of numbers may come one by one or packed; this file has the one for shapes, bytes for values.
    shape = [value for number, value in parts if number == 1 and isinstance(value, int)]
    yield (
        str(_message(content[8]), "utf-8"),
        np.frombuffer(_message(content.get(9, memoryview(b""))), "<f4").reshape(shape),
    )


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where a message is due")
    return value
