"""What YuNet runs on: the classifier's runtime, LiteRT or ONNX Runtime, else OpenCV; the same faces each."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingRuntimeError
from ...machine import has_dot_product
from ...models.backends import available_backends
from .decoding import decode
from .network import DIVISOR, read_layers

_log = logging.getLogger(__name__)

DetectorEngine = Literal["litert", "onnx", "opencv"]

ENGINES: tuple[DetectorEngine, ...] = ("litert", "onnx", "opencv")
"""In order of preference: as for the classifier, and OpenCV, which takes twice as long, at the end."""

Fill = Callable[[NDArray[np.generic]], object]
"""Writes a picture into an array (height, width, 3), BGR, as whole numbers 0 to 255: uint8, float32, or int8,
less 128."""

DetectorPrecision = Literal["fp32", "int8"]

DETECTOR_PRECISIONS: tuple[DetectorPrecision, ...] = ("fp32", "int8")


class Engine(Protocol):
    """YuNet on pictures of any size; for one thread at a time."""

    min_score: float
    """Faces below are left out; may be changed between two pictures."""

    def find(self, height: int, width: int, fill: Fill) -> NDArray[np.float32]:
        """Return the faces in a picture, (n, 15): box, landmarks, score, in pixels of the picture."""


class _Session(Protocol):
    """The network on a runtime."""

    black: int
    """What a sample of black is in the input."""

    def input(self, height: int, width: int) -> NDArray[np.generic]:
        """Return the input for a picture so large, (height + 1, width + 1, 3), see :func:`.read_layers`.

        The view must be gone when :meth:`run` is called. What it holds stays from run to run, until the
        size changes.
        """

    def run(self) -> list[NDArray[np.float32]]:
        """Return for each stride (cells, 16)."""


class _NetworkEngine:
    def __init__(self, session: _Session, min_score: float) -> None:
        self._session = session
        self.min_score = min_score
        self._size = (0, 0)

    def find(self, height: int, width: int, fill: Fill) -> NDArray[np.float32]:
        sides = -(-height // DIVISOR) * DIVISOR, -(-width // DIVISOR) * DIVISOR
        try:
            self._write(height, width, sides, fill)
        except BaseException as error:
            # A stored traceback keeps a view of the input tensor, and LiteRT then refuses to run.
            traceback.clear_frames(error.__traceback__)
            raise
        return decode(self._session.run(), *sides, self.min_score)

    def _write(self, height: int, width: int, sides: tuple[int, int], fill: Fill) -> None:
        inputs = self._session.input(*sides)
        if (height, width) != self._size:
            # Around the picture all is black: one row and column before it, some after it.
            inputs[...] = self._session.black
            self._size = height, width
        fill(inputs[1 : height + 1, 1 : width + 1])


def available_engines() -> list[DetectorEngine]:
    """Engines whose runtime is installed, in order of preference."""
    return [engine for engine in ENGINES if engine == "opencv" or engine in available_backends()]


def open_engine(
    engine: str, model: bytes, name: str, min_score: float, threads: int, precision: str = "fp32"
) -> tuple[DetectorEngine, Engine]:
    """Load ``model``, the packaged ONNX file of YuNet, and say on what.

    ``engine``: one of :data:`ENGINES` or ``auto``, the first of them that is installed. ``name`` is what
    errors call the model. ``threads``: of LiteRT and ONNX Runtime; OpenCV has a number of its own.
    ``precision``: one of :data:`DETECTOR_PRECISIONS`; int8 is for LiteRT alone.
    Raises :class:`~fer_edge.errors.MissingRuntimeError` for an engine that is not installed, ``ValueError``
    for an unknown one, :class:`~fer_edge.errors.ModelError` for another network.
    """
    if engine not in ("auto", *ENGINES):
        raise ValueError(f"detector_engine must be one of auto, {', '.join(ENGINES)}; got {engine!r}")
    if precision not in DETECTOR_PRECISIONS:
        wanted = " or ".join(DETECTOR_PRECISIONS)
        raise ValueError(f"detector_precision must be {wanted}; got {precision!r}")
    if precision == "int8":
        return "litert", _open_int8(engine, model, threads, min_score)
    for choice in ENGINES:
        if engine not in ("auto", choice):
            continue
        try:
            return choice, _open(choice, model, name, min_score, threads)
        except MissingRuntimeError:
            if engine != "auto":
                raise
    raise AssertionError("OpenCV is always there")


def _open_int8(engine: str, model: bytes, threads: int, min_score: float) -> Engine:
    if engine not in ("auto", "litert"):
        raise ValueError(f"the detector in int8 runs on litert, not on {engine!r}")
    from .litert import LiteRTSession
    from .quantization import packaged_ranges

    if has_dot_product() is False:
        _log.warning(
            "the detector in int8 is less exact, and hardly faster here: this processor has no "
            "dot-product instructions; want --detector-precision fp32"
        )
    return _NetworkEngine(LiteRTSession(read_layers(model), threads, packaged_ranges()), min_score)


def _open(engine: DetectorEngine, model: bytes, name: str, min_score: float, threads: int) -> Engine:
    if engine == "opencv":
        from .opencv import OpenCVEngine

        return OpenCVEngine(model, name, min_score)
    session: _Session
    if engine == "litert":
        from .litert import LiteRTSession

        session = LiteRTSession(read_layers(model), threads)
    else:
        from .onnx import OnnxSession

        session = OnnxSession(read_layers(model), threads)
    return _NetworkEngine(session, min_score)
