"""Says which rows or pictures of labelled data were left out, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import printable

if TYPE_CHECKING:
    from ..fer2013.reader import FerDataset

_SHOWN = 20


def skipped_reported(pieces: Iterable[FerDataset]) -> Iterator[FerDataset]:
    """The ``pieces``; says on stderr what was wrong with the first rows that were left out, and how many."""
    count = 0
    for piece in pieces:
        for message in piece.skipped[: max(0, _SHOWN - count)]:
            print(f"skipped: {printable(message)}", file=sys.stderr)
        count += len(piece.skipped)
        yield piece
    if count > _SHOWN:
        print(f"skipped: {count - _SHOWN} more", file=sys.stderr)


def print_skipped(dataset: FerDataset) -> None:
    """Say it of a data set that was read at once."""
    for _ in skipped_reported([dataset]):
        pass
