"""Recipes: the stages that lead from FER-2013 to shipped weights, each resumable.

Teachers are trained one after the other, on labels and votes alone, from random or public weights, so that
they differ and know nothing of the student. They answer to a bank of varied views of the faces; the student,
from random weights, learns these answers beside labels and votes.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_edge import __version__
from fer_edge.errors import DataError
from fer_edge.files import write_text

from .architectures import EFFICIENTNET, FACE_TEACHER
from .checkpoint import load, load_net, save_weights
from .data import RESULTS, TrainingData, refuse_overwriting
from .distill import prepare_teachers
from .distributed import join_world
from .logits_file import LOGITS_NAME
from .loop import fit
from .model import EmotionNet
from .options import HARD_LIGHT, TrainOptions
from .pretrained import initial_net, require_public_weights
from .provenance import INITIAL_WEIGHTS, describe, distinct
from .renamed import GIVEN, current_names, current_stages, rename_stage_folders, warn_of_former_names

RECORD_NAME = "recipe.json"
FORMAT = "fer-edge recipe 1"

CARRY = "carry"
"""Folder of what is to be carried to another machine."""

_TEACHER_STAGE = "teacher-"
_OVERHEAD = 0.08
"""Share of a recipe's time for reading data, imports, and the networks' first weights."""


@dataclass(frozen=True)
class Recipe:
    """Options of each stage.

    ``pretraining`` is the student's training before it has teachers (None: it has them from the start);
    with ``self_distillation`` what came of that is one of them, where they answer live (Furlanello et
    al. 2018, arXiv:1805.04770). ``settling`` is the end of the student's training, on mildly varied
    images (None: left out). ``shares`` tell how a budget of time is split over the stages, by name; one that
    is not named has a share of 1.
    """

    teachers: tuple[TrainOptions, ...]
    pretraining: TrainOptions | None
    student: TrainOptions
    settling: TrainOptions | None = None
    self_distillation: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)

    def without(self, models: Sequence[str]) -> Recipe:
        """The recipe without the teachers of these architectures; raises DataError for one it has not."""
        known = [options.model for options in self.teachers]
        strange = [model for model in models if model not in known]
        if strange or set(models) >= set(known) > set():
            told = f"{strange[0]!r} is no teacher of this recipe" if strange else "no teacher is left"
            raise DataError(f"--without: {told}; it has {', '.join(known)}")
        kept = [(old, options) for old, options in enumerate(self.teachers, 1) if options.model not in models]
        shares = {name: share for name, share in self.shares.items() if not name.startswith(_TEACHER_STAGE)}
        for new, (old, _) in enumerate(kept, 1):
            if f"{_TEACHER_STAGE}{old}" in self.shares:
                shares[f"{_TEACHER_STAGE}{new}"] = self.shares[f"{_TEACHER_STAGE}{old}"]
        return replace(self, teachers=tuple(options for _, options in kept), shares=shares)

    def minutes(self, total: float, stages: Sequence[str]) -> dict[str, float]:
        """The budget of each of the ``stages``; some of the ``total`` is left for what is between them."""
        shares = {stage: self.shares.get(stage, 1.0) for stage in stages}
        return {
            stage: (1 - _OVERHEAD) * total * share / sum(shares.values()) for stage, share in shares.items()
        }

    def epochs(self, stage: str) -> int:
        """Length of a stage, named as its folder."""
        if stage.startswith(_TEACHER_STAGE):
            return self.teachers[int(stage.removeprefix(_TEACHER_STAGE)) - 1].epochs
        options: TrainOptions = getattr(self, stage)
        return options.epochs


_TEACHER = TrainOptions(
    epochs=40,
    warmup=1.0,
    batch=256,
    optimizer="muon",
    learning_rate=0.06,
    vote_weight=1.0,
    mixup=0.4,
    augmentation_decay_start=0.5,
    bfloat16=True,
    augmentation=HARD_LIGHT,
)
_TEACHERS = (
    replace(_TEACHER, model="vgg"),
    replace(_TEACHER, model="resnet18", mixup=1.0),
    replace(_TEACHER, model=EFFICIENTNET, epochs=16, learning_rate=0.04),
    replace(_TEACHER, model=FACE_TEACHER, epochs=16, learning_rate=0.05),
)
_STUDENT = TrainOptions(
    epochs=120,
    warmup=2.0,
    batch=512,
    optimizer="muon",
    learning_rate=0.08,
    vote_weight=1.0,
    distill_weight=0.8,
    people_distill_weight=0.7,
    bank=16,
    augmentation_decay_start=0.3,
    augmentation_floor=0.3,
    bfloat16=True,
    compile=True,
    augmentation=HARD_LIGHT,
)
_SHARES = {"teacher-1": 0.12, "teacher-2": 0.24, "teacher-3": 0.12, "teacher-4": 0.12, "student": 0.4}
"""How ten minutes of a large GPU are spent; a student's share includes the bank."""

