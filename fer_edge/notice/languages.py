"""The words of the notice, one file a language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

FALLBACK = "en"


@dataclass(frozen=True)
class Words:
    """The notice in a language; each field but the first three is a table of its file."""

    name: str
    """What the language calls itself."""
    title: str
    lead: str
    heading: Mapping[str, str]
    what: Mapping[str, str]
    kept: Mapping[str, str]
    limit: Mapping[str, str]
    sent: Mapping[str, str]
    rights: Mapping[str, str]
    foot: Mapping[str, str]


@cache
def languages() -> tuple[str, ...]:
    """The codes of the languages that there are, as ``de``."""
    files = resources.files(__package__).joinpath("languages").iterdir()
    return tuple(sorted(one.name.removesuffix(".toml") for one in files if one.name.endswith(".toml")))


def words_of(language: str) -> Words:
    """Return the words of one of :func:`languages`; raises ``KeyError`` for another."""
    if language not in languages():
        raise KeyError(language)
    file = resources.files(__package__).joinpath("languages", f"{language}.toml")
    return Words(**tomllib.loads(file.read_text(encoding="utf-8")))
