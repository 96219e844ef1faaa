"""Where in a picture faces are looked for: a region, and masks in which they are ignored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..faces.faces import Faces
from ..kernels.planes import Chroma, cut
from ..option import Polygon, Region

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Zones:
    """A region and masks, in parts of the picture."""

    region: Region | None = None
    masks: tuple[Polygon, ...] = ()

    def view(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the part of ``image``, (h, w) or (h, w, 3), that is looked at, as a view."""
        left, top, right, bottom = self._edges(image.shape)
        return image[top:bottom, left:right]

    def colour(self, chroma: Chroma | None, shape: Sequence[int]) -> Chroma | None:
        """Return the ``chroma`` of a view, of that of a picture with this ``shape``."""
        return chroma and cut(chroma, *self._edges(shape))

    def seen(self, faces: Faces, shape: Sequence[int], min_score: float = 0.0) -> Faces:
        """Return those ``faces`` of a view, as a detector gives them, that no mask hides.

        ``shape``: of the whole picture; it begins with height and width. ``min_score``: faces below are left
        out, too.
        """
        visible: NDArray[np.bool_] = faces.scores >= np.float32(min_score)
        if self.masks and len(faces):
            left, top, right, bottom = self._edges(shape)
            centres = (faces.boxes[:, :2] + faces.boxes[:, 2:] / 2).astype(np.int64)
            x = centres[:, 0].clip(0, right - left - 1) + left
            y = centres[:, 1].clip(0, bottom - top - 1) + top
            visible &= _hidden(self.masks, shape[0], shape[1])[y, x] == 0
        if visible.all():
            return faces
        return replace(
            faces,
            boxes=faces.boxes[visible],
            scores=faces.scores[visible],
            landmarks=faces.landmarks[visible],
        )

    def placed(self, faces: Faces, shape: Sequence[int]) -> Faces:
        """Return the ``faces`` of a view in pixels of the whole picture, which has this ``shape``."""
        left, top, _, _ = self._edges(shape)
        if not (left or top):
            return faces
        offset = np.array([left, top], np.float32)
        boxes = faces.boxes.copy()
        boxes[:, :2] += offset
        return replace(faces, boxes=boxes, landmarks=faces.landmarks + offset)

    def covered(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``image`` with the masks filled with black; itself where there are none."""
        if not self.masks:
            return image
        import cv2

        covered = image.copy()
        height, width = image.shape[:2]
        cv2.fillPoly(covered, _corners(self.masks, height, width), (0, 0, 0))
        return covered

    def _edges(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        height, width = shape[0], shape[1]
        left, top, right, bottom = self.region or WHOLE
        # Even, as colour may have half the rows and columns.
        x = 2 * min(round(left * width / 2), (width - 1) // 2)
        y = 2 * min(round(top * height / 2), (height - 1) // 2)
        return x, y, max(round(right * width), x + 1), max(round(bottom * height), y + 1)


def _corners(masks: Sequence[Polygon], height: int, width: int) -> list[NDArray[np.int32]]:
    return [np.rint(np.array(mask) * (width, height)).astype(np.int32) for mask in masks]


@lru_cache(maxsize=16)
def _hidden(masks: tuple[Polygon, ...], height: int, width: int) -> NDArray[np.uint8]:
    """Which pixels lie in a mask, uint8 (height, width): 1 there, 0 elsewhere."""
    import cv2

    hidden = np.zeros((height, width), np.uint8)
    cv2.fillPoly(hidden, _corners(masks, height, width), 1)
    return hidden
