"""Time the face detector by engine, each in turn, on a frame as `run` gets them.

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
from fer_edge.native_output import litert_greeting


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
    print(f"{'ms a call, frame ' + arguments.size:<32}{'p50':>8}{'p95':>8}{'min':>8}  of OpenCV's p50")
    for threads in arguments.threads:
        cv2.setNumThreads(threads)
        with litert_greeting():
            detectors = {engine: FaceDetector(engine=engine) for engine in available_engines()}
        samples: dict[str, list[float]] = {engine: [] for engine in detectors}
        for call in range(arguments.calls + 10):
            for engine, detector in detectors.items():
                start = time.perf_counter()
                found = detector.detect(frame)
                if call >= 10:
                    samples[engine].append(1e3 * (time.perf_counter() - start))
                assert len(found) == 1
        base = np.median(samples["opencv"])
        for engine, times in samples.items():
            p50, p95 = np.percentile(times, (50, 95))
            name = f"{engine}, {threads} thread{'s' if threads > 1 else ''}"
            print(f"{name:<32}{p50:>8.3f}{p95:>8.3f}{min(times):>8.3f}  {p50 / base:.2f}")


if __name__ == "__main__":
    main()
