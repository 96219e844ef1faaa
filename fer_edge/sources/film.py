"""The frames of a recorded film, also of a damaged one, with times that only grow."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

from ..errors import SourceError
from .base import CAMERA_FPS, Frame, Source
from .opencv_capture import FAILED_READS_ALLOWED, Capture

LONGEST_STEP = 60.0
"""Seconds from one frame to the next above which the film's clock has jumped, as a damaged time makes it."""

MOST_MISSING = 0.1
"""Share of a film's frames that may be missing before the run counts as failed."""

_log = logging.getLogger(__name__)


def film(capture: Capture, source: Source) -> Iterator[Frame]:
    """Yield the frames of an open ``capture`` that ``source`` wants; the others are not converted to BGR.

    Those that cannot be decoded are counted in ``source.missing``.

    Raises :class:`~fer_edge.errors.SourceError` where there is no frame at all.
    """
    import cv2

    declared = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    clock = _Clock(source.fps or CAMERA_FPS)
    index = failed = given = 0
    while failed <= FAILED_READS_ALLOWED:
        grabbed = capture.grab()
        if grabbed:
            seconds = clock.seconds(index, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            wanted = source.wants(seconds)
            image = capture.retrieve() if wanted else None
        index += 1
        if not grabbed or (wanted and image is None):
            failed += 1
            continue
        source.missing += failed
        failed = 0
        given += 1
        if image is not None:
            yield Frame(image, seconds, source.name)
    if not given:
        raise SourceError(f"{source.name}: no picture or frame in it can be decoded")
    if source.missing:
        _log.warning("%s: %d damaged frames are left out", source.name, source.missing)
    if clock.jumps:
        _log.warning("%s: the film's clock jumps %d times; bridged", source.name, clock.jumps)
    end = index - failed
    # Some containers count one frame more than they hold.
    if declared > end + 1:
        _log.warning("%s: gives %d of %d frames; damaged?", source.name, given + source.missing, declared)
        # Others guess the number from the length, so that must fall short, too.
        if clock.last < (1 - MOST_MISSING) * declared / (source.fps or CAMERA_FPS):
            source.missing += round(declared) - end


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
