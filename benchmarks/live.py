"""Whether all frames of a camera are processed, with faces that sway in each: 15 at 30 frames a second.

python benchmarks/live.py [--faces 15] [--seconds 20] [--size 640x480] [--detect-every 10]
    [--classify-every 3]
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator

from films import FPS, group
from timing import print_machine

import fer_edge
from fer_edge.sources.base import Frame, Source


class Camera(Source):
    """Gives the frames of a film over and over, forwards and backwards, in their own time."""

    name = "film"
    live = True

    def __init__(self, faces: int, size: tuple[int, int]) -> None:
        shots = [shot.image for shot in group(45, faces, size)]
        self._images = shots + shots[-2:0:-1]

    def __iter__(self) -> Iterator[Frame]:
        started = time.monotonic()
        for index in itertools.count():
            time.sleep(max(0.0, started + index / FPS - time.monotonic()))
            yield Frame(self._images[index % len(self._images)], index / FPS, self.name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--detect-every", type=int)
    parser.add_argument("--classify-every", type=int)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    print_machine()
    options = {
        "seconds": arguments.seconds,
        "detect_every": arguments.detect_every,
        "classify_every": arguments.classify_every,
    }
    with fer_edge.watch(Camera(arguments.faces, (width, height)), **options) as results:
        used = time.process_time()
        for _ in results:
            pass
        used = time.process_time() - used
    print(results.summary)
    print(f"{100 * used / results.summary.seconds:.0f} % of a core, the film's reading included")


if __name__ == "__main__":
    main()
