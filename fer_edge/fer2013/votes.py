"""FER+: ten people's votes on each face of FER-2013."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, shortened
from ..labels import EMOTIONS, PEOPLE_ANSWERS, VOTE_COLUMNS, VOTE_OF_ANSWER
from .archives import open_csv
from .header import find_column, header_names, separator_of
from .reader import FerDataset
from .table import table_rows
from .window import LINE_LIMIT

_NOT_A_FACE = VOTE_COLUMNS.index("NF")
_MOST_NOT_A_FACE = 5


def read_votes(
    path: str | os.PathLike[str], rows: int | None = None, usage: NDArray[np.str_] | None = None
) -> NDArray[np.uint8]:
    """Read a FER+ votes file: uint8 (n,10), how many of the crowd chose what, in ``VOTE_COLUMNS`` order.

    The header holds the ten names of :data:`fer_edge.labels.VOTE_COLUMNS` in any order, upper or
    lower case; other columns (``Usage`` and ``Image name`` of Microsoft's fer2013new.csv) are
    ignored. May be compressed or in an archive as for :func:`iter_fer2013`. ``rows``: how many there
    have to be, to match another file row by row; ``usage``: that file's Usage, (n,) texts, to compare
    with this one's, where it has such a column.

    Raises:
        DataError: the file cannot be read, is not such a file, has no rows or another number than
            ``rows``, tells another Usage, or holds something else than whole numbers from 0 to 255:
            with the row (from 1, without the header) and column.
    """
    file = _read(path)
    if rows is not None:
        file.check_count(rows)
    if usage is not None:
        file.check_usage(0, usage)
    return file.votes


def add_votes(pieces: Iterable[FerDataset], path: str | os.PathLike[str]) -> Iterator[FerDataset]:
    """The ``pieces`` of a data set, in order and without bad rows, with their rows' votes from a FER+ file.

    Raises DataError as :func:`read_votes` does: for the file itself before the first piece is asked for,
    for another Usage before the piece with that row, for another number of rows at the latest behind all.
    """
    file = _read(path)
    pieces = iter(pieces)
    row = 0
    for piece in pieces:
        end = row + len(piece)
        try:
            if end > len(file.votes):
                file.check_count(end)
            if piece.usage is not None:
                file.check_usage(row, piece.usage)
        except DataError:
            # The number of rows says more than where two files begin to differ.
            file.check_count(end + sum(map(len, pieces)))
            raise
        yield replace(piece, votes=file.votes[row:end])
        row = end
    file.check_count(row)


class _VotesFile(NamedTuple):
    name: str
    votes: NDArray[np.uint8]
    usages: list[str] | None
    """What the file itself says of each row; None where it does not."""

    def check_count(self, rows: int) -> None:
        if len(self.votes) != rows:
            raise DataError(
                f"{self.name}: has {len(self.votes)} rows of votes for {rows} rows of images; the two go row "
                "by row"
            )

    def check_usage(self, start: int, usage: NDArray[np.str_]) -> None:
        """Compare the Usage of the rows from ``start`` on, counted from 0."""
        if self.usages is None:
            return
        own = self.usages[start : start + len(usage)]
        for row, (said, wanted) in enumerate(zip(own, usage.tolist(), strict=False), start + 1):
            if said != wanted:
                raise DataError(
                    f"{self.name}: row {row} is of {shortened(said)!r}, that of the images of "
                    f"{shortened(wanted)!r}; the two go row by row"
                )


def _read(path: str | os.PathLike[str]) -> _VotesFile:
    with open_csv(path) as (stream, name):
        line = stream.readline(LINE_LIMIT)
        header = header_names(line, name)
        columns = [find_column(header, wanted, name) for wanted in VOTE_COLUMNS]
        own = [index for index, column in enumerate(header) if column.lower() == "usage"]
        votes = bytearray()
        usages: list[str] | None = [] if len(own) == 1 else None
        for where, fields in table_rows(stream, len(header), name, separator=separator_of(line)):
            votes += bytes(_vote(fields[column], f'{where}, column "{header[column]}"') for column in columns)
            if usages is not None:
                usages.append(sys.intern(fields[own[0]].strip()))
    if not votes:
        raise DataError(f"{name}: no rows after the header")
    return _VotesFile(name, np.frombuffer(votes, np.uint8).reshape(-1, len(VOTE_COLUMNS)), usages)


def people_votes(votes: ArrayLike) -> NDArray[np.float32]:
    """The votes that count, float32 (n, 9) in :data:`~fer_edge.labels.PEOPLE_ANSWERS` order.

    By FER+'s own rules a single vote for something is an outlier and does not count, and an image that
    more than half of the ten call "not a face" has no votes: a row of zeros. Raises ``ValueError`` for
    ``votes`` of another shape than (n, 10).
    """
    counts = _counts(votes)
    kept = _without_outliers(counts)[:, VOTE_OF_ANSWER].astype(np.float32)
    kept[counts[:, _NOT_A_FACE] > _MOST_NOT_A_FACE] = 0
    return kept


def vote_shares(votes: ArrayLike) -> NDArray[np.float32]:
    """The votes that count, see :func:`people_votes`, as shares, float32 (n, 9).

    Rows sum to 1, or are zeros where no vote counts. Raises ``ValueError`` for another shape than (n, 10).
    """
    kept = people_votes(votes)
    return np.asarray(kept / np.maximum(kept.sum(axis=1, keepdims=True), 1), np.float32)


def top_votes(votes: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The one answer with most of the votes that count, float (n, 9) of :func:`people_votes`: int64 (n,).

    An index of :data:`~fer_edge.labels.PEOPLE_ANSWERS`; -1 where several answers share the first place, or
    nobody voted. :func:`majority_votes` counts "not a face" as an answer besides.
    """
    most = votes.max(axis=1, keepdims=True)
    alone = (np.count_nonzero(votes == most, axis=1) == 1) & (most[:, 0] > 0)
    return np.where(alone, votes.argmax(axis=1), -1)


def majority_votes(votes: ArrayLike) -> NDArray[np.int8]:
    """The FER-2013 code of the one top vote: int8 (n,), from the FER+ ``votes`` (n,10).

    A single vote for something is an outlier and does not count. -1 where two columns share the first
    place, or where it goes to contempt, unknown or NF (not a face). Raises ``ValueError`` for another
    shape.
    """
    counts = _without_outliers(_counts(votes))
    most = counts.max(axis=1, keepdims=True)
    alone = np.count_nonzero(counts == most, axis=1) == 1
    return _translated(counts.argmax(axis=1), alone, len(EMOTIONS))


def absolute_majorities(votes: ArrayLike) -> NDArray[np.int8]:
    """What more than half of the crowd chose: int8 (n,), an index of :data:`fer_edge.labels.PEOPLE_ANSWERS`.

    The protocol "majority" of Barsoum et al. 2016 (arXiv:1608.01041): outliers are left out, and of the
    votes that remain, NF included, more than half go to one of the seven emotions or contempt; -1
    elsewhere. Raises ``ValueError`` for another shape than (n, 10).
    """
    counts = _without_outliers(_counts(votes))
    absolute = 2 * counts.max(axis=1) > counts.sum(axis=1)
    return _translated(counts.argmax(axis=1), absolute, PEOPLE_ANSWERS.index("contempt") + 1)


def _counts(votes: ArrayLike) -> NDArray[np.int64]:
    counts = np.asarray(votes)
    if counts.ndim != 2 or counts.shape[1] != len(VOTE_COLUMNS):
        raise ValueError(f"votes have shape {counts.shape}; want (n, {len(VOTE_COLUMNS)})")
    return counts.astype(np.int64)


def _without_outliers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(counts < 2, 0, counts)


def _translated(columns: NDArray[np.intp], decided: NDArray[np.bool_], answers: int) -> NDArray[np.int8]:
    """Which of the first ``answers`` of PEOPLE_ANSWERS each column (n,) is; -1 for others, and undecided."""
    answer_of_column = np.full(len(VOTE_COLUMNS), -1, dtype=np.int8)
    answer_of_column[list(VOTE_OF_ANSWER[:answers])] = np.arange(answers)
    return np.where(decided, answer_of_column[columns], np.int8(-1))


def _vote(text: str, where: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 3 and int(digits) <= 255):
        raise DataError(f"{where}: found {shortened(text)!r}; want a whole number from 0 to 255")
    return int(digits)
