"""TOML as text: on which line each key stands, and how a value is written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import DataError

KeyPath = tuple[str | int, ...]


def key_lines(text: str) -> dict[KeyPath, int]:
    """Where each key of a TOML document begins: its line, from 1, by its path from the top.

    ``("camera", 0, "name")`` is the key ``name`` of the first ``[[camera]]``. Keys within a table, or list
    of tables, that is a value have the line where the value begins. ``text`` has to be valid TOML.

    ``tomllib`` tells no lines. It is asked at each line whether those since the last statement are a whole
    one: a text, list or table over many lines is one only at its end. So there is no second grammar here.
    """
    found: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    pending: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        pending.append(line)
        try:
            statement = tomllib.loads("\n".join(pending))
        except tomllib.TOMLDecodeError:
            continue
        first, pending = number - len(pending) + 1, []
        if line.lstrip().startswith("[") and first == number:
            table = _header_path(statement, counts)
            paths = [table[:end] for end in range(1, len(table) + 1)]
        else:
            paths = [table + path for path in _paths(statement)]
        for path in paths:
            found.setdefault(path, first)
    return found


def _header_path(header: Any, counts: dict[KeyPath, int]) -> KeyPath:
    """The path that a heading opens, from what it alone is parsed to; ``counts`` holds the last elements."""
    path: KeyPath = ()
    while header:
        ((key, header),) = header.items()
        path = (*path, key)
        if isinstance(header, list):
            counts[path] = counts.get(path, -1) + 1
            (header,) = header
        if path in counts:
            path = (*path, counts[path])
    return path


def _paths(table: Mapping[str, Any]) -> Iterator[KeyPath]:
    for key, value in table.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *path) for path in _paths(value))
        elif isinstance(value, list):
            for number, one in enumerate(value):
                if isinstance(one, dict):
                    yield (key, number)
                    yield from ((key, number, *path) for path in _paths(one))


def toml(value: Any) -> str:
    """``value`` as it stands in a TOML file. Raises DataError for a text that is not Unicode."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{value!r} is not Unicode, so that TOML cannot hold it") from error
        # JSON escapes all that TOML wants escaped but DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
