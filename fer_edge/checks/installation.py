"""What an installation has and lacks, each finding with what to do about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import FerEdgeError, MissingRuntimeError
from ..kernels import EXTENSION
from ..models.backends import RUNTIMES, available_backends
from ..models.classifier import Classifier
from ..models.manifest import BACKENDS, ModelFile, model_files
from ..models.reference import deviation, tolerance, wrong_crops
from . import board, cameras, packages
from .finding import Finding

_REINSTALL = "pip install --force-reinstall --no-deps fer-edge, or the wheel it came from"

DEFAULT_MODEL = "edge"
"""The default of every command."""


def examine(try_cameras: bool = False) -> list[Finding]:
    """Look at everything ``fer-edge run`` needs; never raises for what it finds.

    ``try_cameras``: read each camera for two seconds, too.
    """
    checks: dict[str, Callable[[], list[Finding]]] = {
        "packages": packages.look,
        "extension": lambda: [_extension()],
        "crops": lambda: [_crops()],
        "weights": _weights,
        "backend": _backends,
        "detector": lambda: [_detector()],
        "board": board.look,
        "cameras": cameras.try_all if try_cameras else cameras.look,
    }
    return [finding for subject, check in checks.items() for finding in _unfailing(subject, check)]


def _unfailing(subject: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings of a check; where it fails itself, that is one, and the others are made all the same."""
    try:
        return check()
    except Exception as error:
        return [Finding("fault", subject, f"cannot be examined: {_reason(error)}")]


def _extension() -> Finding:
    if EXTENSION:
        return Finding("ok", "extension", "C kernels in use")
    if os.environ.get("FER_EDGE_PURE", "") not in ("", "0"):
        why, remedy = "FER_EDGE_PURE is set", "unset FER_EDGE_PURE"
    else:
        why = "no compiler was there at install, or it does not load"
        remedy = "install a wheel; or sudo apt install gcc python3-dev, and install again"
    return Finding("note", "extension", f"NumPy path in use (same results, slower): {why}", remedy)


def _weights() -> list[Finding]:
    try:
        files = model_files()
    except FerEdgeError as error:
        return [Finding("fault", "weights", str(error), _REINSTALL)]
    findings = []
    for file in files:
        try:
            file.read()
            findings.append(Finding("ok", "weights", f"{file.path.name} intact, {file.size / 1000:.0f} kB"))
        except FerEdgeError as error:
            findings.append(Finding("fault", "weights", str(error), _REINSTALL))
    return findings


def _backends() -> list[Finding]:
    backends = available_backends()
    if not backends:
        return [
            Finding(
                "fault",
                "backend",
                "no runtime is installed",
                "pip install ai-edge-litert, or pip install 'fer-edge[onnx]'",
            )
        ]
    try:
        files = [file for file in model_files() if file.backend in backends]
    except FerEdgeError as error:
        return [Finding("fault", "backend", f"nothing to run: {error}", _REINSTALL)]
    if not any(file.model == DEFAULT_MODEL for file in files):
        return [
            Finding(
                "fault",
                "backend",
                f"no file of the model {DEFAULT_MODEL!r} for {', '.join(backends)}",
                _REINSTALL,
            )
        ]
    findings = [_answer(file) for file in files]
    if any(
        finding.state == "ok" and (file.model, file.precision) == (DEFAULT_MODEL, "int8")
        for file, finding in zip(files, findings, strict=True)
    ):
        # What does not load is no fault where another runtime does the work; a wrong answer always is.
        findings = [
            replace(one, state="note") if one.state == "fault" and one.subject == "loading" else one
            for one in findings
        ]
    return [replace(one, subject="backend") for one in findings]


def _answer(file: ModelFile) -> Finding:
    """Whether a file loads and answers the reference face as its manifest says."""
    name, update = file.path.name, f"pip install --upgrade {RUNTIMES[file.backend][0]}"
    try:
        classifier = Classifier(file, threads=1)
        difference = deviation(classifier)
    except Exception as error:  # whatever a broken runtime or manifest raises
        # Of a runtime that is broken as a whole, the message has the command.
        remedy = "" if isinstance(error, MissingRuntimeError) else update
        return Finding("fault", "loading", f"{name} on {file.backend}: {_reason(error)}", remedy)
    if difference is None:
        return Finding(
            "note", "backend", f"{name} loads on {file.backend}; its manifest has no reference answer"
        )
    unit = "step" if file.precision == "int8" else "logit"
    if difference <= tolerance(classifier):
        return Finding("ok", "backend", f"{name} loads on {file.backend} and computes correctly")
    other = next(backend for backend in BACKENDS if backend != file.backend)
    return Finding(
        "fault",
        "backend",
        f"{name} computes wrongly on {file.backend}: the reference face's logits are off by {difference:.3g} "
        f"{unit}{'s' * (difference != 1)} (at most {tolerance(classifier):g})",
        f"--backend {other}; {update}, or an older version",
    )


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, (FerEdgeError, ImportError, OSError)) else repr(error)


def _crops() -> Finding:
    path = "C kernels" if EXTENSION else "NumPy path"
    remedy = "export FER_EDGE_PURE=1, or build it again" if EXTENSION else "pip install --upgrade numpy"
    try:
        wrong = wrong_crops()
    except Exception as error:  # whatever a broken kernel raises
        return Finding("fault", "crops", f"{path}: fails with {error!r}", remedy)
    if not wrong:
        return Finding("ok", "crops", f"{path}: same bytes as everywhere")
    return Finding(
        "fault", "crops", f"{path}: computes wrongly, wrong bytes in {', '.join(wrong)} crops", remedy
    )


def _detector() -> Finding:
    try:
        from ..faces.detector import FaceDetector

        detector = FaceDetector()
        import cv2

        detector.detect(np.zeros((120, 160, 3), np.uint8))
        return Finding("ok", "detector", f"YuNet loads on {detector.engine}, OpenCV {cv2.__version__}")
    except Exception as error:  # an OpenCV half uninstalled raises AttributeError
        return Finding("fault", "detector", _reason(error))
