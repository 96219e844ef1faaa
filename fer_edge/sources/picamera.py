"""The Raspberry Pi's own camera, through picamera2."""

from __future__ import annotations

import contextlib
import importlib
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError, SourceLostError, WrongSourceError
from ..kernels.planes import split_planes
from .base import CAMERA_FPS, CAMERA_SIZE, Frame, Source
from .turn import NO_TURN, Turn


def has_picamera() -> bool:
    """Whether picamera2 is installed and sees a camera; raises SourceError where it is and does not load."""
    try:
        return bool(load_picamera().global_camera_info())
    except SourceError as error:
        if isinstance(cause := error.__cause__, ModuleNotFoundError) and cause.name == "picamera2":
            return False
        raise
    except (AttributeError, RuntimeError):
        return False


def load_picamera() -> Any:
    """Import picamera2's class of a camera; raises WrongSourceError, with the remedy, where that fails."""
    try:
        return importlib.import_module("picamera2").Picamera2
    except Exception as error:  # one compiled for another NumPy raises ValueError, AttributeError ...
        if re.search("numpy|_ARRAY_API", str(error)):
            raise WrongSourceError(
                f"picamera2: is compiled for another NumPy than the installed {np.__version__} ({error}); "
                f"{numpy_remedy(np.__version__)}"
            ) from error
        raise WrongSourceError(
            f"--camera picamera2 needs Raspberry Pi OS's own package: sudo apt install "
            f"python3-picamera2, and a venv made with --system-site-packages ({error})"
        ) from error


def numpy_remedy(version: str) -> str:
    """The command that installs the other NumPy: Bookworm's picamera2 is compiled for 1, Trixie's for 2."""
    return "pip install 'numpy>=2'" if version.startswith("1.") else "pip install 'numpy<2'"


def _transform(turn: Turn) -> dict[str, Any]:
    if turn == NO_TURN or turn.degrees not in (0, 180):
        return {}
    from libcamera import Transform

    half = turn.degrees == 180
    return {"transform": Transform(hflip=half != turn.mirror, vflip=half)}


class PiCameraSource(Source):
    """A Raspberry Pi camera through picamera2's low-resolution YUV420 stream.

    Its Y plane is the grey image, so that nothing is converted at full size and nothing copied (rows are
    as far apart as the camera writes them), and U and V go with it for the detector; with ``colour`` the same
    stream is converted to BGR. The
    camera itself does half turns and mirroring of ``turn``, at no cost; quarter turns it cannot.
    """

    live = True
    name = "picamera2"
    fps = CAMERA_FPS

    def __init__(
        self, size: tuple[int, int] = CAMERA_SIZE, colour: bool = False, turn: Turn = NO_TURN
    ) -> None:
        picamera = load_picamera()
        self._colour = colour
        self._closed = False
        try:
            self._camera = picamera()
        except (IndexError, RuntimeError) as error:
            raise SourceError(
                f"picamera2: no camera found ({error}); check the ribbon cable and "
                f"'rpicam-hello --list-cameras', and that no other program uses it"
            ) from error
        try:
            # A main stream as small as the low-resolution one makes libcamera choose a sensor mode
            # that sees only the middle of the view.
            configuration = self._camera.create_video_configuration(
                main={"size": (2 * size[0], 2 * size[1])},
                lores={"size": size, "format": "YUV420"},
                **_transform(turn),
            )
            self._camera.configure(configuration)
            self.turned = turn if turn.degrees in (0, 180) else NO_TURN
            self._size: tuple[int, int] = self._camera.stream_configuration("lores")["size"]
            self._camera.start()
        except Exception as error:
            self._camera.close()
            raise SourceError(f"picamera2: the camera does not start ({error})") from error

    def __iter__(self) -> Iterator[Frame]:
        started = time.monotonic()
        while True:
            try:
                # (3/2 h, stride): the Y plane, then U and V; rows are padded to the stride.
                planes = self._camera.capture_array("lores")
            except Exception as error:  # libcamera's, and what close() ends the wait with
                reason = str(error) or type(error).__name__
                raise SourceLostError(f"picamera2: the camera stopped ({reason})") from error
            yield self._frame(planes, time.monotonic() - started)

    def close(self) -> None:
        # Once only: where the camera stack hangs, a second close would hang as well.
        if self._closed:
            return
        self._closed = True
        # Each is called whatever the others raise: only close() lets go of the camera.
        with contextlib.ExitStack() as closing:
            closing.callback(self._camera.close)
            closing.callback(self._camera.stop)
            # A frame that never comes is waited for without end. Earlier versions cannot give that up.
            if (give_up := getattr(self._camera, "cancel_all_and_flush", None)) is not None:
                give_up()

    def _frame(self, planes: NDArray[np.uint8], timestamp: float) -> Frame:
        width, height = self._size
        if not self._colour:
            grey, chroma = split_planes(planes[: height * 3 // 2], "yuv420", width)
            return Frame(grey, timestamp, self.name, chroma=chroma)
        import cv2

        picture: NDArray[np.uint8] = np.ascontiguousarray(
            cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)[:, :width]
        )
        return Frame(picture, timestamp, self.name)
