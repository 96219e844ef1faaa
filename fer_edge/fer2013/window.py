"""A window of bounded size on the lines of a stream."""

from __future__ import annotations

import io
import os
import re
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..kernels.constants import FACE_SIZE

LINE_LIMIT = 1 << 20
"""Bytes of the longest line that is read; a row of FER-2013 has at most 9.3 kB."""

_BUFFER_BYTES = 2 * LINE_LIMIT

# What is read at once stays in the cache until it is parsed.
_CHUNK_BYTES = 1 << 18

_SHORTEST_ROW = 2 * FACE_SIZE**2

_LINE = re.compile(rb"[^\n]*+\n?")

_EMPTY_LINES = re.compile(rb"(?:[ \t]*\r?\n)*+")

_REST_OF_EMPTY_LINE = re.compile(rb"[ \t]*\r?\Z")


class LineWindow:
    """A window of bounded size on a stream of lines."""

    def __init__(self, stream: io.BufferedIOBase, name: str) -> None:
        self.name = name
        self.final = False
        self._stream = stream
        self._data = np.empty(_BUFFER_BYTES, dtype=np.uint8)
        self._start = 0
        self._end = 0
        self._separator = ","

    @property
    def text(self) -> NDArray[np.uint8]:
        """What is in the window and not yet consumed; ``final`` tells whether more follows."""
        return self._data[self._start : self._end]

    @property
    def separator(self) -> str:
        """What separates the fields of the lines that follow; in :attr:`text` commas stand for it.

        Commas within fields, as in decimals, are points there.
        """
        return self._separator

    @separator.setter
    def separator(self, separator: str) -> None:
        self._separator = separator
        self._put_commas(self.text)

    def _put_commas(self, text: NDArray[np.uint8]) -> None:
        if self._separator != ",":
            text[text == ord(",")] = ord(".")
            text[text == ord(self._separator)] = ord(",")

    @property
    def exhausted(self) -> bool:
        return self.final and self._start == self._end

    @property
    def plain_file(self) -> int | None:
        """The descriptor of the file whose bytes these are; None where they are unpacked from one."""
        raw = getattr(self._stream, "raw", None)
        return raw.fileno() if isinstance(raw, io.FileIO) else None

    def expected_rows(self) -> int:
        """How many rows there may be, a little generously, judged by the lines in the window.

        0 where the length of the text is not known, as in a compressed file.
        """
        lines = np.count_nonzero(self.text == ord("\n"))
        if self.plain_file is None or not lines:
            return 0
        length = os.fstat(self.plain_file).st_size - (self._stream.tell() - self.text.size)
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
            self._put_commas(self._data[self._end : self._end + count])
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
