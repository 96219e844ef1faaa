"""Pixelates whole pictures, so coarsely that nobody's face is recognized."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..pipeline.result import FrameResult

_BLOCKS = 24
"""Blocks along the longer side of a picture, at most."""
_FACE_BLOCKS = 6
"""Blocks along the longer side of the largest face that was found, at most: people recognize those whom they
know from not many more (Sinha et al. 2006)."""
_FACE_SECONDS = 10.0
"""For so long, and up to twice that, blocks stay as large as a face wants them: some frames lose it."""


class Blur:
    """Pixelates pictures of cameras by how large faces have been in them of late.

    :meth:`see` is for one thread, :meth:`pixelated` for any.
    """

    def __init__(self) -> None:
        self._largest: dict[str, tuple[int, float, float]] = {}
        """By camera: number of a turn of :data:`_FACE_SECONDS`, and the largest face of it and of the one
        before, in parts of the picture's longer side."""

    def see(self, result: FrameResult, now: float) -> None:
        """Take note of the faces of every result, also of those that are not shown. ``now``: in seconds."""
        sizes = result.faces.boxes[:, 2:]
        largest = float(sizes.max()) / max(result.image.shape[:2]) if len(sizes) else 0.0
        turn = int(now // _FACE_SECONDS)
        last, current, before = self._largest.get(result.camera, (turn, 0.0, 0.0))
        if turn != last:
            current, before = 0.0, current if turn == last + 1 else 0.0
        self._largest[result.camera] = turn, max(current, largest), before

    def pixelated(self, camera: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``image`` of ``camera``, uint8 (h, w) or (h, w, 3), of one colour in each block."""
        _, *largest = self._largest.get(camera, (0, 0.0, 0.0))
        return pixelated(image, max(largest))


def pixelated(image: NDArray[np.uint8], largest: float) -> NDArray[np.uint8]:
    """Return ``image``, uint8 (h, w) or (h, w, 3), of one colour in each block.

    All of it, since some faces are not found. The blocks are the larger, the larger the ``largest`` face is,
    in parts of the picture's longer side.
    """
    import cv2

    height, width = image.shape[:2]
    block = max(height, width) * max(1 / _BLOCKS, largest / _FACE_BLOCKS)
    blocks = max(1, round(width / block)), max(1, round(height / block))
    small = cv2.resize(image, blocks, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
