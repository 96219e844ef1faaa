"""The training loop: gradient descent, warm-up and cosine, weight averaging, exact resume, any processes."""

from __future__ import annotations

import copy
import csv
import io
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from fer_edge import __version__
from fer_edge.errors import FerEdgeError
from fer_edge.files import write_text
from fer_edge.labels import EMOTIONS

from . import checkpoint
from .augment import Augmentation, augment
from .crowd import label_logits
from .descent import Descent
from .model import ARCHITECTURES, Architecture, EmotionNet, TwoHeadedNet, fold_batch_norm, normalize
from .processes import Processes, join

METRICS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "seconds",
)


class _DivergedError(Exception):
    """Loss or weights are no finite numbers any more."""


class TrainingError(FerEdgeError, RuntimeError):
    """Training cannot go on; what was reached is in the checkpoints."""

    exit_code = 1


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides the result of a training run.

    model: name of an architecture.
    epochs, warmup: length of the run, and of the linear learning-rate ramp at its start, in epochs.
    batch: images a step, over all processes.
    optimizer: one of :data:`~fer_edge.train.descent.OPTIMIZERS`.
    learning_rate: peak for ``batch`` images; weight_decay: on convolution and linear weights only.
    smoothing: label smoothing (Szegedy et al. 2016, arXiv:1512.00567).
    vote_weight: weight of the crowd-vote loss where votes are given.
    distill_weight, distill_temperature: share of the teachers' targets in the loss, and the
        temperature at which they are compared, where teachers are given (Hinton et al. 2015,
        arXiv:1503.02531).
    vote_share: how much of the teachers' targets comes from what the crowd's votes tell about the
        label, where both are given: the geometric mean of the two, so that where a teacher errs on an
        image, people correct it.
    live_teachers: whether teachers see every varied image the student sees and answer to that
        (Beyer et al. 2021, arXiv:2106.05237), instead of once to each image as it is.
    ema: decay a step of the averaged weights, which are what is validated and exported.
    calm: fraction of the run after which augmentation fades to ``calm_strength`` of its strength.
    mixup: strength of mixing pairs of images and their targets (Zhang et al. 2017, arXiv:1710.09412).
    bfloat16: compute activations in bfloat16; faster where the processor has matrix units for it.
    seed: decides initial weights, order, augmentation and dropout.
    """

    model: str = "edge"
    epochs: int = 80
    warmup: float = 3.0
    batch: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 4e-4
    smoothing: float = 0.1
    vote_weight: float = 0.5
    distill_weight: float = 0.7
    distill_temperature: float = 2.0
    vote_share: float = 0.0
    live_teachers: bool = False
    ema: float = 0.999
    calm: float = 0.75
    calm_strength: float = 0.4
    mixup: float = 0.0
    bfloat16: bool = False
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class TrainingData:
    """What is learned from, and what selects the model.

    faces uint8 (n, 48, 48), labels int64 (n,), votes float32 (n, 9) or None (all FER+ columns but
    NF, rows of zeros where nobody voted); val_faces and val_labels likewise; teacher float32 (n, 7)
    logits, or the networks that are to give them during training, or None.
    """

    faces: NDArray[np.uint8]
    labels: NDArray[np.int64]
    votes: NDArray[np.float32] | None
    val_faces: NDArray[np.uint8]
    val_labels: NDArray[np.int64]
    teacher: NDArray[np.float32] | tuple[EmotionNet, ...] | None = None


@dataclass(frozen=True)
class _Tensors:
    """The training part of :class:`TrainingData` on the device."""

    faces: Tensor
    labels: Tensor
    votes: Tensor | None
    crowd: Tensor | None
    teacher: Tensor | None
    live_teachers: tuple[EmotionNet, ...]


def fit(
    data: TrainingData,
    options: TrainOptions,
    out: Path,
    *,
    start: EmotionNet | None = None,
    resume: bool = False,
    device: str = "cpu",
    on_epoch: Callable[[list[dict[str, float]]], None] | None = None,
    stage: str = "training",
    origin: list[dict[str, Any]] | None = None,
) -> list[dict[str, float]]:
    """Train, and write ``last.pt``, ``best.pt`` and ``metrics.csv`` into ``out`` after every epoch.

    ``start`` is a network to train further instead of a new one. ``resume`` continues from
    ``last.pt`` to the same result as an uninterrupted run. Under ``torchrun`` every process takes
    its share of each batch. Its checkpoints tell that it is the ``stage``, and ``origin``, one
    entry for each run that this one builds on. Returns one row of :data:`METRICS` an epoch. Raises
    TrainingError when loss or weights are no longer finite (what an epoch made of them is not saved),
    CheckpointError when the run to be resumed had other options.
    """
    processes = join(device)
    if min(options.batch, len(data.faces)) < processes.count:
        raise TrainingError(f"a batch of {options.batch} cannot be shared by {processes.count} processes")
    target = torch.device(device)
    torch.manual_seed(options.seed)
    bare = EmotionNet(ARCHITECTURES[options.model]) if start is None else start
    architecture = bare.architecture
    net: nn.Module = bare if data.votes is None else TwoHeadedNet(bare)
    net.to(target)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(net, multi_avg_fn=_moving_average(options.ema), use_buffers=True)
    descent = Descent(net, options.optimizer, options.learning_rate, options.weight_decay)
    history: list[dict[str, float]] = []
    origin = origin or []
    if resume:
        state = _resumable(out / "last.pt", options, data, processes)
        # A checkpoint of an older version does not tell.
        origin = state.get("origin") or origin
        net.load_state_dict(state["net"])
        averaged.load_state_dict(state["averaged"])
        descent.load_state_dict(state["optimizer"])
        history = state["history"]
    wrapped = DistributedDataParallel(net) if processes.count > 1 else net

    tensors = _Tensors(
        faces=torch.from_numpy(data.faces).to(target),
        labels=torch.from_numpy(data.labels).to(target),
        votes=None if data.votes is None else torch.from_numpy(data.votes).to(target),
        crowd=(
            torch.from_numpy(label_logits(data.votes, data.labels)).to(target)
            if options.vote_share > 0 and data.votes is not None and data.teacher is not None
            else None
        ),
        teacher=torch.from_numpy(data.teacher).to(target) if isinstance(data.teacher, np.ndarray) else None,
        live_teachers=tuple(
            _folded(teacher).to(target)
            for teacher in (data.teacher if isinstance(data.teacher, tuple) else ())
        ),
    )
    val_faces = torch.from_numpy(data.val_faces).to(target)
    val_labels = torch.from_numpy(data.val_labels).to(target)

    for epoch in range(len(history), options.epochs):
        started = time.perf_counter()
        try:
            train = _train_epoch(
                net,
                wrapped,
                averaged,
                descent,
                tensors,
                options,
                epoch,
                processes,
                history,
            )
            row = {"epoch": float(epoch + 1), "learning_rate": descent.learning_rate, **train}
            if processes.first:
                row.update(validate(_emotion_net(averaged.module), val_faces, val_labels, options.bfloat16))
            _refuse_infinite(net, averaged, row)
        except _DivergedError as error:
            raise TrainingError(f"{error} in epoch {epoch + 1}; {_way_out(out, len(history))}") from error
        row["seconds"] = time.perf_counter() - started
        history.append(row)
        if processes.first:
            _save_epoch(
                out,
                options,
                architecture,
                net,
                averaged,
                descent,
                history,
                data,
                processes,
                {"stage": stage, "origin": origin},
            )
            if on_epoch is not None:
                on_epoch(history)
    processes.wait()
    return history


def validate(net: EmotionNet, faces: Tensor, labels: Tensor, bfloat16: bool = False) -> dict[str, float]:
    """Mean cross-entropy and accuracy of ``net`` on uint8 faces (n, 48, 48), labels int64 (n,)."""
    logits = predict_logits(net, faces, bfloat16=bfloat16)
    return {
        "val_loss": F.cross_entropy(logits, labels).item(),
        "val_accuracy": (logits.argmax(1) == labels).float().mean().item(),
    }


def predict_logits(net: EmotionNet, faces: Tensor, batch: int = 256, bfloat16: bool = False) -> Tensor:
    """Logits float32 (n, 7) of uint8 faces (n, 48, 48) in evaluation mode."""
    training = net.training
    net.eval()
    with torch.no_grad(), torch.autocast(faces.device.type, torch.bfloat16, enabled=bfloat16):
        logits = torch.cat([net(normalize(part)) for part in faces.split(batch)]).float()
    net.train(training)
    return logits


def learning_rate(options: TrainOptions, epoch: float) -> float:
    """Linear ramp over ``warmup`` epochs, then half a cosine down to zero at ``epochs``."""
    if epoch < options.warmup:
        return options.learning_rate * max(epoch, 1e-3) / options.warmup
    progress = (epoch - options.warmup) / max(options.epochs - options.warmup, 1e-9)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def augmentation_strength(options: TrainOptions, epoch: int) -> float:
    """1 until ``calm`` of the run is over, then falling linearly to ``calm_strength``."""
    start = options.calm * options.epochs
    if epoch < start or options.calm >= 1:
        return 1.0
    progress = (epoch - start) / max(options.epochs - 1 - start, 1)
    return 1.0 + (options.calm_strength - 1.0) * min(progress, 1.0)


def _train_epoch(
    net: nn.Module,
    model: nn.Module,
    averaged: AveragedModel,
    descent: Descent,
    tensors: _Tensors,
    options: TrainOptions,
    epoch: int,
    processes: Processes,
    history: list[dict[str, float]],
) -> dict[str, float]:
    faces, labels, votes, teacher = tensors.faces, tensors.labels, tensors.votes, tensors.teacher
    generator = torch.Generator(device=faces.device)
    generator.manual_seed(_epoch_seed(options.seed, epoch, processes.rank))
    torch.manual_seed(_epoch_seed(options.seed, epoch, processes.rank))
    variation = options.augmentation.scaled(augmentation_strength(options, epoch))
    batches = list(_batches(len(faces), options, epoch, processes))
    bar = tqdm(
        batches,
        desc=f"epoch {epoch + 1}/{options.epochs}",
        unit="batch",
        leave=False,
        disable=None if processes.first else True,
    )
    if history:
        bar.set_postfix(val=f"{history[-1].get('val_accuracy', math.nan):.4f}")
    total_loss, correct, seen = 0.0, 0, 0
    model.train()
    for step, indices in enumerate(bar):
        descent.learning_rate = learning_rate(options, epoch + step / len(batches))
        index = indices.to(faces.device)
        inputs = normalize(augment(faces[index], variation, generator))
        goals = {"labels": smooth_targets(labels[index], options.smoothing)}
        if votes is not None:
            goals["votes"] = votes[index]
        crowd = None if tensors.crowd is None else tensors.crowd[index]
        if teacher is not None:
            goals["teacher"] = _teaching(teacher[index], crowd, options)
        elif crowd is not None:
            goals["crowd"] = crowd
        if options.mixup > 0:
            inputs, goals = mix(inputs, goals, options.mixup, generator)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(faces.device.type, torch.bfloat16, enabled=options.bfloat16):
            if tensors.live_teachers:
                answers = _answers(tensors.live_teachers, inputs)
                goals["teacher"] = _teaching(answers, goals.get("crowd"), options)
            output = model(inputs)
        logits = (output[0] if votes is not None else output).float()
        objective = loss = soft_cross_entropy(logits, goals["labels"])
        if "teacher" in goals:
            objective = (1 - options.distill_weight) * loss + options.distill_weight * _distillation_loss(
                logits, goals["teacher"], options.distill_temperature
            )
        if "votes" in goals:
            objective = objective + options.vote_weight * _vote_loss(output[1].float(), goals["votes"])
        if not math.isfinite(objective.item()):
            raise _DivergedError(f"the loss became {objective.item()} in step {step + 1}")
        descent.zero_grad()
        objective.backward()
        descent.step()
        averaged.update_parameters(net)
        total_loss += loss.item() * len(index)
        correct += int((logits.argmax(1) == goals["labels"].argmax(1)).sum())
        seen += len(index)
    return {"train_loss": total_loss / seen, "train_accuracy": correct / seen}


def _refuse_infinite(net: nn.Module, averaged: nn.Module, row: dict[str, float]) -> None:
    """Raise _DivergedError where an epoch's last step, whose loss nobody saw, spoilt the weights."""
    infinite = [name for name, value in row.items() if not math.isfinite(value)]
    if infinite:
        raise _DivergedError(f"{infinite[0]} became {row[infinite[0]]}")
    for tensor in (*net.state_dict().values(), *averaged.state_dict().values()):
        if not bool(tensor.isfinite().all()):
            raise _DivergedError("weights became infinite, or no numbers,")


