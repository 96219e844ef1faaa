"""Recipes: the stages that lead from FER-2013 to shipped weights, each resumable.

Teachers are trained one after the other; the student learns their averaged answers to the images
beside the labels, going on from the last teacher's weights where that one has its architecture; it
settles on mildly varied images, and then learns to live with int8 rounding.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge import __version__
from fer_edge.errors import DataError
from fer_edge.files import write_text

from .augment import Augmentation
from .checkpoint import load_net
from .distill import LOGITS_NAME, describe, teaching
from .loop import TrainingData, TrainOptions, fit
from .model import ARCHITECTURES, EmotionNet
from .processes import join
from .rounding import rounded_net

RECORD_NAME = "recipe.json"
FORMAT = "fer-edge recipe 1"

CALIBRATION_ROWS = 512
_TEACHER_STAGE = "teacher-"


@dataclass(frozen=True)
class Recipe:
    """Options of each stage.

    ``settling`` is the end of the student's training, on mildly varied images; ``rounding`` lets it
    live with int8.
    """

    teachers: tuple[TrainOptions, ...]
    student: TrainOptions
    settling: TrainOptions
    rounding: TrainOptions

    def epochs(self, stage: str) -> int:
        """Length of a stage, named as its folder."""
        if stage.startswith(_TEACHER_STAGE):
            return self.teachers[int(stage.removeprefix(_TEACHER_STAGE)) - 1].epochs
        options: TrainOptions = getattr(self, stage)
        return options.epochs


_TEACHER = TrainOptions(
    model="teacher",
    epochs=60,
    warmup=2.0,
    learning_rate=0.06,
    weight_decay=5e-4,
    calm_strength=0.7,
    mixup=0.2,
    bfloat16=True,
)
_BEGINNING = TrainOptions(epochs=80, bfloat16=True)
_STUDENT = TrainOptions(
    epochs=40,
    learning_rate=0.05,
    distill_weight=0.8,
    live_teachers=True,
    calm_strength=0.6,
    mixup=0.2,
    bfloat16=True,
    augmentation=Augmentation(gamma=0.3, coarse=0.15, jpeg=0.15),
)
# It has no capacity to spare for much variation, and what it learns it does not learn by heart.
_SMALL_STUDENT = replace(
    _STUDENT,
    model="nano",
    epochs=34,
    learning_rate=0.05,
    weight_decay=5e-5,
    vote_weight=0.25,
    calm_strength=0.3,
    mixup=0.0,
    augmentation=replace(Augmentation().scaled(0.5), gamma=0.2, coarse=0.1, jpeg=0.1),
)
_SETTLING = replace(
    _STUDENT, epochs=10, warmup=0.5, learning_rate=0.015, mixup=0.0, calm=0.0, calm_strength=0.3
)
_ROUNDING = replace(
    _SETTLING, epochs=2, learning_rate=0.002, weight_decay=0.0, calm_strength=0.4, bfloat16=False
)


def _small(options: TrainOptions) -> TrainOptions:
    return replace(options, model="nano", vote_weight=0.25, augmentation=_SMALL_STUDENT.augmentation)


RECIPES = {
    "edge": Recipe((_TEACHER, _BEGINNING), _STUDENT, _SETTLING, _ROUNDING),
    "nano": Recipe(
        (_TEACHER, replace(_BEGINNING, model="nano", weight_decay=1e-4)),
        _SMALL_STUDENT,
        _small(replace(_SETTLING, epochs=6, weight_decay=5e-5)),
        _small(_ROUNDING),
    ),
}
"""The recipes of the bundled models, by name."""


@dataclass(frozen=True)
class StageResult:
    """How a stage went: its best epoch (from 1) and that epoch's accuracy on the validation rows."""

    stage: str
    best_epoch: int
    val_accuracy: float


