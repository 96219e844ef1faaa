"""What of a configuration can change while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .schema import OF_WATCH, OPTIONS, Config


@dataclass(frozen=True)
class Reloaded:
    """What a run goes on with after its configuration was read again."""

    config: Config
    """The one before, with what has changed and needs no restart."""
    changed: tuple[str, ...]
    """Options that differ from before."""
    left: tuple[str, ...]
    """Options that are to be others, but need a restart."""


def reloaded(running: Config, wanted: Config) -> Reloaded:
    """Change as much of a ``running`` configuration into the ``wanted`` one as a run that goes on can."""
    new = _own_reloaded(running, wanted)
    cameras = running.cameras
    if [camera.name for camera in cameras] != [camera.name for camera in wanted.cameras]:
        return replace(new, left=(*new.left, "camera"))
    changed, left = [*new.changed], [*new.left]
    kept = []
    for before, after in zip(cameras, wanted.cameras, strict=True):
        own = reloaded(before.config, after.config)
        kept.append(replace(before, config=own.config))
        changed += [f"{before.name}: {name}" for name in own.changed if name not in changed]
        left += [f"{before.name}: {name}" for name in own.left if name not in left]
    return Reloaded(replace(new.config, cameras=tuple(kept)), tuple(changed), tuple(left))


def _own_reloaded(running: Config, wanted: Config) -> Reloaded:
    """The same, of all that is not of one camera."""
    differing = [name for name in OPTIONS if _value(running, name) != _value(wanted, name)]
    changed = [name for name in differing if OPTIONS[name].reloads]
    left = [name for name in differing if not OPTIONS[name].reloads]
    watch = replace(running.watch, **{name: _value(wanted, name) for name in changed if name in OF_WATCH})
    own: dict[str, Any] = {name: _value(wanted, name) for name in changed if name not in OF_WATCH}
    return Reloaded(replace(running, **own, watch=watch), tuple(changed), tuple(left))


def _value(config: Config, name: str) -> Any:
    return getattr(config.watch if name in OF_WATCH else config, name)
