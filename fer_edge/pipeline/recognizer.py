"""From a frame to its faces and their emotions."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..faces.detector import MAX_SIDE, MIN_SCORE, Detection, FaceDetector
from ..faces.geometry import eye_angles, training_squares
from ..faces.tracker import Track
from ..kernels.crop import crop_faces
from ..labels import EMOTIONS
from ..models.classifier import load_classifier
from .result import Face

STILL_MAX_SIDE = 640
"""``max_side`` for single images: no hurry there, and groups have small faces."""


class Recognizer:
    """Face detector and emotion classifier, loaded once for many frames. For one thread at a time.

    ``model``: name of a bundled classifier or path of a model file. ``backend``: ``auto``,
    ``litert`` or ``onnx``. ``precision``: ``int8`` or ``fp32``. ``threads``: of the classifier; the
    detector takes OpenCV's number (``cv2.setNumThreads``). ``detector_model``: a YuNet ONNX file
    instead of the packaged one. ``max_side`` and ``min_score``: see
    :class:`~fer_edge.faces.detector.FaceDetector`. ``align``: turn each face until its eyes are level, as
    far as the detector's landmarks tell (YuNet's follow a tilted head only in part); the bundled
    model was not trained on such faces. Raises :class:`~fer_edge.errors.ModelError` for a model
    that is missing or does not fit, :class:`~fer_edge.errors.MissingExtraError` for a backend that
    is not installed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "edge",
        backend: str = "auto",
        precision: str = "int8",
        threads: int = 1,
        detector_model: str | os.PathLike[str] | None = None,
        *,
        max_side: int = MAX_SIDE,
        min_score: float = MIN_SCORE,
        align: bool = False,
    ) -> None:
        self.align = align
        self.classifier = load_classifier(model, backend=backend, precision=precision, threads=threads)
        self.detector = FaceDetector(detector_model, max_side=max_side, min_score=min_score)

    def recognize(self, frame: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in ``frame`` with their emotions, best detector score first.

        ``frame``: uint8, (h, w, 3) in BGR order or (h, w) grey; anything else is a ``TypeError``
        (dtype) or ``ValueError`` (shape). Nothing is remembered from one call to the next.
        """
        detections = self.detect(frame)
        boxes = [detection.box for detection in detections]
        landmarks = [detection.landmarks for detection in detections]
        return to_faces(detections, self.classify(frame, boxes, landmarks))

    def detect(self, frame: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces in ``frame`` without emotions; errors as for :meth:`recognize`."""
        return self.detector.detect(frame)

    def classify(
        self, frame: NDArray[np.uint8], boxes: ArrayLike, landmarks: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Return the emotions at the detector ``boxes`` (n, 4) of ``frame``, all in one batch.

        ``landmarks`` (n, 5, 2) are for a recognizer that aligns, which takes faces without them as
        they are. The result is float32 (n, 7); rows sum to 1.
        """
        squares = training_squares(boxes)
        if len(squares) == 0:
            return np.empty((0, len(EMOTIONS)), np.float32)
        angles = eye_angles(landmarks) if self.align and landmarks is not None else None
        try:
            crop_faces(frame, squares, out=self.classifier.input_buffer(len(squares)), angles=angles)
        except Exception as error:
            self.classifier.forget_input()
            # Who keeps the error would keep the buffer, while which the runtime refuses to work.
            traceback.clear_frames(error.__traceback__)
            raise
        return self.classifier.run()


def to_faces(found: Sequence[Detection | Track], probabilities: NDArray[np.float32]) -> list[Face]:
    """Join detections or tracks with their ``probabilities`` (n, 7), row by row."""
    return [
        Face(
            box=one.box,
            score=one.score,
            landmarks=one.landmarks,
            probabilities=row,
            track=one.id if isinstance(one, Track) else None,
        )
        for one, row in zip(found, probabilities, strict=True)
    ]
