"""``fer-edge resume``."""

from __future__ import annotations

import argparse

from ._running import answer_text, ask_run, configure_run

HELP = "Resume a paused run."
EPILOG = """\
examples:
  fer-edge resume
  fer-edge resume --run door"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_run(parser)


def execute(args: argparse.Namespace) -> int:
    """Ask the run, and print its state."""
    print(answer_text(ask_run(args, {"action": "resume"})))
    return 0
