"""From the parts of a film to its rows, as if one run had processed it from beginning to end."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FerEdgeError
from ..faces.quality import directions, sizes
from ..labels import EMOTIONS
from ..models.classifier import Classifier
from ..pipeline.look import Replay
from ..pipeline.result import FrameResult
from ..sources.film import MOST_MISSING, Account
from ..store.clock import EPOCH
from ..store.reader import StoreReader
from ..store.tally import CameraTally, longest_step
from ..store.writer import Batch, ClockState, Entry, SessionBegun, SessionEnded, StoreWriter
from .films import Film
from .part import Part
from .plan import Plan
from .tables import TABLE_OF, TableFile, face_columns, face_table, table_files

if TYPE_CHECKING:
    from .work import Settings

_log = logging.getLogger(__name__)


class UnequalError(FerEdgeError):
    """Segments do not fit: reading from a key frame gave other frames than reading on from before it."""

    exit_code = 1


@dataclass(frozen=True)
class Joined:
    """A film's rows for the tables, and what is reported about the film."""

    files: tuple[TableFile, ...]
    frames: int
    """Frames that were processed."""
    missing: int
    """Frames that could not be decoded."""
    damaged: bool
    """Whether more than a tenth are missing."""
    seconds: float
    """How long the film is, up to its last frame."""
    people: int
    """Visits."""
    messages: tuple[str, ...]
    """Messages about the film."""


class Joining:
    """Joins the parts of ``film``, one for each segment of ``plan``, in order and a few at a time.

    It can be saved in between and continued elsewhere, see :func:`joining_to_bytes`.
    """

    def __init__(self, film: Film, plan: Plan, classifier: Classifier, settings: Settings) -> None:
        self._film, self._plan, self._settings = film, plan, settings
        self._replay = Replay(classifier, settings.options, film.path)
        self._account = Account(film.path, plan.fps, plan.declared)
        self._tally: CameraTally | None = None
        self._faces: list[Any] = []
        self._messages: list[str] = []
        self._behind: list[int] = []
        self._began = 0.0
        self._joined = self._frames = self._passed = self._counted = 0
        self._first = self._newest = -np.inf
        self._last = 0.0

    def take(self, parts: Sequence[Part]) -> None:
        """Join the next ``parts``. Raises :class:`UnequalError` where they do not fit those before."""
        faces = face_columns() if self._settings.faces else None
        for part in parts:
            self._count(part)
            tally = self._tally = self._tally or self._new_tally(part)
            for timestamp, seen in part.frames():
                moment = datetime.fromtimestamp(self._began + timestamp, UTC)
                result = self._replay.result(seen, timestamp, moment)
                tally.take(result, round(1000 * timestamp))
                self._last = max(self._last, timestamp)
                if faces is not None:
                    _add_faces(faces, result)
        if faces is not None and faces["frame"]:
            self._faces.append(face_table(faces))

    def end(self) -> Joined:
        """Return the result, once all parts have been taken.

        Raises :class:`~fer_edge.errors.SourceError` where the film has no frame.
        """
        film, account = self._film, self._account
        if not self._is_whole:
            with collected_messages() as messages:
                account.end(self._plan)
            self._messages += messages
        assert self._tally is not None
        self._tally.end()
        rows = _rows(film, self._tally, round(1000 * self._began), round(1000 * self._last), self._settings)
        files = tuple(table_files(film, rows, self._faces, self._settings.device))
        # As a run counts them, see fer_edge.pipeline.summary.
        damaged = account.missing > MOST_MISSING * (self._frames + self._passed + account.missing)
        messages = list(dict.fromkeys(self._messages))
        people = len(rows["visits"])
        return Joined(files, self._frames, account.missing, damaged, self._last, people, tuple(messages))

    @property
    def _is_whole(self) -> bool:
        return self._plan.segments[0].span is None

    def _new_tally(self, first: Part) -> CameraTally:
        film, times = self._film, self._plan.times if len(self._plan.times) else np.array(first.times)
        if film.began is not None:
            self._began = film.began
        elif film.modified is not None:
            # A camera closes a film after its last frame, so the file's time is that of the end.
            self._began = round(film.modified - float(times.max(initial=0.0)), 3)
        tally = CameraTally(round(1000 * self._began), longest_step(self._plan.pause))
        tally.set_detail(self._settings.seconds)
        return tally

    def _count(self, part: Part) -> None:
        """Count the frames of the next part, and check that they go on where those before end."""
        self._messages += part.told["messages"]
        if self._is_whole:
            self._account.missing = int(part.told["missing"])
            self._passed = int(part.told["passed"])
        else:
            self._check_border(part)
            for shown in part.times:
                self._account.seconds(self._counted, shown)
                self._account.give(shown)
                self._counted += 1
            self._account.missing += int(part.told["missing"])
            self._passed += len(part.times) - len(part.looked)
        self._frames += len(part.looked)
        self._joined += 1

    def _check_border(self, part: Part) -> None:
        number, segment = self._joined, self._plan.segments[self._joined]
        where = f"{self._film.path}: segment {number + 1}"
        first = part.told["first"]
        if number and first != self._behind[: len(first)]:
            raise UnequalError(f"{where}: its first frames differ from those that follow the segment before")
        if part.times and part.times[0] <= self._newest:
            raise UnequalError(f"{where}: begins before the end of the segment before")
        if not number and part.times:
            self._first = part.times[0]
        counts_otherwise = segment.before != self._counted or (number and segment.first != self._first)
        if counts_otherwise and len(part.looked) < len(part.times):
            raise UnequalError(
                f"{where}: follows {self._counted} frames instead of {segment.before}, so the "
                "segments do not fit"
            )
        self._newest = part.times[-1] if part.times else self._newest
        self._behind = part.told["behind"]


