"""Opening what a run recognizes: one source, or several cameras."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config import Config
from ..errors import printable

if TYPE_CHECKING:
    from ..pipeline.options import WatchOptions
    from ..pipeline.state import State
    from ..pipeline.watch import Watch
    from ..pipeline.watch_all import WatchAll
    from ..sources.base import Source


def open_loop(
    config: Config,
    colour: bool,
    stack: contextlib.ExitStack,
    on_state: Callable[[State], None],
    on_camera: Callable[[str, State], None],
) -> Watch | WatchAll:
    """Open the sources of ``config`` and the loop over them, until the context of ``stack`` ends.

    ``colour``: whether pictures are needed in colour whatever the outputs are. ``on_state`` and ``on_camera``
    are those of :class:`~fer_edge.pipeline.watch_all.WatchAll`; ``on_camera`` is for several cameras only.
    Raises :class:`~fer_edge.errors.SourceError` for a source that cannot be opened.
    """
    from ..native_output import litert_greeting
    from ..pipeline.watch import Watch
    from ..pipeline.watch_all import WatchAll

    if config.cameras:
        cameras = {
            camera.name: (str(camera.config.source), _with_colour(camera.config, colour))
            for camera in config.cameras
        }
        with litert_greeting():
            return stack.enter_context(WatchAll(cameras, on_state=on_state, on_camera=on_camera))
    options = _with_colour(config, colour)
    source = stack.enter_context(_open_source(config, options))
    with litert_greeting():
        return stack.enter_context(Watch(source, options, on_state=on_state))


def camera_names(config: Config) -> list[str]:
    """What a run with ``config`` calls its cameras, found out without opening them."""
    from ..sources import first_name, place_name

    if config.cameras:
        return [camera.name for camera in config.cameras]
    given = _given(config)
    return [first_name() if given is None else place_name(given)]


def longest_silence(watch: Watch) -> float:
    """Seconds for which a source may give no frame before it is lost."""
    options = watch.options
    return max(options.silence, 3 * options.poll, options.longest_pause(watch.source))


def _with_colour(config: Config, colour: bool) -> WatchOptions:
    """The options of a loop, with pictures in colour where somebody will look at them."""
    return dataclasses.replace(config.watch, colour=bool(config.save_video or config.save_image or colour))


def _open_source(config: Config, options: WatchOptions) -> Source:
    from ..sources import await_any, await_first, first_camera, open_camera, open_source

    opening = options.source_options
    given = _given(config)
    if options.wait_for_camera:
        return await_first(opening) if given is None else await_any(given, opening)
    if given is not None:
        return open_camera(given, opening) if config.source is None else open_source(given, opening)
    source = first_camera(opening)
    print(f"fer-edge run: {printable(source.name)} (choose with --camera)", file=sys.stderr)
    return source


def _given(config: Config) -> str | None:
    """The only source that was given, if any."""
    return config.source if config.source is not None else next(iter(config.camera), None)
