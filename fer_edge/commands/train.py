"""``fer-edge train``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, MissingExtraError
from ..option import nonempty, positive_int
from ..train.options import NUMBERS, Number, flag, make_options
from ..train.renamed import OPTIONS as RENAMED_OPTIONS
from ._renamed import accept_former_name, renamed_names_reported
from ._skipped import print_skipped
from ._votes import votes_of

if TYPE_CHECKING:
    from ..fer2013.reader import FerDataset
    from ..train.data import TrainingData

HELP = "Train a model on a FER-2013 CSV; validates on PublicTest rows whose image is not in Training."
EPILOG = """examples:
  fer-edge train --data fer2013.csv --out runs/mine
  fer-edge train --data fer2013.csv --votes fer2013new.csv --out runs/mine --resume
  fer-edge train --data fer2013.csv --model teacher --out runs/teacher
  fer-edge train --data fer2013.csv --teacher runs/teacher/best.pt --live-teachers --out runs/distilled
  fer-edge train --faces mine --detect --out runs/mine && fer-edge run --model runs/mine/model
  torchrun --nproc-per-node 2 -m fer_edge.train --data fer2013.csv --out runs/mine
  fer-edge train --recipe edge --data fer2013.csv --votes fer2013new.csv --out runs/edge
  fer-edge train --recipe edge --device cuda --minutes 10 --no-export --votes fer2013new.csv --out runs/edge
  fer-edge train --people-only --initial-weights edge --data fer2013.csv --votes votes.csv --out runs/people
  fer-edge train --people-only --initial-weights edge --faces mine --data fer2013.csv --votes v.csv --out run

