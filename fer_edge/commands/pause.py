"""``fer-edge pause``."""

from __future__ import annotations

import argparse

from ._running import answer_text, ask_run, configure_run

HELP = "Pause a run: it recognizes, shows and stores nothing until fer-edge resume, even after a restart."
EPILOG = """\
examples:
  fer-edge pause
  fer-edge pause --run door
  sudo fer-edge pause              # a service"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_run(parser)


def execute(args: argparse.Namespace) -> int:
    """Ask the run, and print its state."""
    print(answer_text(ask_run(args, {"action": "pause"})))
    return 0
