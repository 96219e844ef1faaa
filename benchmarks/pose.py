"""Errors of the direction of faces, on made faces: a measured mean face, varied, turned and seen from near.

python benchmarks/pose.py [--faces 20000]

Each face has landmarks moved by --shape millimetres (persons differ) and --noise pixels (the detector
trembles). Beside the rigid face, simple ratios: where the nose lies between the eyes, and between eyes and
mouth.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from fer_edge.faces.quality import ATTENTION_PITCH, ATTENTION_YAW, MEAN_FACE, Facing, directions, facing

YAWS = (0, 15, 25, 35, 45, 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--shape", type=float, default=2.0, metavar="MM")
    parser.add_argument("--noise", type=float, default=0.8, metavar="PX")
    parser.add_argument("--distance", type=float, default=1000.0, metavar="MM")
    parser.add_argument("--eyes", type=float, default=40.0, metavar="PX", help="distance of the eyes")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print(
        f"{options.faces} faces a row, shape {options.shape} mm, noise {options.noise} px, eyes "
        f"{options.eyes:g} px apart, camera at {options.distance / 1000:g} m"
    )
    print(
        "root mean square errors in degrees; attention: share of faces that the rigid face calls turned to us"
    )
    print("  yaw   rigid: yaw  pitch   ratios: yaw  pitch   attention   unclear")
    for yaw in YAWS:
        angles = np.stack(
            [rng.choice([-1, 1], options.faces) * yaw, rng.uniform(-20, 20, options.faces)], axis=1
        )
        points = made_faces(angles, options, rng)
        rigid, ratios = directions(points), by_ratios(points)
        found = facing(rigid, np.full(len(rigid), 100.0))
        print(
            f"{yaw:5d}{_rms(rigid - angles)[0]:13.1f}{_rms(rigid - angles)[1]:7.1f}"
            f"{_rms(ratios - angles)[0]:14.1f}{_rms(ratios - angles)[1]:7.1f}"
            f"{np.mean(found == Facing.CAMERA):12.2f}{np.mean(found == Facing.UNCLEAR):10.2f}"
        )
    print(f"limits of attention: yaw {ATTENTION_YAW:g}, pitch {ATTENTION_PITCH:g}")
    one = made_faces(np.zeros((1, 2)), options, rng)
    began = time.perf_counter()
    for _ in range(1000):
        facing(directions(one), np.array([100.0]))
    print(f"{1000 * (time.perf_counter() - began):.1f} us a face")


def made_faces(
    angles: NDArray[np.float64], options: argparse.Namespace, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Landmarks (n, 5, 2) of faces that look in the directions ``angles`` (n, 2), tilted up to 15 degrees."""
    faces = MEAN_FACE + rng.normal(0, options.shape, (len(angles), 5, 3))
    faces -= faces.mean(axis=1, keepdims=True)
    (yaw, pitch), roll = np.radians(angles).T, np.radians(rng.uniform(-15, 15, len(angles)))
    for axis, angle in ((2, roll), (0, pitch), (1, yaw)):
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        cosine, sine = np.cos(angle)[:, np.newaxis], np.sin(angle)[:, np.newaxis]
        first, second = faces[..., a].copy(), faces[..., b].copy()
        faces[..., a], faces[..., b] = cosine * first - sine * second, sine * first + cosine * second
    near = options.distance / (options.distance - faces[..., 2:])
    points: NDArray[np.float64] = faces[..., :2] * near * options.eyes / 63 + 300
    return points + rng.normal(0, options.noise, points.shape)


def by_ratios(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw and pitch (n, 2) from where the nose lies, after the tilt of the eyes was taken out."""
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    across = points[:, 1] - points[:, 0]
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    down = np.stack([-across[:, 1], across[:, 0]], axis=1)
    length = ((mouth - eyes) * down).sum(axis=1)
    nose = points[:, 2] - (eyes + mouth) / 2
    model = MEAN_FACE
    depth = model[2, 2] - model[3, 2] / 2
    frontal = model[2, 1] - model[3, 1] / 2
    scale = model[3, 1]
    yaw = np.degrees(np.arcsin(np.clip((nose * across).sum(axis=1) / length * scale / depth, -1, 1)))
    pitch = np.degrees(
        np.arcsin(np.clip((frontal - (nose * down).sum(axis=1) / length * scale) / depth, -1, 1))
    )
    return np.stack([yaw, pitch], axis=1)


def _rms(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(np.nanmean(errors**2, axis=0))
    return found


if __name__ == "__main__":
    main()
