"""YuNet on LiteRT: the network as a TFLite file that is made in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...models.backends import litert_interpreter_class
from .flatbuffer import Byte, Numbers, Table, flatbuffer
from .network import CHANNELS, INPUT, OUTPUTS, Layer

# Numbers of tensorflow/lite/schema/schema.fbs.
_ADD, _CONCATENATION, _CONV_2D, _DEPTHWISE_CONV_2D, _DEPTH_TO_SPACE, _MAX_POOL_2D = 0, 2, 3, 4, 5, 17
_OPERATORS = (_ADD, _CONCATENATION, _CONV_2D, _DEPTHWISE_CONV_2D, _DEPTH_TO_SPACE, _MAX_POOL_2D)
_SAME, _VALID = Byte(0), Byte(1)
_NONE, _RELU = Byte(0), Byte(1)
_SIZE = (32, 32)


class LiteRTSession:
    """The ``layers`` of YuNet on LiteRT; raises ModelError where it refuses them."""

    def __init__(self, layers: Sequence[Layer], threads: int) -> None:
        interpreter = litert_interpreter_class()
        try:
            self._interpreter = interpreter(model_content=tflite_file(layers), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"the face detector: LiteRT cannot load it ({error})") from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = {one["name"]: one["index"] for one in self._interpreter.get_output_details()}
        self._outputs = [outputs[name] for name in OUTPUTS]
        self._size = _SIZE

    def input(self, height: int, width: int) -> NDArray[np.float32]:
        if (height, width) != self._size:
            self._interpreter.resize_tensor_input(self._input, (1, height + 1, width + 1, 3))
            self._interpreter.allocate_tensors()
            self._size = height, width
        view: NDArray[np.float32] = self._interpreter.tensor(self._input)()
        picture: NDArray[np.float32] = view[0]
        return picture

    def run(self) -> list[NDArray[np.float32]]:
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index).reshape(-1, CHANNELS) for index in self._outputs]


def tflite_file(layers: Sequence[Layer]) -> bytes:
    """Return the network as a TFLite file; its input may be resized to any (1, 32 i + 1, 32 j + 1, 3)."""
    shapes: dict[str, tuple[int, int, int]] = {INPUT: (_SIZE[0] + 1, _SIZE[1] + 1, 3)}
    indices: dict[str, int] = {}
    # Buffer 0 is that of tensors without content.
    buffers: list[Table] = [{}]
    tensors: list[Table] = []
    operators: list[Table] = []

    def tensor(name: str, shape: Sequence[int], content: NDArray[np.float32] | None = None) -> int:
        indices[name] = len(tensors)
        tensors.append({0: Numbers(shape), 1: Byte(0), 2: 0 if content is None else len(buffers), 3: name})
        if content is not None:
            buffers.append({0: np.ascontiguousarray(content, "<f4").tobytes()})
        return indices[name]

    def operator(
        kind: int, inputs: Sequence[int], output: str, shape: tuple[int, int, int], options: tuple[int, Table]
    ) -> None:
        shapes[output] = shape
        operators.append(
            {
                0: _OPERATORS.index(kind),
                1: Numbers(inputs),
                2: Numbers([tensor(output, (1, *shape))]),
                3: Byte(options[0]),
                4: options[1],
            }
        )

    tensor(INPUT, (1, *shapes[INPUT]))
    for layer in layers:
        height, width, channels = shapes[layer.inputs[0]]
        inputs = [indices[name] for name in layer.inputs]
        if layer.convolution is not None:
            weights, activation = layer.convolution.weights, _RELU if layer.relu else _NONE
            bias = tensor(f"{layer.output}, bias", weights.shape[:1], layer.convolution.bias)
            name = f"{layer.output}, weights"
            if weights.shape[1] == 1:
                order, kind = weights.transpose(1, 2, 3, 0), _DEPTHWISE_CONV_2D
                options: tuple[int, Table] = 2, {0: _SAME, 1: 1, 2: 1, 3: 1, 4: activation, 5: 1, 6: 1}
            else:
                order, kind = weights.transpose(0, 2, 3, 1), _CONV_2D
                stride = 2 if layer.inputs == (INPUT,) else 1
                height, width = height // stride, width // stride
                options = 1, {0: _VALID, 1: stride, 2: stride, 3: activation, 4: 1, 5: 1}
            inputs += [tensor(name, order.shape, order), bias]
            operator(kind, inputs, layer.output, (height, width, len(weights)), options)
        elif layer.operation == "pool":
            shape = height // 2, width // 2, channels
            pooled: Table = {0: _VALID, 1: 2, 2: 2, 3: 2, 4: 2, 5: _NONE}
            operator(_MAX_POOL_2D, inputs, layer.output, shape, (5, pooled))
        elif layer.operation == "double":
            # XNNPACK takes all operators but RESIZE_NEAREST_NEIGHBOR, which would split the network in three.
            four = f"{layer.output}, four times"
            operator(_CONCATENATION, inputs * 4, four, (height, width, 4 * channels), (10, {0: 3, 1: _NONE}))
            shape = 2 * height, 2 * width, channels
            operator(_DEPTH_TO_SPACE, [indices[four]], layer.output, shape, (94, {0: 2}))
        else:
            operator(_ADD, inputs, layer.output, shapes[layer.inputs[0]], (11, {0: _NONE}))
    graph: Table = {
        0: tensors,
        1: Numbers([indices[INPUT]]),
        2: Numbers([indices[name] for name in OUTPUTS]),
        3: operators,
        4: "YuNet",
    }
    codes: list[Table] = [{0: Byte(kind), 2: 1, 3: kind} for kind in _OPERATORS]
    return flatbuffer({0: 3, 1: codes, 2: [graph], 3: "YuNet, heads fused", 4: buffers}, b"TFL3")
