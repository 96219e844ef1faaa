"""What viewers of the page cost a run: none, some, and many that stall, in turn in one run.

The demo camera is read unpaced, so that the rate is what the machine can do. Each part is compared with
the part of its round without viewers: its frames a second, its frames for each second of CPU time of the
process, which other load hardly changes, the CPU time of the page's threads as a share of a
core, and the memory of the process.
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
    parser.add_argument("--seconds", type=float, default=1.5, help="of each part (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="times each part is run (default: %(default)s)")
    parser.add_argument("--viewers", type=int, default=50, help="who stall (default: %(default)s)")
    parser.add_argument("--picture", choices=("blurred", "full"), default="full")
    parser.add_argument("--source", default="demo")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    parts = {
        "nobody": (0, 0),
        "1 looks on": (1, 0),
        f"{args.viewers} stall": (0, args.viewers),
        f"{args.viewers} look on": (args.viewers, 0),
    }
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(args, parts, Path(folder))
    alone = figures["nobody"]
    rows = []
    for name, spans in figures.items():
        shares = [span.fps / before.fps for span, before in zip(spans, alone, strict=True)]
        beside = [span.beside - before.beside for span, before in zip(spans, alone, strict=True)]
        cpu = [span.cpu_fps / before.cpu_fps for span, before in zip(spans, alone, strict=True)]
        memory = [span.memory - before.memory for span, before in zip(spans, alone, strict=True)]
        rows.append(
            {
                "part": name,
                "fps": round(statistics.median(span.fps for span in spans), 1),
                "fps_share": round(statistics.median(shares), 4),
                "cpu_fps_share": round(statistics.median(cpu), 4),
                "core_share": round(statistics.median(beside), 4),
                "memory_mb": round(max(memory) / 1e6, 1),
            }
        )
    if args.json:
        print(json.dumps(rows))
        return 0
    print(f"{'part':<14} {'fps':>7} {'of nobody':>10} {'by CPU time':>12} {'of a core':>10} {'memory':>9}")
    for row in rows:
        shares = f"{row['fps_share']:>10.1%} {row['cpu_fps_share']:>12.1%} {row['core_share']:>10.2%}"
        print(f"{row['part']:<14} {row['fps']:>7.1f} {shares} {row['memory_mb']:>+6.1f} MB")
    return 0


@dataclass(frozen=True)
class Span:
    """What was measured in a part of a round."""

    fps: float
    cpu_fps: float
    """Frames for each second of CPU time."""
    beside: float
    """CPU time of the page's threads, as a share of the time that passed."""
    memory: int
    """Of the process at its end, in bytes."""


def measure(
    args: argparse.Namespace, parts: dict[str, tuple[int, int]], folder: Path
) -> dict[str, list[Span]]:
    """What each part was like, in every round."""
    unpaced = {"unpaced": True} if args.source == "demo" else {}
    options = PageOptions(Address("127.0.0.1", 0), args.picture, viewers=args.viewers + 1)
    door = Door(options, lambda: folder)
    figures: dict[str, list[Span]] = {name: [] for name in parts}
    with fer_edge.watch(args.source, colour=True, **unpaced) as run:
        control = Control(run)
        live = Live(control.cameras, told=control.snapshot)
        page = PageOutput(door, control.cameras, live, control, lambda: (b"", "text/plain"))
        page.start()
        try:
            span(run, live, page, 1.0)
            for _ in range(args.rounds):
                for name, (readers, stallers) in parts.items():
                    with viewers(door.port, readers, stallers):
                        while page.server.connections < readers + stallers:
                            span(run, live, page, 0.2)
                        # Until the buffers of stalled viewers are full.
                        span(run, live, page, 1.0)
                        figures[name].append(span(run, live, page, args.seconds))
                    while page.server.connections:
                        span(run, live, page, 0.2)
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
    cpu_fps = count / (time.process_time() - process)
    return Span(count / passed, cpu_fps, (page_time() - before) / passed, resident_memory() or 0)


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
