"""Whatever a report can be made of, as one material."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..sources.urls import without_secrets
from ..store.clock import milliseconds
from ..store.postgresql import is_postgresql
from .from_parquet import is_folder_of_tables, read_parquet
from .from_store import read_store
from .lines import read_lines
from .material import Material, joined
from .progress import Progress

_SQLITE = b"SQLite format 3\0"


def read(
    sources: Sequence[str | os.PathLike[str]],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    device: str | None = None,
    camera: str | None = None,
    progress: Progress | None = None,
) -> Material:
    """Return what stores, JSON lines and folders of Parquet hold together, of what began in that time.

    Raises :class:`~fer_edge.errors.DataError` for a source that is given twice, cannot be read, or is none of
    these, and for a device or camera that is not there.
    """
    progress = progress or Progress()
    _refuse_twice(sources)
    parts: list[Material] = []
    lines: list[Path] = []
    for source in sources:
        path = Path(source)
        if is_postgresql(os.fspath(source)):
            parts.append(read_store(source, since, until, progress, device))
        elif not path.exists():
            raise DataError(f"{path}: no such file or folder")
        elif path.is_dir():
            parts.append(_read_folder(path, progress))
        elif _begins(path).startswith(_SQLITE):
            parts.append(read_store(path, since, until, progress, device))
        else:
            lines.append(path)
    if lines:
        parts.append(read_lines(lines, progress))
    progress.end()
    whole = joined(parts)
    _check_names(whole, device, camera)
    chosen = whole.select(
        None if since is None else milliseconds(since),
        None if until is None else milliseconds(until),
        device=device,
        camera=camera,
    )
    return _without_unused(chosen)


def _read_folder(path: Path, progress: Progress) -> Material:
    if is_folder_of_tables(path):
        return read_parquet(path, progress)
    files = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")])
    if not files:
        raise DataError(
            f"{path}: neither a folder of Parquet (people.parquet, minutes.parquet) nor of .jsonl files"
        )
    return read_lines(files, progress)


def _refuse_twice(sources: Sequence[str | os.PathLike[str]]) -> None:
    known: set[Path] = set()
    for source in sources:
        path = Path(source).resolve()
        if path in known:
            name = without_secrets(os.fspath(source))
            raise DataError(f"{name}: given twice; its people would count twice")
        known.add(path)


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            begins = stream.read(len(_SQLITE))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not begins:
        raise DataError(f"{path}: an empty file, neither a store nor JSON lines")
    return begins


def _check_names(material: Material, device: str | None, camera: str | None) -> None:
    for what, wanted in (("device", device), ("camera", camera)):
        names = sorted({str(getattr(source, what)) for source in material.sources})
        if wanted is not None and wanted not in names:
            raise DataError(
                f"--{what} {wanted}: there is none of that name; there are: {', '.join(names) or 'none'}"
            )


def _without_unused(material: Material) -> Material:
    """The material without sources of which nothing is left, so that the page does not name them."""
    used = sorted(
        {
            code
            for table in (material.people, material.minutes, material.gaps)
            for code in set(table.source.tolist())
        }
    )
    names = {str(material.sources[code].device) for code in used}
    settings = {name: told for name, told in material.settings.items() if name in names and told}
    material = replace(material, settings=settings)
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
