"""Faces, labels, usage and votes of FER-2013 as NumPy arrays in one ``.npz`` file, which is read at once."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..kernels.crop import FACE_SIZE
from ..labels import EMOTIONS, VOTE_COLUMNS
from .reader import FerDataset

_SUFFIX = ".npz"
_MOST_VOTES = 255


def holds_arrays(path: str | os.PathLike[str]) -> bool:
    """Whether the name of ``path`` says that it is a file for :func:`read_arrays`."""
    return Path(path).suffix == _SUFFIX


def read_arrays(path: str | os.PathLike[str]) -> FerDataset:
    """A data set, with FER+ votes where they are there, from an ``.npz`` file of NumPy arrays.

    ``pixels`` uint8 (n, 48, 48), ``labels`` (n,) from 0 to 6, ``usage`` (n,) texts as in a CSV, and ``votes``
    (n, 10), at most 255, in :data:`~fer_edge.labels.VOTE_COLUMNS` order. It is read in a moment, a CSV in
    half a minute. Raises DataError.
    """
    try:
        # NumPy would take a file that is no archive for a single array, or for pickled code.
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as stored:
            pixels, labels, usage = (stored[name] for name in ("pixels", "labels", "usage"))
            votes = stored.get("votes")
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a file of the arrays pixels, labels and usage ({error})") from error
    count = len(pixels) if pixels.ndim else 0
    wanted = [
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
    if votes is not None:
        if count and votes.max() > _MOST_VOTES:
            raise DataError(f"{path}: votes has {votes.max()}; want numbers from 0 to {_MOST_VOTES}")
        votes = votes.astype(np.uint8)
    return FerDataset(pixels, labels.astype(np.int8), usage, votes=votes)
