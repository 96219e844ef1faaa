"""Names of version 0.1 in checkpoints and manifests, read for one version more, and options that are gone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

OPTIONS = {
    "smoothing": "label_smoothing",
    "calm": "augmentation_decay_start",
    "calm_strength": "augmentation_floor",
}
"""Options of a run, by their former names."""

REMOVED = {"vote_share": 0.0}
"""Options that earlier versions had, each with the value that changed nothing."""

_STAGES = {"beginning": "pretraining"}
_ROLE, _FORMER_ROLE = "initial weights", "given beginning"


class RenamedWarning(FutureWarning):
    """A name of an earlier version was used; the message has the current one."""


def current_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` under their current names."""
    return {OPTIONS.get(name, name): value for name, value in options.items()}


def current_stages(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs that a network builds on (``origin``), their options and stages under current names."""
    return [
        {**stage, "stage": _current_stage(stage["stage"]), "options": current_names(stage["options"])}
        for stage in stages
    ]


def current_state(state: dict[str, Any], where: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint under current names; warns where it has former ones."""
    if "options" not in state:
        return state
    warn_of_former_names(state["options"], where)
    changed: dict[str, Any] = {"options": current_names(state["options"])}
    if "origin" in state:
        changed["origin"] = current_stages(state["origin"])
    if "stage" in state:
        changed["stage"] = _current_stage(state["stage"])
    return {**state, **changed}


def warn_of_former_names(options: Mapping[str, Any], where: str | os.PathLike[str]) -> None:
    """Warn where ``options``, read from the file ``where``, have former names."""
    found = [f"{name} is now called {current}" for name, current in OPTIONS.items() if name in options]
    if found:
        _warn(f"{os.fspath(where)}: written by an earlier version: {', '.join(found)}")


def _current_stage(name: str) -> str:
    if name.startswith(_FORMER_ROLE):
        return _ROLE + name.removeprefix(_FORMER_ROLE)
    return _STAGES.get(name, name)


def _warn(text: str) -> None:
    warnings.warn(f"{text}; the next version will not know the former name", RenamedWarning, stacklevel=3)
