"""``recipe.json``: what a recipe was run with, and which of its stages are finished."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_edge import __version__
from fer_edge.errors import DataError
from fer_edge.files import write_text

from .data import RESULTS, TrainingData, refuse_overwriting
from .logits_file import LOGITS_NAME

RECORD_NAME = "recipe.json"
FORMAT = "fer-edge recipe 1"

_FORMER_STAGES = ("beginning", "pretraining", "settling")
"""Stages of earlier versions' recipes."""


class RecipeRecord:
    """The record in a recipe's folder.

    ``given`` is what the command named in place of the recipe's own: ``teachers``, ``initial_weights``,
    ``minutes``. Raises DataError where ``out`` holds the record of another recipe, of another seed, of
    something else that was given, or of an earlier version with other stages.
    """

    def __init__(
        self,
        out: Path,
        student: str,
        given: dict[str, Any],
        data: TrainingData,
        *,
        seed: int,
        processes: int,
        device: str,
    ) -> None:
        self._path = out / RECORD_NAME
        before = _read(self._path)
        _refuse_former_stages(out)
        _refuse_other(out, before, student, given, seed)
        self.begun = bool(before)
        """Whether an earlier command wrote it."""
        self.device: str = before.get("device", "cuda" if before else torch.device(device).type)
        """The kind of device that it was begun on, by which its options go: ``cpu`` or ``cuda``.

        Earlier versions did not record it, and had those of a GPU everywhere.
        """
        self._stages_before = before.get("stages", [])
        versions = {
            "fer-edge": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        }
        self._content = {
            "format": FORMAT,
            "student": student,
            "seed": seed,
            "processes": processes,
            "device": self.device,
            "rows": {"training": len(data.faces), "validation": len(data.val_faces)},
            "votes": data.votes is not None,
            "given": given,
            "versions": before.get("versions", versions),
        }

    def write(self, stages: list[dict[str, Any]]) -> None:
        """Write that these ``stages`` are finished; later ones of an earlier command stay recorded."""
        stages = stages + self._stages_before[len(stages) :]
        entries = [{key: stage[key] for key in stage if key != "history"} for stage in stages]
        write_text(self._path, json.dumps({**self._content, "stages": entries}, indent=2) + "\n")


def check_recipe_folder(out: Path, *, resume: bool) -> None:
    """Raise DataError where the folder, which may be missing, holds another run, or none to resume."""
    begun = any((out / name).exists() for name in (RECORD_NAME, LOGITS_NAME)) or any(out.glob("*/last.pt"))
    if begun and not resume:
        raise DataError(f"{out}: already holds a run; --resume continues it, another --out starts a new one")
    if resume and not begun:
        raise DataError(f"{out}: nothing to resume, no stage of a recipe was begun there")
    if not begun:
        refuse_overwriting(out, ("last.pt", *RESULTS))


def _read(path: Path) -> dict[str, Any]:
    """The record at ``path``, nothing where there is none; raises DataError."""
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not the record of a recipe ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DataError(f"{path}: not the record of a recipe (expected format {FORMAT!r})")
    for key, kind in (("given", dict), ("stages", list)):
        if not isinstance(record.get(key, kind()), kind):
            raise DataError(f"{path}: damaged; {key!r} is not a JSON {'object' if kind is dict else 'array'}")
    return record


def _refuse_former_stages(out: Path) -> None:
    for stage in _FORMER_STAGES:
        if (out / stage / "last.pt").exists():
            raise DataError(
                f"{out}: begun by an earlier version of fer-edge, whose recipe had a stage {stage!r}; finish "
                "it with that version, or choose another --out"
            )


def _refuse_other(out: Path, before: dict[str, Any], student: str, given: dict[str, Any], seed: int) -> None:
    """Raise DataError where the recipe in ``out`` was another, or was begun with other nets or seed."""
    if not before:
        return
    for name, value in before.get("given", {}).items():
        if value and name not in given:
            raise DataError(
                f"{out}: begun by another version of fer-edge, with {name} {_several(value)}; finish it with "
                "that version, or choose another --out"
            )
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
