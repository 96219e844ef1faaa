"""The whole export: convert, quantize, check on held-out rows, and only then write, with a manifest."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fer_edge.train.checkpoint import load_net
from fer_edge.train.model import normalize
from fer_edge.train.provenance import distinct, training_log
from fer_edge.train.validation import predict_logits
from numpy.typing import NDArray

from fer_edge import __version__
from fer_edge.errors import DataError, FerEdgeError, ModelError
from fer_edge.fer2013.duplicates import in_training
from fer_edge.fer2013.reader import FerDataset
from fer_edge.files import write_text
from fer_edge.kernels.crop import FACE_SIZE
from fer_edge.labels import EMOTIONS
from fer_edge.models.classifier import load_classifier
from fer_edge.models.manifest import (
    MANIFEST_FORMAT,
    MANIFEST_NAME,
    PRECISIONS,
    SUFFIXES,
    Backend,
    Precision,
    TensorSpec,
    read_manifest,
)
from fer_edge.models.reference import reference_answer
from fer_edge.native_output import hold_back

from . import onnx_files, tflite
from .network import InferenceNet, fit_temperature

MAX_DROP = 1.0
"""Points of accuracy that a file may lose against the PyTorch network."""
COIN_TOSSES = 0.03
"""Fraction of rows whose arg-max rounding may turn either way, where two emotions are about equal."""
FEW_ROWS = 100
MIN_AGREEMENT = 0.998
"""Fraction of rows on which the ONNX and the TFLite file of a precision must agree."""
MOST_STEPS = 2
"""By which their int8 logits may differ. All sums are exact; only those of residual additions are rounded
differently, where they lie halfway between two steps to five digits."""
_PACKAGES = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "onnx", "onnxruntime", "numpy")


class ParityError(FerEdgeError, RuntimeError):
    """The exported files do not do what the network does; nothing was written."""

    exit_code = 1


@dataclass(frozen=True)
class Parity:
    """One file against the PyTorch network on the same rows.

    accuracy and drop in per cent (points); agreement: fraction of rows with the same arg-max;
    largest absolute difference of logits.
    """

    accuracy: float
    drop: float
    agreement: float
    largest_difference: float


@dataclass(frozen=True)
class ExportReport:
    """What was written and how the check went; accuracies in per cent of ``rows`` held-out rows.

    agreement: fraction of rows on which the two files of a precision have the same arg-max; steps: the
    largest difference of their int8 logits.
    """

    model: str
    rows: int
    accuracy: float
    temperature: float
    parity: dict[str, Parity]
    agreement: dict[str, float]
    steps: int
    sizes: dict[str, int]


def export(
    checkpoint: str | os.PathLike[str],
    dataset: FerDataset,
    out: str | os.PathLike[str],
    *,
    model: str | None = None,
    calibration_rows: int = 512,
    seed: int = 1,
    force: bool = False,
    progress: Callable[[str], None] = lambda message: None,
) -> ExportReport:
    """Write the fp32 and int8 files of a checkpoint and their manifest into the folder ``out``.

    The fp32 files compute in float32 and store their weights as float16, which halves them.

    ``dataset`` supplies the calibration rows (from its Training rows) and the held-out rows for the
    check (the others, without images that are in Training). Other models that ``out`` already holds
    stay. Raises CheckpointError, DataError where the rows do not suffice, ModelError for a teacher that
    wants larger faces, and where ``model`` is already there and ``force`` is not set, ParityError where
    a file fails the check.
    """
    net, state = load_net(checkpoint)
    if net.architecture.side != FACE_SIZE:
        raise ModelError(
            f"{checkpoint}: a {state['options']['model']} is a teacher and no device's model: "
            "train a student with --teacher"
        )
    name = model or state["options"]["model"]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise DataError(f"model name {name!r}: use letters, digits, - and _ only")
    folder = Path(out)
    _refuse_overwriting(folder, name, force)
    calibration, held_out, labels = _choose_rows(dataset, calibration_rows, seed)

    raw = predict_logits(net, torch.from_numpy(held_out))
    temperature = fit_temperature(raw, torch.from_numpy(labels).long())
    deployed = InferenceNet(net, temperature)
    reference = (raw / temperature).numpy()
    normalized = normalize(torch.from_numpy(calibration)).numpy()

    progress("converting to TFLite")
    with _quiet():
        tflite_fp32 = tflite.convert(deployed)
        ranges = tflite.calibrate(tflite_fp32, normalized)
        tflite_int8 = tflite.quantize(tflite_fp32, ranges)
        tflite_half = tflite.with_half_weights(tflite_fp32)
    progress("converting to ONNX")
    with _quiet():
        onnx_fp32 = onnx_files.convert(deployed)
        onnx_int8 = onnx_files.from_tflite(tflite_int8)
        onnx_half = onnx_files.with_half_weights(onnx_fp32)
    plain = TensorSpec("float32", 1.0, 0)
    contents: dict[tuple[Backend, Precision], tuple[bytes, tuple[TensorSpec, TensorSpec]]] = {
        ("litert", "int8"): (tflite_int8, tflite.tensor_specs(tflite_int8)),
        ("litert", "fp32"): (tflite_half, tflite.tensor_specs(tflite_half)),
        ("onnx", "int8"): (onnx_int8, onnx_files.quantization(onnx_int8)),
        ("onnx", "fp32"): (onnx_half, (plain, plain)),
    }
    _check_input_quantization(contents)

    files = {
        f"{name}-{precision}{SUFFIXES[backend]}": {
            "backend": backend,
            "precision": precision,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "input": asdict(specs[0]),
            "output": asdict(specs[1]),
        }
        for (backend, precision), (content, specs) in contents.items()
    }
    entry: dict[str, Any] = {
        "architecture": state["architecture"],
        "parameters": sum(value.numel() for value in deployed.parameters()),
        "epochs": state["epoch"],
        "training_options": state["options"],
        "training_log": f"{name}-training.csv",
        "origin": [
            {key: stage[key] for key in stage if key != "history"}
            for stage in distinct(state.get("origin", []))
        ],
        "temperature": temperature,
        "calibration": {"rows": len(calibration), "seed": seed, "method": "min-max"},
        "versions": _versions(),
        "files": files,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as staging:
        for file, (content, _) in zip(files, contents.values(), strict=True):
            (Path(staging) / file).write_bytes(content)
        write_text(Path(staging) / MANIFEST_NAME, _json({**_empty_manifest(), "models": {name: entry}}))
        progress(f"checking on {len(held_out)} held-out rows")
        if len(held_out) < FEW_ROWS:
            progress(f"fewer than {FEW_ROWS} rows: the check says little")
        report = _check(Path(staging), name, temperature, reference, held_out, labels)
        entry["held_out"] = {
            "rows": report.rows,
            "torch_accuracy": report.accuracy,
            **_agreement(report),
            "int8_steps": report.steps,
        }
        for file, parity in report.parity.items():
            answer = reference_answer(load_classifier(Path(staging) / file))
            entry["files"][file] |= {"reference": asdict(answer), "held_out": asdict(parity)}
        _refuse_bad(report)
        write_text(Path(staging) / entry["training_log"], training_log(state))
        _publish(folder, Path(staging), name, entry, force)
    return report


def _publish(folder: Path, staging: Path, name: str, entry: dict[str, Any], force: bool) -> None:
    """Move the checked files into ``folder`` so that its manifest never lists what does not match.

    Another export into the same folder waits. While files are exchanged the model is not listed.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _refuse_overwriting(folder, name, force)
        manifest = _existing_manifest(folder)
        if manifest["models"].pop(name, None) is not None:
            write_text(folder / MANIFEST_NAME, _json(manifest))
        log = entry.get("training_log")
        for file in (*entry["files"], *([log] if log else [])):
            (staging / file).replace(folder / file)
        manifest["models"][name] = entry
        write_text(folder / MANIFEST_NAME, _json(manifest))
    finally:
        os.close(lock)


