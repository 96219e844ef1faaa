"""Generate a day of one busy camera as JSON lines and as a store, and time the reports on both.

python benchmarks/report_day.py [--faces 10000000] [--folder FOLDER]

The day has 25 frames a second with four to five people in each, who stay for half a minute on average; about
400 bytes a face. The store has the same visits, minutes and, as in a session that lasts all day, seconds.
Each report is made by a process of its own, of which wall and processor time and peak memory are printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from fer_edge.faces.quality import MEAN_FACE
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.jsonl import start_to_json, to_line
from fer_edge.report.lines import read_lines
from fer_edge.report.material import Material
from fer_edge.store.rows import MinuteRow, SecondRow, Shares, VisitRow
from fer_edge.store.schema import SHARE
from fer_edge.store.writer import Batch, ClockState, Entry, SessionBegun, SessionEnded, StoreWriter
from fer_edge.utc import utc_text

FPS = 25
PEOPLE = 5
"""Places in which there is mostly somebody."""

STAY = 30
"""Seconds for which somebody stays, on average."""

BEGAN = datetime(2026, 11, 26, tzinfo=UTC)
MONOTONIC = 5000.0
ORIGIN = round(1000 * (BEGAN.timestamp() - MONOTONIC))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="keep the files here, and use those that are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        lines, store = folder / "day.jsonl", folder / "day.db"
        if not lines.exists():
            began = time.perf_counter()
            count = write_lines(lines, options.faces)
            took = time.perf_counter() - began
            print(f"made {count:,} faces, {lines.stat().st_size / 1e9:.2f} GB of JSON lines in {took:.0f} s")
        if not store.exists():
            write_store(store, read_lines([lines]))
            print(f"made a store of {store.stat().st_size / 1e6:.1f} MB")
        print_report("store", store, folder)
        print_report("JSON lines", lines, folder)


_CHILD = """
import resource, sys
from fer_edge.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, peak)
sys.exit(code)
"""
"""The command as a process that tells what it took: its parent would be told of the parent's memory, too."""


