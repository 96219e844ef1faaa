"""Sources, recognizers and classifiers that follow a script, for tests of the loop."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from fer_edge.faces.faces import Faces
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS
from fer_edge.models.people import People, interpret, interpret_labels
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.recognizer import answered
from fer_edge.pipeline.watch import Watch
from fer_edge.sources.base import Frame, Source


class ScriptedSource(Source):
    """Frame k is filled with k and comes at k / 10 seconds; live ones come every ``pause`` seconds."""

    name = "script"

    def __init__(self, count=10, live=False, related=True, pause=0.0, error=None, hang=False, shape=(48, 64)):
        self.count, self.live, self.related, self.shape = count, live, related, shape
        self.pause, self.error, self.hang = pause, error, hang

    def __iter__(self):
        for index in range(self.count):
            time.sleep(self.pause)
            yield Frame(np.full((*self.shape, 3), index, np.uint8), index / 10, self.name)
        if self.hang:
            time.sleep(1.5)
        if self.error:
            raise self.error


EVEN = People((1 / 7,) * 7, 0.0, 0.6)


class ScriptedRecognizer:
    """Finds a face at (10 k, 0) in frame k, but none in the frames ``without``.

    All people say of frame k the answer ``said``[k], by turns; ``people`` None: by the labels of 2013. Faces
    have sharpness 0 in frame 0, 1 in frame 1, and so on by turns.
    """

    model, backend, precision, labels = "script", "none", "int8", "people"

    def __init__(self, without=(), pause=0.0, said=(0, 1), people=EVEN):
        self.without, self.pause, self.said, self.people = without, pause, said, people
        self.min_score = 0.7
        self.detected, self.windows, self.classified, self.landmarks = [], [], [], []

    @property
    def detector(self):
        return self

    @property
    def classifier(self):
        return self

    def answers(self, distribution):
        return interpret(distribution, self.people) if self.people else interpret_labels(distribution)

    def detect(self, frame, size=320, chroma=None):
        time.sleep(self.pause)
        index = int(frame.flat[0])
        self.detected.append(index)
        return self.faces(index)

    def detect_in_windows(self, frame, windows, size, chroma=None):
        index = int(frame[0, 0, 0])
        self.windows.append(index)
        return [self.faces(index) for _ in windows]

    def faces(self, index):
        lefts = [] if index in self.without else [10.0 * index]
        count = len(lefts)
        return Faces(
            np.array([[left, 0, 100, 100] for left in lefts], np.float32).reshape(-1, 4),
            np.full(count, 0.9, np.float32),
            np.zeros((count, 5, 2), np.float32),
        )

    def distributions(self, frame, faces, sharp=None):
        if sharp is not None:
            sharp[:] = int(frame.flat[0]) % 2
        self.classified.append(len(faces))
        self.landmarks.append(faces.landmarks)
        answers = np.eye(9 if self.people else 7, dtype=np.float32)
        return answers[[self.said[int(frame.flat[0]) % len(self.said)]] * len(faces)]

    def classify(self, frame, faces):
        return answered(faces, self.answers(self.distributions(frame, faces)))


def indices(results):
    return [int(result.image[0, 0, 0]) for result in results]


def watch(source, recognizer=None, **options):
    """All results of a run, and its summary."""
    options = {"min_hits": 1, **options}
    with Watch(source, WatchOptions(**options), recognizer or ScriptedRecognizer()) as run:
        results = list(run)
    return results, run.summary


class BrightnessClassifier:
    """As :class:`fer_edge.models.classifier.Classifier`; bright faces are happy, dark ones sad.

    Of ten people who see a dark face three cannot tell.
    """

    model, backend, precision, threads, labels = "brightness", "none", "int8", 1, "people"

    def __init__(self):
        self.batches = []

    def answers(self, distribution):
        return interpret(distribution, replace(EVEN, unsure_above=0.2))

    def predict_filled(self, count, fill):
        self._faces = np.zeros((count, 48, 48), np.int8)
        fill(self._faces)
        self.batches.append(count)
        bright = self._faces.mean(axis=(1, 2)) > -28
        votes = np.zeros((count, len(PEOPLE_ANSWERS)), np.float32)
        votes[bright, EMOTIONS.index("happy")] = 1
        votes[~bright, EMOTIONS.index("sad")] = 0.7
        votes[~bright, PEOPLE_ANSWERS.index("unknown")] = 0.3
        return votes
