"""From which brightness of a face on its emotion is recognized less well, and what measuring it costs.

Rows of PublicTest whose image is not in Training are made darker and brighter, with a camera's noise, and
clipped. Needs FER-2013: --data, or the variable FER2013_CSV; --cost needs nothing.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
from numpy.typing import NDArray
from timing import best_times, print_machine

import fer_edge
from fer_edge.faces.faces import Faces
from fer_edge.faces.light import brightness, with_brightness
from fer_edge.fer2013.duplicates import in_training

LEVELS = (5, 10, 20, 30, 40, 60, 80, 128, 160, 180, 200, 220, 240)
"""Means before clipping."""

READ_NOISE = 3.0
"""Grey levels."""

SHOT_NOISE = 0.15
"""Variance by grey level."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("FER2013_CSV"), help="FER-2013 CSV")
    parser.add_argument("--model", default="edge", help="bundled name or folder (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1500, help="rows that are used (default: %(default)s)")
    parser.add_argument("--cost", action="store_true", help="time the measurement instead")
    arguments = parser.parse_args()
    if arguments.cost:
        print_cost()
        return
    if not arguments.data:
        parser.error("give --data or set FER2013_CSV")
    dataset = fer_edge.read_fer2013(arguments.data)
    if dataset.usage is None:
        parser.error("the CSV needs the column Usage")
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.flatnonzero((dataset.usage == "PublicTest") & ~in_training(dataset)))
    print_levels(dataset.pixels[chosen[: arguments.rows]], arguments.model, rng)


def print_levels(faces: NDArray[np.uint8], model: str, rng: np.random.Generator) -> None:
    """Print of each level how many faces are called the same as without a change."""
    classifier = fer_edge.load_classifier(model)
    usual = classifier.predict(faces).argmax(1)
    scale = 1 / faces.mean(axis=(1, 2))[:, None, None]
    print(f"{len(faces)} faces, {model}\nmean brightness   white   same emotion")
    for level in LEVELS:
        signal = level * scale * faces
        noise = rng.normal(0, 1, faces.shape) * np.sqrt(READ_NOISE**2 + SHOT_NOISE * signal)
        lit = np.rint(signal + noise).clip(0, 255).astype(np.uint8)
        same = np.mean(classifier.predict(lit).argmax(1) == usual)
        print(f"{lit.mean():15.0f} {np.mean(lit == 255):7.0%} {same:14.1%}")


def print_cost() -> None:
    """Print what measuring costs a frame."""
    print_machine()
    rng = np.random.default_rng(0)
    for width, height in ((640, 480), (1920, 1080)):
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        for count in (0, 1, 3):
            boxes = np.tile(np.float32([[100, 100, 160, 200]]), (count, 1))
            faces = Faces(boxes, np.ones(count, np.float32), np.zeros((count, 5, 2), np.float32))

            def measure(image: NDArray[np.uint8] = image, faces: Faces = faces) -> None:
                brightness(image)
                with_brightness(image, faces)

            (seconds,) = best_times({"": measure}, rounds=20, calls=200).values()
            print(f"{width} x {height}, {count} faces: {1e6 * seconds:.1f} us a frame")


if __name__ == "__main__":
    main()
