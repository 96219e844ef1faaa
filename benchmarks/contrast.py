"""Time the exposure and contrast of faces, beside the crop of a face and copies of the faces, on one thread.

python benchmarks/contrast.py [--rounds 100]
"""

from __future__ import annotations

import argparse

import numpy as np
from timing import best_times, memcpy, print_machine

from fer_edge.kernels import EXTENSION, fallback
from fer_edge.kernels.constants import FACE_SIZE
from fer_edge.kernels.contrast import normalize_contrast
from fer_edge.kernels.crop import crop_faces

COUNTS = (1, 64)
SQUARE = 100.0
"""Side of the face that is cropped, in pixels of a BGR frame."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    print_machine()
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (480, 640, 3), np.uint8)
    print(f"{'C kernels' if EXTENSION else 'NumPy'}; us a face, best of {rounds}")
    print("faces  dtype       ours    NumPy   ratio     crop   of it   memcpy")
    for count in COUNTS:
        squares = np.tile([[10.0, 12.0, SQUARE]], (count, 1))
        for kind, dtype in enumerate((np.uint8, np.int8, np.float32)):
            faces = crop_faces(frame, squares, np.empty((count, FACE_SIZE, FACE_SIZE), dtype))
            subjects = {
                "ours": lambda faces=faces: normalize_contrast(faces),
                "numpy": lambda faces=faces, kind=kind: fallback.normalize_contrast(faces, kind),
                "crop": lambda faces=faces, squares=squares: crop_faces(frame, squares, faces),
                "memcpy": memcpy(faces.nbytes),
            }
            times = best_times(subjects, rounds, calls=10)
            ours, numpy, crop, copy = (1e6 * times[name] / count for name in subjects)
            print(
                f"{count:5}  {faces.dtype.name:<8}{ours:8.2f}{numpy:9.1f}{numpy / ours:8.1f}"
                f"{crop:9.2f}{ours / crop:8.2f}{copy:9.2f}"
            )


if __name__ == "__main__":
    main()
