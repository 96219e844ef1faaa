"""The value of an option from texts, with an error that names their place."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable
from typing import Any

from ..option import Option
from ..pipeline.options import WatchOptions
from .schema import OF_WATCH
from .settings import ConfigError


def checked(one: Option, texts: Iterable[str], place: str) -> Any:
    """The value of an option from the ``texts`` that it was given; raises :class:`ConfigError`."""
    values = tuple(_parsed(one, text, place) for text in texts)
    value: Any = values if one.many else values[0]
    if one.name in OF_WATCH:
        alone: dict[str, Any] = {one.name: value}
        try:
            WatchOptions(**alone)
        except ValueError as error:
            named = one.name in str(error)
            raise ConfigError(
                f"{place.removesuffix(f': {one.name}') if named else place}: {error}"
            ) from error
    return value


def _parsed(one: Option, text: str, place: str) -> Any:
    try:
        value = one.kind.parse(text)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{place}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{place}: {text!r} is not {one.kind.noun}") from error
    if one.choices and value not in one.choices:
        choices = [str(choice) for choice in one.choices]
        near = difflib.get_close_matches(text, choices, 1)
        remedy = f"did you mean {near[0]}?" if near else f"choose from {', '.join(choices)}"
        raise ConfigError(f"{place}: there is no {text!r}; {remedy}")
    return value
