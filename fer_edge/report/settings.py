"""Models, versions and options of runs in words, and the devices, cameras and runs they apply to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..errors import counted
from .content_types import Content

Said = TypeVar("Said", str, tuple[tuple[str, str], ...])


def by_settings(content: Content, said: Callable[[Mapping[str, Any]], Said]) -> list[tuple[str, Said]]:
    """What is ``said`` of the settings of each source, once for all of a device of which the same is said.

    Each is preceded by the device it applies to, with cameras and runs where something else is said of
    others, or nothing is known of them.
    """
    sources = content.material.sources
    devices: dict[str, list[int]] = {}
    found: dict[tuple[str, Said], list[int]] = {}
    for code in np.flatnonzero(content.material.used).tolist():
        source = sources[code]
        devices.setdefault(source.device, []).append(code)
        if source.settings:
            found.setdefault((source.device, said(source.settings)), []).append(code)
    return [(_where(content, codes, devices[device]), told) for (device, told), codes in found.items()]


def _where(content: Content, codes: Sequence[int], of_device: Sequence[int]) -> str:
    """The name of the device of some of its sources, with their cameras and runs where it has others."""
    sources = content.material.sources
    mine, whole = ([sources[code] for code in some] for some in (codes, of_device))
    cameras, runs = list(dict.fromkeys(one.camera for one in mine)), {one.run for one in mine}
    name = mine[0].device
    if set(cameras) != {one.camera for one in whole}:
        name += f" / {', '.join(cameras) if len(cameras) < 4 else f'{len(cameras)} cameras'}"
    if runs != {one.run for one in whole}:
        began = content.moment(_began(content, codes))
        name += f" ({counted(len(runs), 'run')} from {began.day} {began:%B %Y %H:%M})"
    return name


def _began(content: Content, codes: Sequence[int]) -> int:
    """When the first row of these sources began."""
    material = content.material
    rows = (
        table.began[np.isin(table.source, codes)]
        for table in (material.people, material.minutes, material.gaps)
    )
    return int(np.concatenate(list(rows)).min())


def labels_of(start: Mapping[str, Any]) -> str:
    """The question that the model of a start record answers; those of early versions name none."""
    model = start.get("model")
    return str(model.get("labels", "fer2013")) if isinstance(model, dict) else ""


def versions_of(start: Mapping[str, Any]) -> str:
    """Model and version of a start record."""
    model = start.get("model") or {}
    words = [
        " ".join(str(model[key]) for key in ("name", "precision", "backend") if model.get(key)),
        f"labels of {model['labels']}" if model.get("labels") else "",
        f"fer-edge {start['version']}" if start.get("version") else "",
    ]
    return ", ".join(word for word in words if word) or "not known"


def options_of(start: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The options of a start record that are not off, with their values as JSON."""
    return tuple(
        (name, json.dumps(value))
        for name, value in (start.get("options") or {}).items()
        if value not in (None, False, [], "")
    )
