"""Writing the manifest: a model's entry, and putting files and entry into a folder so that they match."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fer_edge import __version__
from fer_edge.errors import DataError, ModelError
from fer_edge.files import write_text
from fer_edge.labels import EMOTIONS, Labels
from fer_edge.models.manifest import MANIFEST_FORMAT, MANIFEST_NAME, PRECISIONS, SUFFIXES, read_manifest
from fer_edge.models.people import People
from fer_edge.train.provenance import distinct

from .convert import Converted

_PACKAGES = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "onnx", "onnxruntime", "numpy")


def model_entry(
    name: str,
    state: dict[str, Any],
    files: Mapping[str, Converted],
    *,
    parameters: int,
    temperature: dict[Labels, float],
    people: People | None,
    fitted_on: str,
    balance_from: str | None,
    calibration: dict[str, Any],
) -> dict[str, Any]:
    """What the manifest records of a model before the check: files, training, calibration, versions.

    ``state`` is its checkpoint, ``files`` the converted ones by name; ``fitted_on`` says which rows gave
    temperature and settings, ``balance_from`` what gave the balance T among these.
    """
    return {
        "architecture": state["architecture"],
        "parameters": parameters,
        "contrast": bool(state["architecture"].get("contrast", False)),
        "epochs": state["epoch"],
        "training_options": state["options"],
        **({"bank_views": state["bank_views"]} if "bank_views" in state else {}),
        "training_log": f"{name}-training.csv",
        "origin": [
            {key: stage[key] for key in stage if key != "history"}
            for stage in distinct(state.get("origin", []))
        ],
        "temperature": temperature,
        "fitted_on": fitted_on,
        "training_held_out": state.get("held_out"),
        **({} if people is None else {"people": asdict(people), "balance_from": balance_from}),
        "calibration": calibration,
        "versions": _versions(),
        "files": {
            file: {
                "backend": converted.backend,
                "precision": converted.precision,
                "bytes": len(converted.content),
                "sha256": hashlib.sha256(converted.content).hexdigest(),
                "input": asdict(converted.input),
                "outputs": {head: asdict(spec) for head, spec in converted.outputs.items()},
            }
            for file, converted in files.items()
        },
    }


def write_manifest(folder: Path, models: dict[str, Any]) -> None:
    """Write a manifest of these models into ``folder``."""
    write_text(folder / MANIFEST_NAME, _json({**_empty_manifest(), "models": models}))


def publish(folder: Path, staging: Path, name: str, entry: dict[str, Any], force: bool) -> None:
    """Move the checked files into ``folder`` so that its manifest never lists what does not match.

    ``staging`` holds them. Another export into the same folder waits. While files are exchanged the
    model is not listed.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refuse_overwriting(folder, name, force)
        manifest = existing_manifest(folder)
        if manifest["models"].pop(name, None) is not None:
            write_text(folder / MANIFEST_NAME, _json(manifest))
        log = entry.get("training_log")
        for file in (*entry["files"], *([log] if log else [])):
            (staging / file).replace(folder / file)
        manifest["models"][name] = entry
        write_text(folder / MANIFEST_NAME, _json(manifest))
    finally:
        os.close(lock)


def refuse_file(folder: Path) -> None:
    """Raise DataError where ``folder`` is something else already, or what it lies in is."""
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise DataError(
            f"{there}: is no folder; --out names the folder that the model's files are written into"
        )


def refuse_overwriting(folder: Path, name: str, force: bool) -> None:
    """Raise ModelError where the model, or one of its files, is there and not to be replaced."""
    if force:
        return
    if name in existing_manifest(folder)["models"]:
        raise ModelError(f"{folder}: already holds the model {name!r}; --force replaces it")
    for precision in PRECISIONS:
        for suffix in SUFFIXES.values():
            path = folder / f"{name}-{precision}{suffix}"
            if path.exists():
                raise ModelError(f"{path}: exists already; --force replaces it")


def existing_manifest(folder: Path) -> dict[str, Any]:
    """What ``folder`` holds already; a manifest without models where there is none."""
    if (folder / MANIFEST_NAME).exists():
        return {**read_manifest(folder), "format": MANIFEST_FORMAT}
    return _empty_manifest()


def _empty_manifest() -> dict[str, Any]:
    return {"format": MANIFEST_FORMAT, "labels": list(EMOTIONS), "models": {}}


def _versions() -> dict[str, str]:
    return {"fer-edge": __version__, "python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in _PACKAGES
    }


def _json(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=2) + "\n"
