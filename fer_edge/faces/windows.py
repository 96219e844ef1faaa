"""Following faces from frame to frame: known ones in windows, new ones in whole frames.

A window is a small square around a tracked face. Searching it takes a fifth of the time of a whole frame, and
as it stays put while the face does, the detector sees the same pixels again and its boxes tremble less.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..kernels.fallback.decode import NMS_IOU
from ..kernels.planes import Chroma
from .detector import FULL, FaceDetector
from .faces import Faces, no_faces, together
from .tracker import MIN_IOU, Tracker, iou, match

SIZE = 128
"""Pixels a side of what the detector sees of a window, and the least a window has in the frame."""

SIDE_PER_FACE = 2.0
"""Side of a window over the longer side of the face's box."""

MOST = 3
"""Tracked faces up to which windows are searched; with more a whole frame takes no longer."""

DETECT_EVERY = 10
"""On live sources, a whole frame in so many is searched for new faces."""

_MIDDLE = 0.08
"""A window stays while the face's centre is no further from its own, of its side, along either axis."""
_SIZES = (0.85, 1.18)
"""It stays while its side is within these limits of what the face asks for."""


@dataclass(frozen=True)
class Window:
    """A square in pixels of a frame, which may leave it: its centre and side."""

    x: float
    y: float
    side: int

    def suits(self, other: Window) -> bool:
        """Whether this one may go on in the place of another, whose face would be in its middle."""
        shift = max(abs(self.x - other.x), abs(self.y - other.y))
        return shift < _MIDDLE * self.side and _SIZES[0] < self.side / other.side < _SIZES[1]

    def edges(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom of the window in a frame of ``width`` and ``height``.

        One that leaves the frame is moved into it, and cut where it is larger.
        """
        left, right = _span(self.x, self.side, width)
        top, bottom = _span(self.y, self.side, height)
        return left, top, right, bottom


def window_around(box: NDArray[np.float32]) -> Window:
    """Return the window with a face's ``box`` (4,), x, y, width, height, in its middle."""
    x, y, width, height = box.tolist()
    side = max(SIZE, 2 * round(SIDE_PER_FACE * max(width, height) / 2))
    return Window(x + width / 2, y + height / 2, side)


def _span(centre: float, side: int, length: int) -> tuple[int, int]:
    side = min(side, length)
    # Even, as colour may have half the rows and columns.
    start = min(max(0, 2 * round((centre - side / 2) / 2)), length - side)
    return start, start + side


Seen = Callable[[Faces], Faces]
"""Returns those of the faces that a detector found that count."""


@dataclass(frozen=True)
class _Picture:
    """What is searched, and what counts in it."""

    frame: NDArray[np.uint8]
    chroma: Chroma | None
    seen: Seen


class Follower:
    """Finds the faces of frames that follow from each other, and keeps a tracker up to date.

    Where one to :data:`MOST` faces are tracked, each is searched for in its window; others that are whole
    in one are found, too. A whole frame is searched each ``every`` frames, at once where a face was lost
    (and more often for a second: see :attr:`.Tracker.lost`), and always where none is tracked or more than
    pay; beside windows it only adds faces that none of them found.
    ``every`` 1: whole frames only, so that what is found in a frame depends on no other. ``size``: see
    :meth:`.FaceDetector.detect`, or ``"full"``.

    ``beside``: while windows are searched, search every ``every``-th frame in a thread of its own, so that
    no frame takes as long as both; what it finds is looked for in a later frame, in windows.
    """

    def __init__(
        self,
        detector: FaceDetector,
        tracker: Tracker,
        every: int,
        size: int | Literal["full"],
        *,
        beside: bool = False,
    ) -> None:
        self._detector = detector
        self._tracker = tracker
        self.every = every
        """May be changed between two frames."""
        self._size: int | Literal["full"] = size
        self._since = every
        self._windows: dict[int, Window] = {}
        self._thread = ThreadPoolExecutor(1, "whole frames") if beside else None
        self._search: Future[Faces] | None = None

    def close(self) -> None:
        """End the thread, after the frame that it searches; may be called twice."""
        if self._thread is not None:
            self._thread.shutdown()

    def follow(
        self,
        frame: NDArray[np.uint8],
        timestamp: float,
        sparse: bool = False,
        chroma: Chroma | None = None,
        seen: Seen = lambda faces: faces,
    ) -> Faces:
        """Return the faces of the next ``frame``, best score first, with their ids.

        ``frame``: uint8, (h, w, 3) in BGR order or (h, w) grey. ``timestamp``: in seconds, never
        decreasing. ``sparse``: so long after the frame before that faces may be anywhere; it is searched
        whole. ``chroma``: see :meth:`.FaceDetector.detect`. ``seen`` returns those of found faces that
        count; it may be called by another thread, and after this has returned.
        """
        picture = _Picture(frame, chroma, seen)
        keys, expected = self._tracker.expected(timestamp)
        if sparse or self.every == 1 or not 0 < len(keys) <= self._most(frame):
            self._windows = {}
            found, complete = no_faces(), False
        else:
            found, complete = self._in_windows(picture, keys, expected)
        self._since += 1
        due = self._since >= self.every
        if not complete or self._tracker.lost or (due and self._thread is None):
            found = _with_new(found, self._whole(picture))
            self._since = 0
            self._search = None
        elif self._thread is not None:
            found = self._with_found_beside(picture, found)
            if due and self._search is None:
                self._search = self._thread.submit(self._whole, picture)
                self._since = 0
        if len(found) > 1:
            found = found.at(np.argsort(-found.scores, kind="stable"))
        return self._tracker.update(found, timestamp)

    def _in_windows(
        self, picture: _Picture, keys: NDArray[np.int64], expected: NDArray[np.float32]
    ) -> tuple[Faces, bool]:
        """What the windows show, no face twice, and whether all of the tracked faces are among it."""
        self._windows = {
            key: self._window(key, window_around(box))
            for key, box in zip(keys.tolist(), expected, strict=True)
        }
        height, width = picture.frame.shape[:2]
        edges = [window.edges(width, height) for window in self._windows.values()]
        shown = self._shown(picture, edges)
        seen = together(shown)
        of_seen, of_track = match(seen.boxes, expected, MIN_IOU)
        found = seen.at(of_seen)
        if len(found) > 1:
            found = found.at(_distinct(found.boxes, expected[of_track]))
        complete = len(found) == len(keys)
        if len(of_seen) < len(seen):
            for part, faces in zip(edges, shown, strict=True):
                found = _with_new(found, faces.at(_uncut(faces.boxes, part, width, height)))
        return found, complete

    def _with_found_beside(self, picture: _Picture, found: Faces) -> Faces:
        """The faces ``found``, and those that the thread found in an earlier frame, where they are now."""
        if self._search is None or not self._search.done():
            return found
        before, self._search = self._search.result(), None
        new = _with_new(found, before).boxes[len(found) :]
        if len(new) > MOST:
            return _with_new(found, self._whole(picture))
        height, width = picture.frame.shape[:2]
        edges = [window_around(box).edges(width, height) for box in new]
        for part, faces in zip(edges, self._shown(picture, edges), strict=True):
            found = _with_new(found, faces.at(_uncut(faces.boxes, part, width, height)))
        return found

    def _most(self, frame: NDArray[np.uint8]) -> int:
        """How many windows pay: no more pixels than those of a whole frame, as the detector sees it."""
        if self._size == FULL:
            return MOST
        height, width = frame.shape[:2]
        scale = min(1.0, self._size / max(height, width))
        return min(MOST, int(height * width * scale * scale) // (SIZE * SIZE))

    def _window(self, key: int, wanted: Window) -> Window:
        """The window of a track: the one it has, as long as that suits."""
        current = self._windows.get(key)
        return current if current is not None and current.suits(wanted) else wanted

    def _whole(self, picture: _Picture) -> Faces:
        if self._size == FULL:
            return picture.seen(self._detector.detect_full(picture.frame, picture.chroma))
        return picture.seen(self._detector.detect(picture.frame, self._size, picture.chroma))

    def _shown(self, picture: _Picture, edges: list[tuple[int, int, int, int]]) -> list[Faces]:
        """The faces that windows with these ``edges`` show."""
        shown = self._detector.detect_in_windows(picture.frame, edges, SIZE, picture.chroma)
        return [picture.seen(faces) for faces in shown]


def _distinct(boxes: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the ``boxes`` (n, 4) to keep so that no face is there twice, as where two windows show it.

    Of doubles the one is kept that is nearest to what was ``expected`` (n, 4) of its track; the other's
    face was lost.
    """
    ranks = np.argsort(np.argsort(-iou(boxes, expected).diagonal(), kind="stable"))
    doubles = iou(boxes, boxes) > NMS_IOU
    kept: NDArray[np.bool_] = ~np.any(doubles & (ranks < ranks[:, np.newaxis]), axis=1)
    return kept


def _uncut(
    boxes: NDArray[np.float32], edges: tuple[int, int, int, int], width: int, height: int
) -> NDArray[np.bool_]:
    """Which of the ``boxes`` (n, 4) are not cut by the ``edges`` of a window, unless they are the frame's."""
    left, top, right, bottom = edges
    inner = np.array(
        [
            -np.inf if left == 0 else left,
            -np.inf if top == 0 else top,
            np.inf if right == width else right,
            np.inf if bottom == height else bottom,
        ]
    )
    starts, ends = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    whole: NDArray[np.bool_] = np.all((starts >= inner[:2]) & (ends <= inner[2:]), axis=1)
    return whole


def _with_new(faces: Faces, others: Faces) -> Faces:
    """The ``faces``, and those of ``others`` that are none of them."""
    if not len(faces):
        return others
    known = iou(others.boxes, faces.boxes).max(axis=1) > NMS_IOU
    return together([faces, others.at(~known)])
