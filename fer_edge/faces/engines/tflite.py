"""YuNet as a TFLite file that is made in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .flatbuffer import Byte, Floats, Longs, Numbers, Table, flatbuffer
from .network import INPUT, OUTPUTS, Convolution, Layer
from .quantization import Ranges, equalized, quantized_weights, scale_and_zero

# Numbers of tensorflow/lite/schema/schema.fbs.
_ADD, _CONCATENATION, _CONV_2D, _DEPTHWISE_CONV_2D, _DEPTH_TO_SPACE, _MAX_POOL_2D = 0, 2, 3, 4, 5, 17
_OPERATORS = (_ADD, _CONCATENATION, _CONV_2D, _DEPTHWISE_CONV_2D, _DEPTH_TO_SPACE, _MAX_POOL_2D)
_VERSIONS_OF_INT8 = {_CONV_2D: 3, _DEPTHWISE_CONV_2D: 3}
"""Of the other operators 2."""
_FLOAT32, _INT32, _INT8 = Byte(0), Byte(2), Byte(9)
_SAME, _VALID = Byte(0), Byte(1)
_NONE, _RELU = Byte(0), Byte(1)
SIZE = (32, 32)
_PICTURE_SCALE, PICTURE_ZERO = 1.0, -128
OUTPUT_SCALE, _OUTPUT_ZERO = 1 / 127, 0
"""In 8 bits, of the input and of all outputs."""


def tflite_file(layers: Sequence[Layer], ranges: Ranges | None = None) -> bytes:
    """Return the network as a TFLite file; its input may be resized to any (1, 32 i + 1, 32 j + 1, 3).

    With ``ranges`` it computes in 8 bits, weights with a scale for each channel. The input is then int8,
    levels less 128, and the outputs are int8, 127ths of the largest number of each channel.
    """
    if ranges is not None:
        layers = equalized(layers, ranges.exponents, ranges.largest)
    graph = _Graph(ranges)
    graph.computed(INPUT, (SIZE[0] + 1, SIZE[1] + 1, 3))
    for layer in layers:
        _LAYERS[layer.operation](graph, layer)
    return graph.file()


class _Graph:
    """Tensors and operators of a network in the making, in 8 bits where there are ``ranges``."""

    def __init__(self, ranges: Ranges | None) -> None:
        self._ranges = ranges
        self.shapes: dict[str, tuple[int, int, int]] = {}
        """(height, width, channels) of what is computed, by name."""
        self._indices: dict[str, int] = {}
        self._scales: dict[str, tuple[float, int]] = {INPUT: (_PICTURE_SCALE, PICTURE_ZERO)}
        self._scales |= dict.fromkeys(OUTPUTS, (OUTPUT_SCALE, _OUTPUT_ZERO))
        # Buffer 0 is that of tensors without content.
        self._buffers: list[Table] = [{}]
        self._tensors: list[Table] = []
        self._operators: list[Table] = []

    def computed(self, name: str, shape: tuple[int, int, int], source: str | None = None) -> int:
        """Add the output of an operator; ``source``: a tensor whose scale it has, as nothing is computed."""
        self.shapes[name] = shape
        if self._ranges is None:
            return self._tensor(name, (1, *shape), _FLOAT32)
        if source is not None:
            self._scales[name] = self._scales[source]
        elif name not in self._scales:
            self._scales[name] = scale_and_zero(self._ranges.limits[name])
        index = self._tensor(name, (1, *shape), _INT8)
        self._tensors[index][4] = _quantization(*self._scales[name])
        return index

    def constants(self, layer: Layer, convolution: Convolution) -> list[int]:
        """Add the weights and the bias of a convolution; channels last."""
        depthwise = convolution.weights.shape[1] == 1
        axes = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        names = f"{layer.output}, weights", f"{layer.output}, bias"
        shape = [convolution.weights.shape[axis] for axis in axes]
        if self._ranges is None:
            weights = self._tensor(names[0], shape, _FLOAT32, convolution.weights.transpose(axes))
            return [weights, self._tensor(names[1], convolution.bias.shape, _FLOAT32, convolution.bias)]
        numbers, steps = quantized_weights(convolution.weights)
        weights = self._tensor(names[0], shape, _INT8, numbers.transpose(axes))
        self._tensors[weights][4] = _quantization(steps, np.zeros(len(steps), int), axes.index(0))
        steps = steps * self._scales[layer.inputs[0]][0]
        rounded = np.rint(convolution.bias / steps).astype(np.int32)
        bias = self._tensor(names[1], convolution.bias.shape, _INT32, rounded)
        self._tensors[bias][4] = _quantization(steps, np.zeros(len(steps), int))
        return [weights, bias]

    def inputs(self, layer: Layer) -> list[int]:
        """The tensors that a layer reads."""
        return [self._indices[name] for name in layer.inputs]

    def operator(self, kind: int, inputs: Sequence[int], output: int, options: tuple[int, Table]) -> None:
        """Add an operator; ``options``: the number of their type in the schema, and their fields."""
        self._operators.append(
            {
                0: _OPERATORS.index(kind),
                1: Numbers(inputs),
                2: Numbers([output]),
                3: Byte(options[0]),
                4: options[1],
            }
        )

    def file(self) -> bytes:
        """The network from :data:`INPUT` to :data:`OUTPUTS` as a file."""
        graph: Table = {
            0: self._tensors,
            1: Numbers([self._indices[INPUT]]),
            2: Numbers([self._indices[name] for name in OUTPUTS]),
            3: self._operators,
            4: "YuNet",
        }
        int8 = self._ranges is not None
        versions = {kind: _VERSIONS_OF_INT8.get(kind, 2) if int8 else 1 for kind in _OPERATORS}
        codes: list[Table] = [{0: Byte(kind), 2: versions[kind], 3: kind} for kind in _OPERATORS]
        return flatbuffer({0: 3, 1: codes, 2: [graph], 3: "YuNet, heads fused", 4: self._buffers}, b"TFL3")

    def _tensor(
        self, name: str, shape: Sequence[int], kind: Byte, content: NDArray[np.generic] | None = None
    ) -> int:
        index = self._indices[name] = len(self._tensors)
        buffer = 0 if content is None else len(self._buffers)
        self._tensors.append({0: Numbers(shape), 1: kind, 2: buffer, 3: name})
        if content is not None:
            little = content.astype(content.dtype.newbyteorder("<"), copy=False)
            self._buffers.append({0: np.ascontiguousarray(little).tobytes()})
        return index


def _add_convolution(graph: _Graph, layer: Layer) -> None:
    assert layer.convolution is not None
    height, width, _ = graph.shapes[layer.inputs[0]]
    activation = _RELU if layer.relu else _NONE
    inputs = graph.inputs(layer) + graph.constants(layer, layer.convolution)
    if layer.convolution.weights.shape[1] == 1:
        kind = _DEPTHWISE_CONV_2D
        options: tuple[int, Table] = 2, {0: _SAME, 1: 1, 2: 1, 3: 1, 4: activation, 5: 1, 6: 1}
    else:
        kind = _CONV_2D
        stride = 2 if layer.inputs == (INPUT,) else 1
        height, width = height // stride, width // stride
        options = 1, {0: _VALID, 1: stride, 2: stride, 3: activation, 4: 1, 5: 1}
    shape = height, width, len(layer.convolution.weights)
    graph.operator(kind, inputs, graph.computed(layer.output, shape), options)


def _add_pool(graph: _Graph, layer: Layer) -> None:
    height, width, channels = graph.shapes[layer.inputs[0]]
    output = graph.computed(layer.output, (height // 2, width // 2, channels), layer.inputs[0])
    options: Table = {0: _VALID, 1: 2, 2: 2, 3: 2, 4: 2, 5: _NONE}
    graph.operator(_MAX_POOL_2D, graph.inputs(layer), output, (5, options))


def _add_double(graph: _Graph, layer: Layer) -> None:
    # XNNPACK takes all operators but RESIZE_NEAREST_NEIGHBOR, which would split the network in three.
    height, width, channels = graph.shapes[layer.inputs[0]]
    four = graph.computed(f"{layer.output}, four times", (height, width, 4 * channels), layer.inputs[0])
    graph.operator(_CONCATENATION, graph.inputs(layer) * 4, four, (10, {0: 3, 1: _NONE}))
    output = graph.computed(layer.output, (2 * height, 2 * width, channels), layer.inputs[0])
    graph.operator(_DEPTH_TO_SPACE, [four], output, (94, {0: 2}))


def _add_sum(graph: _Graph, layer: Layer) -> None:
    output = graph.computed(layer.output, graph.shapes[layer.inputs[0]])
    graph.operator(_ADD, graph.inputs(layer), output, (11, {0: _NONE}))


def _quantization(scales: ArrayLike, zeros: ArrayLike, axis: int = 0) -> Table:
    """The parameters of a tensor, one scale for all or one for each channel along ``axis``."""
    return {2: Floats(np.ravel(scales).tolist()), 3: Longs(np.ravel(zeros).tolist()), 6: axis}


_LAYERS = {"convolve": _add_convolution, "pool": _add_pool, "double": _add_double, "add": _add_sum}
