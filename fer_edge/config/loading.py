"""A configuration from flags, environment, file and defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..control.folder import state_path
from .cameras import config_of, own_config, tables_of
from .contradictions import refuse_contradictions
from .environment import from_environment
from .schema import OPTIONS, CameraConfig, Config
from .settings import ConfigError, Loaded, Setting
from .toml_file import from_file

_SHOWING = ("page", "mqtt")
"""Options that show what only a store knows."""


def load(flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None = None) -> Loaded:
    """Put a configuration together.

    ``flags``: parsed values by option name, of the flags that were given. ``file``: path of a TOML file.

    Raises :class:`ConfigError` for a file that cannot be read, for a key or variable that is unknown, has the
    wrong type or is out of range, and for options that exclude each other where not all are flags;
    ``ValueError`` where all are.
    """
    layers = [
        dict(from_file(Path(file))) if file else {},
        dict(from_environment(environment)),
        _from_flags(flags),
    ]
    settings = _settings(layers)
    try:
        return Loaded(_config(settings), settings)
    except ConfigError:
        raise
    except ValueError as error:
        places = _places(str(error), settings)
        if not places:
            raise
        raise ConfigError(f"{error} ({', '.join(places)})") from error


def _from_flags(flags: Mapping[str, Any]) -> dict[str, Setting]:
    settings = {}
    for name, value in flags.items():
        one = OPTIONS[name]
        flag = one.off if one.off and not value else one.flag
        settings[name] = Setting(tuple(value) if one.many else value, flag, 3)
    return settings


def _settings(layers: Iterable[Mapping[str, Setting]]) -> dict[str, Setting]:
    """All options: those of each layer displace those of the layers before, and of the defaults."""
    settings = {name: Setting(one.default) for name, one in OPTIONS.items()}
    for layer in layers:
        for name, setting in layer.items():
            # Options of one layer that exclude each other are refused when the layers are complete.
            for other in OPTIONS[name].instead_of if setting.value != OPTIONS[name].default else ():
                settings[other] = Setting(OPTIONS[other].default)
        settings |= layer
    return settings


def _config(settings: Mapping[str, Setting]) -> Config:
    values = {name: setting.value for name, setting in settings.items()}
    tables = tables_of(settings)
    config = config_of(values | {"camera": () if tables else values["camera"]})
    cameras = tuple(CameraConfig(table.name, own_config(table, settings)) for table in tables)
    shown = any(getattr(config, name) for name in _SHOWING)
    config = with_store(replace(config, cameras=cameras), shown)
    refuse_contradictions(config)
    return config


def _places(message: str, settings: Mapping[str, Setting]) -> list[str]:
    """Where the file or a variable sets the options that an error message names."""
    return [
        f"{name}: {setting.origin}"
        for name, setting in settings.items()
        if setting.rank in (1, 2) and re.search(rf"{OPTIONS[name].flag}\b|\b{name}\b", message)
    ]


def with_store(config: Config, shown: bool) -> Config:
    """Return ``config`` with a store in the state folder where it is ``shown`` and none is named."""
    if config.store or not shown:
        return config
    return replace(config, store=os.fspath(state_path(config.state_folder) / "store.db"))
