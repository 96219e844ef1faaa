"""``fer-edge run``: from a camera, stream or file to emotions."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import faulthandler
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..config import DEFAULT_NAME, GROUPS, OPTIONS, Config, Loaded, load, reloaded, to_toml
from ..errors import DataError, FerEdgeError, OutputError, printable
from ..log import date_lines, set_level
from ..option import nonempty
from ._arguments import add_option
from ._live import keep_metrics, live_of, metrics_of
from ._outputs import Opened, Watched, open_outputs, watched

if TYPE_CHECKING:
    from ..control.control import Control
    from ..outputs.base import Output, Outputs, SlowOutput
    from ..outputs.live import Live
    from ..pipeline.options import WatchOptions
    from ..pipeline.state import State
    from ..pipeline.watch import Watch
    from ..pipeline.watch_all import WatchAll
    from ..sources.base import Source

HELP = "Recognize emotions on a camera, stream, video, image or folder."
EPILOG = """\
examples:
  fer-edge run --camera demo --frames 60          # no camera needed
  fer-edge run --camera 0 --jsonl - | jq '.faces[]?.emotion'
  fer-edge run --camera 0 --camera rtsp://192.168.1.20/stream
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
    from ..outputs.base import OutputClosed, Outputs, write_line
    from ..outputs.stats import StatsOutput
    from ..periodic import every
    from ..pipeline.state import RUNNING
    from ..service.heartbeat import Heartbeat
    from ..service.notify import notifier_from
    from ._mqtt import broker_for, open_mqtt
    from ._page import open_door, open_page, serve_page
    from .signals import HangUp, stopped_by_signals

    flags = given(args)
    file = args.config or os.environ.get("FER_EDGE_CONFIG")
    with contextlib.ExitStack() as stack:
        hang_up = stack.enter_context(HangUp()) if file else None
        kept = () if hang_up is None else (signal.SIGHUP,)
        loaded = load(flags, os.environ, file)
        if args.print_config:
            print(to_toml(loaded))
            return 0
        config, opened = loaded.config, Opened()
        set_level(config.log_level)
        notifier = notifier_from()
        if notifier.watchdog:
            # SIGABRT is how systemd ends what hangs; the journal then says where.
            faulthandler.enable()
        notifier.extend(_START_SECONDS)
        alive = Heartbeat(notifier, lambda: results.summary.frames)
        figures: Live | None = None

        def follow_file() -> None:
            nonlocal config, opened
            if hang_up is not None and hang_up.taken():
                notifier.reloading()
                read = functools.partial(load, flags, os.environ, file)
                config, opened = _reload(read, config, results, outputs, opened, beside, apart)
                control.set_store(opened.store)
                notifier.ready("configuration read again")

        def on_state(state: State) -> None:
            alive(state)
            if figures is not None and not config.cameras:
                figures.on_state(state)
            # A frame that was recognized goes to the outputs that were there.
            if state != RUNNING:
                follow_file()
                outputs.idle(state)

        def on_camera(name: str, state: State) -> None:
            if figures is not None:
                figures.on_state(state, name)

        door = open_door(config, stack)
        # Blurred pictures are grey, which costs less.
        shown = config.window or (door is not None and door.picture == "full")
        shown |= config.mqtt_camera == "full"
        # Nothing is written yet that would have to be finished, and opening a stream may take long.
        with ended_at_once(but=kept):
            if config.cameras:
                results: Watch | WatchAll = _open_all(config, shown, stack, on_state, on_camera)
            else:
                results = _open(config, shown, stack, on_state)
        cameras = watched(config, results)
        live = any(camera.watch.source.live for camera in cameras)
        if live:
            date_lines()
        stats = [StatsOutput(lambda: results.summary)] if config.stats else []
        control = _control(config, results)
        figures = live_of(config, cameras, control.snapshot)
        metrics = metrics_of(config, figures, cameras, lambda: outputs.losses)
        broker = broker_for(config, cameras)
        opened = open_outputs(config, cameras)
        control.set_store(opened.store)
        silence = max(_longest_silence(camera.watch) for camera in cameras)
        page = door and figures and metrics and open_page(door, config, control, figures, metrics, silence)
        beside: list[Output] = [*stats, *([page] if page else [])]
        apart: list[SlowOutput] = []
        if broker is not None and figures is not None:
            apart.append(open_mqtt(broker, config, control, figures, live))
        slow = [*opened.slow.values(), *apart]
        outputs = Outputs([*beside, *opened.direct.values()], slow, live, config.require)
        # These see each result at no cost.
        takers = [one.take for one in (figures, metrics) if one is not None]
        keep_metrics(config, metrics, stack)
        stack.enter_context(stopped_by_signals(results, outputs, but=kept))
        _watch_board(config, results, len(cameras), stack)
        if any(camera.watch.source.related for camera in cameras):
            _may_be_asked(config, control, live, stack)
        _tell_privacy(config, cameras)
        for one in stats:
            stack.enter_context(every(config.stats or 0.0, one.tell, "stats"))
        if notifier.watchdog and silence >= notifier.watchdog:
            # Until then, a source that gives no frame is not lost.
            notifier.watch_every(silence + notifier.watchdog)
        if page and door:
            serve_page(page, door, stack)
        notifier.ready(f"started on {', '.join(camera.label for camera in cameras)}")
        try:
            try:
                with contextlib.suppress(OutputClosed):
                    for result in results:
                        for take in takers:
                            take(result)
                        outputs.write(result)
                        follow_file()
            finally:
                notifier.stopping("finishing the outputs")
                outputs.close(_summaries(results))
        finally:
            with contextlib.suppress(OutputClosed, OutputError):
                write_line(_messages(config), _told(results, outputs), lambda: results.stopped)
        summary = results.summary
        if live and not (summary.frames or summary.paused_seconds or results.stopped):
            _log.error("fer-edge run: %s gave no frame", ", ".join(camera.label for camera in cameras))
            return 1
        damaged = [camera.label for camera in cameras if camera.watch.summary.damaged]
        for name in damaged:
            _log.error("fer-edge run: %s: more than a tenth of its frames are missing", name)
        return 1 if damaged or outputs.failed else 0