def follow(
    recipe: Recipe,
    data: TrainingData,
    out: Path,
    *,
    seed: int = 1,
    teachers: tuple[str, ...] = (),
    device: str = "cpu",
    report: Callable[[str, list[dict[str, float]]], None] = lambda stage, history: None,
) -> list[StageResult]:
    """Do every stage in its folder below ``out``, or go on with it; returns one result a stage.

    ``teachers`` (checkpoints, or stored logits) replace the recipe's own. Stages that are finished
    are not repeated; one that was interrupted continues after its last whole epoch. What was done
    with which options and versions is in ``recipe.json`` and in every checkpoint. The final
    checkpoint is ``rounding/best.pt``. Raises TrainingError, CheckpointError, DataError.
    """
    processes = join(device)
    if processes.first:
        out.mkdir(parents=True, exist_ok=True)
    results: list[StageResult] = []
    origin: list[dict[str, Any]] = []

    def run(
        stage: str, options: TrainOptions, learned: TrainingData, start: EmotionNet | None = None
    ) -> Path:
        folder = out / stage
        if processes.first:
            folder.mkdir(exist_ok=True)
        resume = (folder / "last.pt").exists()
        processes.wait()
        history = fit(
            learned,
            options,
            folder,
            start=start,
            resume=resume,
            device=device,
            on_epoch=lambda history: report(stage, history),
            stage=stage,
            origin=origin,
        )
        accuracies = [row.get("val_accuracy", 0.0) for row in history]
        best = int(np.argmax(accuracies))
        results.append(StageResult(stage, best + 1, accuracies[best]))
        told = {"options": asdict(options), "torch": str(torch.__version__)}
        # Other processes have no validation figures, and need none.
        origin.append({**asdict(results[-1]), **told, "history": history if processes.first else []})
        if processes.first:
            write_text(out / RECORD_NAME, _record(origin, data, seed, processes.count))
        return folder / "best.pt"

    if teachers:
        origin += describe(teachers)
    else:
        trained = [
            run(f"{_TEACHER_STAGE}{number}", replace(options, seed=seed + number - 1), data)
            for number, options in enumerate(recipe.teachers, 1)
        ]
        teachers = tuple(map(str, trained))
    # Stored logits that are given are all there is to learn from.
    live = recipe.student.live_teachers and not any(Path(teacher).suffix == ".npz" for teacher in teachers)
    bfloat16 = recipe.student.bfloat16
    beginning = _beginning(recipe, teachers[-1])
    # Beside larger teachers the student's former self has nothing to tell it.
    answering = teachers[:-1] if live and beginning is not None and len(teachers) > 1 else teachers
    learned = teaching(out, answering, data.faces, live=live, device=device, bfloat16=bfloat16)
    taught = replace(data, teacher=learned)

    def learn(stage: str, options: TrainOptions, start: EmotionNet | None) -> Path:
        return run(stage, replace(options, seed=seed, live_teachers=live), taught, start)

    student = learn("student", recipe.student, beginning)
    settled = learn("settling", recipe.settling, load_net(student)[0])
    learn("rounding", recipe.rounding, rounded_net(load_net(settled)[0], _calibration_faces(data, seed)))
    return results


def _beginning(recipe: Recipe, teacher: str) -> EmotionNet | None:
    """The network of a teacher that has the student's architecture."""
    if Path(teacher).suffix == ".npz":
        return None
    net, _ = load_net(teacher)
    return net if net.architecture == ARCHITECTURES[recipe.student.model] else None


def prepare_recipe_folder(out: Path, *, resume: bool) -> None:
    """Make the folder; raises DataError where it holds another run, or none to resume."""
    begun = any((out / name).exists() for name in (RECORD_NAME, LOGITS_NAME)) or any(out.glob("*/last.pt"))
    if begun and not resume:
        raise DataError(f"{out}: already holds a run; --resume continues it, another --out starts a new one")
    if resume and not begun:
        raise DataError(f"{out}: nothing to resume, no stage of a recipe was begun there")
    out.mkdir(parents=True, exist_ok=True)


def _calibration_faces(data: TrainingData, seed: int) -> NDArray[np.uint8]:
    chosen = np.random.default_rng(seed).permutation(len(data.faces))[:CALIBRATION_ROWS]
    return data.faces[np.sort(chosen)]


def _record(stages: list[dict[str, Any]], data: TrainingData, seed: int, processes: int) -> str:
    record = {
        "format": FORMAT,
        "seed": seed,
        "processes": processes,
        "rows": {"training": len(data.faces), "validation": len(data.val_faces)},
        "votes": data.votes is not None,
        "versions": {
            "fer-edge": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        "stages": [{key: stage[key] for key in stage if key != "history"} for stage in stages],
    }
    return json.dumps(record, indent=2) + "\n"
