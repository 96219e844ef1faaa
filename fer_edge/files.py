"""Writing files so that a reader never sees half of one, and nothing is lost by mistake."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import DataError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, delete it on error.

    The temporary name keeps the suffix, because some writers choose the format by it. A symbolic
    link stays and its target is replaced; a device or pipe is written to directly. Raises DataError
    as :func:`check_target` does.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file() and not target.is_dir():
        yield target
        return
    check_target(target)
    handle, name = tempfile.mkstemp(prefix=".part-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            # Of a full disk, writing tells no name.
            if error.errno is not None and error.filename is None:
                error.filename = str(target)
            raise
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 under ``path`` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_target(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Raise DataError unless a file could be made at ``path``, and where it is one of the ``inputs``."""
    target = Path(path)
    if target.is_dir():
        raise DataError(f"{target}: is a folder")
    if not target.parent.is_dir():
        raise DataError(f"{target}: the folder {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise DataError(f"{target}: no permission to write in {target.parent}")
    if target.exists():
        for name in inputs:
            if Path(name).exists() and target.samefile(name):
                raise DataError(f"{target}: is also the input, which would be lost; choose another name")
