"""``fer-edge run``: from a camera, stream or file to emotions."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import DataError, OutputError, printable
from ._arguments import (
    add_align_argument,
    add_balance_argument,
    add_detect_size_argument,
    add_detector_arguments,
    add_jsonl_argument,
    add_labels_argument,
    add_model_arguments,
    add_picture_arguments,
    add_unsure_argument,
    duration,
    nonempty,
    positive_int,
)

if TYPE_CHECKING:
    from ..outputs.base import Outputs
    from ..pipeline.watch import Watch
    from ..sources.base import Source
    from ..sources.options import SourceOptions

HELP = "Recognize emotions on a camera, stream, video, image or folder."
EPILOG = """\
examples:
  fer-edge run --camera demo --frames 60          # no camera needed
  fer-edge run --camera 0 --jsonl - | jq '.faces[]?.emotion'
  fer-edge run party.jpg --save-image party-emotions.png
  rpicam-vid -t 0 --codec mjpeg -o - | fer-edge run -
  fer-edge run rtsp://192.168.1.20/stream --jsonl log.jsonl --append

Without SOURCE and --camera: the first camera attached, else the Raspberry Pi's own.
Ctrl-C ends a run cleanly.
Exit code: 0 done, 1 the camera or stream was lost, more than a tenth of a video is missing, or an output
failed; 2 bad input or a camera that cannot be opened."""


_OPTIONS = {"jsonl": "--jsonl", "video": "--save-video", "image": "--save-image"}
"""What asks for each output that can be required."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    source = parser.add_argument_group("source")
    source.add_argument(
        "source",
        nargs="?",
        type=nonempty,
        metavar="SOURCE",
        help="read an image, folder, video file, rtsp/http URL, or pipe (-: standard input)",
    )
    source.add_argument(
        "--camera",
        nargs="?",
        const="0",
        type=nonempty,
        metavar="CAMERA",
        help="read a camera: N of /dev/videoN, picamera2, or demo (without a value: 0)",
    )
    source.add_argument(
        "--raw",
        type=nonempty,
        metavar="FORMAT",
        help="read a file or pipe as raw frames: bgr24:640x480@25, or rgb24, gray, yuv420p, nv12",
    )
    source.add_argument(
        "--poll",
        type=float,
        default=1.0,
        metavar="S",
        help="read the URL of a picture again every S seconds, 0: once (default: %(default)s)",
    )
    add_picture_arguments(source)
    source.add_argument("--frames", type=int, metavar="N", help="stop after N processed frames")
    source.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")

    output = parser.add_argument_group("output")
    add_jsonl_argument(output, "a frame")
    output.add_argument("--append", action="store_true", help="add to a --jsonl file that has content")
    output.add_argument("--force", action="store_true", help="overwrite files that exist")
    output.add_argument(
        "--save-video",
        type=nonempty,
        metavar="FILE",
        help="write an annotated video: .mp4, .avi or .mkv; a camera or stream adds the time to the name",
    )
    output.add_argument(
        "--segment",
        type=duration,
        default="10m",
        metavar="TIME",
        help="start a new --save-video file after this time: 30s, 10m, 1h (default: %(default)s)",
    )
    output.add_argument(
        "--save-image",
        type=nonempty,
        metavar="FILE",
        help="write the annotated last frame; given a folder (existing, or with a / at its end), each image",
    )
    output.add_argument(
        "--require",
        action="append",
        choices=_OPTIONS,
        default=[],
        help="end the run when this output fails, instead of going on and retrying",
    )
    output.add_argument("--window", action="store_true", help="show the annotated frames; q quits")

    add_unsure_argument(output)
    classifier = add_model_arguments(parser)
    add_labels_argument(classifier)
    add_balance_argument(classifier)
    recognition = parser.add_argument_group("faces")
    add_detector_arguments(recognition)
    recognition.add_argument(
        "--detect-every",
        type=int,
        default=1,
        metavar="N",
        help="find faces on every Nth frame, follow them in between (default: %(default)s)",
    )
    add_detect_size_argument(recognition, "320; images 640, then 320 and 160 until a face is found")
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
        help="average each person's emotions with this time constant in seconds, 0: not at all (default: "
        "%(default)s)",
    )
    recognition.add_argument(
        "--min-score",
        type=float,
        default=0.7,
        metavar="P",
        help="ignore faces with a lower detector score, 0 to 1 (default: %(default)s)",
    )
    add_align_argument(recognition)


