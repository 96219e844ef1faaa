"""The ``fer-edge`` command: sub-commands, error messages and exit codes.

Each module of :mod:`fer_edge.commands` describes one sub-command; only the chosen one is loaded.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from .errors import FerEdgeError

COMMANDS: dict[str, str] = {
    "run": "recognize emotions on a camera, stream, video, image or folder",
    "bench": "measure latency on this machine",
    "export-int8": "turn a training checkpoint into int8 and fp32 ONNX and TFLite files",
    "evaluate": "accuracy, macro-F1, calibration and confusion on a FER-2013 CSV",
    "predict": "label a FER-2013 test.csv or image files",
    "train": "train a model on a FER-2013 CSV",
    "doctor": "check this installation",
}

_USER_OS_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code: 0, 1 failure, 2 usage or bad input, 130 Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(arguments[0] if arguments else "")
    parsed = parser.parse_args(arguments)
    if "execute" not in parsed:
        parser.print_help(sys.stderr)
        return 2
    try:
        code: int = parsed.execute(parsed)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader is gone; keep the interpreter from complaining when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FerEdgeError, OSError, ValueError) as error:
        print(f"fer-edge {parsed.command}: {_describe(error)}", file=sys.stderr)
        return _exit_code(error)


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fer-edge",
        description="Facial-expression recognition that runs on a Raspberry Pi.",
        epilog="example: fer-edge run --camera demo --frames 60",
    )
    parser.add_argument("--version", action=_VersionAction)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == command:
            module = importlib.import_module(f".commands.{name.replace('-', '_')}", __package__)
            subparser.description = module.HELP
            subparser.epilog = module.EPILOG
            module.configure(subparser)
            subparser.set_defaults(execute=module.execute)
    return parser


class _VersionAction(argparse.Action):
    """Looks the version up when asked, not at every start."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from . import __version__

        print(f"fer-edge {__version__}")
        parser.exit()


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, FerEdgeError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _exit_code(error: Exception) -> int:
    """2 where the user can put the input right, 1 where the work itself failed."""
    if isinstance(error, FerEdgeError):
        return error.exit_code
    return 2 if isinstance(error, (ValueError, *_USER_OS_ERRORS)) else 1


if __name__ == "__main__":
    sys.exit(main())
