"""Estimated against true directions of real faces that are turned by a known angle, in three dimensions.

python benchmarks/turned.py [--photographs FOLDER] [--nose 20] [--save FOLDER]

Photographs of heads turned by known angles are not at hand, so they are made: the face of scikit-image's
`astronaut`, or of each photograph in a folder, is laid on an ellipsoid of a head's size with a nose, turned
by yaw and pitch, and seen from 1 m; YuNet then finds it and its landmarks as in any picture. The shape is not
that of MEAN_FACE, by which directions are estimated: half-axes 75, 110 and 95 mm, and a nose of 20 mm on top.
Estimates are given as change from the same face unturned, since nobody knows how the person held the head.

What such pictures cannot show: the side and the back of the head, ears and hair at their real place, the
true depth of a person's face, and light that stays where it is while the head turns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.faces.detector import FaceDetector
from fer_edge.faces.nod import pitches
from fer_edge.faces.quality import Facing, directions, facing, sizes

ANGLES = (
    *((yaw, 0.0) for yaw in (-60.0, -45.0, -35.0, -25.0, -15.0, 15.0, 25.0, 35.0, 45.0, 60.0)),
    *((0.0, pitch) for pitch in (-30.0, -20.0, -10.0, 10.0, 20.0, 30.0)),
    *((yaw, pitch) for yaw in (-25.0, 25.0) for pitch in (-15.0, 15.0)),
)
"""Yaw and pitch in degrees."""

HALF_AXES = (75.0, 110.0, 95.0)
"""Millimetres: of a head from ear to ear, from chin to crown, and from the ears to the face."""

NOSE_AT = 33.0
"""Millimetres of the nose's middle below the eyes."""

EYES = 63.0
"""Millimetres between the eyes."""

SIDE = 400
"""Pixels of the made picture; eyes are 60 pixels apart."""

Direction = tuple[NDArray[np.float64], int]
"""Yaw and pitch, and what they are called."""

PIXELS = 60 / EYES
DISTANCE = 1000.0


