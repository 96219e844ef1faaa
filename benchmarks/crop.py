"""Face in a frame to the classifier's int8 input, side by side with the same done in OpenCV, one thread.

python benchmarks/crop.py [--sizes 48 60 100] [--layouts bgr rgb grey yuv420 nv12] [--rounds 30]
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
from numpy.typing import NDArray
from timing import best_times, memcpy, print_machine

from fer_edge.kernels.constants import FACE_SIZE
from fer_edge.kernels.crop import crop_faces

SIZES = (8, 20, 48, 60, 80, 100, 150, 200, 300, 400, 1000, 2000)
TO_GREY = {
    "bgr": cv2.COLOR_BGR2GRAY,
    "rgb": cv2.COLOR_RGB2GRAY,
    "grey": None,
    "yuv420": None,  # OpenCV, too, takes the Y plane as it is
    "nv12": None,
}
ANGLE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sides of the face, in pixels")
    parser.add_argument("--layouts", nargs="+", choices=TO_GREY, default=["bgr"], help="of the frame")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print_machine()
    noise = np.random.default_rng(0).integers(0, 256, (2160, 3840, 3), dtype=np.uint8)
    colour = cv2.GaussianBlur(noise, (5, 5), 0)
    print("layout  face       ours   OpenCV chain   ratio  ns/pixel    memcpy     turned  differ by")
    for layout in options.layouts:
        frame = in_layout(colour, layout)
        for side in options.sizes:
            print(f"{layout:7}{measured(frame, layout, side, options.rounds)}")


def in_layout(colour: NDArray[np.uint8], layout: str) -> NDArray[np.uint8]:
    """A frame of that layout; the planes of colour hold noise, as nobody reads them."""
    if layout in ("bgr", "rgb"):
        return colour
    return (
        colour[..., 1].copy() if layout == "grey" else np.concatenate([colour[..., 1], colour[:1080, :, 0]])
    )


def measured(frame: NDArray[np.uint8], layout: str, side: int, rounds: int) -> str:
    square = np.array([[10.0, 12.0, float(side)]])
    out = np.empty((1, FACE_SIZE, FACE_SIZE), np.int8)
    code = TO_GREY[layout]

    def chain() -> None:
        face = frame[12 : 12 + side, 10 : 10 + side]
        if code is not None:
            face = cv2.cvtColor(face, code)
        way = cv2.INTER_AREA if side >= FACE_SIZE else cv2.INTER_LINEAR
        grey = cv2.resize(face, (FACE_SIZE, FACE_SIZE), interpolation=way)
        out[0] = (grey.astype(np.int16) - 128).astype(np.int8)

    subjects = {
        "ours": lambda: crop_faces(frame, square, out, layout=layout),
        "turned": lambda: crop_faces(frame, square, out, layout=layout, angles=[ANGLE]),
        "chain": chain,
        "memcpy": memcpy(side * side * (3 if frame.ndim == 3 else 1)),
    }
    times = best_times(subjects, rounds, calls=20 if side < 500 else 2)
    subjects["ours"]()
    face = out.astype(int)
    chain()
    inner = slice(3, -3) if side < FACE_SIZE else slice(None)
    difference = np.abs(face - out)[:, inner, inner].max()
    return (
        f"{side:5}{times['ours'] * 1e6:8.1f} us{times['chain'] * 1e6:12.1f} us"
        f"{times['chain'] / times['ours']:8.2f}{times['ours'] * 1e9 / side**2:10.2f}"
        f"{times['memcpy'] * 1e6:7.1f} us{times['turned'] * 1e6:8.1f} us{difference:11}"
    )


if __name__ == "__main__":
    main()
