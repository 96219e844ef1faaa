"""Lines for people: who looks how, when it changes."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from ..errors import OutputError, printable
from ..faces.faces import Face
from ..pipeline.result import FrameResult
from .base import takes_data, write_line

QUIET_SECONDS = 1.0

_log = logging.getLogger(__name__)

MOST_IN_WORDS = 8
"""More faces than this are counted by what they show."""

_Shown = tuple[tuple[tuple[int | None, str, bool], ...], float]
"""Track, emotion and whether it is unsure of each face, and when that was."""


class ConsoleOutput:
    """Writes a line whenever the faces or their emotions change, and at least once a second.

    With ``every_frame``, as for images that have nothing to do with each other, writes a line each,
    beginning with the image's path. With ``live``, lines are left out while the reader of the stream
    does not read, as a paused terminal, or the disk under it is full: recognition must not wait for it, nor
    end. ``unsure``: put that word before the answer of faces that count as unsure. ``named``: begin lines
    with the camera's name, as there are several.
    """

    failed = False
    """Whether a line was left out because it could not be written."""

    def __init__(
        self,
        every_frame: bool = False,
        stream: TextIO | None = None,
        live: bool = False,
        unsure: bool = True,
        named: bool = False,
    ) -> None:
        self._named = named
        self._every_frame = every_frame
        self._live = live
        self._unsure = unsure
        self._stream = sys.stdout if stream is None else stream
        self._shown: dict[str, _Shown] = {}
        self._cancelled = self._failing = False

    def write(self, result: FrameResult) -> None:
        """Write a line if there is something new.

        Raises :class:`~fer_edge.errors.OutputError` where it was cancelled while its reader did not read,
        and, unless ``live``, where the disk is full or fails.
        """
        state = tuple(
            (face.track, face.emotion, self._unsure and face.unsure)
            for face in sorted(result.faces, key=_by_track)
        )
        shown, shown_at = self._shown.get(result.camera, (None, 0.0))
        if not self._every_frame and state == shown and result.timestamp - shown_at < QUIET_SECONDS:
            return
        if self._live and not takes_data(self._stream):
            return
        head = (
            printable(result.source)
            if self._every_frame
            else f"frame {result.index}  {result.timestamp:.2f} s"
        )
        head = f"{printable(result.camera)}  {head}" if self._named else head
        try:
            write_line(
                self._stream, f"{head}  {describe_faces(result.faces, self._unsure)}", lambda: self._cancelled
            )
        except OutputError as error:
            raise OutputError(f"stdout: {error}") from error
        except OSError as error:
            problem = f"stdout: cannot be written: {error.strerror}"
            if not self._live:
                raise OutputError(problem) from error
            if not self._failing:
                _log.warning("%s; retrying", problem)
            self._failing = self.failed = True
            return
        if self._failing:
            _log.warning("stdout: works again")
            self._failing = False
        self._shown[result.camera] = state, result.timestamp

    def cancel(self) -> None:
        """Give up a line that waits for its reader."""
        self._cancelled = True

    def close(self) -> None:
        """Nothing to finish."""


def describe_faces(faces: Sequence[Face], unsure: bool = True) -> str:
    """Return for example ``2 faces: #1 8 of 10 would say happy; #4 unsure, 4 of 10 would say sad``.

    Of many only counts, as in ``12 faces: 9 happy, 2 neutral, 1 unsure``.
    """
    if not faces:
        return "no face"
    if len(faces) > MOST_IN_WORDS:
        # The labels of 2013 are told without doubt, one by one too.
        counts = Counter(
            "unsure" if unsure and face.unsure and face.labels == "people" else face.emotion for face in faces
        )
        told = ", ".join(f"{count} {word}" for word, count in counts.most_common())
        return f"{len(faces)} faces: {told}"
    words = [
        ("" if face.track is None else f"#{face.track} ") + face.in_words(unsure)
        for face in sorted(faces, key=_by_track)
    ]
    return f"{len(faces)} face{'s' if len(faces) > 1 else ''}: {'; '.join(words)}"


def _by_track(face: Face) -> int:
    return face.track or 0
