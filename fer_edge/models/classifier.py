"""The classifier: grey faces in, answers of people or of 2013 out, over LiteRT or ONNX Runtime."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingRuntimeError, ModelError
from ..kernels.constants import FACE_SIZE
from ..kernels.contrast import normalize_contrast
from ..labels import ANSWERS, LABELS, Labels
from .backends import check_finite, open_session
from .manifest import BACKENDS, PRECISIONS, SUFFIXES, Backend, ModelFile, Precision, TensorSpec, find_model
from .people import MOST_BALANCE, Answers, interpret, interpret_labels

_BATCH = 64

_MAX_THREADS = 256


class Classifier:
    """A loaded model; make one with :func:`load_classifier`.

    Threads may share one and then take turns; for speed give each its own.
    """

    def __init__(
        self, file: ModelFile, threads: int, labels: Labels = "fer2013", balance: float | None = None
    ) -> None:
        self.file = file
        self.model = file.model
        self.backend: Backend = file.backend
        self.precision: Precision = file.precision
        self.threads = threads
        self.labels: Labels = labels
        self.people = file.people
        if balance is not None and file.people is not None:
            self.people = replace(file.people, balance=balance)
        if labels not in file.outputs or (labels == "people" and file.people is None):
            raise ModelError(
                f"{file.path}: answers with the labels of 2013 only; choose labels='fer2013' (--labels "
                "fer2013), or export a model that was trained on FER+ votes"
            )
        content = file.read()
        self._session = open_session(file, content, threads)
        self._lock = threading.Lock()

    @property
    def heads(self) -> tuple[Labels, ...]:
        """The outputs that the model has, of ``people`` and ``fer2013``."""
        return tuple(self.file.outputs)

    def predict_filled(self, count: int, fill: Callable[[NDArray[Any]], object]) -> NDArray[np.float32]:
        """Classify ``count`` faces that ``fill`` writes straight into the model's own input.

        ``fill`` gets that input, C-contiguous (count, 48, 48): int8 (grey - 128) or float32
        ((grey - 128) / 64), by precision. It must not keep it, since it points into memory that the
        runtime may move. The result is the predicted distribution over
        :data:`fer_edge.labels.ANSWERS` of this classifier's ``labels``, float32 (count, 9) for ``people``,
        (count, 7) for ``fer2013``; rows sum to 1. :meth:`answers` explains what it means. Raises ValueError
        for ``count`` < 1, and whatever ``fill`` raises.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        (logits,) = self._run(count, fill, (self.labels,))
        return softmax(logits)

    def answers(self, distribution: NDArray[np.float32]) -> Answers:
        """What distributions of :meth:`predict_filled`, float32 (n, 9) or (n, 7), mean."""
        if self.labels == "people":
            assert self.people is not None
            return interpret(distribution, self.people)
        return interpret_labels(distribution)

    def predict(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities, float32 (n, 7) in FER-2013 order, of grey faces, uint8 (n, 48, 48).

        For ``people`` they are the expected shares of ten people's votes among the seven emotions. Rows
        sum to 1. Raises TypeError for another dtype, ValueError for another shape.
        """
        return self.answer(faces).probabilities

    def answer(self, faces: NDArray[np.uint8]) -> Answers:
        """As :meth:`predict`, with the chosen emotions and how unsure they are."""
        return self.answers(softmax(self._logits_of(faces, (self.labels,))[0]))

    def distributions(self, faces: NDArray[np.uint8]) -> dict[Labels, NDArray[np.float32]]:
        """The distributions of all :attr:`heads` for grey faces, uint8 (n, 48, 48); rows sum to 1."""
        return {head: softmax(logits) for head, logits in self.logits(faces).items()}

    def logits(self, faces: NDArray[np.uint8]) -> dict[Labels, NDArray[np.float32]]:
        """As :meth:`distributions`, before the softmax; int8 outputs are dequantized."""
        return dict(zip(self.heads, self._logits_of(faces, self.heads), strict=True))

    def _logits_of(self, faces: NDArray[np.uint8], heads: Sequence[Labels]) -> list[NDArray[np.float32]]:
        faces = np.asarray(faces)
        if faces.dtype != np.uint8:
            raise TypeError(f"faces must be uint8 grey levels, got {faces.dtype}")
        if faces.ndim != 3 or faces.shape[1:] != (FACE_SIZE, FACE_SIZE):
            raise ValueError(f"faces must have shape (n, {FACE_SIZE}, {FACE_SIZE}), got {faces.shape}")
        logits = [np.empty((len(faces), len(ANSWERS[head])), np.float32) for head in heads]
        for start in range(0, len(faces), _BATCH):
            part = faces[start : start + _BATCH]
            answered = self._run(len(part), partial(_normalize, part), heads)
            for all_rows, rows in zip(logits, answered, strict=True):
                all_rows[start : start + len(part)] = rows
        return logits

    def _run(
        self, count: int, fill: Callable[[NDArray[Any]], object], heads: Sequence[Labels]
    ) -> list[NDArray[np.float32]]:
        with self._lock:
            try:
                fill(self._session.buffer(count))
                if self.file.contrast:
                    normalize_contrast(self._session.buffer(count))
            except Exception as error:
                # A stored traceback keeps a view of the input tensor, and LiteRT then refuses to run.
                traceback.clear_frames(error.__traceback__)
                raise
            outputs = self._session.run(heads)
        for output in outputs:
            check_finite(self.file, output)
        return [
            _dequantized(output.reshape(count, len(ANSWERS[head])), self.file.outputs[head])
            for head, output in zip(heads, outputs, strict=True)
        ]


def _dequantized(output: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    if output.dtype == np.float32:
        return output.astype(np.float32)
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
    labels: str = "people",
    balance: float | None = None,
) -> Classifier:
    """Load and verify a model.

    ``model`` is a bundled name, a folder that ``fer-edge export-int8`` wrote, or a file in one,
    whose format and precision then count. ``backend`` is ``auto`` (LiteRT where it works, else
    ONNX Runtime), ``litert`` or ``onnx``; ``precision`` is ``int8`` or ``fp32``; ``threads`` counts
    the CPU threads of one inference, 1 to 256; ``labels`` is the question: ``people``, what ten people
    would say, or ``fer2013``, the label of 2013; ``balance``, 0 to 2, is how much rare emotions are favoured
    among people's answers (:func:`.people.choose`), ``None``: as the model was exported; nothing
    changes with it for ``fer2013``. Raises ValueError for other values, ModelError for a missing,
    damaged or foreign file and for one that cannot answer that question, MissingRuntimeError where
    no runtime is installed that loads.
    """
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"backend must be one of auto, {', '.join(BACKENDS)}; got {backend!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if not 1 <= threads <= _MAX_THREADS:
        raise ValueError(f"threads must be at least 1 and at most {_MAX_THREADS}, got {threads}")
    if balance is not None and not 0 <= balance <= MOST_BALANCE:
        raise ValueError(f"balance must be from 0 to {MOST_BALANCE:g}, got {balance}")
    if labels not in LABELS:
        raise ValueError(f"labels must be one of {', '.join(LABELS)}; got {labels!r}")
    choices = [name for name in BACKENDS if backend in ("auto", name)]
    for name, suffix in SUFFIXES.items():
        if backend == "auto" and os.fspath(model).endswith(suffix):
            choices = [name]
    wanted: Precision = "int8" if precision == "int8" else "fp32"
    reasons = []
    for choice in choices:
        try:
            return Classifier(find_model(model, choice, wanted), threads, labels, balance)
        except MissingRuntimeError as error:
            reasons.append(error)
    if len(reasons) == 1:
        raise reasons[0]
    raise MissingRuntimeError("; ".join(map(str, reasons))) from reasons[0]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities along the last axis, float32."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)
