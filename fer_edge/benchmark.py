"""Latency on this machine: preprocessing, detector, every classifier file, and the whole frame.

All subjects take turns call by call, so that a machine that slows down slows them all alike.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .classifier import Classifier, available_backends, load_classifier
from .errors import ModelError
from .machine import Condition, Machine, condition, describe, peak_memory
from .models import PRECISIONS
from .preprocess import EXTENSION, FACE_SIZE, crop_faces

WARM_UP = 10


@dataclass(frozen=True)
class Timing:
    """Latencies of one subject in milliseconds a call; size of its model file in bytes, if it has one."""

    subject: str
    calls: int
    p50: float
    p95: float
    p99: float
    min: float
    size: int | None = None

    @property
    def per_second(self) -> float:
        """Calls a second at the median latency."""
        return 1000 / self.p50


@dataclass(frozen=True)
class Benchmark:
    """All figures of one run; memory in bytes."""

    machine: Machine
    before: Condition
    after: Condition
    frame: str
    extension: bool
    peak_memory: int
    timings: list[Timing]


def benchmark(
    frame: NDArray[np.uint8],
    model: str | os.PathLike[str] = "edge",
    *,
    calls: int = 200,
    threads: tuple[int, ...] = (1,),
    progress: Callable[[Iterator[int]], Iterator[int]] = lambda rounds: rounds,
) -> Benchmark:
    """Time everything ``calls`` times on a frame, uint8 (h, w, 3) BGR, that shows a face.

    ``threads`` lists the thread counts to try for each classifier. Raises ModelError where no face
    is found, or the model has no file for an installed backend.
    """
    subjects = _subjects(frame, model, threads)
    before = condition()
    samples: dict[str, list[int]] = {name: [] for name in subjects}
    for call, _ in subjects.values():
        for _ in range(WARM_UP):
            call()
    gc.collect()
    gc.disable()
    try:
        for _ in progress(iter(range(calls))):
            for name, (call, _) in subjects.items():
                start = time.perf_counter_ns()
                call()
                samples[name].append(time.perf_counter_ns() - start)
    finally:
        gc.enable()
    return Benchmark(
        machine=describe(),
        before=before,
        after=condition(),
        frame=f"{frame.shape[1]}x{frame.shape[0]}",
        extension=EXTENSION,
        peak_memory=peak_memory(),
        timings=[summarize(name, samples[name], size) for name, (_, size) in subjects.items()],
    )


def summarize(subject: str, nanoseconds: list[int], size: int | None = None) -> Timing:
    """Percentiles (nearest rank above) of call times in nanoseconds."""
    milliseconds = np.array(nanoseconds) / 1e6
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99), method="higher")
    return Timing(
        subject, len(nanoseconds), float(p50), float(p95), float(p99), float(milliseconds.min()), size
    )


def _subjects(
    frame: NDArray[np.uint8], model: str | os.PathLike[str], threads: tuple[int, ...]
) -> dict[str, tuple[Callable[[], object], int | None]]:
    from .geometry import training_squares
    from .recognizer import Recognizer

    recognizer = Recognizer(model)
    found = recognizer.detect(frame)
    if not found:
        raise ModelError("the detector finds no face in the benchmark frame")
    square = training_squares([found[0].box])
    faces = np.zeros((1, FACE_SIZE, FACE_SIZE), np.int8)
    subjects: dict[str, tuple[Callable[[], object], int | None]] = {
        f"preprocess, {square[0, 2]:.0f} px face": (lambda: crop_faces(frame, square, faces), None),
        "detector": (lambda: recognizer.detect(frame), None),
    }
    for backend in available_backends():
        for precision in PRECISIONS:
            for count in threads:
                classifier = load_classifier(model, backend, precision, count)
                plural = "s" if count > 1 else ""
                subjects[f"classifier {backend} {precision}, {count} thread{plural}"] = (
                    _classify(classifier, frame, square),
                    classifier.file.size,
                )
    subjects["whole frame"] = (lambda: recognizer.recognize(frame), None)
    return subjects


def _classify(
    classifier: Classifier, frame: NDArray[np.uint8], square: NDArray[np.float64]
) -> Callable[[], object]:
    """One inference on one face that is already in the input buffer."""

    def call() -> object:
        classifier.input_buffer(1)
        return classifier.run()

    crop_faces(frame, square, classifier.input_buffer(1))
    classifier.run()
    return call
