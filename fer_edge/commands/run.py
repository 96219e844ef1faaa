"""``fer-edge run``: from a camera, stream or file to emotions."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..config import GROUPS, OPTIONS, Config, Loaded, load, reloaded, to_toml
from ..errors import FerEdgeError, OutputError, described, printable
from ..log import date_lines, set_level
from ..option import nonempty
from ._arguments import add_option
from ._beside import Beside, OpenRun, add_all
from ._control import control_of, let_others_ask, open_button
from ._extras import require_extras
from ._live import live_of, metrics_of
from ._mqtt import broker_for
from ._outputs import Opened, Watched, gives_lines, open_outputs, watched
from ._page import open_door
from ._sources import longest_silence, open_loop

if TYPE_CHECKING:
    from ..outputs.base import Losses, Output, Outputs, SlowOutput
    from ..outputs.page.page import Door
    from ..pipeline.state import State
    from ..pipeline.watch import Watch
    from ..pipeline.watch_all import WatchAll
    from .signals import HangUp

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
output failed; 2 bad input or a camera that cannot be opened; 78 a bad configuration file or environment; 130
stopped before the source was open."""


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
    from ..machine import limit_arenas
    from .signals import HangUp

    limit_arenas()
    file = args.config or os.environ.get("FER_EDGE_CONFIG")
    read = functools.partial(load, given(args), os.environ, file)
    with contextlib.ExitStack() as stack:
        hang_up = stack.enter_context(HangUp()) if file else None
        loaded = read()
        if args.print_config:
            print(to_toml(loaded))
            return 0
        run = _Run(loaded.config, read, hang_up, stack)
        run.recognize()
        return run.exit_code()


