"""Annotated video files that survive whatever ends the process.

A file is written in place, in pieces of a second, each of which leaves a film that can be played.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, OutputError
from ..files import check_target, has_content, is_special, resolved, sync_folder
from ..pipeline.result import FrameResult
from .base import SlowOutput, write_all
from .containers import Avi, Container, FragmentedMp4, Matroska, Packet
from .draw import annotated
from .keeping import Keeper, Limits, dated
from .mpeg4 import Encoder, headers, is_key

SUFFIXES = (".mp4", ".avi", ".mkv")

SEGMENT_SECONDS = 600.0

LONGEST_STILL = 10.0
"""Seconds without frames, after which a lost source begins a new segment."""

_PIECE_SECONDS = 1.0
_PIECE_FRAMES = 60
_LARGEST = 2_000_000_000
"""Bytes after which a segment ends early: AVI and memory sticks' FAT32 have no room for 4 GiB."""
_RESERVE = 16_000_000
"""Bytes that are left free on the disk, for the JSON lines and the system."""
_AVI_FPS = 60.0
"""The grid of times in an AVI file where frames do not come evenly."""
_SHORTEST = 0.001
_USUAL_FPS = 15.0


class VideoOutput(SlowOutput):
    """Writes the annotated frames as videos of ``segment`` seconds, each frame at its own time.

    ``path`` names a recorded source's video, and its suffix the container: Matroska, MP4 or AVI; later
    segments have the time in the film added to the name. Those of a ``live`` source all have the UTC
    time at which they begin. No file is replaced by another one, save with ``force``; numbers are added
    to names that are taken. Where a source was lost for :data:`LONGEST_STILL`, a segment ends and the
    next begins when it is back; after shorter gaps the film goes on, with the last picture standing
    still meanwhile, and all times are kept. ``fps``: the source's frames a second, where they come
    evenly. ``keep``: what is kept of a live source's segments. ``begun``: the files of recorded sources that
    outputs of one run have begun, each of which adds its own: none is replaced, and where ``path`` is one of
    them, the film goes on in a further segment. Frames of another size than the first are scaled to it.
    Raises :class:`~fer_edge.errors.DataError` for another suffix, a file that exists, a folder that cannot be
    written to, or ``keep`` where the source is not live.
    """

    name = "video"

    def __init__(
        self,
        path: str | os.PathLike[str],
        live: bool = False,
        fps: float | None = None,
        segment: float = SEGMENT_SECONDS,
        force: bool = False,
        unsure: bool = True,
        keep: Limits | None = None,
        begun: set[Path] | None = None,
    ) -> None:
        self._path = Path(path)
        self._unsure = unsure
        if self._path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path}: the name of a video must end in {', '.join(SUFFIXES)}")
        if keep and not live:
            raise DataError(f"{path}: parts of a film are not deleted; --keep-files is for cameras")
        self._begun = set() if begun is None else begun
        check_target(self._path, force=force or live or resolved(path) in self._begun)
        self._live, self._fps, self._segment, self._force = live, fps, segment, force
        self._cancelled = False
        self._encoder: Encoder | None = None
        self._size = (0, 0)
        self._times: list[float] = []
        self._began = datetime.now(UTC)
        self._opened_at = 0.0
        self._file: _File | None = None
        self._latest: Path | None = None
        self._is_pipe = is_special(path)
        self._reserve, self._largest = _RESERVE, _LARGEST
        self._keeper: Keeper | None = None
        if keep and not self._is_pipe:
            self._reserve = max(_RESERVE, keep.free)
            # With room for a piece, so that what is deleted comes before the end of a segment.
            limits = replace(keep, free=self._reserve + _RESERVE)
            self._keeper = Keeper(self.name, self._path, limits, _LARGEST)
            self._largest = self._keeper.largest
            self.idles = True

    @property
    def pending(self) -> int:
        """Frames of the piece that is being encoded."""
        return len(self._times)

    def write(self, result: FrameResult) -> None:
        """Encode one frame.

        Raises :class:`~fer_edge.errors.OutputError` where OpenCV lacks the encoder, and where the disk
        cannot be written to or is nearly full; frames that were not written then are given up, what
        was written stays.
        """
        picture = self._fitted(annotated(result, self._unsure))
        time = result.timestamp
        self._opened_at = result.monotonic - time
        last = self._times[-1] if self._times else self._file.end if self._file else None
        if last is not None:
            # A source that begins anew begins a new segment; so does one that was lost for long, or else
            # its last picture would stand still for all that time.
            restarted = time < last - _PIECE_SECONDS or (
                result.gap is not None and result.gap.seconds >= LONGEST_STILL and not self._is_pipe
            )
            time = time if restarted else max(time, last + _SHORTEST)
            due = restarted or self._is_due(time)
            if due or self._is_full(time):
                self._save(None if restarted else time)
            if due:
                self._end_segment()
        if self._encoder is None:
            self._encoder = Encoder(self._fps)
        if not self._times:
            self._began = result.time
        try:
            self._encoder.add(picture)
        except OutputError as error:
            self._give_up_piece()
            raise OutputError(f"{self._path}: {error}") from error
        self._times.append(time)

    def flush(self) -> None:
        """Write the piece so far; end a segment, and delete old ones, where that is due."""
        self._save(None)
        if self._keeper:
            # The next frame would begin another one anyway, and only a segment that has ended can be deleted.
            if self._file and self._is_due(monotonic() - self._opened_at):
                self._end_segment()
            self._keeper.look(self._latest if self._file else None)

    def end(self, record: Mapping[str, Any]) -> None:
        """Delete old segments, also after a short run."""
        if self._keeper:
            self._keeper.end(self._latest)

    def cancel(self) -> None:
        """Give up a piece that waits for the reader of a pipe."""
        self._cancelled = True

    def close(self) -> None:
        """Write what is left and end the segment; without any frame there is no file."""
        try:
            self._save(None)
        finally:
            self._end_segment()
            if self._encoder is not None:
                self._encoder.close()
                self._encoder = None

    def _fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``picture`` in the size of the first one, whose sides are made even, as MPEG-4 needs."""
        import cv2

        height, width = picture.shape[:2]
        if self._size == (0, 0):
            self._size = (max(2, width // 2 * 2), max(2, height // 2 * 2))
        if (width, height) == self._size:
            return picture
        if width - self._size[0] in (0, 1) and height - self._size[1] in (0, 1):
            return np.ascontiguousarray(picture[: self._size[1], : self._size[0]])
        return np.asarray(cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA), np.uint8)

    def _is_full(self, time: float) -> bool:
        return bool(self._times) and (
            time >= self._times[0] + _PIECE_SECONDS or len(self._times) >= _PIECE_FRAMES
        )

    def _is_due(self, time: float) -> bool:
        start = self._file.start if self._file else self._times[0] if self._times else time
        large = self._file is not None and self._file.size >= self._largest
        # Half a frame's time more or less is the clock's, not the film's.
        return not self._is_pipe and (large or time - start >= self._segment - _SHORTEST / 2)

    def _save(self, following: float | None) -> None:
        """Write the piece; ``following``: time of the frame after it, in seconds, where it is known."""
        if not self._times or self._encoder is None:
            return
        times, self._times = self._times, []
        encoded = self._encoder.finish()
        if len(encoded) != len(times):
            raise OutputError(f"{self._path}: OpenCV encoded {len(encoded)} of {len(times)} frames")
        pause = times[-1] - times[-2] if len(times) > 1 else 1 / (self._fps or _USUAL_FPS)
        ends = [*times[1:], times[-1] + pause if following is None else following]
        try:
            if self._keeper:
                self._keeper.look(self._latest if self._file else None)
            if self._file is None:
                self._file = self._begin_segment(times, headers(encoded[0]))
            start = self._file.start
            self._file.append(
                [
                    Packet(data, time - start, end - time, is_key(data))
                    for data, time, end in zip(encoded, times, ends, strict=True)
                ]
            )
        except OutputError as error:
            raise OutputError(f"{self._path}: {error}") from error
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _begin_segment(self, times: list[float], private: bytes) -> _File:
        suffix = self._path.suffix.lower()
        fps = self._fps if self._fps and _is_even(times, self._fps) else None
        container: Container
        if suffix == ".mkv":
            container = Matroska(fps)
        elif suffix == ".mp4":
            container = FragmentedMp4()
        else:
            container = Avi(fps or _AVI_FPS)
        if self._keeper:
            self._keeper.tidy(None)
        descriptor, path = self._create(times[0])
        self._latest = path
        if not (self._live or self._is_pipe):
            self._begun.add(path.resolve())
        head = container.head(*self._size, private)
        return _File(descriptor, path, container, head, times[0], self._reserve, lambda: self._cancelled)

    def _create(self, time: float) -> tuple[int, Path]:
        """Open the file of a segment that begins at ``time``."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        if self._is_pipe:
            return os.open(self._path, flags), self._path
        if self._live:
            path = dated(self._path, self._began)
        elif (first := self._path.resolve()) not in self._begun:
            # A link stays, and what it names is written.
            path = first
        else:
            seconds = int(time)
            stamp = f"{seconds // 3600:02}h{seconds // 60 % 60:02}m{seconds % 60:02}s"
            path = self._path.with_stem(f"{self._path.stem}-{stamp}")
        for number in itertools.count(2):
            replaced = path.exists() and not self._live and path.resolve() not in self._begun
            if replaced and (self._force or not has_content(path)):
                return os.open(path, flags | os.O_TRUNC, 0o666), path
            with contextlib.suppress(FileExistsError):
                return os.open(path, flags | os.O_EXCL, 0o666), path
            path = path.with_stem(f"{path.stem if number == 2 else path.stem.rpartition('-')[0]}-{number}")
        raise AssertionError

    def _end_segment(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _give_up_piece(self) -> None:
        self._times = []
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None


class _File:
    """A segment that grows; what was appended stays whatever fails afterwards."""

    def __init__(
        self,
        descriptor: int,
        path: Path,
        container: Container,
        head: bytes,
        start: float,
        reserve: int,
        cancelled: Callable[[], bool],
    ) -> None:
        self.start = self.end = start
        self._reserve = reserve
        self.size = 0
        self._descriptor, self._path = descriptor, path
        self._container, self._head = container, head
        self._cancelled = cancelled
        self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)

    def append(self, packets: list[Packet]) -> None:
        """Write a chunk, or nothing."""
        # A chunk that cannot be written must leave no trace in the times of the next.
        container = copy.copy(self._container)
        data = self._head + container.chunk(packets)
        if self._regular:
            free = shutil.disk_usage(self._path.parent).free
            if free < self._reserve + len(data):
                raise OutputError(f"ends here, because the disk has only {free / 1e6:.0f} MB left")
        try:
            write_all(self._descriptor, data, self._cancelled)
        except OSError:
            if self._regular:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self.size)
                os.lseek(self._descriptor, self.size, os.SEEK_SET)
            raise
        self._container, self._head = container, b""
        self.size += len(data)
        self.end = self.start + packets[-1].seconds
        if self._regular:
            for position, patch in self._container.patches():
                os.pwrite(self._descriptor, patch, position)

    def close(self) -> None:
        """Bring everything to the disk."""
        try:
            if self._regular and not self.size:
                self._path.unlink(missing_ok=True)
            elif self._regular:
                os.fsync(self._descriptor)
                sync_folder(self._path.parent)
        finally:
            os.close(self._descriptor)


def _is_even(times: Sequence[float], fps: float) -> bool:
    """Whether frames come at ``fps`` within 2 ms, the precision of times in containers."""
    return all(abs(later - earlier - 1 / fps) < 0.002 for earlier, later in itertools.pairwise(times))
