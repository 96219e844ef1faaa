"""What an int8 TFLite file computes, layer by layer, so that other formats can hold the same integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_edge.errors import ModelError
from fer_edge.models.manifest import TensorSpec


@dataclass(frozen=True)
class Convolution:
    """Integers of a convolution: sum of weights * (input - its zero point), plus bias, rescaled.

    weights: int8 (outputs, inputs / groups, rows, columns); bias: int32 (outputs,); scales: float32
    (outputs,), of the weights; pads: rows above, columns on the left, rows below, columns on the right.
    """

    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32]
    groups: int
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True)
class Average:
    """A mean over windows of so many rows and columns, without a border."""

    window: tuple[int, int]
    strides: tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One operation; a sum of two tensors where ``operation`` is ``add``.

    inputs and output: numbers of tensors; result: quantization of the output; most: the real value at
    which an activation cuts the output off, None where its quantization does so by itself.
    """

    operation: Convolution | Average | Literal["add"]
    inputs: tuple[int, ...]
    output: int
    result: TensorSpec
    most: float | None


@dataclass(frozen=True)
class Layers:
    """A network: its layers in the order of execution, from tensor ``source`` to the tensors ``results``."""

    source: int
    input: TensorSpec
    layers: tuple[Layer, ...]
    results: tuple[int, ...]

    def layer(self, tensor: int) -> Layer:
        """The one that gives ``tensor``."""
        return next(layer for layer in self.layers if layer.output == tensor)


def read_layers(model: bytes) -> Layers:
    """The layers of an int8 TFLite file; raises ModelError for an operation that no export here writes."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    (graph,) = parsed.subgraphs
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    reader = _Reader(parsed.buffers, graph.tensors)
    pads: dict[int, tuple[int, tuple[int, int, int, int]]] = {}
    layers = []
    for operator in graph.operators:
        kind = names[parsed.operatorCodes[operator.opcodeIndex].builtinCode]
        inputs, (output,) = [int(index) for index in operator.inputs], operator.outputs
        options = operator.builtinOptions
        operation: Convolution | Average | Literal["add"]
        match kind:
            case "PAD":
                _, rows, columns, _ = reader.constant(inputs[1], np.int32).reshape(4, 2).tolist()
                pads[output] = inputs[0], (rows[0], columns[0], rows[1], columns[1])
                continue
            case "CONV_2D" | "DEPTHWISE_CONV_2D":
                source, border = pads.get(inputs[0], (inputs[0], (0, 0, 0, 0)))
                operation = reader.convolution(inputs, options, border, kind == "DEPTHWISE_CONV_2D")
                used = [source]
            case "AVERAGE_POOL_2D":
                operation = Average(
                    (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
                )
                used = inputs
            case "ADD":
                operation, used = "add", inputs
            case _:
                raise ModelError(f"int8 model: no ONNX form is known for the operation {kind}")
        result = reader.spec(output)
        function = options.fusedActivationFunction
        most = _cut_off(result, function == schema.ActivationFunctionType.RELU6)
        if function not in (
            schema.ActivationFunctionType.NONE,
            schema.ActivationFunctionType.RELU,
            schema.ActivationFunctionType.RELU6,
        ):
            raise ModelError(f"int8 model: no ONNX form is known for the activation function {function}")
        if function != schema.ActivationFunctionType.NONE and result.zero_point != -128:
            raise ModelError(f"int8 model: the output of a ReLU has the zero point {result.zero_point}")
        layers.append(Layer(operation, tuple(used), int(output), result, most))
    (source,) = (int(index) for index in graph.inputs)
    return Layers(source, reader.spec(source), tuple(layers), tuple(map(int, graph.outputs)))


def _cut_off(result: TensorSpec, six: bool) -> float | None:
    return 6.0 if six and round(6 / result.scale) + result.zero_point < 127 else None


class _Reader:
    """Tensors and constants of the one graph."""

    def __init__(self, buffers: Sequence[Any], tensors: Sequence[Any]) -> None:
        self._buffers, self._tensors = buffers, tensors

    def spec(self, index: int) -> TensorSpec:
        quantization = self._tensors[index].quantization
        (scale,), (zero_point,) = quantization.scale, quantization.zeroPoint
        return TensorSpec("int8", float(scale), int(zero_point))

    def constant(self, index: int, dtype: type[np.generic]) -> NDArray[Any]:
        tensor = self._tensors[index]
        content = bytes(self._buffers[tensor.buffer].data)
        return np.frombuffer(content, dtype).reshape([int(size) for size in tensor.shape])

    def convolution(
        self, inputs: Sequence[int], options: Any, border: tuple[int, int, int, int], depthwise: bool
    ) -> Convolution:
        source, weights, bias = inputs
        values = self.constant(weights, np.int8)
        # Depthwise weights are (1, rows, columns, outputs), others (outputs, rows, columns, inputs).
        values = values.transpose(3, 0, 1, 2) if depthwise else values.transpose(0, 3, 1, 2)
        strides = int(options.strideH), int(options.strideW)
        if options.padding == 0:  # SAME
            if any(border):
                raise ModelError("int8 model: a convolution has two borders")
            sizes = [int(size) for size in self._tensors[source].shape[1:3]]
            before, after = zip(*map(_same, sizes, values.shape[2:], strides), strict=True)
            border = (*before, *after)
        return Convolution(
            np.ascontiguousarray(values),
            np.array(self._tensors[weights].quantization.scale, np.float32),
            self.constant(bias, np.int32),
            groups=int(self._tensors[source].shape[3]) if depthwise else 1,
            strides=strides,
            pads=border,
        )


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Border before and after, so that the output has size / stride rows, rounded up."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
