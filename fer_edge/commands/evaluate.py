"""``fer-edge evaluate``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, printable
from ..labels import EMOTIONS, Labels
from ..option import nonempty
from ._arguments import add_model_arguments, add_options
from ._json import to_json
from ._skipped import skipped_reported

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..checks.agreement import AtBalance
    from ..checks.evaluation import Classified, Evaluation, HeadFigures
    from ..checks.groups import Groups, Proportion
    from ..checks.plots import Confusion
    from ..fer2013.folders import PictureFolder
    from ..fer2013.reader import FerDataset
    from ..models.classifier import Classifier

HELP = "Measure both answers of a model, people's votes and labels of 2013, on labelled faces."
EPILOG = """examples:
  fer-edge evaluate fer2013.csv --usage PublicTest --votes fer2013new.csv
  fer-edge evaluate fer2013.csv --usage PublicTest --confusion confusion.png --json
  fer-edge evaluate fer2013-images --usage PublicTest
  fer-edge evaluate photos --detect

a folder holds happy/*.jpg, sad/*.jpg … (angry, disgust, fear, happy, sad, surprise, neutral); or
such folders in train/ (Usage Training) and test/, val/ or validation/ (Usage PublicTest; Kaggle's
test/ holds the images of PublicTest and PrivateTest; beside val/ or validation/, test/ is
PrivateTest); or labels.csv with the columns file and emotion.
Each further column of labels.csv, such as gender, gives figures by group, unless it has more
than 20 different values

8 % of PublicTest repeats an image of Training; if the data holds the Training rows too, figures are
given for all rows, and for those whose image is not in Training

agreement with votes, by two rules (docs/model.md): "one top vote" counts the faces with a single most
frequent vote, if it is one of the seven emotions; "majority of eight" those of which more than half of
the votes go to one of these or contempt (Barsoum et al. 2016)"""

_PARTS = {"all": "all rows", "not_in_training": "not in Training"}
_COLUMNS = 100
"""Width above which the groups' table has intervals for all emotions together only."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "data",
        type=nonempty,
        metavar="DATA",
        help="FER-2013 CSV with labels, plain or compressed, .npz with the arrays pixels, labels, usage and "
        "votes, or a folder of labelled pictures (below)",
    )
    parser.add_argument(
        "--usage",
        metavar="U",
        help="evaluate only rows of this Usage, e.g. PublicTest; of a folder: train/ is Training, test/ "
        "PublicTest, or PrivateTest beside val/ or validation/",
    )
    parser.add_argument(
        "--detect",
        action="store_true",
        help="find the face in each picture of a folder, which otherwise is a face cut out as in FER-2013",
    )
    parser.add_argument(
        "--votes",
        type=nonempty,
        metavar="CSV",
        help="also report agreement with these FER+ votes, in the same row order as the CSV",
    )
    parser.add_argument(
        "--confusion", type=nonempty, metavar="PNG", help="write the confusion matrices (extra [plots])"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file of --confusion")
    parser.add_argument("--skip-bad", action="store_true", help="skip bad rows of a CSV and name them")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_options(add_model_arguments(parser), ("balance",))


def execute(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    from ..checks.evaluation import classify, evaluate
    from ..fer2013.votes import add_votes

    _refuse(arguments)
    classifier = _load_classifier(arguments)
    pieces, pictures = _read(arguments)
    pieces = skipped_reported(pieces)
    if arguments.votes:
        pieces = add_votes(pieces, arguments.votes)
    classified = classify(classifier, pieces, arguments.usage, str(arguments.data))
    groups = pictures.groups if pictures else {}
    missing = _without_face(classified, pictures, arguments.usage)
    lost = {name: values[missing] for name, values in groups.items()}
    evaluation = evaluate(classified, classifier.people, groups, lost)
    heads = evaluation.parts["all"]
    report: dict[str, Any] = {
        "data": str(arguments.data),
        "usage": arguments.usage,
        "skipped": len(missing),
        "model": classifier.model,
        "backend": classifier.backend,
        "precision": classifier.precision,
        "file": classifier.file.path.name,
        "heads": list(heads),
    }
    if arguments.json:
        print(to_json(report | _as_json(evaluation)))
    else:
        _print(report, evaluation)
    # Behind the figures, which are not lost then where the picture cannot be written.
    if arguments.confusion:
        _save_confusion(arguments, report["file"], heads)
    return 0


def _refuse(arguments: argparse.Namespace) -> None:
    """Raise DataError for what would fail only after the faces have been classified."""
    from ..checks.plots import require_matplotlib
    from ..files import check_target

    if arguments.votes and arguments.skip_bad:
        raise DataError("--votes needs a CSV without bad rows: votes are matched by row")
    if arguments.votes and Path(arguments.data).is_dir():
        raise DataError(f"{arguments.data}: is a folder; --votes needs a CSV, since votes are matched by row")
    if arguments.confusion:
        if Path(arguments.confusion).suffix.lower() != ".png":
            raise DataError(
                f"--confusion {arguments.confusion}: writes a PNG; choose a name that ends in .png"
            )
        inputs = [arguments.data, *([arguments.votes] if arguments.votes else [])]
        check_target(arguments.confusion, inputs, force=arguments.force)
        require_matplotlib()


def _load_classifier(arguments: argparse.Namespace) -> Classifier:
    from ..models.classifier import load_classifier
    from ..native_output import litert_greeting

    with litert_greeting():
        classifier = load_classifier(
            arguments.model,
            arguments.backend,
            arguments.precision,
            arguments.threads,
            # An older export has no other; distributions() gives both where there are two.
            labels="fer2013",
            balance=arguments.balance,
        )
    if arguments.balance is not None and "people" not in classifier.heads:
        raise DataError(
            f"{classifier.file.path}: has no head people, among whose answers --balance chooses; leave it out"
        )
    return classifier


def _read(arguments: argparse.Namespace) -> tuple[Iterator[FerDataset], PictureFolder | None]:
    """The faces, piece by piece; and of a folder, which pictures they are from."""
    from ..faces.pictures import iter_labelled, iter_pictures
    from ..fer2013.folders import list_pictures

    if not Path(arguments.data).is_dir() or arguments.skip_bad:
        return iter_labelled(arguments.data, skip_bad=arguments.skip_bad, detect=arguments.detect), None
    pictures = list_pictures(arguments.data)
    for note in pictures.notes:
        print(printable(note), file=sys.stderr)
    return iter_pictures(pictures, detect=arguments.detect), pictures


def _without_face(
    classified: Classified, pictures: PictureFolder | None, usage: str | None
) -> NDArray[np.int64]:
    """Positions of the pictures of this usage that gave no face, or of all bad rows of a CSV."""
    missing = classified.bad_rows - 1
    if pictures and pictures.usage is not None and usage is not None:
        missing = missing[pictures.usage[missing] == usage]
    return missing


def _save_confusion(arguments: argparse.Namespace, file: str, heads: Mapping[Labels, HeadFigures]) -> None:
    from ..checks.plots import save_confusion

    usage = f", usage {arguments.usage}" if arguments.usage else ""
    title = f"{file} on {Path(arguments.data).name}{usage}"
    save_confusion(arguments.confusion, title, [_confusion(*item) for item in heads.items()])


def _confusion(head: Labels, figures: HeadFigures) -> Confusion:
    import numpy as np

    from ..checks.plots import Confusion

    voted = head == "people" and figures.one_top_vote is not None
    metrics = figures.one_top_vote if voted and figures.one_top_vote else figures.labels
    return Confusion(
        np.array(metrics.confusion),
        f"{head}: {metrics.accuracy:.2%} of {metrics.rows}",
        "one top vote" if voted else "label",
    )


# ---------------------------------------------------------------- JSON


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    parts = {
        name: {"rows": next(iter(heads.values())).labels.rows}
        | {head: _present(asdict(figures)) for head, figures in heads.items()}
        for name, heads in evaluation.parts.items()
    }
    groups = {
        column: {
            value: {"skipped": group.skipped} | {head: asdict(own) for head, own in group.heads.items()}
            for value, group in values.items()
        }
        for column, values in evaluation.groups.items()
    }
    return parts | ({"groups": groups} if groups else {})


def _present(figures: dict[str, Any]) -> dict[str, Any]:
    """Without what was not measured."""
    return {
        key: _present(value) if isinstance(value, dict) and key != "recall" else value
        for key, value in figures.items()
        if value is not None
    }


# ---------------------------------------------------------------- text


def _print(report: Mapping[str, Any], evaluation: Evaluation) -> None:
    data = printable(report["data"])
    skipped = f", {report['skipped']} skipped" if report["skipped"] else ""
    print(f"{report['file']} ({report['backend']}) on {data}, usage {report['usage'] or 'any'}{skipped}")
    parts = evaluation.parts
    heads: Sequence[Labels] = report["heads"]
    _line("", (_PARTS[name] for name in parts))
    _line("rows", (str(part[heads[0]].labels.rows) for part in parts.values()))
    if "people" not in heads:
        print(
            "\nThe file has no head people: an older export, which knows the labels of 2013 alone.\n"
            "Export it again from a checkpoint that was trained on votes."
        )
    for head in heads:
        _print_head(head, [part[head] for part in parts.values()])
    last = list(parts)[-1]
    for head, figures in parts[last].items():
        if figures.crowd is not None:
            _print_balances(head, _PARTS[last], figures.balance, figures.crowd.balances)
    if evaluation.groups:
        for head in heads:
            _print_groups(head, evaluation.groups)


def _print_head(head: Labels, parts: Sequence[HeadFigures]) -> None:
    balance = parts[0].balance
    print(
        "\nhead fer2013: the labels of 2013"
        if balance is None
        else f"\nhead {head}: what ten people would say; emotions chosen with T = {balance:g}"
    )
    columns = [_cells(part) for part in parts]
    for label in dict.fromkeys(label for cells in columns for label in cells):
        _line(label, (cells.get(label, "-") for cells in columns))


def _cells(figures: HeadFigures) -> dict[str, str]:
    """What the column of some rows says, by line."""
    cells = {}
    top, crowd, labels = figures.one_top_vote, figures.crowd, figures.labels
    if top is not None:
        cells["one top vote, agreement"] = _of(top.accuracy, top.rows)
    if top is not None and crowd is not None:
        cells["one top vote, macro-F1"] = _number(top.macro_f1)
        cells["one top vote, mean recall"] = _percent(top.mean_recall)
    if crowd is not None:
        cells["one top vote, sure answers"] = _of(crowd.sure.agreement, crowd.sure.rows)
        cells["majority of eight, agreement"] = _of(crowd.barsoum.agreement, crowd.barsoum.rows)
        cells["shares, mean difference"] = f"{_number(crowd.share_difference)} in {crowd.share_rows}"
        cells["shares, ECE (15 bins)"] = _number(crowd.share_error)
    if figures.unsure is not None:
        cells["unsure"] = _percent(figures.unsure)
    cells["labels, accuracy"] = _of(labels.accuracy, labels.rows)
    cells["labels, macro-F1"] = _number(labels.macro_f1)
    cells["labels, mean recall"] = _percent(labels.mean_recall)
    if labels.ece is not None:
        cells["labels, ECE (15 bins)"] = _number(labels.ece)
    for (emotion, recall), counts in zip(labels.recall.items(), labels.confusion, strict=True):
        if recall is not None:
            cells[f"labels, recall {emotion}"] = _of(recall, sum(counts), 1)
    return cells


def _print_balances(head: Labels, part: str, balance: float | None, rows: Sequence[AtBalance]) -> None:
    print(f"\nhead {head} by T, one top vote, {part}: agreement, mean recall, recall of each emotion")
    print(f"{'T':<7}{'agreement':>10}{'mean':>9}" + "".join(f"{emotion:>10}" for emotion in EMOTIONS))
    for row in rows:
        t = f"{row.balance:g}{' *' if row.balance == balance else ''}"
        recalls = "".join(f"{_percent(row.recall[emotion], 1):>10}" for emotion in EMOTIONS)
        print(f"{t:<7}{_percent(row.agreement):>10}{_percent(row.mean_recall, 1):>9}{recalls}")
    print("* the T of the answers above")


def _print_groups(head: Labels, groups: Groups) -> None:
    print(f"\nhead {head} by group: right answers, with their 95 % interval (Wilson)")
    table = _group_table(head, groups, _interval)
    if sum(widths := _widths(table)) + 2 * len(widths) - 2 > _COLUMNS:
        table = _group_table(head, groups, _fraction)
        widths = _widths(table)
    for name, *cells in table:
        right = (f"{cell:>{width + 2}}" for cell, width in zip(cells, widths[1:], strict=True))
        print(f"{name:<{widths[0]}}{''.join(right)}".rstrip())


def _group_table(head: Labels, groups: Groups, cell: Callable[[Proportion | None], str]) -> list[list[str]]:
    """Rows of cells, the first one of headings; ``cell`` writes the figure of one emotion."""
    every = [group for values in groups.values() for group in values.values()]
    counts = [group.heads[head].recall for group in every if head in group.heads]
    emotions = [name for name in EMOTIONS if any(name in recall for recall in counts)]
    skipped = any(group.skipped for group in every)
    table = [["", "all", *emotions, *(["no face"] if skipped else [])]]
    for column, values in groups.items():
        table.append([printable(column), *("" for _ in table[0][1:])])
        for value, group in values.items():
            own = group.heads.get(head)
            cells = [_interval(own.right if own else None)]
            cells += [cell(own.recall.get(emotion) if own else None) for emotion in emotions]
            cells += [str(group.skipped)] if skipped else []
            table.append([f"  {printable(value) or '(empty)'}", *cells])
    return table


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(*table, strict=True)]


def _interval(part: Proportion | None) -> str:
    return "-" if part is None else f"{part.right} of {part.rows} ({part.low * 100:.0f}-{part.high:.0%})"


def _fraction(part: Proportion | None) -> str:
    return "-" if part is None else f"{part.right}/{part.rows}"


def _line(label: str, cells: Iterable[str]) -> None:
    print(f"{label:<30}" + "".join(f"{cell:>20}" for cell in cells))


def _percent(share: float | None, digits: int = 2) -> str:
    return "-" if share is None or math.isnan(share) else f"{share:.{digits}%}"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _of(share: float, rows: int, digits: int = 2) -> str:
    return f"{_percent(share, digits)} of {rows}" if rows else "-"
