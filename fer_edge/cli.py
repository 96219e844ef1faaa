"""The ``fer-edge`` command: sub-commands, error messages and exit codes.

Each module of :mod:`fer_edge.commands` describes one sub-command; only the chosen one is loaded.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import errno
import importlib
import io
import itertools
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import log
from .commands import COMMANDS, set_up
from .errors import FerEdgeError, described, is_out_of_memory, printable
from .interrupts import ended_at_once
from .service import journal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, SupportsWrite

_NO_MEMORY = "not enough memory: end other programs, or raise the limit (ulimit -v, MemoryMax of the service)"

_LEAST_ADDRESS_SPACE = 128 * 2**20
"""Bytes; with less a command on pictures cannot work, and NumPy 2.4 may crash while it is loaded."""

_LONGEST_USAGE = 8
"""Lines of a usage that an error is not lost under."""

_WITH_PICTURES = frozenset({"run", "predict", "bench"})
"""Commands on pictures, or, ``predict --out``, on a table of faces."""

_PASS_ON = frozenset({"notice", "service"})
"""Commands that take options of ``run`` behind ``--``."""

_HELP = frozenset({"-h", "--help"})

_USER_OS_ERRORS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_USER_ERRNOS = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
"""Of further such errors: a name is too long, or leads round in a ring of links."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code: 0, 1 failure, 2 usage or bad input, 130 Ctrl-C.

    With ``FER_EDGE_DEBUG=1`` in the environment an error also shows where it comes from.
    """
    _prepare_process()
    arguments = list(sys.argv[1:] if argv is None else argv)
    with ended_at_once():
        # Before options are checked, which loads libraries; the help needs none.
        with_pictures = bool(_WITH_PICTURES & set(arguments[:1])) and not _HELP & set(arguments)
        if with_pictures and _address_space_is_short():
            _report(f"fer-edge {arguments[0]}: {_NO_MEMORY}", logging.ERROR)
            return 1
        parser = _parser(arguments[0] if arguments else "")
        try:
            parsed = parser.parse_args(arguments)
        except SystemExit:
            # After --help and --version: what was printed may not fit.
            if not _flush_stdout():
                return 1
            raise
        except OSError as error:
            return 0 if _stdout_gone(error) else 1
        except Exception as error:
            # Checking the names of files loads libraries.
            if not is_out_of_memory(error):
                raise
            _report(f"fer-edge: {_NO_MEMORY}", logging.ERROR)
            return 1
        if "execute" not in parsed:
            parser.print_help(sys.stderr)
            return 2
        if parsed.command in _WITH_PICTURES and not getattr(parsed, "out", None):
            _load_libraries()
    try:
        with _signals_interrupt(), log.shown(_report):
            code: int = parsed.execute(parsed)
        return code if _flush_stdout() else 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader is gone; keep the interpreter from complaining when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("FER_EDGE_DEBUG", "") not in ("", "0"):
            traceback.print_exc()
        text = _NO_MEMORY if is_out_of_memory(error) else _masked(printable(described(error)))
        _report(f"fer-edge {parsed.command}: {text}", logging.ERROR)
        _flush_stdout()
        return _exit_code(error)


def _address_space_is_short() -> bool:
    """Whether ``ulimit -v`` leaves too little for any picture."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE


