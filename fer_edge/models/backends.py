"""The runtimes that run a model file: LiteRT and ONNX Runtime."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingRuntimeError, ModelError
from ..kernels.crop import FACE_SIZE
from ..labels import ANSWERS, Labels
from .manifest import BACKENDS, Backend, ModelFile, TensorSpec

_LITERT_MODULES = ("ai_edge_litert", "tflite_runtime")
_EXACT_SUMS = "session.x64quantprecision"
"""ONNX Runtime's option for 8-bit kernels whose sums are exact on every x86-64 processor."""

_PROBE = bytes.fromhex(
    "08083a560a180a01780a0177120179220d4d61744d756c496e74656765721201672a0d0802080110034201774a027f7f"
    "5a130a0178120e0a0c080212080a0208010a02080262130a0179120e0a0c080612080a0208010a02080142040a00100d"
)
"""An ONNX file that multiplies x, uint8 (1, 2), by two int8 weights of 127: MatMulInteger, opset 13."""


class Session(Protocol):
    """A loaded model with an input buffer of its own."""

    def buffer(self, count: int) -> NDArray[Any]:
        """Return the input for ``count`` faces to write into, (count, 48, 48), int8 or float32 by precision.

        The view must be gone when :meth:`run` is called.
        """

    def run(self, heads: Sequence[Labels]) -> list[NDArray[Any]]:
        """Return logits of these outputs for the faces in the buffer, count rows each, not dequantized."""


def available_backends() -> list[Backend]:
    """Backends whose runtime is installed, in order of preference."""
    installed: dict[Backend, bool] = {
        "litert": any(importlib.util.find_spec(name) for name in _LITERT_MODULES),
        "onnx": importlib.util.find_spec("onnxruntime") is not None,
    }
    return [name for name in BACKENDS if installed[name]]


