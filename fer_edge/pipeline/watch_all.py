"""Several cameras in one process, which one detector and one classifier serve by turns."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self

from ..errors import SourceError, named
from ..sources import await_any, open_any, place_name
from ..sources.base import Source
from ..sources.opening import Opening
from .options import SHARED, WatchOptions
from .recognizer import Recognizer, refuse_options
from .reconnect import POLL
from .result import FrameResult
from .state import ENDED, RUNNING, State
from .summary import Summary, summed
from .watch import Watch

Place = str | int | os.PathLike[str] | Source
"""What :func:`fer_edge.watch` takes as a source."""

OPEN_SECONDS = 3.0
"""Time for the cameras to be opened that may come later; others go on without those that take longer."""

_END_SECONDS = 3.0
"""Time for all cameras to be closed; drivers that hang take longer, and are left alone."""

_log = logging.getLogger(__name__)


def watch_all(
    sources: Mapping[str, Place],
    *,
    own: Mapping[str, Mapping[str, Any]] | None = None,
    recognizer: Recognizer | None = None,
    on_state: Callable[[State], None] | None = None,
    **options: Any,
) -> WatchAll:
    """Recognize the faces of several cameras at once, by turns on one detector and one classifier.

    >>> cameras = {"door": 0, "till": "rtsp://192.168.1.20/stream"}
    >>> with fer_edge.watch_all(cameras, own={"door": {"rotate": 180}}, min_score=0.8) as results:
    ...     for result in results:
    ...         print(result.camera, [face.emotion for face in result.faces])

    ``sources``: by the name that results call each, what :func:`fer_edge.watch` takes. ``options``: of
    :class:`~fer_edge.pipeline.options.WatchOptions`, for all; ``own``: those of one camera, by its name;
    the networks, ``align``, ``frames`` and ``seconds`` are the same for all. ``recognizer``: one that
    was loaded already, and is used by nobody else meanwhile; ``min_score`` may not be below its own.
    ``on_state`` is called in the thread that takes results: ``running`` after each and while any camera
    runs, ``waiting`` where all are lost that have not ended, ``paused`` where no camera runs since the
    run is paused.

    Errors as for :func:`fer_edge.watch`; ``ValueError`` also for ``own`` options of no camera. A camera that
    fails while others go on is logged, and its error raised when they have ended.
    """
    own = own or {}
    if unknown := [name for name in own if name not in sources]:
        raise ValueError(f"own: there is no source {unknown[0]!r} among {', '.join(map(repr, sources))}")
    if recognizer is not None:
        refuse_options(itertools.chain(options, *own.values()), "detect_size", "min_score")
        options = {"min_score": recognizer.detector.min_score, **options}
    cameras = {
        name: (source, WatchOptions(**{**options, **own.get(name, {})})) for name, source in sources.items()
    }
    for name, (_, one) in cameras.items():
        if recognizer is not None and one.min_score < (least := recognizer.detector.min_score):
            raise ValueError(f"min_score: {one.min_score} of {name!r} is below the recognizer's own, {least}")
    return WatchAll(cameras, recognizer, on_state)


class WatchAll(Iterator[FrameResult]):
    """One run over several cameras; make it with :func:`watch_all`, and close it as a :class:`.Watch`.

    Each camera is a :class:`.Watch` with a thread of its own, which waits for its turn where it has a frame.
    Turns are given while a result is asked for, to one camera at a time, in the order in which they came: so
    each camera gets as many as any other, one that is stuck takes none, and the frame that is looked at is
    the newest one at its turn.

    ``on_camera`` is called with the name and state of each, in the camera's own thread; the last one is
    :data:`~fer_edge.pipeline.state.ENDED`.
    """

    def __init__(
        self,
        cameras: Mapping[str, tuple[Place, WatchOptions]],
        recognizer: Recognizer | None = None,
        on_state: Callable[[State], None] | None = None,
        on_camera: Callable[[str, State], None] | None = None,
    ) -> None:
        self._on_state = on_state or (lambda _: None)
        self._states = _States(cameras, on_camera or (lambda _, __: None))
        self._desk = _Desk()
        self._first = _agreeing(cameras)
        self._delivered = 0
        self._threads: list[threading.Thread] = []
        self.watches: dict[str, Watch] = {}
        """The run of each camera, by its name."""
        self._loaded = recognizer is None
        self._openings: list[Opening] = []
        with contextlib.ExitStack() as opening:
            opening.callback(self._abandon)
            sources = {name: self._opening(*camera) for name, camera in cameras.items()}
            for name, (_, options) in cameras.items():
                alone = replace(options, camera=name, frames=None)
                on_state = partial(self._states.take_note, name)
                with _naming(name):
                    watch = Watch(sources[name], alone, recognizer, on_state, self._desk.turn)
                recognizer = watch.recognizer
                self.watches[name] = opening.enter_context(watch)
            opening.pop_all()
        self._adjust_detector()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` or :meth:`close` was called."""
        return all(watch.stopped for watch in self.watches.values())

    def stop(self) -> None:
        """Ask for the end after the current frame; may be called from a signal handler or another thread."""
        for watch in self.watches.values():
            watch.stop()

    @property
    def paused(self) -> bool:
        """Whether :meth:`pause` was called last, and not :meth:`resume`."""
        return all(watch.paused for watch in self.watches.values())

    def pause(self) -> None:
        """As :meth:`.Watch.pause`, for all."""
        for watch in self.watches.values():
            watch.pause()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        for watch in self.watches.values():
            watch.resume()

    def limit(self, fps: float | None) -> None:
        """As :meth:`.Watch.limit`, for all together: each may have the same part of it."""
        for watch in self.watches.values():
            watch.limit(None if fps is None else fps / len(self.watches))

    @property
    def summaries(self) -> dict[str, Summary]:
        """What was done so far, by camera; CPU time is known of all together only."""
        return {name: replace(watch.summary, cpu_percent=math.nan) for name, watch in self.watches.items()}

    @property
    def summary(self) -> Summary:
        """What was done so far, in all; persons are counted by each camera for itself."""
        return summed([*self.summaries.values()], [watch.tally for watch in self.watches.values()])

    def adjust(self, options: Mapping[str, WatchOptions]) -> None:
        """As :meth:`.Watch.adjust`, by camera."""
        for name, watch in self.watches.items():
            watch.adjust(options[name])
        self._adjust_detector()

    def __next__(self) -> FrameResult:
        if self._delivered == self._first.frames:
            self.close()
            raise StopIteration
        if not self._threads:
            self._begin()
        result = self._desk.take(self._report_states)
        self._delivered += 1
        self._on_state(RUNNING)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the run and close the sources that it opened; may be called twice."""
        self.stop()
        deadline = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for watch in () if self._threads else self.watches.values():
            watch.close()
        self._abandon()

    def _opening(self, place: Place, options: WatchOptions) -> Source | Callable[[], Source]:
        """Begin to open a camera; return what waits for it."""
        if isinstance(place, Source):
            return place
        opened = await_any if options.wait_for_camera else open_any
        one = Opening(partial(opened, place, options.source_options))
        self._openings.append(one)
        if not options.wait_for_camera:
            return one.result
        deadline = time.monotonic() + OPEN_SECONDS
        again = partial(open_any, place, options.source_options)
        return lambda: one.result_or_absent(deadline - time.monotonic(), place_name(place), again)

    def _abandon(self) -> None:
        for one in self._openings:
            one.abandon()

    def _report_states(self) -> None:
        """Tell of the state of all, where there is news of it."""
        state = self._states.news()
        if state is not None:
            self._on_state(state)

    def _begin(self) -> None:
        self._desk.expect(len(self.watches))
        for name, watch in self.watches.items():
            # Daemons: a driver that hangs must not keep the process alive.
            thread = threading.Thread(
                target=self._serve, args=(name, watch), name=f"camera-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, name: str, watch: Watch) -> None:
        error: BaseException | None = None
        try:
            with watch:
                for result in watch:
                    self._desk.deliver(result)
        except BaseException as failure:
            error = failure
        self._states.forget(name)
        last = self._desk.leave(error)
        if isinstance(error, SourceError) and not last:
            _log.error("%s; the other cameras go on", named(name, str(error)))

    def _adjust_detector(self) -> None:
        """Let the detector find what any of the cameras asks for."""
        if self._loaded:
            watches = [*self.watches.values()]
            least = min(watch.options.min_score for watch in watches)
            watches[0].recognizer.detector.min_score = least


def _agreeing(cameras: Mapping[str, tuple[Place, WatchOptions]]) -> WatchOptions:
    """The options of the first camera; raises ``ValueError`` unless all agree in what they share."""
    if not cameras:
        raise ValueError("there is no camera to watch")
    (first, (_, options)), *others = cameras.items()
    for name, (_, other) in others:
        for shared in sorted(SHARED):
            if getattr(other, shared) != getattr(options, shared):
                raise ValueError(
                    f"{shared} must be the same for all cameras; it is {getattr(options, shared)!r} for "
                    f"{first!r}, {getattr(other, shared)!r} for {name!r}"
                )
    return options


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say in errors of sources which camera it is."""
    try:
        yield
    except SourceError as error:
        raise type(error)(named(name, str(error))) from error


