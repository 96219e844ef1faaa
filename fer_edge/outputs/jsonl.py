"""JSON lines: one object a line, to a file or stdout. docs/jsonl.md explains every field."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError, OutputError
from ..faces.faces import Face
from ..files import check_target, has_content, is_special, resolved
from ..labels import EMOTIONS
from ..pipeline.result import SCHEMA, FrameResult
from ..pipeline.state import Gap
from ..pipeline.summary import Summary
from ..utc import utc_text
from .base import SlowOutput, write_all, write_line
from .keeping import Keeper, Limits, dated, numbered

_LOOK_EVERY = 1.0
"""Seconds between looks whether the file still is where it was."""

_LARGEST = 100_000_000
"""Bytes after which a new file is begun where old ones may be deleted."""

_WHOLE_LINES = threading.Lock()
"""Held while one of several outputs writes to stdout: a pipe takes a long line in parts."""

Mode = Literal["new", "append", "overwrite"]


class JsonLinesOutput(SlowOutput):
    """Writes each result as one line of JSON at once, so that a reader can follow.

    ``target``: a path, or ``-`` for stdout. A file is written in place, not renamed at the end,
    because a log that grows for a year must be readable meanwhile; where it was moved away or deleted
    (log rotation), a new one is begun within a second; where that fails, the moved one goes on.
    ``mode``: ``new`` refuses a file that has content, ``append`` adds to it, ``overwrite`` empties it.
    ``start``: the records to begin with, of :func:`start_to_json`, one a camera. ``keep``: what is kept; the
    file then gets the time into its name each day (UTC) and 100 MB, and a new one is begun. Raises
    :class:`~fer_edge.errors.DataError` where the file cannot be opened or is refused.
    """

    name = "jsonl"
    capacity = 64
    needs_image = False
    tells_end = True

    def __init__(
        self,
        target: str | os.PathLike[str],
        mode: Mode = "new",
        start: Sequence[Mapping[str, Any]] = (),
        keep: Limits | None = None,
    ) -> None:
        self._path = None if os.fspath(target) == "-" else Path(target)
        self._file: int | None = None
        self._start = start
        self._cancelled = False
        self._looked = time.monotonic()
        self._keeper: Keeper | None = None
        self._day = datetime.now(UTC).date()
        if self._path is None:
            return
        if keep and not is_special(self._path):
            check_target(self._path, force=True)
            # Recordings, which are larger, make room first.
            self._path = resolved(self._path)
            self._keeper = Keeper(self.name, self._path, replace(keep, free=keep.free // 2), _LARGEST)
            self.idles = True
        try:
            if mode == "new" and has_content(self._path):
                raise DataError(
                    f"{self._path}: has content already; --append adds to it, --force overwrites it"
                )
            self._file = _opened(self._path, os.O_TRUNC if mode == "overwrite" else 0)
            if has_content(self._path):
                self._day = datetime.fromtimestamp(os.fstat(self._file).st_mtime, UTC).date()
        except OSError as error:
            if not self._path.parent.exists():
                raise DataError(f"{self._path}: the folder {self._path.parent} does not exist") from error
            raise DataError(f"{self._path}: cannot be written: {error.strerror}") from error

    def open(self) -> None:
        """Open the file again after a failure; end half a line that is left; write the first record."""
        if self._path is not None:
            with self._named_errors():
                if self._file is None:
                    self._file = _opened(self._path, os.O_NONBLOCK)
                    os.set_blocking(self._file, True)
                if _ends_within_a_line(self._path):
                    self._append(b"\n")
        while self._start:
            self._write(self._start[0])
            self._start = self._start[1:]

    def write(self, result: FrameResult) -> None:
        """Write a line, and before it one of a gap; OutputError where the disk is full."""
        if result.gap is not None:
            self._write(gap_to_json(result.gap, result.camera))
        self._write(to_json(result))

    def gap(self, lost: int) -> None:
        """Write that so many frames are missing."""
        self._write(_record("gap", lost=lost, **_now()))

    def flush(self) -> None:
        """Begin another file and delete old ones where that is due, though no line comes."""
        if self._keeper:
            with self._named_errors():
                self._look()

    def end(self, record: Mapping[str, Any]) -> None:
        """Write the last record."""
        self._write(_record("end", **_now(), **record))
        if self._keeper:
            self._keeper.end(self._path)

    def cancel(self) -> None:
        """Give up a line that waits for its reader."""
        self._cancelled = True

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, record: Mapping[str, Any]) -> None:
        line = to_line(record)
        with self._named_errors():
            if self._path is None:
                with _WHOLE_LINES:
                    write_line(sys.stdout, line, lambda: self._cancelled)
            else:
                self._look()
                self._append(line.encode() + b"\n")

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OutputError as error:
            raise OutputError(f"{self._path or 'stdout'}: {error}") from error
        except OSError as error:
            raise OutputError(f"{self._path or 'stdout'}: cannot be written: {error.strerror}") from error

    def _look(self) -> None:
        """Once a second see whether another file has to be begun, or an old one to go."""
        assert self._file is not None and self._path is not None
        now = time.monotonic()
        if now < self._looked + _LOOK_EVERY:
            return
        self._looked = now
        status = os.fstat(self._file)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(status, self._path.stat()) and not self._put_aside(status.st_size):
                return
        try:
            # What is there now may be a FIFO, and opening one waits for a reader.
            file = _opened(self._path, os.O_NONBLOCK)
        except OSError:
            # Its folder was moved, say: the file goes on where it is now, if it still has a name.
            if os.fstat(self._file).st_nlink:
                return
            self.close()
            raise
        self.close()
        os.set_blocking(file, True)
        self._file = file
        self._day = datetime.now(UTC).date()

    def _put_aside(self, size: int) -> bool:
        """Give the file, of that ``size``, a name with the time where a new one is due."""
        assert self._path is not None
        if self._keeper is None:
            return False
        self._keeper.look(self._path)
        now = datetime.now(UTC)
        # A clock that was set back begins no new file.
        if not size or not (now.date() > self._day or size >= self._keeper.largest):
            return False
        self._path.rename(numbered(dated(self._path, now)))
        self._keeper.tidy(self._path)
        return True

    def _append(self, data: bytes) -> None:
        """Write all of ``data``, or, into a file, nothing."""
        assert self._file is not None
        start = None
        with contextlib.suppress(OSError):
            start = os.lseek(self._file, 0, os.SEEK_END)
        try:
            write_all(self._file, data, lambda: self._cancelled)
        except OSError:
            if start is not None:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, start)
            raise


def to_json(result: FrameResult) -> dict[str, Any]:
    """Return ``result`` as what is written: plain lists, numbers and strings.

    Coordinates are pixels rounded to a tenth, probabilities have four decimals.
    """
    return _record(
        "frame",
        frame=result.index,
        timestamp=round(result.timestamp, 3),
        time=utc_text(result.time),
        monotonic=round(result.monotonic, 3),
        source=result.source,
        camera=result.camera,
        size=list(result.size),
        latency_ms=round(result.latency_ms, 2),
        dropped=result.dropped,
        **_light(result.brightness),
        faces=[face_to_json(face) for face in result.faces],
    )


def gap_to_json(gap: Gap, camera: str) -> dict[str, Any]:
    """Return the record of a time without frames; none was ``lost`` between recognition and record."""
    return _record(
        "gap",
        lost=0,
        **_now(),
        camera=camera,
        began=utc_text(gap.began),
        seconds=round(gap.seconds, 3),
        paused=round(gap.paused, 3),
        reason=gap.reason,
    )


def picture_to_json(source: str, size: tuple[int, int], faces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the record of a picture by itself: ``size`` is width, height, ``faces`` as they are written."""
    return _record("frame", source=source, size=list(size), faces=faces)


