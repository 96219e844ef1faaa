"""The time zone in which a report tells times."""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from ..errors import DataError


def zone_named(name: str | None = None) -> tzinfo:
    """Return the zone called ``name``, by default this machine's, UTC where it is not known.

    Raises :class:`~fer_edge.errors.DataError` for a name that is none.
    """
    if name is None:
        return _own()
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise DataError(
            f"--zone {name}: no such time zone; expected a name such as Europe/Berlin or UTC"
        ) from error


def _own() -> tzinfo:
    for name in (os.environ.get("TZ", "").lstrip(":"), _linked()):
        if name:
            try:
                return zone_named(name)
            except DataError:
                continue
    return UTC


def _linked() -> str:
    """The name of the zone that /etc/localtime leads to."""
    path = Path("/etc/localtime")
    return str(path.resolve()).partition("zoneinfo/")[2] if path.is_symlink() else ""
