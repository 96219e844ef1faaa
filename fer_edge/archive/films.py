"""Which films an archive has: files, folders, patterns, lists, and what lies in object stores."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError, MissingExtraError
from ..sources.urls import is_url, without_secrets

_log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "divx", "flv", "m2ts", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4", "mpeg"),
        *("mpg", "mts", "mxf", "ogv", "ts", "vob", "webm", "wmv"),
    )
)
"""Of folders and patterns, files with these suffixes are films; one that is named is a film in any case."""

_TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")
"""What fsspec's file systems call the time of the last change."""


@dataclass(frozen=True)
class Film:
    """A film of an archive."""

    location: str
    """Absolute path without ``..``, or URL with whatever secrets it has."""
    size: int
    """Bytes."""
    modified: float | None = None
    """When it was last changed, in seconds since 1970, where that is known."""
    began: float | None = None
    """When it began, in seconds since 1970, where a list says so."""
    source: str = ""
    """What filmed it: as a list says, else the name of its folder."""

    @property
    def path(self) -> str:
        """Its path or URL without secrets, as tables and messages have it."""
        return without_secrets(self.location)

    @property
    def id(self) -> str:
        """Names its files: 16 hexadecimal digits of its path."""
        return film_id(self.path)

    @property
    def remote(self) -> bool:
        """Whether it has to be fetched."""
        return is_url(self.location)


def film_id(path: str) -> str:
    """16 hexadecimal digits of a film's path or URL; those of a path with ``..`` are of the film's own."""
    if not is_url(path) and ".." in Path(path).parts:
        path = os.fspath(_absolute(Path(path)))
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True)
class _Named:
    """A line of a list, or an argument."""

    text: str
    began: float | None = None
    source: str = ""


def find_films(inputs: Iterable[str], lists: Iterable[str] = ()) -> list[Film]:
    """Return the films that ``inputs`` name, each once, in their order.

    An input is a file, a folder (with all below it), a pattern with ``*``, ``?`` or ``[``, a URL of one of
    these that fsspec reads, or ``@FILE``: a list. ``lists``: more of those. A list has an input a line,
    behind a tab maybe when the film began (ISO 8601; UTC unless it says otherwise), behind another tab its
    source; lines that begin with ``#`` and empty ones are left out.

    Raises :class:`~fer_edge.errors.DataError` for what does not exist, for a bad list, and where a film is
    listed with two begins or sources,
    :class:`~fer_edge.errors.MissingExtraError` where a URL needs packages that are not installed.
    """
    found: dict[str, Film] = {}
    began: dict[str, float] = {}
    sources: dict[str, str] = {}
    named = [_Named(text) for text in inputs if not text.startswith("@")]
    for path in [*(text[1:] for text in inputs if text.startswith("@")), *lists]:
        named += _listed(Path(path))
    for one in named:
        for film in _films(one.text):
            path = film.path
            found.setdefault(path, film)
            if one.began is not None and began.setdefault(path, one.began) != one.began:
                times = " and at ".join(map(_written, (began[path], one.began)))
                raise DataError(f"{path}: is listed as begun at {times}; leave one out")
            if one.source and sources.setdefault(path, one.source) != one.source:
                raise DataError(
                    f"{path}: is listed with the sources {sources[path]!r} and {one.source!r}; leave one out"
                )
    if not found:
        raise DataError(f"no film in {', '.join(one.text for one in named) or 'an empty list'}")
    return [
        replace(film, began=began.get(path), source=sources.get(path, film.source))
        for path, film in found.items()
    ]


def _listed(path: Path) -> Iterator[_Named]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a list of films: {error.strerror}") from error
    # Other characters that splitlines takes for ends of lines may stand in names.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition("\t")
        moment, _, source = rest.partition("\t")
        began = None
        if moment.strip():
            try:
                began = _moment(moment.strip())
            except ValueError as error:
                raise DataError(
                    f"{path}, line {number}: {moment[:40]!r} is not a time such as 2026-11-26T12:30:00"
                ) from error
        _check_source(source.strip(), f"{path}, line {number}")
        # A relative name is one beside the list.
        yield _Named(name if is_url(name) else str(path.parent / name), began, source.strip())


