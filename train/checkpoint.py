"""Training checkpoints: plain tensors and numbers, written in one step, loaded without pickled code."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from fer_edge.errors import FerEdgeError
from fer_edge.files import atomic_path

from .architectures import Architecture
from .model import EmotionNet
from .renamed import current_state

FORMAT = "fer-edge checkpoint 1"


class CheckpointError(FerEdgeError, ValueError):
    """A checkpoint cannot be read or does not fit the request."""


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) under ``path``; raises OSError."""
    # By way of memory, because torch.save hides why a disk refuses.
    content = io.BytesIO()
    torch.save({"format": FORMAT, **state}, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what :func:`save` wrote, under current names; raises CheckpointError for anything else."""
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such checkpoint; fer-edge train writes best.pt and last.pt")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a fer-edge checkpoint (expected format {FORMAT!r})")
    return current_state(state, path)


def load_net(path: str | os.PathLike[str]) -> tuple[EmotionNet, dict[str, Any]]:
    """The averaged network of a checkpoint in evaluation mode, and the whole checkpoint."""
    state = load(path)
    try:
        architecture = Architecture.from_dict(state["architecture"])
        net = EmotionNet(architecture, people="people.weight" in state["ema"])
        net.load_state_dict(state["ema"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: damaged, or of another version of fer-edge ({error!r:.200})"
        ) from error
    if not all(bool(value.isfinite().all()) for value in net.state_dict().values()):
        raise CheckpointError(f"{path}: holds weights that are not finite numbers")
    return net.eval(), state
