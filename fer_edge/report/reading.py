"""Reads everything that a report can be made of, as one material."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from ..errors import DataError, printable
from ..sources.urls import without_secrets
from ..store.clock import milliseconds
from ..store.postgresql import is_postgresql, open_store
from .from_parquet import is_folder_of_tables, read_parquet
from .from_store import read_store
from .lines import read_lines
from .material import Material, joined
from .naming import called
from .progress import Progress

_SQLITE = b"SQLite format 3\0"


def read(
    sources: Sequence[str | os.PathLike[str]],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    devices: Collection[str] | None = None,
    cameras: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Material:
    """Return what stores, JSON lines and folders of Parquet hold together, of what began in that time.

    ``devices``, ``cameras``: only what is of these; ``None`` stands for all.

    Raises :class:`~fer_edge.errors.DataError` for a source that is given twice, also as a copy, cannot be
    read, or is none of these, and for a device or camera that is not there.
    """
    progress = progress or Progress()
    found = _sources(sources)
    _refuse_twice(found)
    lines = [one for one in found if isinstance(one, Path) and not one.is_dir() and not _is_store(one)]
    parts: list[_Part] = []
    for one in found:
        if isinstance(one, Path) and one.is_dir():
            parts.append(_Part(one, read_parquet(one, progress)))
        elif one not in lines:
            parts.append(_read_store(one, since, until, progress, devices))
    _refuse_copies(parts)
    if lines:
        parts.append(_Part(None, read_lines(lines, progress)))
    progress.end()
    whole = joined(_told_apart(parts))
    _check_names(whole, "device", devices)
    _check_names(whole, "camera", cameras)
    chosen = whole.select(
        None if since is None else milliseconds(since),
        None if until is None else milliseconds(until),
        devices=devices,
        cameras=cameras,
    )
    return _without_unused(chosen)


@dataclass(frozen=True, eq=False)
class _Part:
    """What a store or a folder of Parquet holds, or all JSON lines together."""

    place: Path | str | None
    """A file or folder, the URL of a database; None: JSON lines, which are called by their files already."""
    material: Material
    ids: Mapping[str, str] = field(default_factory=dict)
    """Of a store its devices' ids, by their names."""


def _read_store(
    place: Path | str,
    since: datetime | None,
    until: datetime | None,
    progress: Progress,
    devices: Collection[str] | None,
) -> _Part:
    with open_store(os.fspath(place)) as store:
        ids = {one.name: one.uuid for one in store.devices()}
    try:
        return _Part(place, read_store(place, since, until, progress, devices), ids)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{_named(place)}: damaged: {error}") from error


def _named(place: Path | str) -> str:
    return without_secrets(os.fspath(place))


def _sources(sources: Sequence[str | os.PathLike[str]]) -> list[Path | str]:
    """The sources, URLs as text, with the files of folders of JSON lines instead of those."""
    found: list[Path | str] = []
    for source in sources:
        if is_postgresql(os.fspath(source)):
            found.append(os.fspath(source))
            continue
        path = Path(source)
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        if not path.is_dir():
            if not path.is_file():
                raise DataError(f"{path}: is neither a file nor a folder")
            found.append(path)
        elif is_folder_of_tables(path):
            found.append(path)
        else:
            files = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")])
            if not files:
                raise DataError(
                    f"{path}: neither a folder of Parquet (people.parquet, minutes.parquet) nor of .jsonl "
                    "files"
                )
            found += files
    return found


def _refuse_twice(places: Sequence[Path | str]) -> None:
    known: set[object] = set()
    for place in places:
        key: object = place
        if isinstance(place, Path):
            status = place.stat()
            key = (status.st_dev, status.st_ino)
        if key in known:
            raise DataError(f"{_named(place)}: given twice; its people would count twice")
        known.add(key)


def _refuse_copies(parts: Sequence[_Part]) -> None:
    """Raise DataError where two stores have the same rows: those of a device are numbered."""
    known: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    ids = [one for part in parts for one in part.ids.values()]
    for part in parts:
        if part.place is None or not any(ids.count(one) > 1 for one in part.ids.values()):
            continue
        name_of_part = _named(part.place)
        with open_store(os.fspath(part.place)) as store:
            for table in ("visits", "minutes"):
                rows = store.totals(table, {"first": "min(seq)", "last": "max(seq)"})
                for name, one in part.ids.items():
                    own = [row for (device, _), row in rows.items() if device == name]
                    if not own:
                        continue
                    first, last = min(row["first"] for row in own), max(row["last"] for row in own)
                    for other_first, other_last, other in known.get((one, table), ()):
                        if first <= other_last and other_first <= last:
                            raise DataError(
                                f"{name_of_part}: has the same {table} as {other}, so it is a copy; its "
                                "people would count twice"
                            )
                    known.setdefault((one, table), []).append((first, last, name_of_part))


def _told_apart(parts: Sequence[_Part]) -> list[Material]:
    """The materials; devices of one name in several are told apart by their files.

    Stores number their runs and people from 1 on: those of two stores would be merged.
    """
    known: dict[str, set[str]] = {}
    for part in parts:
        for source in part.material.sources:
            known.setdefault(source.device, set()).add(part.ids.get(source.device, str(part.place)))
    alike = {device for device, ids in known.items() if len(ids) > 1}
    paths = [part.place.resolve() for part in parts if isinstance(part.place, Path)]
    found = []
    for part in parts:
        names: dict[str, str] = {}
        if part.place is not None:
            ending = _named(part.place)
            if isinstance(part.place, Path):
                ending = called(part.place.resolve(), paths).removesuffix(part.place.suffix)
            own = {source.device for source in part.material.sources}
            names = {device: f"{device} ({ending})" for device in own & alike}
        found.append(part.material.with_devices(names))
    if alike:
        told = tuple(
            printable(
                f"Several sources name their device {device}: each counts as a separate one, named after its "
                "file."
            )
            for device in sorted(alike)
        )
        found.append(Material(told=told))
    return found


def _is_store(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            begins = stream.read(len(_SQLITE))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not begins:
        raise DataError(f"{path}: an empty file, neither a store nor JSON lines")
    return begins == _SQLITE


def _check_names(material: Material, what: str, wanted: Collection[str] | None) -> None:
    names = sorted({str(getattr(source, what)) for source in material.sources})
    for one in wanted or ():
        if one not in names:
            raise DataError(
                f"--{what} {one}: there is none of that name; there are: {', '.join(names) or 'none'}"
            )


def _without_unused(material: Material) -> Material:
    """The material without sources of which nothing is left, so that the page does not name them."""
    used = np.flatnonzero(material.used).tolist()
    if len(used) == len(material.sources):
        return material
    number = np.full(max(len(material.sources), 1), -1, np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    return replace(
        material,
        sources=tuple(material.sources[code] for code in used),
        people=material.people.with_columns(source=number[material.people.source]),
        minutes=material.minutes.with_columns(source=number[material.minutes.source]),
        gaps=material.gaps.with_columns(source=number[material.gaps.source]),
    )
