"""Frames that a film lacks although no read failed, in its middle, at its beginning or at its end.

OpenCV passes over packets that cannot be decoded, and a container passes over bytes that make no sense.
Both leave a gap in the times of the frames, and so does a pause of a camera that films at a varying rate.
Told apart are they by the container: where it holds packets for the time of a gap, these are frames that
could not be decoded; where it holds none, but breaks somewhere (:mod:`.containers`), and all other frames
come at the same rate, frames were lost. A pause is neither.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .containers import header_counts_frames, is_broken
from .opencv_capture import open_capture

ALWAYS_READ = 64 << 20
"""Bytes up to which a file's packets are always counted; those of larger files where times are suspicious."""

OUT_OF_ORDER = 16
"""Frames by which the order of a film's frames may differ from that of their times."""

MOST_GAPS = 0.1
"""Share of steps that may be gaps; a film with more is one of a varying rate."""

REGULAR = 0.9
"""Share of the other steps that are one frame long where the rate is constant."""


@dataclass
class Steps:
    """Collects the gaps between the frames of a film."""

    period: float
    """Seconds from one frame to the next, by the container's rate."""
    longest: float
    """Seconds above which a step is a jump of the clock."""
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """Seconds between which there is no frame, as the container tells them."""
    given: int = 0
    untimed: int = 0
    """Those of the given frames of which the container tells no time."""
    first: float = -1.0
    last: float = -1.0
    jumps: int = 0
    _regular: int = 0
    _counted: int = 0
    _waiting: list[float] = field(default_factory=list)

    def add(self, shown: float) -> None:
        """Take a frame that the container shows at ``shown`` seconds, 0 where it does not tell."""
        self.given += 1
        # The first frame is at 0.
        if shown <= 0 and self.given > 1:
            self.untimed += 1
            return
        if self._waiting and not -self.disorder <= shown - self._waiting[0] <= self.longest:
            self.jumps += 1
            self.end()
            self.last = -1.0
        heapq.heappush(self._waiting, shown)
        if len(self._waiting) > OUT_OF_ORDER:
            self._step(heapq.heappop(self._waiting))

    def end(self) -> None:
        """Take the end of the film."""
        while self._waiting:
            self._step(heapq.heappop(self._waiting))

    @property
    def disorder(self) -> float:
        """Seconds by which frames come out of their order, where some refer to later ones."""
        return OUT_OF_ORDER * self.period

    @property
    def constant(self) -> bool:
        """Whether frames come at a constant rate, but for a few gaps."""
        return self._regular >= REGULAR * (self._counted - len(self.gaps)) and not self.varying

    @property
    def varying(self) -> bool:
        """Whether there are so many gaps that they are no exception."""
        return len(self.gaps) > max(MOST_GAPS * self._counted, 10)

    def _step(self, shown: float) -> None:
        if self.first < 0:
            self.first = shown
        elif self.last >= 0:
            step = shown - self.last
            self._counted += 1
            self._regular += abs(step - self.period) < self.period / 4
            if step > 1.5 * self.period and not self.varying:
                self.gaps.append((self.last, shown))
        self.last = shown


def count_lost(path: Path, steps: Steps, declared: float, missing: int) -> int:
    """How many frames of the film ``path`` are missing beyond the ``missing`` ones, as the module describes.

    ``declared``: the number of frames by the container's header, or anything where it has none.
    """
    large = path.stat().st_size > ALWAYS_READ
    if large and not (steps.gaps or steps.first > 1.5 * steps.period or declared > steps.given + missing):
        return 0
    half = steps.period / 2
    starts = [begin for begin, _ in steps.gaps]
    inside = [0] * len(steps.gaps)
    outside = packets = 0
    anew = steps.jumps > 0
    newest = -1.0
    for shown in _packet_times(path):
        packets += 1
        anew = anew or shown < newest - steps.disorder
        newest = max(newest, shown)
        index = bisect.bisect_left(starts, shown - half) - 1
        if not steps.first - half <= shown <= steps.last + half:
            outside += 1
        elif index >= 0 and shown < steps.gaps[index][1] - half:
            inside[index] += 1
    if anew:
        # Of films behind one another times tell nothing.
        return max(0, packets - steps.given - missing)
    if not (steps.constant and is_broken(path)):
        return max(0, outside + sum(inside) - missing - steps.untimed)
    vanished = (round((end - begin) / steps.period) - 1 for begin, end in steps.gaps)
    lost = outside + sum(map(max, inside, vanished)) - steps.untimed
    if header_counts_frames(path):
        lost = max(lost, round(declared) - steps.given)
    return max(0, lost - missing)


def _packet_times(path: Path) -> Iterator[float]:
    """The time of each packet of a film, in seconds, in the order of the file; nothing is decoded."""
    import cv2

    capture = open_capture(str(path), [cv2.CAP_PROP_FORMAT, -1])
    try:
        while capture.opened and capture.grab():
            yield capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    finally:
        capture.release()
