"""How fast an archive is: local processes against one, Ray against local, reading a part of the frames.

Films are made (two faces pass each other) and encoded by OpenCV as MPEG-4, 640x480, 30 a second. Each
comparison alternates its sides, so that what else the machine does hits both. Times of a busy machine are
worth little: processor time is printed, too, and the share of time in which workers are at work between the
first and the last segment, which tells what the command and the engine cost however slow the machine is.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import films


@dataclass(frozen=True)
class Took:
    """What a command took: seconds by the clock, and of processor time with all that it started."""

    wall: float
    cpu: float
    segments: int
    seconds: float
    """Of film."""
    steady: float
    """Seconds by the clock from the end of the first segment to that of the last one."""
    work: float
    """Seconds of processor time of the segments that ended in those."""
    busy: float
    """Share of those that a worker is at work, 0 to 1."""
    load: float
    """Of the machine at the end: processes that want a core, over the last minute."""


def made(folder: Path, count: int, seconds: float) -> Path:
    """Make ``count`` films of so many seconds; the frames of a few, over and over."""
    shots = [shot.image for shot in itertools.islice(films.crossing(120), 120)]
    for number in range(count):
        path = folder / f"{number:03d}.mp4"
        writer = cv2.VideoWriter(
            str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), films.FPS, (640, 480)
        )
        for index in range(round(seconds * films.FPS)):
            # There and back again, so that there is no cut.
            step = (index + 17 * number) % 238
            writer.write(shots[step if step < 120 else 238 - step])
        writer.release()
    return folder


def scored(folder: Path, *options: str) -> Took:
    """Score the films in ``folder``."""
    with tempfile.TemporaryDirectory(prefix="fer-edge-benchmark-") as out:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "fer_edge", "archive", str(folder), "--out", out, *options],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = [json.loads(line) for line in (Path(out) / "manifest.jsonl").read_text().splitlines()]
    segments = [line for line in lines if line.get("state") == "done" and "segment" in line]
    film = sum(line["seconds"] for line in lines if line.get("state") == "done" and "frames" in line)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Of actors, which no child of ours started, only their own account tells.
    cpu = sum(line["cpu"] for line in segments) if "--ray" in options else own
    steady = segments[-1]["at"] - segments[0]["at"]
    workers = int(options[options.index("--workers") + 1])
    busy = sum(line["wall"] for line in segments[1:]) / (steady * workers) if steady else 0.0
    work = sum(line["cpu"] for line in segments[1:])
    return Took(wall, cpu, len(segments), film, steady, work, busy, os.getloadavg()[0])


def compared(folder: Path, sides: dict[str, list[str]], rounds: int) -> dict[str, Took]:
    """Score with each of ``sides`` in turn; return the medians."""
    took: dict[str, list[Took]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, options in sides.items():
            took[name].append(scored(folder, *options))
    middle = {
        name: Took(*(statistics.median(column) for column in zip(*map(astuple, tries), strict=True)))
        for name, tries in took.items()
    }
    first = next(iter(middle.values()))
    print(
        f"{'':24} {'wall s':>8} {'cpu s':>8} {'segments':>9} {'per cpu h':>10} {'speed':>6}"
        f"   steady: {'wall s':>7} {'cpu s':>7} {'busy':>5} {'speed':>6} {'load':>6}"
    )
    for name, one in middle.items():
        print(
            f"{name:24} {one.wall:8.1f} {one.cpu:8.1f} {one.segments:9.0f} {one.seconds / one.cpu:10.2f} "
            f"{first.wall / one.wall:6.2f}{'':11} {one.steady:7.1f} {one.work:7.1f} {one.busy:5.2f} "
            f"{first.steady / one.steady if one.steady else 1:6.2f} {one.load:6.1f}",
            flush=True,
        )
    return middle


def main() -> None:
    """Print the comparisons that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=["local"], help="local, every, ray (default: local)")
    parser.add_argument("--folder", type=Path, help="take the films in it (default: make some)")
    parser.add_argument("--films", type=int, default=4, help="how many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each (default: %(default)s)")
    parser.add_argument("--segment", default="15s", help="length of segments (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each side (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="default: one a core")
    parser.add_argument("--address", default="auto", help="of the Ray cluster (default: %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fer-edge-benchmark-films-") as name:
        folder = given.folder or made(Path(name), given.films, given.seconds)
        cut = ["--segment", given.segment]
        many = ["--workers", str(given.workers)]
        for what in given.what:
            sides = {
                "local": {
                    "1 process": [*cut, "--workers", "1"],
                    f"{given.workers} processes": [*cut, *many],
                },
                "every": {
                    "every frame": [*cut, *many],
                    "--every 5": [*cut, *many, "--every", "5"],
                    "--fps 2": [*cut, *many, "--fps", "2"],
                    "--fps 0.2": [*cut, *many, "--fps", "0.2"],
                },
                "ray": {
                    "local": [*cut, *many],
                    "ray": [*cut, *many, "--ray", given.address],
                },
            }[what]
            print(f"{what}:", given.folder or f"{given.films} films of {given.seconds:g} s")
            compared(folder, sides, given.rounds)


if __name__ == "__main__":
    main()
