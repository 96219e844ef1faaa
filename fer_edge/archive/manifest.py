"""The manifest of an archive: a line of JSON for each step, in order.

It only grows, each line is on the disk before the next step begins, and the last lines about a film are the
valid ones. A line that a killed process left unfinished is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..errors import DataError, OutputError
from .films import Film, film_id
from .plan import Plan, segment_to_json

NAME = "manifest.jsonl"
VERSION = 1

_MODELS = {"model_sha256": "classifier", "detector_sha256": "face detector"}
"""Digests among the options, and of what each is; manifests of former versions have none."""

PLANNED, DONE, FAILED, WRITING = "planned", "done", "failed", "writing"


@dataclass
class Known:
    """What the manifest says of a film."""

    size: int = -1
    modified: float | None = None
    began: float | None = None
    source: str = ""
    state: str = ""
    reason: str = ""
    segments: set[int] = field(default_factory=set)
    """Segments of the present plan whose parts are written."""
    files: tuple[str, ...] = ()
    """Files of the tables that were, or were to be, written."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """Its last line."""

    def is_same(self, film: Film) -> bool:
        """Whether ``film`` is unchanged since then."""
        return (self.size, self.modified, self.began, self.source) == (
            film.size,
            film.modified,
            film.began,
            film.source,
        )


class Manifest:
    """The manifest in ``folder``, to be written by one process at a time; use it in a ``with`` statement.

    ``options``: what results depend on, by name. Raises :class:`~fer_edge.errors.DataError` where another
    process writes it, where it is damaged or of a later version, and where films were done with
    other options or models.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], versions: Mapping[str, Any]) -> None:
        self.films: dict[str, Known] = {}
        self._ids: dict[str, str] = {}
        """Of films by the ids that their lines have: former versions left ".." in paths."""
        self._path = folder / NAME
        try:
            self._stream = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written: {error.strerror}") from error
        try:
            try:
                fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DataError(
                    f"{folder}: another fer-edge archive is writing to it; wait until that ends"
                ) from error
            self._read(options)
            self._write({"archive": VERSION, "options": options, "versions": versions})
        except BaseException:
            os.close(self._stream)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stream)

    def planned(self, film: Film, plan: Plan) -> None:
        """Record that ``film`` is planned, and that no segment of it is done."""
        known = self.films[film.id] = Known(film.size, film.modified, film.began, film.source, PLANNED)
        known.told = self._write(
            {
                "film": film.id,
                "path": film.path,
                "size": film.size,
                "mtime": film.modified,
                "began": film.began,
                "source": film.source,
                "head": plan.head,
                "state": PLANNED,
                "whole": plan.why_whole,
                "segments": [segment_to_json(segment) for segment in plan.segments],
            }
        )

    def segment(self, film: Film, number: int, tries: int, told: Mapping[str, Any]) -> None:
        """Record that the part of a segment is written."""
        self.films[film.id].segments.add(number)
        self._write({"film": film.id, "segment": number, "state": DONE, "tries": tries, **told})

    def tried(self, film: Film, number: int | None, tries: int, reason: str) -> None:
        """Record that a try failed."""
        self._write({"film": film.id, "segment": number, "state": "tried", "tries": tries, "reason": reason})

    def writing(self, film: Film, files: tuple[str, ...]) -> None:
        """Record that ``files`` of the tables are going to be written."""
        self.films[film.id].files = files
        self._write({"film": film.id, "state": WRITING, "files": files})

    def done(self, film: Film, told: Mapping[str, Any]) -> None:
        """Record that a film's rows are in the tables."""
        self.films[film.id].state = DONE
        self.films[film.id].told = self._write({"film": film.id, "state": DONE, **told})

    def failed(self, film: Film, reason: str) -> None:
        """Record that a film was given up."""
        known = self.films.setdefault(film.id, Known())
        known.state, known.reason = FAILED, reason
        self._write({"film": film.id, "path": film.path, "state": FAILED, "reason": reason})

    def _read(self, options: Mapping[str, Any]) -> None:
        content = b""
        while piece := os.read(self._stream, 1 << 20):
            content += piece
        whole = content.rfind(b"\n") + 1
        os.truncate(self._stream, whole)
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                self._take(json.loads(line), options)
            except (ValueError, KeyError, TypeError) as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(
                    f"{self._path}, line {number}: not a line of a manifest; name another folder"
                ) from error

    def _take(self, line: dict[str, Any], options: Mapping[str, Any]) -> None:
        if "archive" in line:
            if line["archive"] > VERSION:
                raise DataError(f"{self._path}: of a later version; update fer-edge")
            self._check(line["options"], options)
            return
        if "path" in line:
            self._ids[line["film"]] = film_id(line["path"])
        film = self._ids.get(line["film"], line["film"])
        known = self.films.setdefault(film, Known())
        state = line["state"]
        if state == PLANNED:
            files = known.files
            known = self.films[film] = Known(
                line["size"], line["mtime"], line["began"], line["source"], PLANNED, files=files
            )
            known.told = line
        elif "segment" in line:
            # Failed tries have lines, too.
            if state == DONE:
                known.segments.add(line["segment"])
        elif state == WRITING:
            known.files = tuple(line["files"])
        elif state in (DONE, FAILED):
            known.state, known.reason = state, line.get("reason", "")
            known.told = line

    def _check(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        for name in sorted({*before, *now}):
            was, wanted = before.get(name), json.loads(json.dumps(now.get(name)))
            if name in _MODELS and was and was != wanted:
                raise DataError(
                    f"{self._path.parent}: was begun with another {_MODELS[name]} (SHA-256 {was[:16]}…, now "
                    f"{wanted[:16]}…), as after a new export or an update of fer-edge; use the former one, "
                    "or another --out"
                )
            if name not in _MODELS and was != wanted:
                told = name.replace("_", "-")
                begun = f"without {told}" if was in (None, False) else f"with {told} {_shown(was)}"
                now_with = "without" if wanted in (None, False) else f"with {_shown(wanted)}"
                raise DataError(
                    f"{self._path.parent}: was begun {begun}, not {now_with}; give the same options, or "
                    "another --out"
                )

    def _write(self, line: Mapping[str, Any]) -> Mapping[str, Any]:
        text = json.dumps({**line, "at": round(time.time(), 3)}, ensure_ascii=True) + "\n"
        try:
            end = os.lseek(self._stream, 0, os.SEEK_END)
            content = text.encode("ascii")
            try:
                while content:
                    content = content[os.write(self._stream, content) :]
                os.fsync(self._stream)
            except OSError:
                os.truncate(self._stream, end)
                raise
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror}") from error
        return line


def _shown(value: Any) -> str:
    return "it" if value is True else str(value)


def lines_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of an archive's manifest."""
    for line in (folder / NAME).read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)
