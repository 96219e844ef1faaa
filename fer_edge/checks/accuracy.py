"""How good a classifier is: accuracy, macro-F1, recall, calibration, confusion, agreement with FER+."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..fer2013.duplicates import in_training
from ..fer2013.reader import FerDataset
from ..fer2013.votes import majority_votes
from ..labels import EMOTIONS
from ..models.classifier import Classifier

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


@dataclass(frozen=True)
class Agreement:
    """``agreement``: share of the ``rows`` with a FER+ majority that get it as answer; NaN for none."""

    agreement: float
    rows: int


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on one group of rows, with FER+ agreement if votes were given."""

    metrics: Metrics
    ferplus: Agreement | None = None


def evaluate(
    classifier: Classifier,
    dataset: FerDataset,
    usage: str | None = None,
    votes: NDArray[np.uint8] | None = None,
) -> dict[str, Evaluation]:
    """Evaluate ``classifier`` on the rows of ``dataset`` that have this ``usage``, or on all.

    ``votes``: uint8 (n, 10), FER+ votes for each row of the data set. The result has the group
    ``all``, and ``not_in_training`` for the rows outside Training whose image is not in it, if the
    data set holds the Training rows too; without them that is unknown. Raises
    :class:`~fer_edge.errors.DataError` where the data set has no labels or no row of this usage.
    """
    if dataset.labels is None:
        raise DataError("there is no emotion column to compare with; use fer-edge predict")
    chosen = _rows_of(dataset, usage)
    labels = dataset.labels[chosen]
    majority = None if votes is None else majority_votes(votes)[chosen]
    probabilities = classifier.predict(dataset.pixels[chosen])
    groups = {"all": np.ones(len(labels), np.bool_)}
    if dataset.usage is not None and (dataset.usage == "Training").any():
        clean = ((dataset.usage != "Training") & ~in_training(dataset))[chosen]
        if clean.any():
            groups["not_in_training"] = clean
    return {
        name: Evaluation(
            measure(probabilities[rows], labels[rows]),
            None if majority is None else Agreement(*vote_agreement(probabilities[rows], majority[rows])),
        )
        for name, rows in groups.items()
    }


def _rows_of(dataset: FerDataset, usage: str | None) -> NDArray[np.bool_]:
    if usage is None:
        return np.ones(len(dataset), np.bool_)
    if dataset.usage is None:
        raise DataError(f"there is no Usage column, so --usage {usage} selects nothing; leave it out")
    chosen: NDArray[np.bool_] = dataset.usage == usage
    if not chosen.any():
        have = ", ".join(sorted(set(dataset.usage.tolist())))
        raise DataError(f"no row has Usage {usage!r}; there are {have}")
    return chosen
