"""``fer-edge bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import DataError
from ..option import nonempty, positive_int
from ._json import to_json

if TYPE_CHECKING:
    from ..checks.latency import Benchmark

HELP = "Measure latency on this machine: preprocessing, detector, every classifier file, whole frame."
EPILOG = """examples:
  fer-edge bench
  fer-edge bench --image me.jpg --calls 1000 --threads 1 2 4 --json > pi4.json
  fer-edge bench --compare pi4.json pi5.json

the subjects take turns, one call each; times are milliseconds a call, after a warm-up
"15 faces in full" is what run does with a frame where it searches each frame, tracks, classifies all;
"as on cameras" it saves work, as on cameras and streams (without a thread for every 10th frame)
without --image the demo photograph is used (extra [demo])"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--model", nargs="+", help="bundled names or exported folders (default: all bundled models)"
    )
    parser.add_argument(
        "--calls", type=positive_int, default=200, help="timed calls a subject (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=positive_int, nargs="+", help="thread counts to try (default: 1 and all cores)"
    )
    parser.add_argument(
        "--image", type=nonempty, metavar="FILE", help="frame with a face to measure on, at its own size"
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar="FILE",
        help="measure nothing: print the ratios between two files that --json wrote",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if arguments.compare:
        if arguments.json:
            raise DataError("--compare prints a table and cannot be combined with --json")
        _compare(*arguments.compare)
        return 0
    from dataclasses import asdict

    from ..checks.latency import benchmark
    from ..machine import describe
    from ..models.classifier import load_classifier
    from ..models.manifest import bundled_models
    from ..native_output import litert_greeting
    from ..sources.demo import DemoSource
    from ..sources.images import read_image

    if arguments.image:
        frame = read_image(arguments.image)
    else:
        with DemoSource(paced=False) as demo:
            frame = next(iter(demo)).image
    cores = describe().cores
    threads = tuple(sorted(set(arguments.threads or (1, cores))))
    if threads[-1] > cores:
        raise DataError(f"--threads {threads[-1]}: this machine has {cores} cores")

    models = arguments.model or bundled_models()
    with litert_greeting():
        load_classifier(models[0], labels="fer2013")
    result = benchmark(
        frame, models, calls=arguments.calls, threads=threads, progress=_progress(arguments.calls)
    )
    if arguments.json:
        print(to_json(asdict(result)))
    else:
        _print(result)
    for doubt in result.doubts:
        print(f"warning: unreliable: {doubt}", file=sys.stderr)
    return 0


def _progress(total: int) -> Callable[[Iterator[int]], Iterator[int]]:
    """Return a wrapper that counts rounds on stderr as they pass, if stderr is a terminal."""

    def count(rounds: Iterator[int]) -> Iterator[int]:
        for number in rounds:
            print(f"\r{number + 1} of {total} rounds", end="", file=sys.stderr, flush=True)
            yield number
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    return count if sys.stderr.isatty() else lambda rounds: rounds


def _compare(first: str, second: str) -> None:
    from ..checks.latency import compare, read

    results = [read(path) for path in (first, second)]
    for name, path, result in zip("AB", (first, second), results, strict=True):
        machine = result["machine"]
        print(
            f"{name}  {path}: {machine['board'] or machine['cpu']}, {machine['cores']} cores, "
            f"fer-edge {result['version']}, frame {result['frame']}"
        )
        for doubt in result["doubts"]:
            print(f"   warning: unreliable: {doubt}")
    shared = compare(*results)
    if not shared:
        raise DataError(f"{first} and {second} timed nothing in common")
    wide = max(len("ms a call, p50"), *(len(subject) for subject, _, _ in shared))
    print(f"\n{'ms a call, p50':<{wide}}{'A':>9}{'B':>9}{'B is':>9}")
    for subject, one, two in shared:
        print(f"{subject:<{wide}}{one:>9.3f}{two:>9.3f}{one / two:>7.2f} x as fast")
    count = max(len(result["timings"]) for result in results)
    if len(shared) < count:
        print(f"not compared: {count - len(shared)} that only one of them timed")


def _print(result: Benchmark) -> None:
    machine, before, after = result.machine, result.before, result.after
    print(
        f"{machine.board + ', ' if machine.board else ''}{machine.cpu}, {machine.cores} cores, "
        f"{machine.system}"
    )
    temperature = " -> ".join(
        "unknown" if state.temperature is None else f"{state.temperature:.1f} °C" for state in (before, after)
    )
    throttling = "unknown" if after.throttling is None else ", ".join(after.throttling) or "none"
    print(
        f"governor {machine.governor or 'unknown'}; temperature {temperature}; throttling {throttling}; "
        f"load {before.load:.1f} -> {after.load:.1f}"
    )
    kernels = "C extension" if result.extension else "NumPy path"
    memory = "unknown" if result.peak_memory is None else f"{result.peak_memory / 1e6:.0f} MB"
    print(
        f"frame {result.frame}; {kernels}; detector on {result.detector_engine}, "
        f"{result.detector_threads} threads; "
        f"peak memory of a run {memory}"
    )
    wide = max(len(str(timing.subject)) for timing in result.timings)
    print(f"\n{'ms a call':<{wide}}{'p50':>9}{'p95':>9}{'p99':>9}{'min':>9}{'per s':>9}{'file kB':>9}")
    for timing in result.timings:
        size = "" if timing.subject.size is None else f"{timing.subject.size / 1000:.0f}"
        print(
            f"{timing.subject!s:<{wide}}{timing.p50:>9.3f}{timing.p95:>9.3f}{timing.p99:>9.3f}{timing.min:>9.3f}"
            f"{timing.per_second:>9.0f}{size:>9}"
        )