def face_to_json(face: Face) -> dict[str, Any]:
    """Return ``face`` as the entry of ``faces`` in a line."""
    return {
        "track": face.track,
        "detected": face.detected,
        "box": [round(value, 1) for value in face.box],
        "score": round(face.score, 4),
        "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in face.landmarks],
        "emotion": face.emotion,
        "unsure": face.unsure,
        "uncertainty": round(face.uncertainty, 4),
        **({} if face.sharpness is None else {"sharpness": round(face.sharpness, 3)}),
        "probabilities": {
            name: round(float(value), 4) for name, value in zip(EMOTIONS, face.probabilities, strict=True)
        },
        **_light(face.brightness),
        **({} if face.pitch is None else {"pitch": round(face.pitch, 1)}),
    }


def _light(brightness: float | None) -> dict[str, float]:
    return {} if brightness is None else {"brightness": round(brightness, 1)}


def start_to_json(
    version: str, source: str, camera: str, live: bool, model: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the record that begins a run.

    ``model``: the classifier's ``name``, ``backend`` and ``precision``. ``options``: of the run; paths become
    texts, and what is infinite, as a limit that is none, null.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, os.PathLike):
            return os.fsdecode(value)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return _record(
        "start",
        version=version,
        **_now(),
        source=source,
        camera=camera,
        live=live,
        model=dict(model),
        options={name: plain(value) for name, value in options.items()},
    )


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """Return the figures of a run; those that are not finite, as without frames, become ``None``."""
    figures = {**dataclasses.asdict(summary), "fps": summary.fps}
    return {name: (None if not math.isfinite(value) else round(value, 3)) for name, value in figures.items()}


def to_line(record: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    """Return ``record``, or several, as one line of JSON in ASCII, so that any file name survives."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def _record(kind: str, **fields: Any) -> dict[str, Any]:
    return {"schema": SCHEMA, "type": kind, **fields}


def _now() -> dict[str, Any]:
    return {"time": utc_text(datetime.now(UTC)), "monotonic": round(time.monotonic(), 3)}


def _opened(path: Path, flags: int = 0) -> int:
    """Open for appending: nothing is kept in a buffer, so nothing of a line that failed is written later."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o666)


def _ends_within_a_line(path: Path) -> bool:
    """Whether a writer that died left half a line at the end."""
    if not has_content(path):
        return False
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"
