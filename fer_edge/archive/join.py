"""From the parts of a film to its rows: as if one run had watched it from its begin to its end."""

from __future__ import annotations

import contextlib
import logging
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
from .tables import TABLE_OF, TableFile, face_columns, table_files

if TYPE_CHECKING:
    from .work import Settings

_log = logging.getLogger(__name__)


class UnequalError(FerEdgeError):
    """Segments do not fit each other: reading from a key frame gave other frames than reading on."""

    exit_code = 1


@dataclass(frozen=True)
class Joined:
    """A film's part of the tables, and what is told of the film."""

    files: tuple[TableFile, ...]
    frames: int
    """Those that were looked at."""
    missing: int
    """Frames that could not be decoded."""
    damaged: bool
    """Whether that are more than a tenth."""
    seconds: float
    """How long the film is, up to its last frame."""
    people: int
    """Visits."""
    messages: tuple[str, ...]
    """What there is to know of it."""


def join(film: Film, plan: Plan, parts: Sequence[Part], classifier: Classifier, settings: Settings) -> Joined:
    """Join the ``parts`` of ``film``, one for each segment of ``plan``, in their order.

    Raises :class:`UnequalError` where they do not fit each other, :class:`~fer_edge.errors.SourceError` where
    the film has no frame.
    """
    messages = [message for part in parts for message in part.told["messages"]]
    if plan.segments[0].span is None:
        missing = int(parts[0].told["missing"])
        passed = int(parts[0].told["passed"])
    else:
        _check_borders(film, plan, parts)
        missing, more = _account(film, plan, parts)
        messages += more
        passed = sum(len(part.times) - len(part.looked) for part in parts)
    frames = sum(len(part.looked) for part in parts)
    last = max((part.times[part.looked[-1]] for part in parts if part.looked), default=0.0)
    began = _began(film, last)
    tally = CameraTally(round(1000 * began), longest_step(plan.pause))
    tally.set_detail(settings.seconds)
    replay = Replay(classifier, settings.options, film.path)
    faces = face_columns() if settings.faces else None
    for part in parts:
        for timestamp, seen in part.frames():
            moment = datetime.fromtimestamp(began + timestamp, UTC)
            result = replay.result(seen, timestamp, moment)
            tally.take(result, round(1000 * timestamp))
            if faces is not None:
                _add_faces(faces, result)
    tally.end()
    rows = _rows(film, tally, round(1000 * began), round(1000 * last), settings)
    files = tuple(table_files(film, rows, faces, settings.device))
    # As a run counts them, see fer_edge.pipeline.summary.
    damaged = missing > MOST_MISSING * (frames + passed + missing)
    people = len(rows["visits"])
    return Joined(files, frames, missing, damaged, last, people, tuple(dict.fromkeys(messages)))


def _began(film: Film, last: float) -> float:
    """When the film began, in seconds since 1970: as it is told, else its length before its last change."""
    if film.began is not None:
        return film.began
    return 0.0 if film.modified is None else round(film.modified - last, 3)


def _check_borders(film: Film, plan: Plan, parts: Sequence[Part]) -> None:
    counted = 0
    newest = -np.inf
    for number, (segment, part) in enumerate(zip(plan.segments, parts, strict=True)):
        where = f"{film.path}: segment {number + 1}"
        first = part.told["first"]
        if number and first != parts[number - 1].told["behind"][: len(first)]:
            raise UnequalError(f"{where}: begins with other pictures than the one before goes on with")
        if part.times and part.times[0] <= newest:
            raise UnequalError(f"{where}: begins before the one before ends")
        newest = part.times[-1] if part.times else newest
        counted_otherwise = segment.before != counted or (number and segment.first != parts[0].times[0])
        if counted_otherwise and len(part.looked) < len(part.times):
            raise UnequalError(
                f"{where}: lies behind {counted} frames, not {segment.before}, so others count"
            )
        counted += len(part.times)


def _account(film: Film, plan: Plan, parts: Sequence[Part]) -> tuple[int, list[str]]:
    """How many frames are missing, and what is said of them."""
    account = Account(film.path, plan.fps, plan.declared)
    index = 0
    for part in parts:
        for shown in part.times:
            account.seconds(index, shown)
            account.give(shown)
            index += 1
        account.missing += int(part.told["missing"])
    with collected_messages() as messages:
        account.end(plan)
    return account.missing, messages


@contextlib.contextmanager
def collected_messages() -> Iterator[list[str]]:
    """Collect what the package warns of meanwhile."""
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
    """The rows of a film as a store has them, by its views' names."""
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
    angles = np.nan_to_num(directions(faces.landmarks), nan=np.inf)
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
