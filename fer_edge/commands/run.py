"""``fer-edge run``: from a camera, stream or file to emotions."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..errors import DataError
from ._arguments import add_align_argument, add_model_arguments, nonempty, positive_int

if TYPE_CHECKING:
    from ..outputs.base import Output
    from ..sources.base import Source

HELP = "recognize emotions on a camera, stream, video, image or folder"
EPILOG = """\
examples:
  fer-edge run --camera demo --frames 60          # no camera needed
  fer-edge run --camera 0 --jsonl - | jq .faces
  fer-edge run party.jpg --save-image party-emotions.png
  fer-edge run rtsp://192.168.1.20/stream --jsonl log.jsonl --append

Without SOURCE and --camera: the first camera attached, else the Raspberry Pi's own.
Ctrl-C ends a run cleanly.
Exit code: 0 done, 1 the camera or stream was lost or more than a tenth of a film is missing, 2 bad input
or a camera that cannot be opened."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    source = parser.add_argument_group("source")
    source.add_argument(
        "source", nargs="?", type=nonempty, metavar="SOURCE", help="image, folder, video file, rtsp/http URL"
    )
    source.add_argument(
        "--camera",
        nargs="?",
        const="0",
        type=nonempty,
        metavar="CAMERA",
        help="N of /dev/videoN, picamera2, or demo (without a value: 0)",
    )
    source.add_argument("--frames", type=int, metavar="N", help="stop after N processed frames")
    source.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")

    output = parser.add_argument_group("output")
    output.add_argument(
        "--jsonl",
        type=nonempty,
        metavar="FILE",
        help="write one JSON object a frame; - is stdout, all else goes to stderr then",
    )
    existing = output.add_mutually_exclusive_group()
    existing.add_argument("--append", action="store_true", help="add to a --jsonl file that has content")
    existing.add_argument("--force", action="store_true", help="overwrite a --jsonl file that has content")
    output.add_argument(
        "--save-video", type=nonempty, metavar="FILE", help="annotated video: .mp4, .avi or .mkv"
    )
    output.add_argument(
        "--save-image",
        type=nonempty,
        metavar="FILE",
        help="annotated last frame; of an image or a folder of them, an existing folder gets each",
    )
    output.add_argument("--window", action="store_true", help="show the annotated frames; q quits")

    add_model_arguments(parser)
    recognition = parser.add_argument_group("faces")
    recognition.add_argument(
        "--detector-model",
        type=nonempty,
        metavar="PATH",
        help="a YuNet ONNX file instead of the packaged one",
    )
    recognition.add_argument(
        "--detect-every",
        type=int,
        default=1,
        metavar="N",
        help="find faces on every Nth frame, follow them in between (default: %(default)s)",
    )
    recognition.add_argument(
        "--detect-size",
        type=positive_int,
        metavar="PIXELS",
        help="shrink frames to this longest side to find faces: more finds smaller ones, slower "
        "(default: 320; images 640, then 320 and 160 until a face is found)",
    )
    recognition.add_argument(
        "--min-hits",
        type=positive_int,
        default=3,
        metavar="N",
        help="count a face as a person after N detections (default: %(default)s)",
    )
    recognition.add_argument(
        "--smoothing",
        type=float,
        default=0.4,
        metavar="S",
        help="time constant for each person's probabilities, 0 for none (default: %(default)s)",
    )
    recognition.add_argument(
        "--min-score",
        type=float,
        default=0.7,
        metavar="P",
        help="leave out faces that the detector is less sure of, 0 to 1 (default: %(default)s)",
    )
    add_align_argument(recognition)


