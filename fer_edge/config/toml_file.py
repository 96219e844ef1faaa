"""Options from a TOML file, with errors that name file, line and key."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..toml_text import KeyPath, key_lines
from .schema import OPTIONS, TABLE
from .settings import ConfigError, Setting, Table
from .toml_values import texts_of
from .values import checked


def from_file(path: Path) -> Iterator[tuple[str, Setting]]:
    """The options that a TOML file sets; raises :class:`ConfigError`."""
    text = _read(path)
    table = _parsed(path, text)
    lines = key_lines(text) if table else {}
    for key, value in table.items():
        place = f"{path}, line {lines[(key,)]}"
        if key not in OPTIONS:
            raise ConfigError(f"{place}: {_unknown(key, value)}")
        if key == "camera" and isinstance(value, dict):
            raise ConfigError(f"{place}: the table of a camera is [[camera]], with two brackets")
        if key == "source" and type(value) is int:
            raise ConfigError(f"{place}: source: must be a text; the number of a camera is camera = {value}")
        if key == "camera" and _are_tables(value):
            yield key, Setting(tuple(_from_tables(value, path, lines)), place, 1)
        else:
            yield key, _from_key(key, value, place)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}, byte {error.start}: not UTF-8, which TOML has to be") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; --config wants a TOML file") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        # Without a line end, tomllib reports every fault in the last line as "at end of document".
        return tomllib.loads(f"{text}\n")
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        reason, line, column = found.groups() if found else (str(error), None, None)
        place = f"{path}, line {line}, column {column}" if line else f"{path}, at its end"
        remedy = _toml_remedy(reason, text, line, column)
        raise ConfigError(f"{place}: no valid TOML: {reason}{remedy}") from error


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _toml_remedy(reason: str, text: str, line: str | None, column: str | None) -> str:
    if reason == "Invalid value" and line and column:
        value = text.splitlines()[int(line) - 1][int(column) - 1 :]
        if value[:1].isalpha() or value.startswith(("/", ".")):
            return "; texts stand in quotes"
    if reason.startswith("Cannot") and re.search(r"^\s*\[\s*camera\s*\]", text, re.MULTILINE):
        return "; the table of a camera is [[camera]], with two brackets"
    return ""


def _from_key(key: str, value: Any, place: str) -> Setting:
    one = OPTIONS[key]
    texts = list(texts_of(one, value, f"{place}: {key}"))
    return Setting(checked(one, texts, f"{place}: {key}"), place, 1)


def _from_tables(tables: list[dict[str, Any]], path: Path, lines: Mapping[KeyPath, int]) -> Iterator[Table]:
    """The cameras of the tables ``[[camera]]``."""
    names: set[str] = set()
    for number, table in enumerate(tables):
        at = f"{path}, line {lines[('camera', number)]}"
        name = table.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f'{at}: a camera needs a name, as in name = "door"')
        if name in names:
            raise ConfigError(f"{at}: there are two cameras with the name {name!r}")
        names.add(name)
        settings = {
            key: _from_table_key(name, key, value, f"{path}, line {lines[('camera', number, key)]}")
            for key, value in table.items()
            if key != "name"
        }
        if "source" not in settings:
            raise ConfigError(f"{at}: camera {name!r} needs a source, as in source = 0")
        yield Table(name, settings, Setting(name, at, 1))


def _from_table_key(camera: str, key: str, value: Any, place: str) -> Setting:
    if key not in TABLE:
        raise ConfigError(f"{place}: camera {camera!r}: {_not_of_a_camera(key, value)}")
    # The number of a camera.
    numbered = key == "source" and type(value) is int
    return _from_key(key, str(value) if numbered else value, place)


def _not_of_a_camera(key: str, value: Any) -> str:
    if key in OPTIONS:
        return f"{key} is the same for all cameras; it goes above the first [[camera]]"
    return _unknown(key, value, ["name", *TABLE])


def _unknown(key: str, value: Any, known: Iterable[str] = OPTIONS) -> str:
    inside = isinstance(value, dict) and any(name in OPTIONS for name in value)
    near = difflib.get_close_matches(key.lower().replace("-", "_"), sorted(known), 1)
    if inside:
        remedy = "keys stand in no table; leave its heading out"
    elif near:
        remedy = f"did you mean {near[0]}?"
    else:
        remedy = "fer-edge run --print-config lists all"
    return f"unknown {'table' if isinstance(value, dict) else 'key'} {key!r}; {remedy}"
