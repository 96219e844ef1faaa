"""``fer-edge bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import DataError
from ._arguments import positive_int

if TYPE_CHECKING:
    from ..benchmark import Benchmark

HELP = "Measure latency on this machine: preprocessing, detector, every classifier file, whole frame."
EPILOG = """example:
  fer-edge bench
  fer-edge bench --image me.jpg --calls 1000 --threads 1 2 4 --json > pi4.json

the subjects take turns call by call; times are milliseconds a call, after a warm-up
without --image the demo photograph is used (extra [demo])"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model", default="edge", help="bundled name or exported folder (default: %(default)s)"
    )
    parser.add_argument(
        "--calls", type=positive_int, default=200, help="timed calls a subject (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=positive_int, nargs="+", help="thread counts to try (default: 1 and all cores)"
    )
    parser.add_argument("--image", metavar="FILE", help="frame with a face to measure on, at its own size")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from dataclasses import asdict

    from tqdm import tqdm

    from ..benchmark import benchmark
    from ..classifier import load_classifier
    from ..evaluate import to_json
    from ..machine import describe
    from ..quiet import litert_greeting
    from ..sources import DemoSource, read_image

    if arguments.image:
        frame = read_image(arguments.image)
    else:
        with DemoSource(paced=False) as demo:
            frame = next(iter(demo)).image
    cores = describe().cores
    threads = tuple(sorted(set(arguments.threads or (1, cores))))
    if threads[-1] > cores:
        raise DataError(f"--threads {threads[-1]}: this machine has {cores} cores")

    def progress(rounds: Iterator[int]) -> Iterator[int]:
        bar: Iterator[int] = iter(
            tqdm(rounds, total=arguments.calls, unit="round", file=sys.stderr, leave=False, disable=None)
        )
        return bar

    with litert_greeting():
        load_classifier(arguments.model)
    result = benchmark(frame, arguments.model, calls=arguments.calls, threads=threads, progress=progress)
    if arguments.json:
        print(to_json(asdict(result)))
    else:
        _print(result)
    return 0


def _print(result: Benchmark) -> None:
    machine, before, after = result.machine, result.before, result.after
    print(
        f"{machine.board + ', ' if machine.board else ''}{machine.cpu}, {machine.cores} cores, "
        f"{machine.system}"
    )
    temperature = " -> ".join(
        "not told" if state.temperature is None else f"{state.temperature:.1f} °C"
        for state in (before, after)
    )
    throttling = "not told" if after.throttling is None else ", ".join(after.throttling) or "none"
    print(
        f"governor {machine.governor or 'not told'}; temperature {temperature}; throttling {throttling}; "
        f"load {before.load:.1f} -> {after.load:.1f}"
    )
    kernels = "C extension" if result.extension else "NumPy path"
    memory = "not told" if result.peak_memory is None else f"{result.peak_memory / 1e6:.0f} MB"
    print(
        f"frame {result.frame}; {kernels}; detector on {result.detector_threads} threads; "
        f"peak memory of a run {memory}"
    )
    print(f"\n{'ms a call':<38}{'p50':>9}{'p95':>9}{'p99':>9}{'min':>9}{'per s':>9}{'file kB':>9}")
    for timing in result.timings:
        size = "" if timing.subject.size is None else f"{timing.subject.size / 1000:.0f}"
        print(
            f"{timing.subject!s:<38}{timing.p50:>9.3f}{timing.p95:>9.3f}{timing.p99:>9.3f}{timing.min:>9.3f}"
            f"{timing.per_second:>9.0f}{size:>9}"
        )
