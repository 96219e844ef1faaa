"""Recipes: the stages that lead from FER-2013 to shipped weights, each resumable.

Teachers are trained one after the other. The student begins as a network of its own architecture
that learned from labels, or as the bundled model; it learns the teachers' averaged answers to the
images beside the labels, may settle on mildly varied images, and may then learn to live with int8 rounding.
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

from .augment import POOR_CAMERA
from .beginning import FACE_TEACHER, beginning, is_folded, package_file, restore_norms
from .checkpoint import load, load_net
from .data import RESULTS, refuse_overwriting, sample
from .distill import LOGITS_NAME, describe, teacher_net, teaching
from .loop import TrainingData, TrainOptions, distinct, fit
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
    with ``former_self_answers`` what came of that is one of them, where they answer live.
    ``settling`` is the end of the student's training, on mildly varied images; ``rounding`` lets it
    live with int8, where it otherwise loses by that (None, of either: left out).
    """

    teachers: tuple[TrainOptions, ...]
    beginning: TrainOptions | None
    student: TrainOptions
    settling: TrainOptions | None = None
    rounding: TrainOptions | None = None
    former_self_answers: bool = False

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
    calm=0.6,
    bfloat16=True,
    augmentation=POOR_CAMERA,
)
_BEGINNING = TrainOptions(epochs=80, bfloat16=True)
_STUDENT = TrainOptions(
    epochs=42,
    warmup=0.5,
    optimizer="muon",
    learning_rate=0.05,
    distill_weight=0.8,
    live_teachers=True,
    calm=0.0,
    calm_strength=0.3,
    bfloat16=True,
    augmentation=POOR_CAMERA,
)
_SETTLING = replace(_STUDENT, epochs=36, learning_rate=0.04, vote_share=0.1)


RECIPES = {
    "edge": Recipe((_TEACHER,), _BEGINNING, _STUDENT, _SETTLING, former_self_answers=True),
    "nano": Recipe(
        (_TEACHER, _BEGINNING),
        replace(_BEGINNING, model="nano", weight_decay=1e-4),
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
    student_begins: str | None = None,
    device: str = "cpu",
    report: Callable[[str, list[dict[str, float]]], None] = lambda stage, history: None,
) -> list[StageResult]:
    """Do every stage in its folder below ``out``, or go on with it; returns one result a stage.

    ``teachers`` (checkpoints, bundled models, or stored logits) replace the recipe's own,
    ``student_begins`` (a checkpoint or a bundled model) its beginning. Stages that are finished
    are not repeated; one that was interrupted continues after its last whole epoch. What was done
    with which options and versions is in ``recipe.json`` and in every checkpoint. Each stage hands on
    its last epoch, ``last.pt``, and the last stage's is the result: rates end at zero, so that a best
    epoch would be chosen by chance. Raises TrainingError, CheckpointError, DataError, ModelError,
    MissingExtraError.
    """
    processes = join(device)
    given = {"teachers": list(teachers), "beginning": student_begins}
    before = _begun(out)
    _refuse_other(out, before, recipe.student.model, given, seed)
    some_faces = sample(data.faces, seed)
    begun = None if student_begins is None else former_self(recipe.student.model, student_begins, some_faces)
    if not teachers and any(options.model == FACE_TEACHER for options in recipe.teachers):
        package_file()
    if processes.first:
        out.mkdir(parents=True, exist_ok=True)
    results: list[StageResult] = []
    origin: list[dict[str, Any]] = []

    def record() -> None:
        # What was done before and not yet passed again is not forgotten.
        stages = origin + before.get("stages", [])[len(origin) :]
        told = _record(recipe.student.model, given, stages, data, seed, processes.count)
        if "versions" in before:
            told["versions"] = before["versions"]
        write_text(out / RECORD_NAME, json.dumps(told, indent=2) + "\n")

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
        # Other processes have no validation figures, and need none.
        results.append(StageResult(stage, len(history), history[-1].get("val_accuracy", 0.0)))
        told = {"options": asdict(options), "torch": load(folder / "last.pt")["torch"]}
        origin.append({**asdict(results[-1]), **told, "history": history if processes.first else []})
        if processes.first:
            record()
        return folder / "last.pt"

    def teach(number: int, options: TrainOptions) -> Path:
        stage = f"{_TEACHER_STAGE}{number}"
        options = replace(options, seed=seed + number - 1)
        begun = (out / stage / "last.pt").exists()
        return run(
            stage, options, data, None if begun else beginning(options.model, data.faces, options.seed)
        )

    if teachers:
        origin += describe(teachers)
    if student_begins is not None:
        origin[:] = distinct(origin + describe([student_begins], role="given beginning"))
    if processes.first and not before:
        record()
    if not teachers:
        teachers = tuple(str(teach(number, options)) for number, options in enumerate(recipe.teachers, 1))
    if student_begins is None and recipe.beginning is not None:
        student_begins = str(run("beginning", replace(recipe.beginning, seed=seed), data))
        begun = former_self(recipe.student.model, student_begins, some_faces)
    # Stored logits that are given are all there is to learn from.
    live = recipe.student.live_teachers and not any(Path(teacher).suffix == ".npz" for teacher in teachers)
    bfloat16 = recipe.student.bfloat16
    if student_begins is not None and recipe.former_self_answers and live:
        teachers = (*teachers, student_begins)
    learned = teaching(out, teachers, data.faces, live=live, device=device, bfloat16=bfloat16)
    taught = replace(data, teacher=learned)

    def learn(stage: str, options: TrainOptions, start: EmotionNet | None) -> Path:
        return run(stage, replace(options, seed=seed, live_teachers=live), taught, start)

    reached = learn("student", recipe.student, begun)
    if recipe.settling is not None:
        reached = learn("settling", recipe.settling, load_net(reached)[0])
    if recipe.rounding is not None:
        learn("rounding", recipe.rounding, rounded_net(load_net(reached)[0], some_faces))
    return results


def former_self(model: str, name: str, faces: NDArray[np.uint8]) -> EmotionNet:
    """The network that is to be trained further: a checkpoint, or a bundled model.

    Batch norms that were folded are measured anew on ``faces``, uint8 (n, 48, 48). Raises DataError where
    it is not of the architecture ``model``, CheckpointError, ModelError, MissingExtraError.
    """
    if Path(name).suffix == ".npz":
        raise DataError(f"{name}: holds answers, which a student cannot begin with; want a checkpoint")
    net = teacher_net(name)
    if net.architecture != ARCHITECTURES[model]:
        raise DataError(f"{name}: not of the architecture {model!r}, which it is to become")
    if is_folded(net):
        restore_norms(net, faces)
    return net


def _begun(out: Path) -> dict[str, Any]:
    """What ``recipe.json`` tells, nothing where there is none; raises DataError."""
    path = out / RECORD_NAME
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not the record of a recipe ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(f"{path}: not the record of a recipe (expected format {FORMAT!r})")
    return record


def _refuse_other(out: Path, before: dict[str, Any], student: str, given: dict[str, Any], seed: int) -> None:
    """Raise DataError where the recipe in ``out`` was another, or was begun with other nets or seed."""
    if not before:
        return
    for option, was, now in (
        ("--recipe", before.get("student", student), student),
        ("--seed", str(before.get("seed", seed)), str(seed)),
        *(
            (option, " ".join(_several(before.get("given", given)[name])), " ".join(_several(given[name])))
            for option, name in (("--teacher", "teachers"), ("--beginning", "beginning"))
        ),
    ):
        if was != now:
            told = f"with {option} {was}" if was else f"without {option}"
            raise DataError(f"{out}: was begun {told}; --resume needs the same")


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
