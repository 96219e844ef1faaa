"""MQTT as an output of a run: hands arrivals and pictures to the publisher, which reads the rest itself."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...pipeline.result import FrameResult
from ..base import SlowOutput
from ..blur import Blur
from .picture import Pixels, jpeg
from .publisher import Publisher
from .topics import VERSION

_LIVE_END = 0.3
"""Seconds for the last messages of a live run, within what outputs have that end last."""

_FILM_END = 10.0


class MqttOutput(SlowOutput):
    """Tells a broker how a run goes. ``make``: gives the publisher that does it.

    ``live``: whether the source goes on by itself; at the end of a film, all rows are waited for.
    ``pictures``: what is shown of cameras, ``None`` for nothing. ``unsure`` as for :func:`~.draw.annotate`.
    ``camera``: where pictures of the only camera go, whatever it is called after it was plugged in elsewhere.
    ``every``: seconds between two pictures of a camera.
    """

    name = "mqtt"
    capacity = 32
    tells_end = True

    def __init__(
        self,
        make: Callable[[], Publisher],
        live: bool,
        pictures: Pixels | None = None,
        unsure: bool = True,
        camera: str | None = None,
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._pictures, self._unsure, self._clock = make, pictures, unsure, clock
        self._blur = Blur() if pictures == "blurred" else None
        self._lock = threading.Lock()
        self._forgotten = -math.inf
        self._camera, self._every = camera, every
        self._end_seconds = _LIVE_END if live else _FILM_END
        self.needs_image = pictures is not None
        self._last: dict[str, int] = {}
        self._shown: dict[str, float] = {}
        self._publisher: Publisher | None = None
        self._store: Path | None = None
        # Not with the first frame: a run that is paused, or waits for its camera, is to be heard.
        self.open()

    def open(self) -> None:
        """Begin to connect. Raises ``OSError`` where the state folder cannot be used."""
        if self._publisher is None:
            self._publisher = self._make()
            if self._store is not None:
                self._publisher.set_store(self._store)
            self._publisher.start()

    def set_store(self, store: Path) -> None:
        """The run writes another store from now on."""
        self._store = store
        if self._publisher is not None:
            self._publisher.set_store(store)

    def write(self, result: FrameResult) -> None:
        """Tell who is new, and show the frame where it is time."""
        assert self._publisher is not None
        ids = result.faces.ids
        last = self._last.get(result.camera, 0)
        if ids is not None and len(ids) and ids.max() > last:
            # Numbers of people rise.
            self._last[result.camera] = int(ids.max())
            for track in np.sort(ids[ids > last]):
                self._publisher.tell(
                    {
                        "version": VERSION,
                        "event": "came",
                        "camera": result.camera,
                        "track": int(track),
                        "time": result.time,
                    }
                )
        if self._blur is not None:
            self._blur.see(result, self._clock())
        now = self._clock()
        if self._is_shown(result) and self._publisher.online and now >= self._shown.get(result.camera, now):
            picture = jpeg(result, self._blur, self._unsure)
            with self._lock:
                # What may be seen may have changed while the picture was made.
                if self._is_shown(result):
                    self._shown[result.camera] = now + self._every
                    self._publisher.show(self._camera or result.camera, picture)

    def changed(self) -> None:
        """Show no frame that was read until now: what may be seen has changed; from any thread."""
        with self._lock:
            self._forgotten = self._clock()
            if (publisher := self._publisher) is not None:
                publisher.forget_pictures()

    def _is_shown(self, result: FrameResult) -> bool:
        """Whether a picture of ``result`` may be seen: it may have waited since before a mask, or a pause."""
        return self._pictures is not None and result.monotonic > self._forgotten

    def close(self) -> None:
        """Send what is left, tell that the run has ended, and disconnect; a broker that hangs is left."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.stop(self._end_seconds)
