"""Shrink frames to what the face detector looks at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fer_edge import kernels

from .constants import GREY, RGB
from .crop import Layout, checked_frame
from .planes import Chroma, split_planes

_KINDS = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.int8))


def shrink(
    frame: NDArray[np.uint8],
    out: NDArray[np.generic],
    *,
    layout: Layout | None = None,
    chroma: Chroma | None = None,
) -> NDArray[np.generic]:
    """Write ``frame`` into the smaller ``out``, in BGR order.

    Every sample is the mean of the area it covers (exact fractional coverage, as ``cv2.INTER_AREA``), a
    whole number. Colours of YUV frames are those of the means of Y, U and V, by BT.601 in video range (16 to
    235) as OpenCV's. Fixed-point throughout: the same bytes on every machine.

    Args:
        frame: as for :func:`~fer_edge.kernels.crop.crop_faces`; grey without ``chroma`` becomes three equal
            channels.
        out: uint8, float32 or int8 (h,w,3), no larger than the frame and not part of it; int8 gets samples
            less 128. Its rows may be any number of bytes apart, and channels interleaved or planes.
        layout: as for :func:`~fer_edge.kernels.crop.crop_faces`; of ``yuv420`` and ``nv12`` the colour
            counts, too.
        chroma: uint8, the colour of a grey frame; see :func:`~fer_edge.kernels.planes.split_planes`.

    Returns:
        ``out``.

    Raises:
        TypeError: an argument is not an array of the right dtype.
        ValueError: another layout, a wrong shape, an empty frame, an ``out`` that is larger than it, is
            read-only, not aligned, or whose samples lie otherwise.
    """
    if isinstance(frame, np.ndarray) and (layout == "yuv420" or layout == "nv12"):
        (frame, chroma), layout = split_planes(frame, layout), "grey"
    image, order = checked_frame(frame, layout)
    _check_out(out, image.shape[:2])
    if chroma is not None:
        kernels.implementation.shrink_yuv(image, *_checked_chroma(chroma, order), out)
    elif out.shape[:2] == image.shape[:2]:
        samples = image[:, :, ::-1] if order == RGB else image
        if out.dtype == np.int8:
            np.bitwise_xor(samples, 0x80, out=out.view(np.uint8))
        else:
            out[...] = samples
    else:
        kernels.implementation.shrink(image, order, out)
    return out


def _check_out(out: NDArray[np.generic], size: tuple[int, ...]) -> None:
    """Raise TypeError or ValueError where a frame of this ``size`` cannot be written into ``out``."""
    if not isinstance(out, np.ndarray) or out.dtype not in _KINDS:
        described = f"an array of {out.dtype}" if isinstance(out, np.ndarray) else f"a {type(out).__name__}"
        raise TypeError(f"out is {described}; want a NumPy array of uint8, float32 or int8")
    height, width = size
    if out.ndim != 3 or out.shape[2] != 3 or not (0 < out.shape[0] <= height and 0 < out.shape[1] <= width):
        limit = f"no larger than the frame's {height, width}"
        raise ValueError(f"out has shape {out.shape}; want (h, w, 3), {limit}")
    if not (out.flags.writeable and out.flags.aligned):
        raise ValueError(f"out is {'not aligned' if out.flags.writeable else 'read-only'}")
    _, across, channel = (stride // out.itemsize for stride in out.strides)
    if not (channel == 1 and (across == 3 or out.shape[1] == 1)) and across != 1:
        raise ValueError(f"out has strides {out.strides}; want channels, or the pixels of one, to adjoin")


def _checked_chroma(chroma: Chroma, order: int) -> Chroma:
    """Return the planes as they are where their samples adjoin or alternate, else copies."""
    if order != GREY:
        raise ValueError("chroma is given for a frame in colour; want a grey one")
    u, v = chroma
    for name, plane in (("u", u), ("v", v)):
        if not isinstance(plane, np.ndarray) or plane.dtype != np.uint8:
            raise TypeError(f"{name} of chroma is no NumPy array of uint8")
    if u.ndim != 2 or u.shape != v.shape or u.size == 0:
        raise ValueError(f"chroma has shapes {u.shape} and {v.shape}; want (h, w) twice, with samples")
    apart = abs(v.__array_interface__["data"][0] - u.__array_interface__["data"][0])
    if u.strides == v.strides and (u.strides[1] == 1 or (u.strides[1] == 2 and apart == 1)):
        return chroma
    return np.ascontiguousarray(u), np.ascontiguousarray(v)
