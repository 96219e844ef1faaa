"""The head for people's votes alone, on the features of a network that stay as they are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_edge import __version__
from fer_edge.errors import DataError
from fer_edge.files import write_text

from . import checkpoint
from .data import TrainingData, prepare_folder
from .losses import vote_loss
from .metrics import metrics_csv
from .model import EmotionNet
from .pretrained import exported_record, is_exported, pretrained_net
from .provenance import INITIAL_WEIGHTS, describe, held_out_record
from .validation import validate

STAGE = "people only"
WEIGHT_DECAY = 3e-4
_STEPS = 500
_BATCH = 256
_CURVATURE = 0.1
"""Second derivative of the cross-entropy by a logit, in order of magnitude."""


def train_people_only(
    data: TrainingData,
    out: Path,
    *,
    initial_weights: str,
    weight_decay: float = WEIGHT_DECAY,
    device: str = "cpu",
) -> dict[str, float]:
    """Fit the people head of a checkpoint or exported model, and write ``last.pt`` and ``metrics.csv``.

    Everything else of that network stays as it is, to the bit. Returns one row of :data:`.metrics.METRICS`.
    Raises DataError where the data have no votes or the folder holds a run, CheckpointError, ModelError,
    MissingExtraError.
    """
    if data.votes is None:
        raise DataError("the people head learns from FER+ votes; there are none (--votes CSV)")
    if Path(initial_weights).suffix == ".npz":
        raise DataError(f"{initial_weights}: holds answers, which have no features; want a checkpoint")
    started = time.perf_counter()
    net = pretrained_net(initial_weights).to(device)
    origin = describe([initial_weights], INITIAL_WEIGHTS)
    prepare_folder(out, resume=False)
    faces, votes = (torch.from_numpy(array).to(device) for array in (data.faces, data.votes))
    loss = fit_people(net, faces, votes, weight_decay)
    val_faces, val_labels = (torch.from_numpy(a).to(device) for a in (data.val_faces, data.val_labels))
    val_votes = None if data.val_votes is None else torch.from_numpy(data.val_votes).to(device)
    row = {
        "epoch": 1.0,
        "train_loss": loss,
        **validate(net, val_faces, val_labels, votes=val_votes),
        "seconds": time.perf_counter() - started,
    }
    state = {
        "architecture": net.architecture.to_dict(),
        "options": {"model": _model_name(initial_weights), "people_only": True, "weight_decay": weight_decay},
        "torch": str(torch.__version__),
        "fer-edge": __version__,
        "rows": len(data.faces),
        "epoch": 1,
        "history": [row],
        "stage": STAGE,
        "origin": origin,
        "held_out": held_out_record(data, origin),
        "ema": {name: value.cpu() for name, value in net.state_dict().items()},
    }
    write_text(out / "metrics.csv", metrics_csv([row]))
    checkpoint.save(out / "last.pt", state)
    return row


def fit_people(net: EmotionNet, faces: Tensor, votes: Tensor, weight_decay: float) -> float:
    """Give ``net`` the people head that fits ``votes`` (n, 9) on uint8 ``faces`` (n, 48, 48) best, in place.

    The loss is :func:`.losses.vote_loss` over the faces and their mirror images plus half the weight decay
    times the squared weights: convex, so that the result does not depend on where it begins. It is minimized
    by L-BFGS in float64, all images at once. Returns that cross-entropy, without the decay.
    """
    features = torch.cat([_features(net, faces), _features(net, faces.flip(2))]).double()
    targets = torch.cat([votes, votes]).double()
    # Scaled so that the objective is about equally curved in all directions, whatever the features' sizes.
    variance, mean = torch.var_mean(features, 0)
    size = (_CURVATURE * variance + weight_decay).sqrt().clamp(min=1e-6)
    features = (features - mean) / size
    weights = features.new_zeros(votes.shape[1], features.shape[1], requires_grad=True)
    offsets = features.new_zeros(votes.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, offsets],
        max_iter=_STEPS,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        decay = weight_decay / 2 * (weights / size).square().sum()
        value = vote_loss(F.linear(features, weights, offsets), targets) + decay
        value.backward()
        return value

    optimizer.step(closure)
    net.add_people()
    assert net.people is not None
    with torch.no_grad():
        loss = vote_loss(F.linear(features, weights, offsets), targets).item()
        used = weights / size
        net.people.weight.copy_(used)
        net.people.bias.copy_(offsets - used @ mean)
    return loss


@torch.no_grad()
def _features(net: EmotionNet, faces: Tensor) -> Tensor:
    net.eval()
    return torch.cat([net.embed(net.inputs(part)) for part in faces.split(_BATCH)])


def _model_name(weights: str) -> Any:
    record = exported_record(weights)["training_options"] if is_exported(weights) else None
    return (record or checkpoint.load(weights)["options"])["model"]
