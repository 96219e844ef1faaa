"""What viewers of the page cost a run: one, many that stall, and many that look on, in turn in one run.

The demo camera is read unpaced, so that the rate is what the machine can do. Windows with viewers and without
alternate, and each with viewers is compared with the mean of the two without around it, so that other load
and a processor that warms up hit both: frames a second, the processor time a frame of all threads but the
page's, the processor time of the page's threads as a share of a core (they work by the clock, not by the
frame), and the memory of the process. Medians over all rounds, with 95 % intervals (bootstrap).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fer_edge
from fer_edge.control.control import Control
from fer_edge.machine import resident_memory
from fer_edge.option import Address
from fer_edge.outputs.live import Live
from fer_edge.outputs.page.page import Door, PageOptions, PageOutput
from fer_edge.pipeline.watch import Watch


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.7, help="of each window (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="windows of each kind (default: %(default)s)")
    parser.add_argument("--viewers", type=int, default=50, help="who stall (default: %(default)s)")
    parser.add_argument("--only", metavar="WORD", help="parts with this word alone, such as stall")
    parser.add_argument("--picture", choices=("blurred", "full"), default="full")
    parser.add_argument("--source", default="demo")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    parts = {
        "1 looks on": (1, 0),
        f"{args.viewers} stall": (0, args.viewers),
        f"{args.viewers} look on": (args.viewers, 0),
    }
    if args.only:
        parts = {name: parts[name] for name in parts if args.only in name}
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(args, parts, Path(folder))
    rows = []
    for name, windows in figures.items():
        fps = [2 * one.fps / (before.fps + after.fps) for one, before, after in windows]
        cpu = [2 * one.cpu / (before.cpu + after.cpu) for one, before, after in windows]
        beside = [one.beside - (before.beside + after.beside) / 2 for one, before, after in windows]
        memory = [one.memory - before.memory for one, before, _ in windows]
        rows.append(
            {
                "part": name,
                "fps": round(statistics.median(one.fps for one, _, _ in windows), 1),
                "fps_share": median_of(fps),
                "cpu_share": median_of(cpu),
                "core_share": median_of(beside),
                "memory_mb": round(max(memory) / 1e6, 1),
            }
        )
    if args.json:
        print(json.dumps(rows))
        return 0
    print("compared with nobody: median (95 % interval)")
    heads = f"{'of frames a second':>26} {'of CPU time a frame':>26} {'of a core':>9} {'memory':>9}"
    print(f"{'part':<12} {'fps':>6} {heads}")
    for row in rows:
        shares = " ".join(f"{_told(row[name]):>26}" for name in ("fps_share", "cpu_share"))
        core, memory = row["core_share"][0], row["memory_mb"]
        print(f"{row['part']:<12} {row['fps']:>6.1f} {shares} {core:>9.2%} {memory:>+6.1f} MB")
    return 0


def _told(share: tuple[float, float, float]) -> str:
    middle, low, high = share
    return f"{middle:.1%} ({low:.1%} to {high:.1%})"


def median_of(values: list[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval."""
    samples = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return round(statistics.median(values), 4), round(float(low), 4), round(float(high), 4)


@dataclass(frozen=True)
class Span:
    """What was measured in a window."""

    fps: float
    cpu: float
    """CPU seconds a frame, without the page's threads."""
    beside: float
    """CPU time of the page's threads, as a share of the time that passed."""
    memory: int
    """Of the process at its end, in bytes."""


def measure(
    args: argparse.Namespace, parts: dict[str, tuple[int, int]], folder: Path
) -> dict[str, list[tuple[Span, Span, Span]]]:
    """For each part its windows, each with those without viewers before and after it."""
    unpaced = {"unpaced": True} if args.source == "demo" else {}
    options = PageOptions(Address("127.0.0.1", 0), args.picture, viewers=args.viewers + 1)
    door = Door(options, lambda: folder)
    figures: dict[str, list[tuple[Span, Span, Span]]] = {name: [] for name in parts}
    with fer_edge.watch(args.source, colour=True, **unpaced) as run:
        control = Control(run)
        live = Live(control.cameras, told=control.snapshot)
        page = PageOutput(door, control.cameras, live, control, lambda: (b"", "text/plain"))
        page.start()
        try:
            span(run, live, page, 1.0)
            before = span(run, live, page, args.seconds)
            for _ in range(args.rounds):
                for name, (readers, stallers) in parts.items():
                    with viewers(door.port, readers, stallers):
                        while page.server.connections < readers + stallers:
                            span(run, live, page, 0.2)
                        # Until the buffers of stalled viewers are full.
                        span(run, live, page, 1.0)
                        looked_at = span(run, live, page, args.seconds)
                    while page.server.connections:
                        span(run, live, page, 0.2)
                    after = span(run, live, page, args.seconds)
                    figures[name].append((looked_at, before, after))
                    before = after
        finally:
            page.close()
    return figures


def span(run: Watch, live: Live, page: PageOutput, seconds: float) -> Span:
    """Recognize for so many seconds."""
    began, count = time.perf_counter(), 0
    before, process = page_time(), time.process_time()
    for result in run:
        live.take(result)
        page.write(result)
        count += 1
        if time.perf_counter() - began >= seconds:
            break
    passed = time.perf_counter() - began
    beside = page_time() - before
    cpu = (time.process_time() - process - beside) / count
    return Span(count / passed, cpu, beside / passed, resident_memory() or 0)


def page_time() -> float:
    """CPU seconds of the page's threads so far."""
    own = [one.ident for one in threading.enumerate() if one.name.startswith("page") and one.ident]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in own)


@contextlib.contextmanager
def viewers(port: int, readers: int, stallers: int) -> Iterator[None]:
    """So many who read the pictures, in a process of their own, and who ask for them and read nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(stallers):
            stack.enter_context(asked(port))
        if readers:
            process = subprocess.Popen([sys.executable, __file__, "--read", str(port), str(readers)])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def asked(port: int) -> socket.socket:
    """A connection on which pictures will come."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"GET /api/video.mjpg?boxes=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connection


def read(port: int, count: int) -> None:
    """Read pictures on so many connections, without end."""
    waiting = selectors.DefaultSelector()
    for _ in range(count):
        waiting.register(asked(port), selectors.EVENT_READ)
    while waiting.get_map():
        for key, _ in waiting.select():
            assert isinstance(key.fileobj, socket.socket)
            if not key.fileobj.recv(1 << 20):
                waiting.unregister(key.fileobj)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
