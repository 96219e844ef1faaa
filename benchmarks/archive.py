"""How fast an archive is: local processes against one, Ray against local, reading a part of the frames.

Films are made (two faces pass each other) and encoded by OpenCV as MPEG-4, 640x480, 30 a second. Each
comparison alternates its sides, so that other load affects both. As that distorts times by the clock,
processor time is printed, too, and for the steady state, without beginning and end, how long workers ran
for a segment, and the share of the time without waiting for a core in which they ran. The quotient of the two
estimates the speed on free cores.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import cv2
import films
import numpy as np

from fer_edge.archive.archive import Archive
from fer_edge.archive.engines import Event, Finished, Ready
from fer_edge.archive.films import find_films
from fer_edge.archive.work import SegmentTask, Settings, Task, Worker
from fer_edge.option import DURATION
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.pace import Pace
from fer_edge.sources.course import survey
from fer_edge.sources.stretch import Span
from fer_edge.sources.video import VideoSource


@dataclass(frozen=True)
class Took:
    """What a command needed: seconds by the clock, and seconds of processor time with its children."""

    wall: float
    cpu: float
    segments: int
    seconds: float
    """Of film."""
    each: float
    """Seconds of processor time of a segment, in the steady state."""
    share: float
    """Part of the time in which workers ran, of that in which they did not wait for a core, 0 to 1."""
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
        with subprocess.Popen(
            [sys.executable, "-m", "fer_edge", "archive", str(folder), "--out", out, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            each, share = steady(process, Path(out) / "manifest.jsonl", folder, "--ray" in options)
        if process.returncode:
            raise SystemExit(f"fer-edge archive ended with code {process.returncode}")
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = [json.loads(line) for line in (Path(out) / "manifest.jsonl").read_text().splitlines()]
    segments = [line for line in lines if line.get("state") == "done" and "segment" in line]
    film = sum(line["seconds"] for line in lines if line.get("state") == "done" and "frames" in line)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Actors are not our children, so only their own account is available.
    cpu = sum(line["cpu"] for line in segments) if "--ray" in options else own
    return Took(wall, cpu, len(segments), film, each, share, os.getloadavg()[0])


def steady(process: subprocess.Popen[bytes], manifest: Path, folder: Path, ray: bool) -> tuple[float, float]:
    """Watch a command while all its workers have something to do; returns ``each`` and ``share`` of it."""
    films_in = len(list(folder.iterdir()))
    first = last = None
    while process.poll() is None:
        time.sleep(0.05)
        lines = manifest.read_bytes() if manifest.exists() else b""
        done, planned = lines.count(b'"segment": '), lines.count(b'"planned"')
        # Options have seconds, too, and so have films that are done.
        left = lines.count(b'"seconds": ') - 1 - lines.count(b'"frames": ') - done
        workers = sorted(workers_of(process.pid, ray))
        if not workers or done < 2 * len(workers):
            continue
        if left < 2 * len(workers) and planned == films_in:
            break
        with contextlib.suppress(OSError):
            last = done, time.monotonic(), [scheduled(pid) for pid in workers]
            first = first or last
    process.wait()
    if first is None or last is None or last[0] == first[0]:
        return float("nan"), float("nan")
    ran, waited = (
        sum(after[kind] - before[kind] for before, after in zip(first[2], last[2], strict=True))
        for kind in (0, 1)
    )
    return ran / (last[0] - first[0]), ran / (len(first[2]) * (last[1] - first[1]) - waited)


def workers_of(pid: int, ray: bool) -> Iterator[int]:
    """The processes in which the tasks of a command run."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            named = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if named.startswith(b"ray::_Remote") if ray else parent == pid and b"spawn_main" in named:
                yield int(folder.name)


def scheduled(pid: int) -> tuple[float, float]:
    """Seconds that the main thread of a process ran, and that it could have run, but had no core."""
    ran, waited, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


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
        f"   steady: {'cpu s each':>10} {'share':>6} {'speed':>6} {'load':>6}"
    )
    for name, one in middle.items():
        workers = int(sides[name][sides[name].index("--workers") + 1])
        alone = int(sides[next(iter(sides))][sides[next(iter(sides))].index("--workers") + 1])
        speed = (workers * one.share / one.each) / (alone * first.share / first.each)
        print(
            f"{name:24} {one.wall:8.1f} {one.cpu:8.1f} {one.segments:9.0f} {one.seconds / one.cpu:10.2f} "
            f"{first.wall / one.wall:6.2f}{'':11} {one.each:10.4f} {one.share:6.3f} {speed:6.2f} "
            f"{one.load:6.1f}",
            flush=True,
        )
    return middle