def _check_source(source: str, where: str) -> None:
    if source and (set(source) & set("/=\0") or source in (".", "..")):
        raise DataError(f"{where}: the source {source!r} names a folder of the tables; leave out / and =")


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _films(text: str) -> Iterator[Film]:
    if is_url(text):
        yield from _remote(text)
        return
    path = Path(text)
    if path.is_dir():
        paths = sorted(_films_below(path))
    elif not path.exists() and glob.has_magic(text):
        matches = glob.glob(text, recursive=True)  # noqa: PTH207 (of an absolute pattern, too)
        found = (Path(one) for one in sorted(matches))
        paths = [file for file in found if _is_film(file.name) and file.is_file()]
        if not paths:
            raise DataError(f"{text}: no film matches")
    else:
        paths = [path]
    for file in paths:
        try:
            told = file.stat()
        except OSError as error:
            raise DataError(f"{file}: {error.strerror}") from error
        if not stat.S_ISREG(told.st_mode):
            raise DataError(f"{file}: is neither a file nor a folder")
        absolute = _absolute(file)
        source = absolute.parent.name or "films"
        yield Film(os.fspath(absolute), told.st_size, told.st_mtime, source=source)


def _absolute(file: Path) -> Path:
    """The absolute path of ``file`` without ``..``; links stay in it, as their names may be the source."""
    absolute = Path(os.path.abspath(file))  # noqa: PTH100 (without following links)
    # Behind a link to a folder, .. is the folder around the one that it leads to.
    same = absolute.exists() and absolute.samefile(file)
    return absolute if same else file.parent.resolve() / file.name


def _films_below(folder: Path) -> Iterator[Path]:
    """Yield the films in and below ``folder``; warns of what cannot be read."""

    def told(error: OSError) -> None:
        _log.warning("%s: left out: %s", error.filename, error.strerror)

    for inside, _, names in os.walk(folder, onerror=told):
        for name in filter(_is_film, names):
            file = Path(inside, name)
            if file.is_file():
                yield file
            elif file.is_symlink():
                _log.warning("%s: left out: a link to no file", file)


def _is_film(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def file_system(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a ``url``, and the path in it.

    Raises :class:`~fer_edge.errors.MissingExtraError` without fsspec, :class:`~fer_edge.errors.DataError`
    where it does not know such URLs, lacks a package for them, or is refused.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError("reading from an object store", "fsspec", "archive") from error
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise DataError(f"{without_secrets(url)}: {error}") from error
    except Exception as error:
        # Each kind of store has errors of its own, from libraries that are not imported here.
        raise DataError(f"{without_secrets(url)}: cannot be reached: {error}") from error
    return system, path


def _remote(url: str) -> Iterator[Film]:
    system, path = file_system(url)
    shown = without_secrets(url)
    start = url[: len(url) - len(path.lstrip("/"))] if url.endswith(path.lstrip("/")) else None
    try:
        is_pattern = glob.has_magic(path) and not system.exists(path)
        if is_pattern:
            found = _films_among(system.glob(path, detail=True))
        elif system.isdir(path):
            found = _films_among(system.find(path, detail=True))
        else:
            found = [system.info(path)]
    except FileNotFoundError as error:
        raise DataError(f"{shown}: does not exist") from error
    except Exception as error:
        raise DataError(f"{shown}: cannot be listed: {error}") from error
    if is_pattern and not found:
        raise DataError(f"{shown}: no film matches")
    for one in sorted(found, key=lambda one: str(one["name"])):
        if one.get("type") == "directory":
            continue
        name = str(one["name"])
        location = f"{start}{name.lstrip('/')}" if start is not None else system.unstrip_protocol(name)
        source = PurePosixPath(name).parent.name or "films"
        yield Film(location, int(one.get("size") or 0), _time_of(one), source=source)


def _films_among(listed: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in listed.values() if _is_film(PurePosixPath(one["name"]).name)]


def _time_of(told: dict[str, Any]) -> float | None:
    for name in _TIMES:
        value = told.get(name)
        if isinstance(value, datetime):
            return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return None
