"""``fer-edge evaluate``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ._arguments import add_model_arguments, nonempty
from ._json import to_json

if TYPE_CHECKING:
    from ..checks.accuracy import Evaluation

HELP = "Measure accuracy, macro-F1, recall, calibration and confusion of a model on a labelled FER-2013 CSV."
EPILOG = """examples:
  fer-edge evaluate fer2013.csv --usage PublicTest --confusion confusion.png
  fer-edge evaluate fer2013.csv --usage PublicTest --votes fer2013new.csv --json

8 % of PublicTest repeats an image of Training; if the CSV holds the Training rows too, figures are
given for all rows, and for those whose image is not in Training"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "data", type=nonempty, metavar="CSV", help="FER-2013 CSV with labels, plain or compressed"
    )
    parser.add_argument("--usage", metavar="U", help="evaluate only rows of this Usage, e.g. PublicTest")
    parser.add_argument(
        "--votes",
        type=nonempty,
        metavar="CSV",
        help="also report agreement with these FER+ votes, in the same row order",
    )
    parser.add_argument(
        "--confusion", type=nonempty, metavar="PNG", help="write the confusion matrix (extra [plots])"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file of --confusion")
    parser.add_argument("--skip-bad", action="store_true", help="skip bad rows and name them")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_model_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    import numpy as np

    from ..checks.accuracy import evaluate
    from ..checks.plots import require_matplotlib, save_confusion
    from ..fer2013.reader import read_fer2013
    from ..fer2013.votes import read_votes
    from ..files import check_target
    from ..models.classifier import load_classifier
    from ..native_output import litert_greeting

    if arguments.votes and arguments.skip_bad:
        raise DataError("--votes needs a CSV without bad rows: votes are matched by row")
    if arguments.confusion:
        if Path(arguments.confusion).suffix.lower() != ".png":
            raise DataError(
                f"--confusion {arguments.confusion}: writes a PNG; choose a name that ends in .png"
            )
        inputs = [arguments.data, *([arguments.votes] if arguments.votes else [])]
        check_target(arguments.confusion, inputs, force=arguments.force)
        require_matplotlib()
    with litert_greeting():
        classifier = load_classifier(
            arguments.model, arguments.backend, arguments.precision, arguments.threads
        )
    dataset = read_fer2013(arguments.data, skip_bad=arguments.skip_bad)
    for message in dataset.skipped:
        print(f"skipped: {message}", file=sys.stderr)
    votes = read_votes(arguments.votes, len(dataset), dataset.usage) if arguments.votes else None
    try:
        groups = evaluate(classifier, dataset, arguments.usage, votes)
    except DataError as error:
        raise DataError(f"{arguments.data}: {error}") from error
    if arguments.confusion:
        metrics = groups["all"].metrics
        title = (
            f"{classifier.file.path.name}: {metrics.accuracy:.2%} of {metrics.rows} rows"
            f"{f' ({arguments.usage})' if arguments.usage else ''}"
        )
        save_confusion(arguments.confusion, np.array(metrics.confusion), title)
    report: dict[str, Any] = {
        "data": str(arguments.data),
        "usage": arguments.usage,
        "skipped": len(dataset.skipped),
        "model": classifier.model,
        "backend": classifier.backend,
        "precision": classifier.precision,
        "file": classifier.file.path.name,
    }
    if arguments.json:
        print(to_json(report | {name: _figures(group) for name, group in groups.items()}))
    else:
        _print(report, groups)
    return 0


def _figures(group: Evaluation) -> dict[str, Any]:
    return asdict(group.metrics) | ({"ferplus": asdict(group.ferplus)} if group.ferplus else {})


def _print(report: dict[str, Any], groups: dict[str, Evaluation]) -> None:
    names = {"all": "all rows", "not_in_training": "not in Training"}
    print(f"{report['file']} ({report['backend']}) on {report['data']}, usage {report['usage'] or 'any'}")

    def line(label: str, cells: Iterable[str]) -> None:
        print(f"{label:<18}" + "".join(f"{cell:>18}" for cell in cells))

    figures = [group.metrics for group in groups.values()]
    line("", (names[name] for name in groups))
    line("rows", (f"{metrics.rows}" for metrics in figures))
    line("accuracy", (f"{metrics.accuracy:.2%}" for metrics in figures))
    line("macro-F1", (f"{metrics.macro_f1:.3f}" for metrics in figures))
    line("ECE (15 bins)", (f"{metrics.ece:.3f}" for metrics in figures))
    for emotion in figures[0].recall:
        shares = (metrics.recall[emotion] for metrics in figures)
        line(f"recall {emotion}", ("-" if share is None else f"{share:.1%}" for share in shares))
    crowds = [group.ferplus for group in groups.values() if group.ferplus is not None]
    if crowds:
        line("FER+ agreement", (f"{one.agreement:.2%} of {one.rows}" if one.rows else "-" for one in crowds))
