"""Recipes: the stages that lead from FER-2013 to shipped weights, each resumable.

Teachers are trained one after the other, on labels and votes alone, from random or public weights, so that
they differ and know nothing of the student. They answer to a bank of varied views of the faces; the student,
from random weights, learns these answers beside labels and votes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fer_edge.errors import DataError

from .architectures import EFFICIENTNET, FACE_TEACHER
from .checkpoint import load, save_weights
from .data import TrainingData
from .distill import load_teachers, prepare_teachers
from .distributed import World, join_world
from .loop import fit, refuse_unfit
from .model import EmotionNet
from .options import HARD_LIGHT, TrainOptions
from .pretrained import initial_net, require_public_weights
from .provenance import INITIAL_WEIGHTS, describe, distinct
from .recipe_record import RecipeRecord

CARRY = "carry"
"""Folder of what is to be carried to another machine."""

_TEACHER_STAGE = "teacher-"
_STUDENT_STAGE = "student"
_OVERHEAD = 0.08
"""Share of a recipe's time for reading data, imports, and the networks' first weights."""


@dataclass(frozen=True)
class Recipe:
    """Options of each stage.

    ``shares`` is how a budget of time is split over the stages, by name; a stage that is not named has a
    share of 1. ``student_on_cpu`` are the student's options that differ where there is no GPU, its length not
    among them.
    """

    teachers: tuple[TrainOptions, ...]
    student: TrainOptions
    shares: Mapping[str, float] = field(default_factory=dict)
    student_on_cpu: Mapping[str, Any] = field(default_factory=dict)

    def on(self, kind: str) -> Recipe:
        """The recipe as it is for this kind of device, ``cpu`` or ``cuda``."""
        if kind != "cpu":
            return self
        return replace(self, student=replace(self.student, **self.student_on_cpu))

    def without(self, models: Sequence[str]) -> Recipe:
        """The recipe without the teachers of these architectures; raises DataError for one it has not."""
        known = [options.model for options in self.teachers]
        strange = [model for model in models if model not in known]
        if strange or set(models) >= set(known) > set():
            reason = f"{strange[0]!r} is no teacher of this recipe" if strange else "no teacher is left"
            raise DataError(f"--without: {reason}; it has {', '.join(known)}")
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
        return self.student.epochs


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
_ON_CPU = {"batch": 128, "learning_rate": 0.05}
"""Large batches are for a GPU: on a CPU they take as long an image as small ones, which make more steps."""

RECIPES = {
    "edge": Recipe(_TEACHERS, _STUDENT, shares=_SHARES, student_on_cpu=_ON_CPU),
    "nano": Recipe(
        _TEACHERS,
        replace(_STUDENT, model="nano", people_distill_weight=0.8, weight_decay=1e-4),
        shares=_SHARES,
        student_on_cpu=_ON_CPU,
    ),
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
    """Run every stage in its folder below ``out``, or continue it; returns one result a stage.

    ``teachers`` (checkpoints, bundled models, or stored logits) replace the recipe's own; the student starts
    from ``initial_weights`` (a checkpoint or a bundled model) instead of random ones. Finished stages are
    not repeated; an interrupted one continues after its last whole epoch. ``recipe.json`` and every
    checkpoint record which stages were run with which options and versions; what the student's options are
    goes by the kind of device that the folder was begun on, here or elsewhere. Each stage hands on
    its last epoch, ``last.pt``, and the last stage's is the result: rates end at zero, so that a best
    epoch would be chosen by chance. With ``minutes`` (0: none) each stage takes its share of that time,
    however many epochs that makes. With ``piece_bytes`` each stage's weights alone are written into
    :data:`CARRY` as well, see :func:`.checkpoint.save_weights`. Raises TrainingError, CheckpointError,
    DataError, ModelError, MissingExtraError.
    """
    world = join_world(device)
    start: EmotionNet | None = None
    given = {"teachers": list(teachers), "initial_weights": initial_weights, "minutes": minutes}
    record = RecipeRecord(
        out, recipe.student.model, given, data, seed=seed, processes=world.size, device=device
    )
    recipe = recipe.on(record.device)
    if initial_weights is not None:
        start = initial_net(recipe.student.model, data.faces, seed, initial_weights)
    own_teachers = () if teachers else recipe.teachers
    for options in own_teachers:
        require_public_weights(options.model)
    names = [f"{_TEACHER_STAGE}{number}" for number in range(1, len(own_teachers) + 1)]
    # Before the record, which holds every later command in this folder to what this one was given.
    for options in (*own_teachers, recipe.student):
        refuse_unfit(replace(options, minutes=minutes), data, world)
    load_teachers(teachers, data.faces)
    if world.first:
        out.mkdir(parents=True, exist_ok=True)
    world.barrier()
    run = _Run(
        out,
        record,
        world=world,
        device=device,
        budgets=recipe.minutes(minutes, [*names, _STUDENT_STAGE]),
        piece_bytes=piece_bytes,
        report=report,
        origin=_given_origin(teachers, initial_weights),
    )
    if world.first and not record.begun:
        record.write(run.origin)
    for number, (stage, options) in enumerate(zip(names, own_teachers, strict=True)):
        options = replace(options, seed=seed + number)
        begun = (out / stage / "last.pt").exists()
        net = None if begun else initial_net(options.model, data.faces, options.seed)
        run.stage(stage, options, data, net)
    if not teachers:
        teachers = tuple(str(out / stage / "last.pt") for stage in names)
    # Stored logits answer to plain images, so with some among them all teachers do.
    stored = any(Path(teacher).suffix == ".npz" for teacher in teachers)
    student = replace(recipe.student, seed=seed, bank=0 if stored else recipe.student.bank)
    answers = prepare_teachers(
        out, teachers, data.faces, live=student.bank > 0, device=device, bfloat16=student.bfloat16
    )
    run.stage(_STUDENT_STAGE, student, replace(data, teacher=answers), start)
    return run.results


class _Run:
    """Runs the stages of a recipe one after the other, and records them.

    ``origin`` has one entry for each training run that the next stage builds on, ``results`` one for each
    stage.
    """

    def __init__(
        self,
        out: Path,
        record: RecipeRecord,
        *,
        world: World,
        device: str,
        budgets: Mapping[str, float],
        piece_bytes: int | None,
        report: Callable[[str, list[dict[str, float]]], None],
        origin: list[dict[str, Any]],
    ) -> None:
        self._out, self._record, self._world, self._device = out, record, world, device
        self._budgets, self._piece_bytes, self._report = budgets, piece_bytes, report
        self.origin = origin
        self.results: list[StageResult] = []

    def stage(
        self, name: str, options: TrainOptions, data: TrainingData, start: EmotionNet | None = None
    ) -> None:
        """Train in the folder of this name, or continue there, until the stage is finished."""
        options = replace(options, minutes=self._budgets[name])
        folder = self._out / name
        if self._world.first:
            folder.mkdir(exist_ok=True)
        resume = (folder / "last.pt").exists()
        self._world.barrier()
        history = fit(
            data,
            options,
            folder,
            start=start,
            resume=resume,
            device=self._device,
            on_epoch=lambda history: self._report(name, history),
            stage=name,
            origin=self.origin,
            kind="recipe",
        )
        self._finish(name, options, history, load(folder / "last.pt"))

    def _finish(
        self, name: str, options: TrainOptions, history: list[dict[str, float]], last: dict[str, Any]
    ) -> None:
        row = history[-1]
        # Other processes have no validation figures, and need none.
        result = StageResult(name, int(row["epoch"]), row.get("val_accuracy", 0.0), row.get("val_people"))
        self.results.append(result)
        settings = {"options": asdict(options), "torch": last["torch"], "held_out": last.get("held_out")}
        if "bank_views" in last:
            settings["bank_views"] = last["bank_views"]
        self.origin.append({**asdict(result), **settings, "history": history if self._world.first else []})
        if not self._world.first:
            return
        self._record.write(self.origin)
        if self._piece_bytes is not None:
            (self._out / CARRY).mkdir(exist_ok=True)
            save_weights(self._out / CARRY / f"{name}.pt", last, self._piece_bytes)


def _given_origin(teachers: Sequence[str], initial_weights: str | None) -> list[dict[str, Any]]:
    """The training runs behind the networks that a command gave a recipe."""
    origin = describe(teachers)
    if initial_weights is not None:
        origin = distinct(origin + describe([initial_weights], INITIAL_WEIGHTS))
    return origin
