"""One module a sub-command: HELP, EPILOG, configure(parser), execute(arguments)."""

from __future__ import annotations

import argparse
import importlib

COMMANDS: dict[str, str] = {
    "run": "recognize emotions on a camera, stream, video, image or folder",
    "session": "mark sessions and events while a run goes on",
    "pause": "pause a run",
    "resume": "resume a paused run",
    "store": "read what run --store has written",
    "fleet": "collect what many devices tell over MQTT, and show them on one page",
    "mqtt": "check an MQTT broker, or remove a device from it",
    "report": "make a page of what faces showed, from stores or JSON lines",
    "archive": "recognize emotions in many films, on all cores or on a Ray cluster",
    "bench": "measure latency on this machine",
    "export-int8": "turn a training checkpoint into int8 and fp32 ONNX and TFLite files",
    "evaluate": "measure accuracy, macro-F1, calibration and confusion on a FER-2013 CSV",
    "predict": "label a FER-2013 test.csv or image files",
    "train": "train a model on a FER-2013 CSV",
    "service": "print, install or remove a systemd unit that runs fer-edge",
    "notice": "print a notice for the door: what a run computes, keeps and sends",
    "doctor": "check this installation",
    "completion": "print a script that lets a shell complete commands and options",
}


def set_up(parser: argparse.ArgumentParser, command: str) -> None:
    """Load the module of a sub-command and let ``parser`` be its command line."""
    module = importlib.import_module(f".{command.replace('-', '_')}", __package__)
    parser.description = module.HELP
    parser.epilog = module.EPILOG
    module.configure(parser)
    parser.set_defaults(execute=module.execute)


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """The command lines of all sub-commands, whose modules are all loaded for it."""
    parsers = {
        name: argparse.ArgumentParser(
            f"fer-edge {name}", formatter_class=argparse.RawDescriptionHelpFormatter
        )
        for name in COMMANDS
    }
    for name, parser in parsers.items():
        set_up(parser, name)
    return parsers
