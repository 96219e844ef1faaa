"""A writer of FlatBuffers, for TFLite files that are made in memory.

https://flatbuffers.dev/internals: everything lies behind what refers to it, aligned to its own size.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

_WORD = 4
_LONG = 8
_DATA_ALIGNMENT = 16


@dataclass(frozen=True)
class Byte:
    """A field of 8 bits."""

    value: int


Table: TypeAlias = "dict[int, Value]"
"""Values of the fields that are not absent, by their number in the schema."""

Value: TypeAlias = "int | Byte | str | bytes | Numbers | Floats | Longs | Table | list[Table]"
"""An ``int`` is a field of 32 bits, ``bytes`` a vector aligned to 16."""


class Numbers(tuple[int, ...]):
    """A vector of 32-bit integers."""


class Floats(tuple[float, ...]):
    """A vector of numbers in single precision."""


class Longs(tuple[int, ...]):
    """A vector of 64-bit integers."""


def flatbuffer(root: Table, identifier: bytes) -> bytes:
    """Return the file whose root is a table. ``identifier``: the four bytes that tell its kind."""
    out = bytearray(_WORD) + identifier
    _refer(out, 0, root)
    return bytes(out)


def _refer(out: bytearray, place: int, value: Value) -> None:
    """Append a value and write its distance to the word at ``place``."""
    later: list[tuple[int, Value]] = []
    if isinstance(value, dict):
        position, later = _append_table(out, value)
    elif isinstance(value, str):
        content = value.encode()
        position = _append_vector(out, len(content), content + b"\0")
    elif isinstance(value, bytes):
        position = _append_vector(out, len(value), value, _DATA_ALIGNMENT)
    elif isinstance(value, Numbers):
        position = _append_vector(out, len(value), struct.pack(f"<{len(value)}i", *value))
    elif isinstance(value, Floats):
        position = _append_vector(out, len(value), struct.pack(f"<{len(value)}f", *value))
    elif isinstance(value, Longs):
        position = _append_vector(out, len(value), struct.pack(f"<{len(value)}q", *value), _LONG)
    elif isinstance(value, list):
        position = _append_vector(out, len(value), bytes(_WORD * len(value)))
        later = [(position + _WORD * (i + 1), table) for i, table in enumerate(value)]
    else:
        raise TypeError(f"{value!r} lies in its table, not behind it")
    struct.pack_into("<I", out, place, position - place)
    for at, child in later:
        _refer(out, at, child)


def _append_vector(out: bytearray, length: int, content: bytes, alignment: int = _WORD) -> int:
    out += bytes(-(len(out) + _WORD) % alignment)
    position = len(out)
    out += struct.pack("<I", length) + content
    return position


def _append_table(out: bytearray, table: Table) -> tuple[int, list[tuple[int, Value]]]:
    """Append a table with its vtable in front; returns where it is, and what belongs to its words."""
    count = max(table, default=-1) + 1
    size = 2 * (count + 2)
    out += bytes(-(len(out) + size) % _WORD)
    offsets = [0] * count
    for place, number in enumerate(table, 1):
        offsets[number] = _WORD * place
    out += struct.pack(f"<{count + 2}H", size, _WORD * (len(table) + 1), *offsets)
    position = len(out)
    out += struct.pack("<i", size)
    later: list[tuple[int, Value]] = []
    for value in table.values():
        if isinstance(value, int):
            out += struct.pack("<i", value)
        elif isinstance(value, Byte):
            out += struct.pack("<Bxxx", value.value)
        else:
            later.append((len(out), value))
            out += bytes(_WORD)
    return position, later
