"""Crop faces out of frames into the form that the classifier takes."""

from __future__ import annotations

from math import cos, inf, isfinite, sin
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer_edge import kernels

from .constants import BGR, FACE_SIZE, GREY, RGB
from .planes import split_planes

Layout = Literal["bgr", "rgb", "grey", "yuv420", "nv12"]
"""How the pixels of a frame lie in memory."""

_ORDERS = {"grey": GREY, "bgr": BGR, "rgb": RGB}
_KINDS = {np.dtype(np.uint8): 0, np.dtype(np.int8): 1, np.dtype(np.float32): 2}


def crop_faces(
    frame: NDArray[np.uint8],
    squares: ArrayLike,
    out: NDArray[np.generic] | None = None,
    *,
    layout: Layout | None = None,
    angles: ArrayLike | None = None,
) -> NDArray[np.generic]:
    """Cut ``squares`` out of ``frame`` and resample each to a 48x48 grey face.

    Shrinking averages the area under each output pixel (exact fractional coverage, as
    ``cv2.INTER_AREA``); enlarging, for sides below 48, is bilinear between pixel centres. Grey is
    BT.601 with OpenCV's integer coefficients. Fixed-point throughout: the same bytes on every machine.

    Args:
        frame: uint8, as ``layout`` says. Rows may be any number of bytes apart; where the
            pixels of a row do not adjoin (``frame[:, ::2]``, ``frame[..., ::-1]``) it is copied first.
        squares: float (n,3): x and y of the top-left corner and the side, in pixels of the frame;
            pixel i covers [i, i+1). May be fractional and may leave the frame, whose edge pixels
            are then repeated.
        out: (n,48,48), C-contiguous and not part of ``frame``. uint8 gets grey, int8 grey - 128,
            float32 (grey - 128) / 64. None makes a new uint8 array.
        layout: ``bgr`` or ``rgb``, (h,w,3); ``grey``, (h,w); ``yuv420`` (I420: planes Y, U, V) or
            ``nv12`` (planes Y and UV), (h*3/2,w) with h and w even. None: ``bgr`` or ``grey``, by the
            number of dimensions. The Y plane is the grey image: chroma is never read, and video
            range (16 to 235) is not stretched, as with ``cv2.COLOR_YUV2GRAY_I420``. Where rows of
            planes are padded, leave the padding out: ``planes[:, :width]``.
        angles: float (n,), radians by which each square is turned about its centre, clockwise as
            the frame is seen (from x to y); see :func:`fer_edge.faces.geometry.eye_angles`. A turned
            output pixel is the mean of four linear samples of an area-averaged grid of half its
            size, so that it does not alias either. None or 0: upright.

    Returns:
        ``out``.

    Raises:
        TypeError: an argument is not an array of the right dtype.
        ValueError: another layout, a wrong shape, an empty frame, an ``out`` that is read-only,
            scattered or not aligned, coordinates or angles that are not finite, or a side that is
            not above 0.
    """
    if out is not None and angles is None and kernels.implementation.crop_usual(frame, squares, out, layout):
        return out
    image, order = checked_frame(frame, layout)
    boxes = _checked_squares(squares)
    faces = np.empty((len(boxes), FACE_SIZE, FACE_SIZE), dtype=np.uint8) if out is None else out
    kind = checked_kind(faces, "out", len(boxes))
    rotations = None if angles is None else _checked_rotations(angles, len(boxes))
    if len(boxes):
        kernels.implementation.crop_faces(image, order, boxes, rotations, kind, faces)
    return faces


def checked_frame(frame: NDArray[np.uint8], layout: Layout | None) -> tuple[NDArray[np.uint8], int]:
    """Return the frame as (h,w,c), the samples of a row adjoining, and its ``fer_order``."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        raise TypeError(f"frame is {_described(frame)}; want a NumPy array of uint8")
    if layout is None:
        if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] != 3):
            raise ValueError(f"frame has shape {frame.shape}; want (height, width, 3) or (height, width)")
        layout = "bgr" if frame.ndim == 3 else "grey"
    elif layout not in get_args(Layout):
        raise ValueError(f"layout is {layout!r}; want one of {', '.join(get_args(Layout))}")
    if layout in ("yuv420", "nv12"):
        return checked_frame(split_planes(frame, layout)[0], "grey")
    if frame.ndim != (2 if layout == "grey" else 3) or frame.shape[2:] not in ((), (3,)):
        wanted = "(height, width)" if layout == "grey" else "(height, width, 3)"
        raise ValueError(f"frame has shape {frame.shape}; want {wanted} for layout {layout!r}")
    if frame.size == 0:
        raise ValueError(f"frame has shape {frame.shape}: it holds no pixels")
    image = frame if frame.ndim == 3 else frame[:, :, np.newaxis]
    _, columns, channels = image.shape
    _, column_stride, channel_stride = image.strides
    if (channels > 1 and channel_stride != 1) or (columns > 1 and column_stride != channels):
        image = np.ascontiguousarray(image)
    return image, _ORDERS[layout]


def _checked_squares(squares: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(squares)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"squares are {_described(given)}; want numbers")
    boxes = np.require(given, np.float64, ["C", "A"])
    if boxes.size == 0 and boxes.shape[0] == 0:
        return np.empty((0, 3))
    if boxes.ndim != 2 or boxes.shape[1] != 3:
        raise ValueError(f"squares have shape {boxes.shape}; want (n, 3): x, y, side")
    # Faces are few: a loop takes a tenth of the time of array operations.
    for index, (x, y, side) in enumerate(boxes.tolist()):
        if not (isfinite(x) and isfinite(y) and 0 < side < inf):
            raise ValueError(f"square {index} is {[x, y, side]}; want finite numbers, the side above 0")
    return boxes


def _checked_rotations(angles: ArrayLike, count: int) -> NDArray[np.float64]:
    """The cosine and sine of each angle, (n,2)."""
    given = np.asarray(angles)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"angles are {_described(given)}; want numbers")
    if given.shape != (count,):
        raise ValueError(f"angles have shape {given.shape}; want ({count},), one a square")
    for index, angle in enumerate(given.tolist()):
        if not isfinite(angle):
            raise ValueError(f"angle {index} is {angle}; want finite numbers, in radians")
    # Not by NumPy, whose cosine depends on the processor in its last bit.
    return np.array([(cos(angle), sin(angle)) for angle in given.tolist()], np.float64).reshape(count, 2)


def checked_kind(faces: NDArray[np.generic], name: str, count: int | None = None) -> int:
    """The ``fer_grey_kind`` of the argument ``name``: ``count`` faces (None: any number), writable."""
    if not isinstance(faces, np.ndarray) or faces.dtype not in _KINDS:
        raise TypeError(f"{name} is {_described(faces)}; want a NumPy array of uint8, int8 or float32")
    if faces.shape[1:] != (FACE_SIZE, FACE_SIZE) or count not in (None, faces.shape[0]):
        wanted = f"({'n' if count is None else count}, {FACE_SIZE}, {FACE_SIZE})"
        raise ValueError(f"{name} has shape {faces.shape}; want {wanted}")
    if not faces.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not (faces.flags.c_contiguous and faces.flags.aligned):
        raise ValueError(f"{name} is not {'aligned' if faces.flags.c_contiguous else 'C-contiguous'}")
    return _KINDS[faces.dtype]


def _described(value: object) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
