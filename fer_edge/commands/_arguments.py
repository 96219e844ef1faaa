"""Options that several sub-commands share."""

from __future__ import annotations

import argparse
import contextlib
import re
from pathlib import Path

from ..labels import LABELS, Labels


def add_model_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Which classifier to load: the arguments of ``fer_edge.load_classifier`` but ``labels``."""
    group = parser.add_argument_group("classifier")
    group.add_argument(
        "--model",
        type=nonempty,
        default="edge",
        help="a bundled name, or a folder or file that export-int8 wrote (default: %(default)s)",
    )
    group.add_argument(
        "--backend",
        choices=("auto", "litert", "onnx"),
        default="auto",
        help="what runs the classifier; auto: LiteRT where installed, else ONNX Runtime",
    )
    group.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="default: %(default)s")
    group.add_argument(
        "--threads", type=positive_int, default=1, help="CPU threads of one inference (default: %(default)s)"
    )
    return group


def add_labels_argument(group: argparse._ArgumentGroup, default: Labels | None = "people") -> None:
    """Whose answers are wanted; ``default`` ``None``: what is read decides."""
    shown = default or "people, for the rows of a CSV fer2013"
    group.add_argument(
        "--labels",
        choices=LABELS,
        default=default,
        help=f"people: what ten people would say; fer2013: the labels of 2013 (default: {shown})",
    )


def add_balance_argument(group: argparse._ArgumentGroup) -> None:
    """How people's emotion is chosen: ``balance`` of ``fer_edge.load_classifier``."""
    group.add_argument(
        "--balance",
        type=_balance,
        metavar="T",
        help="favour rare emotions among people's answers: 0 not at all, 1 as if all were as frequent, at "
        "most 2 (default: the model's own)",
    )


def _balance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 2")
    return value


def add_unsure_argument(parser: argparse._ActionsContainer) -> None:
    """Whether people are told that an answer is unsure."""
    parser.add_argument(
        "--unsure",
        type=_switch,
        default=True,
        metavar="on|off",
        help='say "unsure" of faces on which people would disagree (default: on); JSON tells it always',
    )


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off")
    return text == "on"


def add_detector_arguments(parser: argparse._ActionsContainer) -> None:
    """Which detector to load: ``detector_model`` and ``detector_engine`` of ``fer_edge.Recognizer``."""
    parser.add_argument(
        "--detector-model",
        type=nonempty,
        metavar="PATH",
        help="find faces with this YuNet ONNX file instead of the packaged one; OpenCV runs it",
    )
    parser.add_argument(
        "--detector-engine",
        choices=("auto", "litert", "onnx", "opencv"),
        default="auto",
        help="what runs the packaged detector; auto: LiteRT where installed, else ONNX Runtime, else OpenCV",
    )


def add_detect_size_argument(parser: argparse._ActionsContainer, default: str) -> None:
    """How large the detector sees pictures: ``detect_size`` of ``fer_edge.Recognizer``."""
    parser.add_argument(
        "--detect-size",
        type=_detect_size,
        metavar="N",
        help="shrink pictures to a longest side of N pixels to find faces: more finds smaller ones, slower; "
        f"full: search large ones as large as they are, in tiles (default: {default})",
    )


def _detect_size(text: str) -> int | str:
    if text == "full":
        return text
    try:
        return positive_int(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor full") from error


def add_jsonl_argument(parser: argparse._ActionsContainer, told: str) -> None:
    """Where JSON lines go; ``told`` is what they are of and what else there is to say."""
    parser.add_argument(
        "--jsonl",
        nargs="?",
        const="-",
        type=_no_picture,
        metavar="FILE",
        help=f"write one JSON object {told}; - or no FILE, at the end of the line, is stdout",
    )


def _no_picture(text: str) -> str:
    """An argparse type: a file to write to, and not the picture that was to be read."""
    from ..sources.headers import HEAD_BYTES, picture_kind

    path = Path(nonempty(text))
    head = b""
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    if path.is_dir() or picture_kind(head) is not None:
        kind = "folder" if path.is_dir() else "picture"
        raise argparse.ArgumentTypeError(
            f"{text!r} is a {kind}, not a file for JSON lines; for stdout give --jsonl - or put --jsonl at "
            "the end of the line"
        )
    return text


def add_align_argument(parser: argparse._ActionsContainer) -> None:
    """Whether to turn faces: ``align`` of ``fer_edge.Recognizer``."""
    parser.add_argument(
        "--align",
        action="store_true",
        help="turn each face until its eyes are level; the bundled model was not trained on such faces",
    )


def add_picture_arguments(parser: argparse._ActionsContainer) -> None:
    """How pictures are read and turned: options of ``fer_edge.watch``."""
    parser.add_argument(
        "--rotate",
        type=int,
        choices=(90, 180, 270),
        default=0,
        help="turn pictures clockwise, for a camera that hangs upside down or on its side",
    )
    parser.add_argument("--mirror", action="store_true", help="mirror pictures left to right")
    parser.add_argument("--recursive", action="store_true", help="read the sub-folders of a folder as well")
    parser.add_argument(
        "--max-pixels",
        type=pixel_count,
        default="100M",
        metavar="N",
        help="refuse images with more pixels, unread; 200M is 200 megapixels (default: %(default)s)",
    )


def pixel_count(text: str) -> int:
    """An argparse type: a number of pixels, maybe with k, M or G behind it."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", text)
    value = int(float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]]) if match else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels like 100M")
    return value


def nonempty(text: str) -> str:
    """An argparse type: a non-empty text; an unset shell variable gives an empty one."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def positive_int(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """An argparse type: a duration such as 30s, 10m or 1h, more than 0; in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 30s, 10m or 1h")
    return seconds
