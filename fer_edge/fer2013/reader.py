"""FER-2013 in all its CSV layouts to arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_edge import kernels

from ..errors import DataError
from ..kernels.constants import FACE_PIXELS, FACE_SIZE
from ..kernels.fallback.parse import EMPTY_ROW, OK
from .archives import open_csv
from .faults import Fault, explain
from .header import Columns, read_columns
from .window import LINE_LIMIT, LineWindow

_FIRST_ROWS = 4096

_USAGE_BYTES = 32  # what the kernels write


@dataclass(frozen=True)
class FerDataset:
    """Rows of a FER-2013 file."""

    pixels: NDArray[np.uint8]
    """(n,48,48), grey, row major."""

    labels: NDArray[np.int8] | None
    """(n,), codes 0 to 6 as in :data:`fer_edge.labels.EMOTIONS`; None where the file has no emotions."""

    usage: NDArray[np.str_] | None
    """(n,), ``Training``, ``PublicTest``, ``PrivateTest``; None where the file has no such column."""

    skipped: tuple[str, ...] = ()
    """What was wrong with each row that was left out."""

    bad_rows: tuple[int, ...] = ()
    """The numbers of these rows in the file, from 1."""

    first_row: int = 1
    """The number in the file of the first row, good or bad, that this is of."""

    votes: NDArray[np.uint8] | None = None
    """(n,10), FER+ votes in ``VOTE_COLUMNS`` order; None where none were read beside the rows."""

    detected: bool | None = None
    """Of pictures, whether the detector found the face in each; None where faces were cut out already, as
    pictures of 48x48 pixels are."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """The number in the file of each row, int64 (n,), from 1, the header not counted."""
        first, count = self.first_row, len(self) + len(self.bad_rows)
        return np.setdiff1d(np.arange(first, first + count, dtype=np.int64), self.bad_rows)

    def __len__(self) -> int:
        return len(self.pixels)


def read_fer2013(path: str | os.PathLike[str], *, skip_bad: bool = False) -> FerDataset:
    """Read a FER-2013 CSV file; see :func:`iter_fer2013` for what it may look like and what is raised.

    Takes the memory of the result (83 MB for the whole of FER-2013) and a window of 2 MB.
    """
    return next(_read(path, None, skip_bad))


def iter_fer2013(
    path: str | os.PathLike[str], batch: int = 1024, *, skip_bad: bool = False, pixels_only: bool = False
) -> Iterator[FerDataset]:
    """Read a FER-2013 CSV file piece by piece, in memory bounded by ``batch``.

    The file has one header line and a column ``pixels`` of 48x48 grey values, and maybe ``emotion``
    and ``Usage``, in any order, upper or lower case; other columns are ignored. That covers Kaggle's
    fer2013.csv, icml_face_data.csv, train.csv and test.csv. Semicolons or tabs may separate fields, where
    the header has no comma. Fields may be in quotes (on one line),
    with blanks around. The file may be compressed (gzip, xz, bzip2) or the only .csv in a zip or tar
    archive, recognized by its content, not its name. Empty lines at the end do not count.

    Args:
        path: a regular file.
        batch: the most rows of a piece, and the most messages about skipped rows.
        skip_bad: leave bad rows out and say so in :attr:`FerDataset.skipped`.
        pixels_only: ignore the emotions and Usage, whatever is in their columns.

    Yields:
        At least one piece; with ``skip_bad`` some may hold fewer rows than ``batch``, or none.

    Raises:
        DataError: the file cannot be read, is not such a file, or has no rows; or a row is bad and
            ``skip_bad`` is false: it names the row (from 1, the header not counted), the column, and
            for a pixel its index and its first character's position in the line (both from 1).
        ValueError: ``batch`` is below 1.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; want at least 1")
    return _read(path, batch, skip_bad, pixels_only)


def _read(
    path: str | os.PathLike[str], batch: int | None, skip_bad: bool, pixels_only: bool = False
) -> Iterator[FerDataset]:
    """Pieces of at most ``batch`` rows, or all rows in one."""
    with open_csv(path) as (stream, name):
        buffer = LineWindow(stream, name)
        columns = read_columns(buffer)
        if pixels_only:
            columns = columns._replace(emotion=-1, usage=-1)
        yield from _pieces(buffer, columns, batch, skip_bad)


