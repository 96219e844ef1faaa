"""Tracking: which face is which from frame to frame.

Tracks are matched to detections greedily by intersection over union with the box that a constant
velocity predicts, as in Bochinski, Eiselein, Sikora: "High-Speed Tracking-by-Detection Without
Using Image Information", AVSS 2017; what is left over, with the box where a face was last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..defaults import MIN_HITS
from .faces import Faces, no_faces

MIN_IOU = 0.2
"""Least overlap of the predicted and the detected box of one face; low, as frames may be few a second."""

MAX_MISSED = 5
"""Detector passes in a row without a detection that a track outlives before it counts as a person."""

MAX_UNSEEN = 1.0
"""Seconds without a detection, after which a track that was missed is dropped whatever the frame rate."""

MAX_EXTRAPOLATION = 0.5
"""Seconds over which a velocity is trusted; a face that moved on has stopped or turned by then."""

SPARSE = 0.25
"""Seconds between frames from which on boxes of the same face need not overlap."""

_SEARCH_EVERY = 3
"""After :data:`MAX_MISSED` passes, one in so many asks for the whole frame where somebody is missed."""

_OF_MISSED = 0.8
"""What an overlap with a missed track counts: where people cross, who is in sight is who was in sight."""

_LEAST_STEP = 1 / 40
"""Seconds over which a velocity is measured at least: frames of a burst come faster than they were taken."""

_SPEED = 4.0
"""Widths of itself that a face moves in a second at most, for what is matched without overlap, ..."""
_REACH = 2.0
"""... and altogether: further away it is rather somebody else, ..."""
_REACH_SECONDS = 1.5
"""... as it is after so many seconds."""
_SIZES = 0.6
"""Least ratio of the sides of such boxes."""
_LONGEST_UNSEEN = 3.0
"""Seconds without a detection after which a track is dropped also where a pass takes longer than a second."""


@dataclass(frozen=True, eq=False)
class _Tracks:
    """The m tracks that are kept, as arrays with a row for each."""

    keys: NDArray[np.int64]
    """Count every track from 1, persons or not."""
    ids: NDArray[np.int64]
    """Count persons from 1; 0 before a track counts as one."""
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    seen: NDArray[np.float64]
    """Timestamp of the last detection, in seconds."""
    velocities: NDArray[np.float32]
    """(m, 2): of the box's centre in pixels a second; NaN until it was measured."""
    starts: NDArray[np.float32]
    """(m, 2): the centre from which the next velocity is measured, ..."""
    started: NDArray[np.float64]
    """... and the timestamp of that detection, in seconds."""
    missed: NDArray[np.int64]
    """Detector passes since the last detection."""
    hits: NDArray[np.int64]
    """Detections so far."""

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, rows: Any) -> _Tracks:
        """Return the tracks at ``rows``, an index array or mask."""
        return _Tracks(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def followed_by(self, others: _Tracks) -> _Tracks:
        """Return these tracks and then ``others``."""
        return _Tracks(
            **{
                name: np.concatenate([getattr(self, name), getattr(others, name)])
                for name in self.__dataclass_fields__
            }
        )

    def shifts(self, timestamp: float) -> NDArray[np.float32]:
        """Return how far each face has moved since it was seen, float32 (m, 2), as far as is known."""
        seconds = np.minimum(timestamp - self.seen, MAX_EXTRAPOLATION)[:, np.newaxis]
        shifts: NDArray[np.float32] = (self.velocities * seconds).astype(np.float32)
        shifts[np.isnan(shifts)] = 0
        return shifts


class Tracker:
    """Keeps tracks of the faces of one camera or video.

    ``min_hits``: see :data:`fer_edge.defaults.MIN_HITS`. Timestamps given to the methods are seconds that
    never decrease.
    """

    def __init__(self, min_hits: int = MIN_HITS) -> None:
        if min_hits < 1:
            raise ValueError(f"min_hits must be 1 or more, got {min_hits}")
        self.min_hits = min_hits
        self._persons = 0
        self._last_key = 0
        self._tracks = self._new(no_faces(), 0.0)
        self._current = np.empty(0, np.int64)
        self._updated = 0.0

    @property
    def count(self) -> int:
        """How many persons there have been so far."""
        return self._persons

    @property
    def lost(self) -> bool:
        """Whether to look for a track that was missed: at first in each pass, then in every third."""
        missed = self._tracks.missed
        return bool(np.any((missed > 0) & ((missed <= MAX_MISSED) | (missed % _SEARCH_EVERY == 0))))

    @property
    def keys(self) -> NDArray[np.int64]:
        """Keys, int64 (n,), of the tracks of the faces returned last, in the same order.

        A key names one track from its first detection on, before it counts as a person, too.
        """
        return self._current

    @property
    def kept_keys(self) -> NDArray[np.int64]:
        """Keys of all tracks that are kept, int64 (m,)."""
        return self._tracks.keys

    def update(self, faces: Faces, timestamp: float) -> Faces:
        """Take the ``faces`` that the detector found in a frame; return them with their ids.

        A kept track that was not found is not among them.
        """
        tracks, step, self._updated = self._tracks, timestamp - self._updated, timestamp
        predicted = tracks.boxes.copy()
        predicted[:, :2] += tracks.shifts(timestamp)
        likeness = iou(faces.boxes, predicted) * np.where(tracks.missed > 0, _OF_MISSED, 1.0)
        if step >= SPARSE:
            # The prediction for a face that moved by its width and stopped may overlap another face.
            likeness = np.maximum(likeness, _nearness(faces.boxes, tracks, predicted, timestamp))
        matched, of_track = _paired(likeness, MIN_IOU)
        if len(matched) < min(len(faces), len(tracks)):
            matched, of_track = _with_stopped(matched, of_track, faces.boxes, tracks, predicted, timestamp)
        current = self._seen_again(tracks.at(of_track), faces, matched, timestamp)
        # Mostly the same faces are there again, and nothing else needs to be done.
        if len(matched) < len(faces):
            is_new = np.ones(len(faces), np.bool_)
            is_new[matched] = False
            order = np.argsort(np.concatenate([matched, np.flatnonzero(is_new)]), kind="stable")
            current = current.followed_by(self._new(faces.at(is_new), timestamp)).at(order)
        self._tracks = current = self._with_ids(current)
        self._current = current.keys
        if len(of_track) < len(tracks):
            missed = np.ones(len(tracks), np.bool_)
            missed[of_track] = False
            # A pass that misses a face once in a while must not end its track, however seldom passes are.
            unseen = max(MAX_UNSEEN, min(1.5 * step, _LONGEST_UNSEEN))
            missed &= (tracks.ids > 0) | (tracks.missed < MAX_MISSED)
            missed &= timestamp - tracks.seen <= unseen
            rest = tracks.at(missed)
            self._tracks = current.followed_by(replace(rest, missed=rest.missed + 1))
        return replace(faces, ids=current.ids, detected=np.ones(len(faces), np.bool_))

    def forget(self) -> None:
        """Drop all tracks; the numbers of persons go on."""
        self._tracks = self._new(no_faces(), 0.0)
        self._current = self._tracks.keys

    def expected(self, timestamp: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return where the faces that were seen last should be at ``timestamp``: keys (n,), boxes (n, 4)."""
        tracks = self._tracks.at(self._tracks.missed == 0)
        boxes = tracks.boxes.copy()
        boxes[:, :2] += tracks.shifts(timestamp)
        return tracks.keys, boxes

    def _new(self, faces: Faces, timestamp: float) -> _Tracks:
        count = len(faces)
        keys = np.arange(self._last_key + 1, self._last_key + 1 + count)
        self._last_key += count
        return _Tracks(
            keys=keys,
            ids=np.zeros(count, np.int64),
            boxes=faces.boxes,
            scores=faces.scores,
            landmarks=faces.landmarks,
            seen=np.full(count, timestamp),
            velocities=np.full((count, 2), np.nan, np.float32),
            starts=_centres(faces.boxes),
            started=np.full(count, timestamp),
            missed=np.zeros(count, np.int64),
            hits=np.ones(count, np.int64),
        )

    def _seen_again(
        self, tracks: _Tracks, faces: Faces, rows: NDArray[np.int64], timestamp: float
    ) -> _Tracks:
        """The ``tracks`` as they are after the detections at ``rows`` of ``faces``."""
        seconds = (timestamp - tracks.started)[:, np.newaxis]
        centres = _centres(faces.boxes[rows])
        due = seconds >= _LEAST_STEP
        measured = (centres - tracks.starts) / np.maximum(seconds, _LEAST_STEP)
        # A detector's boxes tremble; half of the old velocity takes most of that out.
        velocities = np.where(np.isnan(tracks.velocities), measured, (tracks.velocities + measured) / 2)
        return replace(
            tracks,
            boxes=faces.boxes[rows],
            scores=faces.scores[rows],
            landmarks=faces.landmarks[rows],
            seen=np.full(len(rows), timestamp),
            velocities=np.where(due, velocities, tracks.velocities).astype(np.float32),
            starts=np.where(due, centres, tracks.starts),
            started=np.where(due[:, 0], timestamp, tracks.started),
            missed=np.zeros(len(rows), np.int64),
            hits=tracks.hits + 1,
        )

    def _with_ids(self, tracks: _Tracks) -> _Tracks:
        """The ``tracks`` with an id for each that has been detected often enough."""
        due = (tracks.ids == 0) & (tracks.hits >= self.min_hits)
        if not due.any():
            return tracks
        ids = tracks.ids.copy()
        ids[due] = np.arange(self._persons + 1, self._persons + 1 + np.count_nonzero(due))
        self._persons += int(np.count_nonzero(due))
        return replace(tracks, ids=ids)


def iou(boxes: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the intersection over union, 0 to 1, of each of ``boxes`` with each of ``others``.

    ``boxes`` (n, 4) and ``others`` (m, 4) hold x, y, width, height; the result is float64 (n, m).
    """
    a, b = np.asarray(boxes, np.float64)[:, np.newaxis], np.asarray(others, np.float64)[np.newaxis]
    ends = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.maximum(ends - np.maximum(a[..., :2], b[..., :2]), 0).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    ratios: NDArray[np.float64] = shared / np.maximum(union, np.finfo(np.float64).tiny)
    # A box that is no box overlaps nothing.
    ratios[np.isnan(ratios)] = 0
    return ratios


def match(
    boxes: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]], min_iou: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair ``boxes`` (n, 4) with ``others`` (m, 4) one to one, largest overlap first.

    Returns the indices of the pairs in each, int64 (k,), by the first in ascending order.
    """
    return _paired(iou(boxes, others), min_iou)


def _paired(likeness: NDArray[np.float64], least: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows with columns of ``likeness`` (n, m), which is overwritten, as :func:`match` does."""
    pairs = []
    for _ in range(min(likeness.shape)):
        index, other = np.unravel_index(likeness.argmax(), likeness.shape)
        if likeness[index, other] < least:
            break
        pairs.append((index, other))
        likeness[index], likeness[:, other] = -1, -1
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _with_stopped(
    matched: NDArray[np.int64],
    of_track: NDArray[np.int64],
    boxes: NDArray[np.float32],
    tracks: _Tracks,
    predicted: NDArray[np.float32],
    timestamp: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of ``boxes`` (n, 4) and tracks, and of the rest where a face stopped, turned, or just came.

    The prediction is wrong for all of these. Each is looked for where it was last, by overlap, and if it was
    seen just before, also within reach.
    """
    free = np.setdiff1d(np.arange(len(boxes)), matched)
    kept = np.setdiff1d(np.arange(len(tracks)), of_track)
    rest = tracks.at(kept)
    near = _nearness(boxes[free], rest, predicted[kept], timestamp)
    near[:, timestamp - rest.seen >= SPARSE] = 0
    more, of_rest = _paired(np.maximum(iou(boxes[free], rest.boxes), near), MIN_IOU)
    matched, of_track = np.append(matched, free[more]), np.append(of_track, kept[of_rest])
    order = np.argsort(matched)
    return matched[order], of_track[order]


def _nearness(
    boxes: NDArray[np.float32], tracks: _Tracks, predicted: NDArray[np.float32], timestamp: float
) -> NDArray[np.float64]:
    """How near each of ``boxes`` (n, 4) is to each of m tracks, float64 (n, m): 1 and more, 0 out of reach.

    At two frames a second a head that turns aside is a whole width further on. What counts is the nearer of
    where the face was last and where it was going, as it may have stopped.
    """
    seconds = timestamp - tracks.seen
    reach = np.where(seconds <= _REACH_SECONDS, np.minimum(_SPEED * seconds, _REACH), 0.0)
    centres = _centres(boxes)[:, np.newaxis]
    with np.errstate(invalid="ignore", divide="ignore"):
        sides, others = (
            np.sqrt(each[:, 2:].prod(axis=1, dtype=np.float64)) for each in (boxes, tracks.boxes)
        )
        ways = [np.linalg.norm(centres - _centres(each), axis=2) for each in (tracks.boxes, predicted)]
        far = np.minimum(*ways) / others
        ratios = sides[:, np.newaxis] / others
        within = (far <= reach) & (ratios >= _SIZES) & (ratios <= 1 / _SIZES)
    return np.where(within, 1 + _REACH - far, 0.0)


def _centres(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    centres: NDArray[np.float32] = boxes[:, :2] + boxes[:, 2:] / np.float32(2)
    return centres
