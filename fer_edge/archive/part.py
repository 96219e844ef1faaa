"""What was seen in a segment, frame by frame, and its form as a Parquet file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MissingExtraError
from ..faces.faces import Faces
from ..pipeline.look import Seen

FORMAT = 3
"""Of a part; one of another is made anew."""


@dataclass(eq=False)
class Part:
    """A segment's frames: of those that were looked at what they show, of the others their times."""

    times: list[float] = field(default_factory=list)
    """Seconds in the film of every frame."""
    looked: list[int] = field(default_factory=list)
    """Which of them were looked at."""
    seen: list[Seen] = field(default_factory=list)
    """What they show."""
    told: dict[str, Any] = field(default_factory=dict)
    """Figures of the work, by name: see :mod:`fer_edge.archive.work`."""

    def frames(self) -> Iterator[tuple[float, Seen]]:
        """Yield the frames that were looked at, with their times."""
        return ((self.times[row], seen) for row, seen in zip(self.looked, self.seen, strict=True))


def pyarrow_parquet() -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises :class:`~fer_edge.errors.MissingExtraError` where they are not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("an archive", "pyarrow", "archive") from error
    return pyarrow, parquet


def part_to_bytes(part: Part) -> bytes:
    """Return ``part`` as a Parquet file: a row a frame, lists for its faces."""
    pyarrow, parquet = pyarrow_parquet()
    rows = len(part.times)
    faces = np.zeros(rows, np.int64)
    looked = np.zeros(rows, np.bool_)
    shapes = np.zeros((rows, 2), np.int32)
    light = np.full(rows, np.nan)
    for row, seen in zip(part.looked, part.seen, strict=True):
        faces[row], looked[row], shapes[row] = len(seen.faces), True, seen.shape
        light[row] = np.nan if seen.brightness is None else seen.brightness

    def lists(values: Sequence[NDArray[np.float32]]) -> Any:
        flat = np.concatenate([value.ravel() for value in values]) if values else np.empty(0, np.float32)
        width = flat.size // max(int(faces.sum()), 1)
        offsets = np.concatenate([[0], np.cumsum(faces * width)]).astype(np.int32)
        return pyarrow.ListArray.from_arrays(pyarrow.array(offsets), pyarrow.array(flat.astype(np.float32)))

    table = pyarrow.table(
        {
            "time": np.array(part.times, np.float64),
            "looked": looked,
            "height": shapes[:, 0],
            "width": shapes[:, 1],
            "faces": faces.astype(np.int32),
            "boxes": lists([seen.faces.boxes for seen in part.seen]),
            "scores": lists([seen.faces.scores for seen in part.seen]),
            "landmarks": lists([seen.faces.landmarks for seen in part.seen]),
            "distributions": lists([seen.distributions for seen in part.seen]),
            "light": light,
            "lights": lists([_known(seen.faces.brightness, len(seen.faces)) for seen in part.seen]),
            "pitches": lists([_known(seen.faces.pitch, len(seen.faces)) for seen in part.seen]),
        },
        metadata={"fer-edge": json.dumps({**part.told, "format": FORMAT})},
    )
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def is_usable(path: Path) -> bool:
    """Whether a file is a part of this version, as far as its end tells, where Parquet describes it."""
    pyarrow, parquet = pyarrow_parquet()
    try:
        return bool(json.loads(parquet.read_schema(path).metadata[b"fer-edge"])["format"] == FORMAT)
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError):
        return False


def part_from_bytes(content: bytes, answers: int) -> Part:
    """Return the part that :func:`part_to_bytes` wrote; ``answers``: of the classifier.

    Raises :class:`~fer_edge.errors.DataError` where it is none, or of another version.
    """
    pyarrow, parquet = pyarrow_parquet()
    try:
        table = parquet.read_table(io.BytesIO(content))
        told = json.loads(table.schema.metadata[b"fer-edge"])
        if told["format"] != FORMAT:
            raise DataError("a part of another version of fer-edge")
        counts = table["faces"].to_numpy()
        columns = {
            name: table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            for name in ("boxes", "scores", "landmarks", "distributions", "lights", "pitches")
        }
        boxes = columns["boxes"].reshape(-1, 4)
        landmarks = columns["landmarks"].reshape(-1, 5, 2)
        distributions = columns["distributions"].reshape(-1, answers)
        shapes = np.stack([table["height"].to_numpy(), table["width"].to_numpy()], axis=1)
        looked = np.flatnonzero(table["looked"].to_numpy(zero_copy_only=False))
        times = table["time"].to_numpy().tolist()
        light = table["light"].to_numpy(zero_copy_only=False)
    except DataError:
        raise
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"a damaged part: {error}") from error
    part = Part(times, looked.tolist(), [], told)
    ends = np.cumsum(counts)
    for row in part.looked:
        rows = slice(int(ends[row] - counts[row]), int(ends[row]))
        faces = Faces(
            boxes[rows],
            columns["scores"][rows],
            landmarks[rows],
            brightness=columns["lights"][rows],
            pitch=columns["pitches"][rows],
        )
        height, width = shapes[row].tolist()
        known = None if np.isnan(light[row]) else float(light[row])
        part.seen.append(Seen(faces, distributions[rows], (height, width), known))
    return part


def _known(measured: NDArray[np.float32] | None, faces: int) -> NDArray[np.float32]:
    return np.full(faces, np.nan, np.float32) if measured is None else measured