def load_onnxruntime() -> Any:
    """Import ``onnxruntime`` with its telemetry off.

    Its Linux builds since 1.29 write a device id and a database under ``~/.cache/Microsoft`` and
    report every session to Microsoft, unless this variable is set before they are loaded. Where a
    program imported them before, only later events can be stopped. Raises MissingRuntimeError where
    the import fails.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        runtime = importlib.import_module("onnxruntime")
        runtime.disable_telemetry_events()
        return runtime
    except Exception as error:  # one built for another NumPy or C library raises ValueError, OSError ...
        raise MissingRuntimeError(
            f"the onnx backend needs onnxruntime: pip install 'fer-edge[onnx]' ({error})"
        ) from error


class LiteRTSession:
    """A :class:`Session` of LiteRT; raises ModelError for a file that it cannot load or that does not fit."""

    def __init__(self, file: ModelFile, content: bytes, threads: int) -> None:
        interpreter = litert_interpreter_class()
        try:
            self._interpreter = interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{file.path}: LiteRT cannot load it ({error})") from error
        source = self._interpreter.get_input_details()[0]
        _check_tensor(file, "input", file.input, source["dtype"], source["quantization"])
        found = self._interpreter.get_output_details()
        results = _by_width(file, [(int(details["shape"][-1]), details) for details in found])
        for head, result in results.items():
            _check_tensor(file, head, file.outputs[head], result["dtype"], result["quantization"])
        self._input = source["index"]
        self._outputs = {head: result["index"] for head, result in results.items()}
        self._count = 0

    def buffer(self, count: int) -> NDArray[Any]:
        if count != self._count:
            self._interpreter.resize_tensor_input(self._input, (count, FACE_SIZE, FACE_SIZE, 1))
            self._interpreter.allocate_tensors()
            self._count = count
        view: NDArray[Any] = self._interpreter.tensor(self._input)()
        return view.reshape(count, FACE_SIZE, FACE_SIZE)

    def run(self, heads: Sequence[Labels]) -> list[NDArray[Any]]:
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(self._outputs[head]) for head in heads]


class OnnxSession:
    """A :class:`Session` of ONNX Runtime; errors as for :class:`LiteRTSession`."""

    def __init__(self, file: ModelFile, content: bytes, threads: int) -> None:
        onnxruntime = load_onnxruntime()
        try:
            self._session = _inference_session(onnxruntime, file, content, threads)
        except Exception as error:  # onnxruntime raises its own classes, none of them public
            raise ModelError(f"{file.path}: ONNX Runtime cannot load it ({error})") from error
        types = {"tensor(int8)": np.int8, "tensor(float)": np.float32}
        source = self._session.get_inputs()[0]
        _check_tensor(file, "input", file.input, types.get(source.type, source.type), None)
        results = _by_width(file, [(result.shape[1], result) for result in self._session.get_outputs()])
        for head, result in results.items():
            _check_tensor(file, head, file.outputs[head], types.get(result.type, result.type), None)
        self._name = source.name
        self._outputs = {head: result.name for head, result in results.items()}
        self._dtype = np.dtype(file.input.dtype)
        self._buffer = np.empty((0, 1, FACE_SIZE, FACE_SIZE), self._dtype)

    def buffer(self, count: int) -> NDArray[Any]:
        if count != len(self._buffer):
            self._buffer = np.empty((count, 1, FACE_SIZE, FACE_SIZE), self._dtype)
        return self._buffer.reshape(count, FACE_SIZE, FACE_SIZE)

    def run(self, heads: Sequence[Labels]) -> list[NDArray[Any]]:
        names = [self._outputs[head] for head in heads]
        outputs: list[NDArray[Any]] = self._session.run(names, {self._name: self._buffer})
        return outputs


def _inference_session(onnxruntime: Any, file: ModelFile, content: bytes, threads: int) -> Any:
    """The session, with exact sums where the usual ones are not and the file allows it."""
    exact = file.precision == "int8" and _cuts_off_sums()
    try:
        return onnx_session(onnxruntime, content, threads, exact)
    except Exception:
        if not exact:
            raise
        # The exact kernels refuse some exports of fer-edge 0.1, whose layers share constants.
        session = onnx_session(onnxruntime, content, threads, exact=False)
        warnings.warn(
            f"{file.path}: was exported by fer-edge 0.1, and its answers are inexact on this processor: "
            "export the model again, or use the litert backend",
            stacklevel=2,
        )
        return session


@functools.cache
def _cuts_off_sums() -> bool:
    """Whether ONNX Runtime's usual 8-bit kernels on this processor add pairs of products in 16 bits.

    They do on x86-64 with AVX2 but without VNNI. The exact ones take 1.7 times as long where there is VNNI.
    """
    session = onnx_session(load_onnxruntime(), _PROBE, threads=1, exact=False)
    total = session.run(None, {"x": np.full((1, 2), 255, np.uint8)})[0]
    return int(total[0, 0]) != 2 * 255 * 127


def onnx_session(onnxruntime: Any, content: bytes, threads: int, exact: bool) -> Any:
    """Open a session of the module ``onnxruntime`` on the CPU; raises what it raises.

    ``exact``: sum products of 8 bits exactly where the usual kernels do not.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads must not spin beside a camera loop, nor the arena grow with the largest batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    # Whatever it would log is raised, too.
    options.log_severity_level = 4
    options.add_session_config_entry(_EXACT_SUMS, "1" if exact else "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _by_width(file: ModelFile, found: Sequence[tuple[int, Any]]) -> dict[Labels, Any]:
    """The outputs that the manifest tells of, found by how many answers they choose among."""
    by_width = dict(found)
    widths = {head: len(ANSWERS[head]) for head in file.outputs}
    if len(by_width) != len(found) or any(width not in by_width for width in widths.values()):
        raise ModelError(
            f"{file.path}: has outputs of {', '.join(str(width) for width, _ in found)} numbers; "
            f"the manifest says {', '.join(f'{width} ({head})' for head, width in widths.items())}"
        )
    return {head: by_width[width] for head, width in widths.items()}


def _check_tensor(
    file: ModelFile, role: str, spec: TensorSpec, found: Any, quantization: tuple[float, int] | None
) -> None:
    """Compare what the runtime reports with the manifest, so that numbers are never misread."""
    expected = spec.dtype
    if found not in (np.int8, np.float32) or np.dtype(found) != np.dtype(expected):
        raise ModelError(f"{file.path}: {role} is {found}, the manifest says {expected}")
    if expected == "int8" and quantization is not None:
        scale, zero_point = quantization
        if not np.isclose(scale, spec.scale, rtol=1e-5) or zero_point != spec.zero_point:
            raise ModelError(
                f"{file.path}: {role} quantization is scale {scale}, zero point {zero_point}; the manifest "
                f"says {spec.scale}, {spec.zero_point}"
            )


def litert_interpreter_class() -> Any:
    """Return LiteRT's ``Interpreter``; raises MissingRuntimeError where there is none."""
    reasons = []
    for module in _LITERT_MODULES:
        try:
            return importlib.import_module(f"{module}.interpreter").Interpreter
        except Exception as error:  # as in load_onnxruntime
            reasons.append(str(error))
    raise MissingRuntimeError(
        "the litert backend needs ai-edge-litert or tflite-runtime: pip install ai-edge-litert "
        f"({'; '.join(reasons)})"
    )
