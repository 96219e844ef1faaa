"""TFLite files through litert-torch and ai-edge-quantizer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge.kernels.constants import FACE_SIZE
from fer_edge.labels import Labels
from fer_edge.models.manifest import TensorSpec

from .network import InferenceNet, head_of, short_half
from .ranges import INPUT_RANGE, Range, widened

_BUFFER_ALIGNMENT = 16
"""In bytes, of constant data; from the TFLite schema."""


def convert(net: InferenceNet) -> bytes:
    """The fp32 model: NHWC float32 (1, 48, 48, 1) in, for each head float32 (1, 1, 1, k) out.

    The batch is resizable.
    """
    import litert_torch

    channels_last = litert_torch.to_channel_last_io(net, args=[0], outputs=list(range(len(net.heads))))
    model = litert_torch.convert(channels_last.eval(), (torch.zeros(1, FACE_SIZE, FACE_SIZE, 1),))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        model.export(str(path))
        return path.read_bytes()


def with_half_weights(model: bytes) -> bytes:
    """The fp32 model with its weights as :func:`.network.short_half` stores them; runtimes widen them."""
    from ai_edge_quantizer import algorithm_manager, qtyping, quantizer

    work = quantizer.Quantizer(bytearray(model))
    work.add_weight_only_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    return compact(bytes(work.quantize(enable_progress_report=False).quantized_model))


def calibrate(model: bytes, calibration: NDArray[np.float32]) -> dict[str, dict[str, Any]]:
    """Smallest and largest value of each activation of the fp32 model, by tensor name.

    ``calibration`` holds normalized faces, float32 (n, 1, 48, 48). The input gets its fixed range,
    and the outputs of residual additions a slightly wider one, see :mod:`.ranges`.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    interpreter = calibrator.Calibrator(
        bytearray(model), num_threads=1, qsv_update_func=qsv_utils.min_max_update
    )
    signature = next(iter(interpreter.get_signature_list()))
    argument, source = _signature_input(model, signature)
    samples = [{argument: face.reshape(1, FACE_SIZE, FACE_SIZE, 1)} for face in calibration]
    interpreter.calibrate({signature: samples}, _quantizer(model)._recipe_manager)
    ranges: dict[str, dict[str, Any]] = interpreter.get_model_qsvs()
    _set_range(ranges[source], INPUT_RANGE)
    for name in _addition_outputs(model):
        _set_range(ranges[name], widened(_range(ranges[name])))
    return ranges


def quantize(model: bytes, ranges: dict[str, dict[str, Any]]) -> bytes:
    """The int8 model: weights per channel, activations by the ``ranges`` of :func:`calibrate`."""
    return compact(bytes(_quantizer(model).quantize(ranges, enable_progress_report=False).quantized_model))


def compact(model: bytes) -> bytes:
    """The same model with short tensor names, and equal tables of numbers stored once.

    The converter's names are paths of Python classes, and each channel's zero point takes eight
    bytes twice; without both an int8 file is a fifth smaller. Inputs and outputs keep their names.
    Constants of float16 lose their last bits.
    """
    from ai_edge_litert import schema_py_generated as schema

    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    for buffer in parsed.buffers:
        if buffer.offset > 1:
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(model[buffer.offset : end], np.uint8)
            buffer.offset = buffer.size = 0
    for graph in parsed.subgraphs:
        edges = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            if index not in edges:
                tensor.name = _short_name(tensor.name.decode(), index)
        for tensor in graph.tensors:
            buffer = parsed.buffers[tensor.buffer]
            if tensor.type == schema.TensorType.FLOAT16 and buffer.data is not None:
                buffer.data = short_half(buffer.data.view(np.float16)).view(np.uint8)
    builder = _sharing_builder()
    builder.Finish(parsed.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _short_name(name: str, index: int) -> str:
    """``…InferenceNet_wrapped/…Sequential_features/…InvertedResidual_9;`` becomes ``features.9:index``."""
    module = name.split(";")[0].partition("InferenceNet_wrapped/")[2]
    parts = [part.rpartition(".")[2].partition("_")[2] for part in module.split("/")]
    return f"{'.'.join(parts) or name}:{index}"


def _sharing_builder() -> Any:
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """Writes a vector of numbers that is there already by pointing to it."""

        def __init__(self) -> None:
            super().__init__(1 << 20)
            self._written: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, values: NDArray[Any]) -> int:
            key = values.dtype.str, values.tobytes()
            if key not in self._written:
                if values.dtype == np.uint8:
                    self.Prep(_BUFFER_ALIGNMENT, values.size)
                self._written[key] = super().CreateNumpyVector(values)
            return self._written[key]

    return SharingBuilder()


def tensor_specs(model: bytes) -> tuple[TensorSpec, dict[Labels, TensorSpec]]:
    """Input and outputs as the file itself describes them."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    outputs = {head_of(int(one["shape"][-1])): _spec(one) for one in interpreter.get_output_details()}
    return _spec(interpreter.get_input_details()[0]), outputs


def _spec(details: dict[str, Any]) -> TensorSpec:
    dtype = np.dtype(details["dtype"]).name
    if dtype == "float32":
        return TensorSpec(dtype, 1.0, 0)
    scale, zero_point = details["quantization"]
    return TensorSpec(dtype, float(scale), int(zero_point))


def _quantizer(model: bytes) -> Any:
    from ai_edge_quantizer import quantizer, recipe

    work = quantizer.Quantizer(bytearray(model))
    work.load_quantization_recipe(recipe.static_wi8_ai8())
    return work


def _range(entry: dict[str, Any]) -> Range:
    return float(np.min(entry["min"])), float(np.max(entry["max"]))


def _set_range(entry: dict[str, Any], limits: Range) -> None:
    for key, limit in zip(("min", "max"), limits, strict=True):
        entry[key] = np.full(np.shape(entry[key]), limit, np.float32)


def _addition_outputs(model: bytes) -> list[str]:
    """Names of the tensors that ADD operations write, in the order of execution."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    names = {details["index"]: details["name"] for details in interpreter.get_tensor_details()}
    return [
        names[operation["outputs"][0]]
        for operation in interpreter._get_ops_details()
        if operation["op_name"] == "ADD"
    ]


def _signature_input(model: bytes, signature: str) -> tuple[str, str]:
    """Name of the one input in the signature, and of its tensor in the graph."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    details = interpreter.get_signature_runner(signature).get_input_details()
    ((name, tensor),) = details.items()
    return name, tensor["name"]