def print_report(name: str, source: Path, folder: Path) -> None:
    """Print what the report on ``source`` costs."""
    out = folder / "report.html"
    command = [sys.executable, "-c", _CHILD, "report", str(source), "-o", str(out), "--force"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    processor, peak = done.stdout.splitlines()[-1].split()
    print(
        f"{name:>10}: {took:5.1f} s, {float(processor):5.1f} s of processor time, "
        f"{int(peak) / 1024:.0f} MiB at most, page of {out.stat().st_size / 1000:.0f} kB"
    )


def write_lines(path: Path, faces: int) -> int:
    """Write frames until there are so many faces; returns how many there are."""
    rng = np.random.default_rng(0)
    pool = [_face(rng) for _ in range(20_000)]
    model = {"name": "edge", "backend": "litert", "precision": "int8", "labels": "people"}
    count = 0
    with path.open("w", encoding="ascii", buffering=1 << 20) as stream:
        start = start_to_json("0.2.0", "camera 0", "camera 0", True, model, {})
        stream.write(to_line({**start, "time": _utc(0), "monotonic": MONOTONIC}) + "\n")
        for frame, tracks in enumerate(_tracks(rng)):
            first = (frame * 7919) % (len(pool) - PEOPLE)
            told = ",".join(
                f'{{"track":{track},{face}' for track, face in zip(tracks, pool[first:], strict=False)
            )
            stream.write(
                f'{{"schema":1,"type":"frame","frame":{frame},"timestamp":{frame / FPS:.3f},'
                f'"time":"{_utc(frame)}","monotonic":{MONOTONIC + frame / FPS:.3f},'
                f'"source":"camera 0","camera":"camera 0",'
                f'"size":[640,480],"latency_ms":6.1,"dropped":{frame // 500},"faces":[{told}]}}\n'
            )
            count += len(tracks)
            if count >= faces:
                break
    return count


def _utc(frame: int) -> str:
    return utc_text(BEGAN + timedelta(milliseconds=frame * 1000 // FPS))


def _face(rng: np.random.Generator) -> str:
    """A face as JSON, without its brace and track."""
    shares = rng.dirichlet(np.array([0.3, 0.1, 0.2, 1.0, 0.5, 0.4, 2.0])).round(4)
    shares[6] = round(1 - shares[:6].sum(), 4)
    turn = rng.normal(0, 0.4)
    points = MEAN_FACE @ np.array(
        [[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]]
    )
    scale, place = rng.uniform(0.5, 1.5), rng.uniform(80, 400, 2)
    record = {
        "detected": True,
        "box": [*(place - 50 * scale).round(1).tolist(), round(100 * scale, 1), round(120 * scale, 1)],
        "score": 0.9312,
        "landmarks": (points[:, :2] * scale + place).round(1).tolist(),
        "emotion": EMOTIONS[int(shares.argmax())],
        "unsure": bool(shares.max() < 0.45),
        "uncertainty": round(float(1 - shares.max()), 4),
        "probabilities": dict(zip(EMOTIONS, shares.tolist(), strict=True)),
    }
    return to_line(record)[1:]


def _tracks(rng: np.random.Generator) -> Iterator[list[int]]:
    """The people in each frame: places are occupied for a while, then free for a while."""
    following = 1
    places = [0] * PEOPLE
    until = rng.integers(0, STAY * FPS, PEOPLE).tolist()
    frame = 0
    while True:
        for place in range(PEOPLE):
            if frame >= until[place]:
                taken = not places[place]
                places[place] = following if taken else 0
                following += taken
                until[place] = frame + 1 + int(rng.exponential(STAY * FPS if taken else 2.4 * FPS))
        yield [track for track in places if track]
        frame += 1


def write_store(path: Path, material: Material) -> None:
    """Write what JSON lines hold as a run with a session that lasts all day would have."""
    span = material.span
    assert span is not None
    writer = StoreWriter(path, to_line(dict(material.sources[0].settings or {})))
    writer.open()
    people, seconds, minutes = material.people, material.seconds, material.minutes
    entries: list[Entry] = [SessionBegun(span[0] - ORIGIN, "day")]
    for i in range(len(people)):
        row = VisitRow(
            track=int(people.track[i]),
            began=int(people.began[i]) - ORIGIN,
            length=int(people.ended[i] - people.began[i]),
            **_times(people, i),
            shares=_shares(people.shares[i]),
            smile=None if np.isnan(people.smile[i]) else round(SHARE * float(people.smile[i])),
            first_smile=None
            if np.isnan(people.first_smile[i])
            else round(1000 * float(people.first_smile[i])),
            size=None if np.isnan(people.size[i]) else round(10 * float(people.size[i])),
            yaw=None,
            pitch=None,
        )
        entries.append(("camera 0", row))
    for i in range(len(minutes)):
        counts = ("frames", "dropped", "lost", "people", "people_max", "visits_begun", "visits_ended")
        entries.append(
            (
                "camera 0",
                MinuteRow(
                    began=int(minutes.began[i]) - ORIGIN,
                    length=int(minutes.ended[i] - minutes.began[i]),
                    observed=round(1000 * float(minutes.observed[i])),
                    gap=round(1000 * float(minutes.gap[i])),
                    **{name: int(getattr(minutes, name)[i]) for name in counts},
                    dwell=round(1000 * float(minutes.dwell[i])),
                    **_times(minutes, i),
                    shares=_shares(minutes.shares[i]),
                ),
            )
        )
    for i in np.lexsort((seconds.person, seconds.began)).tolist():
        entries.append(
            (
                "camera 0",
                SecondRow(
                    began=int(seconds.began[i]) - ORIGIN,
                    track=int(people.track[seconds.person[i]]),
                    **_times(seconds, i),
                    shares=_shares(seconds.shares[i]),
                    size=None,
                    yaw=None,
                    pitch=None,
                ),
            )
        )
    entries.append(SessionEnded(span[1] - ORIGIN))
    clock = ClockState("made", None, ORIGIN)
    writer.write(Batch(clock, entries, [], span[0] - ORIGIN, span[1] - ORIGIN, ended=True))
    writer.close()


def _times(table: object, row: int) -> dict[str, int]:
    names = ("seen", "unsure", "attention", "unclear")
    return {name: round(1000 * float(getattr(table, name)[row])) for name in names}


def _shares(shares: np.ndarray) -> Shares:
    return None if np.isnan(shares).any() else tuple(round(SHARE * float(share)) for share in shares)


if __name__ == "__main__":
    main()