def _load_libraries() -> None:
    """Load what the command needs in any case, while Ctrl-C can still end the process at once."""
    for name in ("numpy", "cv2"):
        # What does not load is reported where it is used. An OpenCV in disrepair raises anything.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _flush_stdout() -> bool:
    """Whether all that was printed could be written; where not, says why, unless its reader has gone."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return _stdout_gone(error)
    return True


def _stdout_gone(error: OSError) -> bool:
    """Give up standard output; says why, unless its reader has gone, which is no failure."""
    # Keep the interpreter from trying once more at its end.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    if isinstance(error, BrokenPipeError):
        return True
    _report(f"fer-edge: standard output: {error.strerror}", logging.ERROR)
    return False


def _prepare_process() -> None:
    """Settle what the commands rely on: standard streams, printable file names, quiet OpenCV."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            if stream is sys.__stderr__:
                lossy = io.BufferedWriter(_LossyFile(stream.fileno(), "w", closefd=False))
                stream = sys.stderr = io.TextIOWrapper(lossy, stream.encoding, line_buffering=True)
            # UTF-8 can give back names that are not UTF-8 as they are; other encodings lack letters.
            whole = name == "stdout" and codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors="surrogateescape" if whole else "backslashreplace")
    # Our messages name the file or device and what to do; OpenCV's and FFmpeg's would only surround
    # them. Both read this when they are loaded.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # OpenBLAS, which NumPy and OpenCV bring along and no command uses, takes 30 MB of address space for each
    # thread, and OpenCV's crashes where it does not get them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class _LossyFile(io.FileIO):
    """Leaves out what cannot be written: a log on a full disk must end nothing that it tells of."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        # None also for a terminal that is not waited for.
        return memoryview(data).nbytes if written is None else written


def _report(text: str, level: int) -> None:
    """Print a line on stderr, with its level where the journal reads it."""
    print(journal.with_level(text, level) if journal.reads(sys.stderr) else text, file=sys.stderr)


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end a command by an exception, so that no half-written file stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        # nohup asks for SIGHUP to be ignored, a shell that starts a job in the background for Ctrl-C.
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser(command: str) -> _Parser:
    parser = _Parser(
        prog="fer-edge",
        description="Facial-expression recognition that runs on a Raspberry Pi.",
        epilog="example: fer-edge run --camera demo --frames 60",
    )
    parser.passes_on = command in _PASS_ON
    parser.add_argument("--version", action=_VersionAction)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == command:
            set_up(subparser, name)
            parser.chosen = subparser
    return parser


def _nearest(message: str, options: Sequence[str]) -> str | None:
    """Which of ``options`` is most like the first one that a message of argparse names."""
    import difflib

    given = next((word for word in message.split() if word.startswith("--")), "").partition("=")[0]
    return next(iter(difflib.get_close_matches(given, options, 1)), None)


class _Parser(argparse.ArgumentParser):
    """Repeats no password where it complains of an argument, and says in a line or two what is wrong."""

    passes_on = False
    """Whether the command takes options of ``run`` behind ``--``."""
    chosen: argparse.ArgumentParser | None = None
    """The parser of the command, which knows what its options are called."""
    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # Parsers of commands and actions get their arguments here, too.
        self._given = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        text = _masked(message)
        asked: argparse.ArgumentParser = self
        if message.startswith("unrecognized arguments"):
            # argparse has the parser of all commands complain of what the command's own does not know.
            text += self._remedy(message)
            asked = self.chosen or self
        else:
            text += _masked(self._hyphen(message))
        if len(asked.format_usage().splitlines()) > _LONGEST_USAGE:
            self.exit(2, f"{asked.prog}: error: {text}\nall options: {asked.prog} --help\n")
        asked.print_usage(sys.stderr)
        self.exit(2, f"{asked.prog}: error: {text}\n")

    @property
    def _options(self) -> list[str]:
        """The options of the command."""
        return [name for action in (self.chosen or self)._actions for name in action.option_strings]

    def _remedy(self, message: str) -> str:
        """Say where an argument that the command does not know may belong."""
        from .config import OPTIONS

        if not self.passes_on:
            return self._near(message)
        passed = [name for one in OPTIONS.values() for name in (one.flag, one.off) if name]
        near = _nearest(message, [*self._options, *passed, "--print-config"])
        return self._near(message) if near in self._options else "; options of fer-edge run come after --"

    def _near(self, message: str) -> str:
        """Ask whether an option of the command was meant by the first one that is unknown."""
        near = _nearest(message, self._options)
        return f"; did you mean {near}?" if near else ""

    def _hyphen(self, message: str) -> str:
        """Say how to give what begins with a hyphen, where argparse misses it as it looks like an option."""
        given = list(itertools.takewhile(lambda word: word != "--", self._given))
        unknown = {
            word: before
            for before, word in zip(["", *given], given, strict=False)
            if re.match("-.", word)
            and not any(name.startswith(word.partition("=")[0]) for name in self._options)
        }
        option = re.match(r"argument (?:\S+/)?(-\S+): expected", message)
        if option:
            value = next((word for word, before in unknown.items() if before == option[1]), None)
            how = f"; a value that begins with a hyphen comes after an equals sign: {option[1]}={value}"
            return how if value else ""
        if not unknown or not message.startswith("the following arguments are required"):
            return ""
        word = next(iter(unknown))
        how = f"; what begins with a hyphen and is no option comes after --, as in {self.prog} -- {word}"
        return self._near(word) or how

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        # argparse keeps to itself what could not be written.
        (file or sys.stdout).write(self.format_help())


class _VersionAction(argparse.Action):
    """Looks the version up when asked, not at every start."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from . import __version__

        print(f"fer-edge {__version__}")
        parser.exit()


def _masked(message: str) -> str:
    from .sources.urls import with_urls_masked

    return with_urls_masked(message)


def _exit_code(error: Exception) -> int:
    """2 where the user can put the input right, 1 where the work itself failed."""
    if is_out_of_memory(error):
        return 1
    if isinstance(error, FerEdgeError):
        return error.exit_code
    if isinstance(error, OSError) and error.errno in _USER_ERRNOS:
        return 2
    return 2 if isinstance(error, (ValueError, ModuleNotFoundError, *_USER_OS_ERRORS)) else 1


if __name__ == "__main__":
    sys.exit(main())