RECIPES = {
    "edge": Recipe(_TEACHERS, None, _STUDENT, shares=_SHARES),
    "nano": Recipe(_TEACHERS, None, replace(_STUDENT, model="nano", weight_decay=1e-4), shares=_SHARES),
}
"""The recipes of the bundled models, by name."""


@dataclass(frozen=True)
class StageResult:
    """How a stage went: its last epoch (from 1), and the figures on the validation rows after it.

    ``val_people``, the agreement with people, is None without votes.
    """

    stage: str
    epoch: int
    val_accuracy: float
    val_people: float | None = None


def follow(
    recipe: Recipe,
    data: TrainingData,
    out: Path,
    *,
    seed: int = 1,
    teachers: tuple[str, ...] = (),
    initial_weights: str | None = None,
    device: str = "cpu",
    minutes: float = 0.0,
    piece_bytes: int | None = None,
    report: Callable[[str, list[dict[str, float]]], None] = lambda stage, history: None,
) -> list[StageResult]:
    """Do every stage in its folder below ``out``, or go on with it; returns one result a stage.

    ``teachers`` (checkpoints, bundled models, or stored logits) replace the recipe's own,
    ``initial_weights`` (a checkpoint or a bundled model) its pretraining. Stages that are finished
    are not repeated; one that was interrupted continues after its last whole epoch. What was done
    with which options and versions is in ``recipe.json`` and in every checkpoint. Each stage hands on
    its last epoch, ``last.pt``, and the last stage's is the result: rates end at zero, so that a best
    epoch would be chosen by chance. With ``minutes`` (0: none) each stage takes its share of that time,
    however many epochs that makes. With ``piece_bytes`` each stage's weights alone are written into
    :data:`CARRY` as well, see :func:`.checkpoint.save_weights`. Raises TrainingError, CheckpointError,
    DataError, ModelError, MissingExtraError.
    """
    world = join_world(device)
    given = {"teachers": list(teachers), "initial_weights": initial_weights, "minutes": minutes}
    before = _begun(out)
    _refuse_other(out, before, recipe.student.model, given, seed)
    start: EmotionNet | None = None
    if initial_weights is not None:
        start = initial_net(recipe.student.model, data.faces, seed, initial_weights)
    for options in () if teachers else recipe.teachers:
        require_public_weights(options.model)
    to_do = [] if teachers else [f"{_TEACHER_STAGE}{number + 1}" for number in range(len(recipe.teachers))]
    to_do += ["pretraining"] if initial_weights is None and recipe.pretraining is not None else []
    to_do += ["student"] if recipe.settling is None else ["student", "settling"]
    budgets = recipe.minutes(minutes, to_do)
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
        options = replace(options, minutes=budgets[stage])
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
        row = history[-1]
        results.append(
            StageResult(stage, int(row["epoch"]), row.get("val_accuracy", 0.0), row.get("val_people"))
        )
        last = load(folder / "last.pt")
        settings = {
            "options": asdict(options),
            "torch": last["torch"],
            "held_out": last.get("held_out"),
        }
        origin.append({**asdict(results[-1]), **settings, "history": history if world.first else []})
        if world.first:
            record()
            if piece_bytes is not None:
                (out / CARRY).mkdir(exist_ok=True)
                save_weights(out / CARRY / f"{stage}.pt", last, piece_bytes)
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
    stored = any(Path(teacher).suffix == ".npz" for teacher in teachers)
    live = recipe.student.live_teachers and not stored
    banked = recipe.student.bank > 0 and not stored
    bfloat16 = recipe.student.bfloat16
    if initial_weights is not None and recipe.self_distillation and live:
        teachers = (*teachers, initial_weights)
    answers = prepare_teachers(
        out, teachers, data.faces, live=live or banked, device=device, bfloat16=bfloat16
    )
    taught = replace(data, teacher=answers)

    def learn(stage: str, options: TrainOptions, start: EmotionNet | None) -> Path:
        bank = options.bank if banked else 0
        return run(stage, replace(options, seed=seed, live_teachers=live, bank=bank), taught, start)

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
            (option, _several(before.get("given", given).get(name)), _several(given[name]))
            for option, name in (
                ("--teacher", "teachers"),
                ("--initial-weights", "initial_weights"),
                ("--minutes", "minutes"),
            )
        ),
    ):
        if was != now:
            how = f"with {option} {was}" if was else f"without {option}"
            raise DataError(f"{out}: was begun {how}; --resume needs the same")


def _several(names: str | float | list[str] | None) -> str:
    return " ".join(names) if isinstance(names, list) else str(names) if names else ""


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
