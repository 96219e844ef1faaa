"""Tries ``fer-edge run`` and ``fer-edge predict`` on every file of a folder, each in a process of its own.

    python tools/corpus.py DIR                       # your own pictures and films
    python tools/corpus.py build/corpus --make 2000  # damaged ones, made by tools/mutated.py

Lists what must not happen:

crash      a signal ended the process
hang       it took longer than the limit
traceback  an error that nobody foresaw, or anything on standard output that is no JSON line
memory     it needed more address space than the limit
silent     no result and no word: exit code 0 without results, or another one without the file's name
missing    fewer pictures or frames than another count of the file finds, of which the summary says nothing

The other count is that of packets by FFmpeg's demuxer for films, and of the marks of frames for pictures.
A warning that says what is left out behind the first picture, or behind the end of a file, counts as said.

Each command runs in a process that is forked from an interpreter which has loaded the libraries, but started
no thread, has limits of its own and ends as any other. The log has a JSON line for each command: a second
call goes on where the first was stopped, and tries again what had a fault. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from fer_edge.errors import printable

COMMANDS = ("run", "predict")
FAULTS = ("crash", "hang", "traceback", "memory", "silent", "missing")

_LEFT_OUT = re.compile("also holds|the first is read|the first picture is read")
_UNFORESEEN = re.compile("Traceback|FER_EDGE_DEBUG")


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int | None
    """None where a signal ended it."""
    signal: int
    hung: bool
    seconds: float
    peak_mb: int
    out: bytes
    err: bytes


@dataclass(frozen=True)
class Entry:
    """A line of the log."""

    file: str
    """Its path below the folder."""
    command: str
    fault: str
    """One of :data:`FAULTS`, or empty."""
    code: int | None
    signal: int
    seconds: float
    peak_mb: int
    results: int
    missing: int
    """Frames and pictures that the summary counts as missing or skipped."""
    expected: int
    """Pictures or frames by another count; -1: unknown."""
    said: str


class ChildEndedError(BaseException):
    """Leaves the loop of the parent in a forked child, whose interpreter then ends as any other does."""


def in_child(work: Callable[[], int], seconds: float, memory_mb: int) -> Ended:
    """Run ``work``, which returns an exit code, in a forked child with limits; returns what came of it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        started = time.monotonic()
        child = os.fork()
        if not child:
            _as_child(work, out.fileno(), err.fileno(), memory_mb)
        hung = False
        while True:
            done, status, usage = os.wait4(child, os.WNOHANG)
            if done:
                break
            if not hung and time.monotonic() - started > seconds:
                hung = True
                os.kill(child, signal.SIGKILL)
            time.sleep(0.005)
        elapsed = time.monotonic() - started
        out.seek(0)
        err.seek(0)
        return Ended(
            None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
            os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            hung,
            round(elapsed, 2),
            usage.ru_maxrss >> 10,
            out.read(),
            err.read(),
        )


def _as_child(work: Callable[[], int], out: int, err: int, memory_mb: int) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    raise ChildEndedError(work())


def preload() -> None:
    """Import what the commands import, so that a forked child need not."""
    from fer_edge import cli

    cli._prepare_process()
    import cv2  # noqa: F401
    from PIL import Image

    import fer_edge.commands.predict
    import fer_edge.commands.run
    import fer_edge.faces.engines.litert
    import fer_edge.outputs.console
    import fer_edge.outputs.jsonl
    import fer_edge.pipeline.watch  # noqa: F401

    with contextlib.suppress(ImportError):
        import ai_edge_litert.interpreter  # noqa: F401
    Image.init()


def command(name: str, path: Path) -> int:
    """``fer-edge NAME PATH --jsonl``, as the program does it."""
    from fer_edge.cli import main

    try:
        return main([name, str(path), "--jsonl", "-"])
    except SystemExit as stop:
        return int(stop.code or 0)


def count_pictures(path: Path) -> int:
    """How many pictures or frames a file holds, by what fer-edge does not count with; -1: unknown."""
    import cv2

    content = path.read_bytes()
    if content.startswith(b"\xff\xd8\xff"):
        return 1 + len(re.findall(rb"\xff\xd9\0*(?=\xff\xd8\xff)", content))
    if content.startswith(b"\x89PNG"):
        return max(1, content.count(b"fcTL"))
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return max(1, content.count(b"ANMF"))
    if content[:4] in (b"II*\0", b"MM\0*", b"GIF8"):
        try:
            return max(1, cv2.imcount(str(path)))
        except cv2.error:
            return -1
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    times = []
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    # Where a header was damaged, the parts of a frame may come as packets of the same time.
    repeated = sum(abs(shown - before) < 1 for before, shown in pairwise(times))
    return (len(times) - repeated if repeated < len(times) - 1 else len(times)) or -1


