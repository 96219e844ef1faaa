"""Time what makes a frame the face detector's input, ours and OpenCV's in turn, on one thread.

python benchmarks/shrink.py [--calls 100]
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

from fer_edge.faces.detector import LIVE_SIZE
from fer_edge.kernels import EXTENSION
from fer_edge.kernels.crop import Layout
from fer_edge.kernels.shrink import shrink

FRAMES = ((640, 480), (800, 600), (1280, 720), (1920, 1080), (3840, 2160))
LAYOUTS: dict[str, tuple[Layout, int | None]] = {
    "bgr": ("bgr", None),
    "grey": ("grey", None),
    "i420": ("yuv420", cv2.COLOR_YUV2BGR_I420),
    "nv12": ("nv12", cv2.COLOR_YUV2BGR_NV12),
}
"""Beside ours the conversion that OpenCV needs first."""


def laid_out(picture: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """A BGR picture of even sides in another layout."""
    if layout == "bgr":
        return picture
    if layout == "grey":
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8)
    if layout == "nv12":
        height, width = picture.shape[:2]
        u, v = planes[height:].reshape(2, -1)
        planes[height:] = np.stack([u, v], 1).reshape(-1, width)
    return planes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    photo = np.ascontiguousarray(astronaut()[:, :, ::-1])
    print(f"{'C kernels' if EXTENSION else 'NumPy'}; us a call, p50 and min; ratios of the minima")
    print(f"{'frame':<16}{'ours':>8}{'min':>8}{'OpenCV':>8}{'min':>8}   ratio  differ by")
    for width, height in FRAMES:
        to = LIVE_SIZE, round(height * LIVE_SIZE / width)
        for name, (layout, code) in LAYOUTS.items():
            frame = laid_out(cv2.resize(photo, (width, height)), layout)
            ours, theirs = np.zeros((2, to[1] + 1, to[0] + 1, 3), np.float32)[:, 1:, 1:]
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(arguments.calls):
                start = time.perf_counter()
                shrink(frame, ours, layout=layout)
                middle = time.perf_counter()
                image = frame if code is None else cv2.cvtColor(frame, code)
                small = cv2.resize(image, to, interpolation=cv2.INTER_AREA)
                theirs[...] = small.reshape(*small.shape[:2], -1)
                times[0].append(1e6 * (middle - start))
                times[1].append(1e6 * (time.perf_counter() - middle))
            (p50, least), (p50_theirs, least_theirs) = ((np.median(t), min(t)) for t in times)
            print(
                f"{f'{width}x{height} {name}':<16}{p50:>8.0f}{least:>8.0f}"
                f"{p50_theirs:>8.0f}{least_theirs:>8.0f}"
                f"{least_theirs / least:>8.2f}{np.abs(ours - theirs).max():>11.0f}"
            )


if __name__ == "__main__":
    main()
