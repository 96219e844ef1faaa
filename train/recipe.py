"""Recipes: the stages that lead from FER-2013 to shipped weights, each resumable.

Teachers are trained one after the other. The student begins as a network of its own architecture
that learned from labels, or as the bundled model; it learns the teachers' averaged answers to the
images beside the labels, settles on mildly varied images, and then learns to live with int8 rounding.
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
from .beginning import FACE_TEACHER, beginning, is_bundled, restore_norms
from .checkpoint import load_net
from .data import sample
from .distill import LOGITS_NAME, describe, teacher_net, teaching
from .loop import TrainingData, TrainOptions, fit
from .model import ARCHITECTURES, EmotionNet
from .processes import join
from .rounding import rounded_net

RECORD_NAME = "recipe.json"
FORMAT = "fer-edge recipe 1"

_TEACHER_STAGE = "teacher-"


@dataclass(frozen=True)
class Recipe:
    """Options of each stage.

    ``beginning`` is the student's training before it has teachers (None: it has them from the start);
    with ``former_self_answers`` what came of that is one of them. ``settling`` is the end of the
    student's training, on mildly varied images; ``rounding`` lets it live with int8.
    """

    teachers: tuple[TrainOptions, ...]
    beginning: TrainOptions | None
    student: TrainOptions
    settling: TrainOptions
    rounding: TrainOptions
    former_self_answers: bool = False

    def epochs(self, stage: str) -> int:
        """Length of a stage, named as its folder."""
        if stage.startswith(_TEACHER_STAGE):
            return self.teachers[int(stage.removeprefix(_TEACHER_STAGE)) - 1].epochs
        options: TrainOptions = getattr(self, stage)
        return options.epochs


_TEACHER = TrainOptions(
    model=FACE_TEACHER,
    epochs=26,
    warmup=1.0,
    learning_rate=0.05,
    weight_decay=5e-4,
    calm=0.6,
    bfloat16=True,
)
_BEGINNING = TrainOptions(epochs=80, bfloat16=True)
_STUDENT = TrainOptions(
    epochs=36,
    warmup=1.0,
    learning_rate=0.04,
    distill_weight=0.8,
    live_teachers=True,
    calm=0.0,
    calm_strength=0.5,
    bfloat16=True,
    augmentation=Augmentation(gamma=0.3, coarse=0.15, jpeg=0.15),
)
_SETTLING = replace(_STUDENT, epochs=18, warmup=0.5, learning_rate=0.015, calm_strength=0.3)
_ROUNDING = replace(
    _SETTLING, epochs=2, learning_rate=0.002, weight_decay=0.0, calm_strength=0.4, bfloat16=False
)


def _small(options: TrainOptions, **changes: Any) -> TrainOptions:
    """Options for ``nano``, which has no capacity to spare for much variation or for learning by heart."""
    mild = replace(Augmentation().scaled(0.5), gamma=0.2, coarse=0.1, jpeg=0.1)
    small = replace(options, model="nano", vote_weight=0.25, augmentation=mild)
    return replace(small, weight_decay=min(small.weight_decay, 5e-5), **changes)


RECIPES = {
    "edge": Recipe((_TEACHER,), _BEGINNING, _STUDENT, _SETTLING, _ROUNDING, former_self_answers=True),
    "nano": Recipe(
        (_TEACHER, _BEGINNING),
        replace(_BEGINNING, model="nano", weight_decay=1e-4),
        _small(_STUDENT, epochs=48, learning_rate=0.05, calm_strength=0.3),
        _small(_SETTLING, epochs=15),
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
    start: str | None = None,
    device: str = "cpu",
    report: Callable[[str, list[dict[str, float]]], None] = lambda stage, history: None,
) -> list[StageResult]:
    """Do every stage in its folder below ``out``, or go on with it; returns one result a stage.

    ``teachers`` (checkpoints, bundled models, or stored logits) replace the recipe's own, ``start`` (a
    checkpoint or a bundled model) its beginning. Stages that are finished
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
            run(
                f"{_TEACHER_STAGE}{number}",
                replace(options, seed=seed + number - 1),
                data,
                beginning(options.model, data.faces, seed),
            )
            for number, options in enumerate(recipe.teachers, 1)
        ]
        teachers = tuple(map(str, trained))
    if start is not None:
        origin += describe([start], role="given beginning")
    elif recipe.beginning is not None:
        start = str(run("beginning", replace(recipe.beginning, seed=seed), data))
    former_self = None if start is None else _former_self(recipe, start, sample(data.faces, seed))
    # Stored logits that are given are all there is to learn from.
    live = recipe.student.live_teachers and not any(Path(teacher).suffix == ".npz" for teacher in teachers)
    bfloat16 = recipe.student.bfloat16
    if start is not None and recipe.former_self_answers and live:
        teachers = (*teachers, start)
    learned = teaching(out, teachers, data.faces, live=live, device=device, bfloat16=bfloat16)
    taught = replace(data, teacher=learned)

    def learn(stage: str, options: TrainOptions, start: EmotionNet | None) -> Path:
        return run(stage, replace(options, seed=seed, live_teachers=live), taught, start)

    student = learn("student", recipe.student, former_self)
    settled = learn("settling", recipe.settling, load_net(student)[0])
    learn("rounding", recipe.rounding, rounded_net(load_net(settled)[0], sample(data.faces, seed)))
    return results


def _former_self(recipe: Recipe, start: str, faces: NDArray[np.uint8]) -> EmotionNet:
    """The network that the student was; raises DataError where that has another architecture."""
    net = teacher_net(start)
    if net.architecture != ARCHITECTURES[recipe.student.model]:
        raise DataError(
            f"{start}: not of the architecture {recipe.student.model!r}, so it cannot begin there"
        )
    if is_bundled(start):
        restore_norms(net, faces)
    return net


def prepare_recipe_folder(out: Path, *, resume: bool) -> None:
    """Make the folder; raises DataError where it holds another run, or none to resume."""
    begun = any((out / name).exists() for name in (RECORD_NAME, LOGITS_NAME)) or any(out.glob("*/last.pt"))
    if begun and not resume:
        raise DataError(f"{out}: already holds a run; --resume continues it, another --out starts a new one")
    if resume and not begun:
        raise DataError(f"{out}: nothing to resume, no stage of a recipe was begun there")
    out.mkdir(parents=True, exist_ok=True)


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
