"""FER-2013 text to pixels: ``ext/parse.c``."""

from __future__ import annotations

import re
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..constants import FACE_PIXELS

_USAGE_LIMIT = 32

OK = 0
EMPTY_ROW = 1
LONG_LINE = 2
OPEN_QUOTE = 3
FIELD_COUNT = 4
LABEL = 5
PIXEL_TEXT = 6
PIXEL_RANGE = 7
PIXEL_COUNT = 8
USAGE = 9

_BLANKS = b" \t"
_QUOTED = re.compile(rb'"((?:[^"]|"")*+)"[ \t]*(?=,|\Z)')
_BLANK_RUN = re.compile(rb"[ \t]*")
_TOKEN = re.compile(rb"[^ \t]+")
_USAGE_TEXT = re.compile(rb"[ !#-~]*")


class _FaultError(Exception):
    """A fault in a line: its kind, its offset in the line, its detail."""

    def __init__(self, kind: int, offset: int, detail: int = 0) -> None:
        super().__init__(kind, offset, detail)
        self.kind = kind
        self.offset = offset
        self.detail = detail


class _Slice(NamedTuple):
    """A field without its quotes and the blanks around it, and its offset in the line."""

    text: bytes
    offset: int


def _trimmed(line: bytes, start: int, end: int) -> _Slice:
    text = line[start:end].lstrip(_BLANKS)
    return _Slice(text.rstrip(_BLANKS), end - len(text))


def _split_line(line: bytes, columns: int) -> list[_Slice]:
    fields: list[_Slice] = []
    position = 0
    while True:
        start = cast("re.Match[bytes]", _BLANK_RUN.match(line, position)).end()
        if line[start : start + 1] == b'"':
            match = _QUOTED.match(line, start)
            if match is None:
                raise _FaultError(OPEN_QUOTE, start, len(fields))
            fields.append(_trimmed(line, *match.span(1)))
            position = match.end()
        else:
            comma = line.find(b",", start)
            position = comma if comma >= 0 else len(line)
            fields.append(_trimmed(line, start, position))
        if position == len(line):
            break
        position += 1
    if len(fields) != columns:
        raise _FaultError(FIELD_COUNT, 0, len(fields))
    return fields


def _parse_usual_pixels(text: bytes) -> NDArray[np.uint8] | None:
    """2304 numbers of at most three digits and 255 between single spaces, or None for any other text."""
    characters = np.frombuffer(text, dtype=np.uint8)
    ends = np.append(np.flatnonzero(characters == ord(" ")), characters.size)
    if ends.size != FACE_PIXELS:
        return None
    digits = characters - np.uint8(ord("0"))
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() < 1 or lengths.max() > 3 or np.count_nonzero(digits > 9) != FACE_PIXELS - 1:
        return None
    values = digits[ends - 1].astype(np.int64)
    values += 10 * np.where(lengths > 1, digits[ends - 2], np.uint8(0)).astype(np.int64)
    values += 100 * np.where(lengths > 2, digits[ends - 3], np.uint8(0)).astype(np.int64)
    return values.astype(np.uint8) if values.max() <= 255 else None


def _parse_pixels(field: _Slice) -> NDArray[np.uint8]:
    usual = _parse_usual_pixels(field.text)
    if usual is not None:
        return usual
    values = bytearray()
    for match in _TOKEN.finditer(field.text):
        token = match.group()
        index, offset = len(values) + 1, field.offset + match.start()
        if index > FACE_PIXELS:
            found = FACE_PIXELS + sum(1 for _ in _TOKEN.finditer(field.text, match.start()))
            raise _FaultError(PIXEL_COUNT, offset, found)
        digits = len(token) - len(token.lstrip(b"0123456789"))
        if digits > 3:
            raise _FaultError(PIXEL_RANGE, offset, index)
        if digits < len(token):
            raise _FaultError(PIXEL_TEXT, offset, index)
        if int(token) > 255:
            raise _FaultError(PIXEL_RANGE, offset, index)
        values.append(int(token))
    if len(values) != FACE_PIXELS:
        raise _FaultError(PIXEL_COUNT, field.offset + len(field.text), len(values))
    return np.frombuffer(values, dtype=np.uint8)


def _parse_line(
    line: bytes,
    layout: tuple[int, int, int, int, int],
    pixels: NDArray[np.uint8],
    label: NDArray[np.int8],
    usage: NDArray[np.uint8],
) -> None:
    """Fill pixels (2304,), label (1,) and usage (32,)."""
    columns, label_at, pixels_at, usage_at, line_limit = layout
    if len(line) > line_limit:
        raise _FaultError(LONG_LINE, 0)
    if not line.strip(_BLANKS):
        raise _FaultError(EMPTY_ROW, 0)
    fields = _split_line(line, columns)
    if label_at >= 0:
        code = fields[label_at]
        if len(code.text) != 1 or code.text not in b"0123456":
            raise _FaultError(LABEL, code.offset)
        label[0] = int(code.text)
    pixels[:] = _parse_pixels(fields[pixels_at])
    if usage_at >= 0:
        text, offset = fields[usage_at]
        if len(text) > _USAGE_LIMIT or not _USAGE_TEXT.fullmatch(text):
            raise _FaultError(USAGE, offset)
        usage[:] = np.frombuffer(text.ljust(_USAGE_LIMIT, b"\0"), dtype=np.uint8)


def parse_rows(
    text: NDArray[np.uint8],
    final: bool,
    layout: tuple[int, int, int, int, int],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int8],
    usages: NDArray[np.uint8],
) -> tuple[int, int, int, int, int, int]:
    """``fer_parse_rows``: layout (columns, label, pixels, usage, line_limit), the outputs one row a line.

    Returns (rows, consumed, fault, line_end, offset, detail).
    """
    data = text.tobytes()
    line_limit = layout[4]
    rows = consumed = 0
    while rows < len(pixels) and consumed < len(data):
        feed = data.find(b"\n", consumed)
        end, following = (feed, feed + 1) if feed >= 0 else (len(data), len(data))
        line = data[consumed:end].removesuffix(b"\r")
        if feed < 0 and not final and len(line) <= line_limit:
            break
        try:
            _parse_line(line, layout, pixels[rows], labels[rows : rows + 1], usages[rows])
        except _FaultError as fault:
            return rows, consumed, fault.kind, following, consumed + fault.offset, fault.detail
        rows += 1
        consumed = following
    return rows, consumed, OK, 0, 0, 0
