"""Shrink frames to what the face detector looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fer_edge import kernels

from .crop import RGB, Layout, checked_frame

_KINDS = (np.dtype(np.uint8), np.dtype(np.float32))


def shrink(
    frame: NDArray[np.uint8], out: NDArray[np.generic], *, layout: Layout | None = None
) -> NDArray[np.generic]:
    """Write ``frame`` into the smaller ``out``, in BGR order.

    Every sample is the mean of the area it covers (exact fractional coverage, as ``cv2.INTER_AREA``), a
    whole number. Fixed-point throughout: the same bytes on every machine.

    Args:
        frame: as for :func:`~fer_edge.kernels.crop.crop_faces`; grey becomes three equal channels.
        out: uint8 or float32 (h,w,3), no larger than the frame and not part of it. Its rows may be any
            number of bytes apart, and channels interleaved or planes.
        layout: as for :func:`~fer_edge.kernels.crop.crop_faces`.

    Returns:
        ``out``.

    Raises:
        TypeError: an argument is not an array of the right dtype.
        ValueError: another layout, a wrong shape, an empty frame, an ``out`` that is larger than it, is
            read-only, not aligned, or whose samples lie otherwise.
    """
    image, order = checked_frame(frame, layout)
    if not isinstance(out, np.ndarray) or out.dtype not in _KINDS:
        described = f"an array of {out.dtype}" if isinstance(out, np.ndarray) else f"a {type(out).__name__}"
        raise TypeError(f"out is {described}; want a NumPy array of uint8 or float32")
    height, width = image.shape[:2]
    if out.ndim != 3 or out.shape[2] != 3 or not (0 < out.shape[0] <= height and 0 < out.shape[1] <= width):
        limit = f"no larger than the frame's {height, width}"
        raise ValueError(f"out has shape {out.shape}; want (h, w, 3), {limit}")
    if not (out.flags.writeable and out.flags.aligned):
        raise ValueError(f"out is {'not aligned' if out.flags.writeable else 'read-only'}")
    _, across, channel = (stride // out.itemsize for stride in out.strides)
    if not (channel == 1 and (across == 3 or out.shape[1] == 1)) and across != 1:
        raise ValueError(f"out has strides {out.strides}; want channels, or the pixels of one, to adjoin")
    if out.shape[:2] == (height, width):
        out[...] = image[:, :, ::-1] if order == RGB else image
    else:
        kernels.implementation.shrink(image, order, out)
    return out