writes into --out: last.pt (to resume), best.pt (to export), metrics.csv, learning_curve.png;
with --recipe a folder of these for each stage, recipe.json and the exported model
needs the extra [train]: pip install 'fer-edge[train]'; --model face-teacher and --recipe also [teacher];
--recipe, --faces and an exported model as teacher or initial weights also [export]"""

# Options that do nothing without others, and those.
_NEEDED_BY = {
    "people_only": ("votes", "initial_weights"),
    "faces_weight": ("people_only", "faces"),
    "people_distill_weight": ("votes", "teacher"),
    "bank": ("teacher",),
    "no_export": ("recipe",),
    "without": ("recipe",),
    "split_size": ("recipe",),
    "vote_weight": ("votes",),
    "rare_weight": ("votes",),
    "distill_weight": ("teacher",),
    "distill_temperature": ("teacher",),
    "live_teachers": ("teacher",),
}
_MOST_THREADS = 1024
_MOST_FACES_WEIGHT = 100
_CURVE = "learning_curve.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--data",
        type=nonempty,
        metavar="DATA",
        help="FER-2013 CSV, plain or compressed, .npz with the arrays pixels, labels, usage and votes, or a "
        "folder of pictures, train/happy/*.jpg and test/happy/*.jpg …, as fer-edge evaluate reads it; "
        "default: the environment variable FER2013_CSV",
    )
    parser.add_argument(
        "--faces",
        type=nonempty,
        metavar="DIR",
        help="instead of a CSV: fine-tune the bundled model on DIR/happy/*.png …, and export it; "
        "with --people-only beside it, see there",
    )
    parser.add_argument("--detect", action="store_true", help="find the face in each image of a folder")
    parser.add_argument(
        "--votes",
        type=nonempty,
        metavar="CSV",
        help="FER+ votes in the same row order, without which the model answers with the labels of 2013 "
        "only; default: FERPLUS_CSV, where FER2013_CSV is what trains",
    )
    parser.add_argument(
        "--teacher",
        type=nonempty,
        metavar="FILE",
        action="append",
        default=[],
        help="learn from a larger model (repeat for several, which are averaged): a checkpoint, an "
        "exported model (a bundled one's name, a folder or .onnx file of export-int8), or stored logits "
        "(.npz), which count as one",
    )
    parser.add_argument(
        "--initial-weights",
        type=nonempty,
        metavar="FILE",
        help="train this checkpoint or exported model further; with --recipe, as the student",
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
        help="train all stages of a bundled model (edge, nano) with its own options: teachers unless "
        "--teacher gives them, distillation, export",
    )
    parser.add_argument(
        "--without",
        type=nonempty,
        metavar="MODEL",
        action="append",
        default=[],
        help="leave this teacher out of a recipe, such as one whose package is missing (repeat for several)",
    )
    parser.add_argument(
        "--no-export",
        action="store_true",
        help="end a recipe with the student's last.pt, for a machine without the extra [export]",
    )
    parser.add_argument(
        "--split-size",
        type=positive_int,
        metavar="MB",
        help="with --recipe, also write each stage's weights alone, as float16, into carry/, in pieces of at "
        "most that many megabytes: STAGE.pt.1of2 …; where a checkpoint is wanted, the first stands for all",
    )
    parser.add_argument("--optimizer", help="muon or sgd (default: sgd)")
    for name, number in NUMBERS.items():
        parser.add_argument(flag(name), type=number.kind, help=f"{number.text} ({_defaults(number)})")
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        default=None,
        help="compute in bfloat16, which is faster where the processor has matrix units for it",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="compile the network for a GPU by torch.compile, where that works",
    )
    parser.add_argument(
        "--live-teachers",
        action="store_true",
        default=None,
        help="let teachers answer every augmented image, instead of each image once as it is",
    )
    parser.add_argument(
        "--people-only",
        action="store_true",
        default=None,
        help="fit the head that predicts votes and leave all else of --initial-weights as it is; with "
        "--faces it is moved so that it answers these with their labels, and others as before where it can; "
        "of the numbers below only --weight-decay counts (default then: 0.0003, with --faces 0.00001)",
    )
    parser.add_argument(
        "--faces-weight",
        type=float,
        metavar="W",
        help="with --people-only: weight of --faces, beside 1 for answers that are to stay (default: 0.02)",
    )
    parser.add_argument(
        "--poor-camera",
        action="store_true",
        default=None,
        help="vary faces also as cheap cameras do: exposure, few pixels, JPEG compression",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--threads", type=positive_int, help="CPU threads (default: PyTorch's choice)")
    for former, current in {**RENAMED_OPTIONS, "beginning": "initial_weights"}.items():
        accept_former_name(parser, flag(former), flag(current))


def _defaults(number: Number) -> str:
    usual, tuned = f"{number.default:g}", f"{number.fine_tuning:g}"
    return f"default: {usual}" if usual == tuned else f"default: {usual}; {tuned} with --faces"


def execute(arguments: argparse.Namespace) -> int:
    """Run the training."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("Training", "torch", "train") from error
    from ..checks.plots import require_matplotlib
    from ..train.distributed import choose_device

    require_matplotlib("train")
    if arguments.people_only or not arguments.faces:
        arguments.votes = votes_of(_data(arguments), arguments.votes)
    _refuse_idle(arguments)
    device = choose_device(arguments.device)
    if arguments.threads:
        if arguments.threads > _MOST_THREADS:
            raise DataError(f"--threads must be at most {_MOST_THREADS}, got {arguments.threads}")
        torch.set_num_threads(arguments.threads)
    try:
        with renamed_names_reported(quiet=not _first()):
            if arguments.people_only:
                return _people_only(arguments, device)
            return _recipe(arguments, device) if arguments.recipe else _one_run(arguments, device)
    except KeyboardInterrupt:
        if _first():
            print(f"\nstopped{_how_to_go_on(arguments)}", file=sys.stderr)
        return 130


def _how_to_go_on(arguments: argparse.Namespace) -> str:
    # Fitting the head alone has no epochs, and before the first is over there is nothing to go on from.
    begun = arguments.out / ("recipe.json" if arguments.recipe else "last.pt")
    if arguments.people_only or not begun.exists():
        return ""
    return f"; --resume continues after the last whole epoch in {arguments.out}"


