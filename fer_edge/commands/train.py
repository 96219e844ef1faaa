"""``fer-edge train``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, MissingExtraError
from ._arguments import nonempty, positive_int

if TYPE_CHECKING:
    from ..fer2013.reader import FerDataset
    from ..train.loop import TrainingData, TrainOptions
    from ..train.model import EmotionNet

HELP = "Train a model on a FER-2013 CSV; validates on PublicTest rows whose image is not in Training."
EPILOG = """example:
  fer-edge train --data fer2013.csv --out runs/mine
  fer-edge train --data fer2013.csv --votes fer2013new.csv --out runs/mine --resume
  fer-edge train --data fer2013.csv --model teacher --out runs/teacher
  fer-edge train --data fer2013.csv --teacher runs/teacher/best.pt --live-teachers --out runs/distilled
  fer-edge train --faces mine --detect --out runs/mine && fer-edge run --model runs/mine/model
  torchrun --nproc-per-node 2 -m fer_edge.train --data fer2013.csv --out runs/mine
  fer-edge train --recipe edge --data fer2013.csv --votes fer2013new.csv --out runs/edge

writes into --out: last.pt (to resume), best.pt (to export), metrics.csv, learning_curve.png;
with --recipe a folder of these for each stage, recipe.json and the exported model
needs the extra [train]: pip install 'fer-edge[train]'; --model face-teacher and --recipe also [teacher];
--recipe, --faces and an exported model as teacher or beginning also [export]"""

# Type, smallest and largest value, help with the default, and that of --faces where it is another.
_OPTIONS: dict[str, tuple[type, float, float, str]] = {
    "epochs": (int, 1, 10_000, "length of the run (default: 80; 20 with --faces)"),
    "warmup": (float, 0, 10_000, "epochs of linear learning-rate ramp (default: 3; 1 with --faces)"),
    "batch": (int, 1, 1_000_000, "images a step, over all processes (default: 128; 32 with --faces)"),
    "learning_rate": (float, 1e-9, 100, "peak learning rate (default: 0.1; 0.01 with --faces)"),
    "weight_decay": (float, 0, 1, "on convolution and linear weights (default: 0.0004)"),
    "smoothing": (float, 0, 0.9, "label smoothing (default: 0.1)"),
    "vote_weight": (float, 0, 100, "weight of the crowd-vote loss (default: 0.5)"),
    "distill_weight": (float, 0, 1, "share of the teachers' targets in the loss (default: 0.7)"),
    "distill_temperature": (float, 0.1, 100, "temperature at which they are compared (default: 2)"),
    "vote_share": (float, 0, 1, "share of what the votes tell in the teachers' targets (default: 0)"),
    "ema": (float, 0, 0.999999, "decay a step of the averaged weights (default: 0.999; 0.95 with --faces)"),
    "calm": (
        float,
        0,
        1,
        "fraction of the run after which augmentation fades (default: 0.75; 1 with --faces)",
    ),
    "calm_strength": (float, 0, 1, "strength of augmentation at the end (default: 0.4)"),
    "mixup": (float, 0, 10, "strength of mixing pairs of images (default: 0, none)"),
    "seed": (int, 0, 2**62, "decides initial weights, order, augmentation and dropout (default: 1)"),
}

# Options that do nothing without others, and those.
_NEEDED_BY = {
    "detect": ("faces",),
    "vote_weight": ("votes",),
    "vote_share": ("votes", "teacher"),
    "distill_weight": ("teacher",),
    "distill_temperature": ("teacher",),
    "live_teachers": ("teacher",),
}
_MOST_THREADS = 1024
_SKIPPED_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--data",
        type=nonempty,
        metavar="CSV",
        help="FER-2013 CSV, plain or packed; default: the environment variable FER2013_CSV",
    )
    parser.add_argument(
        "--faces",
        type=nonempty,
        metavar="DIR",
        help="instead of a CSV: fine-tune the bundled model on DIR/happy/*.png …, and export it",
    )
    parser.add_argument("--detect", action="store_true", help="find the face in each image of --faces")
    parser.add_argument("--votes", type=nonempty, metavar="CSV", help="FER+ votes in the same row order")
    parser.add_argument(
        "--teacher",
        type=nonempty,
        metavar="FILE",
        action="append",
        default=[],
        help="checkpoint of a larger model to learn from (repeat for several), an exported model (a bundled "
        "one's name, a folder or .onnx file of export-int8), or their stored logits (.npz)",
    )
    parser.add_argument(
        "--beginning",
        type=nonempty,
        metavar="FILE",
        help="checkpoint, or exported model, to train further; with --recipe, what the student begins as",
    )
    parser.add_argument(
        "--out",
        type=lambda text: Path(nonempty(text)),
        metavar="DIR",
        required=True,
        help="folder of the run",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out to the same result")
    parser.add_argument("--skip-bad", action="store_true", help="skip bad rows and say which")
    parser.add_argument("--model", help="architecture (default: edge)")
    parser.add_argument(
        "--recipe",
        type=nonempty,
        metavar="NAME",
        help="all stages of a bundled model (edge, nano), with its own options: teachers unless --teacher "
        "gives them, distillation, export",
    )
    parser.add_argument("--optimizer", help="muon or sgd (default: sgd)")
    for name, (kind, _, _, help_text) in _OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=help_text)
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        default=None,
        help="faster where the processor has matrix units for it",
    )
    parser.add_argument(
        "--live-teachers",
        action="store_true",
        default=None,
        help="teachers answer to every varied image, instead of once to each image as it is",
    )
    parser.add_argument(
        "--poor-camera",
        action="store_true",
        default=None,
        help="vary faces also as cheap cameras do: exposure, few pixels, JPEG compression",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--threads", type=positive_int, help="CPU threads (default: PyTorch's choice)")


def execute(arguments: argparse.Namespace) -> int:
    """Run the training."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("Training", "torch", "train") from error
    from ..checks.plots import require_matplotlib

    require_matplotlib("train")
    _refuse_idle(arguments)
    device = _device(arguments.device)
    if arguments.threads:
        if arguments.threads > _MOST_THREADS:
            raise DataError(f"--threads must be at most {_MOST_THREADS}, got {arguments.threads}")
        torch.set_num_threads(arguments.threads)
    try:
        return _recipe(arguments, device) if arguments.recipe else _one_run(arguments, device)
    except KeyboardInterrupt:
        if _first():
            print(
                f"\nstopped; --resume continues after the last whole epoch in {arguments.out}",
                file=sys.stderr,
            )
        return 130


