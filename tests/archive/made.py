"""What tests of archives share: made films with faces, and the rows of tables."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_edge.archive.engines import Finished, Ready
from fer_edge.archive.work import Settings, Worker
from fer_edge.pipeline.options import WatchOptions

DRAWN = Path(__file__).parent / "films"
"""Films without faces, see test_stretch.py."""


def face_film(path: Path, frames: int = 100, seed: int = 0, size=(320, 240)) -> Path:
    """A film of one face, and of a second one for a time: MPEG-4 at 25 a second, a key frame every 12."""
    data = pytest.importorskip("skimage.data")
    photo = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)[20:220, 120:320]
    rng = np.random.default_rng(seed)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25.0, size)
    assert writer.isOpened()
    for index in range(frames):
        picture = np.full((size[1], size[0], 3), 90, np.uint8)
        picture += rng.integers(0, 12, picture.shape, np.uint8)
        heads = [(30 + 20 * np.sin(index / 9 + seed), 50, 130)]
        if frames // 3 < index < frames * 2 // 3:
            heads.append((190, 70 + 10 * np.sin(index / 7), 110))
        for x, y, side in heads:
            head = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
            picture[int(y) : int(y) + side, int(x) : int(x) + side] = head
        writer.write(picture)
    writer.release()
    # Ten seconds into a minute, so that no film of these lies in two.
    os.utime(path, (1_000_000_030, 1_000_000_030))
    return path


def rows(folder: Path, table: str) -> list[dict]:
    """The rows of a table, in an order of their own."""
    parquet = pytest.importorskip("pyarrow.parquet")
    found: list[dict] = []
    for path in sorted(folder.glob(f"{table}.parquet/date=*/source=*/*.parquet")):
        found += parquet.ParquetFile(path).read().to_pylist()
    return found


def tables(folder: Path, names=("people", "minutes", "gaps", "faces")) -> dict[str, list[dict]]:
    """All rows of an archive."""
    return {name: rows(folder, name) for name in names}


def settings(longest: float = 0.9, **options) -> Settings:
    """Segments of two groups of pictures, 0.96 s."""
    return Settings(WatchOptions(**options), longest, faces=True, device="test", scratch="")


class Inline:
    """An engine whose one worker does each task when it is asked what has happened."""

    count = 1

    def __init__(self, of: Settings, worker: Worker | None = None) -> None:
        self.worker = worker or Worker(of)
        self.tasks: deque = deque()
        self.done: list = []
        self.closed = False
        self._told = False

    def submit(self, worker, task):
        self.tasks.append(task)

    def wait(self, seconds):
        if not self._told:
            self._told = True
            return [Ready(0)]
        events = []
        while self.tasks:
            task = self.tasks.popleft()
            self.done.append(task)
            events.append(Finished(0, self.perform(task)))
        return events

    def perform(self, task):
        return self.worker.perform(task)

    def place(self, worker):
        return "here"

    def close(self):
        self.closed = True


def command(*arguments, **given) -> subprocess.CompletedProcess:
    """Run ``fer-edge archive``."""
    return subprocess.run(
        started(*arguments), capture_output=True, text=True, timeout=300, check=False, **given
    )


def started(*arguments) -> list[str]:
    """Its command line."""
    return [sys.executable, "-m", "fer_edge", "archive", *map(os.fspath, arguments)]


def iso(milliseconds: int) -> str:
    """A time as lists have it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
