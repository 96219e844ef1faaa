"""From a picture to its faces and their emotions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..defaults import MIN_SCORE
from ..faces.detector import FULL, PICTURE_SIZES, DetectSize, FaceDetector, check_size
from ..faces.faces import Face, Faces
from ..faces.geometry import centre_square, eye_angles, training_squares
from ..kernels.crop import crop_faces
from ..kernels.sharpness import sharpness
from ..labels import ANSWERS
from ..models.classifier import Classifier, load_classifier
from ..models.people import Answers

if TYPE_CHECKING:
    from .options import WatchOptions

OPTIONS = (
    "model",
    "backend",
    "precision",
    "threads",
    "detector_model",
    "detector_engine",
    "detector_precision",
    "detect_size",
    "min_score",
    "align",
    "labels",
    "balance",
)
"""Of :class:`~fer_edge.pipeline.options.WatchOptions`, those that a :class:`Recognizer` is made with."""

MOST_FACES = 64
"""Faces that are classified at once: the memory of a crowd would be that of all of them."""


def recognize_crop(classifier: Classifier, picture: NDArray[np.uint8]) -> Face:
    """Return the face of a picture that shows nothing else: its largest centred square, undetected.

    ``picture``: uint8, (h, w, 3) in BGR order or (h, w) grey. Score is 1, landmarks are zeros.
    """
    square = centre_square(picture.shape[1], picture.shape[0])
    sharp = np.empty(1, np.float32)

    def crop(inputs: NDArray[np.generic]) -> None:
        crop_faces(picture, square, inputs)
        sharp[:] = sharpness(inputs)

    distribution = classifier.predict_filled(1, crop)
    x, y, side = square[0].tolist()
    face = Faces(
        np.array([[x, y, side, side]], np.float32),
        np.ones(1, np.float32),
        np.zeros((1, 5, 2), np.float32),
        detected=np.zeros(1, np.bool_),
    )
    return answered(face, classifier.answers(distribution), sharp)[0]


def answered(faces: Faces, answers: Answers, sharp: NDArray[np.float32] | None = None) -> Faces:
    """Return the n ``faces`` with what a classifier says of them, and how ``sharp`` (n,) they are."""
    return Faces(
        faces.boxes,
        faces.scores,
        faces.landmarks,
        faces.ids,
        faces.detected,
        answers.probabilities,
        answers.emotions,
        answers.uncertainty,
        answers.unsure,
        answers.labels,
        faces.brightness,
        sharp,
        faces.pitch,
    )


class Recognizer:
    """Face detector and emotion classifier, loaded once for many pictures.

    Threads may share one and then take turns; for speed give each its own. ``model``: name of a
    bundled classifier or path of a model file. ``backend``: ``auto``, ``litert`` or ``onnx``.
    ``precision``: ``int8`` or ``fp32``. ``threads``: of the classifier; the detector takes OpenCV's
    number (``cv2.setNumThreads``), at most 4. ``detector_model``: a YuNet ONNX file instead of the
    packaged one. ``detector_engine``: what runs the packaged one, ``auto``, ``litert``, ``onnx`` or
    ``opencv``; a file of your own runs on OpenCV. ``detector_precision``: ``fp32``, or ``int8`` on LiteRT.
    ``detect_size``: longest side, in pixels, to which pictures are shrunk to find faces; ``"full"``: search
    large ones as large as they are, in tiles; ``None``: the sizes of
    :data:`~fer_edge.faces.detector.PICTURE_SIZES` in turn until a face is found.
    ``min_score``: faces
    of which the detector is less sure are left out, 0 to 1. ``align``: turn each face until its eyes
    are level, as far as the detector's landmarks tell (YuNet's follow a tilted head only in part); the
    bundled model was not trained on such faces. ``labels``: ``people``, what ten people would say, or
    ``fer2013``, the labels of 2013. ``balance``: how much rare emotions are favoured among people's
    answers, 0 to 2; ``None``: as the model was exported; nothing changes with it for ``fer2013``.

    Raises :class:`~fer_edge.errors.ModelError` for a model that is missing or does not fit,
    :class:`~fer_edge.errors.MissingRuntimeError` for a backend or engine that is not installed,
    ``ValueError`` for an option out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "edge",
        backend: str = "auto",
        precision: str = "int8",
        threads: int = 1,
        detector_model: str | os.PathLike[str] | None = None,
        *,
        detector_engine: str = "auto",
        detector_precision: str = "fp32",
        detect_size: DetectSize = None,
        min_score: float = MIN_SCORE,
        align: bool = False,
        labels: str = "people",
        balance: float | None = None,
    ) -> None:
        check_size(detect_size)
        self.align = align
        self.classifier = load_classifier(model, backend, precision, threads, labels, balance)
        self.detector = FaceDetector(
            detector_model, min_score=min_score, engine=detector_engine, precision=detector_precision
        )
        self._detect_size: DetectSize = detect_size

    def recognize(self, frame: NDArray[np.uint8]) -> list[Face]:
        """Return the faces in ``frame`` with their emotions, best detector score first.

        ``frame``: uint8, (h, w, 3) in BGR order or (h, w) grey; anything else is a ``TypeError``
        (dtype) or ``ValueError`` (shape). Nothing is remembered from one call to the next.
        """
        return list(self.recognize_all(frame))

    def recognize_all(self, frame: NDArray[np.uint8]) -> Faces:
        """As :meth:`recognize`, as arrays."""
        return self.classify(frame, self.detect(frame))

    def detect(self, frame: NDArray[np.uint8]) -> Faces:
        """Return the faces in ``frame`` without emotions; errors as for :meth:`recognize`."""
        size = self._detect_size
        if size == FULL:
            return self.detector.detect_full(frame)
        return self.detector.detect_in_picture(frame, PICTURE_SIZES if size is None else (size,))

    def classify(self, frame: NDArray[np.uint8], faces: Faces) -> Faces:
        """Return the ``faces`` of ``frame`` with their emotions, in batches of at most :data:`MOST_FACES`."""
        sharp = np.empty(len(faces), np.float32)
        return answered(faces, self.classifier.answers(self.distributions(frame, faces, sharp)), sharp)

    def distributions(
        self, frame: NDArray[np.uint8], faces: Faces, sharp: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """What the classifier says of the n ``faces`` of ``frame``, (n, k), before it is interpreted.

        See :meth:`.Classifier.predict_filled`. ``sharp`` (n,) is filled with their
        :func:`~fer_edge.kernels.sharpness.sharpness`.
        """
        if not len(faces):
            return np.empty((0, len(ANSWERS[self.classifier.labels])), np.float32)
        squares = training_squares(faces.boxes)
        angles = eye_angles(faces.landmarks) if self.align else None

        def predict(part: slice) -> NDArray[np.float32]:
            def crop(inputs: NDArray[np.generic]) -> None:
                crop_faces(frame, squares[part], out=inputs, angles=None if angles is None else angles[part])
                if sharp is not None:
                    sharp[part] = sharpness(inputs)

            return self.classifier.predict_filled(len(squares[part]), crop)

        parts = (slice(start, start + MOST_FACES) for start in range(0, len(faces), MOST_FACES))
        return np.concatenate([predict(part) for part in parts])


def recognizer_of(options: WatchOptions) -> Recognizer:
    """Load the models that ``options`` name; raises what :class:`Recognizer` raises."""
    return Recognizer(**{name: getattr(options, name) for name in OPTIONS})


def refuse_options(given: Iterable[str], *allowed: str) -> None:
    """Raise ``ValueError`` for the first of the ``given`` options that a loaded recognizer makes useless."""
    for name in given:
        if name in OPTIONS and name not in allowed:
            raise ValueError(f"{name}: the given recognizer has its own; say Recognizer({name}=...) instead")
