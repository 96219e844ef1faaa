"""Time what frames cost that are passed over: a film of which every tenth frame is wanted.

Read as ``fer-edge run --every 10`` reads it, which leaves the others undecoded as far as OpenCV can, and with
all decoded. Both take turns; beside the clock's time stands the processor's, which other work disturbs less.

python benchmarks/passing.py [--frames 300] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from fer_edge.pipeline.pace import Pace
from fer_edge.sources.demo import DemoSource
from fer_edge.sources.video import VideoSource

EVERY = 10
SIZES = ((640, 480), (1280, 720), (1920, 1080))
CODECS = {"MPEG-4": "mp4v", "MJPEG": "MJPG"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'ms a frame of the film':<24}{'all decoded':>20}{'wanted ones':>20}{'ratio':>16}")
    print(f"{'':<24}" + f"{'clock':>10}{'cpu':>10}" * 2 + f"{'clock':>8}{'cpu':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, code in CODECS.items():
            for size in SIZES:
                path = Path(folder) / f"{code}-{size[0]}.avi"
                _write(path, code, size, arguments.frames)
                rounds = [
                    tuple(_read(path, arguments.frames, choosy) for choosy in (False, True))
                    for _ in range(arguments.rounds)
                ]
                (every, cpu), (wanted, less) = (
                    [1e3 / arguments.frames * statistics.median(times) for times in zip(*runs, strict=True)]
                    for runs in zip(*rounds, strict=True)
                )
                film = f"{name} {size[0]}x{size[1]}"
                print(
                    f"{film:<24}{every:>10.2f}{cpu:>10.2f}{wanted:>10.2f}{less:>10.2f}"
                    f"{wanted / every:>8.2f}{less / cpu:>8.2f}"
                )


def _write(path: Path, code: str, size: tuple[int, int], frames: int) -> None:
    """A film of the demo camera with the noise of a camera."""
    noise = np.random.default_rng(1).integers(0, 12, (size[1], size[0], 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 30.0, size)
    for index, frame in zip(range(frames), DemoSource(size, paced=False), strict=False):
        writer.write(cv2.add(frame.image, np.roll(noise, 17 * index, axis=1)))
    writer.release()


def _read(path: Path, frames: int, choosy: bool) -> tuple[float, float]:
    """Seconds by the clock and of the processor to read the film, all or (``choosy``) what is wanted."""
    with VideoSource(path) as source:
        source.choosy = choosy
        pace = Pace(every=EVERY)
        # One that is not choosy decodes whatever it is asked about.
        source.chooser = pace.chooses if choosy else None
        began, used = time.perf_counter(), time.process_time()
        given = sum(1 for _ in source)
        passed, spent = time.perf_counter() - began, time.process_time() - used
    assert given == len(range(0, frames, EVERY if choosy else 1))
    return passed, spent


if __name__ == "__main__":
    main()