class _Piece:
    """The arrays of one FerDataset while they are filled: with ``batch`` rows, or with any number."""

    def __init__(self, columns: Columns, batch: int | None, expected: int, first_row: int) -> None:
        """``expected``: how many rows there may be, where their number is not bounded."""
        self.rows = 0
        self.skipped: list[str] = []
        self.bad_rows: list[int] = []
        self._first_row = first_row
        self._columns = columns
        self._batch = batch
        self._capacity = max(_FIRST_ROWS, expected) if batch is None else batch
        self._pixels = np.empty((self._capacity, FACE_PIXELS), dtype=np.uint8)
        self._labels = np.empty(self._capacity, dtype=np.int8)
        self._usage = np.empty((self._capacity, _USAGE_BYTES), dtype=np.uint8)

    @property
    def full(self) -> bool:
        return self._batch is not None and self._batch in (self.rows, len(self.skipped))

    def take_rows(self, buffer: LineWindow) -> Fault | None:
        """Parse rows from the window until the piece is full, whole lines are used up, or a row is bad.

        The bad row stays in the buffer.
        """
        text = buffer.text
        if text.size == 0:
            return None
        if self.rows == self._capacity:
            self._resize(self._capacity + self._capacity // 8)
        free = slice(self.rows, None)
        rows, consumed, kind, line_end, offset, detail = kernels.implementation.parse_rows(
            text,
            buffer.final,
            self._columns.for_kernel,
            self._pixels[free],
            self._labels[free],
            self._usage[free],
        )
        self.rows += rows
        buffer.consume(consumed)
        if kind == OK:
            return None
        line = text[consumed : min(line_end, consumed + LINE_LIMIT)].tobytes()
        return Fault(kind, line, offset - consumed, detail)

    def finished(self) -> FerDataset:
        self._resize(self.rows)
        return FerDataset(
            pixels=self._pixels.reshape(self.rows, FACE_SIZE, FACE_SIZE),
            labels=self._labels if self._columns.emotion >= 0 else None,
            usage=_strings(self._usage) if self._columns.usage >= 0 else None,
            skipped=tuple(self.skipped),
            bad_rows=tuple(self.bad_rows),
            first_row=self._first_row,
        )

    def _resize(self, capacity: int) -> None:
        """Nobody else holds the arrays, and the system moves large ones without copying them."""
        self._capacity = capacity
        self._pixels.resize((capacity, FACE_PIXELS), refcheck=False)
        self._labels.resize(capacity, refcheck=False)
        self._usage.resize((capacity, _USAGE_BYTES), refcheck=False)


def _strings(texts: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Rows of ASCII, filled up with NUL bytes, as str no wider than the longest."""
    width = int(texts.any(axis=0).sum())
    return texts[:, : max(1, width)].copy().view(f"S{max(1, width)}")[:, 0].astype(np.str_)


def _pieces(buffer: LineWindow, columns: Columns, batch: int | None, skip_bad: bool) -> Iterator[FerDataset]:
    expected = buffer.expected_rows() if batch is None else 0
    row = 0
    piece = _Piece(columns, batch, expected, row + 1)
    while not buffer.exhausted:
        before = piece.rows
        fault = piece.take_rows(buffer)
        row += piece.rows - before
        if fault is None:
            if piece.full:
                yield piece.finished()
                piece = _Piece(columns, batch, expected, row + 1)
            elif piece.rows == before:
                buffer.fill()
            continue
        if not skip_bad and fault.kind != EMPTY_ROW:
            # The rest of the line is not looked for: it may have no end.
            raise DataError(f"{buffer.name}: row {row + 1}{explain(fault, columns)}")
        for _ in range(_skip_fault(buffer, fault)):
            row += 1
            message = f"{buffer.name}: row {row}{explain(fault, columns)}"
            if not skip_bad:
                raise DataError(message)
            piece.skipped.append(message)
            piece.bad_rows.append(row)
            if piece.full:
                yield piece.finished()
                piece = _Piece(columns, batch, expected, row + 1)
    if row == 0:
        raise DataError(f"{buffer.name}: no rows after the header")
    if piece.rows or piece.skipped:
        yield piece.finished()


def _skip_fault(buffer: LineWindow, fault: Fault) -> int:
    """Consume the bad row, an empty one with all empty ones that follow; returns how many are bad."""
    if fault.kind != EMPTY_ROW:
        buffer.skip_line()
        return 1
    count = buffer.skip_empty_lines()
    return 0 if buffer.exhausted else count
