"""V4L2 cameras, most often on USB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError, SourceLostError
from .base import CAMERA_FPS, CAMERA_SIZE, Frame, Source
from .cameras import RIBBON_DRIVERS, describe_cameras, driver_of, processes_holding
from .opencv_capture import Capture, live_frames, positive_or_none


class CameraSource(Source):
    """A V4L2 camera, most often on USB."""

    live = True
    choosy = True

    def __init__(self, index: int, size: tuple[int, int] = CAMERA_SIZE) -> None:
        import cv2

        self.name = f"camera {index}"
        self._device = Path(f"/dev/video{index}")
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
        holders = processes_holding(self._device)
        if holders:
            return f"{self.name}: {self._device} is busy, in use by {', '.join(holders)}"
        if driver_of(self._device) in RIBBON_DRIVERS:
            return (
                f"{self.name}: {self._device} is a ribbon-cable camera, which V4L2 alone cannot read; "
                f"use --camera picamera2"
            )
        return (
            f"{self.name}: {self._device} gives no video: busy, or not a camera; "
            f"cameras seen: {describe_cameras()}"
        )