class _Run:
    """A run whose options and outputs may change while it goes on.

    ``read`` reads the configuration again, whenever ``hang_up`` was taken. What is opened is closed with the
    context of ``stack``. Raises what opening raises.
    """

    def __init__(
        self, config: Config, read: Callable[[], Loaded], hang_up: HangUp | None, stack: contextlib.ExitStack
    ) -> None:
        from ..service.heartbeat import Heartbeat
        from ..service.notify import notifier_from

        self._config, self._read, self._hang_up = config, read, hang_up
        self._signals_kept = () if hang_up is None else (signal.SIGHUP,)
        set_level(config.log_level)
        self._notifier = notifier_from()
        if self._notifier.watchdog:
            # SIGABRT is how systemd ends what hangs; the journal then says where.
            faulthandler.enable()
        self._notifier.extend(_START_SECONDS)
        self._alive = Heartbeat(
            self._notifier, lambda: self._results.summary.frames, silence=self._longest_silence
        )
        self._beside = Beside()
        require_extras(config)
        door = open_door(config, stack)
        self._open_sources(door, stack)
        self._open_outputs(door, stack)
        with contextlib.ExitStack() as undoing:
            undoing.callback(self._close_outputs)
            self._start(stack)
            undoing.pop_all()

    def recognize(self) -> None:
        """Hand results over until there are no more; then finish the outputs and say what was done."""
        from ..outputs.base import OutputClosed, write_line

        try:
            try:
                with contextlib.suppress(OutputClosed):
                    for result in self._results:
                        self._beside.take(result)
                        self._outputs.write(result)
                        self._follow_file()
            finally:
                self._notifier.stopping("finishing the outputs")
                self._close_outputs()
        finally:
            stream, text = _messages(self._config), _result_text(self._results, self._outputs)
            try:
                with contextlib.suppress(OutputClosed, OutputError):
                    write_line(stream, text, lambda: self._results.stopped)
            except OSError as error:
                # A message that cannot be told is no failure, unlike lines that were asked for.
                if stream is sys.stdout:
                    raise OutputError(f"stdout: cannot be written: {error.strerror}") from error

    def exit_code(self) -> int:
        """Say what was missing; return 1 for that and for outputs that failed, else 0."""
        summary, stopped = self._results.summary, self._results.stopped
        if self._live and not (summary.frames or summary.paused_seconds or stopped):
            _log.error("fer-edge run: %s gave no frame", self._labels)
            return 1
        damaged = [camera.label for camera in self._cameras if camera.watch.summary.damaged]
        for name in damaged:
            _log.error("fer-edge run: %s: more than a tenth of its frames are missing", name)
        return 1 if damaged or self._outputs.failed else 0

    @property
    def _labels(self) -> str:
        return ", ".join(camera.label for camera in self._cameras)

    @property
    def _is_related(self) -> bool:
        """Whether the frames of any camera follow each other, unlike single pictures."""
        return any(camera.watch.source.related for camera in self._cameras)

    def _longest_silence(self) -> float:
        """Seconds that may pass without a frame, with the sources and options as they are now."""
        return max(longest_silence(camera.watch) for camera in self._cameras)

    def _open_sources(self, door: Door | None, stack: contextlib.ExitStack) -> None:
        from ..interrupts import ended_at_once

        config = self._config
        # Blurred pictures are grey, which costs less.
        full = (door is not None and door.picture == "full") or config.mqtt_camera == "full"
        # Nothing is written yet that would have to be finished, and opening a stream may take long.
        with ended_at_once(but=self._signals_kept):
            self._results = open_loop(config, config.window or full, stack, self._on_state, self._on_camera)
        self._cameras = watched(config, self._results)
        self._live = any(camera.watch.source.live for camera in self._cameras)
        if self._live:
            date_lines()

    def _close_outputs(self) -> None:
        self._outputs.close(_summaries(self._results))

    def _open_outputs(self, door: Door | None, stack: contextlib.ExitStack) -> None:
        """Open the outputs; what could be wrong with one of ``beside`` is found out before any is opened."""
        from ..outputs.base import Outputs

        config, cameras, results = self._config, self._cameras, self._results
        self._control = control_of(config, results)
        if self._is_related:
            open_button(config, self._control, stack)
        figures = live_of(config, cameras, self._control.snapshot)

        def losses() -> Mapping[str, Losses]:
            return self._outputs.losses

        run = OpenRun(
            config=config,
            cameras=cameras,
            control=self._control,
            summary=lambda: results.summary,
            losses=losses,
            live=self._live,
            silence=self._longest_silence,
            door=door,
            figures=figures,
            metrics=metrics_of(config, figures, cameras, losses),
            broker=broker_for(config, cameras),
        )
        self._opened = open_outputs(config, cameras)
        self._control.set_store(self._opened.store)
        add_all(self._beside, run)
        self._outputs = Outputs(*self._all_outputs(self._opened), self._live, config.require)

    def _all_outputs(self, opened: Opened) -> tuple[list[Output], list[SlowOutput]]:
        """Direct and slow ones, in the order in which they are written."""
        beside = self._beside
        return [*beside.direct, *opened.direct.values()], [*opened.slow.values(), *beside.slow]

    def _start(self, stack: contextlib.ExitStack) -> None:
        """Let signals, the board and those who ask reach the run; then notify others that it goes on."""
        from .signals import stopped_by_signals

        config, cameras, notifier = self._config, self._cameras, self._notifier
        stack.enter_context(stopped_by_signals(self._results, self._outputs, but=self._signals_kept))
        _watch_board(config, self._results, len(cameras), stack)
        if self._is_related:
            let_others_ask(config, self._control, self._live, stack)
        _log_privacy(config, cameras)
        if config.store and (config.page or config.mqtt):
            # These keep a store by themselves, which reports are made of.
            days = f"{config.keep:g} day{'' if config.keep == 1 else 's'}"
            _log.info("visits are kept for %s in %s", days, printable(config.store))
        watch = config.watch
        if watch.balance is not None and watch.labels != "people":
            _log.warning(
                "balance %g does nothing with the labels of 2013: it is for people's answers", watch.balance
            )
        self._alive.adapt()
        self._beside.start(stack)
        notifier.ready(f"started on {self._labels}")

    def _on_state(self, state: State) -> None:
        from ..pipeline.state import RUNNING

        self._alive(state)
        if not self._config.cameras:
            self._beside.on_state(state)
        # A frame that was recognized goes to the outputs that were there.
        if state != RUNNING:
            self._follow_file()
            self._outputs.idle(state)

    def _on_camera(self, name: str, state: State) -> None:
        self._beside.on_state(state, name)

    def _follow_file(self) -> None:
        if self._hang_up is not None and self._hang_up.taken():
            self._notifier.reloading()
            self._reload()
            self._notifier.ready("configuration read again")

    def _reload(self) -> None:
        """Go on with the configuration as it is now, and say so; one that is bad changes nothing."""
        results = self._results
        try:
            new = reloaded(self._config, self._read().config)
            # Before outputs are opened, which record the options.
            _adjust(results, new.config)
            opened = open_outputs(new.config, watched(new.config, results), self._opened)
        except (FerEdgeError, ValueError, OSError) as error:
            _adjust(results, self._config)
            _log.error("configuration not read again, the old one goes on: %s", described(error))
            return
        session = self._control.session
        self._outputs.exchange(*self._all_outputs(opened), new.config.require, _summaries(results))
        self._config, self._opened = new.config, opened
        self._control.set_store(opened.store)
        if new.config.store:
            self._beside.set_store(Path(new.config.store))
        changed = f"changed: {', '.join(new.changed)}" if new.changed else "nothing changed"
        left = f"; these need a restart: {', '.join(new.left)}" if new.left else ""
        level = logging.WARNING if new.left else logging.INFO
        _log.log(level, "configuration read again, %s%s", changed, left)
        if session is not None and self._control.session is None:
            _log.warning("session %r has ended with the store that it was in", session)


def _log_privacy(config: Config, cameras: Sequence[Watched]) -> None:
    """Log what leaves the device and, on a camera or stream, what is forbidden."""
    from ..notice.facts import FORBIDDEN, facts_of, leaving
    from ..sources.demo import DemoSource

    facts = facts_of(config)
    # The demo camera films nobody who would have to be informed.
    people = any(
        camera.watch.source.live and not isinstance(camera.watch.source, DemoSource) for camera in cameras
    )
    if people or any(not sent.local for sent in facts.sent):
        _log.info("%s", leaving(facts))
    if people:
        _log.warning("%s", FORBIDDEN)


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


def _summaries(results: Watch | WatchAll) -> dict[str, Any]:
    """What outputs record of a run's end."""
    from ..outputs.jsonl import summary_to_json
    from ..pipeline.watch_all import WatchAll

    record: dict[str, Any] = {"summary": summary_to_json(results.summary)}
    if isinstance(results, WatchAll):
        record["cameras"] = {name: summary_to_json(one) for name, one in results.summaries.items()}
    return record


def _result_text(results: Watch | WatchAll, outputs: Outputs) -> str:
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


def _adjust(results: Watch | WatchAll, config: Config) -> None:
    from ..pipeline.watch_all import WatchAll

    if isinstance(results, WatchAll):
        results.adjust({camera.name: camera.config.watch for camera in config.cameras})
    else:
        results.adjust(config.watch)


def _messages(config: Config) -> TextIO:
    return sys.stderr if gives_lines(config) else sys.stdout