class _Desk:
    """Where one camera at a time is served, in the order in which they came, when a result is asked for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._asked = False
        self._result: FrameResult | None = None
        self._expected = 0
        self._error: BaseException | None = None
        """The first one of a source, or what is worse."""
        self._broken = False

    def expect(self, cameras: int) -> None:
        """Take note of how many will come."""
        self._expected = cameras

    @contextlib.contextmanager
    def turn(self, gives_up: Callable[[], bool]) -> Iterator[bool]:
        """Wait for a turn; give whether it came. It ends with the context, after which comes a result."""
        if not self._await_turn(gives_up):
            yield False
            return
        try:
            yield True
        except BaseException:
            with self._changed:
                self._asked = True
                self._changed.notify_all()
            raise

    def _await_turn(self, gives_up: Callable[[], bool]) -> bool:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            while not gives_up():
                if self._asked and self._waiting[0] is ticket:
                    self._waiting.popleft()
                    self._asked = False
                    return True
                self._changed.wait(POLL)
            self._waiting.remove(ticket)
            self._changed.notify_all()
            return False

    def deliver(self, result: FrameResult) -> None:
        """Hand over the result of a turn."""
        with self._changed:
            self._result = result
            self._changed.notify_all()

    def leave(self, error: BaseException | None) -> bool:
        """Say that a camera has ended; return whether it was the last."""
        with self._changed:
            self._expected -= 1
            worse = error is not None and not isinstance(error, SourceError)
            if error is not None and (self._error is None or (worse and not self._broken)):
                self._error = error
            self._broken |= worse
            self._changed.notify_all()
            return not self._expected

    def take(self, meanwhile: Callable[[], None]) -> FrameResult:
        """Ask for a result and wait for it; call ``meanwhile`` several times a second.

        Raises ``StopIteration`` where all cameras have ended; what one raised then, or at once where it was
        no fault of a source.
        """
        with self._changed:
            self._asked = True
            self._changed.notify_all()
        while (result := self._awaited()) is None:
            meanwhile()
        return result

    def _awaited(self) -> FrameResult | None:
        """Wait a moment for a result."""
        with self._changed:
            self._changed.wait_for(lambda: self._result or self._broken or not self._expected, POLL)
            result, self._result = self._result, None
            if result is None and (self._broken or not self._expected):
                error, self._error = self._error, None
                raise error or StopIteration
            return result


class _States:
    """The states of all cameras as one."""

    def __init__(self, names: Iterable[str], on_state: Callable[[str, State], None]) -> None:
        self._on_state = on_state
        self._lock = threading.Lock()
        self._latest: dict[str, State | None] = dict.fromkeys(names)
        self._fresh: set[str] = set()

    def take_note(self, name: str, state: State) -> None:
        """Note the state of a camera; called in its thread."""
        with self._lock:
            self._latest[name] = state
            self._fresh.add(name)
        self._on_state(name, state)

    def forget(self, name: str) -> None:
        """A camera has ended."""
        with self._lock:
            self._latest.pop(name, None)
            self._fresh.discard(name)
        self._on_state(name, ENDED)

    def news(self) -> State | None:
        """The state of all, ``None`` where no camera reported one since the last call.

        A camera that reported nothing for a while neither runs nor waits.
        """
        with self._lock:
            fresh, self._fresh = self._fresh, set()
            if any(self._latest[name] == RUNNING for name in fresh):
                return RUNNING
            waiting = {name: state for name, state in self._latest.items() if state and state != RUNNING}
            if not fresh or len(waiting) < len(self._latest):
                return None
            paused = [state for state in waiting.values() if state.name == "paused"]
            if paused:
                reasons = "; ".join(
                    f"{name}: {state.reason}" for name, state in waiting.items() if state.reason
                )
                return State("paused", reasons, max(state.seconds for state in paused))
            reasons = "; ".join(f"{name}: {state.reason}" for name, state in waiting.items())
            return State("waiting", reasons, min(state.seconds for state in waiting.values()))
