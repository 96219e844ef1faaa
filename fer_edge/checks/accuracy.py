"""How well answers match what is right: accuracy, macro-F1, recall, calibration, confusion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS

ECE_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """Figures over ``rows`` rows; all rates are fractions from 0 to 1.

    accuracy: share of the rows whose answer is the right one; macro_f1: mean F1 of the classes that occur
    as right one or answer; mean_recall: mean of those that ``recall`` has; recall: by emotion, None for
    a class without rows; ece: expected calibration error over 15 bins of equal width (Guo et al. 2017,
    arXiv:1706.04599), None where there is no confidence; confusion: counts, true classes in rows.
    """

    rows: int
    accuracy: float
    macro_f1: float
    mean_recall: float
    recall: dict[str, float | None]
    ece: float | None
    confusion: list[list[int]]


def measure(probabilities: NDArray[np.float32], labels: NDArray[np.integer[Any]]) -> Metrics:
    """Compare probabilities, float (n, 7), with labels, int (n,) of 0 to 6; raises ValueError for n = 0."""
    metrics = compare(probabilities.argmax(1), labels)
    return replace(metrics, ece=calibration_error(probabilities, labels))


def compare(answers: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> Metrics:
    """Compare answers, int (n,) of 0 to 6, with labels, likewise; raises ValueError for n = 0."""
    if not len(labels):
        raise ValueError("no rows to evaluate")
    confusion = confusion_matrix(labels, answers)
    hits = np.diag(confusion)
    actual, claimed = confusion.sum(1), confusion.sum(0)
    f1 = 2 * hits / np.maximum(actual + claimed, 1)
    recall = hits / np.maximum(actual, 1)
    return Metrics(
        rows=len(labels),
        accuracy=float(hits.sum() / len(labels)),
        macro_f1=float(f1[(actual + claimed) > 0].mean()),
        mean_recall=float(recall[actual > 0].mean()),
        recall={
            emotion: float(recall[code]) if actual[code] else None for code, emotion in enumerate(EMOTIONS)
        },
        ece=None,
        confusion=confusion.tolist(),
    )


def confusion_matrix(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Counts, int64 (7, 7): true class in rows, predicted class in columns."""
    count = len(EMOTIONS)
    flat = np.bincount(labels.astype(np.int64) * count + predicted, minlength=count * count)
    return flat.reshape(count, count).astype(np.int64)


def calibration_error(
    probabilities: NDArray[np.float32], labels: NDArray[np.integer[Any]], bins: int = ECE_BINS
) -> float:
    """Expected calibration error: mean gap between confidence and accuracy, weighted by bin size."""
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    return confidence_error(probabilities.max(1).astype(np.float64), right, bins)


def confidence_error(
    confidence: NDArray[np.float64], reached: NDArray[np.float64], bins: int = ECE_BINS
) -> float:
    """Mean gap, over bins of equal width, between confidence (n,) and what was reached (n,), both 0 to 1."""
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=reached - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
