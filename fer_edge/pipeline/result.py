"""What is known of a frame and of the faces in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a frame and its emotion; all coordinates in pixels of the frame."""

    box: tuple[float, float, float, float]
    """x, y of the top-left corner, width, height; may leave the frame."""
    score: float
    """The detector's, 0 to 1."""
    landmarks: NDArray[np.float32]
    """(5, 2) x, y: right eye, left eye, nose tip, right and left mouth corner, as the person has them."""
    probabilities: NDArray[np.float32]
    """(7,), in the order of :data:`fer_edge.EMOTIONS`, sum 1."""
    track: int | None = None
    """Number of the person's track in a live run or video; ``None`` for a frame by itself."""

    @property
    def emotion(self) -> str:
        """The most probable of :data:`fer_edge.EMOTIONS`."""
        return EMOTIONS[int(self.probabilities.argmax())]


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
