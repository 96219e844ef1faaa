"""Values of options together with where they come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import FerEdgeError
from .schema import Config


class ConfigError(FerEdgeError, ValueError):
    """A configuration file or environment variable is not what it should be."""

    exit_code = os.EX_CONFIG


@dataclass(frozen=True)
class Setting:
    """The value of an option, and where it comes from."""

    value: Any
    origin: str = "default"
    """``default``, ``--flag``, ``FER_EDGE_VARIABLE``, or the file and line."""
    rank: int = 0
    """0 default, 1 file, 2 environment, 3 flag: the highest wins."""


@dataclass(frozen=True)
class Table:
    """A camera as the file, or a flag of its own, names it."""

    name: str
    settings: Mapping[str, Setting]
    """What it says of itself."""
    origin: Setting
    """Where it is named."""


@dataclass(frozen=True)
class Loaded:
    """A configuration, and where each of its values comes from."""

    config: Config
    settings: Mapping[str, Setting]
    """All options by name, in the order of :data:`OPTIONS`."""
