"""Values of a TOML file as the texts that flags take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..option import CAMERA, MASK, REGION, Option
from .settings import ConfigError

_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}

_EXAMPLES = {REGION: "[0.1, 0, 0.9, 1]", MASK: "[[[0, 0], [0.3, 0], [0.3, 1]]]"}
"""Values of nested lists, whose form the name of a type does not explain."""


def texts_of(one: Option, value: Any, place: str) -> Iterator[str]:
    """The texts that stand for a TOML value; raises :class:`ConfigError` where its type is wrong."""
    if one.kind is CAMERA and not isinstance(value, list):
        value = [value]
    if one.kind in _EXAMPLES:
        yield from _nested(one, value, place)
        return
    if one.many and not isinstance(value, list):
        written = f', as in ["{value}"]' if isinstance(value, str) else ""
        raise ConfigError(f"{place}: must be a list of texts{written}, not {_type_name(value)}")
    for part in value if one.many else [value]:
        if type(part) not in one.kind.toml:
            raise ConfigError(f"{place}: must be {_wanted(one)} {_type_name(part)}")
        try:
            yield ("off", "on")[part] if isinstance(part, bool) else one.kind.text(part)
        except TypeError as error:
            raise ConfigError(f"{place}: {part!r} is not {one.kind.noun}") from error


def _nested(one: Option, value: Any, place: str) -> Iterator[str]:
    wanted = f"{one.kind.noun}, as in {_EXAMPLES[one.kind]}"
    if not isinstance(value, list):
        raise ConfigError(f"{place}: must be {wanted}, not {_type_name(value)}")
    for part in value if one.many else [value]:
        if not isinstance(part, list):
            raise ConfigError(f"{place}: must be {wanted}, not one with {_type_name(part)}")
        try:
            yield one.kind.text(part)
        except TypeError as error:
            raise ConfigError(f"{place}: {value!r} is not {wanted}") from error


def _wanted(one: Option) -> str:
    """Begins "a number, not a text"."""
    if one.many:
        return "a list of texts, not one with"
    # Whole numbers are numbers, too.
    types = [kind for kind in one.kind.toml if kind is not int or float not in one.kind.toml]
    return f"{' or '.join(_TYPES[kind] for kind in types)}, not"


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _TYPES.get(type(value), "a table" if isinstance(value, dict) else "a date or time")
