"""What is wrong with a bad row, in words."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import SHOWN, shortened
from ..kernels.constants import FACE_PIXELS
from ..kernels.fallback import parse
from .header import Columns
from .window import LINE_LIMIT


class Fault(NamedTuple):
    """A bad row as the kernel reports it, with ``offset`` counted from the start of its ``line``."""

    kind: int
    line: bytes
    offset: int
    detail: int

    @property
    def character(self) -> int:
        """Where in the line, from 1."""
        return len(self.line[: self.offset].decode("utf-8", "replace")) + 1

    def found(self, stops: str) -> str:
        """The text at fault up to a quote, the end of the line or one of ``stops``; shortened."""
        text = self.line[self.offset : self.offset + 4 * SHOWN].decode("utf-8", "replace")
        text = text.removeprefix('"')
        length = next((i for i, character in enumerate(text) if character in stops + '"\r\n'), len(text))
        return repr(shortened(text[:length].strip()))


def explain(fault: Fault, columns: Columns) -> str:
    """What is wrong with a row, from behind its number on."""
    match fault.kind:
        case parse.EMPTY_ROW:
            return " is empty; empty lines may only end the file"
        case parse.LONG_LINE:
            return f" is longer than {LINE_LIMIT} bytes; want {FACE_PIXELS} pixels a line"
        case parse.FIELD_COUNT:
            names = shortened(",".join(columns.names), 5 * SHOWN)
            return f" has {fault.detail} fields; want {len(columns.names)} as in the header ({names})"
        case parse.OPEN_QUOTE:
            name = columns.names[fault.detail] if fault.detail < len(columns.names) else str(fault.detail + 1)
            problem = f": the quote at character {fault.character} is not closed where the field ends"
        case parse.LABEL:
            name = columns.names[columns.emotion]
            problem = f": found {fault.found(',')}; want an emotion code from 0 to 6"
        case parse.USAGE:
            name = columns.names[columns.usage]
            problem = f": found {fault.found(',')}; want at most 32 printable ASCII characters, no quotes"
        case _:
            name = columns.names[columns.pixels]
            problem = _explained_pixels(fault)
    return f', column "{name}"{problem}'


def _explained_pixels(fault: Fault) -> str:
    if fault.kind != parse.PIXEL_COUNT:
        found = fault.found(", \t")
        where = f", pixel {fault.detail} at character {fault.character}"
        return f"{where}: found {found}; want a whole number from 0 to 255"
    end = "the end" if fault.detail < FACE_PIXELS else "the first too many"
    comma = ", and" if fault.detail < FACE_PIXELS else ","
    return f": found {fault.detail} pixels{comma} {end} at character {fault.character}; want {FACE_PIXELS}"
