"""The loop from a source to results.

A live source is read by a thread of its own that keeps only the newest frame, so that what is shown
is never older than the time one frame takes, however slow the machine. Other sources are read in
the loop itself, and every one of their frames is processed.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..faces.faces import Faces
from ..faces.light import brightness, with_brightness
from ..faces.nod import pitches, with_pitch
from ..faces.tracker import Tracker
from ..faces.windows import DETECT_EVERY, Follower
from ..machine import usable_cores
from ..option import Polygon, options_of
from ..sources import await_any, open_any
from ..sources.base import CAMERA_FPS, Frame, Source
from .options import WatchOptions
from .orientation import PAUSE, UprightCheck
from .pace import Pace
from .pause import Pause
from .recognizer import Recognizer, answered, recognizer_of, refuse_options
from .reconnect import POLL, TELL_EVERY, Feed
from .result import FrameResult
from .smoothing import Smoother
from .state import RUNNING, Gap, State
from .summary import Summary, Tally
from .turns import CLASSIFY_EVERY, Latest, Turns, pitch_every
from .zones import Zones


def watch(
    source: str | int | os.PathLike[str] | Source,
    *,
    recognizer: Recognizer | None = None,
    on_state: Callable[[State], None] | None = None,
    **options: Any,
) -> Watch:
    """Recognize the faces of every frame of ``source``, tracked and smoothed.

    >>> with fer_edge.watch("party.mp4", detect_every=10) as results:
    ...     for result in results:
    ...         print(result.timestamp, [face.emotion for face in result.faces])

    ``source``: a number N (the camera ``/dev/videoN``), ``"picamera2"``, ``"demo"``, the path of an
    image, a folder of images or a film, an ``rtsp://`` or ``http://`` URL, or an open
    :class:`~fer_edge.sources.base.Source`, which stays the caller's to close. ``recognizer``: one
    that was loaded already, instead of the options that choose networks, ``threads``, ``labels``,
    ``balance``, ``align`` and ``min_score``. ``on_state`` is called in the
    thread of the loop: after every frame, and at least once a second while a lost camera or stream is
    being opened again. ``options``: see :class:`~fer_edge.pipeline.options.WatchOptions`.

    The result is iterated over once and closed by its end, its ``with`` statement or ``close()``.
    Raises :class:`~fer_edge.errors.SourceError` for a source that cannot be opened,
    :class:`~fer_edge.errors.ModelError` for a model that cannot be loaded, ``ValueError`` for an
    option out of range or one that ``recognizer`` replaces, ``TypeError`` for an unknown one; while it runs
    :class:`~fer_edge.errors.SourceLostError` where a camera or stream is lost for good.
    """
    if recognizer is not None:
        refuse_options(options, "detect_size")
        options["min_score"] = recognizer.detector.min_score
    return Watch(source, WatchOptions(**options), recognizer, on_state)


Admission = Callable[[Callable[[], bool]], AbstractContextManager[bool]]
"""Waits, until asked to stop, for its turn at a recognizer that several runs share; gives whether it came."""


def _at_once(_: Callable[[], bool]) -> AbstractContextManager[bool]:
    return contextlib.nullcontext(True)


class Watch(Iterator[FrameResult]):
    """One run over a source; make it with :func:`watch`. :attr:`summary` holds at any time.

    ``source`` may also be what opens it. ``admission``: for several runs with one ``recognizer``, see
    :class:`~fer_edge.pipeline.watch_all.WatchAll`.
    """

    def __init__(
        self,
        source: str | int | os.PathLike[str] | Source | Callable[[], Source],
        options: WatchOptions | None = None,
        recognizer: Recognizer | None = None,
        on_state: Callable[[State], None] | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.options = options or WatchOptions()
        self._on_state = on_state or (lambda _: None)
        self.on_opened: Callable[[str], None] = lambda _: None
        """Called with the name of a source that was opened again, before its first frame is looked at."""
        self._admission, self._shared = admission or _at_once, admission is not None
        self._stop = threading.Event()
        # Reentrant, because a signal handler may run within a step.
        self._running = threading.RLock()
        self._tracker = Tracker(self.options.min_hits)
        self._smoother = Smoother(self.options.smoothing)
        self._tally = Tally()
        self._zones = self._next_zones = Zones(self.options.region, self.options.mask)
        self._pause = Pause()
        with contextlib.ExitStack() as opening:
            self.source = source if isinstance(source, Source) else opening.enter_context(self._open(source))
            self.camera = self.options.camera or self.source.name
            """What results call the camera, whatever a source that is opened again is called."""
            self._pace = self._paced()
            self.recognizer = recognizer or recognizer_of(self.options)
            self._opened = opening.pop_all()
        detect_every, classify_every = self._rhythm()
        self._follower = Follower(
            self.recognizer.detector,
            self._tracker,
            detect_every,
            self.options.live_size,
            beside=self.source.live and usable_cores() > 1,
        )
        self._opened.callback(self._follower.close)
        self._turns = Turns(classify_every)
        self._pitch_turns, self._pitches = Turns(pitch_every(classify_every)), Latest()
        self._began = math.inf
        self._feed = Feed(
            self.source,
            self.options,
            self._pace,
            self._stop.is_set,
            self._is_over,
            self._on_state,
            self._pause,
        )
        self._upright = UprightCheck(
            self.recognizer.detector,
            self.options.turn,
            PAUSE if self.source.related else 1,
            self.options.log_prefix,
        )
        self._results = self._run()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` or :meth:`close` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask for the end after the current frame; may be called from a signal handler or another thread."""
        self._stop.set()

    def limit(self, fps: float | None) -> None:
        """Look at no more than ``fps`` frames a second for now, ``None``: at will; from any thread.

        It comes on top of the options, as while the board is too hot.
        """
        self._pace.limit(fps)

    @property
    def paused(self) -> bool:
        """Whether :meth:`pause` was called last, and not :meth:`resume`."""
        return self._pause.on

    def pause(self) -> None:
        """Recognize nothing after the current frame, until :meth:`resume`; from any thread.

        The frames of a live source are dropped, and the first one afterwards has a gap; others wait.
        """
        self._pause.begin()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._pause.end()

    def cover(self, masks: Sequence[Polygon]) -> None:
        """Hide ``masks`` besides those of the options, from the next frame on; from any thread."""
        self._next_zones = Zones(self.options.region, (*self.options.mask, *masks))

    @property
    def tally(self) -> Tally:
        """The figures that :attr:`summary` is made of."""
        return self._tally

    @property
    def summary(self) -> Summary:
        """What was done so far."""
        feed = self._feed
        return self._tally.summary(
            self._tracker.count,
            self.source.skipped,
            self.source.missing,
            self._pace.passed,
            feed.gaps,
            feed.gap_seconds,
            self._pause.seconds,
        )

    def adjust(self, options: WatchOptions) -> None:
        """Go on with the thresholds of ``options``, from the next frame on: all that can be reloaded.

        To be called between two results, by the thread that takes them.
        """
        changed = {
            name: getattr(options, name) for name, one in options_of(WatchOptions).items() if one.reloads
        }
        self.options = replace(self.options, **changed)
        self._tracker.min_hits = self.options.min_hits
        self._smoother.seconds = self.options.smoothing
        self._follower.every, self._turns.every = self._rhythm()
        self._pitch_turns.every = pitch_every(self._turns.every)
        if not self._shared:
            self.recognizer.detector.min_score = self.options.min_score

    def __next__(self) -> FrameResult:
        with self._running:
            return next(self._results)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the run and close the source that it opened; may be called twice, and by another thread.

        Where a thread waits for a result, the run ends after it.
        """
        self._stop.set()
        with self._running:
            self._results.close()
            self._opened.close()

    def _open(self, source: str | int | os.PathLike[str] | Callable[[], Source]) -> Source:
        if callable(source):
            return source()
        opened = await_any if self.options.wait_for_camera else open_any
        return opened(source, self.options.source_options)

    def _paced(self) -> Pace:
        options, source = self.options, self.source
        if options.unpaced and source.live:
            raise SourceError(
                f"{source.name}: is live, its frames come in their own time; only files and the demo camera "
                "can be read unpaced"
            )
        if options.fps is not None and not source.related:
            raise SourceError(
                f"{source.name}: single pictures have no frames a second; give every (--every N)"
            )
        return Pace(
            options.every,
            options.fps,
            options.max_fps,
            options.budget,
            options.idle_fps if source.live else 0.0,
            1 / (source.fps or CAMERA_FPS),
            prefix=options.log_prefix,
        )

    def _rhythm(self) -> tuple[int, int]:
        """Every how many frames are searched whole, and a person is classified; noted in the options."""
        live = self.source.live
        detect_every = self.options.detect_every or (DETECT_EVERY if live else 1)
        classify_every = self.options.classify_every or (CLASSIFY_EVERY if live else 1)
        self.options = replace(self.options, detect_every=detect_every, classify_every=classify_every)
        return detect_every, classify_every

    def _run(self) -> Generator[FrameResult, None, None]:
        self._began = time.monotonic()
        with self._opened, contextlib.closing(self._frames()) as frames:
            for frame, gap in frames:
                result = self._recognized(frame, gap)
                if result is None:
                    if self.stopped or self._is_over():
                        return
                    self._feed.drop(frame, gap)
                    continue
                self._on_state(RUNNING)
                yield result
                self._pace.end()
                if self._tally.frames == self.options.frames:
                    return
            self._upright.close()

    def _recognized(self, frame: Frame, gap: Gap | None) -> FrameResult | None:
        """The result of ``frame``; ``None`` where the run ends, or pauses at a source that goes on."""
        while True:
            self._rest()
            if self.stopped or self._is_over() or (self.paused and self.source.live):
                return None
            with self._admission(lambda: self.stopped or self.paused) as came:
                if came:
                    self._pace.begin()
                    return self._recognize(self._turned(self._newest(frame)), gap)

    def _newest(self, frame: Frame) -> Frame:
        """What a camera has given while its turn was waited for, else ``frame``."""
        if not self._shared:
            return frame
        newest = self._feed.newest(frame)
        self._tally.dropped = self._feed.dropped
        return newest

    def _turned(self, frame: Frame) -> Frame:
        turn = self.options.turn
        if turn == self.source.turned:
            return frame
        chroma = frame.chroma and (turn.apply(frame.chroma[0]), turn.apply(frame.chroma[1]))
        return replace(frame, image=turn.apply(frame.image), chroma=chroma)

    def _rest(self) -> None:
        """Wait until a frame is due; where a source waits for its reader, also for the end of a pause."""
        told_at = -math.inf
        while not (self.stopped or self._is_over() or (self.paused and self.source.live)):
            left = self._pace.due - time.monotonic()
            if self.paused:
                left = POLL
                if time.monotonic() >= told_at + TELL_EVERY:
                    told_at = time.monotonic()
                    self._on_state(State("paused", seconds=self._pause.lasting))
            if left <= 0:
                return
            # Not the event: a signal handler that sets it while this thread takes its lock would hang.
            time.sleep(min(left, POLL))

    def _is_over(self) -> bool:
        limit = self.options.seconds
        return limit is not None and time.monotonic() - self._began >= limit

    def _frames(self) -> Generator[tuple[Frame, Gap | None], None, None]:
        try:
            if self.source.live or self.source.blocking:
                yield from self._fed()
            else:
                self.source.chooser, self.source.foresees = self._pace.chooses, self._pace.foresees
                for frame in self.source.chosen():
                    yield frame, None
        finally:
            self.source.chooser = self.source.foresees = None

    def _fed(self) -> Generator[tuple[Frame, Gap | None], None, None]:
        with contextlib.closing(iter(self._feed)) as frames:
            for frame, gap in frames:
                self._tally.dropped = self._feed.dropped
                if self.source is not self._feed.source:
                    self.source = self._feed.source
                    self.on_opened(self.source.name)
                yield frame, gap
            self._tally.dropped = self._feed.dropped

    def _recognize(self, frame: Frame, gap: Gap | None) -> FrameResult:
        if gap is not None:
            self._forget()
        self._zones = self._next_zones
        started = time.perf_counter()
        shape = frame.image.shape
        view = self._zones.view(frame.image)
        found = self._follow(frame, view, gap) if self.source.related else self._look(frame, view)
        faces = self._zones.placed(with_brightness(view, found), shape)
        light = brightness(view)
        latency_ms = (time.perf_counter() - started) * 1000
        age = time.monotonic() - frame.monotonic
        image = self._zones.covered(frame.image)
        result = FrameResult(
            index=self._tally.frames,
            source=frame.name,
            camera=self.camera,
            timestamp=frame.timestamp,
            monotonic=frame.monotonic,
            time=datetime.now(UTC) - timedelta(seconds=age),
            image=image,
            faces=faces,
            latency_ms=latency_ms,
            dropped=self._tally.dropped,
            gap=gap,
            brightness=light,
        )
        self._tally.count(len(faces), latency_ms)
        self._pace.saw(len(faces))
        self._upright.look(self._zones.view(image), faces)
        return result

    def _forget(self) -> None:
        """Begin anew with tracks and means: nobody knows who came and went meanwhile."""
        self._tracker.forget()
        self._smoother.keep(self._tracker.kept_keys)

    def _look(self, frame: Frame, view: NDArray[np.uint8]) -> Faces:
        """The faces of a picture by itself, of which ``view`` is looked at."""
        found = self._seen(self.recognizer.detect(view), frame.image.shape)
        return self.recognizer.classify(view, with_pitch(view, found))

    def _seen(self, found: Faces, shape: Sequence[int]) -> Faces:
        """Of the faces that the detector ``found`` those that count."""
        # A shared detector finds what any of its cameras asks for.
        least = self.options.min_score if self._shared else 0.0
        return self._zones.seen(found, shape, least)

    def _follow(self, frame: Frame, view: NDArray[np.uint8], gap: Gap | None) -> Faces:
        timestamp, shape = frame.timestamp, frame.image.shape
        sparse = self._pace.is_sparse(timestamp) or gap is not None
        faces = self._follower.follow(
            view,
            timestamp,
            sparse,
            self._zones.colour(frame.chroma, shape),
            lambda found: self._seen(found, shape),
        )
        keys, kept = self._tracker.keys, self._tracker.kept_keys
        self._smoother.keep(kept)
        self._turns.keep(kept)
        self._pitch_turns.keep(kept)
        self._pitches.keep(kept)
        due = self._turns.take(keys, sparse)
        looked_at = faces.at(due)
        sharp = np.empty(len(looked_at), np.float32)
        distributions = self.recognizer.distributions(view, looked_at, sharp)
        # One mean of each person takes both.
        smoothed = self._smoother.update(keys, np.column_stack((distributions, sharp)), timestamp, due)
        pitch = self._pitch(view, faces, sparse)
        answers = self.recognizer.classifier.answers(smoothed[:, :-1])
        return answered(replace(faces, pitch=pitch), answers, smoothed[:, -1])

    def _pitch(self, view: NDArray[np.uint8], faces: Faces, sparse: bool) -> NDArray[np.float32]:
        """Of the tracked ``faces``: measured where it is due, the latest of the others."""
        keys = self._tracker.keys
        due = self._pitch_turns.take(keys, sparse)
        return self._pitches.update(keys, due, pitches(view, faces.landmarks[due]))
