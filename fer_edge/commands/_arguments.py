"""Command lines made of options, and the options that several sub-commands share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from ..config import OPTIONS
from ..errors import DataError
from ..option import Option

_OWN_DEFAULT = object()


def add_option(container: argparse._ActionsContainer, option: Option, default: Any = _OWN_DEFAULT) -> None:
    """Let ``container`` take the flag of ``option``; ``default``: another one than its own."""
    if default is _OWN_DEFAULT:
        # argparse appends to a copy of the default, which has to be a list.
        default = list(option.default) if option.many else option.default
    given: dict[str, Any] = {"help": option.explained, "default": default}
    if option.switch:
        given["action"] = "store_true"
    else:
        # What the help calls a value without a name of its own, argparse says.
        given |= {"type": option.kind.parse, "metavar": option.metavar, "choices": option.choices}
    if option.many:
        given["action"] = "append"
    if option.alone is not None:
        given |= {"nargs": "?", "const": option.alone}
    if option.positional:
        container.add_argument(option.name, nargs="?", **given)
    else:
        container.add_argument(option.flag, **given)


def add_options(container: argparse._ActionsContainer, names: Iterable[str]) -> None:
    """Let ``container`` take options of ``fer-edge run``, by their names."""
    for name in names:
        add_option(container, OPTIONS[name])


def add_model_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Which classifier to load: arguments of ``fer_edge.load_classifier``."""
    group = parser.add_argument_group("classifier")
    add_options(group, ("model", "backend", "precision", "threads"))
    return group


def refuse_idle_balance(balance: float | None, labels: str) -> None:
    """Raise DataError where a ``balance`` is given that does nothing, since the answers are not people's."""
    if balance is not None and labels != "people":
        raise DataError(
            "--balance chooses among people's answers, and these are the labels of 2013; give --labels "
            "people, or leave it out"
        )
