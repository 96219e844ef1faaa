"""Films that lie elsewhere, fetched to a small folder that the workers of a machine share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .films import Film, file_system

_POLL = 0.2
"""Seconds between two checks whether another worker has released a film."""

_AT_ONCE = 1 << 22


class Objects:
    """Fetches films into ``folder``, which holds no more than ``limit`` bytes of them.

    A film in use is locked by an open file beside it, which the kernel releases for a killed process. If one
    does not fit, unused ones are removed, the least recently used first.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self._given, self._limit = folder, limit
        self._folder: Path | None = None

    @contextlib.contextmanager
    def local(self, film: Film) -> Iterator[Path]:
        """Give the path of ``film``, fetched if necessary; it stays there while the context lasts.

        Raises :class:`~fer_edge.errors.DataError` where it is larger than the limit or was removed meanwhile,
        ``OSError`` where it cannot be fetched.
        """
        if not film.remote:
            yield Path(film.location)
            return
        if film.size > self._limit:
            raise DataError(
                f"{film.path}: has {film.size / 1e9:.1f} GB, more than the {self._limit / 1e9:.1f} GB of "
                "--scratch-size; give a larger one"
            )
        folder = self._folder = self._folder or self._made()
        target = folder / f"{film.id}{Path(film.path).suffix}"
        with _shared(folder / f"{film.id}.lock"):
            with _alone(folder / f"{film.id}.fetch"):
                if not (target.exists() and film.size in (0, target.stat().st_size)):
                    self._fetch(film, target, folder)
            os.utime(target)
            yield target

    def close(self) -> None:
        """Remove the folder, once no worker needs it any more."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _made(self) -> Path:
        folder = Path(self._given)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _fetch(self, film: Film, target: Path, folder: Path) -> None:
        temporary = target.with_name(f"{film.id}.part")
        with _alone(folder / "room"):
            while not self._make_room(film.size, folder, but=film.id):
                time.sleep(_POLL)
            # Takes its room at once, so that other workers count it.
            with temporary.open("wb") as stream:
                os.truncate(stream.fileno(), film.size)
        system, path = file_system(film.location)
        try:
            with system.open(path, "rb") as source, temporary.open("r+b") as stream:
                shutil.copyfileobj(source, stream, _AT_ONCE)
                stream.truncate()
            temporary.replace(target)
        except FileNotFoundError as error:
            raise DataError(f"{film.path}: was removed since it was listed") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, size: int, folder: Path, but: str) -> bool:
        """Remove unused films until ``size`` bytes fit; returns whether they do."""
        files = [
            (file.stat().st_mtime, file.stat().st_size, file)
            for file in folder.iterdir()
            if file.suffix not in (".lock", ".fetch") and file.name != "room"
        ]
        total = sum(one[1] for one in files)
        for _, has, file in sorted(files):
            if total + size <= self._limit:
                break
            if file.stem != but and _free(folder / f"{file.stem}.lock"):
                file.unlink(missing_ok=True)
                total -= has
        return total + size <= self._limit


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def _shared(path: Path) -> Iterator[None]:
    yield from _locked(path, fcntl.LOCK_SH)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    yield from _locked(path, fcntl.LOCK_EX)


def _locked(path: Path, how: int) -> Iterator[None]:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _free(path: Path) -> bool:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