@dataclass(frozen=True, eq=False)
class Surface:
    """Points (n, 3) of a face in millimetres, x to the right of the picture, y down, z to the camera."""

    points: NDArray[np.float64]
    colours: NDArray[np.uint8]
    background: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    """(5, 3): where the detector saw eyes, nose tip and corners of the mouth, on the surface."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=Path, help="a folder of faces that look into the camera")
    parser.add_argument("--nose", type=float, default=20.0, metavar="MM", help="height (default: 20)")
    parser.add_argument(
        "--step", type=float, default=0.35, metavar="MM", help="between points of a surface (default: 0.35)"
    )
    parser.add_argument(
        "--angles",
        type=lambda text: tuple(float(part) for part in text.split(",")),
        nargs="+",
        metavar="YAW,PITCH",
        help="degrees (default: some of each)",
    )
    parser.add_argument("--save", type=Path, help="write the made pictures here")
    options = parser.parse_args()
    detector = FaceDetector()
    faces = [
        face
        for image in _images(options.photographs)
        if (face := laid_on(image, detector, options.nose, options.step))
    ]
    if not faces:
        sys.exit("no face was found")
    print(f"{len(faces)} faces, nose {options.nose:g} mm; degrees, mean and standard deviation over faces")
    print("'by points': from where the landmarks are in truth; 'facing': called turned to the camera")
    straight = [_direction(turned(face, 0, 0), detector) for face in faces]
    print(f"\n{'yaw, pitch':14s}{'found':>7s}{'yaw':>15s}{'pitch':>15s}{'by points':>15s}  facing  unclear")
    for yaw, pitch in options.angles or ANGLES:
        print_row(faces, straight, detector, yaw, pitch, options.save)


def print_row(
    faces: list[Surface],
    straight: list[Direction | None],
    detector: FaceDetector,
    yaw: float,
    pitch: float,
    folder: Path | None,
) -> None:
    """Print what is estimated of all faces at one direction; ``straight``: of those that are not turned."""
    changes, exact, called = [], [], []
    for number, (face, before) in enumerate(zip(faces, straight, strict=True)):
        image = turned(face, yaw, pitch)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"face{number}_yaw{yaw:g}_pitch{pitch:g}.png"), image)
        now = _direction(image, detector)
        if before is not None and now is not None:
            changes.append(now[0] - before[0])
            exact.append(_of_points(face, yaw, pitch) - _of_points(face, 0, 0))
            called.append(now[1])
    told = f"{yaw:g}, {pitch:g}"
    print(f"{told:14s}{len(changes) / len(faces):7.0%}", end="")
    if changes:
        mean, spread, points = np.mean(changes, axis=0), np.std(changes, axis=0), np.mean(exact, axis=0)
        print(
            f"{mean[0]:8.1f} ± {spread[0]:4.1f}{mean[1]:8.1f} ± {spread[1]:4.1f}"
            f"{points[0]:8.1f}{points[1]:7.1f}"
            f"{np.mean(np.array(called) == Facing.CAMERA):8.0%}"
            f"{np.mean(np.array(called) == Facing.UNCLEAR):9.0%}",
            end="",
        )
    print(flush=True)


def _of_points(face: Surface, yaw: float, pitch: float) -> NDArray[np.float64]:
    return directions(seen(face.landmarks, yaw, pitch)[None, :, :2])[0]


def laid_on(image: NDArray[np.uint8], detector: FaceDetector, nose: float, step: float) -> Surface | None:
    """The largest face of a picture (h, w, 3) BGR as a surface; None where there is none."""
    found = detector.detect_in_picture(image)
    if not len(found):
        return None
    best = int(np.argmax(sizes(found.boxes)))
    right, left = found.landmarks[best, :2].astype(np.float64)
    across = left - right
    scale = np.hypot(*across) / EYES
    x, y = np.meshgrid(
        np.arange(-HALF_AXES[0], HALF_AXES[0], step), np.arange(-HALF_AXES[1], HALF_AXES[1], step)
    )
    # Where the eyes are level, x goes from one to the other.
    unit = across / np.hypot(*across)
    middle = (right + left) / 2
    columns = middle[0] + scale * (x * unit[0] - y * unit[1])
    rows = middle[1] + scale * (x * unit[1] + y * unit[0])
    places = columns.astype(np.float32), rows.astype(np.float32)
    colours = cv2.remap(image, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rest = 1 - (x / HALF_AXES[0]) ** 2 - (y / HALF_AXES[1]) ** 2
    bump = nose * np.exp(-((x / 12) ** 2) - ((y - NOSE_AT) / np.where(y < NOSE_AT, 22, 9)) ** 2)
    z = HALF_AXES[2] * np.sqrt(np.maximum(rest, 0)) + bump
    points = np.stack([x, y, z], axis=2)[rest > 0]
    background = np.median(image.reshape(-1, 3), axis=0).astype(np.uint8)
    marks = (found.landmarks[best] - middle) @ np.array([unit, [-unit[1], unit[0]]]).T / scale
    nearest = [int(np.argmin(((points[:, :2] - mark) ** 2).sum(axis=1))) for mark in marks]
    return Surface(points, np.asarray(colours, np.uint8)[rest > 0], background, points[nearest])


def turned(face: Surface, yaw: float, pitch: float) -> NDArray[np.uint8]:
    """A picture of the face that looks by so many degrees to the right of it, and up."""
    columns, rows, depth = seen(face.points, yaw, pitch).T
    columns, rows = np.rint(columns).astype(int), np.rint(rows).astype(int)
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[...] = face.background
    # Of points that fall on one pixel the nearest is drawn last.
    order = np.argsort(depth, kind="stable")
    image[rows[order], columns[order]] = face.colours[order]
    return np.asarray(cv2.GaussianBlur(cv2.medianBlur(image, 3), (3, 3), 0), np.uint8)


def seen(points: NDArray[np.float64], yaw: float, pitch: float) -> NDArray[np.float64]:
    """Columns and rows in the picture, and depths, of points (n, 3) of a head that is turned so."""
    y, p = np.radians(yaw), np.radians(pitch)
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    shake = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    moved = points @ (shake @ nod).T
    near = DISTANCE / (DISTANCE + HALF_AXES[2] - moved[:, 2:])
    return np.concatenate([SIDE / 2 + PIXELS * near * moved[:, :2], moved[:, 2:]], axis=1)


def _direction(image: NDArray[np.uint8], detector: FaceDetector) -> Direction | None:
    """Yaw and pitch, and what they are called; None where no face is found."""
    found = detector.detect_in_picture(image)
    if not len(found):
        return None
    best = found.at(np.array([int(np.argmax(found.scores))]))
    angles = directions(best.landmarks, pitches(image, best.landmarks))
    return angles[0], int(facing(angles, sizes(best.boxes))[0])


def _images(folder: Path | None) -> Iterator[NDArray[np.uint8]]:
    if folder is None:
        import skimage.data

        yield np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1])
        return
    for path in sorted(folder.iterdir()):
        image = cv2.imread(str(path))
        if image is not None:
            yield np.asarray(image, np.uint8)


if __name__ == "__main__":
    main()
