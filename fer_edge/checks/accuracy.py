"""How good a classifier is: accuracy, macro-F1, recall, calibration, confusion, agreement with FER+."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS

ECE_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """Figures over ``rows`` rows; all rates are fractions from 0 to 1.

    macro_f1: mean F1 of the classes that occur as label or prediction; recall: by emotion, None for
    a class without rows; ece: expected calibration error over 15 bins of equal width (Guo et al.
    2017, arXiv:1706.04599); confusion: counts, true classes in rows.
    """

    rows: int
    accuracy: float
    macro_f1: float
    recall: dict[str, float | None]
    ece: float
    confusion: list[list[int]]


def measure(probabilities: NDArray[np.float32], labels: NDArray[np.integer[Any]]) -> Metrics:
    """Compare probabilities, float (n, 7), with labels, int (n,) of 0 to 6; raises ValueError for n = 0."""
    if not len(labels):
        raise ValueError("no rows to evaluate")
    predicted = probabilities.argmax(1)
    confusion = confusion_matrix(labels, predicted)
    hits = np.diag(confusion)
    actual, claimed = confusion.sum(1), confusion.sum(0)
    f1 = 2 * hits / np.maximum(actual + claimed, 1)
    return Metrics(
        rows=len(labels),
        accuracy=float((predicted == labels).mean()),
        macro_f1=float(f1[(actual + claimed) > 0].mean()),
        recall={
            emotion: float(hits[code] / actual[code]) if actual[code] else None
            for code, emotion in enumerate(EMOTIONS)
        },
        ece=calibration_error(probabilities, labels),
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
    confidence = probabilities.max(1).astype(np.float64)
    correct = (probabilities.argmax(1) == labels).astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def vote_agreement(
    probabilities: NDArray[np.float32], majority: NDArray[np.integer[Any]]
) -> tuple[float, int]:
    """Share of rows with a FER+ majority (code >= 0) on which the arg-max is it, and their number."""
    decided = majority >= 0
    if not decided.any():
        return float("nan"), 0
    return float((probabilities[decided].argmax(1) == majority[decided]).mean()), int(decided.sum())


def to_json(value: Any) -> str:
    """Indented JSON; what is not a number becomes null."""

    def clean(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: clean(part) for key, part in item.items()}
        if isinstance(item, (list, tuple)):
            return [clean(part) for part in item]
        return None if isinstance(item, float) and not np.isfinite(item) else item

    return json.dumps(clean(value), indent=2, allow_nan=False)
