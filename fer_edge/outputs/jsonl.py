"""One JSON object a frame and line, to a file or stdout."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError, FerEdgeError
from ..labels import EMOTIONS
from ..recognizer import Face
from . import FrameResult, write_line

Mode = Literal["new", "append", "overwrite"]


def to_json(result: FrameResult) -> dict[str, Any]:
    """Return ``result`` as what is written: plain lists, numbers and strings.

    Coordinates are pixels rounded to a tenth, probabilities have four decimals. ``timestamp`` is
    the source's, in seconds; ``time`` is the clock's in UTC, which may jump on a Pi without a
    real-time clock.
    """
    height, width = result.image.shape[:2]
    now = datetime.datetime.now(datetime.UTC)
    return {
        "frame": result.index,
        "timestamp": round(result.timestamp, 3),
        "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "source": result.name,
        "size": [width, height],
        "latency_ms": round(result.latency_ms, 2),
        "faces": [face_to_json(face) for face in result.faces],
    }


class JsonLinesOutput:
    """Writes each result as one line of JSON and flushes it, so that a reader can follow.

    ``target``: a path, or ``-`` for stdout. A file is written in place, not renamed at the end,
    because a log that grows for a year must be readable meanwhile. ``mode``: ``new`` refuses a file
    that has content, ``append`` adds to it, ``overwrite`` empties it. Raises
    :class:`~fer_edge.errors.DataError` where the file cannot be opened or is refused.
    """

    def __init__(self, target: str | os.PathLike[str], mode: Mode = "new") -> None:
        self._name = os.fspath(target)
        self._to_stdout = self._name == "-"
        if self._to_stdout:
            self._stream = sys.stdout
            return
        path = Path(target)
        try:
            if mode == "new" and path.exists() and path.stat().st_size > 0:
                raise DataError(f"{path}: has content already; --append adds to it, --force overwrites it")
            self._stream = path.open("w" if mode == "overwrite" else "a", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error

    def write(self, result: FrameResult) -> None:
        """Write one line; raises :class:`~fer_edge.errors.FerEdgeError` where the disk is full."""
        line = json.dumps(to_json(result), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        try:
            write_line(self._stream, line)
        except OSError as error:
            raise FerEdgeError(f"{self._name}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if not self._to_stdout:
            # Every line was flushed; what is still held back is what a failed write has reported.
            with contextlib.suppress(OSError):
                self._stream.close()


def face_to_json(face: Face) -> dict[str, Any]:
    """Return ``face`` as the entry of ``faces`` in a line."""
    return {
        "track": face.track,
        "box": [round(value, 1) for value in face.box],
        "score": round(face.score, 4),
        "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in face.landmarks],
        "emotion": face.emotion,
        "probabilities": {
            name: round(float(value), 4) for name, value in zip(EMOTIONS, face.probabilities, strict=True)
        },
    }
