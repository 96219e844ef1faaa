"""What is known of a frame and of the faces in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ..faces.faces import Faces
from .state import Gap

SCHEMA = 1
"""Version of the records as which results are written, and the newest that is read; docs/jsonl.md.

It rises where a field changes its meaning or goes; new fields may come without.
"""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame and what was recognized in it."""

    index: int
    """Counts the processed frames of a run from 0."""
    source: str
    """Name of the source, or path of the image; without passwords."""
    camera: str
    """What the operator calls this camera; the source's name where nothing else was given."""
    timestamp: float
    """Seconds: since a live source was first opened, in the film (video), 0 (image); never goes back."""
    monotonic: float
    """Seconds of the machine's monotonic clock when the frame was read; never goes back."""
    time: datetime
    """The same moment by the clock, in UTC; may jump on a Pi without a real-time clock."""
    image: NDArray[np.uint8]
    """The frame itself, (h, w, 3) BGR or (h, w) grey; not to be written to."""
    faces: Faces
    """Classified, best detector score first."""
    latency_ms: float
    """From frame to emotions: neither waiting for the camera nor outputs are in it."""
    dropped: int
    """Frames of a live source that were dropped so far, since others were processed."""
    gap: Gap | None = None
    """On the first frame after a lost source was opened again: the time without frames before it."""
    brightness: float | None = None
    """Mean brightness of what is looked at of the frame, 0 black to 255 white; ``None``: not measured."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frame, in pixels."""
        return self.image.shape[1], self.image.shape[0]
