"""Provenance: the training runs that a network builds on, each listed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer_edge.fer2013.duplicates import HELD_OUT_RULE
from fer_edge.models.manifest import bundled_models

from .checkpoint import load
from .data import TrainingData
from .logits_file import load_origin
from .metrics import stages_csv
from .pretrained import exported_file, exported_record, is_exported

TEACHER = "given teacher"
INITIAL_WEIGHTS = "initial weights"
"""What a network was to a run that builds on it."""


def distinct(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each training run once, though a net may build on it by way of several others."""
    found: list[dict[str, Any]] = []
    for stage in stages:
        if stage not in found:
            found.append(stage)
    return found


def held_out_record(data: TrainingData, origin: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What a checkpoint records of the rows that were never trained on; None where nothing is held out.

    ``rule`` and number of ``rows``; ``seen_by`` names the runs in ``origin`` that may have been trained
    on them all the same, by way of which this one may know them.
    """
    if data.calibration_faces is None:
        return None
    return {
        "rule": HELD_OUT_RULE,
        "rows": len(data.calibration_faces),
        "seen_by": [
            stage["stage"] for stage in origin if (stage.get("held_out") or {}).get("rule") != HELD_OUT_RULE
        ],
    }


def training_log(state: dict[str, Any]) -> str:
    """The course of a checkpoint's run, up to that checkpoint, and of those it builds on, as CSV.

    The columns are those of :func:`.metrics.stages_csv`. Checkpoints of older versions did not keep the
    course of their teachers.
    """
    run = {"stage": state.get("stage", "training"), "history": state["history"]}
    return stages_csv([*distinct(state.get("origin", [])), run])


def _accuracy(accuracy: Any) -> float:
    """Of the labels of 2013; manifests of format 1 have no other."""
    return float(accuracy["fer2013"] if isinstance(accuracy, dict) else accuracy)


def describe(teachers: Sequence[str], role: str = TEACHER) -> list[dict[str, Any]]:
    """How each teacher (checkpoint, exported model, stored logits) came to be: one entry a training run.

    A run that several build on is listed once. Raises CheckpointError, DataError, ModelError.
    """
    found: list[dict[str, Any]] = []
    for teacher in teachers:
        if Path(teacher).suffix == ".npz":
            found += load_origin(teacher)
        elif is_exported(teacher):
            record = exported_record(teacher)
            known = "bundled" if teacher in bundled_models() else "exported"
            found += [
                *record.get("origin", []),
                {
                    "stage": f"{role}: {known} {exported_file(teacher).model}",
                    "epoch": record["epochs"],
                    "val_accuracy": _accuracy(record["held_out"]["torch_accuracy"]) / 100,
                    "options": record["training_options"],
                    "torch": record["versions"]["torch"],
                    "held_out": record.get("training_held_out"),
                    "history": [],
                },
            ]
        else:
            state = load(teacher)
            found += [
                *state.get("origin", []),
                {
                    "stage": role,
                    "epoch": state["epoch"],
                    "val_accuracy": state["history"][-1]["val_accuracy"],
                    "options": state["options"],
                    "torch": state["torch"],
                    "held_out": state.get("held_out"),
                    "history": state["history"],
                },
            ]
    return distinct(found)
