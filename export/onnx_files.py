"""ONNX files: fp32 through torch.onnx, int8 from the integers of the TFLite file."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import torch

from fer_edge.kernels.constants import FACE_SIZE
from fer_edge.labels import ANSWERS, Labels
from fer_edge.models.manifest import TensorSpec

from .layers import Average, Convolution, Layer, read_layers
from .network import InferenceNet, head_of, short_half

INPUT = "faces"
OUTPUTS: dict[Labels, str] = {"fer2013": "logits", "people": "people"}
"""Names of the outputs."""

OPSET = 18
_IR_VERSION = 10
"""Of the file format: what torch.onnx writes with that opset."""


def convert(net: InferenceNet) -> bytes:
    """The fp32 model: float32 (n, 1, 48, 48) in, float32 (n, k, 1, 1) out for each head."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            net,
            (torch.zeros(2, 1, FACE_SIZE, FACE_SIZE),),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUTS[head] for head in net.heads],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def with_half_weights(model: bytes) -> bytes:
    """The fp32 model with its weights as :func:`.network.short_half` stores them; the runtime widens them."""
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load_from_string(model)
    graph = proto.graph
    for value in [value for value in graph.initializer if len(value.dims) > 1]:
        half = short_half(numpy_helper.to_array(value))
        name = f"{value.name}_half"
        graph.initializer.remove(value)
        graph.initializer.append(numpy_helper.from_array(half, name))
        graph.node.insert(0, helper.make_node("Cast", [name], [value.name], to=onnx.TensorProto.FLOAT))
    _compact(proto)
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def from_tflite(model: bytes) -> bytes:
    """The int8 model in QDQ form, with the very integers and scales of an int8 TFLite file.

    int8 (n, 1, 48, 48) in and int8 (n, k, 1, 1) out for each head. Activations inside are the same
    numbers plus 128,
    uint8, because ONNX Runtime computes int8 ones on x86-64 partly in floating point. Each layer has its
    own weights and zero points, because on x86-64 without VNNI ONNX Runtime replaces both, layer by
    layer: it does not load a file whose layers share them, and version 1.20 dies where they are left out.
    """
    import onnx
    from onnx import TensorProto, helper

    network = read_layers(model)
    graph = _Graph()
    tensors = {network.source: graph.quantized(graph.real(INPUT, network.input), _shifted(network.input))}
    specs = {network.source: network.input}
    for layer in network.layers:
        tensors[layer.output] = graph.layer(layer, [(tensors[i], specs[i]) for i in layer.inputs])
        specs[layer.output] = layer.result
    outputs = []
    for number in network.results:
        operation, result = network.layer(number).operation, specs[number]
        assert isinstance(operation, Convolution)
        head = head_of(len(operation.weights))
        graph.quantized(graph.real(tensors[number], _shifted(result)), result, OUTPUTS[head])
        shape = ["n", len(ANSWERS[head]), 1, 1]
        outputs.append(helper.make_tensor_value_info(OUTPUTS[head], TensorProto.INT8, shape))
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "int8",
            [helper.make_tensor_value_info(INPUT, TensorProto.INT8, ["n", 1, FACE_SIZE, FACE_SIZE])],
            outputs,
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
    )
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def quantization(model: bytes) -> tuple[TensorSpec, dict[Labels, TensorSpec]]:
    """Input and outputs of an int8 model as its Q/DQ nodes describe them."""
    import onnx

    graph = onnx.load_from_string(model).graph
    first = next(node for node in graph.node if INPUT in node.input)
    last = {
        head: _spec(graph, node)
        for head, name in OUTPUTS.items()
        for node in graph.node
        if name in node.output
    }
    return _spec(graph, first), last


