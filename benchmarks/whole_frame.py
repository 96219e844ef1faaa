"""Time a frame from the picture to the emotions beside another version, by turns, with 1, 5 and 15 faces.

Each version runs in a process of its own. In each round both go over the same film (the demo
camera with noise, or heads that sway) with the settings that they have on a camera. Of each frame of the film
the best time of all rounds counts, which other work disturbs least; the table has the mean and the
longest of these, and the processor's time, the median over rounds.

python benchmarks/whole_frame.py --before PYTHON [--rounds 9] [--frames 60] [--cases 1:640x480 15:640x480]
    [--threads 1]

PYTHON is that of a virtual environment with the other version.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from films import group
from timing import print_machine

CASES = ("1:640x480", "5:640x480", "15:640x480", "1:1280x720")
_CAMERA = {"detect_every": 10, "classify_every": 3}
"""Of films every frame is searched and classified by default."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="FACES:SIZE")
    parser.add_argument("--threads", type=int, default=1, help="of the detector")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.frames, arguments.threads)
        return
    if not arguments.before:
        parser.error("--before: name the Python of another version")
    print_machine()
    pythons = {"before": arguments.before, "now": sys.executable}
    workers = {name: Worker(python, arguments.frames, arguments.threads) for name, python in pythons.items()}
    columns = "".join(f"{f'{what}, {name}':>16}" for what in ("mean", "longest", "cpu") for name in workers)
    print(f"{'ms a frame':<16}{columns}{'now / before: mean':>20}{'cpu':>7}")
    for case in arguments.cases:
        runs: dict[str, list[Run]] = {name: [] for name in workers}
        for _ in range(arguments.rounds):
            for name, worker in workers.items():
                runs[name].append(worker.ask(case))
        counts = {name: run[0].faces for name, run in runs.items()}
        if len(set(counts.values())) > 1:
            print(f"{case}: faces found: {counts}")
        best = {name: np.min([one.latencies for one in run], axis=0) for name, run in runs.items()}
        means = [best[name].mean() for name in workers]
        cpu = [np.median([one.cpu for one in runs[name]]) for name in workers]
        times = "".join(
            f"{value:>16.3f}" for value in (*means, *(best[name].max() for name in workers), *cpu)
        )
        faces, size = case.split(":")
        print(
            f"{f'{faces}, {size}':<16}{times}{means[1] / means[0]:>20.3f}{cpu[1] / cpu[0]:>7.3f}", flush=True
        )
    for name, worker in workers.items():
        print(f"peak memory, {name}: {worker.close() / 1000:.0f} MB, films included")


@dataclass(frozen=True)
class Run:
    """A worker's figures of a film: milliseconds of each frame, of the processor a frame, faces in all."""

    latencies: list[float]
    cpu: float
    faces: int


class Worker:
    """A process that times films when it is asked."""

    def __init__(self, python: str, frames: int, threads: int) -> None:
        self._process = subprocess.Popen(
            [python, __file__, "--worker", "--frames", str(frames), "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, case: str) -> Run:
        """Have it run over a film."""
        return Run(*self._say(case))

    def close(self) -> float:
        """End it; return its peak memory in kilobytes."""
        peak: float = self._say("")
        self._process.wait()
        return peak

    def _say(self, line: str) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"a worker ended with exit code {self._process.wait()}")
        return json.loads(answer)


def work(frames: int, threads: int) -> None:
    """Answer each line of standard input with the figures of a run, an empty one with the peak memory."""
    cv2.setNumThreads(threads)
    run = _runner()
    films: dict[str, list[Any]] = {}
    for line in sys.stdin:
        case = line.strip()
        if not case:
            print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss), flush=True)
            return
        if case not in films:
            faces, size = case.split(":")
            width, height = map(int, size.split("x"))
            films = {case: list(group(frames, int(faces), (width, height)))}
        used = time.process_time()
        latencies, found = run(films[case])
        used = time.process_time() - used
        print(json.dumps([latencies, 1000 * used / frames, found]), flush=True)


def _runner() -> Callable[[list[Any]], tuple[list[float], int]]:
    """What runs over a film and returns the milliseconds of each frame and the faces of all."""
    import fer_edge

    recognizer = fer_edge.Recognizer()
    if not hasattr(fer_edge, "watch"):
        return _old_runner(recognizer)
    from fer_edge.sources.base import Frame, Source

    class Film(Source):
        name = "film"

        def __init__(self, shots: list[Any]) -> None:
            self.shots = shots

        def __iter__(self) -> Iterator[Frame]:
            return (Frame(shot.image, shot.seconds, "film") for shot in self.shots)

    def run(shots: list[Any]) -> tuple[list[float], int]:
        with fer_edge.watch(Film(shots), recognizer=recognizer, **_CAMERA) as results:
            return [result.latency_ms for result in results], results.summary.faces

    return run


def _old_runner(recognizer: Any) -> Callable[[list[Any]], tuple[list[float], int]]:
    """The same for versions before :func:`fer_edge.watch`."""
    from fer_edge.live import Run as OldRun  # type: ignore[import-not-found]
    from fer_edge.sources import Frame, Source  # type: ignore[attr-defined]

    class Film(Source):
        name = "film"

        def __init__(self, shots: list[Any]) -> None:
            self.shots = shots

        def __iter__(self) -> Iterator[Any]:
            return (Frame(shot.image, shot.seconds, "film") for shot in self.shots)

    class Latencies(list[float]):
        def write(self, result: Any) -> None:
            self.append(result.latency_ms)

        def close(self) -> None:
            """Nothing is open."""

    def run(shots: list[Any]) -> tuple[list[float], int]:
        latencies = Latencies()
        summary = OldRun(recognizer).process(Film(shots), [latencies])
        return list(latencies), summary.faces

    return run


if __name__ == "__main__":
    main()
