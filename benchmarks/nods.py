"""Fit how pitch is read from a face's picture, and say how right it is on other faces.

python benchmarks/nods.py --data fer2013.csv --mesh face_landmark.tflite --photographs FOLDER [--faces 3400]

Nobody measured where the faces of FER-2013 look. MediaPipe's face mesh (the wheel of mediapipe 0.10.14 holds
it as modules/face_landmark/face_landmark.tflite, Apache 2.0) finds 468 points of a face in three dimensions,
and the rotation that lays the mean of all faces on them is the reference. Rows of Training are fitted by
ridge regression, also mirrored; rows of PublicTest are judged. ``--photographs``: people who look into the
camera; their mean pitch is 0 by definition. Prints the constants of fer_edge/faces/nod.py.
"""

from __future__ import annotations

import argparse
import base64
import textwrap
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import fer_edge
from fer_edge.faces.detector import FaceDetector
from fer_edge.faces.nod import edges_of
from fer_edge.faces.quality import directions

RIDGE = 3.0
SCALE = 10.0
"""Length of a face's sums of edges in the fit; the ridge depends on it."""

BY_LANDMARKS = 0.1
"""By what the pitch of the landmarks is multiplied in the fit, for the same reason."""

MOST_YAW, FRONTAL_YAW, FRONTAL_PITCH = 60.0, 15.0, 8.0
EYES = 33, 263
"""Outer corners in the mesh."""

INPUT = 192


class Mesh:
    """MediaPipe's face mesh by LiteRT."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._net = Interpreter(str(path), num_threads=1)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._points, self._score = (one["index"] for one in self._net.get_output_details())

    def find(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Points (468, 3) in pixels, z to the camera, of the BGR ``image``; None where no face is seen."""
        middle, side, angle = box[:2] + box[2:] / 2, 1.5 * float(box[2:].max()), 0.0
        score = 0.0
        points = np.empty((468, 3))
        # Once to find where the face is, once to look at it.
        for _ in range(2):
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * side / INPUT
            move = np.column_stack([turn, middle - turn @ [INPUT / 2, INPUT / 2]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            crop = cv2.warpAffine(image, move, (INPUT, INPUT), flags=flags, borderMode=cv2.BORDER_REPLICATE)
            self._net.set_tensor(self._input, crop[np.newaxis, :, :, ::-1].astype(np.float32) / 255)
            self._net.invoke()
            found = self._net.get_tensor(self._points).reshape(468, 3).astype(np.float64)
            score = float(self._net.get_tensor(self._score).ravel()[0])
            points[:, :2] = found[:, :2] @ turn.T + move[:, 2]
            points[:, 2] = -found[:, 2] * side / INPUT
            low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
            middle, side = (low + high) / 2, 1.5 * float((high - low).max())
            across = points[EYES[1]] - points[EYES[0]]
            angle = float(np.arctan2(across[1], across[0]))
        return points if score > 0 else None


def rotation(points: NDArray[np.float64], shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3): how ``shape`` (n, 3), its mean at 0, is turned to lie best on ``points`` (Kabsch 1976)."""
    left, _, right = np.linalg.svd((points - points.mean(axis=0)).T @ shape)
    return np.asarray(left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right)


def mean_shape(meshes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(468, 3): the mean of meshes (m, 468, 3) after each was turned to it."""
    centred = meshes - meshes.mean(axis=1, keepdims=True)
    centred /= np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True))
    shape = np.median(centred, axis=0)
    for _ in range(8):
        shape = np.mean([one @ rotation(one, shape) for one in centred], axis=0)
        shape /= np.sqrt((shape**2).sum())
    return np.asarray(shape)


