"""The page of a run, as its configuration asks for it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..config import Config
from ..control.folder import state_folder

if TYPE_CHECKING:
    from ..control.control import Control
    from ..outputs.live import Live
    from ..outputs.metrics import Metrics
    from ..outputs.page.page import Door, PageOutput


def open_door(config: Config, stack: contextlib.ExitStack) -> Door | None:
    """Find out what could be wrong with ``--page``, and take its address; errors as for its ``Door``."""
    if config.page is None:
        return None
    from ..outputs.page.page import Door, PageOptions, Shown

    options = PageOptions(
        config.page,
        cast("Shown | None", config.page_picture),
        config.page_fps,
        config.page_viewers,
        config.page_tls,
        config.page_host,
        config.page_token_file,
    )
    door = Door(options, lambda: state_folder(config.state_folder))
    stack.callback(door.close)
    return door


def open_page(
    door: Door, config: Config, control: Control, live: Live, metrics: Metrics, silence: float
) -> PageOutput:
    """Make the page of a run. ``silence``: seconds that may pass without a frame."""
    from ..outputs.page.page import PageOutput

    store = Path(config.store) if config.store else None
    page = PageOutput(door, control.cameras, live, control, metrics.render, store, config.unsure, silence)
    control.on_change(page.changed)
    return page


def serve_page(page: PageOutput, door: Door, stack: contextlib.ExitStack) -> None:
    """Serve the page while the context of ``stack`` lasts, and say where."""
    from ..outputs.page.page import greet

    stack.callback(page.close)
    page.start()
    greet(door)
