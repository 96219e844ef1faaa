"""``fer-edge run``: from a camera, stream or file to emotions."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import faulthandler
import itertools
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..config import GROUPS, OPTIONS, Config, load, to_toml
from ..errors import DataError, OutputError, printable
from ..log import date_lines, set_level
from ..option import nonempty
from ._arguments import add_option

if TYPE_CHECKING:
    from ..outputs.base import Outputs
    from ..outputs.stats import StatsOutput
    from ..pipeline.options import WatchOptions
    from ..pipeline.watch import Watch
    from ..sources.base import Source

HELP = "Recognize emotions on a camera, stream, video, image or folder."
EPILOG = """\
examples:
  fer-edge run --camera demo --frames 60          # no camera needed
  fer-edge run --camera 0 --jsonl - | jq '.faces[]?.emotion'
  fer-edge run party.jpg --save-image party-emotions.png
  rpicam-vid -t 0 --codec mjpeg -o - | fer-edge run -
  fer-edge run rtsp://192.168.1.20/stream --jsonl log.jsonl --append

Without SOURCE and --camera: the first camera attached, else the Raspberry Pi's own.
A camera or stream that is lost is opened again, whenever it comes back. Ctrl-C ends a run cleanly.
Exit code: 0 done, 1 the camera or stream was lost for good, more than a tenth of a video is missing, or an
output failed; 2 bad input or a camera that cannot be opened; 78 a bad configuration file or environment."""


_log = logging.getLogger(__name__)

_START_SECONDS = 120.0
"""Time that systemd gives for loading and for opening the source."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options. Those of a run get into the namespace only where they are given."""
    for title in GROUPS:
        group = parser.add_argument_group(title)
        for option in OPTIONS.values():
            if option.group == title:
                add_option(group, option, default=argparse.SUPPRESS)
                if option.off:
                    group.add_argument(
                        option.off,
                        dest=option.name,
                        action="store_const",
                        const=option.default,
                        default=argparse.SUPPRESS,
                        help=argparse.SUPPRESS,
                    )
    configuration = parser.add_argument_group("configuration")
    configuration.add_argument(
        "--config",
        type=nonempty,
        metavar="FILE",
        help="read options from this TOML file; flags and the environment (FER_EDGE_JSONL=...) come first",
    )
    configuration.add_argument(
        "--print-config",
        action="store_true",
        help="print all options as such a file, with where each value comes from, and exit",
    )


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The options of a run that were given as flags, by name."""
    return {name: value for name, value in vars(args).items() if name in OPTIONS}


def execute(args: argparse.Namespace) -> int:
    """Run until the source ends, a limit is reached or Ctrl-C; return the exit code of :data:`EPILOG`."""
    from ..interrupts import ended_at_once
    from ..native_output import litert_greeting
    from ..outputs.base import OutputClosed, write_line
    from ..outputs.jsonl import summary_to_json
    from ..outputs.stats import StatsOutput
    from ..periodic import every
    from ..pipeline.watch import Watch
    from ..service.heartbeat import Heartbeat
    from ..service.notify import notifier_from
    from .signals import stopped_by_signals

    loaded = load(given(args), os.environ, args.config or os.environ.get("FER_EDGE_CONFIG"))
    if args.print_config:
        print(to_toml(loaded))
        return 0
    config = loaded.config
    set_level(config.log_level)
    notifier = notifier_from()
    if notifier.watchdog:
        # SIGABRT is how systemd ends what hangs; the journal then says where.
        faulthandler.enable()
    notifier.extend(_START_SECONDS)
    pictures = bool(config.save_video or config.save_image or config.window)
    options = dataclasses.replace(config.watch, colour=pictures)
    alive = Heartbeat(notifier, lambda: results.summary.frames)
    with contextlib.ExitStack() as stack:
        # Nothing is written yet that would have to be finished, and opening a stream may take long.
        with ended_at_once():
            source = stack.enter_context(_open_source(config, options))
            with litert_greeting():
                results = stack.enter_context(Watch(source, options, on_state=alive))
        if source.live or options.wait_for_camera:
            date_lines()
        stats = StatsOutput(lambda: results.summary) if config.stats else None
        outputs = _open_outputs(config, results, stats)
        stack.enter_context(stopped_by_signals(results, outputs))
        _watch_board(config, results, stack)
        if stats is not None and config.stats:
            stack.enter_context(every(config.stats, stats.tell, "stats"))
        silence = max(options.silence, 3 * options.poll, options.longest_pause(source))
        if notifier.watchdog and silence >= notifier.watchdog:
            # Until then, a source that gives no frame is not lost.
            notifier.watch_every(silence + notifier.watchdog)
        notifier.ready(f"started on {source.name}")
        try:
            try:
                with contextlib.suppress(OutputClosed):
                    for result in results:
                        outputs.write(result)
            finally:
                notifier.stopping("finishing the outputs")
                outputs.close({"summary": summary_to_json(results.summary)})
        finally:
            with contextlib.suppress(OutputClosed, OutputError):
                write_line(_messages(config), _told(results, outputs), lambda: results.stopped)
        if source.live and not results.summary.frames and not results.stopped:
            _log.error("fer-edge run: %s gave no frame", source.name)
            return 1
        if results.summary.damaged:
            _log.error("fer-edge run: %s: more than a tenth of its frames are missing", source.name)
            return 1
        return 1 if outputs.failed else 0


def _watch_board(config: Config, results: Watch, stack: contextlib.ExitStack) -> None:
    """Lower the rate of a run while the board is too hot or short of power."""
    from ..periodic import every
    from ..pipeline.heat import CHECK_SECONDS, Guard, usual_limit

    hottest = usual_limit() if config.max_heat is None else config.max_heat
    if hottest:
        guard = Guard(lambda: results.summary.frames, results.limit, hottest)
        stack.enter_context(every(CHECK_SECONDS, guard.check, "heat"))


def _told(results: Watch, outputs: Outputs) -> str:
    """The last line: what the run did, and what its outputs did not write."""
    parts = [str(results.summary)]
    for name, losses in outputs.losses.items():
        if losses.dropped:
            parts.append(f"{name} dropped {losses.dropped}")
        if losses.lost:
            parts.append(f"{name} lost {losses.lost}")
    return ", ".join(parts)


def _open_source(config: Config, watched: WatchOptions) -> Source:
    from ..sources import await_any, first_camera, open_camera, open_source
    from ..sources.reconnect import opened_or_awaited

    options = watched.source_options
    if watched.wait_for_camera:
        given = config.camera if config.source is None else config.source
        if given is None:
            return opened_or_awaited("the first camera", lambda: first_camera(options))
        return await_any(given, options)
    if config.source is not None:
        return open_source(config.source, options)
    if config.camera is not None:
        return open_camera(config.camera, options)
    source = first_camera(options)
    print(f"fer-edge run: {printable(source.name)} (choose with --camera)", file=sys.stderr)
    return source


def _open_outputs(config: Config, results: Watch, stats: StatsOutput | None) -> Outputs:
    from ..outputs.base import Output, Outputs, SlowOutput
    from ..outputs.console import ConsoleOutput
    from ..outputs.image import ImageOutput
    from ..outputs.jsonl import JsonLinesOutput, Mode
    from ..outputs.video import VideoOutput
    from ..outputs.window import WindowOutput
    from ..service import journal

    source = results.source
    if config.save_video and not source.related:
        raise DataError(f"--save-video: {source.name} is no video; use --save-image")
    if config.store and not source.related:
        raise DataError(f"--store: {source.name} has no time in which somebody could be met; use --jsonl")
    _refuse_conflicts(config, source)
    direct: list[Output] = [] if stats is None else [stats]
    slow: list[SlowOutput] = []
    if config.window:
        direct.append(WindowOutput(wait=not source.related, unsure=config.unsure))
    if config.save_video:
        slow.append(
            VideoOutput(
                config.save_video, source.live, source.fps, config.segment, config.force, config.unsure
            )
        )
    if config.save_image:
        slow.append(ImageOutput(config.save_image, source.paths, config.force, config.unsure))
    if config.jsonl:
        mode: Mode = "append" if config.append else "overwrite" if config.force else "new"
        slow.append(JsonLinesOutput(config.jsonl, mode, _start(results)))
    if config.store:
        # With SQLite it takes 3 MB, which a run without a store need not have.
        from ..outputs.store import StoreOutput

        slow.append(
            StoreOutput(
                config.store,
                source.live,
                results.options.longest_pause(source),
                config.keep,
                config.keep_detail,
                _start(results),
            )
        )
    # STATUS= says that it works; who looked how, minute by minute, is nothing for the system's journal.
    if config.jsonl != "-" and not journal.reads(sys.stdout):
        direct.append(ConsoleOutput(every_frame=not source.related, live=source.live, unsure=config.unsure))
    return Outputs(direct, slow, source.live, config.require)


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


def _refuse_conflicts(config: Config, source: Source) -> None:
    """Raise DataError where an output would replace an input, or two outputs are one file."""
    from ..files import is_special, refuse_input, resolved
    from ..outputs.image import is_folder, path_in
    from ..sources.urls import path_of

    inputs = [*(source.paths or ([Path(path_of(config.source))] if config.source else []))]
    inputs += [
        Path(model)
        for model in (config.watch.model, config.watch.detector_model)
        if model and Path(model).is_file()
    ]
    targets = [
        target
        for target in (config.save_video, config.save_image, config.jsonl, config.store)
        if target and target != "-"
    ]
    for target in targets:
        refuse_input(target, inputs)
    named = [resolved(target) for target in targets if not is_special(target)]
    for first, second in itertools.combinations(named, 2):
        if first == second:
            raise DataError(f"{first}: two outputs cannot be the same file")
    if config.save_image and is_folder(config.save_image):
        if source.related:
            raise DataError(
                f"--save-image: {config.save_image} is a folder, which is for images; give a file"
            )
        for path in source.paths:
            if Path(config.save_image).is_dir() and path.parent.samefile(config.save_image):
                raise DataError(f"--save-image: {config.save_image} holds the input; choose another folder")
            refuse_input(path_in(Path(config.save_image), path), inputs)


def _messages(config: Config) -> TextIO:
    return sys.stderr if config.jsonl == "-" else sys.stdout
