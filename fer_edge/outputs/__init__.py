"""Where recognized frames go: JSON lines, terminal, annotated video or image, window.

An output is anything with ``write(result)`` and ``close()``; see :class:`Output`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from ..recognizer import Face


class OutputClosed(Exception):
    """Raised by :meth:`Output.write` when its reader has gone: the run ends, and has succeeded."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame and what was recognized in it."""

    index: int
    """Counts the processed frames of a run from 0."""
    timestamp: float
    """Seconds, as the source gave it."""
    name: str
    """Of the source, or the path of the image."""
    image: NDArray[np.uint8]
    """The frame itself, (h, w, 3) BGR or (h, w) grey; not to be written to."""
    faces: tuple[Face, ...]
    latency_ms: float
    """From frame to emotions: neither waiting for the camera nor outputs are in it."""

    @cached_property
    def annotated(self) -> NDArray[np.uint8]:
        """The frame with its faces drawn in, (h, w, 3) BGR; drawn once for all outputs that want it."""
        from .draw import annotate

        return annotate(self.image, self.faces)


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