def angles_of(meshes: NDArray[np.float64], shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw and pitch (m, 2) in degrees, as :func:`fer_edge.faces.quality.directions` counts them."""
    ahead = np.array([rotation(one, shape)[:, 2] for one in meshes])
    pitch = np.arcsin(np.clip(-ahead[:, 1], -1, 1))
    return np.degrees(np.column_stack([np.arctan2(ahead[:, 0], ahead[:, 2]), pitch]))


def inputs_of(image: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(289,): what the pitch is a linear function of."""
    (edges,) = edges_of(image, landmarks[np.newaxis])
    by_landmarks = BY_LANDMARKS * directions(landmarks[np.newaxis])[0, 1]
    return np.append(SCALE * edges / np.linalg.norm(edges), by_landmarks)


def mirrored(landmarks: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Landmarks of the picture seen in a mirror."""
    found = landmarks[[1, 0, 2, 4, 3]].copy()
    found[:, 0] = width - found[:, 0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--mesh", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=3400)
    options = parser.parse_args()
    detector, mesh = FaceDetector(), Mesh(options.mesh)
    data = fer_edge.read_fer2013(options.data)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(data.usage != "PrivateTest"))[: options.faces]
    straight, flipped, meshes, public = [], [], [], []
    for row in rows.tolist():
        small = data.pixels[row]
        # As large as the detector needs it, with room around.
        large = cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        image = cv2.cvtColor(
            cv2.copyMakeBorder(large, 64, 64, 64, 64, cv2.BORDER_REPLICATE), cv2.COLOR_GRAY2BGR
        )
        found = detector.detect_in_picture(np.asarray(image, np.uint8))
        if not len(found):
            continue
        best = int(np.argmax(found.scores))
        points = mesh.find(np.asarray(image, np.uint8), found.boxes[best].astype(np.float64))
        if points is None:
            continue
        landmarks = (found.landmarks[best].astype(np.float64) - 64) / 4
        straight.append(inputs_of(small, landmarks))
        flipped.append(inputs_of(np.ascontiguousarray(small[:, ::-1]), mirrored(landmarks, small.shape[1])))
        meshes.append(points)
        public.append(data.usage[row] == "PublicTest")
    people, people_meshes = photographs(options.photographs, detector, mesh)
    fit(*(np.array(one) for one in (straight, flipped, meshes, public)), people, people_meshes)


def fit(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    meshes: NDArray[np.float64],
    judged: NDArray[np.bool_],
    people: NDArray[np.float64],
    people_meshes: NDArray[np.float64],
) -> None:
    """Fit, report and print the constants.

    ``first``, ``second`` (n, 289): inputs of faces and of their mirror images; ``meshes`` (n, 468, 3);
    ``judged`` (n,): which are not fitted; ``people`` (m, 289) and ``people_meshes``: of the photographs.
    """
    shape = mean_shape(meshes)
    angles = angles_of(meshes, shape) - angles_of(people_meshes, shape).mean(axis=0)
    fitted = ~judged & (np.abs(angles[:, 0]) < MOST_YAW)
    both = np.concatenate([first[fitted], second[fitted]])
    wanted = np.tile(angles[fitted, 1], 2)
    weights, bias = ridge(both, wanted)
    # A face and its mirror image have one pitch.
    half = (first + second) / 2
    near = judged & (np.abs(angles[:, 0]) < 35)
    slope = np.polyfit(angles[near, 1], half[near] @ weights + bias, 1)[0]
    weights /= slope
    bias = -float((people @ weights).mean())
    report(half[judged] @ weights + bias, first[judged, -1] / BY_LANDMARKS, angles[judged])
    looks = people @ weights + bias
    away = np.mean(np.abs(looks) > 20)
    print(f"photographs: {len(looks)}, pitch 0 ± {looks.std():.1f}, beyond 20 degrees: {away:.0%}")
    print_constants(weights, bias)


def photographs(
    folder: Path, detector: FaceDetector, mesh: Mesh
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inputs (n, 289) of people who look into the camera at four sizes, and their meshes."""
    inputs, meshes = [], []
    for path in sorted(folder.glob("*.jpg")):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        for side in (450, 300, 200, 150):
            small = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
            found = detector.detect_in_picture(small)
            if not len(found):
                continue
            landmarks = found.landmarks[0].astype(np.float64)
            pair = inputs_of(small, landmarks) + inputs_of(
                np.ascontiguousarray(small[:, ::-1]), mirrored(landmarks, side)
            )
            inputs.append(pair / 2)
            points = mesh.find(small, found.boxes[0].astype(np.float64)) if side == 450 else None
            if points is not None:
                meshes.append(points)
    return np.array(inputs), np.array(meshes)


def ridge(inputs: NDArray[np.float64], wanted: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Weights and bias of the linear function; the bias is not penalized."""
    middle, mean = inputs.mean(axis=0), float(wanted.mean())
    centred = inputs - middle
    weights = np.linalg.solve(
        centred.T @ centred + RIDGE * np.eye(inputs.shape[1]), centred.T @ (wanted - mean)
    )
    return weights, mean - float(middle @ weights)


def report(found: NDArray[np.float64], former: NDArray[np.float64], angles: NDArray[np.float64]) -> None:
    """Print errors, and who is called away for a nod: by the picture, and by the landmarks."""
    yaw, pitch = np.abs(angles[:, 0]), angles[:, 1]
    near = yaw < 35
    for name, one in (("picture", found), ("landmarks", former)):
        error = np.sqrt(np.mean((one - pitch)[near] ** 2))
        print(
            f"{name}: correlation {np.corrcoef(one[near], pitch[near])[0, 1]:.3f}, error {error:.1f} degrees"
        )
    frontal = (yaw < FRONTAL_YAW) & (np.abs(pitch) < FRONTAL_PITCH)
    groups = [("frontal", frontal)]
    groups += [
        (f"{low} to {high}", (yaw < 25) & (pitch >= low) & (pitch < high))
        for low, high in ((-60, -35), (-35, -25), (-25, -15), (-15, -8), (15, 25), (25, 40))
    ]
    for told, group in groups:
        if group.any():
            print(
                f"{told:12s}{group.sum():6d} faces, beyond 20 degrees: "
                f"{np.mean(np.abs(found[group]) > 20):.0%} by the picture, "
                f"{np.mean(np.abs(former[group]) > 20):.0%} by the landmarks"
            )


def print_constants(weights: NDArray[np.float64], bias: float) -> None:
    """Print what fer_edge/faces/nod.py holds."""
    cells = (SCALE * weights[:-1]).reshape(8, 6, 6)
    seen_in_mirror = cells[(4 - np.arange(8)) % 8][:, :, ::-1]
    numbers = np.rint(64 * (cells + seen_in_mirror) / 2).astype("<i2")
    for line in textwrap.wrap(base64.b64encode(numbers.tobytes()).decode(), 100):
        print(f'    "{line}"')
    print(f"_BY_LANDMARKS, _BIAS = {BY_LANDMARKS * weights[-1]:.3f}, {bias:.2f}")


if __name__ == "__main__":
    main()
