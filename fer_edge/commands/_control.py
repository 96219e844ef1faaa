"""What a run is asked through: the folder it remembers in, its socket, its keys, its button."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import DEFAULT_NAME, Config
from ..errors import DataError

if TYPE_CHECKING:
    from ..control.control import Control
    from ..pipeline.watch import Watch
    from ..pipeline.watch_all import WatchAll


def control_of(config: Config, results: Watch | WatchAll) -> Control:
    """Return what ``results`` are asked through; its state folder is made only where it is needed.

    Raises :class:`~fer_edge.errors.DataError` where that folder cannot be made.
    """
    from ..control.control import Control
    from ..control.folder import state_folder, state_path

    folder = None
    with contextlib.suppress(DataError):
        folder = state_path(config.state_folder)
    # Most runs have nothing to keep, and need no folder then.
    if folder and (config.state_folder or (config.store and Path(config.store).parent == folder)):
        state_folder(os.fspath(folder))
    return Control(results, folder=folder, name=config.name)


def open_button(config: Config, control: Control, stack: contextlib.ExitStack) -> None:
    """Let a button mark events, if there is to be one; as :func:`~fer_edge.control.button.button`."""
    from ..control.button import button

    if config.gpio_button:
        stack.enter_context(button(control, config.gpio_button))


def let_others_ask(config: Config, control: Control, live: bool, stack: contextlib.ExitStack) -> None:
    """Let this run be asked by other programs on this machine and by keys.

    ``live``: whether messages about the socket are worth being shown.
    """
    from ..control.keys import keys
    from ..control.local import listening, listening_folder
    from ..control.requests import obey

    level = logging.INFO if live else logging.DEBUG
    # A run that asked for nothing of the kind must not leave a folder in somebody's home.
    wanted = config.store or config.state_folder or config.name != DEFAULT_NAME
    kept = control.folder if control.folder and (wanted or control.folder.is_dir()) else None
    folder = listening_folder(kept)
    stack.enter_context(listening(folder, config.name, functools.partial(obey, control), level))
    if config.source != "-":
        stack.enter_context(keys(control))
