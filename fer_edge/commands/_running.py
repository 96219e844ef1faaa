"""What session, pause and resume share: finding a run and asking it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ..errors import printable
from ..option import nonempty


def configure_run(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which run is meant."""
    parser.add_argument(
        "--run",
        type=nonempty,
        metavar="NAME",
        help="choose the run of this name where several are going on: the --name of fer-edge run or service",
    )
    parser.add_argument(
        "--state-folder",
        type=nonempty,
        metavar="DIR",
        help="look for the run in this folder too: the --state-folder that it was given",
    )


def ask_run(args: argparse.Namespace, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the run that ``args`` mean; errors as of :mod:`fer_edge.control.local`."""
    from pathlib import Path

    from ..control.local import ask, find, folders

    own = [Path(args.state_folder)] if args.state_folder else []
    return ask(find(args.run, [*own, *folders()]).path, request)


def answer_text(answer: Mapping[str, Any]) -> str:
    """A line on how the run is that gave ``answer``."""
    cameras = ", ".join(answer["cameras"])
    session = "no session" if answer["session"] is None else f"session {answer['session']!r}"
    if not answer["store"]:
        session = "no store for sessions"
    state = "paused" if answer["paused"] else "recognizing"
    return printable(f"{answer['run']}: {state} on {cameras}; {session}")
