"""YuNet on OpenCV, which also takes other files of that network."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...kernels.fallback.decode import FACE_NUMBERS, FACES_LIMIT, NMS_IOU


class OpenCVEngine:
    """``model``: an ONNX file of YuNet; ``name`` is what a :class:`~fer_edge.errors.ModelError` calls it."""

    def __init__(self, model: bytes, name: str, min_score: float) -> None:
        weights = np.frombuffer(model, np.uint8)
        try:
            self._net = cv2.FaceDetectorYN.create(
                "onnx", weights, np.empty(0, np.uint8), (32, 32), min_score, NMS_IOU, FACES_LIMIT
            )
            # OpenCV loads any network; only running it shows whether its outputs are those of YuNet.
            self._net.detect(np.zeros((32, 32, 3), np.uint8))
        except cv2.error as error:
            raise ModelError(
                f"face detector {name}: not a YuNet model that OpenCV {cv2.__version__} "
                f"can run ({str(error.err).strip() or error})"
            ) from error

    @property
    def min_score(self) -> float:
        """Faces below are left out."""
        return float(self._net.getScoreThreshold())

    @min_score.setter
    def min_score(self, least: float) -> None:
        self._net.setScoreThreshold(least)

    def find(
        self, height: int, width: int, fill: Callable[[NDArray[np.generic]], object]
    ) -> NDArray[np.float32]:
        picture = np.empty((height, width, 3), np.uint8)
        fill(picture)
        self._net.setInputSize((width, height))
        _, found = self._net.detect(picture)
        return np.empty((0, FACE_NUMBERS), np.float32) if found is None else np.asarray(found, np.float32)
