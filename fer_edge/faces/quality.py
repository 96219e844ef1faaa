"""How well a face can be judged: where it is turned, and how large it is.

The direction comes from YuNet's five landmarks by a rigid mean face under weak perspective (a scaled
orthographic projection): the least-squares affine camera of DeMenthon and Davis, "Model-Based Object
Pose in 25 Lines of Code", IJCV 1995, without its iteration, made a rotation by its polar factor.
docs/measures.md has the errors that were measured on made faces. It is right about the yaw, but YuNet's
landmarks follow a nod by a third only: :mod:`.nod` measures the pitch in the picture.
"""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

MEAN_FACE = np.array(
    [[-31.5, 0.0, 0.0], [31.5, 0.0, 0.0], [0.0, 37.2, 26.8], [-25.4, 63.9, -10.0], [25.4, 63.9, -10.0]]
)
"""(5, 3): right eye, left eye, nose tip, right and left mouth corner of a face seen from the front; x to the
right of the picture, y down, z towards the camera. Millimetres, if eyes are 63 mm apart. Measured with YuNet
on 5,594 faces of FER-2013 (factorization into one shape and a scaled rotation for each); their front is
where 42 studio photographs of people facing the camera have a mean pitch of 0."""

ATTENTION_YAW = 25.0
"""Degrees to either side within which a face is turned to the camera."""

ATTENTION_PITCH = 20.0
"""Degrees up or down within which it is."""

CLEAR_YAW = 60.0
"""Degrees beyond which YuNet's landmarks do not show the direction: one eye is hidden."""

CLEAR_PITCH = 45.0

CLEAR_SIZE = 32.0
"""Pixels of a face's box (geometric mean of its sides) below which landmarks tremble too much."""

_WEIGHTS: list[list[float]] = np.linalg.pinv(MEAN_FACE - MEAN_FACE.mean(axis=0)).tolist()
"""(3, 5): with what each axis of the face weighs each landmark. Rows sum to 0: the place does not matter."""


class Facing(IntEnum):
    """Whether a face is turned to the camera."""

    AWAY = 0
    CAMERA = 1
    UNCLEAR = 2