def _control(config: Config, results: Watch | WatchAll) -> Control:
    from ..control.control import Control
    from ..control.folder import state_folder, state_path

    folder = None
    with contextlib.suppress(DataError):
        folder = state_path(config.state_folder)
    # Most runs have nothing to keep, and need no folder then.
    if folder and (config.state_folder or (config.store and Path(config.store).parent == folder)):
        state_folder(os.fspath(folder))
    return Control(results, folder=folder, name=config.name)


def _may_be_asked(config: Config, control: Control, live: bool, stack: contextlib.ExitStack) -> None:
    """Let this run be asked by others of this machine, by keys and by a button."""
    from ..control.button import button
    from ..control.keys import keys
    from ..control.local import listening, listening_folder
    from ..control.requests import obey

    level = logging.INFO if live else logging.DEBUG
    # Nobody's home gets a folder for the sake of a socket that was not thought of.
    thought_of = config.store or config.state_folder or config.name != DEFAULT_NAME
    kept = control.folder if control.folder and (thought_of or control.folder.is_dir()) else None
    folder = listening_folder(kept)
    stack.enter_context(listening(folder, config.name, functools.partial(obey, control), level))
    if config.gpio_button:
        stack.enter_context(button(control, config.gpio_button))
    if config.source != "-":
        stack.enter_context(keys(control))


def _tell_privacy(config: Config, cameras: Sequence[Watched]) -> None:
    """Log what leaves the device and, on a camera or stream, what is forbidden."""
    from ..notice.facts import FORBIDDEN, facts_of, leaving
    from ..sources.demo import DemoSource

    facts = facts_of(config)
    # The demo camera shows nobody who could be told.
    people = any(
        camera.watch.source.live and not isinstance(camera.watch.source, DemoSource) for camera in cameras
    )
    if people or any(not sent.local for sent in facts.sent):
        _log.info("%s", leaving(facts))
    if people:
        _log.warning("%s", FORBIDDEN)


def _longest_silence(watch: Watch) -> float:
    """Seconds for which a source may give no frame before it is lost."""
    options = watch.options
    return max(options.silence, 3 * options.poll, options.longest_pause(watch.source))


def _watch_board(
    config: Config, results: Watch | WatchAll, cameras: int, stack: contextlib.ExitStack
) -> None:
    """Lower the rate of a run while the board is too hot or short of power."""
    from ..periodic import every
    from ..pipeline.heat import CHECK_SECONDS, Guard, usual_limit

    hottest = usual_limit() if config.max_heat is None else config.max_heat
    if hottest:
        guard = Guard(lambda: results.summary.frames, results.limit, hottest, cameras=cameras)
        stack.enter_context(every(CHECK_SECONDS, guard.check, "heat"))


