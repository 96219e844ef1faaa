"""Latency on this machine: preprocessing, detector, every classifier file, and the whole frame.

The subjects take turns, one call each, so that a machine that slows down affects all of them equally.
"""

from __future__ import annotations

import gc
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import DataError, ModelError
from ..faces.detector import LIVE_SIZE, FaceDetector
from ..faces.engines import DetectorEngine, available_engines
from ..faces.faces import Faces
from ..faces.windows import DETECT_EVERY, SIZE
from ..kernels import EXTENSION
from ..kernels.constants import FACE_SIZE
from ..kernels.crop import crop_faces
from ..labels import Labels
from ..machine import HOT, Condition, Machine, condition, describe, peak_memory
from ..models.backends import available_backends
from ..models.classifier import Classifier, load_classifier
from ..models.manifest import PRECISIONS, Backend, Precision
from ..pipeline.turns import CLASSIFY_EVERY
from ..sources.base import Frame, Source

if TYPE_CHECKING:
    from ..pipeline.recognizer import Recognizer

FORMAT = "fer-edge benchmark 1"
WARM_UP = 10
FACES = (1, 5, 15)
"""How many there are in the frames of several faces."""
BUSY = 0.5
"""Load per core before the run above which other work is assumed to disturb it."""

WATCHED: dict[str, dict[str, Any]] = {
    "in full": {"detect_every": 1, "classify_every": 1},
    "as on cameras": {"detect_every": DETECT_EVERY, "classify_every": CLASSIFY_EVERY},
}
"""What is compared in frames with several faces: options of :func:`fer_edge.watch`."""

_FACE = Faces(
    np.array([[0, 0, 100, 100]], np.float32), np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32)
)


@dataclass(frozen=True)
class Subject:
    """What is timed; of a classifier also its model, what it runs on, and the size of its file in bytes."""

    name: str
    model: str | None = None
    backend: Backend | None = None
    precision: Precision | None = None
    threads: int | None = None
    size: int | None = None

    def __str__(self) -> str:
        if self.threads is None:
            return self.name
        plural = "s" if self.threads > 1 else ""
        return f"{self.name} {self.model} {self.backend} {self.precision}, {self.threads} thread{plural}"


@dataclass(frozen=True)
class Timing:
    """Latencies of one subject in milliseconds a call."""

    subject: Subject
    calls: int
    p50: float
    p95: float
    p99: float
    min: float

    @property
    def per_second(self) -> float:
        """Calls a second at the median latency."""
        return 1000 / self.p50


@dataclass(frozen=True)
class Benchmark:
    """All figures of one run.

    doubts: why the figures may not be those of an undisturbed machine, see :func:`doubts`.
    peak_memory: largest resident set, in bytes, of another process that recognized faces in such
    frames with the subject "whole frame" and loaded nothing else; None where the kernel does not say, or
    that process failed.
    """

    format: str
    version: str
    machine: Machine
    before: Condition
    after: Condition
    doubts: list[str]
    frame: str
    extension: bool
    detector_engine: DetectorEngine
    detector_threads: int
    peak_memory: int | None
    timings: list[Timing]


def benchmark(
    frame: NDArray[np.uint8],
    models: Sequence[str] = ("edge",),
    *,
    calls: int = 200,
    threads: tuple[int, ...] = (1,),
    progress: Callable[[Iterator[int]], Iterator[int]] = lambda rounds: rounds,
) -> Benchmark:
    """Time everything ``calls`` times on a frame, uint8 (h, w, 3) BGR, that shows a face.

    ``models`` are bundled names or exported folders; ``threads`` lists the thread counts to try for
    each classifier. Raises ModelError where no face is found, or a model has no file for an
    installed backend.
    """
    from ..pipeline.recognizer import Recognizer

    # As live frames are searched, not pictures.
    recognizers = {model: Recognizer(model, detect_size=LIVE_SIZE, labels=_labels(model)) for model in models}
    detector = recognizers[models[0]].detector
    subjects = _subjects(frame, recognizers, threads)
    before = condition()
    samples: dict[Subject, list[int]] = {subject: [] for subject in subjects}
    for call in subjects.values():
        for _ in range(WARM_UP):
            call()
    gc.collect()
    gc.disable()
    try:
        for _ in progress(iter(range(calls))):
            for subject, call in subjects.items():
                start = time.perf_counter_ns()
                call()
                samples[subject].append(time.perf_counter_ns() - start)
    finally:
        gc.enable()
    machine, after = describe(), condition()
    return Benchmark(
        format=FORMAT,
        version=__version__,
        machine=machine,
        before=before,
        after=after,
        doubts=doubts(machine, before, after),
        frame=f"{frame.shape[1]}x{frame.shape[0]}",
        extension=EXTENSION,
        detector_engine=detector.engine,
        detector_threads=detector.threads,
        peak_memory=_memory_of_a_run(frame, models[0], recognizers[models[0]].classifier.labels),
        timings=[summarize(subject, times) for subject, times in samples.items()],
    )


