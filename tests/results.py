"""Results as a run gives them, for tests of outputs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from fer_edge.faces.faces import Face, Faces
from fer_edge.labels import EMOTIONS
from fer_edge.pipeline.result import FrameResult
from fer_edge.pipeline.state import Gap

BEGAN = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)


def face(
    emotion="happy",
    probability=0.93,
    track=1,
    box=(10.04, 20.06, 30.0, 40.0),
    detected=True,
    unsure=False,
    labels="people",
):
    """A face with that share of ``emotion`` and the rest spread evenly."""
    probabilities = np.full(7, (1 - probability) / 6, np.float32)
    probabilities[EMOTIONS.index(emotion)] = probability
    landmarks = np.arange(10, dtype=np.float32).reshape(5, 2)
    return Face(
        box,
        0.87654321,
        landmarks,
        probabilities,
        emotion,
        uncertainty=0.123456,
        unsure=unsure,
        track=track,
        detected=detected,
        labels=labels,
    )


def result(*faces, index=0, timestamp=0.0, source="camera 0", image=None, gap=None):
    """A result of a source that was opened at :data:`BEGAN`, with a dark picture."""
    return FrameResult(
        index=index,
        source=source,
        camera="door",
        timestamp=timestamp,
        monotonic=1000 + timestamp,
        time=BEGAN + timedelta(seconds=timestamp),
        image=np.full((120, 160, 3), 60, np.uint8) if image is None else image,
        faces=faces,
        latency_ms=12.3456,
        dropped=2,
        gap=gap,
    )


def gap(seconds=12.3456, reason="camera 0: unplugged"):
    """A gap that began at :data:`BEGAN`."""
    return Gap(BEGAN, seconds, reason)


def tracked(*faces: Face) -> Faces:
    """The faces as arrays, as a run gives them; ``track`` 0 does not count as a person."""
    return Faces(
        boxes=np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        scores=np.array([face.score for face in faces], np.float32),
        landmarks=np.array([face.landmarks for face in faces], np.float32).reshape(-1, 5, 2),
        ids=np.array([face.track or 0 for face in faces], np.int64),
        detected=np.array([face.detected for face in faces], np.bool_),
        probabilities=np.array([face.probabilities for face in faces], np.float32).reshape(-1, 7),
        emotions=np.array([EMOTIONS.index(face.emotion) for face in faces], np.int64),
        uncertainty=np.array([face.uncertainty for face in faces], np.float32),
        unsure=np.array([face.unsure for face in faces], np.bool_),
        pitch=np.array([np.nan if face.pitch is None else face.pitch for face in faces], np.float32),
        brightness=np.array(
            [np.nan if face.brightness is None else face.brightness for face in faces], np.float32
        ),
    )


class Clocks:
    """A monotonic clock, 1000 at ``wall``, that is turned by hand, and the time of day, which may be set."""

    def __init__(self, wall=BEGAN):
        self.now, self.offset = 1000.0, wall - timedelta(seconds=1000)

    def wall(self):
        return self.offset + timedelta(seconds=self.now)