def execute(args: argparse.Namespace) -> int:
    """Run until the source ends, a limit is reached or Ctrl-C; return the exit code of :data:`EPILOG`."""
    from ..interrupts import ended_at_once
    from ..native_output import litert_greeting
    from ..outputs.base import OutputClosed, write_line
    from ..outputs.jsonl import summary_to_json
    from ..pipeline.options import WatchOptions
    from ..pipeline.watch import Watch
    from .signals import stopped_by_signals

    _refuse_idle_options(args)
    options = WatchOptions(
        model=args.model,
        backend=args.backend,
        precision=args.precision,
        threads=args.threads,
        labels=args.labels,
        balance=args.balance,
        detector_model=args.detector_model,
        detector_engine=args.detector_engine,
        detect_size=args.detect_size,
        min_score=args.min_score,
        align=args.align,
        detect_every=args.detect_every,
        min_hits=args.min_hits,
        smoothing=args.smoothing,
        frames=args.frames,
        seconds=args.seconds,
        rotate=args.rotate,
        mirror=args.mirror,
        recursive=args.recursive,
        raw=args.raw,
        poll=args.poll,
        max_pixels=args.max_pixels,
        colour=bool(args.save_video or args.save_image or args.window),
    )
    with contextlib.ExitStack() as stack:
        # Nothing is written yet that would have to be finished, and opening a stream may take long.
        with ended_at_once():
            source = stack.enter_context(_open_source(args, options.source_options))
            with litert_greeting():
                results = stack.enter_context(Watch(source, options))
        outputs = _open_outputs(args, results)
        stack.enter_context(stopped_by_signals(results, outputs))
        try:
            try:
                with contextlib.suppress(OutputClosed):
                    for result in results:
                        outputs.write(result)
            finally:
                outputs.close({"summary": summary_to_json(results.summary)})
        finally:
            with contextlib.suppress(OutputClosed, OutputError):
                write_line(_messages(args), _told(results, outputs), lambda: results.stopped)
        if source.live and not results.summary.frames and not results.stopped:
            print(f"fer-edge run: {printable(source.name)} gave no frame", file=sys.stderr)
            return 1
        if results.summary.damaged:
            print(
                f"fer-edge run: {printable(source.name)}: more than a tenth of its frames are missing",
                file=sys.stderr,
            )
            return 1
        return 1 if outputs.failed else 0


def _refuse_idle_options(args: argparse.Namespace) -> None:
    """Raise DataError where an option is about an output that was not asked for."""
    if args.append and not args.jsonl:
        raise DataError("--append is for a --jsonl file")
    if args.append and args.force:
        raise DataError("--append adds to a --jsonl file, --force overwrites it; give one of them")
    asked = {"jsonl": args.jsonl, "video": args.save_video, "image": args.save_image}
    if args.force and not any(asked.values()):
        raise DataError("--force is for the files of --jsonl, --save-video and --save-image")
    for name in args.require:
        if not asked[name]:
            raise DataError(f"--require {name}: there is no such output; give {_OPTIONS[name]}")


def _told(results: Watch, outputs: Outputs) -> str:
    """The last line: what the run did, and what its outputs did not write."""
    parts = [str(results.summary)]
    for name, losses in outputs.losses.items():
        if losses.dropped:
            parts.append(f"{name} dropped {losses.dropped}")
        if losses.lost:
            parts.append(f"{name} lost {losses.lost}")
    return ", ".join(parts)


