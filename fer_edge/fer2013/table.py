"""Rows of a CSV file without pixels, such as votes and lists of pictures, one at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ..errors import DataError
from .window import LINE_LIMIT


def table_rows(
    stream: io.BufferedIOBase,
    width: int,
    name: str,
    counted: str = "row",
    first: int = 1,
    separator: str = ",",
) -> Iterator[tuple[str, list[str]]]:
    """Yield of each row of ``stream``, behind the header, where it is (``votes.csv: row 7``) and its fields.

    ``width``: fields that the header has; ``counted`` and ``first``: what messages call a row, and the
    number of the first; ``separator``: what stands between fields. Empty lines may only end the file.
    Raises DataError.
    """
    empty = 0
    try:
        rows = csv.reader(
            _text_lines(stream, name, counted, first), delimiter=separator, skipinitialspace=True
        )
        for row, fields in enumerate(rows, start=first):
            where = f"{name}: {counted} {row}"
            if not any(fields):
                empty = empty or row
                continue
            if empty:
                raise DataError(f"{name}: {counted} {empty} is empty; empty lines may only end the file")
            if len(fields) != width:
                raise DataError(f"{where} has {len(fields)} fields; want {width} as in the header")
            yield where, fields
    except csv.Error as error:
        raise DataError(f"{name}: not CSV: {error}") from error


def _text_lines(stream: io.BufferedIOBase, name: str, counted: str, first: int) -> Iterator[str]:
    row = first
    while line := stream.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise DataError(f"{name}: {counted} {row} is longer than {LINE_LIMIT} bytes")
        yield line.decode("utf-8", "replace")
        row += 1
