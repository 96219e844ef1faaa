"""Options of recognition and of a run; the defaults suit a Pi 4 with a camera."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from ..faces.detector import LIVE_SIZE, MIN_SCORE, DetectSize, check_size
from ..faces.tracker import MIN_HITS
from ..sources.decode import MAX_PIXELS
from ..sources.options import SourceOptions
from ..sources.raw import raw_format
from ..sources.turn import Turn


@dataclass(frozen=True)
class WatchOptions:
    """Options of :func:`fer_edge.watch`. Raises ``ValueError`` for a value out of range."""

    model: str | os.PathLike[str] = "edge"
    """Name of a bundled classifier, or path of a model."""
    backend: str = "auto"
    """``auto``, ``litert`` or ``onnx``."""
    precision: str = "int8"
    """``int8`` or ``fp32``."""
    threads: int = 1
    """CPU threads of one inference of the classifier."""
    labels: str = "people"
    """``people``: what ten people would say; ``fer2013``: the labels of 2013."""
    balance: float | None = None
    """How much rare emotions are favoured among people's answers, 0: not at all, to 2; ``None``: as the
    model was exported."""
    detector_model: str | os.PathLike[str] | None = None
    """A YuNet ONNX file instead of the packaged one."""
    detector_engine: str = "auto"
    """What runs the packaged detector: ``auto``, ``litert``, ``onnx`` or ``opencv``."""
    detect_size: DetectSize = None
    """Longest side, in pixels, to which frames are shrunk to find faces; ``"full"``: search large ones as
    large as they are, in tiles; ``None``: 320, and for single pictures the sizes of
    :data:`fer_edge.faces.detector.PICTURE_SIZES`."""
    min_score: float = MIN_SCORE
    """Faces with a lower detector score are ignored, 0 to 1."""
    align: bool = False
    """Turn each face until its eyes are level."""
    detect_every: int = 1
    """The detector, which costs most, runs on every Nth frame; in between, boxes move on evenly."""
    min_hits: int = MIN_HITS
    """Detections after which a face counts as a person and gets a number."""
    smoothing: float = 0.4
    """Time constant in seconds over which a person's probabilities are averaged; 0: not at all."""
    frames: int | None = None
    """Stop after this many processed frames."""
    seconds: float | None = None
    """Stop after this many seconds by the clock."""
    silence: float = 15.0
    """A live source that gives no frame for this many seconds has failed."""
    rotate: int = 0
    """Turn frames clockwise by 90, 180 or 270 degrees, for a camera that is not mounted upright."""
    mirror: bool = False
    """Mirror frames left to right, after turning them."""
    recursive: bool = False
    """Of a folder of images, read the sub-folders as well."""
    raw: str | None = None
    """Read a file or pipe as raw frames, for example ``bgr24:640x480@25``; see
    :data:`fer_edge.sources.raw.PIXEL_FORMATS`."""
    poll: float = 1.0
    """Seconds after which the URL of a picture is read again; 0: read it once."""
    max_pixels: int = MAX_PIXELS
    """Images with more pixels are refused before they are decoded."""
    colour: bool = False
    """Ask a camera for BGR frames where grey ones would cost less, as for pictures to look at."""
    camera: str | None = None
    """What results call the camera; ``None``: the source's name."""

    def __post_init__(self) -> None:
        _ = self.source_options  # checks those
        for name in ("detect_every", "min_hits", "frames"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Integral):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        if not self.silence > 0:
            raise ValueError(f"silence must be more than 0 seconds, got {self.silence}")
        check_size(self.detect_size)
        if self.detect_every < 1:
            raise ValueError(f"detect_every must be 1 or more, got {self.detect_every}")
        if self.min_hits < 1:
            raise ValueError(f"min_hits must be 1 or more, got {self.min_hits}")
        if not (math.isfinite(self.smoothing) and self.smoothing >= 0):
            raise ValueError(f"smoothing must be 0 or more seconds, got {self.smoothing}")
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames must be 1 or more, got {self.frames}")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be more than 0, got {self.seconds}")

    @property
    def turn(self) -> Turn:
        """How frames are turned."""
        return Turn(self.rotate, self.mirror)

    @property
    def source_options(self) -> SourceOptions:
        """Those that say how a source is opened."""
        return SourceOptions(
            colour=self.colour,
            recursive=self.recursive,
            max_pixels=self.max_pixels,
            raw=None if self.raw is None else raw_format(self.raw),
            poll=self.poll,
            turn=self.turn,
        )

    @property
    def live_size(self) -> int | Literal["full"]:
        """The detector's size for frames that follow from each other."""
        return self.detect_size or LIVE_SIZE
