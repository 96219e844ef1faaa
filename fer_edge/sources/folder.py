"""Folders: which of their files are pictures, by what is in them, and which are left out."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SourceError, printable
from ..files import leads_to_folder
from .headers import HEAD_BYTES, picture_kind

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpeg", ".jpg", ".mpo", ".pgm", ".png"}
    | {".ppm", ".tif", ".tiff", ".webp"}
)
"""A file with such a name is meant to be a picture: what is none counts as unreadable, not as left out."""

NAMED = 5
"""How many of the files that are left out a message names; the others it counts."""


@dataclass
class FolderContent:
    """What is in a folder."""

    pictures: list[Path] = field(default_factory=list)
    """In the order of their names; with sub-folders, folder by folder."""
    others: list[Path] = field(default_factory=list)
    """Files that are no pictures, or cannot be read."""
    folders: list[Path] = field(default_factory=list)
    """Sub-folders that were not read."""


def read_folder(folder: Path, recursive: bool = False) -> FolderContent:
    """Sort the entries of ``folder`` by what they are; hidden sub-folders are not entered.

    Symbolic links are followed, each folder is read once. Raises
    :class:`~fer_edge.errors.SourceError` where ``folder`` itself cannot be read.
    """
    content = FolderContent()
    seen: set[tuple[int, int]] = set()
    for entry in _entries(folder, folder, recursive, content, seen):
        if is_picture(entry):
            content.pictures.append(entry)
        else:
            content.others.append(entry)
    return content


def _entries(
    top: Path, folder: Path, recursive: bool, content: FolderContent, seen: set[tuple[int, int]]
) -> Iterator[Path]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        if folder == top:
            raise SourceError(f"{folder}: {error.strerror}") from error
        content.folders.append(folder)
        return
    folders = []
    for entry in entries:
        if not leads_to_folder(entry):
            yield entry
        elif recursive and not entry.name.startswith("."):
            folders.append(entry)
        else:
            content.folders.append(entry)
    for entry in folders:
        yield from _entries(top, entry, recursive, content, seen)


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its first bytes, or is meant to be one by its name."""
    try:
        # A pipe or device would block, or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as stream:
            return picture_kind(stream.read(HEAD_BYTES)) is not None or path.suffix.lower() in IMAGE_SUFFIXES
    except OSError as error:
        # A link may lead nowhere, or to a picture that nobody but its owner may read.
        unreadable = isinstance(error, PermissionError) or not path.is_symlink()
        return path.suffix.lower() in IMAGE_SUFFIXES and unreadable


def left_out(content: FolderContent, recursive: bool) -> str:
    """What of a folder is not read, in words; empty where nothing is left out."""
    parts = []
    if content.others:
        parts.append(f"{_counted(content.others, 'file')} no picture: {_named(content.others)}")
    if content.folders:
        folders = f"{_counted(content.folders, 'sub-folder')} not read: {_named(content.folders)}"
        parts.append(folders + ("" if recursive else " (--recursive reads them)"))
    return "; ".join(parts)


def _counted(paths: Sequence[Path], word: str) -> str:
    return f"1 {word} is" if len(paths) == 1 else f"{len(paths)} {word}s are"


def _named(paths: Sequence[Path]) -> str:
    names = ", ".join(printable(path.name) for path in paths[:NAMED])
    return names + (f" and {len(paths) - NAMED} more" if len(paths) > NAMED else "")