def _one_run(arguments: argparse.Namespace, device: str) -> int:
    from ..train.metrics import best_row
    from ..train.run import run

    names = ("model", "optimizer", "bfloat16", "compile", "live_teachers", *NUMBERS)
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    fine_tuning = arguments.faces is not None
    options = make_options(
        given,
        fine_tuning=fine_tuning,
        poor_camera=bool(arguments.poor_camera),
        before=_options_before(arguments),
    )
    data, dataset = _own_faces(arguments) if fine_tuning else _fer2013(arguments)
    if data.votes is None:
        _refuse_without_votes(arguments)
    _print_rows(data, dataset)
    _print_without_votes(data)
    history = run(
        data,
        options,
        arguments.out,
        initial_weights=arguments.initial_weights,
        teachers=arguments.teacher,
        fine_tuning=fine_tuning,
        resume=arguments.resume,
        device=device,
        on_epoch=_reporter(arguments.out, None if options.minutes else options.epochs),
    )
    if _first():
        if arguments.resume:
            _complete_curve(arguments.out)
        best = best_row(history)
        figures = f"validation accuracy {best['val_accuracy']:.2%}"
        if "val_people" in best:
            # Nobody voted on a user's own pictures.
            chosen_by = "accuracy of the head people" if fine_tuning else "agreement with people"
            figures = f"{chosen_by} {best['val_people']:.2%}, {figures},"
        print(f"best {figures} after epoch {best['epoch']:.0f}: {arguments.out / 'best.pt'}")
        if fine_tuning:
            _export(
                arguments.out / "best.pt",
                dataset,
                arguments.out / "model",
                "Chance decides much where few faces calibrate: try more pictures or another --seed, with "
                "another --out",
            )
    return 0


