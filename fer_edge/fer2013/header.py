"""The header line of a CSV file, and where in it the wanted columns are."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import SHOWN, DataError, shortened
from .window import LINE_LIMIT, LineWindow

# ---------------------------------------------------------------- rows


class Columns(NamedTuple):
    """Where the wanted columns are (-1: absent) among the ``names`` of the header."""

    names: Sequence[str]
    emotion: int
    pixels: int
    usage: int

    @property
    def for_kernel(self) -> tuple[int, int, int, int, int]:
        return len(self.names), self.emotion, self.pixels, self.usage, LINE_LIMIT


# ---------------------------------------------------------------- headers and votes


def read_columns(buffer: LineWindow) -> Columns:
    buffer.fill_line()
    line = buffer.take_line()
    buffer.separator = separator_of(line)
    names = header_names(line, buffer.name)
    return Columns(
        names=names,
        emotion=find_column(names, "emotion", buffer.name) if "emotion" in map(str.lower, names) else -1,
        pixels=find_column(names, "pixels", buffer.name),
        usage=find_column(names, "usage", buffer.name) if "usage" in map(str.lower, names) else -1,
    )


def separator_of(line: bytes) -> str:
    """What stands between the fields of a file with this header line.

    A semicolon or a tab where it has no comma: spreadsheets in countries with a decimal comma write these.
    """
    text = line.strip()
    if b"," in text:
        return ","
    return ";" if b";" in text else "\t" if b"\t" in text else ","


def header_names(line: bytes, name: str) -> list[str]:
    if not line:
        raise DataError(f"{name}: the file is empty; want a CSV header")
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in line:
        raise DataError(f"{name}: the header is UTF-16 or binary; want text in UTF-8")
    if len(line) >= LINE_LIMIT:
        raise DataError(f"{name}: the first line is longer than {LINE_LIMIT} bytes; want a CSV header")
    try:
        text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8").rstrip("\r\n")
        reader = csv.reader([text], delimiter=separator_of(line), skipinitialspace=True)
        return [column.strip() for column in next(reader, [""])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: the first line is not a CSV header in UTF-8: {error}") from error


def find_column(names: Sequence[str], wanted: str, name: str) -> int:
    """Where in the header the column is."""
    at = [index for index, column in enumerate(names) if column.lower() == wanted.lower()]
    if len(at) != 1:
        found = shortened(",".join(names), 5 * SHOWN)
        count = f"{len(at)} columns" if at else "no column"
        raise DataError(f'{name}: {count} "{wanted}" in the header, which is {found!r}; want one')
    return at[0]
