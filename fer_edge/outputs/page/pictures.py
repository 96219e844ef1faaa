"""Pictures for the page: encoded once for all who look on, and only while somebody does.

There are two of each camera. The page takes the one without boxes and lays them over it, sharp at any size;
the other, with boxes and names, is for all that shows pictures only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...faces.faces import Faces
from ...pipeline.result import FrameResult
from ..blur import Blur
from ..draw import annotate

LONGEST_SIDE = 960
"""Pixels of a picture's longer side, at most."""

QUALITY = 80

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """A picture as it is sent."""

    number: int
    """Counts those of a camera from 1."""
    jpeg: bytes


_NONE = Picture(0, b"")


class View(NamedTuple):
    """What somebody looks at."""

    camera: str
    boxes: bool
    """Whether boxes and names are drawn into the picture."""


class Pictures:
    """Takes results in the thread of the loop, and has pictures of them made in a thread of its own.

    ``cameras``: their names. ``kind``: as they are or pixelated. ``fps``: at most so many of each camera in a
    second. :meth:`watched`, :meth:`after` and :meth:`end` are for the thread of the server.
    """

    def __init__(
        self,
        cameras: Collection[str],
        kind: Literal["blurred", "full"],
        fps: float,
        unsure: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blur = Blur() if kind == "blurred" else None
        self._unsure, self._clock = unsure, clock
        self._pause = 1 / fps
        self._changed = threading.Condition()
        views = [View(camera, boxes) for camera in cameras for boxes in (False, True)]
        self._looking = dict.fromkeys(views, 0)
        self._asked = dict.fromkeys(views, 0)
        self._due = dict.fromkeys(cameras, 0.0)
        self._waiting: dict[str, FrameResult] = {}
        self._latest = dict.fromkeys(views, _NONE)
        self._said: dict[View, str | None] = dict.fromkeys(views)
        self._generation = 0
        self._forgotten = -math.inf
        self._ended = self._over = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="page-pictures", daemon=True)
        self.encoded = 0
        """Pictures that were encoded so far."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; ``loop``: that of the server."""
        self._loop = loop
        self._thread.start()

    def offer(self, result: FrameResult) -> None:
        """Take a result, where somebody waits for a picture and one is due; costs next to nothing else."""
        camera, now = result.camera, self._clock()
        if self._blur is not None:
            self._blur.see(result, now)
        if not self._wanted(camera):
            return
        # A frame that comes a little early is as good: else a camera of 30 fps would give 7.5 for 10.
        if now < self._due[camera] - self._pause / 4:
            return
        self._due[camera] = max(self._due[camera] + self._pause, now)
        with self._changed:
            # It may still be without a mask that was drawn while faces were looked for.
            if result.monotonic <= self._forgotten:
                return
            self._waiting[camera] = result
            self._changed.notify()

    def forget(self) -> None:
        """Show nothing of before, nor of frames that were read until now: what is to be seen has changed, as
        by a mask; from any thread."""
        with self._changed:
            self._generation += 1
            self._forgotten = self._clock()
            self._waiting.clear()
            self._latest = {view: Picture(picture.number + 1, b"") for view, picture in self._latest.items()}
            self._said = dict.fromkeys(self._said)

    def say(self, camera: str, text: str) -> None:
        """Show ``text`` instead of ``camera``'s picture until there is one again; from any thread."""
        views = [view for view in self._views(camera, self._looking) if self._said[view] != text]
        if views:
            jpeg, generation = _encoded(_notice(text)), self._generation
            for view in views:
                self._publish(view, jpeg, text, generation)

    @property
    def looked_at(self) -> bool:
        """Whether somebody looks on."""
        return any(self._looking.values())

    @contextlib.contextmanager
    def watched(self, view: View) -> Iterator[None]:
        """Have pictures of ``view`` made while the context lasts."""
        with self._changed:
            self._looking[view] += 1
            if self._looking[view] == 1:
                # What was seen last may be hours old.
                self._latest[view] = Picture(self._latest[view].number + 1, b"")
                self._said[view] = None
        try:
            yield
        finally:
            with self._changed:
                self._looking[view] -= 1

    def _wanted(self, camera: str) -> list[View]:
        """Views of ``camera`` for which some viewer waits, having taken the picture before."""
        return self._views(camera, self._asked)

    def _views(self, camera: str, counts: Mapping[View, int]) -> list[View]:
        return [view for view in (View(camera, False), View(camera, True)) if counts.get(view)]

    async def after(self, view: View, number: int) -> Picture | None:
        """Wait for a picture of ``view`` other than ``number``; ``None`` at the end."""
        self._asked[view] += 1
        try:
            while not self._over:
                news = self._news
                picture = self._latest[view]
                if picture.number != number and picture.jpeg:
                    return picture
                await news.wait()
        finally:
            self._asked[view] -= 1
        return None

    def end(self) -> None:
        """Let nobody wait any longer; in the thread of the server."""
        self._over = True
        self._wake()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    return
                generation, waiting, self._waiting = self._generation, self._waiting, {}
            for camera, result in waiting.items():
                try:
                    self._make(result, self._wanted(camera), generation)
                except Exception as error:  # the next one may be better, and viewers see that none comes
                    _log.warning("page: no picture of %s: %s", camera, error)

    def _make(self, result: FrameResult, views: Sequence[View], generation: int) -> None:
        image, faces = _fitted(result.image, result.faces)
        if self._blur is not None:
            image = self._blur.pixelated(result.camera, image)
        for view in views:
            picture = annotate(image, faces, self._unsure, bars=False) if view.boxes else image
            jpeg = _encoded(picture)
            self.encoded += 1
            self._publish(view, jpeg, None, generation)

    def _publish(self, view: View, jpeg: bytes, said: str | None, generation: int) -> None:
        with self._changed:
            if generation != self._generation:
                return
            self._latest[view] = Picture(self._latest[view].number + 1, jpeg)
            self._said[view] = said
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _fitted(image: NDArray[np.uint8], faces: Faces) -> tuple[NDArray[np.uint8], Faces]:
    """A picture of :data:`LONGEST_SIDE` at most, with the faces in its pixels."""
    import cv2

    factor = LONGEST_SIDE / max(image.shape[:2])
    if factor >= 1:
        return image, faces
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    smaller = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return smaller, replace(faces, boxes=faces.boxes * np.float32(factor))


def _notice(text: str) -> NDArray[np.uint8]:
    import cv2

    picture = np.zeros((270, 480, 3), np.uint8)
    plain = text.encode("ascii", "replace").decode("ascii")
    lines = [plain[at : at + 40] for at in range(0, min(len(plain), 160), 40)]
    for number, line in enumerate(lines):
        place = (16, 140 + 28 * number)
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_DUPLEX, 0.6, (235, 235, 235), 1, cv2.LINE_AA)
    return picture


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    import cv2

    done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError("OpenCV could not encode it")
    return bytes(content.tobytes())
