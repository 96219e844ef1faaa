"""Run ``fer-edge run`` for long and watch its memory, threads and descriptors; ``make soak`` runs this.

python tools/soak.py --frames 200000 [--save-video] [--store] [--page] [--mqtt] [--json FILE] [-- OPTIONS]

The demo camera gives frame after frame, and JSON lines come through a pipe, so that what the process needs is
looked at after exact numbers of frames. Options behind ``--`` add outputs. The exit code is 1 where memory
grew by more than ``--growth``, or threads or descriptors became more, after the warm-up. Up to eight pictures
wait for a video, so memory goes up and down by megabytes: what is kept shows in the least of many samples.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_edge.pipeline.summary import LATENCIES_KEPT

SOURCE = "--camera demo --unpaced"
SAMPLES = 240
"""Samples in a run, some more where it is short."""


@dataclass(frozen=True)
class Sample:
    """What the process needs after so many frames."""

    frames: int
    seconds: float
    """Since the start."""
    rss: int
    """Bytes of resident memory."""
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Growth:
    """What became more after the warm-up."""

    frames: int
    """Over which it was looked at."""
    rss: int
    """Bytes by which the least of the last quarter's samples is above that of the first quarter's."""
    waiting: int
    """Bytes by which the most of all samples is above the least: what waited for outputs now and then."""
    rss_per_million_frames: int
    """Slope of a line through the samples (least squares)."""
    threads: int
    descriptors: int
    """Both between the medians of the first and of the last quarter, as connections and files come and go."""


def soak(
    frames: int, options: Sequence[str], warm_up: int, source: str = SOURCE
) -> tuple[list[Sample], dict[str, Any]]:
    """Run the command for ``frames`` frames; return samples after ``warm_up`` and the summary.

    Raises ``RuntimeError`` where it fails.
    """
    command = [
        sys.executable,
        "-m",
        "fer_edge",
        "run",
        *shlex.split(source),
        *options,
        "--frames",
        str(frames),
        "--jsonl",
        "-",
    ]
    step = max(1, frames // SAMPLES)
    samples: list[Sample] = []
    line = b""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        # The first line is the record of the start.
        for count, line in enumerate(process.stdout):
            # At the end, outputs are closed already.
            if count >= warm_up and count % step == 0 and b'"type":"frame"' in line[:40]:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    samples.append(look(process.pid, count, time.monotonic() - began))
    record = json.loads(line) if line.endswith(b"\n") else {}
    if process.returncode or record.get("type") != "end":
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}")
    return samples, record


def look(process: int, frames: int, seconds: float) -> Sample:
    """What a process needs now. Raises ``OSError`` where it has ended."""
    folder = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Sample(
        frames=frames,
        seconds=round(seconds, 1),
        rss=1024 * int(status["VmRSS"].split()[0]),
        threads=int(status["Threads"]),
        descriptors=len(os.listdir(folder / "fd")),  # noqa: PTH208
    )


def growth(samples: Sequence[Sample]) -> Growth:
    """Return what grew over ``samples``, at least four of them."""
    rss = np.array([sample.rss for sample in samples], float)
    frames = np.array([sample.frames for sample in samples], float)
    quarter = max(1, len(samples) // 4)
    first, last = samples[:quarter], samples[-quarter:]
    return Growth(
        frames=samples[-1].frames - samples[0].frames,
        rss=round(rss[-quarter:].min() - rss[:quarter].min()),
        waiting=round(rss.max() - rss.min()),
        rss_per_million_frames=round(np.polyfit(frames, rss, 1)[0] * 1e6),
        threads=statistics.median_low([one.threads for one in last])
        - statistics.median_low([one.threads for one in first]),
        descriptors=statistics.median_low([one.descriptors for one in last])
        - statistics.median_low([one.descriptors for one in first]),
    )


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def viewer(port: int) -> Iterator[None]:
    """Watch the page on ``port`` from when it is there on: one connection, on which figures come."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/events", timeout=600) as events,
            ):
                while not ended.is_set() and events.readline():
                    pass
            ended.wait(0.2)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A mosquitto of its own; its port. ``SystemExit`` where there is none."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("--mqtt needs mosquitto: sudo apt-get install mosquitto")
    port = free_port()
    file = folder / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with subprocess.Popen([program, "-c", str(file)], stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a table and what grew; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=200_000, help="default: %(default)s")
    parser.add_argument("--source", default=SOURCE, help="what is read (default: %(default)s)")
    parser.add_argument(
        "--warm-up", type=int, help="frames before the first sample (default: a quarter, at most 20000)"
    )
    parser.add_argument("--save-video", action="store_true", help="write and delete a video as well")
    parser.add_argument("--store", action="store_true", help="write and delete a store as well")
    parser.add_argument("--page", action="store_true", help="serve the page to a viewer as well")
    parser.add_argument("--mqtt", action="store_true", help="send to a broker as well; needs mosquitto")
    parser.add_argument(
        "--growth", type=float, default=2.0, help="MB that memory may grow (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write samples and figures there")
    parser.add_argument("options", nargs="*", help="of fer-edge run")
    given = parser.parse_args(arguments)
    # The list of latencies fills up meanwhile, and so do the pools of allocators.
    warm_up = min(2 * LATENCIES_KEPT, given.frames // 4) if given.warm_up is None else given.warm_up
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as others:
        page, mqtt = [], []
        if given.page:
            port = free_port()
            others.enter_context(viewer(port))
            page = ["--page", f":{port}"]
        if given.mqtt:
            # mosquitto gives root away, and could then not read a file of ours.
            Path(folder).chmod(0o755)
            mqtt = ["--mqtt", f"mqtt://127.0.0.1:{others.enter_context(broker(Path(folder)))}"]
        video = ["--save-video", f"{folder}/soak.mkv"] if given.save_video else []
        store = ["--store", f"{folder}/soak.db"] if given.store else []
        # Not the user's own: a pause kept there, or another run of that name, is none of this one's.
        own = ["--name", f"soak-{os.getpid()}", "--state-folder", f"{folder}/state"]
        options = [*own, *video, *store, *page, *mqtt, *given.options]
        samples, record = soak(given.frames, options, warm_up, given.source)
    grown = growth(samples)
    print(f"{'frames':>9}{'seconds':>9}{'MB':>8}{'threads':>9}{'descriptors':>13}")
    for sample in samples[:: max(1, len(samples) // 12)]:
        print(
            f"{sample.frames:>9}{sample.seconds:>9.0f}{sample.rss / 1e6:>8.2f}{sample.threads:>9}"
            f"{sample.descriptors:>13}"
        )
    slope = grown.rss_per_million_frames / 1e6
    print(
        f"over {grown.frames} frames: {grown.rss / 1e6:+.2f} MB ({slope:+.2f} MB a million frames), "
        f"{grown.threads:+} threads, {grown.descriptors:+} descriptors; "
        f"{grown.waiting / 1e6:.2f} MB come and go"
    )
    if given.json:
        told = {"samples": [asdict(sample) for sample in samples], "growth": asdict(grown), "end": record}
        given.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(grown.rss > 1e6 * given.growth or grown.threads > 0 or grown.descriptors > 0)


if __name__ == "__main__":
    sys.exit(main())