def _one_run(arguments: argparse.Namespace, device: str) -> int:
    from ..train.data import prepare_folder
    from ..train.loop import best_row, distinct, fit

    options = _train_options(arguments)
    start = None
    if arguments.faces:
        data, dataset, start = _own_faces(arguments, options.model)
    else:
        data, dataset = _fer2013(arguments)
        if not arguments.resume:
            start = _beginning(arguments, options, data)
    # In each process, or the others would wait for one that has given up.
    prepare_folder(arguments.out, resume=arguments.resume)
    origin = []
    if arguments.faces or arguments.beginning or arguments.teacher:
        from ..train.distill import describe, teaching

        begins_as = options.model if arguments.faces else arguments.beginning
        origin = describe([begins_as], "given beginning") if begins_as else []
        if arguments.resume and arguments.beginning:
            _refuse_other_beginning(arguments, origin)
        origin = distinct(origin + describe(arguments.teacher))
    if arguments.teacher:
        taught = teaching(
            arguments.out,
            arguments.teacher,
            data.faces,
            live=options.live_teachers,
            device=device,
            bfloat16=options.bfloat16,
        )
        data = replace(data, teacher=taught)
    _print_rows(data, dataset)
    history = fit(
        data,
        options,
        arguments.out,
        start=start,
        resume=arguments.resume,
        device=device,
        on_epoch=_reporter(arguments.out, options.epochs),
        origin=origin,
    )
    if _first():
        best = best_row(history)
        print(
            f"best validation accuracy {best['val_accuracy']:.2%} after epoch {best['epoch']:.0f}: "
            f"{arguments.out / 'best.pt'}"
        )
        if arguments.faces:
            _export(arguments.out / "best.pt", dataset, arguments.out / "model")
    return 0


