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
from fer_edge.fer2013.reader import FerDataset
from fer_edge.files import write_text

from . import checkpoint
from .data import TrainingData, prepare_folder
from .linear_fit import minimize, people_features, scale_of
from .losses import vote_loss
from .metrics import metrics_csv
from .model import EmotionNet
from .people_faces import WEIGHT, missed, move_people
from .people_faces import WEIGHT_DECAY as MOVING_WEIGHT_DECAY
from .pretrained import exported_record, is_exported, pretrained_net
from .provenance import INITIAL_WEIGHTS, describe, held_out_record
from .validation import validate

STAGE = "people only"
WEIGHT_DECAY = 3e-4


def train_people_only(
    data: TrainingData,
    out: Path,
    *,
    initial_weights: str,
    own: FerDataset | None = None,
    own_weight: float = WEIGHT,
    weight_decay: float | None = None,
    device: str = "cpu",
) -> dict[str, float]:
    """Fit the people head of a checkpoint or exported model, and write ``last.pt``, then ``metrics.csv``.

    With ``own`` labelled faces, of ``own_weight``, it is moved by these instead, see
    :func:`.people_faces.move_people`. The weight decay, where none is given, is :data:`WEIGHT_DECAY`, or that
    of :mod:`.people_faces`. Everything else of that network stays as it is, to the bit. Returns one row of
    :data:`.metrics.METRICS`. Raises DataError where the data have no votes, the network no people head to be
    moved, or one that misses nothing, or the folder holds a run; CheckpointError, ModelError,
    MissingExtraError.
    """
    if data.votes is None:
        raise DataError("the people head learns from FER+ votes; there are none (--votes CSV)")
    if Path(initial_weights).suffix == ".npz":
        raise DataError(f"{initial_weights}: holds answers, which have no features; want a checkpoint")
    started = time.perf_counter()
    net = pretrained_net(initial_weights).to(device)
    if own is not None and net.people is None:
        raise DataError(f"{initial_weights}: has no people head to be moved; without --faces it gets one")
    if own is not None and not missed(net, own):
        raise DataError(
            f"{initial_weights}: answers all {len(own)} faces with their labels already; nothing to move"
        )
    origin = describe([initial_weights], INITIAL_WEIGHTS)
    prepare_folder(out, resume=False)
    if weight_decay is None:
        weight_decay = WEIGHT_DECAY if own is None else MOVING_WEIGHT_DECAY
    options = {"model": _model_name(initial_weights), "people_only": True, "weight_decay": weight_decay}
    faces, votes = (torch.from_numpy(array).to(device) for array in (data.faces, data.votes))
    if own is None:
        loss = fit_people(net, faces, votes, weight_decay)
    else:
        loss = move_people(net, faces, own, weight=own_weight, weight_decay=weight_decay)
        options |= {"own_faces": len(own), "own_weight": own_weight}
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
        "options": options,
        "torch": str(torch.__version__),
        "fer-edge": __version__,
        "rows": len(data.faces),
        "epoch": 1,
        "history": [row],
        "stage": STAGE,
        "origin": origin,
        "held_out": held_out_record(data, origin),
        "detected": data.detected,
        "ema": {name: value.cpu() for name, value in net.state_dict().items()},
    }
    # First the result, without which a folder with other files could not be begun anew.
    checkpoint.save(out / "last.pt", state)
    write_text(out / "metrics.csv", metrics_csv([row]))
    return row


def fit_people(net: EmotionNet, faces: Tensor, votes: Tensor, weight_decay: float) -> float:
    """Give ``net`` the people head that fits ``votes`` (n, 9) on uint8 ``faces`` (n, 48, 48) best, in place.

    The loss is :func:`.losses.vote_loss` over the faces and their mirror images plus half the weight decay
    times the squared weights: convex, so that the result does not depend on where it begins. It is minimized
    by L-BFGS in float64, all images at once. Returns that cross-entropy, without the decay.
    """
    features = torch.cat([people_features(net, faces), people_features(net, faces.flip(2))]).double()
    targets = torch.cat([votes, votes]).double()
    mean, size = scale_of(features, weight_decay)
    features = (features - mean) / size
    weights = features.new_zeros(votes.shape[1], features.shape[1])
    offsets = features.new_zeros(votes.shape[1])

    def value() -> Tensor:
        decay = weight_decay / 2 * (weights / size).square().sum()
        return vote_loss(F.linear(features, weights, offsets), targets) + decay

    minimize(value, [weights, offsets])
    net.add_people()
    assert net.people is not None
    with torch.no_grad():
        loss = vote_loss(F.linear(features, weights, offsets), targets).item()
        used = weights / size
        net.people.weight.copy_(used)
        net.people.bias.copy_(offsets - used @ mean)
    return loss


def _model_name(weights: str) -> Any:
    record = exported_record(weights)["training_options"] if is_exported(weights) else None
    return (record or checkpoint.load(weights)["options"])["model"]