def _way_out(out: Path, epochs: int) -> str:
    """What can be done after a run diverged that had saved so many epochs."""
    if not epochs:
        return "nothing was saved: try a lower --learning-rate"
    return (
        f"{out / 'last.pt'} keeps epoch {epochs}: start anew with a lower --learning-rate and another --out, "
        "or train that further with --beginning"
    )


def best_row(history: list[dict[str, float]]) -> dict[str, float]:
    """The epoch of the best validation accuracy; where several have it, that of the least loss."""
    return max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))


def distinct(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each training run once, though a net may build on it by way of several others."""
    found: list[dict[str, Any]] = []
    for stage in stages:
        if stage not in found:
            found.append(stage)
    return found


def metrics_csv(history: list[dict[str, float]]) -> str:
    """The rows of a run in :data:`METRICS`, as CSV."""
    return _csv([METRICS, *(_cells(row) for row in history)])


def training_log(state: dict[str, Any]) -> str:
    """The course of a checkpoint's run, up to that checkpoint, and of those it builds on, as CSV.

    The first column names the stage, the others are :data:`METRICS`. Checkpoints of older versions did
    not keep the course of their teachers.
    """
    stages = [
        *distinct(state.get("origin", [])),
        {"stage": state.get("stage", "training"), "history": state["history"]},
    ]
    rows = [(stage["stage"], *_cells(row)) for stage in stages for row in stage.get("history", [])]
    return _csv([("stage", *METRICS), *rows])


def _cells(row: dict[str, float]) -> list[str]:
    return [f"{row[name]:.6g}" for name in METRICS]


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def smooth_targets(labels: Tensor, smoothing: float) -> Tensor:
    """Target distributions, float32 (n, 7): ``smoothing`` spread evenly, the rest on the label."""
    classes = len(EMOTIONS)
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (n, k) against target distributions (n, k)."""
    return -(targets * F.log_softmax(logits, 1)).sum(1).mean()


def mix(
    inputs: Tensor, goals: dict[str, Tensor], strength: float, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Blend each image with another of the batch, and all that is to be learned of them alike.

    One share a batch, from Beta(strength, strength) (Zhang et al. 2017, arXiv:1710.09412).
    """
    share = float(torch.distributions.Beta(strength, strength).sample())
    order = torch.randperm(len(inputs), generator=generator, device=inputs.device)

    def blend(values: Tensor) -> Tensor:
        return share * values + (1 - share) * values[order]

    return blend(inputs), {name: blend(values) for name, values in goals.items()}


@torch.no_grad()
def _answers(teachers: Sequence[EmotionNet], inputs: Tensor) -> Tensor:
    """Mean logits, float32 (n, 7), of normalized images (n, 1, 48, 48)."""
    return torch.stack([teacher(inputs).float() for teacher in teachers]).mean(0)


def _folded(teacher: EmotionNet) -> EmotionNet:
    """A copy that gives the same answers in less time: its batch norms are in the convolutions."""
    copied = copy.deepcopy(teacher).eval()
    fold_batch_norm(copied)
    return copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _teaching(answers: Tensor, crowd: Tensor | None, options: TrainOptions) -> Tensor:
    """Targets (n, 7) at the temperature of comparison, from logits of teachers and of the crowd."""
    if crowd is not None:
        answers = (1 - options.vote_share) * answers + options.vote_share * crowd
    return F.softmax(answers / options.distill_temperature, 1)


def _distillation_loss(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Cross-entropy at ``temperature``, scaled so that its gradient does not depend on that."""
    return temperature**2 * soft_cross_entropy(logits / temperature, targets)


def _vote_loss(logits: Tensor, votes: Tensor) -> Tensor:
    """Cross-entropy against the distribution of votes; rows without votes count nothing."""
    total = votes.sum(1, keepdim=True)
    losses = -(votes / total.clamp(min=1e-6) * F.log_softmax(logits, 1)).sum(1)
    voted = (total[:, 0] > 0).float()
    return (losses * voted).sum() / voted.sum().clamp(min=1)


def _batches(count: int, options: TrainOptions, epoch: int, processes: Processes) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(_epoch_seed(options.seed, epoch, -1))
    order = torch.randperm(count, generator=generator)
    size = min(options.batch, count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size][processes.rank :: processes.count]


def _moving_average(decay: float) -> Callable[..., None]:
    """Exponential averaging whose memory grows with the steps made, so that early weights fade fast.

    Without the ramp the initial batch-norm variances outweigh the real ones for thousands of steps.
    """

    def average(averages: list[Tensor], values: list[Tensor], count: Tensor | int) -> None:
        steps = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averages, values, count)

    return average


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    return int(
        np.random.SeedSequence([seed, epoch, rank + 1]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    )


def _emotion_net(module: nn.Module) -> EmotionNet:
    net = module.net if isinstance(module, TwoHeadedNet) else module
    assert isinstance(net, EmotionNet)
    return net


def _identity(data: TrainingData, processes: Processes) -> dict[str, int]:
    """What besides the options has to be the same for a run to go on to the same result."""
    arrays = {
        "training images": data.faces,
        "training labels": data.labels,
        "votes": np.empty(0, np.float32) if data.votes is None else data.votes,
        "teachers": _teachers_identity(data.teacher),
        "validation images": data.val_faces,
        "validation labels": data.val_labels,
    }
    checks = {name: zlib.crc32(np.ascontiguousarray(array).data) for name, array in arrays.items()}
    return {"number of processes": processes.count, **checks}


def _teachers_identity(teacher: NDArray[np.float32] | tuple[EmotionNet, ...] | None) -> NDArray[np.float32]:
    if isinstance(teacher, np.ndarray):
        return teacher
    tensors = [tensor.cpu().float() for net in teacher or () for tensor in net.state_dict().values()]
    return np.concatenate([np.empty(0), *(tensor.numpy().ravel() for tensor in tensors)], dtype=np.float32)


def _resumable(path: Path, options: TrainOptions, data: TrainingData, processes: Processes) -> dict[str, Any]:
    """The checkpoint at ``path``; raises CheckpointError where this run would not continue that one."""
    state = checkpoint.load(path)
    if not {"net", "averaged", "optimizer", "history", "identity"} <= state.keys():
        raise checkpoint.CheckpointError(f"{path}: has no training state; only last.pt can be resumed")
    # An older version's checkpoint lacks the options that came later, which it left at their defaults.
    defaults = asdict(TrainOptions())
    before = defaults | {"optimizer": "sgd"} | state["options"]
    before["augmentation"] = defaults["augmentation"] | before["augmentation"]
    different = [
        f"{name} was {before[name]!r}, now {value!r}"
        for name, value in asdict(options).items()
        if before[name] != value
    ]
    different += [
        f"the {name} differ" if name != "number of processes" else f"{name} was {state['identity'].get(name)}"
        for name, value in _identity(data, processes).items()
        if state["identity"].get(name) != value
    ]
    if different:
        raise checkpoint.CheckpointError(f"{path}: cannot be resumed: " + "; ".join(different))
    return state


def _save_epoch(
    out: Path,
    options: TrainOptions,
    architecture: Architecture,
    net: nn.Module,
    averaged: AveragedModel,
    descent: Descent,
    history: list[dict[str, float]],
    data: TrainingData,
    processes: Processes,
    provenance: dict[str, Any],
) -> None:
    state = {
        "architecture": architecture.to_dict(),
        "options": asdict(options),
        "torch": str(torch.__version__),
        "fer-edge": __version__,
        "rows": len(data.faces),
        "epoch": len(history),
        "history": copy.deepcopy(history),
        **provenance,
        "ema": _emotion_net(averaged.module).state_dict(),
    }
    if best_row(history) is history[-1]:
        checkpoint.save(out / "best.pt", state)
    write_text(out / "metrics.csv", metrics_csv(history))
    # Last, because an epoch that is in last.pt is not repeated.
    resumable = {
        "identity": _identity(data, processes),
        "net": net.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": descent.state_dict(),
    }
    checkpoint.save(out / "last.pt", state | resumable)