def _refuse_other_beginning(arguments: argparse.Namespace, origin: list[dict[str, Any]]) -> None:
    from ..train.checkpoint import load

    before = load(arguments.out / "last.pt").get("origin", [])
    if before[: len(origin)] != origin:
        raise DataError(
            f"--beginning {arguments.beginning}: the run in {arguments.out} was begun otherwise; --resume "
            "needs the same, or none"
        )


def _beginning(arguments: argparse.Namespace, options: TrainOptions, data: TrainingData) -> EmotionNet | None:
    from ..train.beginning import beginning
    from ..train.data import sample
    from ..train.recipe import former_self

    if not arguments.beginning:
        return beginning(options.model, data.faces, options.seed)
    return former_self(options.model, arguments.beginning, sample(data.faces, options.seed))


def _recipe(arguments: argparse.Namespace, device: str) -> int:
    from .export_int8 import require_export

    own = [
        name
        for name in ("faces", "model", "optimizer", "bfloat16", "live_teachers", "poor_camera", *_OPTIONS)
        if name != "seed"
    ]
    given = [f"--{name.replace('_', '-')}" for name in own if getattr(arguments, name) is not None]
    if given:
        raise DataError(f"--recipe decides everything but --seed, so it goes without {', '.join(given)}")
    require_export()
    from ..train.recipe import RECIPES, follow, prepare_recipe_folder

    if arguments.recipe not in RECIPES:
        raise DataError(f"--recipe {arguments.recipe!r}: known are {', '.join(RECIPES)}")
    data, dataset = _fer2013(arguments)
    # In each process, or the others would wait for one that has given up.
    prepare_recipe_folder(arguments.out, resume=arguments.resume)
    _print_rows(data, dataset)
    recipe = RECIPES[arguments.recipe]

    def report(stage: str, history: list[dict[str, float]]) -> None:
        _reporter(arguments.out / stage, recipe.epochs(stage), f"{stage}  ")(history)

    results = follow(
        recipe,
        data,
        arguments.out,
        seed=1 if arguments.seed is None else arguments.seed,
        teachers=tuple(arguments.teacher),
        student_begins=arguments.beginning,
        device=device,
        report=report,
    )
    if _first():
        for result in results:
            print(
                f"{result.stage}: validation accuracy {result.val_accuracy:.2%} after {result.epoch} epochs"
            )
        _export(arguments.out / results[-1].stage / "last.pt", dataset, arguments.out / "model")
    return 0


def _refuse_idle(arguments: argparse.Namespace) -> None:
    """Raise DataError for an option that would do nothing because another one is missing."""
    flags = {"votes": "--votes CSV", "teacher": "--teacher FILE", "faces": "--faces DIR"}
    for option, needed in _NEEDED_BY.items():
        if getattr(arguments, option) and not all(getattr(arguments, name) for name in needed):
            told = " and ".join(flags[name] for name in needed)
            raise DataError(f"--{option.replace('_', '-')} does nothing without {told}")


def _first() -> bool:
    """Whether this process is the one that writes and talks."""
    return os.environ.get("RANK", "0") == "0"


def _print_rows(data: TrainingData, dataset: FerDataset) -> None:
    if not _first():
        return
    for message in dataset.skipped[:_SKIPPED_SHOWN]:
        print(f"skipped: {message}", file=sys.stderr)
    if len(dataset.skipped) > _SKIPPED_SHOWN:
        print(f"skipped: {len(dataset.skipped) - _SKIPPED_SHOWN} more", file=sys.stderr)
    print(
        f"{len(data.faces)} rows to train on, {len(data.val_faces)} to validate on"
        f"{f', {len(dataset.skipped)} skipped' if dataset.skipped else ''}",
        flush=True,
    )