def sought(path: Path, rounds: int) -> None:
    """Print what it costs to read a frame of ``path`` every so often, decoding all of it and leaping."""
    read = survey(path)
    times = np.sort(read.times)
    groups = np.diff(np.flatnonzero(read.keys[np.argsort(read.times)]))
    print(f"{path.name}: {len(times)} frames, {np.median(groups) if len(groups) else 0:.0f} a group")
    print(f"{'a frame each':>14} {'decoding':>10} {'leaping':>10} {'leaps':>6} {'decoded':>8}")
    for gap in (0.5, 1.0, 2.0, 5.0, 10.0):
        took: dict[bool, list[float]] = {False: [], True: []}
        seen = {}
        for _ in range(rounds):
            for leaping in took:
                began = time.process_time()
                course = survey(path).course() if leaping else None
                with VideoSource(path, Span(), 1, course) as source:
                    pace = Pace(fps=1 / gap)
                    source.chooser, source.foresees = pace.chooses, pace.foresees
                    frames = [(frame.timestamp, zlib.crc32(frame.image)) for frame in source]
                    took[leaping].append(time.process_time() - began)
                    seen[leaping] = frames, source.stretch
        if seen[True][0] != seen[False][0]:
            raise SystemExit(f"{path}: other frames by leaping")
        stretch = seen[True][1]
        print(
            f"{gap:12.1f} s {statistics.median(took[False]):8.2f} s {statistics.median(took[True]):8.2f} s "
            f"{stretch.leaps:6d} {stretch.decoded:8d}",
            flush=True,
        )


class Virtual:
    """An engine with ``count`` workers on free cores, in a time of its own: the processor time of each task.

    One process does the tasks, one after the other; a segment that was done before takes what it took then.
    What the command computes between two results passes for all workers. Waiting for the disk and caches
    that cores share are not in it.
    """

    def __init__(
        self, settings: Settings, count: int, start: float, known: dict[object, tuple[float, Any]]
    ) -> None:
        self.count, self.now = count, start
        self.tasks: list[tuple[int, str, float, float]] = []
        """Worker, what, from and until when."""
        self._worker = Worker(settings)
        self._known = known
        self._events: list[tuple[float, int, Event]] = [
            (start, number, Ready(number)) for number in range(count)
        ]
        self._left: float | None = None

    def submit(self, worker: int, task: Task) -> None:
        began = time.process_time()
        key = (task.film.id, task.segment) if isinstance(task, SegmentTask) else None
        if key in self._known:
            took, outcome = self._known[key]
        else:
            outcome = self._worker.perform(task)
            took = time.process_time() - began
            if key is not None:
                self._known[key] = took, outcome
        self.tasks.append((worker, type(task).__name__.removesuffix("Task"), self.now, self.now + took))
        heapq.heappush(self._events, (self.now + took, worker, Finished(worker, outcome)))
        if self._left is not None:
            self._left += time.process_time() - began

    def wait(self, seconds: float) -> list[Event]:
        if self._left is not None:
            self.now += max(time.process_time() - self._left, 0.0)
        until, _, event = heapq.heappop(self._events)
        self.now = max(self.now, until)
        self._left = time.process_time()
        return [event]

    def place(self, worker: int) -> str:
        return "here"

    def close(self) -> None:
        return


def on_free_cores(folder: Path, longest: float, workers: int) -> None:
    """Print how long films in ``folder`` take one worker and several on free cores, and who works when."""
    settings = Settings(WatchOptions(), longest, device="benchmark")
    start = 2 * started()
    known: dict[object, tuple[float, Any]] = {}
    first = 0.0
    for count in (1, workers):
        engine = Virtual(settings, count, start, known)
        with tempfile.TemporaryDirectory(prefix="fer-edge-benchmark-") as out:
            Archive(Path(out), find_films([str(folder)]), settings, lambda _: None).run(
                lambda engine=engine: engine, {}
            )
        first = first or engine.now
        segments = sum(what == "Segment" for _, what, _, _ in engine.tasks)
        print(f"{count} workers: {engine.now:.2f} s, {first / engine.now:.2f} times one; {segments} segments")
        for number in range(count):
            own = [task for task in engine.tasks if task[0] == number]
            worked = sum(end - begin for _, _, begin, end in own)
            print(
                f"  worker {number}: begins at {own[0][2]:.2f} s, works {worked:.2f} s, ends "
                f"{engine.now - own[-1][3]:.2f} s before the command"
            )
        for worker, what, begin, end in engine.tasks[-6:]:
            print(f"    {begin:7.2f} to {end:7.2f} s: worker {worker}, {what}")


def started() -> float:
    """Processor time until a worker is ready: Python's start, imports, models. So does a command start."""
    code = (
        "from fer_edge.archive import archive, work; from fer_edge.pipeline.options import WatchOptions\n"
        "import cv2, pyarrow.parquet; work.Worker(work.Settings(WatchOptions()))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the comparisons that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", nargs="*", default=["local"], help="local, free, every, seek, ray (default: local)"
    )
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
            if what == "free":
                on_free_cores(folder, DURATION.parse(given.segment), given.workers)
                continue
            if what == "seek":
                for path in sorted(folder.iterdir()):
                    sought(path, given.rounds)
                continue
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
                    "--fps 0.05": [*cut, *many, "--fps", "0.05"],
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
