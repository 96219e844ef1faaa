"""Write a made year of a busy camera into a store at full speed, and read it.

python benchmarks/store_year.py [--days 365] [--visits 2000] [--file FILE]

The rows are those of a camera that looks day and night and sees so many visits a day, spread over 14 hours,
of 2 to 120 seconds each. They go through the store's own writer, as many at a time as a run writes within an
hour. Then ten minutes of results go through the output of a run, by a clock of their own: one face in sight,
and ten in a session.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from fer_edge.faces.faces import Faces
from fer_edge.faces.quality import MEAN_FACE
from fer_edge.outputs.store import StoreOutput
from fer_edge.pipeline.result import FrameResult
from fer_edge.store.reader import StoreReader
from fer_edge.store.rows import MinuteRow, Row, Shares, VisitRow
from fer_edge.store.schema import SHARE
from fer_edge.store.summary import figures
from fer_edge.store.writer import Batch, ClockState, StoreWriter

HOUR = 3_600_000
OPEN_HOURS = range(8, 22)
ORIGIN = 1_767_225_600_000
"""Midnight at the beginning of 2026, in UTC."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--visits", type=int, default=2000, help="a day")
    parser.add_argument("--file", type=Path, help="keep the store here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "year.db"
        began = time.perf_counter()
        write_year(path, options.days, options.visits)
        took = time.perf_counter() - began
        print_sizes(path, options.days, took)
        with StoreReader(path) as store:
            began = time.perf_counter()
            (camera,) = figures(store)
            print(f"summary: {camera.visits} visits in {time.perf_counter() - began:.1f} s")
            began = time.perf_counter()
            (last,) = store.devices()
            count = len(list(store.rows("minutes", after=last.last["minutes"] - 60)))
            print(f"the last {count} minutes by seq: {1000 * (time.perf_counter() - began):.1f} ms")
    print_run(1, session=False)
    print_run(10, session=True)


def print_run(people: int, session: bool, seconds: int = 600, fps: int = 25) -> None:
    """Print what a run with so many people in sight costs."""
    faces = Faces(
        boxes=np.tile(np.float32([100, 100, 80, 100]), (people, 1)),
        scores=np.ones(people, np.float32),
        landmarks=np.tile((MEAN_FACE[:, :2] + 100).astype(np.float32), (people, 1, 1)),
        ids=np.arange(1, people + 1),
        probabilities=np.full((people, 7), 1 / 7, np.float32),
        unsure=np.zeros(people, np.bool_),
    )
    now = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.db"
        output = StoreOutput(path, live=True, clock=lambda: now)
        if session:
            output.start_session("all")
        written, began = _written(), time.thread_time()
        for index in range(seconds * fps):
            now = index / fps
            output.write(
                FrameResult(
                    index=index,
                    source="camera 0",
                    camera="camera 0",
                    timestamp=now,
                    monotonic=now,
                    time=datetime.fromtimestamp(ORIGIN / 1000, UTC) + timedelta(seconds=now),
                    image=np.empty((480, 640), np.uint8),
                    faces=faces,
                    latency_ms=5.0,
                    dropped=0,
                )
            )
        took = time.thread_time() - began
        output.end({})
        output.close()
        told = f"{people} in sight{', in a session' if session else ''}"
        print(
            f"{told}: {1e6 * took / (seconds * fps):.0f} us of processor time a frame, "
            f"{(_written() - written) * 86400 / seconds / 1e6:.0f} MB written a day"
        )
        if session:
            with sqlite3.connect(path) as connection:
                (count,) = connection.execute("SELECT count(*) FROM second").fetchone()
                (size,) = connection.execute(
                    "SELECT sum(pgsize) FROM dbstat WHERE name = 'second'"
                ).fetchone()
                print(f"second  {count:9} rows {size / count:7.1f} bytes a row")


def _written() -> int:
    """Bytes that this process has written so far."""
    text = Path("/proc/self/io").read_text(encoding="ascii")
    return int(text.split("wchar: ")[1].split()[0])


def write_year(path: Path, days: int, visits: int) -> None:
    """Write the rows, an hour in each transaction."""
    rng = np.random.default_rng(0)
    writer = StoreWriter(path, "{}")
    track = 0
    for hour in range(24 * days):
        at = hour * HOUR
        count = rng.poisson(visits / len(OPEN_HOURS)) if hour % 24 in OPEN_HOURS else 0
        rows: list[Row] = []
        for began in np.sort(rng.integers(at, at + HOUR, count)).tolist():
            track += 1
            rows.append(_visit(track, began, rng))
        rows += [_minute(at + 60_000 * minute, count / 60, rng) for minute in range(60)]
        writer.write(
            Batch(
                clock=ClockState("a boot", None, ORIGIN),
                entries=[("shop window", row) for row in rows],
                open_rows=[],
                began=0,
                at=at + HOUR,
            )
        )
    writer.close()


def print_sizes(path: Path, days: int, took: float) -> None:
    """Print how many rows of which size there are."""
    with sqlite3.connect(path) as connection:
        print(f"{path.stat().st_size / 1e6:.1f} MB for {days} days, written in {took:.0f} s")
        for table in ("visit", "minute"):
            (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            (size,) = connection.execute(
                "SELECT sum(pgsize) FROM dbstat WHERE name IN (?, ?)", (table, f"{table}_time")
            ).fetchone()
            print(
                f"{table:8}{count:9} rows {size / 1e6:8.1f} MB {size / count:7.1f} bytes a row with its index"
            )


def _visit(track: int, began: int, rng: np.random.Generator) -> VisitRow:
    length = int(rng.uniform(2000, 120_000))
    seen = int(length * rng.uniform(0.7, 1))
    return VisitRow(
        track=track,
        began=began,
        length=length,
        seen=seen,
        unsure=int(seen * rng.uniform(0, 0.5)),
        attention=int(seen * rng.uniform(0, 1)),
        unclear=int(seen * rng.uniform(0, 0.2)),
        shares=_shares(rng),
        smile=int(rng.uniform(0, SHARE)),
        first_smile=int(rng.uniform(0, length)),
        size=int(rng.uniform(400, 3000)),
        yaw=int(rng.normal(0, 150)),
        pitch=int(rng.normal(0, 80)),
    )


def _minute(began: int, visits: float, rng: np.random.Generator) -> MinuteRow:
    begun = int(rng.poisson(visits))
    seen = int(begun * rng.uniform(20_000, 50_000))
    return MinuteRow(
        began=began,
        length=60_000,
        observed=60_000,
        gap=0,
        frames=int(rng.normal(1795, 5)),
        dropped=int(rng.poisson(5)),
        lost=0,
        people=begun,
        people_max=min(begun, 4),
        visits_begun=begun,
        visits_ended=begun,
        dwell=seen,
        seen=seen,
        unsure=seen // 4,
        attention=seen // 2,
        unclear=seen // 20,
        shares=_shares(rng) if begun else None,
        brightness=int(rng.uniform(0, 2550)),
        face_brightness=int(rng.uniform(0, 2550)) if begun else None,
        dark=seen // 10,
        bright=seen // 100,
    )


def _shares(rng: np.random.Generator) -> Shares:
    return tuple((rng.dirichlet(np.ones(7)) * SHARE).astype(int).tolist())


if __name__ == "__main__":
    main()
