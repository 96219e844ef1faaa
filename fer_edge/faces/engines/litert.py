"""YuNet on LiteRT: the network as a TFLite file that is made in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ModelError
from ...models.backends import litert_interpreter_class
from .flatbuffer import Byte, Floats, Longs, Numbers, Table, flatbuffer
from .network import CHANNELS, INPUT, OUTPUTS, Convolution, Layer
from .quantization import Ranges, equalized, quantized_weights, scale_and_zero

# Numbers of tensorflow/lite/schema/schema.fbs.
_ADD, _CONCATENATION, _CONV_2D, _DEPTHWISE_CONV_2D, _DEPTH_TO_SPACE, _MAX_POOL_2D = 0, 2, 3, 4, 5, 17
_OPERATORS = (_ADD, _CONCATENATION, _CONV_2D, _DEPTHWISE_CONV_2D, _DEPTH_TO_SPACE, _MAX_POOL_2D)
_VERSIONS_OF_INT8 = {_CONV_2D: 3, _DEPTHWISE_CONV_2D: 3}
"""Of the other operators 2."""
_FLOAT32, _INT32, _INT8 = Byte(0), Byte(2), Byte(9)
_SAME, _VALID = Byte(0), Byte(1)
_NONE, _RELU = Byte(0), Byte(1)
_SIZE = (32, 32)
_PICTURE_SCALE, _PICTURE_ZERO = 1.0, -128
_OUTPUT_SCALE, _OUTPUT_ZERO = 1 / 127, 0
"""In 8 bits, of the input and of all outputs."""


class LiteRTSession:
    """The ``layers`` of YuNet on LiteRT, in 8 bits with ``ranges``; raises ModelError if it refuses them."""

    def __init__(self, layers: Sequence[Layer], threads: int, ranges: Ranges | None = None) -> None:
        interpreter = litert_interpreter_class()
        try:
            self._interpreter = interpreter(model_content=tflite_file(layers, ranges), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"the face detector: LiteRT cannot load it ({error})") from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = {one["name"]: one["index"] for one in self._interpreter.get_output_details()}
        self._outputs = [outputs[name] for name in OUTPUTS]
        self._scales = None
        self.black = 0
        if ranges is not None:
            self._scales = [
                np.array(ranges.largest[name], np.float32) * np.float32(_OUTPUT_SCALE) for name in OUTPUTS
            ]
            self.black = _PICTURE_ZERO
        self._size = _SIZE

    def input(self, height: int, width: int) -> NDArray[np.generic]:
        if (height, width) != self._size:
            self._interpreter.resize_tensor_input(self._input, (1, height + 1, width + 1, 3))
            self._interpreter.allocate_tensors()
            self._size = height, width
        view: NDArray[np.generic] = self._interpreter.tensor(self._input)()
        picture: NDArray[np.generic] = view[0]
        return picture

    def run(self) -> list[NDArray[np.float32]]:
        self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(index).reshape(-1, CHANNELS) for index in self._outputs]
        if self._scales is None:
            return outputs
        return [
            np.multiply(one, scales, dtype=np.float32)
            for one, scales in zip(outputs, self._scales, strict=True)
        ]


def tflite_file(layers: Sequence[Layer], ranges: Ranges | None = None) -> bytes:
    """Return the network as a TFLite file; its input may be resized to any (1, 32 i + 1, 32 j + 1, 3).

    With ``ranges`` it computes in 8 bits, weights with a scale for each channel. The input is then int8,
    levels less 128, and the outputs are int8, 127ths of the largest number of each channel.
    """
    if ranges is not None:
        layers = equalized(layers, ranges.exponents, ranges.largest)
    shapes: dict[str, tuple[int, int, int]] = {INPUT: (_SIZE[0] + 1, _SIZE[1] + 1, 3)}
    indices: dict[str, int] = {}
    scales: dict[str, tuple[float, int]] = {INPUT: (_PICTURE_SCALE, _PICTURE_ZERO)}
    scales |= dict.fromkeys(OUTPUTS, (_OUTPUT_SCALE, _OUTPUT_ZERO))
    # Buffer 0 is that of tensors without content.
    buffers: list[Table] = [{}]
    tensors: list[Table] = []
    operators: list[Table] = []

    def tensor(
        name: str, shape: Sequence[int], kind: Byte, content: NDArray[np.generic] | None = None
    ) -> int:
        indices[name] = len(tensors)
        tensors.append({0: Numbers(shape), 1: kind, 2: 0 if content is None else len(buffers), 3: name})
        if content is not None:
            little = content.astype(content.dtype.newbyteorder("<"), copy=False)
            buffers.append({0: np.ascontiguousarray(little).tobytes()})
        return indices[name]

    def computed(name: str, shape: tuple[int, int, int], source: str | None = None) -> int:
        """What an operator gives; ``source``: has the scale of this one, as nothing is computed."""
        shapes[name] = shape
        if ranges is None:
            return tensor(name, (1, *shape), _FLOAT32)
        if source is not None:
            scales[name] = scales[source]
        elif name not in scales:
            scales[name] = scale_and_zero(ranges.limits[name])
        index = tensor(name, (1, *shape), _INT8)
        tensors[index][4] = _quantization(*scales[name])
        return index

    def operator(kind: int, inputs: Sequence[int], output: int, options: tuple[int, Table]) -> None:
        operators.append(
            {
                0: _OPERATORS.index(kind),
                1: Numbers(inputs),
                2: Numbers([output]),
                3: Byte(options[0]),
                4: options[1],
            }
        )

    def constants(layer: Layer, convolution: Convolution) -> list[int]:
        """The weights and the bias of a convolution; channels last."""
        depthwise = convolution.weights.shape[1] == 1
        axes = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        names = f"{layer.output}, weights", f"{layer.output}, bias"
        shape = [convolution.weights.shape[axis] for axis in axes]
        if ranges is None:
            weights = tensor(names[0], shape, _FLOAT32, convolution.weights.transpose(axes))
            return [weights, tensor(names[1], convolution.bias.shape, _FLOAT32, convolution.bias)]
        numbers, steps = quantized_weights(convolution.weights)
        weights = tensor(names[0], shape, _INT8, numbers.transpose(axes))
        tensors[weights][4] = _quantization(steps, np.zeros(len(steps), int), axes.index(0))
        steps = steps * scales[layer.inputs[0]][0]
        bias = tensor(
            names[1], convolution.bias.shape, _INT32, np.rint(convolution.bias / steps).astype(np.int32)
        )
        tensors[bias][4] = _quantization(steps, np.zeros(len(steps), int))
        return [weights, bias]

    computed(INPUT, shapes[INPUT])
    for layer in layers:
        height, width, channels = shapes[layer.inputs[0]]
        inputs = [indices[name] for name in layer.inputs]
        if layer.convolution is not None:
            activation = _RELU if layer.relu else _NONE
            inputs += constants(layer, layer.convolution)
            if layer.convolution.weights.shape[1] == 1:
                kind = _DEPTHWISE_CONV_2D
                options: tuple[int, Table] = 2, {0: _SAME, 1: 1, 2: 1, 3: 1, 4: activation, 5: 1, 6: 1}
            else:
                kind = _CONV_2D
                stride = 2 if layer.inputs == (INPUT,) else 1
                height, width = height // stride, width // stride
                options = 1, {0: _VALID, 1: stride, 2: stride, 3: activation, 4: 1, 5: 1}
            shape = height, width, len(layer.convolution.weights)
            operator(kind, inputs, computed(layer.output, shape), options)
        elif layer.operation == "pool":
            pooled: Table = {0: _VALID, 1: 2, 2: 2, 3: 2, 4: 2, 5: _NONE}
            output = computed(layer.output, (height // 2, width // 2, channels), layer.inputs[0])
            operator(_MAX_POOL_2D, inputs, output, (5, pooled))
        elif layer.operation == "double":
            # XNNPACK takes all operators but RESIZE_NEAREST_NEIGHBOR, which would split the network in three.
            four = computed(f"{layer.output}, four times", (height, width, 4 * channels), layer.inputs[0])
            operator(_CONCATENATION, inputs * 4, four, (10, {0: 3, 1: _NONE}))
            output = computed(layer.output, (2 * height, 2 * width, channels), layer.inputs[0])
            operator(_DEPTH_TO_SPACE, [four], output, (94, {0: 2}))
        else:
            operator(_ADD, inputs, computed(layer.output, shapes[layer.inputs[0]]), (11, {0: _NONE}))
    graph: Table = {
        0: tensors,
        1: Numbers([indices[INPUT]]),
        2: Numbers([indices[name] for name in OUTPUTS]),
        3: operators,
        4: "YuNet",
    }
    versions = {kind: 1 if ranges is None else _VERSIONS_OF_INT8.get(kind, 2) for kind in _OPERATORS}
    codes: list[Table] = [{0: Byte(kind), 2: versions[kind], 3: kind} for kind in _OPERATORS]
    return flatbuffer({0: 3, 1: codes, 2: [graph], 3: "YuNet, heads fused", 4: buffers}, b"TFL3")


def _quantization(scales: ArrayLike, zeros: ArrayLike, axis: int = 0) -> Table:
    """The parameters of a tensor, one scale for all or one for each channel along ``axis``."""
    return {2: Floats(np.ravel(scales).tolist()), 3: Longs(np.ravel(zeros).tolist()), 6: axis}
