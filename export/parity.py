"""The parity check: what the exported files lose against the PyTorch network, and how far they agree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_edge.errors import FerEdgeError, ModelError
from fer_edge.fer2013.votes import top_votes
from fer_edge.labels import Labels
from fer_edge.models.classifier import load_classifier
from fer_edge.models.manifest import PRECISIONS, SUFFIXES, Backend, Precision, TensorSpec
from fer_edge.models.people import People

from .calibration import Rows

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


class CalibrationError(ParityError):
    """The files lose too much, or disagree, which other calibration rows may change."""


@dataclass(frozen=True)
class Parity:
    """One output of a file against the PyTorch network on the same rows.

    accuracy and drop in per cent (points); agreement: fraction of rows with the same arg-max;
    largest absolute difference of logits.
    """

    accuracy: float
    drop: float
    agreement: float
    largest_difference: float


@dataclass(frozen=True)
class ExportReport:
    """What was written and how the check went, on ``rows`` held-out rows, for each output.

    accuracy: in per cent, of the PyTorch network: for ``fer2013`` of the labels; for ``people`` of the rows
    with one top vote or, where no votes were given, of the labels. parity: by file. agreement: by
    precision, fraction of rows on which its two files have the same arg-max; steps: the largest difference
    of their int8 logits. sizes: in bytes.
    """

    model: str
    rows: int
    accuracy: dict[Labels, float]
    temperature: dict[Labels, float]
    people: People | None
    parity: dict[str, dict[Labels, Parity]]
    agreement: dict[str, dict[Labels, float]]
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
    temperature: dict[Labels, float],
    people: People | None,
    reference: dict[Labels, NDArray[np.float32]],
    rows: Rows,
) -> ExportReport:
    """Run the four files of a model, described by a manifest in ``folder``, on the held-out ``rows``.

    ``reference``: the logits of the PyTorch network, (n, k) by output, divided by the ``temperature``. Raises
    ParityError where a file cannot be loaded, or does not answer with finite numbers.
    """
    right = {head: _truth(head, rows) for head in reference}

    def accuracy(head: Labels, logits: NDArray[np.float32]) -> float:
        known = right[head] >= 0
        return 100 * float((logits.argmax(1) == right[head])[known].mean())

    expected = {head: accuracy(head, logits) for head, logits in reference.items()}
    answers: dict[tuple[Precision, Backend], dict[Labels, NDArray[np.float32]]] = {}
    parity: dict[str, dict[Labels, Parity]] = {}
    sizes: dict[str, int] = {}
    scales: dict[Labels, float] = {}
    for precision in PRECISIONS:
        for backend, suffix in SUFFIXES.items():
            path = folder / f"{name}-{precision}{suffix}"
            try:
                classifier = load_classifier(path, backend, precision, labels="fer2013")
                found = answers[precision, backend] = classifier.logits(rows.faces)
            except ModelError as error:
                # The folder is one that only the export knows.
                told = str(error).replace(os.fspath(path), path.name)
                raise ParityError(f"nothing was written: {told}") from error
            parity[path.name] = {
                head: Parity(
                    accuracy=accuracy(head, found[head]),
                    drop=expected[head] - accuracy(head, found[head]),
                    agreement=float((found[head].argmax(1) == logits.argmax(1)).mean()),
                    largest_difference=float(np.abs(found[head] - logits).max()),
                )
                for head, logits in reference.items()
            }
            sizes[path.name] = path.stat().st_size
            if precision == "int8":
                scales = {head: spec.scale for head, spec in classifier.file.outputs.items()}
    agreement: dict[str, dict[Labels, float]] = {
        precision: {
            head: float(
                (
                    answers[precision, "litert"][head].argmax(1) == answers[precision, "onnx"][head].argmax(1)
                ).mean()
            )
            for head in reference
        }
        for precision in PRECISIONS
    }
    steps = max(
        round(float(np.abs(answers["int8", "litert"][head] - answers["int8", "onnx"][head]).max()) / scale)
        for head, scale in scales.items()
    )
    return ExportReport(name, len(rows), expected, temperature, people, parity, agreement, steps, sizes)


def _truth(head: Labels, rows: Rows) -> NDArray[np.int64]:
    """The right answer of each row, int64 (n,); -1 where there is none."""
    top = None if rows.votes is None or head == "fer2013" else top_votes(rows.votes)
    # Where nobody voted, as on a user's own pictures, both heads learned the labels.
    return rows.labels if top is None or not (top >= 0).any() else top


def refuse_bad(report: ExportReport) -> None:
    """Raise CalibrationError where a file loses too much, or the files of a precision disagree."""
    # Of few rows, chance turns one or another.
    most = max(MAX_DROP, 100 / report.rows, 200 * (COIN_TOSSES / report.rows) ** 0.5) + 1e-9
    least = min(MIN_AGREEMENT, 1 - 3 / report.rows) - 1e-9
    faults = [
        f"{file} loses {parity.drop:.2f} points of {head} (at most {most:.2g})"
        for file, outputs in report.parity.items()
        for head, parity in outputs.items()
        if parity.drop > most
    ]
    faults += [
        f"ONNX and TFLite {precision} agree on {agreement:.2%} of rows of {head} (at least {least:.3g})"
        for precision, outputs in report.agreement.items()
        for head, agreement in outputs.items()
        if agreement < least
    ]
    if report.steps > MOST_STEPS:
        faults.append(f"ONNX and TFLite int8 logits differ by {report.steps} steps (at most {MOST_STEPS})")
    if faults:
        raise CalibrationError(f"nothing was written: {'; '.join(faults)}")
