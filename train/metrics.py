"""The course of a run: one row of metrics an epoch, as CSV, and the best of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

METRICS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_people",
    "seconds",
)


def best_row(history: list[dict[str, float]]) -> dict[str, float]:
    """The epoch that agrees best with people; without votes, the one of the best validation accuracy.

    Where several do, that of the least loss (on the labels).
    """
    return max(history, key=lambda row: (row.get("val_people", row["val_accuracy"]), -row["val_loss"]))


def metrics_csv(history: list[dict[str, float]]) -> str:
    """The rows of a run in :data:`METRICS`, as CSV; blank where a row lacks a figure."""
    return _csv([METRICS, *(_cells(row) for row in history)])


def stages_csv(stages: Sequence[dict[str, Any]]) -> str:
    """The rows of several runs as CSV: the first column names the stage, the others are :data:`METRICS`."""
    rows = [(stage["stage"], *_cells(row)) for stage in stages for row in stage.get("history", [])]
    return _csv([("stage", *METRICS), *rows])


def _cells(row: dict[str, float]) -> list[str]:
    return [f"{row[name]:.6g}" if name in row else "" for name in METRICS]


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
