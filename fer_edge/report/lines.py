"""JSON lines of ``run --jsonl`` as material: what the store would have counted, and every person's seconds.

Files are read in pieces of 16 MB, which pyarrow parses on all cores (``lines_pieces.py``) and which become
columns (``lines_rows.py``); what is left of a piece are sums over seconds (``lines_runs.py``), so that memory
does not grow with frames. Lines that are no records are left out and told.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DataError, counted, printable
from ..pipeline.result import SCHEMA
from .lines_pieces import parsed, pieces, starts
from .lines_rows import Rows
from .lines_runs import Runs, camera_of
from .material import Material, joined
from .naming import called
from .progress import Progress

_ROTATED = re.compile(r"-\d{8}T\d{6}Z(-\d+)?$")


def read_lines(
    paths: Sequence[str | os.PathLike[str]], progress: Progress | None = None, keep_seconds: bool = True
) -> Material:
    """Return what files of JSON lines hold, several of one device in the order of time.

    A file and those that ``--keep-files`` put aside beside it are one device's, which is called by the file's
    name; others are other devices'. Raises :class:`~fer_edge.errors.DataError` where a file cannot be read or
    holds no records, :class:`~fer_edge.errors.MissingExtraError` without pyarrow.
    """
    progress = progress or Progress()
    begun: dict[tuple[Any, ...], Path] = {}
    return joined(
        _Device(name, progress, keep_seconds, begun).read(files) for name, files in devices_of(paths).items()
    )


def devices_of(paths: Sequence[str | os.PathLike[str]]) -> dict[str, list[Path]]:
    """Of each device its files, rotated ones first, in the order of their names."""
    files = [Path(path) for path in paths]
    bases = {path: path.parent.resolve() / _ROTATED.sub("", _stem(path)) for path in files}
    different = set(bases.values())
    found: dict[str, list[Path]] = {}
    for path, base in bases.items():
        found.setdefault(called(base, different), []).append(path)
    for same in found.values():
        same.sort(key=lambda path: (not _ROTATED.search(_stem(path)), _stem(path)))
    return found


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".ndjson")


class _Device:
    """Reads the files of one device, or of several that write the same ones.

    ``begun``: the files of all devices in which runs have begun, by what names a run.
    """

    def __init__(
        self, name: str, progress: Progress, keep_seconds: bool, begun: dict[tuple[Any, ...], Path]
    ) -> None:
        self._name, self._progress, self._begun = name, progress, begun
        self._path = Path()
        self._runs = Runs(name, keep_seconds, self._tell)
        self._bad = self._other_schema = self._old = self._timeless = self._odd = 0
        self._told: dict[str, None] = {}

    def read(self, files: Sequence[Path]) -> Material:
        for path in files:
            bad, frames, timeless = self._bad, self._runs.frames, self._timeless
            self._read_file(path)
            if self._timeless > timeless:
                raise DataError(
                    f"{path}: holds records of single pictures, which have no time; fer-edge run --jsonl "
                    "writes such lines"
                )
            if self._runs.frames == frames and self._bad > bad:
                raise DataError(
                    f"{path}: no JSON lines of fer-edge run; expected records as in docs/jsonl.md"
                )
        try:
            return self._material()
        except ValueError as error:
            raise DataError(
                f"{self._path}: its records contradict each other, as in files that were edited or mixed: "
                f"{error}"
            ) from error

    def _read_file(self, path: Path) -> None:
        try:
            self._progress.begin(str(path), path.stat().st_size)
            self._path = path
            bad, odd = self._bad, self._odd
            done = 0
            half = False
            with path.open("rb") as raw:
                stream: BinaryIO = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[assignment]
                for piece, whole in pieces(stream):
                    before = self._bad
                    self._take(piece)
                    half = not whole and self._bad > before
                    self._progress.step(raw.tell() - done)
                    done = raw.tell()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if not done:
                raise DataError(f"{path}: cannot be read: {error}") from error
            self._tell(f"{path}: the compressed data are cut off or damaged ({error}); the rest is left out.")
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        if half:
            self._bad -= 1
            self._tell(f"{path}: the last line is incomplete; it is left out.")
        if self._bad > bad:
            self._tell(f"{path}: {counted(self._bad - bad, 'line')} damaged; left out.")
        if self._odd > odd:
            self._tell(f"{path}: {counted(self._odd - odd, 'face')} with impossible values; left out.")

    def _take(self, piece: bytes) -> None:
        table, bad = parsed(piece)
        self._bad += bad
        if table is None or not table.num_rows:
            return
        rows = Rows(table)
        late = rows.schema > SCHEMA
        if late.any():
            self._other_schema += int(late.sum())
            rows.keep(~late)
        self._old += int((rows.schema < SCHEMA).sum())
        timeless = (rows.type == "frame") & np.isnan(rows.monotonic) & (rows.wall == 0)
        if timeless.any():
            self._timeless += int(timeless.sum())
            rows.keep(~timeless)
        timely = (rows.type != "frame") | rows.timely()
        if not timely.all():
            self._bad += int((~timely).sum())
            rows.keep(timely)
        self._odd += rows.drop_odd_faces()
        # Whatever is no frame takes effect before the frames that follow it.
        marks = np.flatnonzero(rows.type != "frame")
        begun = iter(starts(piece) if len(marks) else ())
        begin = 0
        for mark in marks.tolist():
            self._runs.take(rows, begin, mark)
            begin = mark + 1
            self._take_mark(rows, mark, begun)
        self._runs.take(rows, begin, len(rows.type))
        self._runs.bound_seconds()

    def _take_mark(self, rows: Rows, mark: int, begun: Iterator[dict[str, Any]]) -> None:
        kind = rows.type[mark]
        if kind == "start":
            self._start(next(begun, {}), float(rows.monotonic[mark]))
        elif kind == "end":
            self._runs.end()
        elif kind == "gap":
            self._runs.gap(rows, mark)

    def _start(self, start: dict[str, Any], monotonic: float) -> None:
        self._refuse_twice(camera_of(start), start.get("time"), monotonic)
        self._runs.start(start)
        if "labels" not in (start.get("model") or {}):
            self._tell("Records of an earlier version name no labels; they are those of 2013 (fer2013).")

    def _refuse_twice(self, camera: str, time: object, monotonic: float) -> None:
        run = (camera, str(time), monotonic)
        if time and run in self._begun:
            raise DataError(
                f"{self._path}: the run that began at {time} is in {self._begun[run]}, too; its people would "
                "count twice"
            )
        self._begun[run] = self._path

    def _material(self) -> Material:
        parts = self._runs.finish()
        if self._other_schema:
            self._tell(
                f"{self._name}: {counted(self._other_schema, 'record')} of a later version than {SCHEMA} "
                "left out; update fer-edge."
            )
        if self._old:
            self._tell(
                f"{self._name}: {counted(self._old, 'record')} without a version, read as version {SCHEMA}."
            )
        if self._runs.cut and self._runs.frames:
            self._tell(
                f"{self._name}: {counted(len(self._runs.cut), 'run')} without an end: it goes on, or was "
                "broken off."
            )
        return joined([*parts, Material(told=tuple(self._told))])

    def _tell(self, text: str) -> None:
        self._told[printable(text)] = None