def _open_source(args: argparse.Namespace, options: SourceOptions) -> Source:
    from ..sources import first_camera, open_camera, open_source
    from ..sources.urls import without_secrets

    if args.source is not None and args.camera is not None:
        raise DataError(
            f"give either a source ({without_secrets(args.source)}) or "
            f"--camera {without_secrets(args.camera)}, not both"
        )
    if args.source is not None:
        return open_source(args.source, options)
    if args.camera is not None:
        return open_camera(args.camera, options)
    source = first_camera(options)
    print(f"fer-edge run: {printable(source.name)} (choose with --camera)", file=sys.stderr)
    return source


def _open_outputs(args: argparse.Namespace, results: Watch) -> Outputs:
    from ..outputs.base import Output, Outputs, SlowOutput
    from ..outputs.console import ConsoleOutput
    from ..outputs.image import ImageOutput
    from ..outputs.jsonl import JsonLinesOutput, Mode
    from ..outputs.video import VideoOutput
    from ..outputs.window import WindowOutput

    source = results.source
    if args.save_video and not source.related:
        raise DataError(f"--save-video: {source.name} is no video; use --save-image")
    _refuse_conflicts(args, source)
    direct: list[Output] = []
    slow: list[SlowOutput] = []
    if args.window:
        direct.append(WindowOutput(wait=not source.related, unsure=args.unsure))
    if args.save_video:
        slow.append(
            VideoOutput(args.save_video, source.live, source.fps, args.segment, args.force, args.unsure)
        )
    if args.save_image:
        slow.append(ImageOutput(args.save_image, source.paths, args.force, args.unsure))
    if args.jsonl:
        mode: Mode = "append" if args.append else "overwrite" if args.force else "new"
        slow.append(JsonLinesOutput(args.jsonl, mode, _start(results)))
    if args.jsonl != "-":
        direct.append(ConsoleOutput(every_frame=not source.related, live=source.live, unsure=args.unsure))
    return Outputs(direct, slow, source.live, args.require)


def _start(results: Watch) -> dict[str, Any]:
    from .. import __version__
    from ..outputs.jsonl import start_to_json

    classifier, options = results.recognizer.classifier, dataclasses.asdict(results.options)
    model = {
        "name": classifier.model,
        "backend": classifier.backend,
        "precision": classifier.precision,
        "labels": classifier.labels,
    }
    source = results.source
    return start_to_json(
        __version__, source.name, options["camera"] or source.name, source.live, model, options
    )


def _refuse_conflicts(args: argparse.Namespace, source: Source) -> None:
    """Raise DataError where an output would replace an input, or two outputs are one file."""
    from ..files import is_special, refuse_input
    from ..outputs.image import is_folder, path_in
    from ..sources.urls import path_of

    inputs = [*(source.paths or ([Path(path_of(args.source))] if args.source else []))]
    inputs += [Path(model) for model in (args.model, args.detector_model) if model and Path(model).is_file()]
    targets = [
        target for target in (args.save_video, args.save_image, args.jsonl) if target and target != "-"
    ]
    for target in targets:
        refuse_input(target, inputs)
    named = [Path(target).resolve() for target in targets if not is_special(target)]
    for first, second in itertools.combinations(named, 2):
        if first == second:
            raise DataError(f"{first}: two outputs cannot be the same file")
    if args.save_image and is_folder(args.save_image):
        if source.related:
            raise DataError(f"--save-image: {args.save_image} is a folder, which is for images; give a file")
        for path in source.paths:
            if Path(args.save_image).is_dir() and path.parent.samefile(args.save_image):
                raise DataError(f"--save-image: {args.save_image} holds the input; choose another folder")
            refuse_input(path_in(Path(args.save_image), path), inputs)


def _messages(args: argparse.Namespace) -> TextIO:
    return sys.stderr if args.jsonl == "-" else sys.stdout
