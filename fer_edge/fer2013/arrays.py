"""Faces, labels, usage and votes of FER-2013 as NumPy arrays in one ``.npz`` file, whole or in pieces."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..kernels.constants import FACE_SIZE
from ..labels import EMOTIONS, VOTE_COLUMNS
from .reader import FerDataset

_SUFFIX = ".npz"
_MOST_VOTES = 255
_READ_AT_ONCE = 1 << 20


def holds_arrays(path: str | os.PathLike[str]) -> bool:
    """Whether the name of ``path`` says that it is a file for :func:`read_arrays`."""
    return Path(path).suffix == _SUFFIX


def read_arrays(path: str | os.PathLike[str]) -> FerDataset:
    """A data set, with FER+ votes where they are there, from an ``.npz`` file of NumPy arrays.

    ``pixels`` uint8 (n, 48, 48), ``labels`` (n,) from 0 to 6, ``usage`` (n,) texts as in a CSV, and ``votes``
    (n, 10), at most 255, in :data:`~fer_edge.labels.VOTE_COLUMNS` order. It is read in a moment, a CSV in
    half a minute. Raises DataError.
    """
    return next(_pieces(path, None))


def iter_arrays(path: str | os.PathLike[str], batch: int = 1024) -> Iterator[FerDataset]:
    """As :func:`read_arrays`, piece by piece: at most ``batch`` rows each, at least one piece.

    All arrays but the pixels are read at once. Raises DataError, and ValueError for ``batch`` below 1.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; want at least 1")
    return _pieces(path, batch)


def _pieces(path: str | os.PathLike[str], batch: int | None) -> Iterator[FerDataset]:
    """Pieces of at most ``batch`` rows, or all rows in one."""
    try:
        # NumPy would take a file that is no archive for a single array, or for pickled code.
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as stored:
            labels, usage = stored["labels"], stored["usage"]
            votes = stored.get("votes")
            with archive.open("pixels.npy") as member:
                pixels = _Pixels(member)
                _check(path, pixels, labels, usage, votes)
                labels = labels.astype(np.int8)
                votes = None if votes is None else votes.astype(np.uint8)
                count = len(labels)
                for start in range(0, max(1, count), batch or max(1, count)):
                    rows = slice(start, min(count, start + (batch or count)))
                    yield FerDataset(
                        pixels.read(rows.stop - start),
                        labels[rows],
                        usage[rows],
                        first_row=start + 1,
                        votes=None if votes is None else votes[rows],
                    )
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        # An OSError's own text names the file again.
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: not a file of the arrays pixels, labels and usage ({reason})") from error


class _Pixels:
    """The array in a ``.npy`` file, read from its start row by row."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises ValueError for what is no such file."""
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read_header = np.lib.format.read_array_header_2_0
        self.shape, self._by_columns, self.dtype = read_header(file)
        self._file = file
        self._rest: NDArray[np.uint8] | None = None

    def read(self, count: int) -> NDArray[np.uint8]:
        """The next ``count`` rows of images, uint8; raises EOFError where they are missing."""
        if self._by_columns:
            # The bytes of an image lie apart, in all of the file.
            if self._rest is None:
                self._rest = self._filled(self.shape[::-1]).transpose()
            rows, self._rest = self._rest[:count], self._rest[count:]
            return np.ascontiguousarray(rows)
        return self._filled((count, *self.shape[1:]))

    def _filled(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        array = np.empty(shape, np.uint8)
        room = array.reshape(-1).data
        while len(room):
            # What zipfile reads it unpacks into memory of its own before it is copied.
            data = self._file.read(min(len(room), _READ_AT_ONCE))
            if not data:
                raise EOFError("pixels is cut off")
            room[: len(data)] = data
            room = room[len(data) :]
        return array


def _check(
    path: str | os.PathLike[str],
    pixels: _Pixels,
    labels: NDArray[Any],
    usage: NDArray[Any],
    votes: NDArray[Any] | None,
) -> None:
    count = pixels.shape[0] if pixels.shape else 0
    wanted: list[tuple[str, _Pixels | NDArray[Any], tuple[int, ...]]] = [
        ("pixels", pixels, (count, FACE_SIZE, FACE_SIZE)),
        ("labels", labels, (count,)),
        ("usage", usage, (count,)),
    ]
    if votes is not None:
        wanted.append(("votes", votes, (count, len(VOTE_COLUMNS))))
    for name, array, shape in wanted:
        if array.shape != shape or array.dtype.kind != ("U" if name == "usage" else "u"):
            kind = "texts" if name == "usage" else "unsigned integers"
            raise DataError(f"{path}: {name} is {array.dtype} {array.shape}; want {kind} {shape}")
    if pixels.dtype != np.uint8 or (count and labels.max() >= len(EMOTIONS)):
        raise DataError(f"{path}: want pixels as uint8 and labels from 0 to {len(EMOTIONS) - 1}")
    if votes is not None and count and votes.max() > _MOST_VOTES:
        raise DataError(f"{path}: votes has {votes.max()}; want numbers from 0 to {_MOST_VOTES}")
