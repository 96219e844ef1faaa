"""What runs of a name remember over restarts: what is paused, and the masks that were drawn. A JSON file."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FerEdgeError, shortened
from ..files import atomic_path, sync_folder
from ..option import Polygon, polygon_of

VERSION = 1

ANY = ""
"""Stands for cameras whose names are not known."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Memory:
    """What is remembered."""

    paused: frozenset[str] = frozenset()
    """Names of cameras; :data:`ANY` among them from a file that tells none."""
    masks: Mapping[str, tuple[Polygon, ...]] = field(default_factory=dict)
    """Drawn masks by name of the camera."""


_UNREADABLE = Memory(paused=frozenset([ANY]))
"""What a file stands for that cannot be read: it must not reveal what was paused or masked for privacy."""


def recall(path: Path) -> Memory:
    """Read what was remembered; a pause alone, with a warning, from a file that is not what it should be."""
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return Memory()
    except (OSError, ValueError, RecursionError) as error:
        told = error.strerror if isinstance(error, OSError) else shortened(str(error), 200)
        _log.warning("%s: ignored, so that drawn masks may be missing: %s", path, told)
        return _UNREADABLE


def remember(path: Path, change: Callable[[Memory], Memory]) -> None:
    """Write what ``change`` makes of what is remembered, in one step; a warning where that fails.

    Only this user can read it. Other runs of the name may have written since it was recalled, and lose
    nothing. A file that :func:`recall` cannot read, as that of a later version, is kept beside it.
    """
    try:
        with _alone(path.parent):
            memory = change(_known(path))
            content = {
                "version": VERSION,
                "paused": bool(memory.paused),
                "paused_cameras": sorted(memory.paused),
                "masks": dict(memory.masks),
            }
            with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
                stream.write(json.dumps(content, indent=1) + "\n")
                stream.flush()
                # After a loss of power, an empty file would tell of neither pause nor masks.
                os.fsync(stream.fileno())
            path.chmod(0o600)
            sync_folder(path.parent)
    except (OSError, FerEdgeError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else error
        _log.warning("%s: not written, so that a restart will forget this: %s", path, told)


def _read(path: Path) -> Memory:
    """Raises ``OSError``; ``ValueError`` or ``RecursionError`` for a file that is not what it should be."""
    return _memory_of(json.loads(path.read_text(encoding="utf-8")))


def _known(path: Path) -> Memory:
    """As :func:`recall`, in silence; content that is not what it should be is kept under another name."""
    try:
        return _read(path)
    except FileNotFoundError:
        return Memory()
    except OSError:
        return _UNREADABLE
    except (ValueError, RecursionError):
        kept = path.with_name(f"{path.name}.unread")
        # Copied, as without a file of this name a crash now would end the pause.
        with atomic_path(kept) as temporary:
            shutil.copyfile(path, temporary)
        kept.chmod(0o600)
        _log.warning("%s: its content, which this version cannot read, is kept in %s", path, kept.name)
        return _UNREADABLE


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other run is writing in ``folder``."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Where the file system has no locks, two runs write one after the other nearly always.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _memory_of(content: Any) -> Memory:
    """Check what a file holds; ``ValueError`` says what is wrong."""
    if not isinstance(content, dict) or content.get("version") != VERSION:
        version = content.get("version") if isinstance(content, dict) else None
        raise ValueError(f"version {version!r} where {VERSION} is known")
    paused, masks = content.get("paused", False), content.get("masks", {})
    if not isinstance(paused, bool) or not isinstance(masks, dict):
        raise ValueError("paused must be true or false, and masks an object")
    # A version that does not know it leaves it out.
    cameras = content.get("paused_cameras", [])
    if not isinstance(cameras, list) or not all(isinstance(camera, str) for camera in cameras):
        raise ValueError("paused_cameras must be a list of names")
    for camera, polygons in masks.items():
        if not isinstance(polygons, list):
            raise ValueError(f"the masks of {camera!r} are no list")
    return Memory(
        frozenset(cameras or [ANY]) if paused else frozenset(),
        {name: tuple(polygon_of(one) for one in many) for name, many in masks.items()},
    )
