"""How sources are opened and read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from ..defaults import MAX_PIXELS
from .raw import RawFormat
from .turn import NO_TURN, Turn


@dataclass(frozen=True)
class SourceOptions:
    """Options of :func:`fer_edge.sources.open_any`. Raises ``ValueError`` for a value out of range."""

    colour: bool = False
    """Ask a camera for BGR frames where grey ones would cost less."""
    recursive: bool = False
    """Read the sub-folders of a folder as well."""
    max_pixels: int = MAX_PIXELS
    """Pictures with more pixels are refused before they are decoded."""
    raw: RawFormat | None = None
    """Read a file or pipe as frames of this format, without a container."""
    poll: float = 1.0
    """Seconds after which the URL of a picture is read again; 0: read it once."""
    unpaced: bool = False
    """Let the demo camera give frame after frame without waiting."""
    password_file: str | os.PathLike[str] | None = None
    """The first line of this file is the password of the user that a stream's URL names."""
    turn: Turn = NO_TURN
    """How frames are to be turned. Only a camera that can do so itself does, and says so in
    :attr:`~fer_edge.sources.base.Source.turned`; all other turning is left to the reader."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be 1 or more, got {self.max_pixels}")
        if not (math.isfinite(self.poll) and self.poll >= 0):
            raise ValueError(f"poll must be 0 or more seconds, got {self.poll}")
