"""CSV files, plain, compressed or in an archive, as one stream of bytes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from ..errors import SHOWN, DataError, shortened

_DECOMPRESSORS: dict[bytes, Callable[[io.BufferedReader], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\0": lzma.open,
    b"BZh": bz2.open,
}


# ---------------------------------------------------------------- files, compressed files, archives


@contextlib.contextmanager
def open_csv(path: str | os.PathLike[str]) -> Iterator[tuple[io.BufferedIOBase, str]]:
    """A stream of CSV text and the name to call it in errors; errors of reading become DataError."""
    location = Path(path)
    try:
        # A FIFO would block, and could not be read from its start again.
        if not stat.S_ISREG(location.stat().st_mode):
            raise DataError(f"{location}: not a regular file; want a CSV file")
        with contextlib.ExitStack() as stack:
            yield _csv_stream(stack.enter_context(location.open("rb")), str(location), stack)
    except FileNotFoundError as error:
        raise DataError(f"{location}: there is no such file") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(f"{location}: cannot be read, or is damaged: {error}") from error


def _csv_stream(
    raw: io.BufferedReader, name: str, stack: contextlib.ExitStack
) -> tuple[io.BufferedIOBase, str]:
    magic = raw.read(6)
    raw.seek(0)
    if magic.startswith((b"PK\3\4", b"PK\5\6")):
        return _only_csv_of_zip(stack.enter_context(zipfile.ZipFile(raw)), name, stack)
    stream: io.BufferedIOBase = raw
    for start, unpacked in _DECOMPRESSORS.items():
        if magic.startswith(start):
            stream = stack.enter_context(unpacked(raw))
    is_tar = stream.read(262)[257:] == b"ustar"
    stream.seek(0)
    if is_tar:
        return _only_csv_of_tar(stack.enter_context(tarfile.open(fileobj=stream, mode="r:")), name, stack)
    return stream, name


def _only_csv_of_zip(
    archive: zipfile.ZipFile, name: str, stack: contextlib.ExitStack
) -> tuple[io.BufferedIOBase, str]:
    member = _only_csv([info.filename for info in archive.infolist() if not info.is_dir()], name)
    try:
        stream = stack.enter_context(archive.open(member))
    except (RuntimeError, NotImplementedError) as error:
        raise DataError(f"{name}: {member} cannot be unpacked: {error}") from error
    return cast(io.BufferedIOBase, stream), f"{name}:{member}"


def _only_csv_of_tar(
    archive: tarfile.TarFile, name: str, stack: contextlib.ExitStack
) -> tuple[io.BufferedIOBase, str]:
    member = _only_csv([info.name for info in archive if info.isfile()], name)
    stream = cast(io.BufferedIOBase, archive.extractfile(member))
    return stack.enter_context(stream), f"{name}:{member}"


def _only_csv(members: Sequence[str], name: str) -> str:
    # macOS puts a "._x.csv" of its own beside every x.csv.
    found = [m for m in members if m.lower().endswith(".csv") and not m.rpartition("/")[2].startswith("._")]
    if len(found) != 1:
        listed = shortened(", ".join(members), 20 * SHOWN) or "none"
        raise DataError(f"{name}: {len(found)} .csv files in the archive; want one. Members: {listed}")
    return found[0]