def joining_to_bytes(joining: Joining, *known: object) -> bytes:
    """Save a joining, without the objects that are ``known`` where it will continue."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, one: object) -> int | None:
            return next((number for number, other in enumerate(known) if one is other), None)

    stream = io.BytesIO()
    Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(joining)
    return stream.getvalue()


def joining_from_bytes(content: bytes, *known: object) -> Joining:
    """Return the joining that :func:`joining_to_bytes` saved, with the same objects ``known``.

    ``content`` has to come from there: it is a pickle.
    """

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, number: int) -> object:
            return known[number]

    joining: Joining = Unpickler(io.BytesIO(content)).load()
    return joining


@contextlib.contextmanager
def collected_messages() -> Iterator[list[str]]:
    """Collect the package's warnings while the context lasts."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    log, handler = logging.getLogger(__name__.partition(".")[0]), Collector(logging.WARNING)
    log.addHandler(handler)
    try:
        yield messages
    finally:
        log.removeHandler(handler)


def _rows(
    film: Film, tally: CameraTally, origin: int, last: int, settings: Settings
) -> dict[str, list[dict[str, Any]]]:
    """The rows of a film, as a store would have them, by the names of its views."""
    entries: list[Entry] = [(film.source, row) for row in tally.rows]
    if settings.seconds:
        entries = [SessionBegun(0, film.path), *entries, SessionEnded(last)]
    clock = ClockState(film.id, film.path, origin)
    with tempfile.TemporaryDirectory(prefix="fer-edge-join-") as folder:
        path = Path(folder) / "film.db"
        writer = StoreWriter(path, "{}")
        try:
            writer.write(Batch(clock, entries, (), 0, last, ended=True))
        finally:
            writer.close()
        with StoreReader(path) as store:
            return {view: list(store.rows(view)) for view in TABLE_OF}


def _add_faces(columns: dict[str, list[Any]], result: FrameResult) -> None:
    faces = result.faces
    if not len(faces):
        return
    assert faces.ids is not None and faces.probabilities is not None
    assert faces.emotions is not None and faces.uncertainty is not None and faces.unsure is not None
    moment = EPOCH + (result.time - EPOCH)
    angles = np.nan_to_num(directions(faces.landmarks, faces.pitch), nan=np.inf)
    pixels = sizes(faces.boxes)
    for row in range(len(faces)):
        x, y, width, height = faces.boxes[row].tolist()
        yaw, pitch = angles[row].tolist()
        values: dict[str, Any] = {
            "frame": result.index,
            "seconds": result.timestamp,
            "time": moment,
            "track": int(faces.ids[row]) or None,
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "score": float(faces.scores[row]),
            "size": float(pixels[row]),
            "yaw": yaw if np.isfinite(yaw) else None,
            "pitch": pitch if np.isfinite(pitch) else None,
            "emotion": EMOTIONS[int(faces.emotions[row])],
            "unsure": bool(faces.unsure[row]),
            "uncertainty": float(faces.uncertainty[row]),
            **dict(zip(EMOTIONS, faces.probabilities[row].tolist(), strict=True)),
        }
        for name, value in values.items():
            columns[name].append(value)