def _reporter(folder: Path, epochs: int, prefix: str = "") -> Callable[[list[dict[str, float]]], None]:
    """Prints a line and draws the learning curve after each epoch."""
    from ..checks.plots import save_learning_curve

    def report(history: list[dict[str, float]]) -> None:
        row = history[-1]
        print(
            f"{prefix}epoch {row['epoch']:.0f}/{epochs}  loss {row['train_loss']:.4f}  "
            f"accuracy {row['train_accuracy']:.2%}  validation {row['val_accuracy']:.2%}  "
            f"{row['seconds']:.0f} s",
            flush=True,
        )
        save_learning_curve(folder / "learning_curve.png", history)

    return report


def _fer2013(arguments: argparse.Namespace) -> tuple[TrainingData, FerDataset]:
    from ..train.data import load_training_data

    path = arguments.data or os.environ.get("FER2013_CSV")
    if not path:
        raise DataError("no training data: give --data CSV or --faces DIR, or set FER2013_CSV")
    return load_training_data(path, arguments.votes, skip_bad=arguments.skip_bad)


def _own_faces(arguments: argparse.Namespace, model: str) -> tuple[TrainingData, FerDataset, EmotionNet]:
    from .export_int8 import require_export

    if arguments.data or arguments.votes or arguments.teacher or arguments.beginning or arguments.skip_bad:
        raise DataError("--faces goes without --data, --votes, --teacher, --beginning and --skip-bad")
    require_export()
    from ..train.finetune import read_faces, starting_net, training_data

    dataset = read_faces(arguments.faces, detect=arguments.detect)
    return training_data(dataset), dataset, starting_net(model)


def _export(checkpoint: Path, dataset: FerDataset, folder: Path) -> None:
    from ..export.pipeline import export

    report = export(
        checkpoint,
        dataset,
        folder,
        force=True,
        progress=lambda message: print(message, file=sys.stderr, flush=True),
    )
    accuracy = max(parity.accuracy for name, parity in report.parity.items() if "int8" in name)
    print(f"int8: {accuracy:.1f} % of {report.rows} held-out images; fer-edge run --model {folder}")


def _train_options(arguments: argparse.Namespace) -> Any:
    from ..train.augment import POOR_CAMERA
    from ..train.descent import OPTIMIZERS
    from ..train.loop import TrainOptions
    from ..train.model import ARCHITECTURES

    names = ("model", "optimizer", "bfloat16", "live_teachers", *_OPTIONS)
    given = {name: getattr(arguments, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.faces:
        from ..train.finetune import VARIATION, fine_tuning

        if arguments.poor_camera:
            given["augmentation"] = POOR_CAMERA.scaled(VARIATION)
        options = fine_tuning(**given)
    else:
        if arguments.poor_camera:
            given["augmentation"] = POOR_CAMERA
        options = TrainOptions(**given)
    if options.model not in ARCHITECTURES:
        raise DataError(f"--model {options.model!r}: known are {', '.join(ARCHITECTURES)}")
    if options.optimizer not in OPTIMIZERS:
        raise DataError(f"--optimizer {options.optimizer!r}: known are {', '.join(OPTIMIZERS)}")
    for name, (_, low, high, _) in _OPTIONS.items():
        if not low <= getattr(options, name) <= high:
            flag = f"--{name.replace('_', '-')}"
            raise DataError(f"{flag} must be from {low:g} to {high:g}, got {getattr(options, name)}")
    return options


def _device(name: str) -> str:
    """The device to use: under torchrun each process takes the GPU of its number."""
    import torch

    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if not found:
        raise DataError(f"--device {name!r}: use cpu, cuda or cuda:N")
    if name != "cpu" and not torch.cuda.is_available():
        raise DataError(f"--device {name}: this PyTorch sees no GPU")
    if found[1] and int(found[1]) >= torch.cuda.device_count():
        raise DataError(f"--device {name}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return name
