"""Options that several sub-commands share."""

from __future__ import annotations

import argparse
import re


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which classifier to load: the arguments of ``fer_edge.load_classifier``."""
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
        help="auto: LiteRT if installed, else ONNX Runtime",
    )
    group.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="default: %(default)s")
    group.add_argument(
        "--threads", type=positive_int, default=1, help="CPU threads of one inference (default: %(default)s)"
    )


def add_align_argument(parser: argparse._ActionsContainer) -> None:
    """Whether to turn faces: ``align`` of ``fer_edge.Recognizer``."""
    parser.add_argument(
        "--align",
        action="store_true",
        help="turn each face until its eyes are level; the bundled model was not trained on such faces",
    )


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
