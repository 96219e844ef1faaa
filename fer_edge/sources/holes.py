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
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .behind import trailing_in_film
from .containers import header_counts_frames, is_broken
from .packets import packets

LONGEST_STEP = 60.0
"""Seconds from one frame to the next above which the film's clock has jumped, as a damaged time makes it."""

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
    kept: bool = True
    """Whether gaps are kept: only a file can be asked about them, and a pipe may have them without end."""
    begins: array[float] = field(default_factory=lambda: array("d"))
    """Seconds from which on there is no frame, as the container tells them, of each gap."""
    ends: array[float] = field(default_factory=lambda: array("d"))
    """Seconds at which there is a frame again."""
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
        return self._regular >= REGULAR * (self._counted - len(self.begins)) and not self.varying

    @property
    def varying(self) -> bool:
        """Whether there are so many gaps that they are no exception."""
        return len(self.begins) > max(MOST_GAPS * self._counted, 10)

    def _step(self, shown: float) -> None:
        if self.first < 0:
            self.first = shown
        elif self.last >= 0:
            step = shown - self.last
            self._counted += 1
            self._regular += abs(step - self.period) < self.period / 4
            if self.kept and step > 1.5 * self.period and not self.varying:
                self.begins.append(self.last)
                self.ends.append(shown)
        self.last = shown


class Evidence(Protocol):
    """What a film's file tells, besides its frames; asked for what is needed only."""

    @property
    def size(self) -> int:
        """Bytes."""

    def packet_times(self) -> Iterable[float]:
        """The time of each packet in seconds, in the order of the file."""

    def broken(self) -> bool:
        """See :func:`~fer_edge.sources.containers.is_broken`."""

    def counts_frames(self) -> bool:
        """See :func:`~fer_edge.sources.containers.header_counts_frames`."""

    def behind(self) -> str:
        """See :func:`~fer_edge.sources.behind.told_behind_film`."""


@dataclass(frozen=True)
class FileEvidence:
    """The :class:`Evidence` of a file, read when it is asked for."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def packet_times(self) -> Iterable[float]:
        return (packet.seconds for packet in packets(self.path))

    def broken(self) -> bool:
        return is_broken(self.path)

    def counts_frames(self) -> bool:
        return header_counts_frames(self.path)

    def behind(self) -> str:
        return trailing_in_film(self.path)


def count_lost(film: Evidence, steps: Steps, declared: float, missing: int) -> int:
    """How many frames of a film are missing beyond the ``missing`` ones, as the module describes.

    ``declared``: the number of frames by the container's header, or anything where it has none.
    """
    large = film.size > ALWAYS_READ
    if large and not (steps.begins or steps.first > 1.5 * steps.period or declared > steps.given + missing):
        return 0
    half = steps.period / 2
    inside = [0] * len(steps.begins)
    outside = count = 0
    anew = steps.jumps > 0
    newest = -1.0
    for shown in film.packet_times():
        count += 1
        anew = anew or shown < newest - steps.disorder
        newest = max(newest, shown)
        index = bisect.bisect_left(steps.begins, shown - half) - 1
        if not steps.first - half <= shown <= steps.last + half:
            outside += 1
        elif index >= 0 and shown < steps.ends[index] - half:
            inside[index] += 1
    if anew:
        # Of films behind one another times tell nothing.
        return max(0, count - steps.given - missing)
    if not (steps.constant and film.broken()):
        return max(0, outside + sum(inside) - missing - steps.untimed)
    gaps = zip(steps.begins, steps.ends, strict=True)
    vanished = (round((end - begin) / steps.period) - 1 for begin, end in gaps)
    lost = outside + sum(map(max, inside, vanished)) - steps.untimed
    if film.counts_frames():
        lost = max(lost, round(declared) - steps.given)
    return max(0, lost - missing)
