"""Options of recognition and of a run; the defaults suit a Pi 4 with a camera."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Literal

from ..defaults import MAX_PIXELS, MIN_HITS, MIN_SCORE
from ..labels import LABELS
from ..option import (
    BALANCE,
    COUNT,
    DETECT_SIZE,
    LIMIT,
    MASK,
    NUMBER,
    PIXELS,
    REGION,
    WHOLE,
    Polygon,
    Region,
    option,
    polygon_of,
    region_of,
)

if TYPE_CHECKING:
    from ..faces.detector import DetectSize
    from ..sources.base import Source
    from ..sources.options import SourceOptions
    from ..sources.turn import Turn


SHARED = frozenset(
    {
        "model",
        "backend",
        "precision",
        "threads",
        "labels",
        "balance",
        "detector_model",
        "detector_engine",
        "detector_precision",
        "align",
        "budget",
        "frames",
        "seconds",
    }
)
"""Options in which cameras agree that are watched together."""


@dataclass(frozen=True)
class WatchOptions:
    """Options of :func:`fer_edge.watch`. Raises ``ValueError`` for a value out of range.

    Those that ``fer-edge run`` has, too, are made by :func:`~fer_edge.option.option` and stand in the order
    of its help. This module loads the rooms below only where it needs them: ``--help`` does not.
    """

    model: str | os.PathLike[str] = option(
        "edge",
        "classifier",
        "a bundled name, or a folder or file that export-int8 wrote (default: %(default)s)",
    )
    """Name of a bundled classifier, or path of a model."""
    backend: str = option(
        "auto",
        "classifier",
        "what runs the classifier; auto: LiteRT where installed, else ONNX Runtime",
        choices=("auto", "litert", "onnx"),
    )
    """``auto``, ``litert`` or ``onnx``."""
    precision: str = option("int8", "classifier", "default: %(default)s", choices=("int8", "fp32"))
    """``int8`` or ``fp32``."""
    threads: int = option(1, "classifier", "CPU threads of one inference (default: %(default)s)", COUNT)
    """CPU threads of one inference of the classifier."""
    labels: str = option(
        "people",
        "classifier",
        "people: what ten people would say; fer2013: the labels of 2013 (default: %(default)s)",
        choices=LABELS,
    )
    """``people``: what ten people would say; ``fer2013``: the labels of 2013."""
    balance: float | None = option(
        None,
        "classifier",
        "favour rare emotions among people's answers: 0 not at all, 1 as if all were as frequent, at "
        "most 2 (default: the model's own)",
        BALANCE,
        metavar="T",
    )
    """How much rare emotions are favoured among people's answers, 0: not at all, to 2; ``None``: as the
    model was exported."""
    detector_model: str | os.PathLike[str] | None = option(
        None,
        "faces",
        "find faces with this YuNet ONNX file instead of the packaged one; OpenCV runs it",
        metavar="PATH",
    )
    """A YuNet ONNX file instead of the packaged one."""
    detector_engine: str = option(
        "auto",
        "faces",
        "what runs the packaged detector; auto: LiteRT where installed, else ONNX Runtime, else OpenCV",
        choices=("auto", "litert", "onnx", "opencv"),
    )
    """What runs the packaged detector: ``auto``, ``litert``, ``onnx`` or ``opencv``."""
    detector_precision: str = option(
        "fp32",
        "faces",
        "int8, on LiteRT: a faster detector on a Pi 5 and PCs with VNNI, whose boxes are less exact "
        "(default: %(default)s)",
        choices=("fp32", "int8"),
    )
    """``fp32``, or ``int8`` on LiteRT."""
    detect_every: int | None = option(
        None,
        "faces",
        "search every Nth frame whole, in between only around up to three known faces (default: 10 on "
        "live sources, else 1)",
        WHOLE,
        metavar="N",
        reloads=True,
    )
    """Every Nth frame is searched whole, in between only windows around up to three known faces; 1: all of
    them; ``None``: 10 on live sources, else 1."""
    classify_every: int | None = option(
        None,
        "faces",
        "classify each person in one frame of N, new ones at once (default: 3 on live sources, else 1)",
        WHOLE,
        metavar="N",
        reloads=True,
    )
    """Each person is classified in one frame of N, new ones at once; ``None``: 3 on live sources, else 1."""
    detect_size: DetectSize = option(
        None,
        "faces",
        "shrink pictures to a longest side of N pixels to find faces: more finds smaller ones, slower; "
        "full: search large ones as large as they are, in tiles (default: %(default)s)",
        DETECT_SIZE,
        metavar="N",
        shown="320; images 640, then 320 and 160 until a face is found",
    )
    """Longest side, in pixels, to which frames are shrunk to find faces; ``"full"``: search large ones as
    large as they are, in tiles; ``None``: 320, and for single pictures the sizes of
    :data:`fer_edge.faces.detector.PICTURE_SIZES`."""
    min_hits: int = option(
        MIN_HITS,
        "faces",
        "count a face as a person after N detections (default: %(default)s)",
        COUNT,
        metavar="N",
        reloads=True,
    )
    """Detections after which a face counts as a person and gets a number."""
    smoothing: float = option(
        0.4,
        "faces",
        "average each person's emotions with this time constant in seconds, 0: not at all (default: "
        "%(default)s)",
        NUMBER,
        metavar="S",
        reloads=True,
    )
    """Time constant in seconds over which a person's probabilities are averaged; 0: not at all."""
    min_score: float = option(
        MIN_SCORE,
        "faces",
        "ignore faces with a lower detector score, 0 to 1 (default: %(default)s)",
        NUMBER,
        metavar="P",
        reloads=True,
    )
    """Faces with a lower detector score are ignored, 0 to 1."""
    align: bool = option(
        False,
        "faces",
        "turn each face until its eyes are level; the bundled model was not trained on such faces",
    )
    """Turn each face until its eyes are level."""
    reconnect: float = option(
        math.inf,
        "source",
        "open a camera or stream again that was lost; off: end with exit code 1; a time such as 90s or 10m: "
        "end so when it has not come back until then (default: %(default)s)",
        LIMIT,
        metavar="on|off|TIME",
    )
    """A camera or stream that is lost is opened again, for at most this many seconds; 0: not at all."""
    wait_for_camera: bool = option(
        False,
        "source",
        "wait also for a camera or stream that is not there at the start, instead of ending with exit code 2",
    )
    """Wait also for a camera or stream that is not there at the start."""
    raw: str | None = option(
        None,
        "source",
        "read a file or pipe as raw frames: bgr24:640x480@25, or rgb24, gray, yuv420p, nv12",
        metavar="FORMAT",
    )
    """Read a file or pipe as raw frames, for example ``bgr24:640x480@25``; see
    :data:`fer_edge.sources.raw.PIXEL_FORMATS`."""
    poll: float = option(
        1.0,
        "source",
        "read the URL of a picture again every S seconds, 0: once (default: %(default)s)",
        NUMBER,
        metavar="S",
    )
    """Seconds after which the URL of a picture is read again; 0: read it once."""
    password_file: str | os.PathLike[str] | None = option(
        None,
        "source",
        "read the password of the URL's user, as in rtsp://USER@HOST/stream, from this file's first line",
        metavar="FILE",
    )
    """The first line of this file is the password of the user that a stream's URL names. It is read each
    time the stream is opened, and stands in no result."""
    rotate: int = option(
        0,
        "source",
        "turn pictures clockwise, for a camera that hangs upside down or on its side",
        WHOLE,
        choices=(0, 90, 180, 270),
    )
    """Turn frames clockwise by 0, 90, 180 or 270 degrees, for a camera that is not mounted upright."""
    mirror: bool = option(False, "source", "mirror pictures left to right")
    """Mirror frames left to right, after turning them."""
    region: Region | None = option(
        None,
        "source",
        "look for faces in this part of the (turned) picture only: left, top, right, bottom, 0 to 1",
        REGION,
        metavar="L,T,R,B",
    )
    """Left, top, right and bottom, 0 to 1, of the part of the turned picture that the detector sees. Boxes
    are still in pixels of the whole picture."""
    mask: tuple[Polygon, ...] = option(
        (),
        "source",
        "ignore faces whose centre lies in this polygon, such as '0,0 0.3,0 0.3,1', and black it out; may be "
        "repeated",
        MASK,
        metavar="POLYGON",
    )
    """Polygons in parts of the turned picture. Faces whose centre lies in one are neither classified nor
    counted, and results have pictures in which they are black."""
    recursive: bool = option(False, "source", "read the sub-folders of a folder as well")
    """Of a folder of images, read the sub-folders as well."""
    max_pixels: int = option(
        MAX_PIXELS,
        "source",
        "refuse images with more pixels, unread; 200M is 200 megapixels (default: %(default)s)",
        PIXELS,
        metavar="N",
    )
    """Images with more pixels are refused before they are decoded."""
    unpaced: bool = option(
        False,
        "source",
        "take every frame of the demo camera as fast as it goes, as those of files always are",
    )
    """Take the demo camera's frames as fast as they are processed, each of them, at 30 a second of its own
    time, as a film's always are. A source that is live is refused."""
    every: int = option(1, "source", "look at every Nth frame (default: %(default)s)", COUNT, metavar="N")
    """Look at every Nth frame of the source."""
    fps: float | None = option(
        None, "source", "look at F frames a second of the source's own time", NUMBER, metavar="F"
    )
    """Look at this many frames a second of the source's own time; ``None``: at all of them."""
    max_fps: float | None = option(
        None,
        "source",
        "look at no more than F frames a second by the clock, of a camera or stream at the newest",
        NUMBER,
        metavar="F",
    )
    """Look at no more than this many frames a second by the clock, of a live source at the newest."""
    budget: float | None = option(
        None,
        "source",
        "use no more than this share of one core on average; rest where it would be more",
        NUMBER,
        metavar="PERCENT",
    )
    """Percent of one core that the process may use on average; where it would use more, the loop rests."""
    idle_fps: float = option(
        2.0,
        "source",
        "once a camera or stream has shown no face for a minute, look at F frames a second until one comes; "
        "0: at as many as before (default: %(default)s)",
        NUMBER,
        metavar="F",
    )
    """Once a live source has shown no face for a minute, look at so many frames a second until one comes;
    0: at as many as before."""
    frames: int | None = option(None, "source", "stop after N processed frames", WHOLE, metavar="N")
    """Stop after this many processed frames."""
    seconds: float | None = option(None, "source", "stop after S seconds", NUMBER, metavar="S")
    """Stop after this many seconds by the clock."""
    silence: float = 15.0
    """A live source that gives no frame for this many seconds has failed."""
    colour: bool = False
    """Ask a camera for BGR frames where grey ones would cost less, as for pictures to look at."""
    camera: str | None = None
    """What results call the camera; ``None``: the source's name."""

    def __post_init__(self) -> None:
        from ..faces.detector import check_score, check_size

        _ = self.source_options  # checks those
        if self.region is not None:
            object.__setattr__(self, "region", region_of(self.region))
        object.__setattr__(self, "mask", tuple(polygon_of(points) for points in self.mask))
        check_size(self.detect_size)
        check_score(self.min_score)
        self._check_counts()
        self._check_numbers()
        if self.every > 1 and self.fps is not None:
            raise ValueError("every and fps both choose frames of the source; give one of them")

    def _check_counts(self) -> None:
        for name in ("detect_every", "classify_every", "min_hits", "every", "frames"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Integral):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")

    def _check_numbers(self) -> None:
        # Those that may be infinite mean "for ever" then.
        for name, unit, infinite in (
            ("silence", " seconds", True),
            ("seconds", "", True),
            ("fps", "", False),
            ("max_fps", "", False),
            ("budget", "", False),
        ):
            value = getattr(self, name)
            if value is not None and not (value > 0 and (infinite or math.isfinite(value))):
                raise ValueError(f"{name} must be more than 0{unit}, got {value}")
        for name, unit, infinite in (
            ("reconnect", " seconds", True),
            ("smoothing", " seconds", False),
            ("idle_fps", "", False),
        ):
            value = getattr(self, name)
            if not (value >= 0 and (infinite or math.isfinite(value))):
                raise ValueError(f"{name} must be 0 or more{unit}, got {value}")

    @property
    def turn(self) -> Turn:
        """How frames are turned."""
        from ..sources.turn import Turn

        return Turn(self.rotate, self.mirror)

    @property
    def source_options(self) -> SourceOptions:
        """Those that say how a source is opened."""
        from ..sources.options import SourceOptions
        from ..sources.raw import raw_format

        return SourceOptions(
            colour=self.colour,
            recursive=self.recursive,
            max_pixels=self.max_pixels,
            raw=None if self.raw is None else raw_format(self.raw),
            poll=self.poll,
            unpaced=self.unpaced,
            password_file=self.password_file,
            turn=self.turn,
        )

    @property
    def live_size(self) -> int | Literal["full"]:
        """The detector's size for frames that follow from each other."""
        from ..faces.detector import LIVE_SIZE

        return self.detect_size or LIVE_SIZE

    @property
    def log_prefix(self) -> str:
        """How messages of the run begin: with its camera's name, where it has one."""
        return f"{self.camera}: " if self.camera else ""

    def longest_pause(self, source: Source) -> float:
        """Seconds from one processed frame to the next that these options and ``source`` mean to leave."""
        from .pace import LONGEST_REST

        rates = (source.fps, self.fps, self.max_fps, self.idle_fps if source.live else None)
        pauses = [self.every * source.pause, *(1 / rate for rate in rates if rate)]
        if source.fps:
            pauses.append(self.every / source.fps)
        return max([*pauses, LONGEST_REST if self.budget else 0.0])
