"""YuNet on ONNX Runtime: the network with fused heads as an ONNX file that is made in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...models.backends import load_onnxruntime, onnx_session
from .network import CHANNELS, INPUT, OUTPUTS, Layer
from .protobuf import field

# Numbers of onnx.proto.
_FLOAT = 1
_INT_ATTRIBUTE, _STRING_ATTRIBUTE, _INTS_ATTRIBUTE = 2, 3, 7


class OnnxSession:
    """The ``layers`` of YuNet on ONNX Runtime; raises ModelError where it refuses them."""

    def __init__(self, layers: Sequence[Layer], threads: int) -> None:
        onnxruntime = load_onnxruntime()
        try:
            self._session = onnx_session(onnxruntime, onnx_file(layers), threads, exact=False)
        except Exception as error:  # onnxruntime raises its own classes, none of them public
            raise ModelError(f"the face detector: ONNX Runtime cannot load it ({error})") from error
        self.black = 0
        self._buffer = np.zeros((1, 3, 1, 1), np.float32)

    def input(self, height: int, width: int) -> NDArray[np.generic]:
        if self._buffer.shape[2:] != (height + 1, width + 1):
            self._buffer = np.zeros((1, 3, height + 1, width + 1), np.float32)
        view: NDArray[np.generic] = self._buffer[0].transpose(1, 2, 0)
        return view

    def run(self) -> list[NDArray[np.float32]]:
        outputs = self._session.run(OUTPUTS, {INPUT: self._buffer})
        return [output.reshape(CHANNELS, -1).T for output in outputs]


def onnx_file(layers: Sequence[Layer]) -> bytes:
    """Return the network as an ONNX file with an input of any (1, 3, 32 i + 1, 32 j + 1)."""
    doubling = np.array([1, 1, 2, 2], np.float32)
    tensors = [_tensor("doubling", doubling), _tensor("nothing", doubling[:0])]
    nodes: list[bytes] = []
    for layer in layers:
        if layer.convolution is not None:
            weights = layer.convolution.weights
            names = [f"{layer.output}, weights", f"{layer.output}, bias"]
            tensors += [_tensor(names[0], weights), _tensor(names[1], layer.convolution.bias)]
            depthwise = weights.shape[1] == 1
            attributes = [
                _integers("kernel_shape", weights.shape[2:]),
                _integers("pads", [1 if depthwise else 0] * 4),
                _integers("strides", [2 if layer.inputs == (INPUT,) else 1] * 2),
                _integer("group", len(weights) if depthwise else 1),
            ]
            output = f"{layer.output}, linear" if layer.relu else layer.output
            nodes.append(_node("Conv", [*layer.inputs, *names], output, *attributes))
            if layer.relu:
                nodes.append(_node("Relu", [output], layer.output))
        elif layer.operation == "pool":
            twos = [_integers("kernel_shape", [2, 2]), _integers("strides", [2, 2])]
            nodes.append(_node("MaxPool", layer.inputs, layer.output, *twos))
        elif layer.operation == "double":
            nearest = [
                _text("mode", "nearest"),
                _text("coordinate_transformation_mode", "asymmetric"),
                _text("nearest_mode", "floor"),
            ]
            nodes.append(_node("Resize", [*layer.inputs, "nothing", "doubling"], layer.output, *nearest))
        else:
            nodes.append(_node("Add", layer.inputs, layer.output))
    graph = (
        field(1, *nodes)
        + field(2, "YuNet")
        + field(5, *tensors)
        + field(11, _value(INPUT, 3))
        + field(12, *(_value(name, CHANNELS) for name in OUTPUTS))
    )
    operators = field(2, 11)
    return field(1, 6) + field(7, graph) + field(8, operators)


def _node(operator: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    return field(1, *inputs) + field(2, output) + field(4, operator) + field(5, *attributes)


def _integer(name: str, value: int) -> bytes:
    return field(1, name) + field(3, value) + field(20, _INT_ATTRIBUTE)


def _integers(name: str, values: Sequence[int]) -> bytes:
    return field(1, name) + field(8, *values) + field(20, _INTS_ATTRIBUTE)


def _text(name: str, value: str) -> bytes:
    return field(1, name) + field(4, value) + field(20, _STRING_ATTRIBUTE)


def _tensor(name: str, content: NDArray[np.float32]) -> bytes:
    values = np.ascontiguousarray(content, "<f4").tobytes()
    return field(1, *content.shape) + field(2, _FLOAT) + field(8, name) + field(9, values)


def _value(name: str, channels: int) -> bytes:
    """What the graph takes or gives: floats (1, channels, rows, columns), the last two of any size."""
    dimensions = [field(1, 1), field(1, channels), field(2, f"{name}, rows"), field(2, f"{name}, columns")]
    kind = field(1, _FLOAT) + field(2, field(1, *dimensions))
    return field(1, name) + field(2, field(1, kind))
