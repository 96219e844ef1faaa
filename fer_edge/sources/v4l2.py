"""V4L2 cameras, most often on USB."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError, SourceLostError, WrongSourceError
from .base import CAMERA_FPS, CAMERA_SIZE, Frame, Source
from .cameras import (
    DEV,
    RIBBON_DRIVERS,
    captures_video,
    describe_cameras,
    describe_holders,
    driver_of,
)
from .opencv_capture import Capture, live_frames, positive_or_none


def is_camera_path(path: str) -> bool:
    """Whether ``path`` is ``/dev/videoN`` or leads there, or is among udev's names of cameras."""
    return path.startswith(f"{DEV}/v4l/") or number_at(path) is not None


def camera_at(path: str) -> int:
    """Return N of the ``/dev/videoN`` to which the link ``path`` leads, as those in ``/dev/v4l/by-id``.

    Raises :class:`~fer_edge.errors.SourceError` where it is not there,
    :class:`~fer_edge.errors.WrongSourceError` where it leads to another device.
    """
    index = number_at(path)
    if index is None:
        if Path(path).exists():
            raise WrongSourceError(f"{path}: is no camera; cameras seen: {describe_cameras()}")
        raise SourceError(f"{path}: no such camera is plugged in; cameras seen: {describe_cameras()}")
    device = DEV / f"video{index}"
    if os.access(device, os.R_OK | os.W_OK) and not captures_video(device):
        raise WrongSourceError(
            f"{path}: gives no pictures, but what a camera tells of them; take its link that ends in "
            f"-index0, or one of the cameras seen: {describe_cameras()}"
        )
    return index


def number_at(path: str) -> int | None:
    """Return N where ``path`` is ``/dev/videoN`` or leads there, else ``None``."""
    target = Path(os.path.realpath(path))
    found = re.fullmatch(r"video(\d+)", target.name) if target.parent == DEV else None
    return int(found[1]) if found else None


class CameraSource(Source):
    """A V4L2 camera, ``/dev/video<index>``, most often on USB; ``name``: what else to call it."""

    live = True
    choosy = True

    def __init__(self, index: int, size: tuple[int, int] = CAMERA_SIZE, name: str | None = None) -> None:
        import cv2

        self.name = name or f"camera {index}"
        self._device = DEV / f"video{index}"
        self._check_device()
        # Uncompressed video of this size does not fit through USB 2 at full rate on many cameras.
        wanted = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
            cv2.CAP_PROP_FRAME_WIDTH: size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: size[1],
            cv2.CAP_PROP_FPS: CAMERA_FPS,
            # The driver fills one while the other is decoded. With a single one it misses every second
            # picture of a camera that sends without a pause; a longer queue hands out older pictures.
            cv2.CAP_PROP_BUFFERSIZE: 2,
        }
        self._capture = Capture(cv2.VideoCapture(index, cv2.CAP_V4L2))
        if not self._capture.opened:
            raise SourceError(self._why_not_opened())
        for key, value in wanted.items():
            self._capture.set(key, value)
        self.fps = positive_or_none(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame]:
        yield from live_frames(self._capture, self, lambda: not self._device.exists())
        if not self._device.exists():
            raise SourceLostError(f"{self.name}: {self._device} is gone; was it unplugged?")
        raise SourceLostError(f"{self.name}: {self._device} gives no more frames; busy, unplugged or asleep?")

    def close(self) -> None:
        self._capture.release()

    def _check_device(self) -> None:
        if not self._device.exists():
            raise SourceError(
                f"{self.name}: there is no {self._device}; cameras seen: {describe_cameras()}. "
                f"Without hardware: --camera demo"
            )
        if not os.access(self._device, os.R_OK | os.W_OK):
            raise SourceError(
                f"{self.name}: no permission for {self._device}; add yourself to its group "
                f"(sudo usermod -aG video $USER) and log in again"
            )

    def _why_not_opened(self) -> str:
        if holders := describe_holders(self._device):
            return f"{self.name}: {self._device} is busy, in use by {holders}"
        if driver_of(self._device) in RIBBON_DRIVERS:
            return (
                f"{self.name}: {self._device} is a ribbon-cable camera, which V4L2 alone cannot read; "
                f"use --camera picamera2"
            )
        return (
            f"{self.name}: {self._device} gives no video: busy, or not a camera; "
            f"cameras seen: {describe_cameras()}"
        )
