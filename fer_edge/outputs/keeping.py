"""Keeping what an output writes within limits of size, age and free space: the oldest of its files go first.

Only regular files are deleted that lie beside the output's own and have its name with a time in it, as
``door-20261126T123000Z.mkv``; never the one that is being written.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..defaults import KEEP_FREE
from ..option import FileLimit

TRUST_AFTER = 600.0
"""Seconds without a jump of the clock after which files and rows are deleted for their age: a wrong clock at
boot has been put right by then."""

_JUMP = 60.0
"""Seconds by which the clock differs from the monotonic one to count as set."""
_LOOK_EVERY = 3600.0
_LOOK_AGAIN = 5.0
"""Seconds between two looks where nothing is left to delete."""
_PARTS = 4
"""Files that make up the size that is kept, at least."""
_DAY = 86400.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What an output may keep."""

    size: int | None = None
    """Bytes of all its files, the one being written included."""
    age: float | None = None
    """Seconds since a file was written last."""
    free: int = KEEP_FREE
    """Bytes that others find free on the disk."""

    @classmethod
    def of(cls, given: Collection[FileLimit], free: int) -> Limits | None:
        """The limits of the options ``--keep-files`` and ``--keep-free``; ``None`` where there are none."""
        sizes = [limit.size for limit in given if limit.size is not None]
        ages = [limit.seconds for limit in given if limit.seconds is not None]
        return cls(min(sizes, default=None), min(ages, default=None), free) if sizes or ages else None


def dated(path: Path, moment: datetime) -> Path:
    """``path`` with a moment, of UTC, in its name."""
    return path.with_stem(f"{path.stem}-{moment:%Y%m%dT%H%M%SZ}")


def numbered(path: Path) -> Path:
    """``path``, or with the first number from 2 in its name with which it does not exist."""
    names = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([path], names) if not os.path.lexists(name))


class Keeper:
    """Deletes the oldest files of one output.

    ``name``: what messages call the output. ``path``: the name that its files have but for the time in it.
    ``usual``: bytes after which the output begins a new file.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        limits: Limits,
        usual: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._folder, self._limits = name, path.resolve().parent, limits
        self._pattern = re.compile(rf"{re.escape(path.stem)}-\d{{8}}T\d{{6}}Z(-\d+)?{re.escape(path.suffix)}")
        self.largest = usual if limits.size is None else min(usual, limits.size // _PARTS)
        """Bytes after which a new file has to begin, so that all stay within the limit."""
        self._clock, self._wall = clock, wall
        self._offset = wall() - clock()
        self._jumped = False
        self._trusted_at = clock() + TRUST_AFTER
        self._look_at = clock()
        self._look_again_at = clock()
        self._told = False

    def look(self, writing: Path | None) -> None:
        """Delete where that is due; called often, at least once a second. ``writing``: the file that is."""
        self._follow_clock()
        now = self._clock()
        if now >= self._look_at or (now >= self._look_again_at and self._is_low()):
            self.tidy(writing)

    def tidy(self, writing: Path | None) -> None:
        """Delete what is too much; called before a file is begun, so that there is room for it."""
        self._follow_clock()
        now = self._clock()
        self._look_at = now + _LOOK_EVERY
        self._tidy(writing, aged=now >= self._trusted_at)

    def end(self, writing: Path | None) -> None:
        """Delete at the end of a run, also of one that was too short for :data:`TRUST_AFTER`."""
        self._follow_clock()
        self._tidy(writing, aged=not self._jumped or self._clock() >= self._trusted_at)

    def _tidy(self, writing: Path | None, aged: bool) -> None:
        files = self._files(writing)
        total = sum(size for _, _, size in files)
        for written, path, size in files:
            reason = self._reason(written, total, aged)
            if reason is None:
                break
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._warn(f"{path}: cannot be deleted: {error.strerror}")
                break
            _log.info("%s: %s deleted, %.1f MB: %s", self._name, path, size / 1e6, reason)
            total -= size
        if not self._is_low():
            self._told = False
            return
        self._look_again_at = self._clock() + _LOOK_AGAIN
        self._warn(f"less than {self._limits.free / 1e6:.0f} MB are free, and nothing old is left to delete")

    def _reason(self, written: float, total: int, aged: bool) -> str | None:
        """Why a file is to go that was ``written`` last then, where all have ``total`` bytes."""
        limits = self._limits
        if aged and limits.age is not None and self._wall() - written > limits.age:
            return f"older than {limits.age / _DAY:g} days"
        if limits.size is not None and total > limits.size - self.largest:
            return f"{limits.size / 1e9:g} GB are kept"
        return f"less than {limits.free / 1e6:.0f} MB were free" if self._is_low() else None

    def _files(self, writing: Path | None) -> list[tuple[float, Path, int]]:
        """Time, path and size of each file that may go, oldest first."""
        own = writing.resolve() if writing else None
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    path = self._folder / entry.name
                    if self._pattern.fullmatch(entry.name) and path != own:
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            found.append((status.st_mtime, path, status.st_size))
        except OSError as error:
            # Whoever writes there will report more.
            self._warn(f"{self._folder}: {error.strerror}")
        return sorted(found)

    def _is_low(self) -> bool:
        try:
            return shutil.disk_usage(self._folder).free < self._limits.free
        except OSError:
            return False

    def _follow_clock(self) -> None:
        offset = self._wall() - self._clock()
        if abs(offset - self._offset) > _JUMP:
            self._jumped = True
            self._trusted_at = self._clock() + TRUST_AFTER
        self._offset = offset

    def _warn(self, message: str) -> None:
        if not self._told:
            _log.warning("%s: %s", self._name, message)
        self._told = True