def summarize(subject: Subject, nanoseconds: list[int]) -> Timing:
    """Percentiles (nearest rank above) of call times in nanoseconds."""
    milliseconds = np.array(nanoseconds) / 1e6
    p50, p95, p99 = (float(v) for v in np.percentile(milliseconds, (50, 95, 99), method="higher"))
    return Timing(subject, len(nanoseconds), p50, p95, p99, float(milliseconds.min()))


def report_memory(model: str, shape: tuple[int, ...], labels: Labels) -> None:
    """Recognize faces in empty frames of a shape, then print this process's peak memory in bytes."""
    from ..pipeline.recognizer import Recognizer

    recognizer = Recognizer(model, detect_size=LIVE_SIZE, labels=labels)
    frame = np.zeros(shape, np.uint8)
    for _ in range(5):
        recognizer.recognize(frame)
        recognizer.classify(frame, _FACE)
    print(json.dumps(peak_memory()))


def _labels(model: str) -> Labels:
    """Whose answers a model gives by default: those of people, unless it is an older export without them."""
    return "fer2013" if load_classifier(model, labels="fer2013").people is None else "people"


def _memory_of_a_run(frame: NDArray[np.uint8], model: str, labels: Labels) -> int | None:
    arguments = f"{model!r}, {frame.shape}, {labels!r}"
    call = f"from fer_edge.checks.latency import report_memory; report_memory({arguments})"
    # -P: the working folder may hold modules of other programs.
    done = subprocess.run([sys.executable, "-P", "-c", call], capture_output=True, text=True)
    peak: int | None = json.loads(done.stdout) if done.returncode == 0 else None
    return peak


