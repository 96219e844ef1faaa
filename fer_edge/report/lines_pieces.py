"""Pieces of files of JSON lines, and the table of records that pyarrow makes of each."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..errors import MissingExtraError
from ..labels import EMOTIONS
from ..pipeline.result import SCHEMA

_PIECE = 16 << 20


def pieces(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, some 16 MB at a time, and whether the last one ends in a newline."""
    rest = b""
    for block in _blocks(stream):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield rest + block[:cut], True
            rest = block[cut:]
        else:
            rest += block
    if rest.strip():
        yield rest, False


def starts(piece: bytes) -> Iterator[dict[str, Any]]:
    """The records of ``piece`` with which runs begin, of versions that are known, with all that they hold."""
    for line in piece.split(b"\n"):
        if b'"start"' in line:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if (
                isinstance(record, dict)
                and record.get("type") == "start"
                and record.get("schema", 0) <= SCHEMA
            ):
                yield record


def parsed(piece: bytes) -> tuple[Any, int]:
    """The records of ``piece``, None for none, and how many lines are none."""
    # pyarrow ends the process at a null that is not within an object.
    nulls = piece.count(b"null")
    if nulls and nulls != piece.count(b":null") + piece.count(b": null"):
        lines = piece.splitlines(keepends=True)
        objects = [line for line in lines if b"null" not in line or _is_object(line)]
        if len(objects) < len(lines):
            table, bad = parsed(b"".join(objects)) if objects else (None, 0)
            return table, bad + len(lines) - len(objects)
    try:
        return _table(piece), 0
    except ValueError:
        lines = [line for line in piece.split(b"\n") if line.strip()]
        if len(lines) == 1:
            return None, 1
        middle = len(lines) // 2
        halves = [parsed(b"\n".join(part) + b"\n") for part in (lines[:middle], lines[middle:])]
        tables = [table for table, _ in halves if table is not None]
        bad = sum(count for _, count in halves)
        return (_pyarrow().concat_tables(tables) if tables else None), bad


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """What is read, also what came before packed data break off."""
    parts: list[bytes] = []
    size = 0
    try:
        while part := stream.read1(_PIECE):  # type: ignore[attr-defined]
            parts.append(part)
            size += len(part)
            if size >= _PIECE:
                yield b"".join(parts)
                parts, size = [], 0
    except (EOFError, zlib.error, gzip.BadGzipFile):
        yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _table(piece: bytes) -> Any:
    pyarrow = _pyarrow()
    from pyarrow import json as lines

    return lines.read_json(
        pyarrow.BufferReader(piece),
        lines.ReadOptions(use_threads=True, block_size=4 << 20),
        lines.ParseOptions(explicit_schema=_schema(), unexpected_field_behavior="ignore"),
    )


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.json
    except ImportError as error:
        raise MissingExtraError("reading JSON lines", "pyarrow", "report") from error
    return pyarrow


def _schema() -> Any:
    import pyarrow as pa

    real, text = pa.float64(), pa.string()
    face = pa.struct(
        [
            ("track", pa.int64()),
            ("box", pa.list_(real)),
            ("landmarks", pa.list_(pa.list_(real))),
            ("unsure", pa.bool_()),
            ("brightness", real),
            ("pitch", real),
            ("probabilities", pa.struct([(name, real) for name in EMOTIONS])),
        ]
    )
    return pa.schema(
        [
            ("schema", pa.int64()),
            ("type", text),
            ("time", pa.timestamp("ms", "UTC")),
            ("monotonic", real),
            ("timestamp", real),
            ("source", text),
            ("camera", text),
            ("dropped", pa.int64()),
            ("brightness", real),
            ("lost", pa.int64()),
            ("reason", text),
            ("faces", pa.list_(face)),
        ]
    )
