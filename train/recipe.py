"""Recipes: the stages that lead from FER-2013 to shipped weights, each resumable.

Teachers are trained one after the other. The student is pretrained on labels alone, or begins as the
bundled model; it learns the teachers' averaged answers to the images beside the labels, and may settle
on mildly varied images.
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

from fer_edge import __version__
from fer_edge.errors import DataError
from fer_edge.files import write_text

from .architectures import FACE_TEACHER
from .checkpoint import load, load_net
from .data import RESULTS, TrainingData, refuse_overwriting
from .distill import prepare_teachers
from .distributed import join_world
from .dlib_weights import package_file
from .logits_file import LOGITS_NAME
from .loop import fit
from .model import EmotionNet
from .options import POOR_CAMERA, TrainOptions
from .pretrained import initial_net
from .provenance import INITIAL_WEIGHTS, describe, distinct
from .renamed import GIVEN, current_names, current_stages, rename_stage_folders, warn_of_former_names

RECORD_NAME = "recipe.json"
FORMAT = "fer-edge recipe 1"

_TEACHER_STAGE = "teacher-"


@dataclass(frozen=True)
class Recipe:
    """Options of each stage.

    ``pretraining`` is the student's training before it has teachers (None: it has them from the start);
    with ``self_distillation`` what came of that is one of them, where they answer live (Furlanello et
    al. 2018, arXiv:1805.04770). ``settling`` is the end of the student's training, on mildly varied
    images (None: left out).
    """

    teachers: tuple[TrainOptions, ...]
    pretraining: TrainOptions | None
    student: TrainOptions
    settling: TrainOptions | None = None
    self_distillation: bool = False

    def epochs(self, stage: str) -> int:
        """Length of a stage, named as its folder."""
        if stage.startswith(_TEACHER_STAGE):
            return self.teachers[int(stage.removeprefix(_TEACHER_STAGE)) - 1].epochs
        options: TrainOptions = getattr(self, stage)
        return options.epochs


_TEACHER = TrainOptions(
    model=FACE_TEACHER,
    epochs=16,
    warmup=0.5,
    optimizer="muon",
    learning_rate=0.05,
    mixup=0.2,
    augmentation_decay_start=0.6,
    bfloat16=True,
    augmentation=POOR_CAMERA,
)
_PRETRAINING = TrainOptions(epochs=80, bfloat16=True)
_STUDENT = TrainOptions(
    epochs=42,
    warmup=0.5,
    optimizer="muon",
    learning_rate=0.05,
    distill_weight=0.8,
    live_teachers=True,
    augmentation_decay_start=0.0,
    augmentation_floor=0.3,
    bfloat16=True,
    augmentation=POOR_CAMERA,
)
_SETTLING = replace(_STUDENT, epochs=36, learning_rate=0.04, vote_share=0.1)


RECIPES = {
    "edge": Recipe((_TEACHER,), _PRETRAINING, _STUDENT, _SETTLING, self_distillation=True),
    "nano": Recipe(
        (_TEACHER, _PRETRAINING),
        replace(_PRETRAINING, model="nano", weight_decay=1e-4),
        replace(
            _STUDENT,
            model="nano",
            epochs=80,
            vote_weight=0.25,
        ),
    ),
}
"""The recipes of the bundled models, by name."""


@dataclass(frozen=True)
class StageResult:
    """How a stage went: its last epoch (from 1) and the accuracy on the validation rows after it."""

    stage: str
    epoch: int
    val_accuracy: float


def follow(
    recipe: Recipe,
    data: TrainingData,
    out: Path,
    *,
    seed: int = 1,
    teachers: tuple[str, ...] = (),
    initial_weights: str | None = None,
    device: str = "cpu",
    report: Callable[[str, list[dict[str, float]]], None] = lambda stage, history: None,
) -> list[StageResult]:
    """Do every stage in its folder below ``out``, or go on with it; returns one result a stage.

    ``teachers`` (checkpoints, bundled models, or stored logits) replace the recipe's own,
    ``initial_weights`` (a checkpoint or a bundled model) its pretraining. Stages that are finished
    are not repeated; one that was interrupted continues after its last whole epoch. What was done
    with which options and versions is in ``recipe.json`` and in every checkpoint. Each stage hands on
    its last epoch, ``last.pt``, and the last stage's is the result: rates end at zero, so that a best
    epoch would be chosen by chance. Raises TrainingError, CheckpointError, DataError, ModelError,
    MissingExtraError.
    """
    world = join_world(device)
    given = {"teachers": list(teachers), "initial_weights": initial_weights}
    before = _begun(out)
    _refuse_other(out, before, recipe.student.model, given, seed)
    start: EmotionNet | None = None
    if initial_weights is not None:
        start = initial_net(recipe.student.model, data.faces, seed, initial_weights)
    if not teachers and any(options.model == FACE_TEACHER for options in recipe.teachers):
        package_file()
    if world.first:
        out.mkdir(parents=True, exist_ok=True)
        rename_stage_folders(out)
    world.barrier()
    results: list[StageResult] = []
    origin: list[dict[str, Any]] = []

    def record() -> None:
        # What was done before and not yet passed again is not forgotten.
        stages = origin + before.get("stages", [])[len(origin) :]
        content = _record(recipe.student.model, given, stages, data, seed, world.size)
        if "versions" in before:
            content["versions"] = before["versions"]
        write_text(out / RECORD_NAME, json.dumps(content, indent=2) + "\n")

    def run(
        stage: str, options: TrainOptions, learned: TrainingData, start: EmotionNet | None = None
    ) -> Path:
        folder = out / stage
        if world.first:
            folder.mkdir(exist_ok=True)
        resume = (folder / "last.pt").exists()
        world.barrier()
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
        # Other processes have no validation figures, and need none.
        results.append(StageResult(stage, len(history), history[-1].get("val_accuracy", 0.0)))
        last = load(folder / "last.pt")
        settings = {
            "options": asdict(options),
            "torch": last["torch"],
            "held_out": last.get("held_out"),
        }
        origin.append({**asdict(results[-1]), **settings, "history": history if world.first else []})
        if world.first:
            record()
        return folder / "last.pt"

    def teach(number: int, options: TrainOptions) -> Path:
        stage = f"{_TEACHER_STAGE}{number}"
        options = replace(options, seed=seed + number - 1)
        begun = (out / stage / "last.pt").exists()
        net = None if begun else initial_net(options.model, data.faces, options.seed)
        return run(stage, options, data, net)

    if teachers:
        origin += describe(teachers)
    if initial_weights is not None:
        origin[:] = distinct(origin + describe([initial_weights], INITIAL_WEIGHTS))
    if world.first and not before:
        record()
    if not teachers:
        teachers = tuple(str(teach(number, options)) for number, options in enumerate(recipe.teachers, 1))
    if initial_weights is None and recipe.pretraining is not None:
        initial_weights = str(run("pretraining", replace(recipe.pretraining, seed=seed), data))
        start = initial_net(recipe.student.model, data.faces, seed, initial_weights)
    # Stored logits that are given are all there is to learn from.
    live = recipe.student.live_teachers and not any(Path(teacher).suffix == ".npz" for teacher in teachers)
    bfloat16 = recipe.student.bfloat16
    if initial_weights is not None and recipe.self_distillation and live:
        teachers = (*teachers, initial_weights)
    answers = prepare_teachers(out, teachers, data.faces, live=live, device=device, bfloat16=bfloat16)
    taught = replace(data, teacher=answers)

    def learn(stage: str, options: TrainOptions, start: EmotionNet | None) -> Path:
        return run(stage, replace(options, seed=seed, live_teachers=live), taught, start)

    reached = learn("student", recipe.student, start)
    if recipe.settling is not None:
        learn("settling", recipe.settling, load_net(reached)[0])
    return results


def _begun(out: Path) -> dict[str, Any]:
    """What ``recipe.json`` tells, under current names, nothing where there is none; raises DataError."""
    path = out / RECORD_NAME
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not the record of a recipe ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(f"{path}: not the record of a recipe (expected format {FORMAT!r})")
    if "given" in record:
        warn_of_former_names(record["given"], path, GIVEN)
        record["given"] = current_names(record["given"], GIVEN)
    return {**record, "stages": current_stages(record.get("stages", []))}


def _refuse_other(out: Path, before: dict[str, Any], student: str, given: dict[str, Any], seed: int) -> None:
    """Raise DataError where the recipe in ``out`` was another, or was begun with other nets or seed."""
    if not before:
        return
    for option, was, now in (
        ("--recipe", before.get("student", student), student),
        ("--seed", str(before.get("seed", seed)), str(seed)),
        *(
            (option, " ".join(_several(before.get("given", given)[name])), " ".join(_several(given[name])))
            for option, name in (("--teacher", "teachers"), ("--initial-weights", "initial_weights"))
        ),
    ):
        if was != now:
            how = f"with {option} {was}" if was else f"without {option}"
            raise DataError(f"{out}: was begun {how}; --resume needs the same")


def _several(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else names or []


def prepare_recipe_folder(out: Path, *, resume: bool) -> None:
    """Make the folder; raises DataError where it holds another run, or none to resume."""
    begun = any((out / name).exists() for name in (RECORD_NAME, LOGITS_NAME)) or any(out.glob("*/last.pt"))
    if begun and not resume:
        raise DataError(f"{out}: already holds a run; --resume continues it, another --out starts a new one")
    if resume and not begun:
        raise DataError(f"{out}: nothing to resume, no stage of a recipe was begun there")
    if not begun:
        refuse_overwriting(out, ("last.pt", *RESULTS))
    out.mkdir(parents=True, exist_ok=True)


def _record(
    student: str,
    given: dict[str, Any],
    stages: list[dict[str, Any]],
    data: TrainingData,
    seed: int,
    processes: int,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "student": student,
        "seed": seed,
        "processes": processes,
        "rows": {"training": len(data.faces), "validation": len(data.val_faces)},
        "votes": data.votes is not None,
        "given": given,
        "versions": {
            "fer-edge": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        "stages": [{key: stage[key] for key in stage if key != "history"} for stage in stages],
    }