def judge(command: str, file: str, ended: Ended, expected: int) -> Entry:
    """What is wrong with how a command ended on ``file``, the worst first."""
    records, foreign = _records(ended.out)
    summary: dict[str, Any] = next((record["summary"] for record in records if "summary" in record), {})
    results = sum("faces" in record for record in records)
    missing = int(summary.get("missing", 0)) + int(summary.get("skipped", 0))
    lines = ended.err.decode(errors="backslashreplace").splitlines()
    # As messages have it, where the name holds control characters, or bytes that are not UTF-8.
    name = printable(Path(file).name).encode(errors="backslashreplace").decode()
    told = [line for line in lines if name in line]
    left_out_told = any(map(_LEFT_OUT.search, told))
    if ended.hung:
        fault = "hang"
    elif ended.signal:
        fault = "crash"
    elif foreign or any(map(_UNFORESEEN.search, lines)):
        fault = "traceback"
    elif any("not enough memory" in line for line in lines):
        fault = "memory"
    elif (not told) if ended.code else (not results):
        fault = "silent"
    elif not results or results + missing >= expected or left_out_told or (command == "predict" and told):
        fault = ""
    else:
        fault = "missing"
    return Entry(
        file,
        command,
        fault,
        ended.code,
        ended.signal,
        ended.seconds,
        ended.peak_mb,
        results,
        missing,
        expected,
        " | ".join(lines)[:600],
    )


def _records(out: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The JSON lines of ``out``, and whether it holds anything else."""
    records, foreign = [], False
    for line in out.splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            foreign = True
    return records, foreign


def tried(folder: Path, log: Path, seconds: float, memory_mb: int) -> Iterator[Entry]:
    """Try the files that the log lacks, and those with a fault again; yield all entries."""
    done: set[tuple[str, str]] = set()
    if log.exists():
        known = [Entry(**json.loads(line)) for line in log.read_text().splitlines()]
        known = [entry for entry in known if not entry.fault]
        log.write_text("".join(_line(entry) for entry in known))
        done = {(entry.file, entry.command) for entry in known}
        yield from known
    with log.open("a") as stream:
        for path in sorted(folder.rglob("*")):
            file = str(path.relative_to(folder))
            left = [name for name in COMMANDS if (file, name) not in done]
            if not left or not path.is_file():
                continue
            expected = _expected(path, seconds, memory_mb)
            for name in left:
                ended = in_child(partial(command, name, path), seconds, memory_mb)
                entry = judge(name, file, ended, expected)
                stream.write(_line(entry))
                stream.flush()
                yield entry


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def _expected(path: Path, seconds: float, memory_mb: int) -> int:
    def work() -> int:
        print(count_pictures(path), flush=True)
        return 0

    ended = in_child(work, seconds, memory_mb)
    numbers = ended.out.split()
    return int(numbers[-1]) if ended.code == 0 and numbers else -1


def _make(folder: Path, count: int, seed: int) -> int:
    # In a process of its own: OpenCV is to be loaded as the commands load it.
    from mutated import make

    make(folder, count, seed)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Make and try a corpus; returns 1 where a fault was found."""
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder, with its sub-folders")
    parser.add_argument(
        "--make", type=int, default=0, metavar="N", help="write N damaged files into DIR where it is new"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of --make (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="limit of time for a command (default: %(default)s)"
    )
    parser.add_argument(
        "--memory", type=int, default=3000, metavar="MB", help="limit of address space (default: %(default)s)"
    )
    parser.add_argument("--log", type=Path, help="file of results (default: DIR.jsonl)")
    args = parser.parse_args(arguments)
    if args.make and not args.folder.exists():
        made = in_child(partial(_make, args.folder, args.make, args.seed), math.inf, 1 << 20)
        if made.code != 0:
            sys.exit(f"{args.folder}: {made.err.decode(errors='backslashreplace')}")
    if not args.folder.is_dir():
        parser.error(f"{args.folder}: no such folder")
    log = args.log or args.folder.with_name(args.folder.name + ".jsonl")
    preload()
    total: Counter[str] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    for entry in tried(args.folder, log, args.seconds, args.memory):
        total[entry.command] += 1
        if entry.fault:
            found[entry.command, entry.fault] += 1
            print(
                f"{entry.fault}: fer-edge {entry.command} {entry.file!r}: exit {entry.code}, "
                f"signal {entry.signal}, {entry.results} of {entry.expected}, missing {entry.missing}: "
                f"{entry.said}",
                flush=True,
            )
    for name in COMMANDS:
        counts = ", ".join(f"{fault} {found[name, fault]}" for fault in FAULTS)
        print(f"{name}: {total[name]} files; {counts}")
    return 1 if found else 0


if __name__ == "__main__":
    try:
        code = main()
    except ChildEndedError as ended:
        code = int(ended.args[0])
    sys.exit(code)