def _options_before(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The options of the run that is to be resumed; None where there is none."""
    from ..train.checkpoint import load

    last = arguments.out / "last.pt"
    if not arguments.resume or not last.exists():
        return None
    options: dict[str, Any] = load(last)["options"]
    return options


def _people_only(arguments: argparse.Namespace, device: str) -> int:
    from ..train.people_faces import WEIGHT
    from ..train.people_head import train_people_only

    others = (
        *("recipe", "teacher", "resume", "model", "optimizer", "bfloat16", "compile"),
        *("live_teachers", "poor_camera", *(name for name in NUMBERS if name != "weight_decay")),
    )
    given = [flag(name) for name in others if getattr(arguments, name) not in (None, False, [])]
    if given:
        raise DataError(f"--people-only goes without {', '.join(given)}")
    if arguments.weight_decay is not None:
        make_options({"weight_decay": arguments.weight_decay})
    faces_weight = WEIGHT if arguments.faces_weight is None else arguments.faces_weight
    if not 0 < faces_weight <= _MOST_FACES_WEIGHT:
        raise DataError(f"--faces-weight must be above 0, up to {_MOST_FACES_WEIGHT}, got {faces_weight:g}")
    own = None
    if arguments.faces:
        from ..train.finetune import read_training_faces

        own = read_training_faces(arguments.faces, detect=arguments.detect)
        print_skipped(own)
        print(f"{len(own)} faces to move the people head by")
    data, dataset = _fer2013(arguments)
    _print_rows(data, dataset)
    row = train_people_only(
        data,
        arguments.out,
        initial_weights=arguments.initial_weights,
        own=own,
        own_weight=faces_weight,
        weight_decay=arguments.weight_decay,
        device=device,
    )
    agreement = f", agreement with people {row['val_people']:.2%}" if "val_people" in row else ""
    loss = "vote loss" if own is None else "cross-entropy with the answers of before"
    print(
        f"{loss} {row['train_loss']:.4f}, validation accuracy {row['val_accuracy']:.2%}{agreement}: "
        f"{arguments.out / 'last.pt'}"
    )
    return 0


def _recipe(arguments: argparse.Namespace, device: str) -> int:
    from .export_int8 import require_export

    names = ("faces", "model", "optimizer", "bfloat16", "compile", "live_teachers", "poor_camera", *NUMBERS)
    free = ("seed", "minutes")
    given = [flag(name) for name in names if name not in free and getattr(arguments, name) is not None]
    if given:
        raise DataError(
            f"--recipe decides everything but --seed and --minutes, so it goes without {', '.join(given)}"
        )
    numbers = {name: value for name in free if (value := getattr(arguments, name)) is not None}
    options = make_options(numbers)
    if not arguments.no_export:
        require_export()
    from ..train.recipe import RECIPES, follow
    from ..train.recipe_record import check_recipe_folder

    if arguments.recipe not in RECIPES:
        raise DataError(f"--recipe {arguments.recipe!r}: known are {', '.join(RECIPES)}")
    if arguments.teacher and arguments.without:
        raise DataError(
            "--without leaves out teachers of the recipe, which --teacher replaces; give one of them"
        )
    recipe = RECIPES[arguments.recipe].without(arguments.without)
    data, dataset = _fer2013(arguments)
    if not arguments.no_export and dataset.usage is None:
        raise DataError(
            "the recipe's export needs data with a Usage (a CSV has a column for it, a folder sub-folders "
            "train/ and test/); --no-export ends before it"
        )
    # In each process, or the others would wait for one that has given up.
    check_recipe_folder(arguments.out, resume=arguments.resume)
    _print_rows(data, dataset)
    _print_without_votes(data)

    def report(stage: str, history: list[dict[str, float]]) -> None:
        epochs = None if options.minutes else recipe.epochs(stage)
        _reporter(arguments.out / stage, epochs, f"{stage}  ")(history)

    results = follow(
        recipe,
        data,
        arguments.out,
        seed=options.seed,
        teachers=tuple(arguments.teacher),
        initial_weights=arguments.initial_weights,
        device=device,
        minutes=options.minutes,
        piece_bytes=None if arguments.split_size is None else arguments.split_size * 1_000_000,
        report=report,
    )
    if _first():
        for result in results:
            if arguments.resume:
                _complete_curve(arguments.out / result.stage)
            people = "" if result.val_people is None else f", agreement with people {result.val_people:.2%},"
            print(
                f"{result.stage}: validation accuracy {result.val_accuracy:.2%}{people} after {result.epoch} "
                "epochs"
            )
        trained = arguments.out / results[-1].stage / "last.pt"
        votes = f" --votes {arguments.votes or 'VOTES'}" if data.votes is not None else ""
        read = f"{' --detect' if data.detected else ''}{' --skip-bad' if arguments.skip_bad else ''}"
        like = f"{'CSV' if data.detected is None else 'PHOTOS'}{votes}{read}"
        by_hand = f"fer-edge export-int8 {trained} --calibration {like} --out DIR"
        if arguments.no_export:
            print(f"to export: {by_hand}")
        else:
            _export(trained, dataset, arguments.out / "model", f"Try others: {by_hand} --seed N")
    return 0


def _refuse_idle(arguments: argparse.Namespace) -> None:
    """Raise DataError for an option that would do nothing because another one is missing."""
    from ..fer2013.arrays import holds_arrays

    flags = {
        "votes": "--votes CSV",
        "teacher": "--teacher FILE",
        "faces": "--faces DIR",
        "initial_weights": "--initial-weights FILE",
        "recipe": "--recipe NAME",
        "people_only": "--people-only",
    }
    given = {name for name in flags if getattr(arguments, name)}
    if holds_arrays(_data(arguments)):
        given.add("votes")  # which it may hold
    if arguments.faces and not arguments.people_only:
        given.add("votes")  # which the labels are
    for option, needed in _NEEDED_BY.items():
        if getattr(arguments, option) and not given.issuperset(needed):
            missing = " and ".join(flags[name] for name in needed)
            raise DataError(f"{flag(option)} does nothing without {missing}")
    data = _data(arguments)
    if arguments.detect and not arguments.faces and not (data and Path(data).is_dir()):
        raise DataError("--detect does nothing without --faces DIR or a folder as --data")


def _refuse_without_votes(arguments: argparse.Namespace) -> None:
    """Raise DataError for an option that would do nothing because an ``.npz`` has no votes."""
    for option, needed in _NEEDED_BY.items():
        if "votes" in needed and getattr(arguments, option):
            raise DataError(
                f"{flag(option)} does nothing without votes, and {_data(arguments)} has none; give "
                "--votes CSV"
            )


def _first() -> bool:
    """Whether this process is the one that writes and talks."""
    return os.environ.get("RANK", "0") == "0"


def _print_rows(data: TrainingData, dataset: FerDataset) -> None:
    if not _first():
        return
    print_skipped(dataset)
    neither = len(dataset) - len(data.faces) - len(data.val_faces)
    rest = f", {neither} of another Usage left out" if neither else ""
    print(
        f"{len(data.faces)} rows to train on, {len(data.val_faces)} to validate on"
        f"{rest if data.calibration_faces is None else f', {len(data.calibration_faces)} held out'}"
        f"{f', {len(dataset.skipped)} skipped' if dataset.skipped else ''}",
        flush=True,
    )


def _print_without_votes(data: TrainingData) -> None:
    if data.votes is None and _first():
        print("no votes: the model will answer with the labels of 2013 only", flush=True)


def _reporter(folder: Path, epochs: int | None, prefix: str = "") -> Callable[[list[dict[str, float]]], None]:
    """Prints a line and draws the learning curve at each report; ``epochs`` is None with a budget of time."""

    def report(history: list[dict[str, float]]) -> None:
        row = history[-1]
        people = f"  people {row['val_people']:.2%}" if "val_people" in row else ""
        print(
            f"{prefix}epoch {row['epoch']:.0f}{'' if epochs is None else f'/{epochs}'}  "
            f"loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.2%}  "
            f"validation {row['val_accuracy']:.2%}{people}  {row['seconds']:.0f} s",
            flush=True,
        )
        _draw_curve(folder, history)

    return report


def _draw_curve(folder: Path, history: list[dict[str, float]]) -> None:
    from ..checks.plots import save_learning_curve

    save_learning_curve(folder / _CURVE, history)


def _complete_curve(folder: Path) -> None:
    """Draw the learning curve of a run that is over where its only report was cut off before that."""
    from ..train.checkpoint import load

    if not (folder / _CURVE).exists():
        _draw_curve(folder, load(folder / "last.pt")["history"])


def _data(arguments: argparse.Namespace) -> str:
    """The path of the data, empty where none is given."""
    return arguments.data or os.environ.get("FER2013_CSV", "")


def _fer2013(arguments: argparse.Namespace) -> tuple[TrainingData, FerDataset]:
    from ..train.data import load_training_data

    path = _data(arguments)
    if not path:
        raise DataError("no training data: give --data DATA or --faces DIR, or set FER2013_CSV")
    # Beside --faces it is meant for these.
    detect = arguments.detect and (not arguments.faces or Path(path).is_dir())
    return load_training_data(path, arguments.votes, skip_bad=arguments.skip_bad, detect=detect)


def _own_faces(arguments: argparse.Namespace) -> tuple[TrainingData, FerDataset]:
    from .export_int8 import require_export

    others = ("data", "votes", "teacher", "initial_weights", "skip_bad")
    if any(getattr(arguments, name) for name in others):
        *most, last = map(flag, others)
        raise DataError(f"--faces goes without {', '.join(most)} and {last}")
    require_export()
    from ..train.finetune import read_faces, training_data

    dataset = read_faces(arguments.faces, detect=arguments.detect)
    return training_data(dataset), dataset


def _export(checkpoint: Path, dataset: FerDataset, folder: Path, way_out: str) -> None:
    """Export, and say how well it went; ``way_out`` is what can be done where files fail the check."""
    from ..export.parity import CalibrationError
    from ..export.pipeline import export_by_some_seed

    try:
        report = export_by_some_seed(
            checkpoint,
            dataset,
            folder,
            votes=dataset.votes,
            progress=lambda message: print(message, file=sys.stderr, flush=True),
        )
    except CalibrationError as error:
        raise CalibrationError(f"{error}. {way_out}") from error
    files = [outputs for name, outputs in report.parity.items() if "int8" in name]
    rows = {"people": " of those with one top vote"} if dataset.votes is not None else {}
    figures = ", ".join(
        f"{head} {max(outputs[head].accuracy for outputs in files):.1f} %{rows.get(head, '')}"
        for head in files[0]
    )
    labels = " --labels fer2013" if report.people is None else ""
    print(f"int8, right on {report.rows} held-out images: {figures}; fer-edge run --model {folder}{labels}")