class _Graph:
    """Nodes and constants of a QDQ graph under construction; names are numbers, to be short."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._known: dict[bytes, str] = {}
        self._count = 0

    def real(self, name: str, spec: TensorSpec) -> str:
        """The real values of a quantized tensor."""
        return self._node("DequantizeLinear", [name, *self._quantization(spec)])

    def quantized(self, name: str, spec: TensorSpec, output: str = "") -> str:
        """Real values, quantized."""
        return self._node("QuantizeLinear", [name, *self._quantization(spec)], output)

    def layer(self, layer: Layer, inputs: list[tuple[str, TensorSpec]]) -> str:
        """One operation between the real values of its inputs and its quantized output."""
        result = _shifted(layer.result)
        if isinstance(layer.operation, Average):
            ((name, _),) = inputs
            value, result = self._average(name, layer.operation)
        else:
            values = [self.real(name, _shifted(spec)) for name, spec in inputs]
            if isinstance(layer.operation, Convolution):
                value = self._convolution(values[0], inputs[0][1], layer.operation)
            else:
                value = self._node("Add", values)
        if layer.most is not None:
            value = self._node("Clip", [value, "", self._constant(np.float32(layer.most))])
        return self.quantized(value, result)

    def _convolution(self, name: str, source: TensorSpec, layer: Convolution) -> str:
        zero_points = np.zeros(len(layer.weights), np.int8)
        stored = [
            self._constant(layer.weights, shared=False),
            self._constant(layer.scales),
            self._constant(zero_points, shared=False),
        ]
        weights = self._node("DequantizeLinear", stored, axis=0)
        stored = [self._constant(layer.bias), self._constant(np.float32(source.scale) * layer.scales)]
        bias = self._node("DequantizeLinear", stored, axis=0)
        return self._node(
            "Conv",
            [name, weights, bias],
            kernel_shape=layer.weights.shape[2:],
            strides=layer.strides,
            pads=layer.pads,
            group=layer.groups,
        )

    def _average(self, name: str, layer: Average) -> tuple[str, TensorSpec]:
        """Means of the stored int8 numbers themselves, and how to round them.

        TFLite rounds a mean that lies halfway between two numbers away from zero, ONNX Runtime to the
        even one. With real values that are the stored numbers, and a scale below 1 by so little that
        no other mean is affected, ONNX Runtime rounds as TFLite does.
        """
        count = layer.window[0] * layer.window[1]
        mean = self._node(
            "AveragePool",
            [self.real(name, TensorSpec("uint8", 1.0, 128))],
            kernel_shape=layer.window,
            strides=layer.strides,
        )
        return mean, TensorSpec("uint8", 1 / (1 + 1 / (1024 * count)), 128)

    def _quantization(self, spec: TensorSpec) -> list[str]:
        return [
            self._constant(np.float32(spec.scale)),
            self._constant(np.dtype(spec.dtype).type(spec.zero_point)),
        ]

    def _constant(self, value: Any, shared: bool = True) -> str:
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(np.asarray(value))
        content = tensor.SerializeToString()
        if shared and content in self._known:
            return self._known[content]
        tensor.name = self._name()
        self.constants.append(tensor)
        if shared:
            self._known[content] = tensor.name
        return tensor.name

    def _node(self, operation: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or self._name()
        self.nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    def _name(self) -> str:
        self._count += 1
        return f"{self._count:x}"


def _shifted(spec: TensorSpec) -> TensorSpec:
    """Of the same real values as uint8."""
    return TensorSpec("uint8", spec.scale, spec.zero_point + 128)


def _compact(model: Any) -> None:
    """Drop the exporter's notes on where each node comes from, and keep equal constants only once."""
    graph = model.graph
    kept: dict[bytes, str] = {}
    same: dict[str, str] = {}
    for constant in list(graph.initializer):
        name, constant.name = constant.name, ""
        same[name] = kept.setdefault(constant.SerializeToString(), name)
        constant.name = name
        if same[name] != name:
            graph.initializer.remove(constant)
    for node in graph.node:
        del node.metadata_props[:]
        for index, name in enumerate(node.input):
            node.input[index] = same.get(name, name)
    del graph.value_info[:]


def _spec(graph: Any, node: Any) -> TensorSpec:
    from onnx import numpy_helper

    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    scale, zero_point = constants[node.input[1]], constants[node.input[2]]
    return TensorSpec(zero_point.dtype.name, float(scale), int(zero_point))
