"""Inject faults into ``fer-edge run`` and count what was kept; ``make faults`` runs this.

python tools/faults.py [FAULT ...] [--kills 100] [--seconds 60] [--seed 1] [--json FILE]

Runs of the demo camera with JSON lines, a video and a store are killed, stopped and limited, and their disk,
clock and reader are taken away. For each fault it tells how often it was injected, what was kept, and each
promise of docs/reliability.md that did not hold; the exit code is 1 where there is one. A fault that needs
root or a tool that is missing is skipped and says so.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fer_edge.store.reader import StoreReader

PATIENCE = 120.0
"""Seconds to wait for what has to come, on a machine that may be busy."""
STORE_LOSES = 5.0
"""Seconds before the end that a store may lack."""

Record = dict[str, Any]


_HANGS_AFTER = 40.0


class SkippedFault(Exception):
    """This fault cannot be injected here."""


@dataclass
class Outcome:
    """What became of a fault."""

    injected: int = 0
    kept: dict[str, float] = field(default_factory=dict)
    """Counts and figures of what was there afterwards."""
    problems: list[str] = field(default_factory=list)
    """What should not be."""

    def check(self, right: bool, problem: str) -> None:
        """Note the ``problem`` unless all is ``right``."""
        if not right:
            self.problems.append(problem)


@dataclass(frozen=True)
class Plan:
    """How much is injected, and where."""

    folder: Path
    kills: int
    seconds: float
    """How long what can last lasts: a process that is stopped, a reader or disk that hangs."""
    seed: int


class Run:
    """A ``fer-edge run`` of the demo camera with JSON lines, video and store in ``folder``.

    ``outputs``: with these options; else ``options`` ask for the same files.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        lines: Path | None = None,
        program: str | None = None,
        shell: str = "",
        source: Sequence[str] = ("--camera", "demo"),
        outputs: bool = True,
    ) -> None:
        self.lines, self.store = lines or folder / "log.jsonl", folder / "shop.db"
        python = [sys.executable, *(["-c", program] if program else ["-m", "fer_edge"])]
        self._state = tempfile.TemporaryDirectory(prefix="fer-edge-faults-")
        written = (
            *("--jsonl", str(self.lines), "--append", "--save-video", str(folder / "door.mkv")),
            *("--segment", "2s", "--store", str(self.store)),
            # Not the user's own: a pause kept there, or another run of that name, is none of this one's.
            *("--name", f"faults-{os.getpid()}", "--state-folder", self._state.name),
        )
        command = [
            *(["/bin/sh", "-c", f'{shell}; exec "$0" "$@"'] if shell else []),
            *(*python, "run", *source, *(written if outputs else ()), *options),
        ]
        # Not in the folder, whose disk may be full.
        descriptor, name = tempfile.mkstemp(prefix="fer-edge-faults-")
        self._messages = Path(name)
        with open(descriptor, "wb") as messages:  # noqa: PTH123
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=messages,
            )

    @property
    def messages(self) -> str:
        """What it has written to standard error so far, without times and levels."""
        told = self._messages.read_text(errors="replace")
        return re.sub(r"^\d{4}-\S+ [a-z]+: ", "", told, flags=re.MULTILINE)

    def wait_for(self, happened: Callable[[], object], what: str) -> None:
        """Wait until something ``happened``; ``RuntimeError`` where the run ends before, or never does it."""
        end = time.monotonic() + PATIENCE
        while not happened():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(
                    f"no {what}: exit code {self.process.poll()}; {self.messages.strip()[-500:]}"
                )
            time.sleep(0.02)

    def wait_for_lines(self, count: int) -> None:
        """Wait until the file has so many lines more."""
        wanted = count + count_lines(self.lines)
        self.wait_for(lambda: count_lines(self.lines) >= wanted, f"{count} lines")

    def wait_for_message(self, message: str) -> None:
        """Wait until a line begins with ``message``."""
        self.wait_for(lambda: f"\n{message}" in f"\n{self.messages}", f"message {message!r}")

    def ended(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.waited()

    def waited(self, seconds: float = PATIENCE) -> int:
        """The exit code; a run that does not end is a ``RuntimeError``."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError("the run does not end") from error

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._messages.unlink()
        self._state.cleanup()


def count_lines(path: Path) -> int:
    """The lines of a file that may not be there."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def read_lines(path: Path, outcome: Outcome, broken: int = 0) -> list[Record]:
    """The records of a file, of which so many may be ``broken``, as a kill leaves them."""
    records = []
    bad = 0
    for line in path.read_bytes().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            bad += 1
    outcome.check(bad <= broken, f"{bad} lines of {path.name} are broken")
    return records


def check_end(path: Path, outcome: Outcome) -> Record:
    """Check that the records of the last run in the file account for all its frames; return the last."""
    records = read_lines(path, outcome)
    begins = max((index for index, record in enumerate(records) if record["type"] == "start"), default=0)
    return check_records(records[begins:], path.name, outcome)


def check_records(records: Sequence[Record], name: str, outcome: Outcome) -> Record:
    """Check that the records of a run account for all its frames; return the last."""
    end = records[-1]
    outcome.check(end["type"] == "end", f"{name}: the last record is no end")
    if end["type"] == "end":
        frames = sum(record["type"] == "frame" for record in records)
        lost = sum(record.get("lost", 0) for record in records if record["type"] == "gap")
        processed = end["summary"]["frames"]
        outcome.kept |= {"lines": frames, "lines told as lost": lost}
        outcome.check(frames + lost == processed, f"{frames} lines and {lost} lost of {processed} frames")
    return end


def check_store(path: Path, outcome: Outcome, finished: bool = True) -> None:
    """Check that the store opens and is whole; ``finished``: and that nothing goes on in it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (told,) = connection.execute("PRAGMA integrity_check").fetchone()
        outcome.check(told == "ok", f"{path.name}: {told}")
    with StoreReader(path) as store:
        for table in ("visits", "minutes"):
            numbers = [row["seq"] for row in store.rows(table)]
            outcome.kept[table] = len(numbers)
            outcome.check(
                numbers == list(range(1, len(numbers) + 1)), f"{table} lack numbers: {numbers[:50]}"
            )
            going_on = len(list(store.rows(table, going_on=True)))
            outcome.check(not (finished and going_on), f"{going_on} {table} go on after the end")


def segments_in(folder: Path) -> list[Path]:
    """The pieces of the video in a folder, oldest first."""
    return sorted(folder.glob("door-*.mkv"), key=lambda path: (path.stat().st_mtime_ns, path))


def count_frames(path: Path) -> tuple[int, float]:
    """The frames that can be read of a video, and the time of the last in seconds."""
    import cv2

    video = cv2.VideoCapture(str(path))
    frames, last = 0, 0.0
    while video.grab():
        frames += 1
        last = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    video.release()
    return frames, last


def check_segments(segments: Sequence[Path], outcome: Outcome) -> int:
    """Check that all can be played; return their frames."""
    frames = 0
    for path in segments:
        found = count_frames(path)[0]
        outcome.check(found > 0, f"{path.name}: cannot be played, {path.stat().st_size} bytes")
        frames += found
    outcome.kept["segments"] = outcome.kept.get("segments", 0) + len(segments)
    outcome.kept["frames in segments"] = outcome.kept.get("frames in segments", 0) + frames
    return frames


def check_quiet(run: Run, code: int, allowed: Sequence[int], outcome: Outcome, about: str = "") -> None:
    """Check an exit code, and that messages are no traceback."""
    told = run.messages
    outcome.check(code in allowed, f"{about}exit code {code}: {told.strip()[-300:]}")
    outcome.check("Traceback" not in told, f"{about}a traceback: {told.strip()[-300:]}")


def kill(plan: Plan) -> Outcome:
    """kill -9 at random moments, from the start of the process on; each run goes on where the last ended."""
    outcome = Outcome()
    chance = random.Random(plan.seed)
    folder = plan.folder
    began = time.monotonic()
    with Run(folder) as run:
        run.wait_for_lines(2)
        start_up = time.monotonic() - began
    known: dict[Path, str] = {}
    late = {"store": 0.0, "video": 0.0}
    for _ in range(plan.kills):
        known |= {path: _digest(path) for path in segments_in(folder)}
        with Run(folder) as run:
            before, numbers = b"", {}
            wait_until = time.monotonic() + chance.uniform(0, 5 * start_up)
            while time.monotonic() < wait_until:
                time.sleep(0.01)
            if run.process.poll() is not None:
                check_quiet(run, run.process.returncode, (), outcome, "not killed: ")
                break
            fresh = [path for path in segments_in(folder) if path not in known]
            # All but the newest are finished.
            finished = {path: _digest(path) for path in fresh[:-1]}
            before = run.lines.read_bytes() if run.lines.exists() else b""
            numbers = _numbers(run.store)
            run.process.kill()
            run.process.wait()
            outcome.injected += 1
            _check_after_kill(run, folder, outcome, before, numbers, {**known, **finished}, late)
        known |= finished
    with Run(folder, "--frames", "30") as run:
        code = run.waited()
        check_quiet(run, code, (0,), outcome, "the run after the last kill: ")
    records = read_lines(run.lines, outcome, broken=outcome.injected)
    kinds = [record["type"] for record in records]
    outcome.check(kinds[-1:] == ["end"] and kinds.count("frame") >= 30, "the last run wrote no end")
    outcome.kept |= {"runs that began": kinds.count("start"), "lines": len(records)}
    check_store(run.store, outcome)
    check_segments([path for path in segments_in(folder) if path.stat().st_size], outcome)
    outcome.kept |= {
        f"seconds missing from the {name} at most": round(value, 2) for name, value in late.items()
    }
    return outcome


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _numbers(store: Path) -> dict[str, list[int]]:
    """The numbers of finished rows, by table, of a store that may not be there yet."""
    if not store.exists() or not store.stat().st_size:
        return {}
    with StoreReader(store) as opened:
        return {table: [row["seq"] for row in opened.rows(table)] for table in ("visits", "minutes", "gaps")}


def _check_after_kill(
    run: Run,
    folder: Path,
    outcome: Outcome,
    before: bytes,
    numbers: dict[str, list[int]],
    segments: dict[Path, str],
    late: dict[str, float],
) -> None:
    lines = run.lines.read_bytes() if run.lines.exists() else b""
    outcome.check(lines.startswith(before), "lines that were written are gone")
    for path, digest in segments.items():
        outcome.check(path.exists() and _digest(path) == digest, f"{path.name} was finished and is another")
    new = [path for path in segments_in(folder) if path not in segments]
    records = [json.loads(line) for line in lines.splitlines()[-1:] if line.endswith(b"}")]
    last = records[-1] if records and records[-1]["type"] == "frame" else None
    if last and new and new[-1].stat().st_size:
        frames, end = count_frames(new[-1])
        outcome.check(frames > 0, f"{new[-1].name}, which was being written, cannot be played")
        began = datetime.strptime(f"{new[-1].stem[5:21]}+0000", "%Y%m%dT%H%M%SZ%z")
        # The name tells whole seconds.
        missing = (datetime.fromisoformat(last["time"]) - began).total_seconds() - end - 1
        late["video"] = max(late["video"], missing)
        outcome.check(missing < 3, f"{new[-1].name} lacks {missing:.1f} s")
    if not run.store.exists():
        return
    with contextlib.closing(sqlite3.connect(run.store)) as connection:
        outcome.check(
            connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the store is damaged"
        )
    if not run.store.stat().st_size:
        return
    after = _numbers(run.store)
    for table, known in numbers.items():
        outcome.check(after[table][: len(known)] == known, f"{table} that were written are gone")
    with StoreReader(run.store) as store:
        told = [
            row["monotonic"] + (row["ended"] - row["began"]) / timedelta(seconds=1)
            for row in store.rows("runs")
        ]
    if last and told and last["frame"] > 0:
        missing = last["monotonic"] - told[-1]
        # A store that has nothing of a run yet has the end of the one before.
        missing = min(missing, last["timestamp"])
        late["store"] = max(late["store"], missing)
        outcome.check(missing < STORE_LOSES, f"the store lacks {missing:.1f} s")


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own, for root."""
    if os.geteuid() != 0:
        raise SkippedFault("needs root, to mount a small file system")
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkippedFault(f"mount {' '.join(options)}: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


_OUTPUTS = ("jsonl", "video", "store")


def _fail_and_recover(
    run: Run, seconds: float, outcome: Outcome, break_it: Callable[[], None], mend_it: Callable[[], None]
) -> None:
    """Break what the outputs write to, wait, mend it, and check that all was told and works again."""
    run.wait_for_lines(60)
    break_it()
    outcome.injected += 1
    for name in _OUTPUTS:
        run.wait_for_message(f"{name}: ")
    time.sleep(seconds)
    mend_it()
    for name in _OUTPUTS:
        run.wait_for_message(f"{name}: works again")
    run.wait_for_lines(60)
    check_quiet(run, run.ended(), (1,), outcome)
    for name in _OUTPUTS:
        told = sum(line.startswith(f"{name}: ") for line in run.messages.splitlines())
        outcome.check(told == 2, f"{name} was told of {told} times: {run.messages[-1000:]}")
    end = check_end(run.lines, outcome)
    outcome.kept["frames"] = end.get("summary", {}).get("frames", 0)
    check_store(run.store, outcome)


def fill_disk(filler: Path) -> None:
    """Let ``filler`` grow until its disk is full."""
    for size in (65536, 512):
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as stream:
            while True:
                stream.write(bytes(size))


def full_disk(plan: Plan) -> Outcome:
    """A disk of 64 MB is filled by somebody else, and emptied."""
    outcome = Outcome()
    with mounted(plan.folder / "disk", "-t", "tmpfs", "-o", "size=64m", "none") as disk:
        filler = disk / "filler"

        with Run(disk) as run:
            _fail_and_recover(run, min(plan.seconds, 20), outcome, lambda: fill_disk(filler), filler.unlink)
        check_segments(segments_in(disk), outcome)
    return outcome


def small_files(plan: Plan) -> Outcome:
    """Files may not grow (RLIMIT_FSIZE), and then may again: a full disk without root."""
    outcome = Outcome()
    with Run(plan.folder) as run:

        def limit(size: int) -> None:
            resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        _fail_and_recover(
            run,
            min(plan.seconds, 20),
            outcome,
            lambda: limit(512),
            lambda: limit(resource.RLIM_INFINITY),
        )
    check_segments(segments_in(plan.folder), outcome)
    return outcome


def read_only(plan: Plan) -> Outcome:
    """A disk is read-only from the start."""
    outcome = Outcome()
    with mounted(plan.folder / "disk", "-t", "tmpfs", "-o", "size=64m", "none") as disk:
        with Run(disk, "--frames", "30") as run:
            check_quiet(run, run.waited(), (0,), outcome)
        before = {path.name: path.read_bytes() for path in disk.iterdir()}
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with Run(disk, "--frames", "30") as run:
            check_quiet(run, run.waited(), (2,), outcome)
            outcome.injected += 1
            outcome.check(len(run.messages.splitlines()) == 1, f"more than one line: {run.messages}")
        outcome.check({path.name: path.read_bytes() for path in disk.iterdir()} == before, "files changed")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with Run(disk, "--frames", "30") as run:
            check_quiet(run, run.waited(), (0,), outcome, "when it could be written again: ")
        check_end(run.lines, outcome)
        check_store(run.store, outcome)
    return outcome


def worn_card(plan: Plan) -> Outcome:
    """A disk becomes read-only in the middle, as ext4 does on a card with errors; the next start goes on."""
    outcome = Outcome()
    image = plan.folder / "card.img"
    with image.open("wb") as stream:
        stream.truncate(96_000_000)
    if not shutil.which("mkfs.ext4"):
        raise SkippedFault("needs mkfs.ext4")
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(plan.folder / "card", "-o", "loop", str(image)) as card, Run(card) as run:
        run.wait_for_lines(60)
        done = subprocess.run(["mount", "-o", "remount,abort", str(card)], capture_output=True, check=False)
        if done.returncode not in (0, 32):
            raise SkippedFault("this kernel has no remount,abort")
        outcome.injected += 1
        for name in _OUTPUTS:
            run.wait_for_message(f"{name}: ")
        check_quiet(run, run.ended(), (1,), outcome)
        written = count_lines(run.lines)
    with mounted(plan.folder / "card", "-o", "loop", str(image)) as card:
        with Run(card, "--frames", "30") as run:
            check_quiet(run, run.waited(), (0,), outcome, "when it could be written again: ")
        outcome.kept["lines before"] = written
        records = read_lines(run.lines, outcome, broken=1)
        outcome.kept["lines of both runs"] = len(records)
        check_store(run.store, outcome)
    return outcome


def hanging_reader(plan: Plan) -> Outcome:
    """Who reads the JSON lines through a named pipe stops for a time, and goes on."""
    outcome = Outcome()
    pipe = plan.folder / "lines"
    os.mkfifo(pipe)
    copy = plan.folder / "copy.jsonl"
    reading = threading.Event()
    reading.set()

    def read() -> None:
        with pipe.open("rb") as source, copy.open("wb", buffering=0) as target:
            for line in source:
                reading.wait(PATIENCE)
                target.write(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with Run(plan.folder, lines=pipe) as run:
        run.wait_for(lambda: count_lines(copy) > 60, "60 lines")
        before = len(segments_in(plan.folder))
        reading.clear()
        time.sleep(max(plan.seconds, 8.0))

        def frames() -> int:
            return sum(count_frames(path)[0] for path in segments_in(plan.folder)[before:])

        # Some 64 KiB of lines, a hundred, fit into the pipe, and then 64 wait.
        run.wait_for(lambda: frames() > 250, "250 frames meanwhile")
        outcome.injected += 1
        outcome.check(len(segments_in(plan.folder)) > before, "no segment began meanwhile")
        reading.set()
        known = count_lines(copy)
        run.wait_for(lambda: count_lines(copy) > known + 200, "lines after it")
        check_quiet(run, run.ended(), (0,), outcome)
    reader.join(PATIENCE)
    end = check_end(copy, outcome)
    dropped = end["outputs"]["jsonl"]["dropped"]
    outcome.check(dropped > 0 and outcome.kept["lines told as lost"] == dropped, f"{dropped} dropped")
    check_store(run.store, outcome)
    check_segments(segments_in(plan.folder), outcome)
    return outcome


_SLOW = """
import sys, time
from fer_edge.cli import main
from fer_edge.outputs import jsonl, video
from fer_edge.store.writer import StoreWriter

def slow(work, seconds):
    def after_a_while(*given):
        time.sleep(seconds)
        return work(*given)
    return after_a_while

jsonl.write_all = slow(jsonl.write_all, 0.3)
video.write_all = slow(video.write_all, 3.0)
StoreWriter.write = slow(StoreWriter.write, 2.0)
sys.exit(main(sys.argv[1:]))
"""


def slow_disk(plan: Plan) -> Outcome:
    """Each line takes 0.3 s to write, each piece of a video 3 s, each transaction 2 s."""
    outcome = Outcome()
    with Run(plan.folder, program=_SLOW) as run:
        run.wait_for_lines(5)
        time.sleep(max(plan.seconds / 2, 8.0))
        outcome.injected += 1
        stopped = time.monotonic()
        check_quiet(run, run.ended(), (0, 1), outcome)
        outcome.kept["seconds until it ended"] = round(time.monotonic() - stopped, 1)
        outcome.check(time.monotonic() - stopped < 20, "the end took too long")
    # What hangs at the end is given up, and with it perhaps the last record.
    records = read_lines(run.lines, outcome, broken=1)
    lost = sum(record.get("lost", 0) for record in records if record["type"] == "gap")
    frames = [record for record in records if record["type"] == "frame"]
    outcome.kept |= {"lines": len(frames), "lines told as lost": lost}
    outcome.check(lost > len(frames), "few lines were dropped")
    if frames:
        rate = frames[-1]["frame"] / max(frames[-1]["timestamp"], 1.0)
        outcome.kept["frames a second"] = round(rate, 1)
    check_store(run.store, outcome, finished=False)
    return outcome


_CLOCK = """
import datetime as module, sys, time

offset = lambda: float(open("FILE").read() or 0)
real = time.time
time.time = lambda: real() + offset()

class Shifted(module.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + module.timedelta(seconds=offset())

module.datetime = Shifted
from fer_edge.cli import main
sys.exit(main(sys.argv[1:]))
"""


def clock(plan: Plan) -> Outcome:
    """The clock is set forward and back by hours.

    It is that of Python: libfaketime 0.9.10, which leaves the monotonic clock alone on request, then breaks
    ``clock_nanosleep``, which ``time.sleep`` is made of.
    """
    outcome = Outcome()
    file = plan.folder / "clock"

    def set_clock(hours: float) -> None:
        changed = file.with_suffix(".new")
        changed.write_text(f"{3600 * hours:+.0f}")
        changed.replace(file)

    set_clock(0)
    limits = ("--keep-files", "1d", "--keep-free", "0k")
    with Run(plan.folder, *limits, program=_CLOCK.replace("FILE", str(file))) as run:
        for hours in (0, 5, -7, 30, 0):
            set_clock(hours)
            outcome.injected += 1
            run.wait_for_lines(90)
        check_quiet(run, run.ended(), (0,), outcome)
    lines = sorted(plan.folder.glob("log*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    records = [record for path in lines for record in read_lines(path, outcome)]
    frames = sorted((record for record in records if record["type"] == "frame"), key=lambda one: one["frame"])
    times = [record["timestamp"] for record in frames]
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    outcome.check(min(steps) > 0, "timestamps go back")
    jumps = sum(
        abs(_seconds_between(one, two) - (two["monotonic"] - one["monotonic"])) > 1800
        for one, two in itertools.pairwise(frames)
    )
    outcome.check(jumps == 4, f"{jumps} jumps of the time in the records, 4 were made")
    end = next((record for record in records if record["type"] == "end"), None)
    outcome.check(end is not None and end["summary"]["frames"] == len(frames), "lines are missing")
    outcome.kept |= {"lines": len(frames), "longest pause of timestamps": round(max(steps), 2)}
    check_store(run.store, outcome)
    with StoreReader(run.store) as store:
        outcome.kept["jumps in the store"] = len(list(store.rows("jumps")))
        (row,) = store.rows("runs")
        spread = abs((row["ended"] - row["began"]).total_seconds() - (times[-1] - times[0]))
        outcome.check(spread < 3, f"the store's run is {spread:.0f} s too long or short")
    outcome.check(outcome.kept["jumps in the store"] == 4, "the store does not tell of 4 jumps")
    check_segments(segments_in(plan.folder), outcome)
    return outcome


def _seconds_between(one: Record, two: Record) -> float:
    return (datetime.fromisoformat(two["time"]) - datetime.fromisoformat(one["time"])).total_seconds()


def stop(plan: Plan) -> Outcome:
    """SIGSTOP for a time, then SIGCONT."""
    outcome = Outcome()
    with Run(plan.folder) as run:
        run.wait_for_lines(60)
        run.process.send_signal(signal.SIGSTOP)
        time.sleep(plan.seconds)
        run.process.send_signal(signal.SIGCONT)
        outcome.injected += 1
        run.wait_for_lines(60)
        check_quiet(run, run.ended(), (0,), outcome)
    check_end(run.lines, outcome)
    frames = [record for record in read_lines(run.lines, outcome) if record["type"] == "frame"]
    times = [record["monotonic"] for record in frames]
    pause = max(later - earlier for earlier, later in itertools.pairwise(times))
    outcome.kept["longest pause"] = round(pause, 1)
    outcome.check(pause > 0.9 * plan.seconds, f"the longest pause is {pause:.1f} s")
    check_store(run.store, outcome)
    check_segments(segments_in(plan.folder), outcome)
    return outcome


def descriptors(plan: Plan) -> Outcome:
    """So few files may be open: 64 are enough; fewer end in words."""
    outcome = Outcome()
    for count in (64, 32, 24, 20, 16, 12, 8, 5):
        folder = plan.folder / str(count)
        folder.mkdir()
        with Run(folder, "--frames", "30", shell=f"ulimit -n {count}") as run:
            code = run.waited()
            outcome.injected += 1
            check_quiet(run, code, (0,) if count == 64 else (0, 1, 2), outcome, f"{count} descriptors: ")
        if code == 0:
            outcome.kept["fewest that are enough"] = count
            check_end(run.lines, outcome)
            check_store(run.store, outcome)
    return outcome


def memory(plan: Plan) -> Outcome:
    """So little address space (ulimit -v): a run works, ends in words, or dies within a library.

    Of a film, since the demo camera's scikit-image needs more than the rest, and hangs without.
    """
    outcome = Outcome(kept={"worked": 0, "ended in words": 0, "died in a library": 0, "hung": 0})
    with Run(plan.folder, "--frames", "60") as run:
        check_quiet(run, run.waited(), (0,), outcome)
    film = str(segments_in(plan.folder)[0])
    for megabytes in (1500, 1000, 800, 700, 600, 500, 450, 400, 350, 300, 250, 200, 150, 100):
        folder = plan.folder / str(megabytes)
        folder.mkdir()
        about = f"{megabytes} MB: "
        with Run(folder, "--frames", "30", source=(film,), shell=f"ulimit -v {1024 * megabytes}") as run:
            outcome.injected += 1
            try:
                code = run.waited(_HANGS_AFTER)
            except RuntimeError:
                outcome.kept["hung"] += 1
                # faulthandler, where the environment asks for it, tells where.
                run.ended(signal.SIGABRT)
                outcome.problems.append(f"{about}hangs: {run.messages[-1500:]}")
                continue
            if code in (0, 1, 2):
                outcome.kept["ended in words" if code else "worked"] += 1
                check_quiet(run, code, (0, 1, 2), outcome, about)
            else:
                # glibc ends a process that has no memory for a thread, with 127.
                outcome.kept["died in a library"] += 1
                outcome.check(code < 0 or code == 127, f"{about}exit code {code}: {run.messages[-300:]}")
        if run.lines.exists():
            read_lines(run.lines, outcome)
        # Nothing is written where a film of this name is.
        film_of_it = [path for path in folder.glob("door*.mkv") if path.stat().st_size]
        check_segments(film_of_it, outcome)
        for path in film_of_it:
            path.unlink()
        with Run(folder, "--frames", "10", source=(film,)) as run:
            check_quiet(run, run.waited(), (0,), outcome, f"{about}the next run: ")
        check_store(run.store, outcome)
    return outcome


FAULTS: dict[str, Callable[[Plan], Outcome]] = {
    "kill": kill,
    "full-disk": full_disk,
    "small-files": small_files,
    "read-only": read_only,
    "worn-card": worn_card,
    "hanging-reader": hanging_reader,
    "slow-disk": slow_disk,
    "clock": clock,
    "stop": stop,
    "descriptors": descriptors,
    "memory": memory,
}


def inject(name: str, kills: int, seconds: float, seed: int) -> Outcome:
    """Inject one fault in a folder of its own. Raises :class:`SkippedFault`."""
    with tempfile.TemporaryDirectory(prefix="fer-edge-faults-") as folder:
        try:
            return FAULTS[name](Plan(Path(folder), kills, seconds, seed))
        except RuntimeError as error:
            return Outcome(problems=[str(error)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Inject, print what was kept; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--kills", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="how long what can last lasts (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the moments of kills (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args(arguments)
    unknown = set(given.faults) - set(FAULTS)
    if unknown:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}; choose from {', '.join(FAULTS)}")
    told: dict[str, Any] = {}
    failed = False
    for name in given.faults or FAULTS:
        began = time.monotonic()
        try:
            outcome = inject(name, given.kills, given.seconds, given.seed)
        except SkippedFault as skipped:
            print(f"{name}: skipped: {skipped}", flush=True)
            continue
        kept = ", ".join(f"{figure} {value:g}" for figure, value in outcome.kept.items())
        took = time.monotonic() - began
        print(f"{name}: injected {outcome.injected}, {len(outcome.problems)} problems; {kept} ({took:.0f} s)")
        for problem in outcome.problems:
            print(f"  {problem}")
        sys.stdout.flush()
        told[name] = asdict(outcome)
        failed |= bool(outcome.problems) or not outcome.injected
    if given.json:
        given.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
