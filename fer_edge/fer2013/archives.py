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

_SAVE_AS = "save it as CSV: in Excel or LibreOffice, File > Save As > CSV UTF-8"
_BY_PANDAS = "python -c \"import pandas; pandas.{reader}('{name}').to_csv('faces.csv', index=False)\""

_FOREIGN: dict[bytes, tuple[str, str]] = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an Excel workbook (.xls)", _SAVE_AS),
    b"PAR1": ("a Parquet file", _BY_PANDAS.replace("{reader}", "read_parquet")),
    b"ARROW1": ("a Feather file", _BY_PANDAS.replace("{reader}", "read_feather")),
    b"\x89HDF\r\n": ("an HDF5 file", _BY_PANDAS.replace("{reader}", "read_hdf")),
    b"\x93NUMPY": (
        "a NumPy array",
        "give the pixels as text: a column pixels of 2304 numbers with blanks between",
    ),
    b"\x28\xb5\x2f\xfd": ("compressed with Zstandard", "unzstd '{name}'"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "7z x '{name}'"),
    b"Rar!": ("a RAR archive", "unrar x '{name}'"),
    b"\x89PNG": ("a picture", "pictures are for fer-edge predict '{name}'"),
    b"\xff\xd8\xff": ("a picture", "pictures are for fer-edge predict '{name}'"),
    b"%PDF": ("a PDF document", "export the table as CSV"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "git lfs pull"),
    b"<!doctype html": ("a web page, maybe of a login", "download the file again, signed in"),
    b"<html": ("a web page, maybe of a login", "download the file again, signed in"),
}
"""What is no CSV, by how it begins (text in lower case): what it is, and how to get a CSV of it."""

_WORKBOOKS = {
    "xl/workbook.xml": "an Excel workbook (.xlsx)",
    "xl/workbook.bin": "an Excel workbook (.xlsb)",
    "content.xml": "an OpenDocument spreadsheet (.ods)",
    "Index/Document.iwa": "a Numbers spreadsheet",
}
"""Zip archives that are none to people, by a member."""


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
    head = stream.read(262)
    is_tar = head[257:] == b"ustar"
    _refuse_foreign(head, name)
    stream.seek(0)
    if is_tar:
        return _only_csv_of_tar(stack.enter_context(tarfile.open(fileobj=stream, mode="r:")), name, stack)
    return stream, name


def _refuse_foreign(head: bytes, name: str) -> None:
    for start, (kind, remedy) in _FOREIGN.items():
        if head.lstrip().lower().startswith(start.lower()):
            raise _foreign(name, kind, remedy)


def _foreign(name: str, kind: str, remedy: str) -> DataError:
    return DataError(f"{name}: this is {kind}; want a CSV file: {remedy.replace('{name}', name)}")


def _only_csv_of_zip(
    archive: zipfile.ZipFile, name: str, stack: contextlib.ExitStack
) -> tuple[io.BufferedIOBase, str]:
    members = [info.filename for info in archive.infolist() if not info.is_dir()]
    for member, kind in _WORKBOOKS.items():
        if member in members:
            raise _foreign(name, kind, _SAVE_AS)
    member = _only_csv(members, name)
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
