"""One training run as the command line asks for it: initial weights, teachers, folder, provenance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fer_edge.errors import DataError

from .checkpoint import load
from .data import TrainingData, prepare_folder
from .distill import prepare_teachers
from .finetune import frozen_net
from .loop import fit
from .options import TrainOptions
from .pretrained import exported_record, initial_net
from .provenance import INITIAL_WEIGHTS, describe, distinct


def run(
    data: TrainingData,
    options: TrainOptions,
    out: Path,
    *,
    initial_weights: str | None = None,
    teachers: Sequence[str] = (),
    fine_tuning: bool = False,
    resume: bool = False,
    device: str = "cpu",
    on_epoch: Callable[[list[dict[str, float]]], None] | None = None,
) -> list[dict[str, float]]:
    """Train a network in the folder ``out``, or go on with that; returns one row of metrics an epoch.

    ``initial_weights`` and ``teachers`` are names of checkpoints and exported models; of teachers, their
    stored logits as well. With ``fine_tuning`` the last blocks of the bundled model learn, instead.
    Raises DataError where the folder holds another run, or none to resume; TrainingError,
    CheckpointError, ModelError, MissingExtraError.
    """
    start = people = None
    if fine_tuning:
        initial_weights = options.model
        start = frozen_net(options.model)
        people = exported_record(options.model).get("people")
    elif not resume:
        start = initial_net(options.model, data.faces, options.seed, initial_weights)
    origin = [] if initial_weights is None else describe([initial_weights], INITIAL_WEIGHTS)
    taught_by = describe(teachers)
    # In each process, or the others would wait for one that has given up.
    prepare_folder(out, resume=resume)
    if resume and initial_weights is not None and not fine_tuning:
        before = load(out / "last.pt").get("origin", [])
        if before[: len(origin)] != origin:
            raise DataError(
                f"--initial-weights {initial_weights}: the run in {out} began at others; --resume needs the "
                "same, or none"
            )
    if teachers:
        origin = distinct(origin + taught_by)
        live = options.live_teachers or options.bank > 0
        answers = prepare_teachers(
            out, teachers, data.faces, live=live, device=device, bfloat16=options.bfloat16
        )
        data = replace(data, teacher=answers)
    return fit(
        data,
        options,
        out,
        start=start,
        resume=resume,
        device=device,
        on_epoch=on_epoch,
        origin=origin,
        people=people,
        kind="fine-tuning" if fine_tuning else "plain",
    )
