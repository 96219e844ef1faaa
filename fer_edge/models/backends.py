"""The runtimes that run a model file: LiteRT and ONNX Runtime."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import os
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import SHOWN, MissingRuntimeError, ModelError, shortened
from ..kernels.constants import FACE_SIZE
from ..labels import ANSWERS, Labels
from .manifest import BACKENDS, Backend, ModelFile, TensorSpec, unfit

RUNTIMES: dict[Backend, tuple[str, ...]] = {
    "litert": ("ai-edge-litert", "tflite-runtime"),
    "onnx": ("onnxruntime",),
}
"""The packages of each backend, of which one will do; the first is what is installed where none is."""

_LITERT_MODULES = ("ai_edge_litert", "tflite_runtime")
_EXACT_SUMS = "session.x64quantprecision"
"""ONNX Runtime's option for 8-bit kernels whose sums are exact on every x86-64 processor."""

_EXTERNAL_DATA = b"\x0a\x08location"
"""What every tensor of an ONNX file with external data holds: the key of its file's name, as Protocol Buffers
writes it."""

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
        raise _unusable("onnx", "onnxruntime", "pip install 'fer-edge[onnx]'", str(error)) from error


def open_session(file: ModelFile, content: bytes, threads: int) -> Session:
    """Load a model file and try it out.

    Raises ModelError for a file that the runtime cannot load or whose tensors are not those of a
    classifier of faces, MissingRuntimeError without the runtime.
    """
    session: Session = (LiteRTSession if file.backend == "litert" else OnnxSession)(file, content, threads)
    _try_out(file, session)
    return session


def _try_out(file: ModelFile, session: Session) -> None:
    """Classify two grey faces: the shapes in a model say little about how many faces it takes."""
    heads = tuple(file.outputs)
    try:
        session.buffer(2)[...] = 0
        outputs = session.run(heads)
    except Exception as error:  # the runtimes raise classes of their own
        reason = shortened(str(error).strip().replace("\n", " "), 20 * SHOWN)
        raise unfit(file.path, f"fails on two faces at once ({reason})", "takes any number") from error
    for head, output in zip(heads, outputs, strict=True):
        if output.shape[0] != 2 or output.size != 2 * len(ANSWERS[head]):
            raise unfit(
                file.path,
                f"answers two faces with an array of shape {output.shape} ({head})",
                f"gives (2, {len(ANSWERS[head])})",
            )
        check_finite(file, output)


def check_finite(file: ModelFile, output: NDArray[Any]) -> None:
    """Raise ModelError where answers, one row a face, are not numbers."""
    bad = ~np.isfinite(output)
    if bad.any():
        face, *_ = np.argwhere(bad)[0]
        raise unfit(
            file.path,
            f"answers {output[bad][0]} to face {face + 1} of {len(output)}",
            "gives finite numbers; its weights are damaged or its training diverged",
        )


class LiteRTSession:
    """A :class:`Session` of LiteRT; raises ModelError for a file that it cannot load or that does not fit."""

    def __init__(self, file: ModelFile, content: bytes, threads: int) -> None:
        interpreter = litert_interpreter_class()
        try:
            self._interpreter = interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{file.path}: LiteRT cannot load it ({error})") from error
        source = _only_input(file, self._interpreter.get_input_details())
        shape = tuple(map(int, source["shape"]))
        _check_input_shape(file, shape, (FACE_SIZE, FACE_SIZE, 1))
        _check_tensor(file, "input", file.input, _numpy_name(source["dtype"]), source["quantization"])
        found = self._interpreter.get_output_details()
        results = _by_width(file, [(_width(details["shape"]), details) for details in found])
        for head, result in results.items():
            dtype = _numpy_name(result["dtype"])
            _check_tensor(file, head, file.outputs[head], dtype, result["quantization"])
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
        if _EXTERNAL_DATA in content:
            raise unfit(
                file.path,
                "keeps weights in another file, which the manifest's hash does not cover",
                "holds them itself: torch.onnx.export(external_data=False), or onnx.save of the loaded model",
            )
        try:
            self._session = _inference_session(onnxruntime, file, content, threads)
        except Exception as error:  # onnxruntime raises its own classes, none of them public
            raise ModelError(f"{file.path}: ONNX Runtime cannot load it ({error})") from error
        source = _only_input(file, self._session.get_inputs())
        _check_input_shape(file, tuple(source.shape), (1, FACE_SIZE, FACE_SIZE))
        if isinstance(source.shape[0], int):
            raise unfit(
                file.path,
                f"takes {source.shape[0]} face{'s' * (source.shape[0] != 1)} at a time, no more and no fewer",
                "has a first dimension of any size, as torch.onnx.export makes it with dynamic_shapes",
            )
        _check_tensor(file, "input", file.input, _onnx_name(source.type), None)
        results = _by_width(file, [(_width(result.shape), result) for result in self._session.get_outputs()])
        for head, result in results.items():
            _check_tensor(file, head, file.outputs[head], _onnx_name(result.type), None)
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
    # Its fallback to other providers would try the CPU a second time, and say so on stdout.
    return onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], enable_fallback=False
    )


def _only_input(file: ModelFile, found: Sequence[Any]) -> Any:
    if len(found) != 1:
        raise unfit(file.path, f"has {len(found)} inputs", "has one, the faces")
    return found[0]


def _check_input_shape(file: ModelFile, shape: tuple[Any, ...], face: tuple[int, ...]) -> None:
    if shape[1:] != face:
        raise unfit(
            file.path,
            f"takes input of shape {_shape_text(shape)}",
            f"takes {_shape_text(('n', *face))}: grey faces of {FACE_SIZE}x{FACE_SIZE}",
        )


def _shape_text(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))})"


def _width(shape: Sequence[Any]) -> int:
    """How many numbers an output has for each face; 0 where that is not fixed."""
    sizes = list(shape[1:])
    if not sizes or not all(isinstance(size, int | np.integer) for size in sizes):
        return 0
    return math.prod(map(int, sizes))


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


def _numpy_name(dtype: Any) -> str:
    return str(getattr(dtype, "__name__", dtype))


def _onnx_name(kind: str) -> str:
    """NumPy's name of a type that ONNX Runtime calls ``tensor(float)``."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _check_tensor(
    file: ModelFile, role: str, spec: TensorSpec, found: str, quantization: tuple[float, int] | None
) -> None:
    """Compare what the runtime reports with the manifest, so that numbers are never misread."""
    expected = spec.dtype
    if found != expected:
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
    needed = "ai-edge-litert or tflite-runtime"
    raise _unusable("litert", needed, "pip install ai-edge-litert", "; ".join(reasons))


def _unusable(backend: Backend, needed: str, command: str, reason: str) -> MissingRuntimeError:
    """The error for a runtime that is not installed, or that pip takes for installed and does not load."""
    from ..installed import install_command, installed_version

    packages = RUNTIMES[backend]
    if any(map(installed_version, packages)):
        command = install_command(packages[0], packages)
        return MissingRuntimeError(f"the {backend} backend is broken: {reason}. {command}")
    return MissingRuntimeError(f"the {backend} backend needs {needed}: {command} ({reason})")
