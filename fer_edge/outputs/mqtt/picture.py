"""Pictures for a broker: small, and pixelated unless asked for in full."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...pipeline.result import FrameResult
from ..blur import Blur
from ..draw import annotated

Pixels = Literal["blurred", "full"]

LONGEST_SIDE = 640
"""Pixels; larger pictures are made smaller."""

_QUALITY = 75


def jpeg(result: FrameResult, blur: Blur | None, unsure: bool = True) -> bytes:
    """Return the frame of ``result`` as JPEG, with boxes and emotions drawn in.

    ``blur``: pixelates all of it, not only faces that were found. Masked parts are black in it already.
    """
    import cv2

    if blur is not None:
        result = replace(result, image=blur.pixelated(result.camera, result.image))
    picture = _fitted(annotated(result, unsure))
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise RuntimeError("OpenCV cannot write JPEG")
    return data.tobytes()


def _fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    factor = LONGEST_SIDE / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
