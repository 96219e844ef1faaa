"""FER-2013 in all its CSV layouts, and the crowd's votes on it, to arrays; also who repeats whom."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import csv
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer_edge import _pure, preprocess
from fer_edge._chunks import Rows, parse_chunks
from fer_edge.errors import DataError
from fer_edge.labels import VOTE_COLUMNS, VOTE_OF_EMOTION
from fer_edge.preprocess import FACE_SIZE

LINE_LIMIT = 1 << 20
"""Bytes of the longest line that is read; a row of FER-2013 has at most 9.3 kB."""

_BUFFER_BYTES = 2 * LINE_LIMIT
# What is read at once stays in the cache until it is parsed.
_CHUNK_BYTES = 1 << 18
_FIRST_ROWS = 4096
_SHORTEST_ROW = 2 * FACE_SIZE**2
_USAGE_BYTES = 32  # what the kernels write
_PIXELS = FACE_SIZE * FACE_SIZE
_SHOWN = 16
_DECOMPRESSORS: dict[bytes, Callable[[io.BufferedReader], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\0": lzma.open,
    b"BZh": bz2.open,
}
_LINE = re.compile(rb"[^\n]*+\n?")
_EMPTY_LINES = re.compile(rb"(?:[ \t]*\r?\n)*+")
_REST_OF_EMPTY_LINE = re.compile(rb"[ \t]*\r?\Z")


@dataclass(frozen=True)
class FerDataset:
    """Rows of a FER-2013 file."""

    pixels: NDArray[np.uint8]
    """(n,48,48), grey, row major."""

    labels: NDArray[np.int8] | None
    """(n,), codes 0 to 6 as in :data:`fer_edge.labels.EMOTIONS`; None where the file has no emotions."""

    usage: NDArray[np.str_] | None
    """(n,), ``Training``, ``PublicTest``, ``PrivateTest``; None where the file has no such column."""

    skipped: tuple[str, ...] = ()
    """What was wrong with each row that was left out."""

    def __len__(self) -> int:
        return len(self.pixels)


def read_fer2013(path: str | os.PathLike[str], *, skip_bad: bool = False, threads: int = 1) -> FerDataset:
    """Read a FER-2013 CSV file; see :func:`iter_fer2013` for what it may look like and what is raised.

    Takes the memory of the result (83 MB for the whole of FER-2013) and a window of 2 MB, and for
    each of several ``threads`` 0.8 MB more. Several threads read and parse files that are not
    compressed, up to the first bad row; the result is that of one.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; want at least 1")
    return next(_read(path, None, skip_bad, threads))


