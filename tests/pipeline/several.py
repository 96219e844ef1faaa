"""Several cameras that follow a script, and a recognizer that two must not use at once."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np

from fer_edge.faces.faces import Faces
from fer_edge.labels import PEOPLE_ANSWERS
from fer_edge.models.people import People, interpret
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.watch_all import WatchAll
from fer_edge.sources.base import Frame, Source

PATIENCE = 30.0


class Script(Source):
    """Frame k is filled with k modulo 256; live ones come every ``pause`` seconds.

    After ``count`` frames it hangs until the test ends it, with ``error`` it fails, else it ends.
    """

    def __init__(self, count=None, live=True, pause=0.005, error=None, hang=None):
        self.name = "script"
        self.count, self.live, self.pause, self.error, self.hang = count, live, pause, error, hang
        self.given = 0
        self.closed = False

    def __iter__(self):
        for index in itertools.count():
            if index == self.count:
                break
            if self.live:
                time.sleep(self.pause)
            self.given = index + 1
            yield Frame(np.full((48, 64, 3), index % 256, np.uint8), index / 10, self.name)
        if self.hang is not None:
            self.hang.wait(PATIENCE)
        if self.error:
            raise self.error

    def close(self):
        self.closed = True


class Recognizer:
    """Finds one face in every frame; takes ``seconds`` each time; is never asked by two at once."""

    def __init__(self, seconds=0.0, scores=(0.9,)):
        self.seconds, self.scores = seconds, scores
        self.detector = self.classifier = self
        self.min_score = 0.7
        self._lock = threading.Lock()

    def detect(self, frame, size=320, chroma=None):
        assert self._lock.acquire(blocking=False), "two cameras at once"
        time.sleep(self.seconds)
        self._lock.release()
        count = len(self.scores)
        return Faces(
            np.array([[20 * number, 0, 15, 15] for number in range(count)], np.float32).reshape(-1, 4),
            np.array(self.scores, np.float32),
            np.zeros((count, 5, 2), np.float32),
        )

    def distributions(self, frame, faces, sharp=None):
        return np.tile(np.eye(len(PEOPLE_ANSWERS), dtype=np.float32)[0], (len(faces), 1))

    def answers(self, distribution):
        return interpret(distribution, People((1 / 7,) * 7, 0.0, 0.6))


def watching(sources, recognizer=None, own=None, **options):
    own = own or {}
    cameras = {
        name: (source, WatchOptions(**{"min_hits": 1, **options, **own.get(name, {})}))
        for name, source in sources.items()
    }
    return WatchAll(cameras, recognizer or Recognizer())
