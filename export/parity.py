"""The parity check: what the exported files lose against the PyTorch network, and how far they agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_edge.errors import FerEdgeError
from fer_edge.models.classifier import load_classifier
from fer_edge.models.manifest import PRECISIONS, SUFFIXES, Backend, Precision, TensorSpec

MAX_DROP = 1.0
"""Points of accuracy that a file may lose against the PyTorch network."""
COIN_TOSSES = 0.03
"""Fraction of rows whose arg-max rounding may turn either way, where two emotions are about equal."""
FEW_ROWS = 100
MIN_AGREEMENT = 0.998
"""Fraction of rows on which the ONNX and the TFLite file of a precision must agree."""
MOST_STEPS = 2
"""By which their int8 logits may differ. All sums are exact; only those of residual additions are rounded
differently, where they lie halfway between two steps to five digits."""


class ParityError(FerEdgeError, RuntimeError):
    """The exported files do not do what the network does; nothing was written."""

    exit_code = 1


@dataclass(frozen=True)
class Parity:
    """One file against the PyTorch network on the same rows.

    accuracy and drop in per cent (points); agreement: fraction of rows with the same arg-max;
    largest absolute difference of logits.
    """

    accuracy: float
    drop: float
    agreement: float
    largest_difference: float


@dataclass(frozen=True)
class ExportReport:
    """What was written and how the check went; accuracies in per cent of ``rows`` held-out rows.

    agreement: fraction of rows on which the two files of a precision have the same arg-max; steps: the
    largest difference of their int8 logits.
    """

    model: str
    rows: int
    accuracy: float
    temperature: float
    parity: dict[str, Parity]
    agreement: dict[str, float]
    steps: int
    sizes: dict[str, int]


def check_int8_input(backend: str, source: TensorSpec) -> None:
    """Raise ParityError where a file's int8 input is not exactly grey - 128."""
    if source != TensorSpec("int8", 1 / 64, 0):
        raise ParityError(
            f"the {backend} int8 input is {source}; it has to be grey - 128 (scale 1/64, zero 0)"
        )


def check_files(
    folder: Path,
    name: str,
    temperature: float,
    reference: NDArray[np.float32],
    faces: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> ExportReport:
    """Run the four files of a model, described by a manifest in ``folder``, on the held-out rows.

    ``faces`` uint8 (n, 48, 48) with ``labels`` int64 (n,); ``reference`` float32 (n, 7) are the logits of the
    PyTorch network, divided by the ``temperature``.
    """
    expected = reference.argmax(1)
    accuracy = 100 * float((expected == labels).mean())
    answers: dict[tuple[Precision, Backend], NDArray[np.float32]] = {}
    parity: dict[str, Parity] = {}
    sizes: dict[str, int] = {}
    step = 0.0
    for precision in PRECISIONS:
        for backend, suffix in SUFFIXES.items():
            path = folder / f"{name}-{precision}{suffix}"
            classifier = load_classifier(path, backend, precision)
            logits = answers[precision, backend] = classifier.predict_logits(faces)
            reached = 100 * float((logits.argmax(1) == labels).mean())
            parity[path.name] = Parity(
                accuracy=reached,
                drop=accuracy - reached,
                agreement=float((logits.argmax(1) == expected).mean()),
                largest_difference=float(np.abs(logits - reference).max()),
            )
            sizes[path.name] = path.stat().st_size
            step = step or classifier.file.output.scale
    agreement: dict[str, float] = {
        precision: float(
            np.mean(answers[precision, "litert"].argmax(1) == answers[precision, "onnx"].argmax(1))
        )
        for precision in PRECISIONS
    }
    steps = round(float(np.abs(answers["int8", "litert"] - answers["int8", "onnx"]).max()) / step)
    return ExportReport(name, len(faces), accuracy, temperature, parity, agreement, steps, sizes)


def refuse_bad(report: ExportReport) -> None:
    """Raise ParityError where a file loses too much, or the files of a precision disagree."""
    # Of few rows, chance turns one or another.
    most = max(MAX_DROP, 100 / report.rows, 200 * (COIN_TOSSES / report.rows) ** 0.5) + 1e-9
    least = min(MIN_AGREEMENT, 1 - 3 / report.rows) - 1e-9
    faults = [
        f"{file} loses {parity.drop:.2f} points (at most {most:.2g})"
        for file, parity in report.parity.items()
        if parity.drop > most
    ]
    faults += [
        f"ONNX and TFLite {precision} agree on {agreement:.2%} of rows (at least {least:.3g})"
        for precision, agreement in report.agreement.items()
        if agreement < least
    ]
    if report.steps > MOST_STEPS:
        faults.append(f"ONNX and TFLite int8 logits differ by {report.steps} steps (at most {MOST_STEPS})")
    if faults:
        raise ParityError("nothing was written: " + "; ".join(faults))
