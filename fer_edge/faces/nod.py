"""How far a face looks up or down, from its picture: the landmarks alone do not tell.

YuNet's landmarks follow a nod by a third only. What a nod changes is where brows, eyelids, nostrils and lips
lie between the landmarks, and how steep their edges look. So the face is cut out with its eyes level, its
edges are summed in a grid by direction, as in Dalal and Triggs, "Histograms of Oriented Gradients for Human
Detection", CVPR 2005, and a linear function of these sums and of the landmarks' pitch is taken.
docs/measures.md says how it was fitted, and what it is right about.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..kernels.constants import FACE_SIZE
from ..kernels.crop import crop_faces
from .faces import Faces
from .geometry import eye_angles
from .quality import directions

_REACH = 1 / 0.53
"""Side of the square that is cut out, over the root of the summed squares of the distances from eye to eye
and from the eyes to the mouth: one of them stays where a head turns or nods."""

_DIRECTIONS, _CELLS = 8, 6
"""Of edges, all around; and of the grid, across and down."""

_WIDTH = FACE_SIZE - 2
"""Slopes of a row, between its neighbours' levels."""

_WEIGHTS = (
    np.frombuffer(
        base64.b64decode(
            "E//z+7wK/v8M9WQHJwGt/FwEKQXy9yj/fQJxA7z4bwImEPcARwL+CH7v8e1E/7j8MgFg/pIFXPto/V785f0L+yQDIfp69Qf/yQHr"
            "CYb5zwFzAJH4IwmEH/4Ffgu47t3zLvlT/gP65fqh+3b7lP+iCH4IewFj/YD+VQRyA7gWf/PfCvIDVf97/Vr9M/3aAkgFYQUu9TQF"
            "NAUu9WEFz/xU8hLoEuhU8s/8JQU6ClARUBE6CiUFZAcA7xwOHA4A72QHuPhk++L64vpk+7j4DwR2AvH98f12Ag8EkfhzAM8Bhvnr"
            "CckB3fO47n4L/gWEHyMJdvuh++X6A/pT/i75gP5j/XsBfgiiCJT/8gPfCn/zuBZyA1UESAXaAjP9Wv17/VX/ZAcM9f7/vArz+xP/"
            "KP/y9ykFXASt/CcB9wAmEG8CvPhxA30CuPxE//Htfu/+CEcCXvxo/Vz7kgVg/jIBB/969SH6JAML++X9YgZxDdDxHgWS/Q37mAMo"
            "DzL3MgKr78QE/g7BBkAF0gcQ4gH+ewDr/0QKv+sL/0YEUAMiAf0Z+t/d/CwBU/7ABXID0P2kCfUBVPjmBEUGRQbmBFT4Zfs+Bxnv"
            "Ge8+B2X7Nvi2Bccbxxu2BTb4wvUL+gAWABYL+sL1qQFn+RMGEwZn+akBgQEv/JD+kP4v/IEBDfuS/R4F0PFxDWIGxASr7zICMvco"
            "D5gDAf4Q4tIHQAXBBv4ORgQL/7/rRArr/3sALAHd/Prf/RkiAVAD9QGkCdD9cgPABVP+"
        ),
        "<i2",
    ).astype(np.float32)
    / 64
)
"""Degrees for the edges (8, 6, 6) of a face, their length being 1, row by row; the same for a face and its
mirror image. As ``fit`` of benchmarks/nods.py printed them."""

_BY_LANDMARKS, _BIAS = 0.666, -24.28
"""Degrees for each degree of the landmarks' pitch, and for all faces."""


def with_pitch(image: NDArray[np.uint8], faces: Faces) -> Faces:
    """Return the ``faces`` of ``image`` with the pitch of each."""
    return replace(faces, pitch=pitches(image, faces.landmarks))


def pitches(image: NDArray[np.uint8], landmarks: ArrayLike) -> NDArray[np.float32]:
    """Return by how many degrees each face looks up, negative where it looks down, float32 (n,).

    ``image``: uint8, (h, w, 3) in BGR order or (h, w) grey. ``landmarks``: (n, 5, 2), in its pixels, in
    YuNet's order. 0 is where people who are photographed from the front hold their heads. NaN where the
    landmarks are those of no face, or the picture shows nothing there.
    """
    points = np.asarray(landmarks, np.float64)
    found = np.full(len(points), np.nan, np.float32)
    by_landmarks = directions(points)[:, 1]
    faces = np.flatnonzero(np.isfinite(by_landmarks))
    for row, edges in zip(faces.tolist(), edges_of(image, points[faces]), strict=True):
        length = float(edges @ edges) ** 0.5
        if length > 0:
            found[row] = edges @ _WEIGHTS / length + _BY_LANDMARKS * by_landmarks[row] + _BIAS
    return found


def edges_of(image: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> Iterator[NDArray[np.float32]]:
    """Yield of each face with ``landmarks`` (n, 5, 2) what the picture shows of its edges, float32 (288,).

    It is the root of how much of the edges of each of 8 directions lies in each of 6x6 cells.
    """
    for face in _cut_out(image, landmarks):
        levels = face.astype(np.float32)
        slopes = np.empty((2, _WIDTH, _WIDTH), np.float32)
        np.subtract(levels[1:-1, 2:], levels[1:-1, :-2], out=slopes[0])
        np.subtract(levels[2:, 1:-1], levels[:-2, 1:-1], out=slopes[1])
        along = _AROUND @ slopes.reshape(2, -1)
        np.maximum(along, 0, out=along)
        # Two products of matrices: much faster than one of three, by eight.
        rows = (along.reshape(-1, _WIDTH) @ _NEAR.T).reshape(_DIRECTIONS, _WIDTH, _CELLS)
        yield np.sqrt(_NEAR @ rows).ravel()


def _cut_out(image: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The faces, uint8 (n, 48, 48), with their eyes level."""
    out = np.empty((len(landmarks), FACE_SIZE, FACE_SIZE), np.uint8)
    if not len(landmarks):
        return out
    squares = []
    for right, left, _, *corners in landmarks.tolist():
        eyes_x, eyes_y = (right[0] + left[0]) / 2, (right[1] + left[1]) / 2
        mouth_x, mouth_y = (corners[0][0] + corners[1][0]) / 2, (corners[0][1] + corners[1][1]) / 2
        across, down = math.dist(right, left), math.hypot(mouth_x - eyes_x, mouth_y - eyes_y)
        side = _REACH * math.hypot(across, down)
        squares.append(((eyes_x + mouth_x - side) / 2, (eyes_y + mouth_y - side) / 2, side))
    crop_faces(image, squares, out=out, angles=eye_angles(landmarks))
    return out


def _around() -> NDArray[np.float32]:
    angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _near() -> NDArray[np.float32]:
    """(6, 46): how much of each row, or column, of slopes counts for each cell, less the farther it is."""
    places, middles = np.arange(_WIDTH) + 0.5, (np.arange(_CELLS) + 0.5) * _WIDTH / _CELLS
    away = np.abs(places - middles[:, np.newaxis]) * _CELLS / _WIDTH
    return np.maximum(0, 1 - away).astype(np.float32)


_AROUND, _NEAR = _around(), _near()
