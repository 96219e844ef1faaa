"""Face in a frame to the classifier's int8 input, side by side with the same done in OpenCV, one thread.

python benchmarks/crop.py [--sizes 48 60 100] [--rounds 30]
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
from timing import best_times, memcpy, print_machine

from fer_edge.preprocess import FACE_SIZE, crop_faces

SIZES = (20, 48, 60, 80, 100, 150, 200, 300, 400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sides of the face, in pixels")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print_machine()
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    frame = cv2.GaussianBlur(noise, (5, 5), 0)
    out = np.empty((1, FACE_SIZE, FACE_SIZE), np.int8)
    print(" face       ours   OpenCV chain   ratio  ns/pixel    memcpy  differ by")
    for side in options.sizes:
        square = np.array([[10.0, 12.0, float(side)]])

        def ours(square: np.ndarray = square) -> None:
            crop_faces(frame, square, out)

        def chain(side: int = side) -> None:
            face = cv2.cvtColor(frame[12 : 12 + side, 10 : 10 + side], cv2.COLOR_BGR2GRAY)
            way = cv2.INTER_AREA if side >= FACE_SIZE else cv2.INTER_LINEAR
            grey = cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=way)
            out[0] = (grey.astype(np.int16) - 128).astype(np.int8)

        subjects = {"ours": ours, "chain": chain, "memcpy": memcpy(3 * side * side)}
        times = best_times(subjects, options.rounds, calls=20)
        ours()
        face = out.astype(int)
        chain()
        inner = slice(3, -3) if side < FACE_SIZE else slice(None)
        difference = np.abs(face - out)[:, inner, inner].max()
        print(
            f"{side:5}{times['ours'] * 1e6:8.1f} us{times['chain'] * 1e6:12.1f} us"
            f"{times['chain'] / times['ours']:8.2f}{times['ours'] * 1e9 / side**2:10.2f}"
            f"{times['memcpy'] * 1e6:7.1f} us{difference:11}"
        )


if __name__ == "__main__":
    main()
