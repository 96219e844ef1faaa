"""What may be asked of a run from elsewhere: by a page, a broker, a socket, a key, a button."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from ..errors import DataError, FerEdgeError
from ..option import Polygon, polygon_of
from ..pipeline.watch import Watch
from ..pipeline.watch_all import WatchAll
from ..store.events import LONGEST_NAME
from .folder import state_folder
from .memory import ANY, Memory, recall, remember

MOST_MASKS = 50
"""Polygons drawn on one camera."""

MOST_CORNERS = 200
"""Corners of one polygon."""

_log = logging.getLogger(__name__)


class SessionStore(Protocol):
    """Where sessions are recorded; :class:`~fer_edge.outputs.store.StoreOutput` is one."""

    @property
    def session(self) -> str | None:
        """Name of the session that goes on."""

    def start_session(self, name: str) -> None:
        """Begin one."""

    def mark(self, name: str, group: str | None = None) -> None:
        """Record an event in it."""

    def stop_session(self) -> None:
        """End it."""


class Control:
    """Pauses a run, hides parts of its pictures, marks sessions and events; from any thread.

    ``run``: what recognizes. ``store``: where sessions go, ``None`` for nowhere. ``folder``: where pause and
    masks are remembered, by ``name`` of the run, for the next one; ``None``: nowhere. A pause is remembered
    for live sources only: pausing a camera must not stop a later run on a film. Runs of one name at a time
    share what is remembered, and each changes only what is of its own cameras or was there when it began.

    Every method raises :class:`~fer_edge.errors.DataError` for what cannot be done.
    """

    def __init__(
        self,
        run: Watch | WatchAll,
        store: SessionStore | None = None,
        folder: Path | None = None,
        name: str = "default",
    ) -> None:
        self._run, self._store = run, store
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []
        self._marked = 0
        watches = [run] if isinstance(run, Watch) else [*run.watches.values()]
        self._watches = {watch.camera: watch for watch in watches}
        # A camera that was waited for may be another one than its name says.
        self._kept_as = {camera: camera for camera in self._watches}
        self._live = any(watch.source.live for watch in watches)
        self.folder = folder
        """Where pause and masks are remembered."""
        self._path = folder and folder / f"control-{name}.json"
        self._recalled = recall(self._path) if self._path else Memory()
        self._stays_paused = bool(self._recalled.paused) and self._live
        self._resumed = False
        if self._stays_paused:
            _log.warning(
                "paused, because the previous run was or may have been; continue with fer-edge resume"
            )
            run.pause()
        self._drawn = {camera: self._recalled.masks.get(camera, ()) for camera in self._watches}
        for camera, watch in self._watches.items():
            watch.cover(self._drawn[camera])
            if watch.options.camera is None:
                watch.on_opened = functools.partial(self._take_over, camera)
        for camera in self._recalled.masks.keys() - self._watches.keys():
            _log.warning("masks drawn on %r are not used: no camera of this run has that name", camera)

    @property
    def cameras(self) -> tuple[str, ...]:
        """The names of the cameras, as results have them."""
        return tuple(self._watches)

    @property
    def paused(self) -> bool:
        """Whether nothing is recognized."""
        return self._run.paused

    def pause(self) -> None:
        """Recognize, show, store and encode nothing after the current frame, until :meth:`resume`."""
        self._set_paused(True)

    def resume(self) -> None:
        """Go on."""
        self._set_paused(False)

    def masks(self, camera: str) -> tuple[Polygon, ...]:
        """The masks of a camera: configured ones, then drawn ones."""
        return (*self._watch(camera).options.mask, *self.drawn(camera))

    def drawn(self, camera: str) -> tuple[Polygon, ...]:
        """The drawn masks of a camera, without configured ones."""
        self._watch(camera)
        return self._drawn[camera]

    def set_masks(self, camera: str, polygons: Sequence[Polygon]) -> None:
        """Hide ``polygons`` of a camera, besides configured ones, instead of those drawn before.

        Polygons are corners x, y in parts of the turned picture, 0 to 1. They hold from the next frame on.
        """
        watch = self._watch(camera)
        masks = _checked(polygons)
        with self._changing():
            watch.cover(masks)
            self._drawn[camera] = masks
            self._keep()

    @property
    def session(self) -> str | None:
        """Name of the session that goes on."""
        return self._store.session if self._store else None

    @property
    def keeps_sessions(self) -> bool:
        """Whether there is a store to keep sessions in."""
        return self._store is not None

    def start_session(self, name: str) -> None:
        """Begin a session: a row for each person and second is kept from now on."""
        name = named(name, "a session")
        with self._changing():
            self._sessions().start_session(name)
            self._marked = 0
        _log.info("session %r has started", name)

    def mark(self, name: str, group: str | None = None) -> None:
        """Record that ``name`` begins now; ``group``: what it belongs to."""
        name, group = named(name, "an event"), None if group is None else named(group, "a group")
        with self._changing():
            self._sessions().mark(name, group)
        _log.info("marked %r", name)

    def stop_session(self) -> None:
        """End the session."""
        with self._changing():
            name = self.session
            self._sessions().stop_session()
        _log.info("session %r has stopped", name)

    def start_next(self) -> None:
        """Begin a session that is called by the time of day, as by a key that takes no name."""
        self.start_session(f"{datetime.now():%Y-%m-%d %H:%M:%S}")

    def mark_next(self) -> None:
        """Mark an event that is called by its number, as by a button; where needed, begin a session first."""
        with self._lock:
            if self.session is None:
                self.start_next()
            number = self._marked = self._marked + 1
            self.mark(f"event {number}")

    def snapshot(self) -> dict[str, Any]:
        """What holds now, for JSON."""
        return {
            "paused": self.paused,
            "session": self.session,
            "masks": {camera: [*map(list, self.masks(camera))] for camera in self.cameras},
        }

    def on_change(self, callback: Callable[[], None]) -> None:
        """Let ``callback`` be called after each change, in the thread that made it; it must be quick."""
        with self._lock:
            self._callbacks.append(callback)

    def set_store(self, store: SessionStore | None) -> None:
        """Take another store, as where the configuration was read again."""
        self._store = store

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            yield
            callbacks = [*self._callbacks]
        for callback in callbacks:
            callback()

    def _take_over(self, camera: str, name: str) -> None:
        """Hide what was drawn on the source ``name``, which ``camera`` turned out to be."""
        before = self._kept_as[camera]
        if name == before:
            return
        with self._changing():
            self._kept_as[camera] = name
            _log.warning("%s is there, and this run calls it %r; masks are those of %s", name, camera, name)
            if self._drawn[camera] != self._recalled.masks.get(before, ()):
                # Drawn for whatever camera comes.
                self._keep(functools.partial(self._moved, camera, before))
                return
            self._drawn[camera] = self._recalled.masks.get(name, ())
            self._watches[camera].cover(self._drawn[camera])

    def _set_paused(self, paused: bool) -> None:
        if paused == self.paused:
            return
        with self._changing():
            if paused:
                self._run.pause()
            else:
                self._run.resume()
            if self._live:
                self._stays_paused = paused
                self._resumed = self._resumed or not paused
                self._keep()
            # Last, as whoever reads the log may let it wait.
            _log.warning("paused: nothing is recognized" if paused else "recognizing again")

    def _keep(self, change: Callable[[Memory], Memory] | None = None) -> None:
        if self._path is None:
            return
        try:
            state_folder(str(self._path.parent))
        except FerEdgeError as error:
            _log.warning("%s; a restart will forget this", error)
            return
        remember(self._path, change or self._changed)

    def _changed(self, kept: Memory) -> Memory:
        """What is to be ``kept`` from now on: also what other runs of this name have added meanwhile."""
        own = self._watches.keys()
        drawn = {self._kept_as[camera]: masks for camera, masks in self._drawn.items()}
        masks = {camera: masks for camera, masks in kept.masks.items() if camera not in drawn}
        masks |= {camera: masks for camera, masks in drawn.items() if masks}
        paused = kept.paused
        if self._live:
            paused = paused | own if self._stays_paused else paused - own - self._recalled.paused
            if self._resumed and not self._stays_paused:
                # Somebody has ended a pause since; that of a file damaged meanwhile would outlast it.
                paused -= {ANY}
        return Memory(paused, masks)

    def _moved(self, camera: str, before: str, kept: Memory) -> Memory:
        """As :meth:`_changed`, without what was drawn on ``camera`` under its name ``before``."""
        memory = self._changed(kept)
        # Another run of this name may have drawn on that camera itself.
        if memory.masks.get(before, ()) != self._drawn[camera]:
            return memory
        masks = {name: masks for name, masks in memory.masks.items() if name != before}
        if before in self._recalled.masks:
            masks[before] = self._recalled.masks[before]
        return replace(memory, masks=masks)

    def _watch(self, camera: str) -> Watch:
        if camera not in self._watches:
            known = ", ".join(map(repr, self._watches))
            raise DataError(f"no camera {camera!r:.80}; choose one of {known}")
        return self._watches[camera]

    def _sessions(self) -> SessionStore:
        if self._store is None:
            raise DataError("this run has no store to keep sessions in; start it with --store FILE.db")
        return self._store


def _checked(polygons: Any) -> tuple[Polygon, ...]:
    if not isinstance(polygons, (list, tuple)) or not all(isinstance(one, (list, tuple)) for one in polygons):
        raise DataError(f"masks must be a list of polygons, each a list of points x, y; got {polygons!r:.80}")
    if len(polygons) > MOST_MASKS or any(len(one) > MOST_CORNERS for one in polygons):
        raise DataError(f"a camera has at most {MOST_MASKS} drawn masks, of {MOST_CORNERS} corners each")
    try:
        return tuple(polygon_of(one) for one in polygons)
    except ValueError as error:
        raise DataError(f"{error!s:.200}") from error


def named(name: object, what: str) -> str:
    """``name`` without white space around it; raises DataError where it cannot be that of ``what``."""
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"the name of {what} must be a text that is not empty; got {name!r:.80}")
    name = name.strip()
    if len(name) > LONGEST_NAME:
        raise DataError(f"the name of {what} has at most {LONGEST_NAME} characters; got {len(name)}")
    if not name.isprintable():
        raise DataError(f"the name of {what} has control characters: {name!r:.80}")
    return name
