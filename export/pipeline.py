"""The whole export: convert, quantize, check on held-out rows, and only then write, with a manifest."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge.errors import DataError, ModelError
from fer_edge.fer2013.duplicates import HELD_OUT_RULE
from fer_edge.fer2013.reader import FerDataset
from fer_edge.files import write_text
from fer_edge.kernels.constants import FACE_SIZE
from fer_edge.kernels.contrast import normalize_contrast
from fer_edge.labels import Labels
from fer_edge.models.classifier import load_classifier
from fer_edge.models.manifest import SUFFIXES
from fer_edge.models.people import MOST_BALANCE, People
from fer_edge.models.reference import reference_answer
from fer_edge.train.checkpoint import load_net
from fer_edge.train.model import EmotionNet
from fer_edge.train.provenance import training_log
from fer_edge.train.validation import predict_heads

from .calibration import Choice, Rows, choose_rows
from .convert import convert
from .manifest import model_entry, publish, refuse_file, refuse_overwriting, write_manifest
from .network import InferenceNet
from .parity import FEW_ROWS, CalibrationError, ExportReport, check_files, check_int8_input, refuse_bad
from .people import fit_people, fit_people_temperature, prior
from .temperature import fit_temperature

CALIBRATION_ROWS = 512
"""How many rows of Training calibrate int8 files, unless there are fewer."""
SEEDS = 4
"""How many seeds :func:`export_by_some_seed` tries."""

Logits = dict[Labels, NDArray[np.float32]]
"""Those of n faces, (n, k) by output."""


def export(
    checkpoint: str | os.PathLike[str],
    dataset: FerDataset,
    out: str | os.PathLike[str],
    *,
    votes: NDArray[np.uint8] | None = None,
    model: str | None = None,
    calibration_rows: int = CALIBRATION_ROWS,
    seed: int = 1,
    balance: float | None = None,
    force: bool = False,
    progress: Callable[[str], None] = lambda message: None,
) -> ExportReport:
    """Write the fp32 and int8 files of a checkpoint and their manifest into the folder ``out``.

    ``dataset`` supplies the calibration rows (from its Training rows) and the held-out rows for the
    check (those of PublicTest whose image is not in Training). ``votes``, uint8 (n, 10), are its FER+ votes,
    needed for a network that answers for people unless the checkpoint holds the settings. ``balance``, 0 to
    2, is the model's T; where it is None the rows of the check choose it (:func:`.people.choose_balance`).
    Other models that ``out`` already holds stay. Raises CheckpointError, DataError where ``out`` is no
    folder, or the rows do not suffice, were cut out of pictures in another way than those that the checkpoint
    learned from, or a balance has nothing to choose among, ModelError for a teacher, which looks at larger
    faces or at a part of them, and where ``model`` is already there and ``force`` is not set, ParityError
    where no runtime can load a file, CalibrationError where one fails the check.
    """
    folder = Path(out)
    refuse_file(folder)
    net, state = load_net(checkpoint)
    if net.architecture.input_side != FACE_SIZE:
        raise ModelError(
            f"{checkpoint}: a {state['options']['model']} is a teacher and no device's model: "
            "train a student with --teacher"
        )
    _refuse_other_cut(checkpoint, state.get("detected"), dataset.detected)
    if balance is not None and net.people is None:
        raise DataError(
            f"{checkpoint}: has no head people, among whose answers --balance chooses; leave it out"
        )
    if balance is not None and not 0 <= balance <= MOST_BALANCE:
        raise DataError(f"balance must be from 0 to {MOST_BALANCE:g}, got {balance}")
    name = model or state["options"]["model"]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise DataError(f"model name {name!r}: use letters, digits, - and _ only")
    refuse_overwriting(folder, name, force)
    rows = choose_rows(dataset, votes, calibration_rows, seed)
    raw = _logits(net, rows.check.faces)
    # Rows that were trained on would make for too much confidence.
    unseen = _unseen(state) and len(rows.held_out) > 0
    fitting = (rows.held_out, _logits(net, rows.held_out.faces)) if unseen else (rows.check, raw)
    temperature, people, balance_from = _settings(checkpoint, state, rows, fitting, raw, balance)
    deployed = InferenceNet(net, temperature)
    calibration = rows.calibration.copy()
    if net.architecture.contrast:
        normalize_contrast(calibration)
    converted = convert(deployed, calibration, progress)
    for file in converted:
        if file.precision == "int8":
            check_int8_input(file.backend, file.input)
    files = {f"{name}-{file.precision}{SUFFIXES[file.backend]}": file for file in converted}
    entry = model_entry(
        name,
        state,
        files,
        parameters=sum(value.numel() for value in deployed.parameters()),
        temperature=temperature,
        people=people,
        balance_from=balance_from,
        fitted_on="held-out tenth of Training" if unseen else "held-out rows of the check",
        calibration={"rows": len(rows.calibration), "seed": seed, "method": "min-max"},
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as temporary:
        staging = Path(temporary)
        for file_name, file in files.items():
            (staging / file_name).write_bytes(file.content)
        write_manifest(staging, {name: entry})
        progress(f"checking on {len(rows.check)} held-out rows")
        if len(rows.check) < FEW_ROWS:
            progress(f"fewer than {FEW_ROWS} rows: the check says little")
        expected = {head: np.asarray(logits / temperature[head], np.float32) for head, logits in raw.items()}
        report = check_files(staging, name, temperature, people, expected, rows.check)
        refuse_bad(report)
        entry["held_out"] = {
            "rows": report.rows,
            "torch_accuracy": report.accuracy,
            **{f"{precision}_agreement": value for precision, value in report.agreement.items()},
            "int8_steps": report.steps,
        }
        for file_name, parity in report.parity.items():
            answer = reference_answer(load_classifier(staging / file_name, labels="fer2013"))
            held_out = {head: asdict(one) for head, one in parity.items()}
            entry["files"][file_name] |= {"reference": asdict(answer), "held_out": held_out}
        write_text(staging / entry["training_log"], training_log(state))
        publish(folder, staging, name, entry, force)
    return report


def export_by_some_seed(
    checkpoint: str | os.PathLike[str],
    dataset: FerDataset,
    out: str | os.PathLike[str],
    *,
    votes: NDArray[np.uint8] | None,
    progress: Callable[[str], None],
) -> ExportReport:
    """:func:`export` with ``force``, again with other calibration rows while files fail the check.

    Seeds 1 to :data:`SEEDS` choose these. From the second on they are at most four fifths of the Training
    rows: of few rows each seed would choose all. Raises as :func:`export`, CalibrationError after the last.
    """
    rows = CALIBRATION_ROWS
    for seed in range(1, SEEDS + 1):
        try:
            return export(
                checkpoint,
                dataset,
                out,
                votes=votes,
                calibration_rows=rows,
                seed=seed,
                force=True,
                progress=progress,
            )
        except CalibrationError as error:
            failed = error
        if seed < SEEDS:
            progress(f"{failed}; trying other calibration rows, of seed {seed + 1}")
            rows = min(rows, max(1, 4 * int(np.count_nonzero(dataset.usage == "Training")) // 5))
    raise CalibrationError(f"{failed}, with calibration seeds 1 to {SEEDS}") from failed


def _refuse_other_cut(
    checkpoint: str | os.PathLike[str], learned: bool | None, calibrating: bool | None
) -> None:
    """Raise DataError where pictures calibrate that were not read as those that the network learned from.

    ``learned``: None in checkpoints of earlier versions, too, which did not record it.
    """
    if learned is None or calibrating is None or learned == calibrating:
        return
    if learned:
        raise DataError(
            f"{checkpoint}: learned from faces found in pictures, and whole pictures would calibrate it; add "
            "--detect"
        )
    raise DataError(
        f"{checkpoint}: learned from whole pictures, and faces found in pictures would calibrate it; leave "
        "--detect out"
    )


def _settings(
    checkpoint: str | os.PathLike[str],
    state: dict[str, Any],
    rows: Choice,
    fitting: tuple[Rows, Logits],
    checked: Logits,
    balance: float | None,
) -> tuple[dict[Labels, float], People | None, str | None]:
    """Temperatures of the outputs, how predicted votes become answers, and what gave the balance of these.

    ``fitting``: rows to fit on, and the network's logits for them; ``checked``: those for ``rows.check``.
    """
    known, logits = fitting
    temperature: dict[Labels, float] = {
        "fer2013": fit_temperature(torch.from_numpy(logits["fer2013"]), torch.from_numpy(known.labels))
    }
    if "people" not in logits:
        return temperature, None, None
    training, votes = rows.training_votes, rows.check.votes
    if training is None or votes is None or known.votes is None or not votes.any() or not known.votes.any():
        if "people" not in state:
            raise DataError(
                f"{checkpoint}: answers for people, too; give the FER+ votes on the calibration rows "
                "(--votes CSV)"
            )
        if balance is not None:
            raise DataError(
                f"{checkpoint}: a balance needs FER+ votes on rows of the check, by which the limit of what "
                "is unsure is found; give --votes CSV, or leave --balance out"
            )
        return temperature | {"people": 1.0}, People(**state["people"]), "the model it grew out of"
    temperature["people"] = fit_people_temperature(logits["people"], known.votes)
    scale = np.float32(temperature["people"])
    people = fit_people(
        (logits["people"] / scale, known.votes),
        (checked["people"] / scale, votes),
        prior(training),
        balance,
    )
    return temperature, people, "rows of the check" if balance is None else "given"


def _logits(net: EmotionNet, faces: NDArray[np.uint8]) -> Logits:
    heads = predict_heads(net, torch.from_numpy(faces))
    named: Logits = {"fer2013": heads.fer2013.numpy()}
    return named if heads.people is None else {**named, "people": heads.people.numpy()}


def _unseen(state: dict[str, Any]) -> bool:
    """Whether neither the network nor what it builds on was trained on the held-out tenth."""
    record = state.get("held_out") or {}
    return record.get("rule") == HELD_OUT_RULE and not record.get("seen_by")