def directions(landmarks: ArrayLike, pitch: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return yaw and pitch of each face in degrees, float64 (n, 2).

    ``pitch`` (n,) is what :func:`~fer_edge.faces.nod.pitches` measured in the picture, NaN where it did not:
    there, and where it is ``None``, the landmarks' pitch is taken, which follows a nod by a third only.
    ``landmarks`` is (n, 5, 2): x, y in pixels in YuNet's order. Yaw is positive where the face looks to
    the right of the picture, pitch where it looks up; both are 0 where it looks into the camera, however
    much the head is tilted. NaN where the landmarks are those of no face: not finite, or on a line.
    Raises ``ValueError`` for another shape.
    """
    points = np.asarray(landmarks, np.float64)
    if points.size == 0:
        return np.empty((0, 2))
    if points.ndim != 3 or points.shape[1:] != (5, 2):
        raise ValueError(f"landmarks must be (n, 5, 2), got shape {points.shape}")
    # Faces are few, and NumPy's calls on arrays of three cost more than the arithmetic.
    found = np.array([_direction(face) for face in points.tolist()])
    if pitch is not None:
        measured = np.asarray(pitch, np.float64)
        found[:, 1] = np.where(np.isfinite(measured) & np.isfinite(found[:, 1]), measured, found[:, 1])
    return found


def _direction(points: list[list[float]]) -> tuple[float, float]:
    affine = [
        [sum(weight * point[axis] for weight, point in zip(row, points, strict=True)) for row in _WEIGHTS]
        for axis in (0, 1)
    ]
    (x, x_y, x_z), (y_x, y, y_z) = affine
    # The symmetric square root of the 2x2 matrix A A^T, whose inverse turns A into two rows of a rotation.
    xx, xy, yy = x * x + x_y * x_y + x_z * x_z, x * y_x + x_y * y + x_z * y_z, y_x * y_x + y * y + y_z * y_z
    root = math.sqrt(max(xx * yy - xy * xy, 0.0))
    if not root > 1e-9 * (xx + yy):
        return math.nan, math.nan
    scale = math.sqrt(xx + yy + 2 * root) / ((xx + root) * (yy + root) - xy * xy)
    across = scale * ((yy + root) * x_z - xy * y_z)
    down = scale * ((xx + root) * y_z - xy * x_z)
    forward = math.sqrt(max(1 - across * across - down * down, 0.0))
    return math.degrees(math.atan2(across, forward)), math.degrees(math.asin(min(1.0, max(-1.0, -down))))


def sizes(boxes: ArrayLike) -> NDArray[np.float64]:
    """Return the size of each face in pixels, float64 (n,): the geometric mean of its box's sides."""
    sides = np.asarray(boxes, np.float64).reshape(-1, 4)[:, 2:]
    found: NDArray[np.float64] = np.sqrt(np.maximum(sides.prod(axis=1), 0))
    return found


def facing(angles: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each face one of :class:`Facing`, int64 (n,).

    ``angles`` is what :func:`directions`, ``pixels`` what :func:`sizes` returns.
    """
    return np.array(
        [_facing(*face) for face in zip(*angles.T.tolist(), pixels.tolist(), strict=True)], np.int64
    )


def facing_of_many(
    landmarks: NDArray[np.float64], pixels: NDArray[np.float64], pitch: NDArray[np.float64] | None = None
) -> NDArray[np.int8]:
    """What :func:`facing` says of :func:`directions`, without the angles: for millions of faces.

    ``landmarks`` is (n, 5, 2), ``pixels`` (n,), ``pitch`` (n,) as for :func:`directions`; int8 (n,).
    """
    affine = np.einsum("ak,nkx->xan", np.array(_WEIGHTS), landmarks)
    (x, x_y, x_z), (y_x, y, y_z) = affine
    xx, xy, yy = x * x + x_y * x_y + x_z * x_z, x * y_x + x_y * y + x_z * y_z, y_x * y_x + y * y + y_z * y_z
    root = np.sqrt(np.maximum(xx * yy - xy * xy, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt(xx + yy + 2 * root) / ((xx + root) * (yy + root) - xy * xy)
        across = np.abs(scale * ((yy + root) * x_z - xy * y_z))
        down = np.abs(scale * ((xx + root) * y_z - xy * x_z))
        forward = np.sqrt(np.maximum(1 - across * across - down * down, 0.0))
        measured = None if pitch is None else np.abs(pitch)

        def within(yaw: float, nod: float) -> NDArray[np.bool_]:
            level: NDArray[np.bool_] = np.minimum(down, 1.0) <= math.sin(math.radians(nod))
            if measured is not None:
                level = np.where(np.isfinite(measured), measured <= nod, level)
            return level & np.asarray(across <= math.tan(math.radians(yaw)) * forward, np.bool_)

        clear = (root > 1e-9 * (xx + yy)) & within(CLEAR_YAW, CLEAR_PITCH) & (pixels >= CLEAR_SIZE)
        camera = clear & within(ATTENTION_YAW, ATTENTION_PITCH)
    found: NDArray[np.int8] = np.where(
        camera, Facing.CAMERA, np.where(clear, Facing.AWAY, Facing.UNCLEAR)
    ).astype(np.int8)
    return found


def _facing(yaw: float, pitch: float, pixels: float) -> Facing:
    # What is NaN is unclear, so ask what is clear.
    if not (abs(yaw) <= CLEAR_YAW and abs(pitch) <= CLEAR_PITCH and pixels >= CLEAR_SIZE):
        return Facing.UNCLEAR
    return Facing.CAMERA if abs(yaw) <= ATTENTION_YAW and abs(pitch) <= ATTENTION_PITCH else Facing.AWAY