def iter_fer2013(
    path: str | os.PathLike[str], batch: int = 1024, *, skip_bad: bool = False
) -> Iterator[FerDataset]:
    """Read a FER-2013 CSV file piece by piece, in memory bounded by ``batch``.

    The file has one header line and a column ``pixels`` of 48x48 grey values, and maybe ``emotion``
    and ``Usage``, in any order, upper or lower case; other columns are ignored. That covers Kaggle's
    fer2013.csv, icml_face_data.csv, train.csv and test.csv. Fields may be in quotes (on one line),
    with blanks around. The file may be compressed (gzip, xz, bzip2) or the only .csv in a zip or tar
    archive, which its content tells, not its name. Empty lines at the end do not count.

    Args:
        path: a regular file.
        batch: the most rows of a piece, and the most messages about skipped rows.
        skip_bad: leave bad rows out and say so in :attr:`FerDataset.skipped`.

    Yields:
        At least one piece; with ``skip_bad`` some may hold fewer rows than ``batch``, or none.

    Raises:
        DataError: the file cannot be read, is not such a file, or has no rows; or a row is bad and
            ``skip_bad`` is false: it names the row (from 1, the header not counted), the column, and
            for a pixel its index and its first character's position in the line (both from 1).
        ValueError: ``batch`` is below 1.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; want at least 1")
    yield from _read(path, batch, skip_bad)


def read_votes(path: str | os.PathLike[str], rows: int | None = None) -> NDArray[np.uint8]:
    """Read a FER+ votes file: uint8 (n,10), how many of the crowd chose what, in ``VOTE_COLUMNS`` order.

    The header holds the ten names of :data:`fer_edge.labels.VOTE_COLUMNS` in any order, upper or
    lower case; other columns (``Usage`` and ``Image name`` of Microsoft's fer2013new.csv) are
    ignored. May be compressed or in an archive as for :func:`iter_fer2013`. ``rows``: how many there
    have to be, to match another file row by row.

    Raises:
        DataError: the file cannot be read, is not such a file, has no rows or another number than
            ``rows``, or holds something else than whole numbers from 0 to 255: with the row (from 1,
            without the header) and column.
    """
    with _open_csv(path) as (stream, name):
        header = _header_names(stream.readline(LINE_LIMIT), name)
        columns = [_column(header, wanted, name) for wanted in VOTE_COLUMNS]
        votes = list(_vote_rows(stream, header, columns, name))
    if not votes:
        raise DataError(f"{name}: no rows after the header")
    if rows is not None and len(votes) != rows:
        raise DataError(
            f"{name}: has {len(votes)} rows of votes for {rows} rows of images; the two go row by row"
        )
    return np.array(votes, dtype=np.uint8)


def majority_votes(votes: ArrayLike) -> NDArray[np.int8]:
    """The FER-2013 code that most of the crowd chose: int8 (n,), from the FER+ ``votes`` (n,10).

    -1 where two columns share the first place, or where it goes to contempt, unknown or NF (not a
    face). Raises ``ValueError`` for another shape.
    """
    counts = np.asarray(votes)
    if counts.ndim != 2 or counts.shape[1] != len(VOTE_COLUMNS):
        raise ValueError(f"votes have shape {counts.shape}; want (n, {len(VOTE_COLUMNS)})")
    if len(counts) == 0:
        return np.empty(0, dtype=np.int8)
    code_of_column = np.full(len(VOTE_COLUMNS), -1, dtype=np.int8)
    code_of_column[list(VOTE_OF_EMOTION)] = np.arange(len(VOTE_OF_EMOTION))
    most = counts.max(axis=1, keepdims=True)
    winners = np.count_nonzero(counts == most, axis=1)
    return np.where(winners == 1, code_of_column[counts.argmax(axis=1)], np.int8(-1))


def same_image(pixels: NDArray[np.uint8], among: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which images of ``pixels`` (n,48,48) also are, to the byte, in ``among`` (m,48,48): bool (n,)."""
    known = {image.tobytes() for image in among}
    return np.fromiter((image.tobytes() in known for image in pixels), dtype=np.bool_, count=len(pixels))


def in_training(dataset: FerDataset) -> NDArray[np.bool_]:
    """Which rows outside ``Training`` repeat an image of ``Training`` to the byte: bool (n,).

    FER-2013 repeats itself: some 8 % of its test images also are training images. Raises
    ``DataError`` where the data set has no usage.
    """
    if dataset.usage is None:
        raise DataError("the data set has no Usage column: what is Training is not known")
    training = dataset.usage == "Training"
    repeated = np.zeros(len(dataset), dtype=np.bool_)
    repeated[~training] = same_image(dataset.pixels[~training], dataset.pixels[training])
    return repeated


# ---------------------------------------------------------------- rows


class _Layout(NamedTuple):
    """Where the wanted columns are (-1: absent) among the ``names`` of the header."""

    names: Sequence[str]
    emotion: int
    pixels: int
    usage: int

    @property
    def for_kernel(self) -> tuple[int, int, int, int, int]:
        return len(self.names), self.emotion, self.pixels, self.usage, LINE_LIMIT


def _read(
    path: str | os.PathLike[str], batch: int | None, skip_bad: bool, threads: int = 1
) -> Iterator[FerDataset]:
    """Pieces of at most ``batch`` rows, or all rows in one, by several ``threads`` where there are any."""
    with _open_csv(path) as (stream, name):
        buffer = _Buffer(stream, name)
        layout = _read_layout(buffer)
        yield from _pieces(buffer, layout, batch, skip_bad, threads)


class _Buffer:
    """A window of bounded size on a stream of lines."""

    def __init__(self, stream: io.BufferedIOBase, name: str) -> None:
        self.name = name
        self.final = False
        self._stream = stream
        self._data = np.empty(_BUFFER_BYTES, dtype=np.uint8)
        self._start = 0
        self._end = 0

    @property
    def text(self) -> NDArray[np.uint8]:
        """What is in the window and not yet consumed; ``final`` tells whether more follows."""
        return self._data[self._start : self._end]

    @property
    def exhausted(self) -> bool:
        return self.final and self._start == self._end

    @property
    def plain_file(self) -> int | None:
        """The descriptor of the file whose bytes these are; None where they are unpacked from one."""
        raw = getattr(self._stream, "raw", None)
        return raw.fileno() if isinstance(raw, io.FileIO) else None

    @property
    def offset(self) -> int:
        """Of what is next, in the stream."""
        return self._stream.tell() - self.text.size

    def seek(self, offset: int) -> None:
        """Go on from there in the stream."""
        self._stream.seek(offset)
        self._start = self._end = 0
        self.final = False

    def expected_rows(self) -> int:
        """How many rows there may be, a little generously, judged by the lines in the window.

        0 where the length of the text is not known, as in a compressed file.
        """
        lines = np.count_nonzero(self.text == ord("\n"))
        if self.plain_file is None or not lines:
            return 0
        length = os.fstat(self.plain_file).st_size - self.offset
        return min(int(1.06 * lines * length / self.text.size), length // _SHORTEST_ROW) + 1

    def consume(self, count: int) -> None:
        self._start += count

    def fill(self) -> None:
        """Read on: a chunk or, where no line ends in what is there, until the window is full."""
        rest = self.text
        self._data[: rest.size] = rest
        self._start, self._end = 0, rest.size
        wanted = self._data.size if rest.size >= _CHUNK_BYTES else rest.size + _CHUNK_BYTES
        while self._end < wanted and not self.final:
            count = self._stream.readinto(self._data[self._end : wanted].data)
            self._end += count
            self.final = count == 0

    def fill_line(self) -> None:
        """Read on until a line is complete, the window is full or the stream ends."""
        while not (self.final or self.text.size == self._data.size or (self.text == ord("\n")).any()):
            self.fill()

    def take_line(self) -> bytes:
        """The first line with its end; of a line longer than the window, what is in the window."""
        line = cast("re.Match[bytes]", _LINE.match(self.text.data)).group()
        self.consume(len(line))
        return line

    def skip_line(self) -> None:
        """Consume a line of any length."""
        while not self.take_line().endswith(b"\n") and not self.final:
            self.fill()

    def skip_empty_lines(self) -> int:
        """Consume the lines with nothing but blanks that come next; returns how many."""
        count = 0
        while True:
            empty = cast("re.Match[bytes]", _EMPTY_LINES.match(self.text.data)).end()
            count += bytes(self.text[:empty]).count(b"\n")
            self.consume(empty)
            if not _REST_OF_EMPTY_LINE.match(self.text.data) or self.text.size > LINE_LIMIT:
                return count
            if self.final:
                self.consume(self.text.size)
                return count
            self.fill()


class _Fault(NamedTuple):
    """A bad row as the kernel reports it, with ``offset`` counted from the start of its ``line``."""

    kind: int
    line: bytes
    offset: int
    detail: int

    @property
    def character(self) -> int:
        """Where in the line, from 1."""
        return len(self.line[: self.offset].decode("utf-8", "replace")) + 1

    def found(self, stops: str) -> str:
        """The text at fault up to a quote, the end of the line or one of ``stops``; shortened."""
        text = self.line[self.offset : self.offset + 4 * _SHOWN].decode("utf-8", "replace")
        text = text.removeprefix('"')
        length = next((i for i, character in enumerate(text) if character in stops + '"\r\n'), len(text))
        return repr(_shortened(text[:length].strip(), _SHOWN))


class _Piece:
    """The arrays of one FerDataset while they are filled: with ``batch`` rows, or with any number."""

    def __init__(self, layout: _Layout, batch: int | None, expected: int) -> None:
        """``expected``: how many rows there may be, where their number is not bounded."""
        self.rows = 0
        self.skipped: list[str] = []
        self._layout = layout
        self._batch = batch
        self._capacity = max(_FIRST_ROWS, expected) if batch is None else batch
        self._pixels = np.empty((self._capacity, _PIXELS), dtype=np.uint8)
        self._labels = np.empty(self._capacity, dtype=np.int8)
        self._usage = np.empty((self._capacity, _USAGE_BYTES), dtype=np.uint8)

    @property
    def full(self) -> bool:
        return self._batch is not None and self._batch in (self.rows, len(self.skipped))

    def take_rows(self, buffer: _Buffer) -> _Fault | None:
        """Parse rows from the window until the piece is full, whole lines are used up, or a row is bad.

        The bad row stays in the buffer.
        """
        text = buffer.text
        if text.size == 0:
            return None
        if self.rows == self._capacity:
            self._resize(self._capacity + self._capacity // 8)
        free = slice(self.rows, None)
        rows, consumed, kind, line_end, offset, detail = preprocess.kernels.parse_rows(
            text,
            buffer.final,
            self._layout.for_kernel,
            self._pixels[free],
            self._labels[free],
            self._usage[free],
        )
        self.rows += rows
        buffer.consume(consumed)
        if kind == _pure.OK:
            return None
        line = text[consumed : min(line_end, consumed + LINE_LIMIT)].tobytes()
        return _Fault(kind, line, offset - consumed, detail)

    def take_chunks(self, buffer: _Buffer, file: int, threads: int) -> None:
        """Parse rows by several threads, until the file ends or something is not usual; leaves it there."""
        end = os.fstat(file).st_size
        out = Rows(self._pixels, self._labels, self._usage)
        self.rows, offset = parse_chunks(file, buffer.offset, end, self._layout.for_kernel, threads, out)
        buffer.seek(offset)

    def finished(self) -> FerDataset:
        self._resize(self.rows)
        return FerDataset(
            pixels=self._pixels.reshape(self.rows, FACE_SIZE, FACE_SIZE),
            labels=self._labels if self._layout.emotion >= 0 else None,
            usage=_strings(self._usage) if self._layout.usage >= 0 else None,
            skipped=tuple(self.skipped),
        )

    def _resize(self, capacity: int) -> None:
        """Nobody else holds the arrays, and the system moves large ones without copying them."""
        self._capacity = capacity
        self._pixels.resize((capacity, _PIXELS), refcheck=False)
        self._labels.resize(capacity, refcheck=False)
        self._usage.resize((capacity, _USAGE_BYTES), refcheck=False)


def _strings(texts: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Rows of ASCII, filled up with NUL bytes, as str no wider than the longest."""
    width = int(texts.any(axis=0).sum())
    return texts[:, : max(1, width)].copy().view(f"S{max(1, width)}")[:, 0].astype(np.str_)


def _pieces(
    buffer: _Buffer, layout: _Layout, batch: int | None, skip_bad: bool, threads: int
) -> Iterator[FerDataset]:
    expected = buffer.expected_rows() if batch is None else 0
    piece = _Piece(layout, batch, expected)
    if threads > 1 and buffer.plain_file is not None:
        piece.take_chunks(buffer, buffer.plain_file, threads)
    row = piece.rows
    while not buffer.exhausted:
        before = piece.rows
        fault = piece.take_rows(buffer)
        row += piece.rows - before
        if fault is None:
            if piece.full:
                yield piece.finished()
                piece = _Piece(layout, batch, expected)
            elif piece.rows == before:
                buffer.fill()
            continue
        for _ in range(_skip_fault(buffer, fault)):
            row += 1
            message = f"{buffer.name}: row {row}{_explained(fault, layout)}"
            if not skip_bad:
                raise DataError(message)
            piece.skipped.append(message)
            if piece.full:
                yield piece.finished()
                piece = _Piece(layout, batch, expected)
    if row == 0:
        raise DataError(f"{buffer.name}: no rows after the header")
    if piece.rows or piece.skipped:
        yield piece.finished()


def _skip_fault(buffer: _Buffer, fault: _Fault) -> int:
    """Consume the bad row, an empty one with all empty ones that follow; returns how many are bad."""
    if fault.kind != _pure.EMPTY_ROW:
        buffer.skip_line()
        return 1
    count = buffer.skip_empty_lines()
    return 0 if buffer.exhausted else count


def _explained(fault: _Fault, layout: _Layout) -> str:
    """What is wrong with a row, from behind its number on."""
    match fault.kind:
        case _pure.EMPTY_ROW:
            return " is empty; empty lines may only end the file"
        case _pure.LONG_LINE:
            return f" is longer than {LINE_LIMIT} bytes; want {_PIXELS} pixels a line"
        case _pure.FIELD_COUNT:
            names = _shortened(",".join(layout.names), 5 * _SHOWN)
            return f" has {fault.detail} fields; want {len(layout.names)} as in the header ({names})"
        case _pure.OPEN_QUOTE:
            name = layout.names[fault.detail] if fault.detail < len(layout.names) else str(fault.detail + 1)
            problem = f": the quote at character {fault.character} is not closed where the field ends"
        case _pure.LABEL:
            name = layout.names[layout.emotion]
            problem = f": found {fault.found(',')}; want an emotion code from 0 to 6"
        case _pure.USAGE:
            name = layout.names[layout.usage]
            problem = f": found {fault.found(',')}; want at most 32 printable ASCII characters, no quotes"
        case _:
            name = layout.names[layout.pixels]
            problem = _explained_pixels(fault)
    return f', column "{name}"{problem}'


def _explained_pixels(fault: _Fault) -> str:
    if fault.kind != _pure.PIXEL_COUNT:
        found = fault.found(", \t")
        where = f", pixel {fault.detail} at character {fault.character}"
        return f"{where}: found {found}; want a whole number from 0 to 255"
    if fault.detail < _PIXELS:
        return f": found {fault.detail} pixels, and the end at character {fault.character}; want {_PIXELS}"
    return f": found {fault.detail} pixels, the first too many at character {fault.character}; want {_PIXELS}"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "..."


# ---------------------------------------------------------------- headers and votes


def _read_layout(buffer: _Buffer) -> _Layout:
    buffer.fill_line()
    names = _header_names(buffer.take_line(), buffer.name)
    return _Layout(
        names=names,
        emotion=_column(names, "emotion", buffer.name) if "emotion" in map(str.lower, names) else -1,
        pixels=_column(names, "pixels", buffer.name),
        usage=_column(names, "usage", buffer.name) if "usage" in map(str.lower, names) else -1,
    )


def _header_names(line: bytes, name: str) -> list[str]:
    if not line:
        raise DataError(f"{name}: the file is empty; want a CSV header")
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in line:
        raise DataError(f"{name}: the header is UTF-16 or binary; want text in UTF-8")
    if len(line) >= LINE_LIMIT:
        raise DataError(f"{name}: the first line is longer than {LINE_LIMIT} bytes; want a CSV header")
    try:
        text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8").rstrip("\r\n")
        return [column.strip() for column in next(csv.reader([text], skipinitialspace=True), [""])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{name}: the first line is not a CSV header in UTF-8: {error}") from error


def _column(names: Sequence[str], wanted: str, name: str) -> int:
    """Where in the header the column is."""
    at = [index for index, column in enumerate(names) if column.lower() == wanted.lower()]
    if len(at) != 1:
        found = _shortened(",".join(names), 5 * _SHOWN)
        count = f"{len(at)} columns" if at else "no column"
        raise DataError(f'{name}: {count} "{wanted}" in the header, which is {found!r}; want one')
    return at[0]


def _text_lines(stream: io.BufferedIOBase, name: str) -> Iterator[str]:
    row = 1
    while line := stream.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise DataError(f"{name}: row {row} is longer than {LINE_LIMIT} bytes")
        yield line.decode("utf-8", "replace")
        row += 1


def _vote_rows(
    stream: io.BufferedIOBase, header: Sequence[str], columns: Sequence[int], name: str
) -> Iterator[list[int]]:
    empty = 0
    try:
        for row, fields in enumerate(csv.reader(_text_lines(stream, name), skipinitialspace=True), start=1):
            where = f"{name}: row {row}"
            if not any(fields):
                empty = empty or row
                continue
            if empty:
                raise DataError(f"{name}: row {empty} is empty; empty lines may only end the file")
            if len(fields) != len(header):
                raise DataError(f"{where} has {len(fields)} fields; want {len(header)} as in the header")
            yield [_vote(fields[column], f'{where}, column "{header[column]}"') for column in columns]
    except csv.Error as error:
        raise DataError(f"{name}: not CSV: {error}") from error


def _vote(text: str, where: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 3 and int(digits) <= 255):
        raise DataError(f"{where}: found {_shortened(text, _SHOWN)!r}; want a whole number from 0 to 255")
    return int(digits)


# ---------------------------------------------------------------- files, compressed files, archives


@contextlib.contextmanager
def _open_csv(path: str | os.PathLike[str]) -> Iterator[tuple[io.BufferedIOBase, str]]:
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
        listed = _shortened(", ".join(members), 20 * _SHOWN) or "none"
        raise DataError(f"{name}: {len(found)} .csv files in the archive; want one. Members: {listed}")
    return found[0]
