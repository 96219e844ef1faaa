"""The classifier: grey faces in, probabilities of seven emotions out, over LiteRT or ONNX Runtime."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingRuntimeError
from ..kernels.crop import FACE_SIZE
from ..labels import EMOTIONS
from .backends import LiteRTSession, OnnxSession, Session
from .manifest import BACKENDS, PRECISIONS, SUFFIXES, Backend, ModelFile, Precision, find_model

_BATCH = 64

_MAX_THREADS = 256


class Classifier:
    """A loaded model; make one with :func:`load_classifier`.

    Threads may share one and then take turns; for speed give each its own.
    """

    def __init__(self, file: ModelFile, threads: int) -> None:
        self.file = file
        self.model = file.model
        self.backend: Backend = file.backend
        self.precision: Precision = file.precision
        self.threads = threads
        content = file.read()
        self._session: Session = (
            LiteRTSession(file, content, threads)
            if file.backend == "litert"
            else OnnxSession(file, content, threads)
        )
        self._lock = threading.Lock()

    def predict_filled(self, count: int, fill: Callable[[NDArray[Any]], object]) -> NDArray[np.float32]:
        """Classify ``count`` faces that ``fill`` writes straight into the model's own input.

        ``fill`` gets that input, C-contiguous (count, 48, 48): int8 (grey - 128) or float32
        ((grey - 128) / 64), by precision. It must not keep it, since it points into memory that the
        runtime may move. The result is float32 (count, 7); rows sum to 1. Raises ValueError for
        ``count`` < 1, and whatever ``fill`` raises.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        return softmax(self._logits(count, fill))

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
            logits[start : start + len(part)] = self._logits(len(part), partial(_normalize, part))
        return logits

    def _logits(self, count: int, fill: Callable[[NDArray[Any]], object]) -> NDArray[np.float32]:
        with self._lock:
            try:
                fill(self._session.buffer(count))
            except Exception as error:
                # A stored traceback keeps a view of the input tensor, and LiteRT then refuses to run.
                traceback.clear_frames(error.__traceback__)
                raise
            output = self._session.run().reshape(count, len(EMOTIONS))
        if output.dtype == np.float32:
            return output.astype(np.float32)
        spec = self.file.output
        return ((output.astype(np.float32) - spec.zero_point) * spec.scale).astype(np.float32)


def _normalize(faces: NDArray[np.uint8], inputs: NDArray[Any]) -> None:
    """Write grey levels into a model's input."""
    if inputs.dtype == np.int8:
        np.bitwise_xor(faces, 0x80, out=inputs.view(np.uint8))
    else:
        np.subtract(faces, 128, out=inputs, dtype=np.float32)
        inputs /= 64


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


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities along the last axis, float32."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)
