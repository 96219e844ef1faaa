"""The frames of a recorded film, also of a damaged one, with times that only grow."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError
from .base import CAMERA_FPS, Frame, Source
from .behind import told_behind_film
from .holes import Steps, count_lost
from .opencv_capture import FAILED_READS_ALLOWED, Capture

LONGEST_STEP = 60.0
"""Seconds from one frame to the next above which the film's clock has jumped, as a damaged time makes it."""

MOST_MISSING = 0.1
"""Share of a film's frames that may be missing before the run counts as failed."""

_log = logging.getLogger(__name__)


def film(capture: Capture, source: Source, path: Path | None = None) -> Iterator[Frame]:
    """Yield the frames of an open ``capture`` that ``source`` wants; the others are not converted to BGR.

    Those that the film lacks are counted in ``source.missing``; ``path``: the file, where it is one, of which
    also frames count that are missing without a failed read, see :mod:`.holes`.

    Raises :class:`~fer_edge.errors.SourceError` where there is no frame at all.
    """
    import cv2

    declared = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    fps = source.fps or CAMERA_FPS
    clock = _Clock(fps)
    steps = Steps(1 / fps, max(LONGEST_STEP, 100 / fps))
    index = failed = 0
    while failed <= FAILED_READS_ALLOWED:
        grabbed = capture.grab()
        if grabbed:
            shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = clock.seconds(index, shown)
            wanted = source.wants(seconds)
            image = capture.retrieve() if wanted else None
        index += 1
        if not grabbed or (wanted and image is None):
            failed += 1
            continue
        source.missing += failed
        failed = 0
        steps.add(shown if math.isfinite(shown) else 0.0)
        if image is not None:
            yield Frame(image, seconds, source.name)
    if not steps.given:
        raise SourceError(f"{source.name}: no picture or frame in it can be decoded")
    if clock.jumps:
        _log.warning("%s: the film's clock jumps %d times; bridged", source.name, clock.jumps)
    steps.end()
    if path is not None:
        source.missing += count_lost(path, steps, declared, source.missing)
        if behind := told_behind_film(path):
            _log.warning("%s: also holds %s, which is not read", source.name, behind)
    if source.missing:
        _log.warning("%s: %d damaged frames are left out", source.name, source.missing)
    # Some containers count one frame more than they hold.
    if declared > steps.given + source.missing + 1:
        _log.warning(
            "%s: gives %d of %d frames; damaged?", source.name, steps.given + source.missing, declared
        )
        # Others guess the number from the length, so that must fall short, too.
        if clock.last < (1 - MOST_MISSING) * declared / fps:
            source.missing = round(declared) - steps.given


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
