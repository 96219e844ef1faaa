"""A film's frames one by one, and what follows from their order, apart from each other.

On films, every frame is searched whole and every face is classified, so that what is seen in a frame depends
on no other: :class:`Look` is the dear part of a run, and may see a film's frames in any order, on any
machine. Who is who, smoothing and numbers follow from all of it in order: :class:`Replay` is the cheap part.
Both together give what :class:`~fer_edge.pipeline.watch.Watch` gives for the film.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ..faces.faces import Faces
from ..faces.light import brightness, with_brightness
from ..faces.nod import with_pitch
from ..faces.tracker import Tracker
from ..models.classifier import Classifier
from ..sources.base import Frame
from .options import WatchOptions
from .recognizer import Recognizer, answered
from .result import FrameResult
from .smoothing import Smoother
from .zones import Zones


@dataclass(frozen=True, eq=False)
class Seen:
    """What one frame shows by itself."""

    faces: Faces
    """Best detector score first; not tracked, in pixels of the region that is looked at."""
    distributions: NDArray[np.float32]
    """(n, k): of the faces, as the classifier says them."""
    shape: tuple[int, int]
    """Height and width of the whole (turned) picture, in pixels."""
    brightness: float | None = None
    """Mean brightness of what is looked at of the picture, 0 to 255."""


class Look:
    """Sees frames with ``recognizer`` as ``options`` say.

    Raises ``ValueError`` for options by which frames depend on each other.
    """

    def __init__(self, recognizer: Recognizer, options: WatchOptions) -> None:
        for name in ("detect_every", "classify_every"):
            if getattr(options, name) not in (None, 1):
                raise ValueError(f"{name} makes frames depend on those before; leave it out")
        self._recognizer = recognizer
        self._options = options
        self._zones = Zones(options.region, options.mask)

    def see(self, frame: Frame) -> Seen:
        """Find and classify the faces of ``frame``."""
        detector, size = self._recognizer.detector, self._options.live_size
        image = self._options.turn.apply(frame.image)
        shape = image.shape
        view = self._zones.view(image)
        found = detector.detect_full(view) if size == "full" else detector.detect(view, size)
        faces = self._zones.seen(found, shape)
        if len(faces) > 1:
            faces = faces.at(np.argsort(-faces.scores, kind="stable"))
        distributions = self._recognizer.distributions(view, faces)
        measured = with_pitch(view, with_brightness(view, faces))
        return Seen(measured, distributions, (shape[0], shape[1]), brightness(view))


class Replay:
    """Makes results of what was seen of the frames of the film ``name``, to be given in their order."""

    def __init__(self, classifier: Classifier, options: WatchOptions, name: str) -> None:
        self._classifier = classifier
        self._name = name
        self._camera = options.camera or name
        self._tracker = Tracker(options.min_hits)
        self._smoother = Smoother(options.smoothing)
        self._zones = Zones(options.region, options.mask)
        self._index = 0

    @property
    def people(self) -> int:
        """How many persons there have been so far."""
        return self._tracker.count

    def result(self, seen: Seen, timestamp: float, moment: datetime) -> FrameResult:
        """Return the result of the next frame, at ``timestamp`` seconds of the film, without its picture.

        ``moment``: when the film showed it, by the clock.
        """
        # The tracker gives boxes that it was given, and the smoother means of its own.
        tracked = self._tracker.update(seen.faces, timestamp)
        self._smoother.keep(self._tracker.kept_keys)
        smoothed = self._smoother.update(self._tracker.keys, seen.distributions, timestamp)
        faces = self._zones.placed(answered(tracked, self._classifier.answers(smoothed)), seen.shape)
        result = FrameResult(
            index=self._index,
            source=self._name,
            camera=self._camera,
            timestamp=timestamp,
            monotonic=timestamp,
            time=moment.astimezone(UTC),
            image=np.broadcast_to(_NOTHING, (*seen.shape, 3)),
            faces=faces,
            latency_ms=0.0,
            dropped=0,
            brightness=seen.brightness,
        )
        self._index += 1
        return result


_NOTHING = np.zeros(3, np.uint8)
