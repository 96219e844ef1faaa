"""A run whose loss or weights are no longer finite is stopped, and nothing of that epoch is saved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from fer_edge.errors import FerEdgeError

RunKind = Literal["plain", "fine-tuning", "recipe"]
"""Kinds of run by what their user may change: a recipe fixes the rate, fine-tuning where it begins."""


class TrainingError(FerEdgeError, RuntimeError):
    """Training cannot go on; the checkpoints keep what was reached."""

    exit_code = 1


class DivergedError(Exception):
    """Loss or weights are not finite numbers."""


def refuse_infinite(net: nn.Module, averaged: nn.Module, row: dict[str, float]) -> None:
    """Raise DivergedError where an epoch's last step, whose loss nobody saw, spoilt the weights."""
    where = f"in epoch {row['epoch']:.0f}"
    infinite = [name for name, value in row.items() if not math.isfinite(value)]
    if infinite:
        raise DivergedError(f"{infinite[0]} became {row[infinite[0]]} {where}")
    tensors = (*net.state_dict().values(), *averaged.state_dict().values())
    # One question to the device instead of one for each tensor.
    if not bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all()):
        raise DivergedError(f"weights became infinite, or no numbers, {where}")


def way_out(out: Path, history: Sequence[dict[str, float]], kind: RunKind) -> str:
    """What can be done after a run of this kind diverged that had saved these rows."""
    saved = f"{out / 'last.pt'} keeps epoch {history[-1]['epoch']:.0f}" if history else "nothing was saved"
    if kind == "recipe":
        return f"{saved} of this stage: start anew with another --seed and another --out"
    if not history:
        return f"{saved}: try a lower --learning-rate"
    anew = f"{saved}: start anew with a lower --learning-rate and another --out"
    return f"{anew}, or train that further with --initial-weights" if kind == "plain" else anew
