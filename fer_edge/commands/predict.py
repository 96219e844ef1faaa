"""``fer-edge predict``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..config import OPTIONS
from ..errors import DataError, MissingExtraError, SourceError, printable
from ..files import atomic_path, check_target
from ..native_output import litert_greeting
from ..option import nonempty
from ._arguments import add_model_arguments, add_option, add_options, refuse_idle_balance
from ._renamed import accept_former_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..faces.faces import Face, Faces
    from ..labels import Labels
    from ..sources.base import Source
    from ..sources.turn import Turn

    Recognize = Callable[[NDArray[np.uint8]], Sequence[Face]]

HELP = "Label the rows of a FER-2013 test.csv, or the faces in image files."
EPILOG = """examples:
  fer-edge predict test.csv --out submission.csv
  fer-edge predict party.jpg me.png --jsonl
  fer-edge predict crops/*.png --crops

submission.csv has the column emotion, the FER-2013 code of each row in the same order; with --skip-bad
also the column row, its number in the input, from 1
exit code 2 if an image cannot be read; the others are still processed"""

_CSV_SUFFIXES = frozenset(
    (".csv", ".gz", ".xz", ".bz2", ".zip", ".tgz", ".tar", ".tsv", ".xls", ".xlsx", ".ods", ".parquet")
)

_FOR_THE_DETECTOR = ("detector_model", "detector_engine", "detect_size")

_FOR_IMAGES = (
    *("jsonl", "rotate", "mirror", "recursive", "max_pixels", "unsure", "align"),
    *_FOR_THE_DETECTOR,
)
"""Besides --crops."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "inputs",
        type=nonempty,
        metavar="INPUT",
        nargs="+",
        help="one CSV, plain or compressed, or image files and folders of them",
    )
    parser.add_argument(
        "--out", type=nonempty, metavar="CSV", help="write the labels of a CSV to this file; - is stdout"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file of --out or --jsonl")
    parser.add_argument("--skip-bad", action="store_true", help="skip bad rows of a CSV and name them")
    jsonl = OPTIONS["jsonl"]
    add_option(parser, replace(jsonl, help=jsonl.help.replace("a frame", "an image")))
    parser.add_argument(
        "--crops", action="store_true", help="take each image as one face crop, without the detector"
    )
    accept_former_name(parser, "--aligned", "--crops")
    add_options(parser, ("rotate", "mirror", "recursive", "max_pixels", "unsure"))
    classifier = add_model_arguments(parser)
    labels = replace(OPTIONS["labels"], shown="people, for the rows of a CSV fer2013")
    add_option(classifier, labels, default=None)
    add_options(classifier, ("balance",))
    add_options(parser, ("detector_model", "detector_engine"))
    add_option(parser, replace(OPTIONS["detect_size"], shown="640, then 320 and 160 until a face is found"))
    add_options(parser, ("align",))


def execute(arguments: argparse.Namespace) -> int:
    """Predict and write or print."""
    from ..sources.folder import is_picture

    tables = [name for name in arguments.inputs if Path(name).suffix.lower() in _CSV_SUFFIXES]
    if tables and not arguments.out:
        raise DataError(f"{tables[0]}: a CSV needs a file for its labels: --out submission.csv")
    refuse_idle_balance(arguments.balance, arguments.labels or _usual_labels(arguments))
    if arguments.crops and (given := _given(arguments, _FOR_THE_DETECTOR)):
        raise DataError(f"{given[0]} is for the detector, but --crops runs none; give one of the two")
    if arguments.align and arguments.crops:
        raise DataError(
            "--align needs the detector's landmarks, but --crops runs no detector; give one of the two"
        )
    if not arguments.out and arguments.skip_bad:
        raise DataError("--skip-bad is for the rows of a CSV; unreadable images are always skipped")
    if not arguments.out:
        if arguments.force and arguments.jsonl in (None, "-"):
            raise DataError("--force is for the file of --out or --jsonl")
        if arguments.jsonl not in (None, "-"):
            check_target(arguments.jsonl, arguments.inputs, force=arguments.force)
        return _predict_images(arguments)
    if len(arguments.inputs) > 1 or is_picture(Path(arguments.inputs[0])):
        raise DataError("--out is for the labels of one CSV; use --jsonl FILE for images")
    if given := (["--crops"] if arguments.crops else _given(arguments, _FOR_IMAGES)):
        raise DataError(f"{given[0]} is for images, not for a CSV")
    if arguments.out != "-":
        check_target(arguments.out, arguments.inputs, force=arguments.force)
    return _predict_table(arguments)


def _given(arguments: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """The flags of options of these ``names`` whose values are not the defaults."""
    options = [OPTIONS[name] for name in names]
    return [one.flag for one in options if getattr(arguments, one.name) != one.default]


def _usual_labels(arguments: argparse.Namespace) -> Labels:
    """Those of the Kaggle task for a CSV, what people would say for images."""
    return "fer2013" if arguments.out else "people"


def _predict_table(arguments: argparse.Namespace) -> int:
    from ..fer2013.reader import iter_fer2013
    from ..models.classifier import load_classifier

    with litert_greeting():
        classifier = load_classifier(
            arguments.model,
            arguments.backend,
            arguments.precision,
            arguments.threads,
            arguments.labels or _usual_labels(arguments),
            arguments.balance,
        )
    rows = skipped = 0
    with _written(arguments.out) as stream:
        stream.write("row,emotion\n" if arguments.skip_bad else "emotion\n")
        for piece in iter_fer2013(arguments.inputs[0], skip_bad=arguments.skip_bad, pixels_only=True):
            codes = classifier.answer(piece.pixels).emotions
            if arguments.skip_bad:
                stream.writelines(f"{row},{code}\n" for row, code in zip(piece.rows, codes, strict=True))
            else:
                stream.writelines(f"{code}\n" for code in codes)
            rows += len(piece)
            skipped += len(piece.skipped)
            for message in piece.skipped:
                print(f"skipped: {message}", file=sys.stderr)
    print(
        f"{rows} rows labelled{f', {skipped} skipped' if skipped else ''}: {arguments.out}", file=sys.stderr
    )
    return 0


@contextlib.contextmanager
def _written(out: str) -> Iterator[TextIO]:
    """The file ``out`` to write to, which appears when it is complete; - is standard output."""
    if out == "-":
        yield sys.stdout
        return
    with (
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        yield stream


def _predict_images(arguments: argparse.Namespace) -> int:
    from ..outputs.console import describe_faces
    from ..outputs.jsonl import face_to_json, picture_to_json, to_line
    from ..sources.turn import Turn

    turn = Turn(arguments.rotate, arguments.mirror)
    with litert_greeting():
        if arguments.crops:
            recognize, finish = _whole_image(arguments), _nothing
        else:
            recognize, finish = _detected(arguments, turn)
    failed = False
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(_written(arguments.jsonl)) if arguments.jsonl else None
        for name in arguments.inputs:
            try:
                source = _open_images(name, arguments)
                for frame in source:
                    image = turn.apply(frame.image)
                    faces = recognize(image)
                    if lines:
                        records = [_known(face_to_json(face), arguments.crops) for face in faces]
                        record = picture_to_json(frame.name, (image.shape[1], image.shape[0]), records)
                        print(to_line(record), file=lines, flush=True)
                    if arguments.jsonl != "-":
                        print(
                            f"{printable(frame.name)}  {describe_faces(tuple(faces), arguments.unsure)}",
                            flush=True,
                        )
                failed = failed or source.skipped > 0
            except (SourceError, MissingExtraError) as error:
                print(f"fer-edge predict: {printable(str(error))}", file=sys.stderr)
                failed = True
    finish()
    return 2 if failed else 0


def _open_images(name: str, arguments: argparse.Namespace) -> Source:
    """A file, a folder, or what comes through a pipe."""
    from ..sources import STANDARD_INPUT, ImageSource, SourceOptions, is_pipe, open_pipe

    path = Path(STANDARD_INPUT if name == "-" else name)
    if not is_pipe(path):
        return ImageSource(path, arguments.recursive, arguments.max_pixels)
    source = open_pipe(path, SourceOptions(max_pixels=arguments.max_pixels))
    if source.related:
        source.close()
        raise SourceError(f"{name}: a film comes through this pipe; fer-edge run reads it")
    return source


def _known(face: dict[str, Any], crop: bool) -> dict[str, Any]:
    """Drop what is unknown of a face: its track, and for a crop what the detector would say."""
    unknown = {"track", "detected"} | ({"score", "landmarks"} if crop else set())
    return {key: value for key, value in face.items() if key not in unknown}


def _detected(arguments: argparse.Namespace, turn: Turn) -> tuple[Recognize, Callable[[], None]]:
    """How to recognize an image, and what is to be done after the last one."""
    from ..pipeline.orientation import UprightCheck
    from ..pipeline.recognizer import Recognizer

    recognizer = Recognizer(
        arguments.model,
        arguments.backend,
        arguments.precision,
        arguments.threads,
        arguments.detector_model,
        detector_engine=arguments.detector_engine,
        detect_size=arguments.detect_size,
        align=arguments.align,
        labels=arguments.labels or _usual_labels(arguments),
        balance=arguments.balance,
    )
    upright = UprightCheck(recognizer.detector, turn)

    def recognize(image: NDArray[np.uint8]) -> Faces:
        faces = recognizer.recognize_all(image)
        upright.look(image, faces)
        return faces

    return recognize, upright.close


def _whole_image(arguments: argparse.Namespace) -> Recognize:
    from ..models.classifier import load_classifier
    from ..pipeline.recognizer import recognize_crop

    classifier = load_classifier(
        arguments.model,
        arguments.backend,
        arguments.precision,
        arguments.threads,
        arguments.labels or _usual_labels(arguments),
        arguments.balance,
    )
    return lambda image: [recognize_crop(classifier, image)]


def _nothing() -> None:
    """After crops there is nothing to be done."""
