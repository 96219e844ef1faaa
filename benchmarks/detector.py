"""Time the face detector by engine, each in turn, on a frame as `run` gets them; and decoding by itself.

Beside the clock's time stands the processor's, of all threads, which other work disturbs less.

python benchmarks/detector.py [--size 640x480] [--threads 1 2] [--calls 300]
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
from skimage.data import astronaut

from fer_edge.faces.detector import FaceDetector
from fer_edge.faces.engines import available_engines
from fer_edge.kernels import fallback, implementation
from fer_edge.kernels.fallback.decode import FACE_NUMBERS, FACES_LIMIT
from fer_edge.native_output import litert_greeting


def print_decoding(calls: int) -> None:
    """Outputs with one face, as eight cells see it, to faces: in C and NumPy, in both orders of memory."""
    print(f"{'us a call, decoding':<32}{'C':>8}{'min':>8}{'NumPy':>8}{'min':>8}   ratio of the minima")
    rng = np.random.default_rng(0)
    faces = np.empty((FACES_LIMIT, FACE_NUMBERS), np.float32)
    for height, width in ((256, 320), (128, 128)):
        rows = [np.full((height // s * (width // s), 16), -6, np.float32) for s in (8, 16, 32)]
        rows[1][5:13] = rng.normal(0, 0.1, (8, 16))
        rows[1][5:13, :2] = 3
        for order, outputs in (("cells", rows), ("channels", [np.asfortranarray(one) for one in rows])):
            times: list[list[float]] = [[], []]
            for _ in range(calls):
                for kernels, samples in zip((implementation, fallback), times, strict=True):
                    start = time.perf_counter()
                    kernels.decode_faces(tuple(outputs), height, width, -0.1, 0.7, faces)
                    samples.append(1e6 * (time.perf_counter() - start))
            (p50, least), (p50_numpy, least_numpy) = ((np.median(t), min(t)) for t in times)
            name = f"{width}x{height}, by {order}"
            figures = f"{p50:>8.1f}{least:>8.1f}{p50_numpy:>8.1f}{least_numpy:>8.1f}"
            print(f"{name:<32}{figures}{least_numpy / least:>8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="320x240", help="of the frame, as 640x480")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    frame = np.zeros((height, width, 3), np.uint8)
    side = min(width, height)
    frame[:side, :side] = cv2.resize(astronaut()[:, :, ::-1], (side, side), interpolation=cv2.INTER_AREA)
    print_decoding(arguments.calls)
    columns = f"{'p50':>8}{'min':>8}{'cpu p50':>9}  of OpenCV's: p50, min, cpu"
    print(f"{'ms a call, frame ' + arguments.size:<32}{columns}")
    for threads in arguments.threads:
        cv2.setNumThreads(threads)
        with litert_greeting():
            detectors = {str(engine): FaceDetector(engine=engine) for engine in available_engines()}
            if "litert" in detectors:
                detectors["litert, int8"] = FaceDetector(engine="litert", precision="int8")
        samples: dict[str, list[tuple[float, float]]] = {engine: [] for engine in detectors}
        for call in range(arguments.calls + 10):
            for engine, detector in detectors.items():
                start, used = time.perf_counter(), time.process_time()
                found = detector.detect(frame)
                if call >= 10:
                    passed, spent = time.perf_counter() - start, time.process_time() - used
                    samples[engine].append((1e3 * passed, 1e3 * spent))
                assert len(found) == 1
        figures = {
            engine: np.array([*np.median(times, axis=0), min(times)[0]])[[0, 2, 1]]
            for engine, times in samples.items()
        }
        for engine, (p50, least, cpu) in figures.items():
            name = f"{engine}, {threads} thread{'s' if threads > 1 else ''}"
            ratios = "  ".join(f"{ratio:.2f}" for ratio in (p50, least, cpu) / figures["opencv"])
            print(f"{name:<32}{p50:>8.3f}{least:>8.3f}{cpu:>9.3f}  {ratios}")


if __name__ == "__main__":
    main()
