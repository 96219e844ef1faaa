"""The page of a run, as its configuration asks for it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..config import Config
from ..control.folder import state_folder
from ._beside import Beside, OpenRun

if TYPE_CHECKING:
    from ..outputs.page.page import Door


def open_door(config: Config, stack: contextlib.ExitStack) -> Door | None:
    """Check the options of ``--page`` and take its address; errors as of its ``Door``."""
    if config.page is None:
        return None
    from ..outputs.page.page import Door, PageOptions, Shown

    options = PageOptions(
        address=config.page,
        picture=cast("Shown | None", config.page_picture),
        fps=config.page_fps,
        viewers=config.page_viewers,
        tls=config.page_tls,
        hosts=config.page_host,
        token_file=config.page_token_file,
    )
    door = Door(options, lambda: state_folder(config.state_folder))
    stack.callback(door.close)
    return door


def add_page(beside: Beside, run: OpenRun) -> None:
    """Serve the page behind ``run.door`` and say where it is."""
    if run.door is None:
        return
    from ..outputs.page.page import PageOutput, greet

    assert run.figures is not None and run.metrics is not None, "a run with a page has figures"
    config, control, door = run.config, run.control, run.door
    store = Path(config.store) if config.store else None
    page = PageOutput(
        door, control.cameras, run.figures, control, run.metrics.render, store, config.unsure, run.silence
    )
    control.on_change(page.changed)
    beside.store_readers.append(page.set_store)
    beside.direct.append(page)

    def start(stack: contextlib.ExitStack) -> None:
        stack.callback(page.close)
        page.start()
        greet(door)

    beside.starts.append(start)
