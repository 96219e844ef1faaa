"""Several threads on one CSV file: each reads and parses a chunk at a time, and rows come in order.

Parsing ends before the first chunk with anything but whole good rows: explaining and skipping bad
ones is left to the reader of :mod:`fer_edge.dataset`, which goes on from there.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_edge import _pure, preprocess

CHUNK_BYTES = 1 << 19
"""What a thread takes at once."""

TAIL_BYTES = 1 << 14
"""The longest rest of a row behind the end of its chunk; a row of FER-2013 has at most 9.3 kB."""

_SHORTEST_ROW = 2 * _pure.FACE_PIXELS


class Rows(NamedTuple):
    """Arrays with a row for each face, as the kernels fill them."""

    pixels: NDArray[np.uint8]
    """(n,2304)."""
    labels: NDArray[np.int8]
    """(n,)."""
    usages: NDArray[np.uint8]
    """(n,32)."""


class _Parsed(NamedTuple):
    """What a chunk gave: its rows are those whose first byte lies in it."""

    rows: int
    end: int = 0
    """Offset in the file behind the last of them."""
    complete: bool = False
    """Whether there was nothing else."""


def parse_chunks(
    file: int, start: int, end: int, layout: tuple[int, int, int, int, int], threads: int, out: Rows
) -> tuple[int, int]:
    """Fill ``out`` with the rows of an open ``file``, whose first one starts at ``start``.

    Takes chunks up to the offset ``end``, which should be the file's. Returns how many rows are
    filled, and the offset of what is left. Raises ``OSError`` where reading fails.
    """
    work = _Work(file, start, end, layout, out)
    with ThreadPoolExecutor(threads, thread_name_prefix="parse") as pool:
        try:
            for done in [pool.submit(work.run) for _ in range(threads)]:
                done.result()
        finally:
            work.stop()
    return work.rows, work.offset


class _Work:
    """The state that the threads share; chunks are parsed in any order and taken in theirs."""

    def __init__(
        self, file: int, start: int, end: int, layout: tuple[int, int, int, int, int], out: Rows
    ) -> None:
        self.rows = 0
        self.offset = start
        self._file = file
        self._start = start
        self._chunks = -(-(end - start) // CHUNK_BYTES)
        self._layout = layout
        self._out = out
        self._changed = threading.Condition()
        self._begun = 0
        self._taken = 0
        self._stopped = False

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def run(self) -> None:
        """Parse chunks until there are no more."""
        text = np.empty(1 + CHUNK_BYTES + TAIL_BYTES, dtype=np.uint8)
        most = text.size // _SHORTEST_ROW + 1
        rows = Rows(*(np.empty((most, *array.shape[1:]), array.dtype) for array in self._out))
        try:
            while (index := self._next()) is not None:
                parsed = self._parse(index, text, rows)
                place = self._take(index, parsed)
                if place is None:
                    return
                for target, source in zip(self._out, rows, strict=True):
                    target[place] = source[: parsed.rows]
        except BaseException:
            self.stop()
            raise

    def _next(self) -> int | None:
        with self._changed:
            if self._stopped or self._begun == self._chunks:
                return None
            self._begun += 1
            return self._begun - 1

    def _parse(self, index: int, text: NDArray[np.uint8], rows: Rows) -> _Parsed:
        # One byte more at the front tells whether a row starts with the chunk.
        before = int(index > 0)
        offset = self._start + index * CHUNK_BYTES - before
        size = self._read(text, offset)
        chunk = min(size, before + CHUNK_BYTES)
        first = _behind_line(text, 0, size) if before else 0
        last = _behind_line(text, chunk - 1, size) if chunk < size else size
        if first is None or last is None:
            return _Parsed(0)
        if first >= last:
            return _Parsed(0, complete=True)
        count, consumed, fault, *_ = preprocess.kernels.parse_rows(
            text[first:last], True, self._layout, rows.pixels, rows.labels, rows.usages
        )
        complete = fault == _pure.OK and first + consumed == last
        return _Parsed(count, offset + first + consumed, complete)

    def _read(self, text: NDArray[np.uint8], offset: int) -> int:
        size = 0
        while size < text.size:
            count = os.preadv(self._file, [text[size:].data], offset + size)
            if count == 0:
                break
            size += count
        return size

    def _take(self, index: int, parsed: _Parsed) -> slice | None:
        """Wait for the chunks before; returns where the rows go, None where nothing more is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._taken == index)
            if self._stopped:
                return None
            fits = self.rows + parsed.rows <= len(self._out.pixels)
            place = slice(self.rows, self.rows + parsed.rows)
            if fits and parsed.rows:
                self.rows, self.offset = place.stop, parsed.end
            self._stopped = not (fits and parsed.complete)
            self._taken += 1
            self._changed.notify_all()
            return place if fits else None


def _behind_line(text: NDArray[np.uint8], start: int, end: int) -> int | None:
    """Behind the first line feed from ``start`` on, if that is near."""
    at = text[start : min(start + TAIL_BYTES, end)].tobytes().find(b"\n")
    return start + at + 1 if at >= 0 else None
