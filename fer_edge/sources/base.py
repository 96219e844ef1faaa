"""What every source gives and how it is used: frames, and a context manager that yields them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..kernels.planes import Chroma
from .turn import NO_TURN, Turn

CAMERA_SIZE = (640, 480)
"""Width and height asked of cameras: a face at two metres still has more pixels than the classifier takes."""

CAMERA_FPS = 30.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source."""

    image: NDArray[np.uint8]
    """(h, w, 3) in BGR order, or (h, w) grey."""
    timestamp: float
    """Seconds: since the source was opened (live), in the film (video file), 0 (image)."""
    name: str
    """Of the source, or the path of the image."""
    monotonic: float = field(default_factory=time.monotonic)
    """Seconds of the machine's monotonic clock when the frame was read."""
    chroma: Chroma | None = None
    """The colour of a grey ``image`` that came from YUV. The detector finds more with it, and takes it as it
    is, so that no colour is converted at full size."""


class Source(ABC):
    """Gives frames when iterated over, once; close it or use it in a ``with`` statement.

    Iterating raises :class:`~fer_edge.errors.SourceLostError` where a camera or stream stops giving
    frames.
    """

    name: str
    live: bool = False
    """Whether frames come in their own time; what is not taken is lost."""
    blocking: bool = False
    """Whether reading may wait for long, as at a pipe, so that it belongs in a thread."""
    pause: float = 0.0
    """Seconds from one frame to the next, where a live source gives them so seldom on purpose."""
    related: bool = True
    """Whether one frame follows from the other, as in a video, so that faces can be tracked."""
    fps: float | None = None
    """Nominal frames a second, where known."""
    skipped: int = 0
    """Unreadable images skipped so far."""
    missing: int = 0
    """Frames of a film that could not be decoded so far."""
    turned: Turn = NO_TURN
    """How the frames have been turned already, by the camera itself."""
    paths: Sequence[Path] = ()
    """The images, where the source is a file of one or a folder of them."""
    chooser: Callable[[float], bool] | None = None
    """Is told the timestamp of each frame and says whether it is wanted; ``None``: all are."""
    foresees: Callable[[Sequence[float]], NDArray[np.bool_]] | None = None
    """Says of the next frames, with these timestamps, which will be wanted, without counting them; ``None``:
    that is not known."""
    choosy: bool = False
    """Whether it asks :meth:`wants` before it decodes a frame, and gives none that is not wanted."""
    reopen: Callable[[], Source] | None = None
    """Opens a live source again after it was lost and closed; ``None`` where that cannot be done. Raises
    :class:`~fer_edge.errors.SourceError`; called in a thread of its own."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    def wants(self, timestamp: float) -> bool:
        """Whether the frame at ``timestamp`` seconds is wanted; asked once a frame, in their order."""
        return self.chooser is None or self.chooser(timestamp)

    def chosen(self) -> Iterator[Frame]:
        """Yield the frames that are wanted."""
        return iter(self) if self.choosy else (frame for frame in self if self.wants(frame.timestamp))

    def close(self) -> None:  # noqa: B027 (most sources hold nothing)
        """Give the device or file back; may be called twice, and while another thread reads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
