"""Figures of a run for Prometheus, by the conventions of its names. docs/prometheus.md explains each."""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, MissingExtraError, OutputError
from ..files import atomic_path, check_target
from ..labels import EMOTIONS
from ..pipeline.result import FrameResult
from .base import Losses
from .live import Live

try:
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtraError("Prometheus", "prometheus-client", "page") from error

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of :meth:`Metrics.render`: the text format that every Prometheus reads."""

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
"""Upper bounds of the histogram, in seconds: from a PC to a board that is far too slow."""

FILE_SECONDS = 15.0
"""Between two writings of a file: Prometheus' usual interval."""

_BEGIN = b"# HELP fer_edge_"
"""Of a file of figures."""

_log = logging.getLogger(__name__)


@dataclass
class _Counts:
    """What was counted of a camera."""

    frames: int = 0
    dropped: int = 0
    dropped_before: int = 0
    faces: int = 0
    visits: int = 0
    last_person: int = 0
    gaps: int = 0
    gap_seconds: float = 0.0
    inference: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    """Frames by bucket; those above the last bound come last."""
    inference_seconds: float = 0.0
    last: float | None = None
    """When the latest frame was read, by the monotonic clock."""


class Metrics:
    """Takes every result of a run and :meth:`render` s what Prometheus asks for; several threads may use it.

    ``live`` is fed by somebody else. ``build``: labels with the version and the model. ``losses``:
    what the outputs did not write. ``clock``: monotonic; ``wall``: the time of day.
    Raises :class:`~fer_edge.errors.MissingExtraError` where prometheus-client is not installed.
    """

    def __init__(
        self,
        live: Live,
        build: Mapping[str, str],
        losses: Callable[[], Mapping[str, Losses]] = dict,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._live, self._build, self._losses = live, dict(build), losses
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._cameras: dict[str, _Counts] = {}
        # One of our own: metrics of other libraries in this process do not belong here.
        self._registry = CollectorRegistry()
        self._registry.register(_Collected(self._families))
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def take(self, result: FrameResult) -> None:
        """Count a result; called in the thread of the loop."""
        seconds, ids = result.latency_ms / 1000, result.faces.ids
        with self._lock:
            counts = self._cameras.setdefault(result.camera, _Counts())
            counts.frames += 1
            counts.dropped += max(result.dropped - counts.dropped_before, 0)
            counts.dropped_before = result.dropped
            counts.faces += len(result.faces)
            if ids is not None and len(ids):
                counts.visits += int(np.count_nonzero(ids > counts.last_person))
                counts.last_person = max(counts.last_person, int(ids.max()))
            if result.gap is not None and result.gap.lost > 0:
                counts.gaps += 1
                counts.gap_seconds += result.gap.lost
            counts.inference[bisect.bisect_left(BUCKETS, seconds)] += 1
            counts.inference_seconds += seconds
            counts.last = result.monotonic

    def render(self, process: bool = True) -> tuple[bytes, str]:
        """Return the figures of this moment in Prometheus' text format, and its content type.

        ``process``: with memory, CPU time and open files of this process, whose names all programs share.
        """
        text = generate_latest(self._registry)
        return (text + generate_latest(self._process) if process else text), CONTENT_TYPE

    def _families(self) -> Iterator[Metric]:
        yield from self._of_run(self._live.snapshot())
        yield from self._of_outputs()
        with self._lock:
            yield from list(self._of_frames())

    def _of_run(self, snapshot: Mapping[str, Any]) -> Iterator[Metric]:
        """What holds at this moment."""
        build = GaugeMetricFamily(
            "fer_edge_build_info", "Version and model of this run; always 1.", labels=[*self._build]
        )
        build.add_metric([*self._build.values()], 1)
        yield build
        yield _gauge("paused", "Whether recognition was paused, as on the page.", snapshot["paused"])
        yield _gauge(
            "people_today",
            "People who came since local midnight, or since counting began if that was later.",
            snapshot["people_today"],
        )
        yield _gauge(
            "attention_ratio", "Of the people present, the share turned to a camera.", snapshot["attention"]
        )
        yield _gauge(
            "unsure_ratio",
            "Of the people present, the share on whose emotion people would disagree.",
            snapshot["unsure_share"],
        )
        yield _gauge("temperature_celsius", "Of the hottest part of the processor.", snapshot["temperature"])
        yield _gauge(
            "throttled", "Whether the board is slowed down by heat or low voltage.", snapshot["throttled"]
        )
        people = _by_camera("people", "People in front of the camera.")
        up = _by_camera("camera_up", "Whether the camera gives frames.")
        emotions = GaugeMetricFamily(
            "fer_edge_emotion_ratio",
            "Mean share of each emotion among the people present; missing where there is nobody.",
            labels=["camera", "emotion"],
        )
        for camera in snapshot["cameras"]:
            people.add_metric([camera["name"]], camera["people"])
            up.add_metric([camera["name"]], camera["state"] == "running")
            shares = [face["probabilities"] for face in camera["faces"] if face["track"] is not None]
            for emotion in EMOTIONS if shares else ():
                mean = sum(share[emotion] for share in shares) / len(shares)
                emotions.add_metric([camera["name"], emotion], mean)
        yield from (people, up, emotions)

    def _of_outputs(self) -> Iterator[Metric]:
        """What was not written."""
        failures = CounterMetricFamily("fer_edge_output_errors", "Failures of an output.", labels=["output"])
        lost = CounterMetricFamily(
            "fer_edge_output_lost_results",
            "Results that were not written because an output failed.",
            labels=["output"],
        )
        dropped = CounterMetricFamily(
            "fer_edge_output_dropped_results",
            "Results that were not written because an output was slower than the camera.",
            labels=["output"],
        )
        for label, losses in self._losses().items():
            failures.add_metric([label], losses.failures)
            lost.add_metric([label], losses.lost)
            dropped.add_metric([label], losses.dropped)
        yield from (failures, lost, dropped)

    def _of_frames(self) -> Iterator[Metric]:
        """What was counted since the start."""
        for name, text, value in (
            ("frames", "Frames that were processed.", "frames"),
            ("frames_dropped", "Frames that came while others were processed.", "dropped"),
            ("faces", "Faces that were found, in all frames together.", "faces"),
            ("visits", "People who came, each time they came.", "visits"),
            ("gaps", "Times in which the camera was lost, after which it came back.", "gaps"),
            ("gap_seconds", "Length of these times.", "gap_seconds"),
        ):
            counter = CounterMetricFamily(f"fer_edge_{name}", text, labels=["camera"])
            for camera, counts in self._cameras.items():
                counter.add_metric([camera], getattr(counts, value))
            yield counter
        inference = HistogramMetricFamily(
            "fer_edge_inference_seconds", "Time from a frame to its emotions.", labels=["camera"]
        )
        last = _by_camera("last_frame_timestamp_seconds", "When the latest frame was read, since 1970.")
        now, wall = self._clock(), self._wall().timestamp()
        for camera, counts in self._cameras.items():
            sums = itertools.accumulate(counts.inference)
            bounds = [*map(str, BUCKETS), "+Inf"]
            inference.add_metric(
                [camera], list(zip(bounds, sums, strict=True)), sum_value=counts.inference_seconds
            )
            if counts.last is not None:
                # By the clock as it is now: it may have been set meanwhile.
                last.add_metric([camera], wall - (now - counts.last))
        yield from (inference, last)


class MetricsFile:
    """Keeps the figures in a file, for the node exporter's textfile collector.

    A file of figures that a killed run left is replaced. Raises :class:`~fer_edge.errors.DataError` where the
    file cannot be made, and for one of other content, which would be lost.
    """

    def __init__(self, path: str, metrics: Metrics) -> None:
        check_target(path, force=True)
        _refuse_other(Path(path))
        self._path, self._metrics = Path(path), metrics
        self.write()

    def write(self) -> None:
        """Write the figures of this moment; a reader sees the old or the new ones.

        Raises :class:`~fer_edge.errors.OutputError` where the disk is full or fails.
        """
        try:
            # What a run leaves that is killed here would be read for ever under a name that ends in .prom.
            with atomic_path(self._path, suffix=".tmp") as temporary:
                # The node exporter exports its own process under the same names, and refuses two of one name.
                temporary.write_bytes(self._metrics.render(process=False)[0])
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Remove the file: what has ended has no figures, and old ones would be taken for new."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning(
                "metrics: %s: is left, and cannot be deleted: %s", self._path, error.strerror or error
            )


def _refuse_other(path: Path) -> None:
    if not path.is_file():
        return
    try:
        with path.open("rb") as stream:
            begin = stream.read(len(_BEGIN))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if begin and begin != _BEGIN:
        raise DataError(f"{path}: exists already, and holds no figures of fer-edge; name another file")


class _Collected(Collector):
    """What a registry collects from."""

    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families()

    def describe(self) -> Iterator[Metric]:
        """Nothing: else the registry would collect at its making, when there is nothing yet."""
        return iter(())


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """A figure of the whole run; without a sample where it is not known."""
    family = GaugeMetricFamily(f"fer_edge_{name}", text)
    if value is not None:
        family.add_metric([], value)
    return family


def _by_camera(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fer_edge_{name}", text, labels=["camera"])
