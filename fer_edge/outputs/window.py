"""A window with the annotated frames."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from ..errors import FerEdgeError, printable
from ..pipeline.result import FrameResult
from ..pipeline.state import State
from .base import OutputClosed
from .draw import annotated

TITLE = "fer-edge (q: quit)"
_ESCAPE = 27


class WindowOutput:
    """Shows the annotated frames until q or Escape is pressed or the window is closed.

    With ``wait``, as for single images, each frame stays until a key is pressed. ``named``: a window for each
    of several cameras. Raises
    :class:`~fer_edge.errors.FerEdgeError` where OpenCV was built without windows or there is no
    display.
    """

    def __init__(self, wait: bool = False, unsure: bool = True, named: bool = False) -> None:
        import cv2

        if not cv2.currentUIFramework():
            raise FerEdgeError(
                "a window needs an OpenCV built with one, and opencv-python-headless is not: "
                "pip uninstall opencv-python-headless && pip install 'opencv-python<5'; "
                "or write --save-video FILE"
            )
        # OpenCV's Qt build ends the whole process where it finds no display.
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise FerEdgeError("a window needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set")
        self._unsure = unsure
        self._delay = 0 if wait else 1
        self._named = named
        self._shown: dict[str, NDArray[np.uint8]] = {}

    def write(self, result: FrameResult) -> None:
        """Show one frame."""
        import cv2

        title = f"{printable(result.camera)} - {TITLE}" if self._named else TITLE
        self._check(title)
        picture = annotated(result, self._unsure)
        cv2.imshow(title, picture)
        self._shown[title] = picture
        self._take_keys(self._delay)

    def idle(self, state: State) -> None:
        """Go on taking keys; while the run is paused, show nothing of what was before."""
        import cv2

        for title, picture in self._shown.items():
            self._check(title)
            if state.name == "paused":
                cv2.imshow(title, np.zeros_like(picture))
        if self._shown:
            self._take_keys(1)

    def _check(self, title: str) -> None:
        import cv2

        if title in self._shown and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1:
            raise OutputClosed

    def _take_keys(self, milliseconds: int) -> None:
        import cv2

        if cv2.waitKey(milliseconds) & 0xFF in (ord("q"), _ESCAPE):
            raise OutputClosed

    def cancel(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Close the window."""
        import cv2

        if self._shown:
            cv2.destroyAllWindows()
