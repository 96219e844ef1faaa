"""Writing files so that a reader never sees half of one, and nothing is lost by mistake."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import DataError

LONGEST_NAME = 255
"""Bytes of a file's name, on all of Linux's common file systems."""

_PREFIX = ".part-"
"""Of the names of temporary files."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], suffix: str | None = None) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, delete it on error.

    The temporary name keeps the suffix, because some writers choose the format by it, unless another
    ``suffix`` is given, as where others read all files of a folder that end so. A symbolic
    link stays and its target is replaced; a device or pipe is written to directly. Raises DataError
    where the folder is missing or cannot be written to. An OSError about the temporary file names ``path``.
    """
    if is_special(path):
        # Its resolved name need not exist: /dev/stdout may be a pipe.
        yield Path(path)
        return
    target = resolved(path)
    _check_place(target)
    temporary: Path | None = None
    try:
        # Not by tempfile, whose files are for their owner alone: the umask cannot be asked for without
        # changing it, and what other threads create meanwhile would be open to all.
        made = target.parent / f"{_PREFIX}{os.urandom(8).hex()}{target.suffix if suffix is None else suffix}"
        made.touch(0o666, exist_ok=False)
        temporary = made
        yield temporary
        temporary.replace(target)
    except OSError as error:
        # Of a full disk, writing tells no name; of a folder like /proc, one that nobody gave.
        if error.errno is not None and _is_part(error.filename, target.parent):
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _is_part(name: object, folder: Path) -> bool:
    """Whether an error with this file name is about a temporary file in ``folder``, or names none."""
    if not isinstance(name, (str, os.PathLike)):
        return name is None
    return Path(name).parent == folder and Path(name).name.startswith(_PREFIX)


def resolved(path: str | os.PathLike[str]) -> Path:
    """The absolute path behind symbolic links, existing or not; DataError for a circle of links."""
    try:
        return Path(path).resolve()
    except (RuntimeError, OSError) as error:  # the first from Python before 3.13
        raise DataError(f"{path}: a symbolic link that goes round in a circle") from error


def cut_name(name: str, longest: int) -> str:
    """Return ``name`` with at most ``longest`` bytes; where it is cut, a hash keeps it apart from others."""
    content = os.fsencode(name)
    if len(content) <= longest:
        return name
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{content[: longest - 9].decode('utf-8', 'ignore')}~{digest}"


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 under ``path`` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Bring the name of a new file to the disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether this is a device or pipe, which is written to and not replaced."""
    return Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir()


def check_target(
    path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = (), *, force: bool = False
) -> None:
    """Raise DataError unless a file may be made at ``path``.

    It may not where it is one of the ``inputs``, where its folder is missing or cannot be written to,
    and, unless with ``force``, where it exists and has content.
    """
    target = Path(path)
    refuse_input(target, inputs)
    if is_special(target):
        return
    resolved(target)
    _check_place(target)
    if not force and has_content(target):
        raise DataError(f"{target}: exists already; --force overwrites it")


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether this names a folder: one that exists, or any that ends in a slash."""
    return Path(path).is_dir() or os.fspath(path).endswith(os.sep)


def leads_to_folder(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder, as far as this user may look; its name may be bad."""
    # Path.is_dir raises for both before Python 3.14.
    return os.path.isdir(path)  # noqa: PTH112


def has_content(path: str | os.PathLike[str]) -> bool:
    """Whether this is a file, other than an empty one, as ``mktemp`` makes them."""
    return Path(path).is_file() and Path(path).stat().st_size > 0


def _check_place(target: Path) -> None:
    if target.is_dir():
        raise DataError(f"{target}: is a folder")
    if not target.parent.is_dir():
        raise DataError(f"{target}: the folder {target.parent} does not exist")
    if os.statvfs(target.parent).f_flag & os.ST_RDONLY:
        raise DataError(f"{target}: {target.parent} lies on a file system that is read-only")
    if not os.access(target.parent, os.W_OK):
        raise DataError(f"{target}: no permission to write in {target.parent}")


def refuse_input(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raise DataError where writing ``path`` would replace one of the ``inputs``."""
    target = Path(path)
    if target.exists() and not is_special(target):
        for name in inputs:
            if _are_same(target, name):
                raise DataError(f"{target}: is also the input, which would be lost; choose another name")


def _are_same(path: Path, other: str | os.PathLike[str]) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        # Not there, not to be looked at, or a name that no file can have: not what is written.
        return False
