"""One JSON object a frame and line, to a file or stdout."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError, OutputError
from ..faces.faces import Face
from ..labels import EMOTIONS
from ..pipeline.result import FrameResult
from .base import OutputClosed, write_line

_LOOK_EVERY = 1.0
"""Seconds between looks whether the file still is where it was."""

Mode = Literal["new", "append", "overwrite"]


def to_json(result: FrameResult) -> dict[str, Any]:
    """Return ``result`` as what is written: plain lists, numbers and strings.

    Coordinates are pixels rounded to a tenth, probabilities have four decimals. ``timestamp`` is
    the source's, in seconds; ``time`` is the clock's in UTC, which may jump on a Pi without a
    real-time clock.
    """
    return {
        "frame": result.index,
        "timestamp": round(result.timestamp, 3),
        "time": result.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "source": result.source,
        "camera": result.camera,
        "size": list(result.size),
        "monotonic": round(result.monotonic, 3),
        "latency_ms": round(result.latency_ms, 2),
        "dropped": result.dropped,
        "faces": [face_to_json(face) for face in result.faces],
    }


class JsonLinesOutput:
    """Writes each result as one line of JSON and flushes it, so that a reader can follow.

    ``target``: a path, or ``-`` for stdout. A file is written in place, not renamed at the end,
    because a log that grows for a year must be readable meanwhile; where it was moved away or deleted
    (log rotation), a new one is begun within a second. ``mode``: ``new`` refuses a file
    that has content, ``append`` adds to it, ``overwrite`` empties it. Raises
    :class:`~fer_edge.errors.DataError` where the file cannot be opened or is refused.
    """

    def __init__(self, target: str | os.PathLike[str], mode: Mode = "new") -> None:
        self._path = None if os.fspath(target) == "-" else Path(target)
        self._file: io.FileIO | None = None
        self._looked = time.monotonic()
        if self._path is None:
            return
        try:
            if mode == "new" and self._path.exists() and self._path.stat().st_size > 0:
                raise DataError(
                    f"{self._path}: has content already; --append adds to it, --force overwrites it"
                )
            # Without a buffer, so that nothing of a line that failed is written later.
            self._file = io.FileIO(self._path, "wb" if mode == "overwrite" else "ab")
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written: {error.strerror}") from error
        if mode == "append" and _ends_within_a_line(self._path):
            self._append(b"\n")

    def write(self, result: FrameResult) -> None:
        """Write one line; raises :class:`~fer_edge.errors.OutputError` where the disk is full."""
        line = to_line(to_json(result))
        try:
            if self._file is None:
                write_line(sys.stdout, line)
            else:
                self._reopen_if_moved()
                self._append(line.encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self._path or 'stdout'}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if self._file is not None:
            self._file.close()

    def _reopen_if_moved(self) -> None:
        assert self._file is not None and self._path is not None
        now = time.monotonic()
        if now < self._looked + _LOOK_EVERY:
            return
        self._looked = now
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
                return
        self._file.close()
        self._file = io.FileIO(self._path, "ab")

    def _append(self, data: bytes) -> None:
        """Write all of ``data``, or nothing."""
        assert self._file is not None
        start = self._file.seek(0, os.SEEK_END) if self._file.seekable() else None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BrokenPipeError as error:
            raise OutputClosed from error
        except OSError:
            if start is not None:
                with contextlib.suppress(OSError):
                    self._file.truncate(start)
            raise


def to_line(record: dict[str, Any]) -> str:
    """Return ``record`` as one line of JSON in ASCII, so that any file name survives."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def _ends_within_a_line(path: Path) -> bool:
    """Whether a writer that died left half a line at the end."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"


def face_to_json(face: Face) -> dict[str, Any]:
    """Return ``face`` as the entry of ``faces`` in a line."""
    return {
        "track": face.track,
        "detected": face.detected,
        "box": [round(value, 1) for value in face.box],
        "score": round(face.score, 4),
        "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in face.landmarks],
        "emotion": face.emotion,
        "probabilities": {
            name: round(float(value), 4) for name, value in zip(EMOTIONS, face.probabilities, strict=True)
        },
    }
