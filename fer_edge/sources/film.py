"""The frames of a recorded film, also of a damaged one, with times that only grow."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError
from .base import CAMERA_FPS, Frame, Source
from .course import NEAR, Leaps
from .holes import LONGEST_STEP, Evidence, FileEvidence, Steps, count_lost
from .opencv_capture import FAILED_READS_ALLOWED, Capture

MOST_MISSING = 0.1
"""Share of a film's frames that may be missing before the run counts as failed."""

_log = logging.getLogger(__name__)


def film(
    capture: Capture, source: Source, path: Path | None = None, leaps: Leaps | None = None
) -> Iterator[Frame]:
    """Yield the frames of an open ``capture`` that ``source`` wants; the others are not converted to BGR.

    Those that the film lacks are counted in ``source.missing``; ``path``: the file, where it is one, of which
    also frames count that are missing without a failed read, see :mod:`.holes`. ``leaps``: over frames that
    are not wanted, see :mod:`.course`.

    Raises :class:`~fer_edge.errors.SourceError` where there is no frame at all.
    """
    import cv2

    declared = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    account = Account(source.name, source.fps, declared, is_file=path is not None)
    index = failed = 0
    held, begin = False, -math.inf
    while failed <= FAILED_READS_ALLOWED:
        if leaps and not failed and (leap := leaps.leap(capture)):
            capture, held, begin = leap.capture, leap.grabbed, leap.until
            for shown in map(float, leap.passed):
                source.wants(account.seconds(index, shown))
                account.give(shown)
                index += 1
        grabbed = held or (leaps.grab(capture) if leaps else capture.grab())
        held = False
        if grabbed:
            shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if shown < begin - NEAR:
                failed = 0
                continue
            begin = -math.inf
            if leaps:
                leaps.saw(shown)
            seconds = account.seconds(index, shown)
            wanted = source.wants(seconds)
            image = capture.retrieve() if wanted else None
        index += 1
        if not grabbed or (wanted and image is None):
            failed += 1
            continue
        account.give(shown, failed)
        source.missing, failed = account.missing, 0
        if image is not None:
            yield Frame(image, seconds, source.name)
    account.end(None if path is None else FileEvidence(path))
    source.missing = account.missing


class Account:
    """What a film's frames amount to: their times, and how many are missing.

    ``name``: of the film, for messages. ``fps``: frames a second by the container, where known.
    ``declared``: their number by its header, or anything where it has none. ``is_file``: whether :meth:`end`
    will be given a file.
    """

    def __init__(self, name: str, fps: float | None, declared: float, is_file: bool = True) -> None:
        self.missing = 0
        self._name, self._declared = name, declared
        self._fps = fps or CAMERA_FPS
        self._clock = _Clock(self._fps)
        self._steps = Steps(1 / self._fps, max(LONGEST_STEP, 100 / self._fps), is_file)

    def seconds(self, index: int, shown: float) -> float:
        """The time of frame ``index``, for which the container tells ``shown`` seconds."""
        return self._clock.seconds(index, shown)

    def give(self, shown: float, failed: int = 0) -> None:
        """Take a frame that the container shows at ``shown`` seconds, after so many failed reads."""
        self.missing += failed
        self._steps.add(shown if math.isfinite(shown) else 0.0)

    def end(self, film: Evidence | None = None) -> None:
        """Count what is missing from the whole, and warn of it; ``film``: what its file tells.

        Raises :class:`~fer_edge.errors.SourceError` where there was no frame at all.
        """
        name, steps, declared = self._name, self._steps, self._declared
        if not steps.given:
            raise SourceError(f"{name}: no picture or frame in it can be decoded")
        if self._clock.jumps:
            _log.warning("%s: the film's clock jumps %d times; bridged", name, self._clock.jumps)
        steps.end()
        if film is not None:
            self.missing += count_lost(film, steps, declared, self.missing)
            if behind := film.behind():
                _log.warning("%s: also holds %s, which is not read", name, behind)
        if self.missing:
            _log.warning("%s: %d damaged frames are left out", name, self.missing)
        # Some containers count one frame more than they hold.
        if declared > steps.given + self.missing + 1 and not (
            film and self._reaches_end and not film.broken()
        ):
            _log.warning("%s: gives %d of %d frames; damaged?", name, steps.given + self.missing, declared)
            # Others guess the number from the length, so that must fall short, too.
            if self._clock.last < (1 - MOST_MISSING) * declared / self._fps:
                self.missing = round(declared) - steps.given

    @property
    def _reaches_end(self) -> bool:
        """Whether the frames' own times go on to the end.

        Matroska and others do not tell a number of frames, so it is guessed from length and rate: of a film
        with a varying rate it is wrong, although the film is whole.
        """
        frames = self._steps.given + self.missing
        step = self._clock.last / max(frames - 1, 1)
        return not self._steps.jumps and self._declared / self._fps - self._clock.last <= 2 * step


class _Clock:
    """Times of frames that only grow, from what a container tells of each."""

    def __init__(self, fps: float) -> None:
        self.last = -1.0
        self.jumps = 0
        self._fps = fps
        self._shown = 0.0
        self._offset = 0.0

    def seconds(self, index: int, shown: float) -> float:
        """The time of frame ``index``, for which the container tells ``shown`` seconds.

        Telephones film at a varying rate, so that what is told counts. A container that does not tell
        gives 0 each time.
        """
        counted = index / self._fps
        if not math.isfinite(shown) or shown <= 0:
            self.last = counted if counted > self.last else self.last + 1 / self._fps
            return self.last
        step = shown - self._shown
        if self.last >= 0 and not 0 < step <= max(LONGEST_STEP, 100 / self._fps):
            # Also where two films were joined and the second starts from 0.
            self.jumps += step != 0
            self._offset = self.last + 1 / self._fps - shown
        self._shown = shown
        self.last = max(shown + self._offset, self.last + 1e-6)
        return self.last