def execute(args: argparse.Namespace) -> int:
    """Run until the source ends, a limit is reached or Ctrl-C; return 0."""
    from ..native_output import litert_greeting
    from ..outputs.base import OutputClosed
    from ..pipeline.options import WatchOptions
    from ..pipeline.watch import Watch
    from .signals import stopped_by_signals

    if (args.append or args.force) and not args.jsonl:
        raise DataError("--append and --force are for a --jsonl file")
    options = WatchOptions(
        model=args.model,
        backend=args.backend,
        precision=args.precision,
        threads=args.threads,
        detector_model=args.detector_model,
        detect_size=args.detect_size,
        min_score=args.min_score,
        align=args.align,
        detect_every=args.detect_every,
        min_hits=args.min_hits,
        smoothing=args.smoothing,
        frames=args.frames,
        seconds=args.seconds,
    )
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_open_source(args))
        with litert_greeting():
            results = stack.enter_context(Watch(source, options))
        outputs = _open_outputs(args, source)
        stack.enter_context(stopped_by_signals(results))
        try:
            with contextlib.ExitStack() as closing, contextlib.suppress(OutputClosed):
                for output in outputs:
                    closing.callback(output.close)
                for result in results:
                    for output in outputs:
                        output.write(result)
        finally:
            print(results.summary, file=_messages(args), flush=True)
        if source.live and not results.summary.frames and not results.stopped:
            print(f"fer-edge run: {source.name} gave no frame", file=sys.stderr)
            return 1
        if results.summary.damaged:
            print(f"fer-edge run: {source.name}: more than a tenth of its frames is missing", file=sys.stderr)
            return 1
    return 0


def _open_source(args: argparse.Namespace) -> Source:
    from ..sources import first_camera, open_camera, open_source
    from ..sources.urls import without_secrets

    if args.source is not None and args.camera is not None:
        raise DataError(
            f"give either a source ({without_secrets(args.source)}) or --camera {args.camera}, not both"
        )
    if args.source is not None:
        return open_source(args.source)
    pictured = bool(args.save_video or args.save_image or args.window)
    if args.camera is not None:
        return open_camera(args.camera, colour=pictured)
    source = first_camera(colour=pictured)
    print(f"fer-edge run: {source.name} (choose with --camera)", file=sys.stderr)
    return source


def _open_outputs(args: argparse.Namespace, source: Source) -> list[Output]:
    from ..outputs.console import ConsoleOutput
    from ..outputs.image import ImageOutput
    from ..outputs.jsonl import JsonLinesOutput, Mode
    from ..outputs.video import VideoOutput
    from ..outputs.window import WindowOutput

    if args.save_video and not source.related:
        raise DataError(f"--save-video: {source.name} is no video; use --save-image")
    _refuse_conflicts(args, source)
    outputs: list[Output] = []
    if args.window:
        outputs.append(WindowOutput(wait=not source.related))
    if args.save_video:
        outputs.append(VideoOutput(args.save_video, fps=None if source.live else source.fps))
    if args.save_image:
        outputs.append(ImageOutput(args.save_image))
    if args.jsonl:
        mode: Mode = "append" if args.append else "overwrite" if args.force else "new"
        outputs.append(JsonLinesOutput(args.jsonl, mode))
    if args.jsonl != "-":
        outputs.append(ConsoleOutput(every_frame=not source.related))
    return outputs


def _refuse_conflicts(args: argparse.Namespace, source: Source) -> None:
    """Raise DataError where an output would replace an input, or two outputs are one file."""
    from ..files import is_special, refuse_input
    from ..outputs.image import path_in

    inputs = source.paths or ([args.source] if args.source else [])
    targets = [
        target for target in (args.save_video, args.save_image, args.jsonl) if target and target != "-"
    ]
    for target in targets:
        refuse_input(target, inputs)
    named = [Path(target).resolve() for target in targets if not is_special(target)]
    for first, second in itertools.combinations(named, 2):
        if first == second:
            raise DataError(f"{first}: two outputs cannot be the same file")
    if args.save_image and Path(args.save_image).is_dir():
        if source.related:
            raise DataError(f"--save-image: {args.save_image} is a folder, which is for images; give a file")
        for path in source.paths:
            if path.parent.samefile(args.save_image):
                raise DataError(f"--save-image: {args.save_image} holds the input; choose another folder")
            refuse_input(path_in(Path(args.save_image), path), inputs)


def _messages(args: argparse.Namespace) -> TextIO:
    return sys.stderr if args.jsonl == "-" else sys.stdout