def _refuse_overwriting(folder: Path, name: str, force: bool) -> None:
    """Raise ModelError where the model, or one of its files, is there and not to be replaced."""
    if force:
        return
    if name in _existing_manifest(folder)["models"]:
        raise ModelError(f"{folder}: already holds the model {name!r}; --force replaces it")
    for precision in PRECISIONS:
        for suffix in SUFFIXES.values():
            path = folder / f"{name}-{precision}{suffix}"
            if path.exists():
                raise ModelError(f"{path}: exists already; --force replaces it")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converters chat from Python and from C++; only a failure makes that worth reading."""
    with (
        contextlib.redirect_stdout(sys.__stdout__),
        contextlib.redirect_stderr(sys.__stderr__),
        hold_back(lambda line: True),
    ):
        yield


def _existing_manifest(folder: Path) -> dict[str, Any]:
    if (folder / MANIFEST_NAME).exists():
        return read_manifest(folder)
    return _empty_manifest()


def _empty_manifest() -> dict[str, Any]:
    return {"format": MANIFEST_FORMAT, "labels": list(EMOTIONS), "models": {}}


def _choose_rows(
    dataset: FerDataset, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """Calibration faces from Training, and held-out faces with labels that are not in Training."""
    if dataset.labels is None or dataset.usage is None:
        raise DataError(
            "calibration needs a CSV with the columns emotion, pixels and Usage: Training rows calibrate, "
            "the others check the result"
        )
    training = np.flatnonzero(dataset.usage == "Training")
    held_out = (dataset.usage != "Training") & ~in_training(dataset)
    if not len(training) or not held_out.any():
        raise DataError(
            f"calibration CSV has {len(training)} Training rows and {int(held_out.sum())} held-out rows; "
            "at least one of each is needed"
        )
    chosen = np.random.default_rng(seed).permutation(training)[:count]
    return (
        dataset.pixels[np.sort(chosen)],
        dataset.pixels[held_out],
        dataset.labels[held_out].astype(np.int64),
    )


def _check_input_quantization(
    contents: dict[tuple[Backend, Precision], tuple[bytes, tuple[TensorSpec, TensorSpec]]],
) -> None:
    for (backend, precision), (_, (source, _result)) in contents.items():
        if precision == "int8" and source != TensorSpec("int8", 1 / 64, 0):
            raise ParityError(
                f"the {backend} int8 input is {source}; it has to be grey - 128 (scale 1/64, zero 0)"
            )


def _check(
    folder: Path,
    name: str,
    temperature: float,
    reference: NDArray[np.float32],
    faces: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> ExportReport:
    expected = reference.argmax(1)
    accuracy = 100 * float((expected == labels).mean())
    answers: dict[tuple[Precision, Backend], NDArray[np.float32]] = {}
    parity: dict[str, Parity] = {}
    sizes: dict[str, int] = {}
    step = 0.0
    for precision in PRECISIONS:
        for backend, suffix in SUFFIXES.items():
            path = folder / f"{name}-{precision}{suffix}"
            classifier = load_classifier(path, backend, precision)
            logits = answers[precision, backend] = classifier.predict_logits(faces)
            reached = 100 * float((logits.argmax(1) == labels).mean())
            parity[path.name] = Parity(
                accuracy=reached,
                drop=accuracy - reached,
                agreement=float((logits.argmax(1) == expected).mean()),
                largest_difference=float(np.abs(logits - reference).max()),
            )
            sizes[path.name] = path.stat().st_size
            step = step or classifier.file.output.scale
    agreement = {
        precision: float(
            np.mean(answers[precision, "litert"].argmax(1) == answers[precision, "onnx"].argmax(1))
        )
        for precision in PRECISIONS
    }
    steps = round(float(np.abs(answers["int8", "litert"] - answers["int8", "onnx"]).max()) / step)
    return ExportReport(name, len(faces), accuracy, temperature, parity, agreement, steps, sizes)


def _refuse_bad(report: ExportReport) -> None:
    # Of few rows, chance turns one or another.
    most = max(MAX_DROP, 100 / report.rows, 200 * (COIN_TOSSES / report.rows) ** 0.5) + 1e-9
    least = min(MIN_AGREEMENT, 1 - 3 / report.rows) - 1e-9
    faults = [
        f"{file} loses {parity.drop:.2f} points (at most {most:.2g})"
        for file, parity in report.parity.items()
        if parity.drop > most
    ]
    faults += [
        f"ONNX and TFLite {precision} agree on {agreement:.2%} of rows (at least {least:.3g})"
        for precision, agreement in report.agreement.items()
        if agreement < least
    ]
    if report.steps > MOST_STEPS:
        faults.append(f"ONNX and TFLite int8 logits differ by {report.steps} steps (at most {MOST_STEPS})")
    if faults:
        raise ParityError("nothing was written: " + "; ".join(faults))


def _agreement(report: ExportReport) -> dict[str, float]:
    return {f"{precision}_agreement": value for precision, value in report.agreement.items()}


def _versions() -> dict[str, str]:
    return {"fer-edge": __version__, "python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in _PACKAGES
    }


def _json(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=2) + "\n"
