"""As much of Protocol Buffers' wire format as ONNX files need, to read and to write.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield each field of a message: its number, and its integer or its bytes.

    Raises ``ValueError`` for a wire type that is not in use, ``IndexError`` where the message ends within
    a number.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        wire = key & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            length, position = _varint(message, position)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire} at byte {position} of a message")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number at ``position``, and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


def field(number: int, *values: int | bytes | str) -> bytes:
    """Encode a field, once for each of ``values``: integers of at least 0, or bytes, messages and texts."""
    out = bytearray()
    for value in values:
        if isinstance(value, int):
            out += _encoded(number << 3 | _VARINT) + _encoded(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            out += _encoded(number << 3 | _BYTES) + _encoded(len(content)) + content
    return bytes(out)


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
