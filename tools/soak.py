"""Run ``fer-edge run`` for long and watch its memory, threads and descriptors; ``make soak`` runs this.

python tools/soak.py --frames 200000 [--save-video] [--store] [--json FILE] [-- OPTIONS OF fer-edge run]

The demo camera gives frame after frame, and JSON lines come through a pipe, so that what the process needs is
looked at after exact numbers of frames. Options behind ``--`` add outputs. The exit code is 1 where memory
grew by more than ``--growth``, or threads or descriptors became more, after the warm-up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_edge.pipeline.summary import LATENCIES_KEPT

SOURCE = "--camera demo --unpaced"
SAMPLES = 60
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
    """Bytes by which the mean of the last quarter's samples is above that of the first quarter's."""
    rss_per_million_frames: int
    """Slope of a line through the samples (least squares)."""
    threads: int
    descriptors: int
    """Both between the first and the last sample."""


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
        for count, line in enumerate(process.stdout):  # noqa: B007
            if count >= warm_up and count % step == 0:
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
    return Growth(
        frames=samples[-1].frames - samples[0].frames,
        rss=round(rss[-quarter:].mean() - rss[:quarter].mean()),
        rss_per_million_frames=round(np.polyfit(frames, rss, 1)[0] * 1e6),
        threads=samples[-1].threads - samples[0].threads,
        descriptors=samples[-1].descriptors - samples[0].descriptors,
    )


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
    parser.add_argument(
        "--growth", type=float, default=2.0, help="MB that memory may grow (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write samples and figures there")
    parser.add_argument("options", nargs="*", help="of fer-edge run")
    given = parser.parse_args(arguments)
    # The list of latencies fills up meanwhile, and so do the pools of allocators.
    warm_up = min(2 * LATENCIES_KEPT, given.frames // 4) if given.warm_up is None else given.warm_up
    with tempfile.TemporaryDirectory() as folder:
        video = ["--save-video", f"{folder}/soak.mkv"] if given.save_video else []
        store = ["--store", f"{folder}/soak.db"] if given.store else []
        samples, record = soak(given.frames, [*video, *store, *given.options], warm_up, given.source)
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
        f"{grown.threads:+} threads, {grown.descriptors:+} descriptors"
    )
    if given.json:
        told = {"samples": [asdict(sample) for sample in samples], "growth": asdict(grown), "end": record}
        given.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(grown.rss > 1e6 * given.growth or grown.threads > 0 or grown.descriptors > 0)


if __name__ == "__main__":
    sys.exit(main())