def _open(
    config: Config, shown: bool, stack: contextlib.ExitStack, on_state: Callable[[State], None]
) -> Watch:
    from ..native_output import litert_greeting
    from ..pipeline.watch import Watch

    options = _with_colour(config, shown)
    source = stack.enter_context(_open_source(config, options))
    with litert_greeting():
        return stack.enter_context(Watch(source, options, on_state=on_state))


def _open_all(
    config: Config,
    shown: bool,
    stack: contextlib.ExitStack,
    on_state: Callable[[State], None],
    on_camera: Callable[[str, State], None],
) -> WatchAll:
    from ..native_output import litert_greeting
    from ..pipeline.watch_all import WatchAll

    with litert_greeting():
        cameras = {
            camera.name: (str(camera.config.source), _with_colour(camera.config, shown))
            for camera in config.cameras
        }
        return stack.enter_context(WatchAll(cameras, on_state=on_state, on_camera=on_camera))


def _with_colour(config: Config, shown: bool) -> WatchOptions:
    """The options of a loop, with pictures in colour where they are to be looked at."""
    pictures = bool(config.save_video or config.save_image or shown)
    return dataclasses.replace(config.watch, colour=pictures)


def _summaries(results: Watch | WatchAll) -> dict[str, Any]:
    """What outputs record of a run's end."""
    from ..outputs.jsonl import summary_to_json
    from ..pipeline.watch_all import WatchAll

    told: dict[str, Any] = {"summary": summary_to_json(results.summary)}
    if isinstance(results, WatchAll):
        told["cameras"] = {name: summary_to_json(one) for name, one in results.summaries.items()}
    return told


def _told(results: Watch | WatchAll, outputs: Outputs) -> str:
    """The last lines: what the run did, and what its outputs did not write."""
    from ..pipeline.watch_all import WatchAll

    parts = [str(results.summary)]
    if isinstance(results, WatchAll):
        cameras = [f"{printable(name)}: {one}" for name, one in results.summaries.items()]
        parts = ["\n".join([*cameras, f"all: {results.summary}"])]
    for name, losses in outputs.losses.items():
        if losses.dropped:
            parts.append(f"{name} dropped {losses.dropped}")
        if losses.lost:
            parts.append(f"{name} lost {losses.lost}")
    return ", ".join(parts)


def _open_source(config: Config, options: WatchOptions) -> Source:
    from ..sources import await_any, first_camera, open_camera, open_source
    from ..sources.reconnect import opened_or_awaited

    opening = options.source_options
    given = config.source if config.source is not None else next(iter(config.camera), None)
    if options.wait_for_camera:
        if given is None:
            return opened_or_awaited("the first camera", lambda: first_camera(opening))
        return await_any(given, opening)
    if given is not None:
        return open_camera(given, opening) if config.source is None else open_source(given, opening)
    source = first_camera(opening)
    print(f"fer-edge run: {printable(source.name)} (choose with --camera)", file=sys.stderr)
    return source


def _reload(
    read: Callable[[], Loaded],
    config: Config,
    results: Watch | WatchAll,
    outputs: Outputs,
    opened: Opened,
    beside: Sequence[Output],
    apart: Sequence[SlowOutput],
) -> tuple[Config, Opened]:
    """Go on with the configuration as it is now, and say so; one that is bad changes nothing."""
    try:
        new = reloaded(config, read().config)
        # Before outputs are opened, which record the options.
        _adjust(results, new.config)
        fresh = open_outputs(new.config, watched(new.config, results), opened)
    except (FerEdgeError, ValueError) as error:
        _adjust(results, config)
        _log.error("configuration not read again, the old one goes on: %s", error)
        return config, opened
    outputs.exchange(
        [*beside, *fresh.direct.values()],
        [*fresh.slow.values(), *apart],
        new.config.require,
        _summaries(results),
    )
    changed = f"changed: {', '.join(new.changed)}" if new.changed else "nothing changed"
    left = f"; these need a restart: {', '.join(new.left)}" if new.left else ""
    _log.log(logging.WARNING if new.left else logging.INFO, "configuration read again, %s%s", changed, left)
    return new.config, fresh


def _adjust(results: Watch | WatchAll, config: Config) -> None:
    from ..pipeline.watch_all import WatchAll

    if isinstance(results, WatchAll):
        results.adjust({camera.name: camera.config.watch for camera in config.cameras})
    else:
        results.adjust(config.watch)


def _messages(config: Config) -> TextIO:
    return sys.stderr if config.jsonl == "-" else sys.stdout
