"""Folders of labelled pictures: which files there are and what is said of each; the pictures stay unread."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, shortened
from ..labels import EMOTIONS
from .archives import open_csv
from .header import find_column, header_names, separator_of
from .table import table_rows
from .window import LINE_LIMIT

LIST_NAME = "labels.csv"
"""The file that says what the pictures of a folder show, where sub-folders do not."""

MOST_GROUPS = 20
"""Values of a column of :data:`LIST_NAME` above which they are not taken as groups of people."""

USAGES: Mapping[str, str] = {
    "train": "Training",
    "test": "PublicTest",
    "val": "PublicTest",
    "validation": "PublicTest",
    "Training": "Training",
    "PublicTest": "PublicTest",
    "PrivateTest": "PrivateTest",
}
"""Sub-folders that hold the emotions' folders, and the Usage that they stand for.

The folder ``test`` of Kaggle's images of FER-2013 holds those of PublicTest and PrivateTest, and nothing
tells them apart. Beside ``val`` or ``validation`` it is another, see :func:`usages_of`.
"""

_WITH_VALIDATION: Mapping[str, str] = {**USAGES, "test": "PrivateTest"}

_WANTED = (
    f"want sub-folders named {', '.join(EMOTIONS)}, or train/ and test/ with such ones in them, or a "
    f"{LIST_NAME} with the columns file and emotion"
)


@dataclass(frozen=True)
class PictureFolder:
    """The n labelled pictures of a folder, by name."""

    folder: Path
    files: tuple[Path, ...]
    labels: NDArray[np.int8]
    """(n,), codes of :data:`fer_edge.labels.EMOTIONS`."""
    usage: NDArray[np.str_] | None
    """(n,), ``Training``, ``PublicTest`` …; None where the folder does not say."""
    emotions: tuple[str, ...]
    """In the order of their codes, those that have a folder or a row, be it an empty folder."""
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """By column of :data:`LIST_NAME`, of each picture (n,) to which group it belongs."""
    notes: tuple[str, ...] = ()
    """Which columns are no groups, and why."""


def usages_of(parts: Collection[str]) -> Mapping[str, str]:
    """The Usage that each name of :data:`USAGES` stands for in a data set with these ``parts``.

    Beside a part to validate on, ``test`` is kept for the end: it neither selects nor checks a model.
    """
    return USAGES if {"val", "validation"}.isdisjoint(parts) else _WITH_VALIDATION


def list_pictures(folder: str | os.PathLike[str]) -> PictureFolder:
    """List the labelled pictures of ``folder``, which has one of three forms:

    - ``happy/*.jpg``: sub-folders named after the emotions, as in Kaggle's images of FER-2013;
    - ``train/happy/*.jpg``: such folders in folders of :data:`USAGES`, see :func:`usages_of`;
    - ``labels.csv`` with the columns ``file`` (a path from ``folder``) and ``emotion`` (a name), maybe
      ``Usage``, and others, each of which puts the pictures into groups.

    Raises :class:`~fer_edge.errors.DataError` for another form, an emotion that is none, or is a link to
    where this user may not look, a file that is missing or listed twice, with the line of ``labels.csv``,
    counted from 1 with the header.
    """
    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"{place}: no such folder; {_WANTED}")
    return _listed(place) if (place / LIST_NAME).exists() else _in_sub_folders(place)


def _in_sub_folders(folder: Path) -> PictureFolder:
    found = _sub_folders(folder)
    usages = [path for path in found if path.name in USAGES]
    if usages and len(usages) < len(found):
        others = ", ".join(path.name for path in found if path not in usages)
        raise DataError(f"{folder}: has {usages[0].name} beside {others}; {_WANTED}")
    files: list[Path] = []
    labels: list[int] = []
    parts: list[str] = []
    emotions = set()
    for part in usages or [folder]:
        for path in _emotion_folders(part):
            entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
            files += entries
            labels += [EMOTIONS.index(path.name)] * len(entries)
            parts += [part.name] * len(entries)
            emotions.add(path.name)
    # A part without pictures has nothing to validate on.
    meanings = usages_of(set(parts))
    usage = [meanings.get(part, "") for part in parts]
    return PictureFolder(
        folder,
        tuple(files),
        np.array(labels, np.int8),
        np.array(usage, np.str_) if usages else None,
        _ordered(emotions),
    )


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and _is_folder(path))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        # A whole emotion would be missing. Other names are left out, as those of files are.
        if path.name in EMOTIONS or path.name in USAGES:
            raise DataError(f"{path}: {error.strerror}") from error
        return False


def _emotion_folders(folder: Path) -> list[Path]:
    found = _sub_folders(folder)
    unknown = [path.name for path in found if path.name not in EMOTIONS]
    if unknown:
        raise DataError(f"{folder}: {', '.join(unknown)} is no emotion; use {', '.join(EMOTIONS)}")
    if not found:
        raise DataError(f"{folder}: has no sub-folders; {_WANTED}")
    return found


def _ordered(emotions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(emotions, key=EMOTIONS.index))


def _listed(folder: Path) -> PictureFolder:
    with open_csv(folder / LIST_NAME) as (stream, name):
        line = stream.readline(LINE_LIMIT)
        header = header_names(line, name)
        file_at, emotion_at = (find_column(header, wanted, name) for wanted in ("file", "emotion"))
        usage_at = find_column(header, "usage", name) if "usage" in map(str.lower, header) else None
        others = [at for at in range(len(header)) if at not in (file_at, emotion_at, usage_at)]
        for at in others:
            # An index column of pandas has no name, and is one picture's own.
            if header[at]:
                find_column(header, header[at], name)
        table = table_rows(stream, len(header), name, "line", 2, separator_of(line))
        rows = list(_pictures(table, folder, file_at, emotion_at))
    if not rows:
        raise DataError(f"{name}: no rows after the header")
    columns = {at: np.array([fields[at].strip() for _, _, fields in rows], np.str_) for at in others}
    groups, notes = _groups(name, header, columns)
    codes = [code for _, code, _ in rows]
    return PictureFolder(
        folder,
        tuple(path for path, _, _ in rows),
        np.array(codes, np.int8),
        None if usage_at is None else np.array([fields[usage_at].strip() for _, _, fields in rows], np.str_),
        _ordered({EMOTIONS[code] for code in codes}),
        groups,
        notes,
    )


def _groups(
    name: str, header: Sequence[str], columns: Mapping[int, NDArray[np.str_]]
) -> tuple[dict[str, NDArray[np.str_]], tuple[str, ...]]:
    """The columns that are groups, by their names, and notes on those that are not."""
    groups, notes = {}, []
    for at, values in columns.items():
        distinct = len(np.unique(values))
        if not header[at]:
            notes.append(f"{name}: column {at + 1} has no name: not taken as groups")
        elif distinct > MOST_GROUPS:
            notes.append(
                f"{name}: column {shortened(header[at], 40)!r} has {distinct} different values, more than "
                f"{MOST_GROUPS}: not taken as groups"
            )
        else:
            groups[header[at]] = values
    return groups, tuple(notes)


def _pictures(
    rows: Iterator[tuple[str, list[str]]], folder: Path, file_at: int, emotion_at: int
) -> Iterator[tuple[Path, int, list[str]]]:
    lines: dict[str, str] = {}
    for where, fields in rows:
        file, emotion = fields[file_at].strip(), fields[emotion_at].strip()
        if emotion not in EMOTIONS:
            raise DataError(
                f"{where}: {shortened(emotion)!r} is no emotion; use {', '.join(EMOTIONS)}, in this spelling"
            )
        if not file or not _exists(folder / file):
            raise DataError(
                f"{where}: no file {shortened(file, 80)!r} in {folder}; want the path of a picture from there"
            )
        # Not the target of a link: stores of large files link equal pictures to one.
        place = os.path.normpath(folder / file)
        if place in lines:
            raise DataError(f"{where}: {shortened(file, 80)!r} is listed already, in {lines[place]}")
        lines[place] = where.rpartition(": ")[2]
        yield folder / file, EMOTIONS.index(emotion), fields


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False
