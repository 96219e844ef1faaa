"""ONNX files through torch.onnx and onnxruntime's static quantization."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge.kernels.crop import FACE_SIZE
from fer_edge.models.backends import load_onnxruntime
from fer_edge.models.manifest import TensorSpec

from .network import InferenceNet, short_half
from .ranges import INPUT_RANGE, Range

INPUT, OUTPUT = "faces", "logits"
OPSET = 18


def convert(net: InferenceNet) -> bytes:
    """The fp32 model: float32 (n, 1, 48, 48) in, float32 (n, 7, 1, 1) out."""
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
            output_names=[OUTPUT],
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


def quantize(model: bytes, calibration: NDArray[np.float32], additions: Sequence[Range]) -> bytes:
    """The int8 model in QDQ form: int8 in and out, weights per channel, activations by min and max.

    ``calibration`` holds normalized faces, float32 (n, 1, 48, 48); ``additions`` the ranges of the
    outputs of the residual additions, in the order of the network.
    """
    import onnx

    quantizer = load_onnxruntime("onnxruntime.quantization")
    shape_inference = load_onnxruntime("onnxruntime.quantization.shape_inference")
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (
            Path(folder) / name for name in ("fp32.onnx", "prepared.onnx", "int8.onnx")
        )
        source.write_bytes(model)
        shape_inference.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        outputs = [node.output[0] for node in onnx.load(str(prepared)).graph.node if node.op_type == "Add"]
        forced = {INPUT: INPUT_RANGE, **dict(zip(outputs, additions, strict=True))}
        quantizer.quantize_static(
            str(prepared),
            str(result),
            _Reader(calibration),
            quant_format=quantizer.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantizer.QuantType.QInt8,
            weight_type=quantizer.QuantType.QInt8,
            calibrate_method=quantizer.CalibrationMethod.MinMax,
            extra_options={
                "TensorQuantOverrides": {
                    name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
                    for name, (low, high) in forced.items()
                }
            },
        )
        quantized = onnx.load(str(result))
    _strip_edges(quantized)
    _compact(quantized)
    _number_names(quantized)
    onnx.checker.check_model(quantized)
    content: bytes = quantized.SerializeToString()
    return content


def quantization(model: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Input and output of an int8 model as its Q/DQ nodes describe them."""
    import onnx

    graph = onnx.load_from_string(model).graph
    first = next(node for node in graph.node if INPUT in node.input)
    last = next(node for node in graph.node if OUTPUT in node.output)
    return _spec(graph, first), _spec(graph, last)


class _Reader:
    """The calibration rows in the form onnxruntime asks for them, one by one as on the TFLite side."""

    def __init__(self, faces: NDArray[np.float32]) -> None:
        self._rows = iter(faces)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        row = next(self._rows, None)
        return None if row is None else {INPUT: row[None]}


def _strip_edges(model: Any) -> None:
    """Drop the first QuantizeLinear and the last DequantizeLinear, so that input and output are int8."""
    import onnx

    graph = model.graph
    first = next(node for node in graph.node if INPUT in node.input)
    last = next(node for node in graph.node if OUTPUT in node.output)
    assert first.op_type == "QuantizeLinear", first.op_type
    assert last.op_type == "DequantizeLinear", last.op_type
    quantized_input, quantized_output = first.output[0], last.input[0]
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == quantized_input:
                node.input[index] = INPUT
        for index, name in enumerate(node.output):
            if name == quantized_output:
                node.output[index] = OUTPUT
    graph.node.remove(first)
    graph.node.remove(last)
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    used = {name for node in graph.node for name in node.input}
    for initializer in [value for value in graph.initializer if value.name not in used]:
        graph.initializer.remove(initializer)


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


def _number_names(model: Any) -> None:
    """Give what lies inside a number for a name: a fifth of a small int8 file would be names.

    The fp32 file keeps its own, by which fine-tuning finds the weights.
    """
    graph = model.graph
    short = {value.name: value.name for value in (*graph.input, *graph.output)}
    for value in graph.initializer:
        value.name = short.setdefault(value.name, f"{len(short):x}")
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name:
                    names[index] = short.setdefault(name, f"{len(short):x}")


def _spec(graph: Any, node: Any) -> TensorSpec:
    from onnx import numpy_helper

    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    scale, zero_point = constants[node.input[1]], constants[node.input[2]]
    return TensorSpec(zero_point.dtype.name, float(scale), int(zero_point))
