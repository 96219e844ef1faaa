"""Planar frames: their brightness, which is the grey image, and their colour."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Chroma = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""The planes U and V of a frame, each (h,w); they cover its area with half its rows and columns."""

PlanarLayout = Literal["yuv420", "nv12"]
"""``yuv420`` (I420): planes Y, U, V; ``nv12``: planes Y, and U and V sample by sample."""


def split_planes(
    planes: NDArray[np.uint8], layout: PlanarLayout, width: int | None = None
) -> tuple[NDArray[np.uint8], Chroma]:
    """Return views of the grey image, (h, width), and of the colour, 2 times (h / 2, width / 2).

    ``planes``: uint8 (h * 3 / 2, stride), both even, as cameras and ``ffmpeg -pix_fmt`` write them.
    ``width``: the pixels of a row, where padding follows up to the stride. Of ``yuv420`` rows have to adjoin;
    otherwise the colour is copied. Raises ``ValueError`` for another shape.
    """
    if planes.ndim != 2:
        raise ValueError(
            f"frame has shape {planes.shape}; want (height * 3 / 2, width) for layout {layout!r}"
        )
    rows, stride = planes.shape
    if rows % 3 or stride % 2:
        raise ValueError(
            f"frame has shape {planes.shape}; layout {layout!r} has an even height and width, "
            f"so rows (height * 3 / 2) in a multiple of 3 and columns in a multiple of 2"
        )
    height, width = rows // 3 * 2, stride if width is None else width
    grey = planes[:height, :width]
    if layout == "nv12":
        colour = planes[height:, :width]
        return grey, (colour[:, ::2], colour[:, 1::2])
    u, v = planes[height:].reshape(2, height // 2, stride // 2)[:, :, : width // 2]
    return grey, (u, v)


def cut(chroma: Chroma, left: int, top: int, right: int, bottom: int) -> Chroma:
    """Return the colour of a part of a frame, whose edges are given in its pixels; left and top are even."""
    rows, columns = slice(top // 2, (bottom + 1) // 2), slice(left // 2, (right + 1) // 2)
    return chroma[0][rows, columns], chroma[1][rows, columns]
