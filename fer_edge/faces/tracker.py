"""Who is who from frame to frame, and emotions smoothed for each face by itself.

Tracks are matched to detections greedily by intersection over union with the box that a constant
velocity predicts, as in Bochinski, Eiselein, Sikora: "High-Speed Tracking-by-Detection Without
Using Image Information", AVSS 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .detector import Detection

Box = tuple[float, float, float, float]

MIN_IOU = 0.2
"""Least overlap of the predicted and the detected box of one face; low, for few frames a second."""

MAX_MISSED = 5
"""Detector passes in a row that a track outlives without a detection."""

MAX_UNSEEN = 1.0
"""Seconds without a detection, after which a track that was missed is dropped whatever the frame rate."""

MAX_EXTRAPOLATION = 0.5
"""Seconds over which a velocity is trusted; a face that moved on has stopped or turned by then."""


@dataclass(frozen=True, eq=False)
class Track:
    """One face over time, as last detected or predicted."""

    id: int
    """Counts from 1 and is never used again."""
    box: Box
    """x, y, width, height in pixels."""
    score: float
    """The detector's, from the last time it saw the face."""
    landmarks: NDArray[np.float32]
    """(5, 2), in the order of :class:`~fer_edge.faces.detector.Detection`."""
    seen: float
    """Timestamp of the last detection, in seconds."""
    velocity: tuple[float, float] | None = None
    """Of the box's centre in pixels a second; ``None`` until the face was detected twice."""
    missed: int = 0
    """Detector passes since the last detection."""


@dataclass(frozen=True, eq=False)
class _Smoothed:
    """Running mean of one track's probabilities."""

    probabilities: NDArray[np.float32]
    timestamp: float


class Tracker:
    """Keeps tracks of the faces of one camera or video.

    ``smoothing``: time constant in seconds of the exponential mean over a track's probabilities; 0
    switches it off. Being in seconds, it means the same at any frame rate. Timestamps given to the
    methods are seconds that never decrease.
    """

    def __init__(self, smoothing: float = 0.4) -> None:
        if not (math.isfinite(smoothing) and smoothing >= 0):
            raise ValueError(f"smoothing must be 0 or more seconds, got {smoothing}")
        self.smoothing = smoothing
        self._tracks: list[Track] = []
        self._smoothed: dict[int, _Smoothed] = {}
        self._last_id = 0

    @property
    def count(self) -> int:
        """How many tracks there have been so far."""
        return self._last_id

    @property
    def lost(self) -> bool:
        """Whether the latest detector pass missed a track that is still kept."""
        return any(track.missed for track in self._tracks)

    def update(self, detections: Sequence[Detection], timestamp: float) -> list[Track]:
        """Take the faces that the detector found in a frame; return their tracks in the same order.

        A kept track that was not found is not among them.
        """
        predicted = [_moved(track, timestamp).box for track in self._tracks]
        pairs = match([detection.box for detection in detections], predicted, MIN_IOU)
        current = []
        for index, detection in enumerate(detections):
            if index in pairs:
                current.append(_seen_again(self._tracks[pairs[index]], detection, timestamp))
            else:
                self._last_id += 1
                current.append(
                    Track(self._last_id, detection.box, detection.score, detection.landmarks, timestamp)
                )
        matched = set(pairs.values())
        missed = [
            replace(track, missed=track.missed + 1)
            for index, track in enumerate(self._tracks)
            if index not in matched and track.missed < MAX_MISSED and timestamp - track.seen <= MAX_UNSEEN
        ]
        self._tracks = current + missed
        kept = {track.id for track in self._tracks}
        self._smoothed = {id: state for id, state in self._smoothed.items() if id in kept}
        return current

    def predict(self, timestamp: float) -> list[Track]:
        """Return the tracks that the latest detector pass saw, moved on to ``timestamp``."""
        return [_moved(track, timestamp) for track in self._tracks if not track.missed]

    def smooth(
        self, tracks: Sequence[Track], probabilities: NDArray[np.float32], timestamp: float
    ) -> NDArray[np.float32]:
        """Fold ``probabilities`` (n, k) into the means of their ``tracks``; return those means (n, k).

        Each track has a mean of its own, ``m += (1 - exp(-dt / smoothing)) * (p - m)``, that starts
        at its first probabilities.
        """
        means = np.array(probabilities, np.float32)
        for track, mean in zip(tracks, means, strict=True):
            before = self._smoothed.get(track.id)
            if before is not None and self.smoothing > 0:
                kept = math.exp(-(timestamp - before.timestamp) / self.smoothing)
                mean += kept * (before.probabilities - mean)
            self._smoothed[track.id] = _Smoothed(mean, timestamp)
        return means.copy()


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes (x, y, width, height), 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def match(boxes: Sequence[Box], others: Sequence[Box], min_iou: float) -> dict[int, int]:
    """Pair ``boxes`` with ``others`` one to one, largest overlap first; return the indices of the pairs."""
    overlaps = [
        (iou(box, other), index, other_index)
        for index, box in enumerate(boxes)
        for other_index, other in enumerate(others)
    ]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for overlap, index, other_index in sorted(overlaps, key=lambda entry: -entry[0]):
        if overlap < min_iou:
            break
        if index not in pairs and other_index not in taken:
            pairs[index] = other_index
            taken.add(other_index)
    return pairs


def _moved(track: Track, timestamp: float) -> Track:
    if track.velocity is None:
        return track
    seconds = min(timestamp - track.seen, MAX_EXTRAPOLATION)
    dx, dy = (speed * seconds for speed in track.velocity)
    x, y, width, height = track.box
    return replace(
        track,
        box=(x + dx, y + dy, width, height),
        landmarks=track.landmarks + np.array([dx, dy], np.float32),
    )


def _seen_again(track: Track, detection: Detection, timestamp: float) -> Track:
    velocity = track.velocity
    seconds = timestamp - track.seen
    if seconds > 0:
        old, new = _centre(track.box), _centre(detection.box)
        measured = ((new[0] - old[0]) / seconds, (new[1] - old[1]) / seconds)
        # A detector's boxes tremble; half of the old velocity takes most of that out.
        velocity = (
            measured
            if velocity is None
            else ((velocity[0] + measured[0]) / 2, (velocity[1] + measured[1]) / 2)
        )
    return Track(track.id, detection.box, detection.score, detection.landmarks, timestamp, velocity)


def _centre(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2
