"""Large pictures in overlapping tiles, so that faces of every size are found in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .faces import Faces, together

TILE = 640
"""Pixels a side of what the detector sees of a tile."""
OVERLAP = 160
"""Pixels that neighbours share, so that each face of up to so many is whole in one of them. Larger faces are
whole in tiles of the picture at half the size, and so on."""
_SLACK = 8
"""Pixels by which a face's centre may seem to lie on the other side of the line between two tiles."""
_DOUBLE = 0.5
"""Share of the smaller of two boxes that the other covers, above which both are of one face."""


@dataclass(frozen=True)
class Tile:
    """A part of a picture: ``left``, ``top``, ``right``, ``bottom`` in its pixels, (4,).

    ``core``: the part that no other tile of this size is to look at, in the same form; endless where the
    picture ends. ``inner``: the same as the edges, endless where they are the picture's own.
    """

    edges: tuple[int, int, int, int]
    inner: tuple[float, float, float, float]
    core: tuple[float, float, float, float]

    def cut(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The tile of ``picture``, a view."""
        left, top, right, bottom = self.edges
        return picture[top:bottom, left:right]

    def own(self, faces: Faces) -> Faces:
        """Those of the ``faces`` found in the tile that are whole in it and nobody else's, in the picture."""
        offset = np.array(self.edges[:2], np.float32)
        starts = faces.boxes[:, :2] + offset
        ends = starts + faces.boxes[:, 2:]
        centres = (starts + ends) / 2
        kept = (
            (starts > self.inner[:2])
            & (ends < self.inner[2:])
            & (centres >= self.core[:2])
            & (centres < self.core[2:])
        ).all(axis=1)
        boxes = np.concatenate([starts, faces.boxes[:, 2:]], axis=1)
        return Faces(boxes[kept], faces.scores[kept], (faces.landmarks + offset)[kept])


def tiles(width: int, height: int) -> Iterator[Tile]:
    """Tiles of a picture at its full size, at half the size, a quarter, ..., until one would be all of it.

    A tile has so many pixels that the detector, which shrinks it to :data:`TILE`, sees the picture in that
    size.
    """
    shrunk = 1
    while max(width, height) > TILE * shrunk:
        columns, rows = (list(_parts(length, shrunk)) for length in (width, height))
        for top, bottom, *vertical in rows:
            for left, right, *across in columns:
                (left_inner, right_inner, left_core, right_core) = across
                (top_inner, bottom_inner, top_core, bottom_core) = vertical
                yield Tile(
                    (left, top, right, bottom),
                    (left_inner, top_inner, right_inner, bottom_inner),
                    (left_core, top_core, right_core, bottom_core),
                )
        shrunk *= 2


def _parts(length: int, shrunk: int) -> Iterator[tuple[int, int, float, float, float, float]]:
    """Along one side: start and end of each tile, the same where they are inner ones, and of its core."""
    tile, overlap = TILE * shrunk, OVERLAP * shrunk
    count = max(1, math.ceil((length - overlap) / (tile - overlap)))
    starts = [round(index * max(0, length - tile) / max(1, count - 1)) for index in range(count)]
    ends = [min(length, start + tile) for start in starts]
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        first, last = index == 0, index == count - 1
        yield (
            start,
            end,
            -math.inf if first else start,
            math.inf if last else end,
            -math.inf if first else (start + ends[index - 1]) / 2 - _SLACK * shrunk,
            math.inf if last else (end + starts[index + 1]) / 2 + _SLACK * shrunk,
        )


def without_doubles(found: list[Faces]) -> Faces:
    """All faces of one picture, best score first, each once: of boxes that cover each other the best one."""
    faces = together(found)
    boxes = faces.boxes
    areas = boxes[:, 2:].prod(axis=1)
    ends = boxes[:, :2] + boxes[:, 2:]
    kept = []
    rest = np.argsort(-faces.scores, kind="stable")
    while rest.size:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        shared = np.minimum(ends[best], ends[rest]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        covered = np.maximum(shared, 0).prod(axis=1)
        rest = rest[covered <= _DOUBLE * np.minimum(areas[best], areas[rest])]
    return faces.at(np.array(kept, np.int64))
