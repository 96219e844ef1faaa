"""``fer-edge evaluate``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ._arguments import add_model_arguments, nonempty

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..checks.accuracy import Metrics
    from ..fer2013.reader import FerDataset

HELP = "Accuracy, macro-F1, recall, calibration and confusion of a model on a labelled FER-2013 CSV."
EPILOG = """example:
  fer-edge evaluate fer2013.csv --usage PublicTest --confusion confusion.png
  fer-edge evaluate fer2013.csv --usage PublicTest --votes fer2013new.csv --json

8 % of PublicTest repeats an image of Training; figures are given for all rows and without them,
where the CSV holds the Training rows too"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "data", type=nonempty, metavar="CSV", help="FER-2013 CSV with labels, plain or packed"
    )
    parser.add_argument("--usage", metavar="U", help="only rows of this Usage, e.g. PublicTest")
    parser.add_argument(
        "--votes", type=nonempty, metavar="CSV", help="FER+ votes in the same row order: adds agreement"
    )
    parser.add_argument(
        "--confusion", type=nonempty, metavar="PNG", help="write the confusion matrix (extra [report])"
    )
    parser.add_argument("--skip-bad", action="store_true", help="skip bad rows and say which")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_model_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    import numpy as np

    from ..checks.accuracy import measure, to_json, vote_agreement
    from ..checks.plots import require_matplotlib, save_confusion
    from ..fer2013.duplicates import in_training
    from ..fer2013.reader import read_fer2013
    from ..fer2013.votes import majority_votes, read_votes
    from ..files import check_target
    from ..models.classifier import load_classifier
    from ..native_output import litert_greeting

    if arguments.votes and arguments.skip_bad:
        raise DataError("--votes needs a CSV without bad rows: votes are matched by row")
    if arguments.confusion:
        if Path(arguments.confusion).suffix.lower() != ".png":
            raise DataError(f"--confusion {arguments.confusion}: is written as PNG; end its name in .png")
        check_target(arguments.confusion, [arguments.data, *([arguments.votes] if arguments.votes else [])])
        require_matplotlib()
    with litert_greeting():
        classifier = load_classifier(
            arguments.model, arguments.backend, arguments.precision, arguments.threads
        )
    dataset = read_fer2013(arguments.data, skip_bad=arguments.skip_bad)
    for message in dataset.skipped:
        print(f"skipped: {message}", file=sys.stderr)
    if dataset.labels is None:
        raise DataError(f"{arguments.data}: has no emotion column to compare with; use fer-edge predict")
    chosen = _choose(dataset, arguments.usage, arguments.data)
    labels = dataset.labels[chosen]
    if arguments.votes:
        majority = majority_votes(read_votes(arguments.votes, rows=len(dataset)))[chosen]
    probabilities = classifier.predict(dataset.pixels[chosen])
    clean = np.zeros(len(labels), np.bool_)
    # Only beside the Training rows can be told whether an image repeats one.
    if dataset.usage is not None and (dataset.usage == "Training").any():
        clean = ((dataset.usage != "Training") & ~in_training(dataset))[chosen]

    report: dict[str, Any] = {
        "data": str(arguments.data),
        "usage": arguments.usage,
        "skipped": len(dataset.skipped),
        "model": classifier.model,
        "backend": classifier.backend,
        "precision": classifier.precision,
        "file": classifier.file.path.name,
    }
    figures = {"all": measure(probabilities, labels)}
    if clean.any():
        figures["not_in_training"] = measure(probabilities[clean], labels[clean])
    report |= {name: asdict(metrics) for name, metrics in figures.items()}
    if arguments.votes:
        for name, rows in (("all", np.ones_like(clean)), ("not_in_training", clean)):
            if name in figures:
                agreement, count = vote_agreement(probabilities[rows], majority[rows])
                report[name]["ferplus"] = {"agreement": agreement, "rows": count}
    if arguments.confusion:
        title = (
            f"{classifier.file.path.name}: {figures['all'].accuracy:.2%} of {len(labels)} rows"
            f"{f' ({arguments.usage})' if arguments.usage else ''}"
        )
        save_confusion(arguments.confusion, np.array(figures["all"].confusion), title)
    if arguments.json:
        print(to_json(report))
    else:
        _print(report, figures)
    return 0


def _choose(dataset: FerDataset, usage: str | None, path: str) -> NDArray[np.bool_]:
    import numpy as np

    if usage is None:
        return np.ones(len(dataset), np.bool_)
    if dataset.usage is None:
        raise DataError(f"{path}: has no Usage column, so --usage {usage} selects nothing; leave it out")
    chosen: NDArray[np.bool_] = dataset.usage == usage
    if not chosen.any():
        have = ", ".join(sorted(set(dataset.usage.tolist())))
        raise DataError(f"{path}: no row has Usage {usage!r}; there are {have}")
    return chosen


def _print(report: dict[str, Any], figures: dict[str, Metrics]) -> None:
    names = {"all": "all rows", "not_in_training": "not in Training"}
    print(f"{report['file']} ({report['backend']}) on {report['data']}, usage {report['usage'] or 'any'}")
    print(f"{'':<18}" + "".join(f"{names[name]:>18}" for name in figures))
    lines = {
        "rows": [f"{metrics.rows}" for metrics in figures.values()],
        "accuracy": [f"{metrics.accuracy:.2%}" for metrics in figures.values()],
        "macro-F1": [f"{metrics.macro_f1:.3f}" for metrics in figures.values()],
        "ECE (15 bins)": [f"{metrics.ece:.3f}" for metrics in figures.values()],
    }
    for label, cells in lines.items():
        print(f"{label:<18}" + "".join(f"{cell:>18}" for cell in cells))
    for emotion in figures["all"].recall:
        shares = (metrics.recall[emotion] for metrics in figures.values())
        print(f"recall {emotion:<11}" + "".join(f"{'-' if s is None else f'{s:.1%}':>18}" for s in shares))
    if "ferplus" in report["all"]:
        agreements = (
            "{agreement:.2%} of {rows}".format(**report[name]["ferplus"])
            if report[name]["ferplus"]["rows"]
            else "-"
            for name in figures
        )
        print(f"{'FER+ agreement':<18}" + "".join(f"{cell:>18}" for cell in agreements))
