"""Several cameras of one run: their names, and what each has for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import is_folder
from ..pipeline.options import WatchOptions
from .contradictions import refuse_contradictions
from .schema import OF_WATCH, OPTIONS, OWN, OWN_OUTPUTS, Config
from .settings import ConfigError, Setting, Table


def config_of(values: Mapping[str, Any]) -> Config:
    watch = WatchOptions(**{name: values[name] for name in OF_WATCH})
    return Config(**{name: values[name] for name in OWN}, watch=watch)


def tables_of(settings: Mapping[str, Setting]) -> list[Table]:
    """The cameras of a configuration that has several."""
    camera = settings["camera"]
    if camera.value and isinstance(camera.value[0], Table):
        found = list(camera.value)
    elif len(camera.value) < 2:
        return []
    else:
        names = _names(camera.value)
        found = [
            Table(name, {"source": replace(camera, value=source)}, camera)
            for name, source in zip(names, camera.value, strict=True)
        ]
    _refuse_same_device(found)
    return found


def _refuse_same_device(tables: Iterable[Table]) -> None:
    """Raise DataError, of a file or variable ConfigError, where two cameras name one device."""
    from ..sources import device_of

    known: dict[str, str] = {}
    for table in tables:
        source = table.settings["source"]
        device = device_of(source.value)
        if device is None:
            continue
        if device in known:
            message = (
                f"{source.origin}: cameras {known[device]!r} and {table.name!r} are both {device}, which can "
                "be opened only once; leave one of them out, or give it another source"
            )
            if source.rank in (1, 2):
                raise ConfigError(message)
            raise DataError(message)
        known[device] = table.name


def _names(sources: Iterable[str]) -> list[str]:
    """A name for each of several cameras that have none; ``demo 2`` for the second of the same."""
    from ..sources.urls import without_secrets

    names: list[str] = []
    for source in sources:
        plain = f"camera {source}" if source.isdecimal() else without_secrets(source)
        same = sum(name == plain or name.startswith(f"{plain} ") for name in names)
        names.append(f"{plain} {same + 1}" if same else plain)
    return names


def own_settings(table: Table, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """What a camera's table says and no flag or variable displaces; its source and outputs are its own."""
    return {
        name: setting
        for name, setting in table.settings.items()
        if settings[name].rank < 2 or name in ("source", *OWN_OUTPUTS)
    }


def own_config(table: Table, settings: Mapping[str, Setting]) -> Config:
    """What a camera has for itself: its table, and from above the tables everything except outputs."""
    own = {name: setting.value for name, setting in own_settings(table, settings).items()}
    values = {name: setting.value for name, setting in settings.items()}
    values |= {"camera": (), "jsonl": None, "require": ()}
    values |= {name: one.default for name, one in OPTIONS.items() if one.group == "mqtt"}
    values |= {name: _for_camera(values[name], table.name) for name in ("save_video", "save_image")}
    values |= _without_use(values | own) | own
    try:
        config = config_of(values)
        refuse_contradictions(config)
    except ValueError as error:
        message = f"camera {table.name!r}: {error}"
        if table.origin.rank == 1:
            raise ConfigError(f"{table.origin.origin}: {message}") from error
        raise DataError(message) from error
    return config


def _without_use(values: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults for options that mean nothing to a camera: those about files that it does not write."""
    from ..sources.password import takes_password

    needed = {
        "password_file": takes_password(values["source"]),
        "append": bool(values["jsonl"]),
        "force": any(values[name] for name in ("jsonl", "save_video", "save_image")),
        "keep_files": any(values[name] for name in ("jsonl", "save_video")),
    }
    return {name: OPTIONS[name].default for name, used in needed.items() if not used}


def _for_camera(target: str | None, name: str) -> str | None:
    """The file of one camera where all were given the same: its name is added; a folder takes them all."""
    if target is None or is_folder(target):
        return target
    path, plain = Path(target), re.sub(r"[^\w.-]+", "-", name).strip("-")
    return str(path.with_stem(f"{path.stem}-{plain}"))
