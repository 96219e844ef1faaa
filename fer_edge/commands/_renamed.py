"""Former names of options and recorded keys: accepted for one version, with a note of the current name."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from ..train.renamed import RenamedWarning


def accept_former_name(parser: argparse.ArgumentParser, former: str, current: str) -> None:
    """Let the option ``current``, which ``parser`` has, be given as ``former`` too, with a note on stderr."""
    target = next(action for action in parser._actions if current in action.option_strings)
    convert: Any = target.type or str

    class Former(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            option_string: str | None = None,
        ) -> None:
            print(
                f"{parser.prog}: {former} is now called {current}; the next version will not know {former}",
                file=sys.stderr,
            )
            target(parser, namespace, values, option_string)

    parser.add_argument(
        former,
        action=Former,
        nargs=target.nargs,
        dest=target.dest,
        type=convert,
        default=target.default,
        help=argparse.SUPPRESS,
    )


@contextlib.contextmanager
def renamed_names_reported(*, quiet: bool = False) -> Iterator[None]:
    """Print each RenamedWarning once, as one line on stderr; none where ``quiet``."""
    reported: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "always", RenamedWarning)
        show = warnings.showwarning

        def report(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, RenamedWarning):
                show(message, category, filename, lineno, file, line)
            elif str(message) not in reported:
                reported.add(str(message))
                print(f"fer-edge: {message}", file=sys.stderr)

        warnings.showwarning = report
        yield