def doubts(machine: Machine, before: Condition, after: Condition) -> list[str]:
    """Why figures taken between two conditions may be unreliable; empty where nothing suggests it."""
    found = []
    for state in dict.fromkeys((*(before.throttling or ()), *(after.throttling or ()))):
        if state.endswith(" now"):
            found.append(f"the firmware reports {state.removesuffix(' now')}")
        elif state not in (before.throttling or ()):
            found.append(f"the firmware reports {state}, and it came up during the run")
    if after.temperature is not None and after.temperature >= HOT:
        found.append(f"{after.temperature:.0f} °C: from {HOT} °C on, a Raspberry Pi slows down")
    if before.load > BUSY * machine.cores:
        found.append(
            f"load {before.load:.1f} on {machine.cores} cores before the run: other work was running"
        )
    if machine.governor == "powersave":
        found.append("the governor powersave keeps the clock low")
    return found


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Subjects that two benchmarks share, with the median of each in milliseconds a call.

    The arguments are benchmarks as :func:`read` gives them. Raises ValueError for a median that is no time.
    """

    def medians(result: dict[str, Any]) -> dict[str, float]:
        found = {}
        for timing in result["timings"]:
            subject = {key: timing["subject"].get(key) for key in Subject.__dataclass_fields__}
            found[str(Subject(**subject))] = median = float(timing["p50"])
            if not 0 < median < math.inf:
                raise ValueError(f"a p50 of {median:g} ms")
        return found

    one, two = medians(first), medians(second)
    return [(subject, one[subject], two[subject]) for subject in one if subject in two]


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A benchmark that ``fer-edge bench --json`` printed; raises DataError for anything else."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); want what fer-edge bench --json prints") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise DataError(f"{path}: not a benchmark of this version; want what fer-edge bench --json prints")
    try:
        Benchmark(**result)
        Machine(**result["machine"])
        list(result["doubts"])
        compare(result, result)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: a damaged benchmark ({error!r}); run fer-edge bench --json again"
        ) from error
    return result


def _subjects(
    frame: NDArray[np.uint8], recognizers: Mapping[str, Recognizer], threads: tuple[int, ...]
) -> dict[Subject, Callable[[], object]]:
    from ..faces.geometry import training_squares

    detector = next(iter(recognizers.values())).detector
    found = detector.detect(frame)
    if not len(found):
        raise ModelError("the detector finds no face in the benchmark frame")
    square = training_squares(found.boxes[:1])
    faces = np.zeros((1, FACE_SIZE, FACE_SIZE), np.int8)
    subjects: dict[Subject, Callable[[], object]] = {
        Subject(f"preprocess, {square[0, 2]:.0f} px face"): lambda: crop_faces(frame, square, faces),
        Subject("detector"): partial(detector.detect, frame),
    }
    for engine in available_engines():
        if engine != detector.engine:
            subjects[Subject(f"detector on {engine}")] = partial(FaceDetector(engine=engine).detect, frame)
    if "litert" in available_engines():
        subjects[Subject("detector on litert, int8")] = partial(FaceDetector(precision="int8").detect, frame)
    window = _around(frame, found.boxes[0], 2.0)
    # One of its own: to change the size of the input takes a while.
    of_windows = FaceDetector(engine=detector.engine)
    subjects[Subject(f"detector, window of {SIZE}")] = partial(of_windows.detect, window, SIZE)
    for model, recognizer in recognizers.items():
        labels = recognizer.classifier.labels
        for backend in available_backends():
            for precision in PRECISIONS:
                for count in threads:
                    classifier = load_classifier(model, backend, precision, count, labels)
                    subjects[_subject("classifier", model, classifier)] = _classify(classifier, frame, square)
    for model, recognizer in recognizers.items():
        subjects[_subject("whole frame", model, recognizer.classifier)] = partial(recognizer.recognize, frame)
    model, recognizer = next(iter(recognizers.items()))
    for count in FACES:
        crowd = _crowd(frame, found.boxes[0], count)
        # Where a small frame has no room for so many, there is nothing to measure.
        if len(detector.detect(crowd)) == count:
            for setting, options in WATCHED.items():
                name = f"{count} {'faces' if count > 1 else 'face'} {setting}"
                subjects[_subject(name, model, recognizer.classifier)] = _watched(crowd, recognizer, options)
    return subjects


class _Still(Source):
    """The same frame for ever, with different noise, 30 a second by its timestamps."""

    name = "still"

    def __init__(self, frame: NDArray[np.uint8]) -> None:
        noise = np.random.default_rng(0).normal(0, 3, (4, *frame.shape))
        self._frames = np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)

    def __iter__(self) -> Iterator[Frame]:
        for index in itertools.count():
            yield Frame(self._frames[index % len(self._frames)], index / 30, self.name)


def _watched(
    frame: NDArray[np.uint8], recognizer: Recognizer, options: Mapping[str, Any]
) -> Callable[[], object]:
    """Return a call that does what :func:`fer_edge.watch` does with one more frame."""
    from ..pipeline.options import WatchOptions
    from ..pipeline.watch import Watch

    return partial(next, Watch(_Still(frame), WatchOptions(**options), recognizer))


def _around(frame: NDArray[np.uint8], box: NDArray[np.float32], size: float) -> NDArray[np.uint8]:
    """The square around a face's box, ``size`` times its longer side, as far as it is in the frame."""
    x, y, width, height = box.tolist()
    half = size * max(width, height) / 2
    centre_x, centre_y = x + width / 2, y + height / 2
    top, left = max(0, round(centre_y - half)), max(0, round(centre_x - half))
    return frame[top : round(centre_y + half), left : round(centre_x + half)]


def _crowd(frame: NDArray[np.uint8], box: NDArray[np.float32], count: int) -> NDArray[np.uint8]:
    """A frame of the same size with the face ``count`` times; the frame itself for one."""
    if count == 1:
        return frame
    import cv2

    height, width = frame.shape[:2]
    rows = max(1, round((count * height / width) ** 0.5))
    columns = -(-count // rows)
    side = min(height // rows, width // columns)
    face = cv2.resize(_around(frame, box, 1.6), (side, side), interpolation=cv2.INTER_AREA)
    crowd = np.full_like(frame, 128)
    for index in range(count):
        y, x = index // columns * (height // rows), index % columns * (width // columns)
        crowd[y : y + side, x : x + side] = face
    return crowd


def _subject(name: str, model: str, classifier: Classifier) -> Subject:
    return Subject(
        name, model, classifier.backend, classifier.precision, classifier.threads, classifier.file.size
    )


def _classify(
    classifier: Classifier, frame: NDArray[np.uint8], square: NDArray[np.float64]
) -> Callable[[], object]:
    """Return a call that classifies one face, which is already in the input buffer."""
    face = np.empty((1, FACE_SIZE, FACE_SIZE), np.uint8)
    crop_faces(frame, square, face)

    def nothing(_: NDArray[Any]) -> None:
        """The face is in the input already."""

    def call() -> object:
        return classifier.predict_filled(1, nothing)

    classifier.predict(face)
    return call
