"""The classifier: grey faces in, probabilities of seven emotions out, over LiteRT or ONNX Runtime."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import MissingRuntimeError, ModelError
from .labels import EMOTIONS
from .models import BACKENDS, PRECISIONS, SUFFIXES, Backend, ModelFile, Precision, find_model
from .preprocess import FACE_SIZE

_LITERT_MODULES = ("ai_edge_litert", "tflite_runtime")
_BATCH = 64
_MAX_THREADS = 256


class _Session(Protocol):
    """A loaded model with an input buffer of its own."""

    def buffer(self, count: int) -> NDArray[Any]: ...

    def run(self) -> NDArray[Any]: ...


class Classifier:
    """A loaded model; make one with :func:`load_classifier`. Not safe to share between threads."""

    def __init__(self, file: ModelFile, threads: int) -> None:
        self.file = file
        self.model = file.model
        self.backend: Backend = file.backend
        self.precision: Precision = file.precision
        self.threads = threads
        content = file.read()
        self._session: _Session = (
            _LiteRTSession(file, content, threads)
            if file.backend == "litert"
            else _OnnxSession(file, content, threads)
        )
        self._count = 0

    def input_buffer(self, count: int) -> NDArray[Any]:
        """The model's own input for ``count`` faces, to be filled: (count, 48, 48), C-contiguous.

        int8 (grey - 128) or float32 ((grey - 128) / 64), by precision. Drop the array before
        :meth:`run`: it points into memory that the runtime may move. Raises ValueError for
        ``count`` < 1.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self._count = count
        return self._session.buffer(count)

    def forget_input(self) -> None:
        """Take back :meth:`input_buffer`, where it could not be filled."""
        self._count = 0

    def run(self) -> NDArray[np.float32]:
        """Classify what was written into :meth:`input_buffer`: float32 (count, 7), rows sum to 1.

        Raises RuntimeError where no input was given since the last call.
        """
        if not self._count:
            raise RuntimeError("write faces into input_buffer(count) before run()")
        return softmax(self._logits())

    def predict(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities, float32 (n, 7) in FER-2013 order, of grey faces, uint8 (n, 48, 48).

        Rows sum to 1. Raises TypeError for another dtype, ValueError for another shape.
        """
        return softmax(self.predict_logits(faces))

    def predict_logits(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As :meth:`predict`, before the softmax; int8 outputs are dequantized."""
        faces = np.asarray(faces)
        if faces.dtype != np.uint8:
            raise TypeError(f"faces must be uint8 grey levels, got {faces.dtype}")
        if faces.ndim != 3 or faces.shape[1:] != (FACE_SIZE, FACE_SIZE):
            raise ValueError(f"faces must have shape (n, {FACE_SIZE}, {FACE_SIZE}), got {faces.shape}")
        logits = np.empty((len(faces), len(EMOTIONS)), np.float32)
        for start in range(0, len(faces), _BATCH):
            part = faces[start : start + _BATCH]
            self._fill(part)
            logits[start : start + len(part)] = self._logits()
        return logits

    def _fill(self, faces: NDArray[np.uint8]) -> None:
        buffer = self.input_buffer(len(faces))
        if buffer.dtype == np.int8:
            np.bitwise_xor(faces, 0x80, out=buffer.view(np.uint8))
        else:
            np.subtract(faces, 128, out=buffer, dtype=np.float32)
            buffer /= 64

    def _logits(self) -> NDArray[np.float32]:
        count, self._count = self._count, 0
        output = self._session.run().reshape(count, len(EMOTIONS))
        if output.dtype == np.float32:
            return output.astype(np.float32)
        spec = self.file.output
        return ((output.astype(np.float32) - spec.zero_point) * spec.scale).astype(np.float32)


def load_classifier(
    model: str | os.PathLike[str] = "edge",
    backend: str = "auto",
    precision: str = "int8",
    threads: int = 1,
) -> Classifier:
    """Load and verify a model.

    ``model`` is a bundled name, a folder that ``fer-edge export-int8`` wrote, or a file in one,
    whose format and precision then count. ``backend`` is ``auto`` (LiteRT where it works, else
    ONNX Runtime), ``litert`` or ``onnx``; ``precision`` is ``int8`` or ``fp32``; ``threads`` counts
    the CPU threads of one inference, 1 to 256. Raises ValueError for other values, ModelError for a
    missing, damaged or foreign file, MissingRuntimeError where no runtime is installed that loads.
    """
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend must be one of auto, {', '.join(BACKENDS)}; got {backend!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if not 1 <= threads <= _MAX_THREADS:
        raise ValueError(f"threads must be at least 1 and at most {_MAX_THREADS}, got {threads}")
    choices = [name for name in BACKENDS if backend in ("auto", name)]
    for name, suffix in SUFFIXES.items():
        if backend == "auto" and os.fspath(model).endswith(suffix):
            choices = [name]
    wanted: Precision = "int8" if precision == "int8" else "fp32"
    reasons = []
    for choice in choices:
        try:
            return Classifier(find_model(model, choice, wanted), threads)
        except MissingRuntimeError as error:
            reasons.append(error)
    if len(reasons) == 1:
        raise reasons[0]
    raise MissingRuntimeError("; ".join(map(str, reasons))) from reasons[0]


def available_backends() -> list[Backend]:
    """Backends whose runtime is installed, in order of preference."""
    installed: dict[Backend, bool] = {
        "litert": any(importlib.util.find_spec(name) for name in _LITERT_MODULES),
        "onnx": importlib.util.find_spec("onnxruntime") is not None,
    }
    return [name for name in BACKENDS if installed[name]]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities along the last axis, float32."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)


class _LiteRTSession:
    def __init__(self, file: ModelFile, content: bytes, threads: int) -> None:
        interpreter = _litert_interpreter_class()
        try:
            self._interpreter = interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{file.path}: LiteRT cannot load it ({error})") from error
        source, result = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        _check_tensor(file, "input", source["dtype"], file.input.dtype, source["quantization"])
        _check_tensor(file, "output", result["dtype"], file.output.dtype, result["quantization"])
        self._input, self._output = source["index"], result["index"]
        self._count = 0

    def buffer(self, count: int) -> NDArray[Any]:
        if count != self._count:
            self._interpreter.resize_tensor_input(self._input, (count, FACE_SIZE, FACE_SIZE, 1))
            self._interpreter.allocate_tensors()
            self._count = count
        view: NDArray[Any] = self._interpreter.tensor(self._input)()
        return view.reshape(count, FACE_SIZE, FACE_SIZE)

    def run(self) -> NDArray[Any]:
        self._interpreter.invoke()
        output: NDArray[Any] = self._interpreter.get_tensor(self._output)
        return output


class _OnnxSession:
    def __init__(self, file: ModelFile, content: bytes, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingRuntimeError(
                f"the onnx backend needs onnxruntime: pip install 'fer-edge[onnx]' ({error})"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads must not spin beside a camera loop, nor the arena grow with the largest batch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own classes, none of them public
            raise ModelError(f"{file.path}: ONNX Runtime cannot load it ({error})") from error
        types = {"tensor(int8)": np.int8, "tensor(float)": np.float32}
        source, result = self._session.get_inputs()[0], self._session.get_outputs()[0]
        _check_tensor(file, "input", types.get(source.type, source.type), file.input.dtype, None)
        _check_tensor(file, "output", types.get(result.type, result.type), file.output.dtype, None)
        self._name, self._result = source.name, result.name
        self._dtype = np.dtype(file.input.dtype)
        self._buffer = np.empty((0, 1, FACE_SIZE, FACE_SIZE), self._dtype)

    def buffer(self, count: int) -> NDArray[Any]:
        if count != len(self._buffer):
            self._buffer = np.empty((count, 1, FACE_SIZE, FACE_SIZE), self._dtype)
        return self._buffer.reshape(count, FACE_SIZE, FACE_SIZE)

    def run(self) -> NDArray[Any]:
        output: NDArray[Any] = self._session.run([self._result], {self._name: self._buffer})[0]
        return output


def _check_tensor(
    file: ModelFile, role: str, found: Any, expected: str, quantization: tuple[float, int] | None
) -> None:
    """Compare what the runtime reports with the manifest, so that numbers are never misread."""
    if found not in (np.int8, np.float32) or np.dtype(found) != np.dtype(expected):
        raise ModelError(f"{file.path}: {role} is {found}, the manifest says {expected}")
    spec = file.input if role == "input" else file.output
    if expected == "int8" and quantization is not None:
        scale, zero_point = quantization
        if not np.isclose(scale, spec.scale, rtol=1e-5) or zero_point != spec.zero_point:
            raise ModelError(
                f"{file.path}: {role} quantization is scale {scale}, zero point {zero_point}; the manifest "
                f"says {spec.scale}, {spec.zero_point}"
            )


def _litert_interpreter_class() -> Any:
    reasons = []
    for module in _LITERT_MODULES:
        try:
            return importlib.import_module(f"{module}.interpreter").Interpreter
        except ImportError as error:
            reasons.append(str(error))
    raise MissingRuntimeError(
        "the litert backend needs ai-edge-litert or tflite-runtime: pip install ai-edge-litert "
        f"({'; '.join(reasons)})"
    )
