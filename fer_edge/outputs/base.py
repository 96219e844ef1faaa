"""Where recognized frames go: JSON lines, terminal, annotated video or image, window.

An output is anything with ``write(result)`` and ``close()``; see :class:`Output`.
"""

from __future__ import annotations

import os
import sys
from typing import Protocol, TextIO

from ..pipeline.result import FrameResult


class OutputClosed(Exception):
    """Raised by :meth:`Output.write` when its reader has gone: the run ends, and has succeeded."""


class Output(Protocol):
    """Takes the results of a run."""

    def write(self, result: FrameResult) -> None:
        """Take one result. Raises :class:`OutputClosed` where nobody wants any more."""

    def close(self) -> None:
        """Finish; called once, also after an error."""


def write_line(stream: TextIO, line: str) -> None:
    """Write ``line`` and flush it; raises :class:`OutputClosed` where ``stream`` is a pipe without reader."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except BrokenPipeError as error:
        if stream is sys.stdout:
            # What is left in the buffer would raise once more when the interpreter flushes it at exit.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        raise OutputClosed from error
