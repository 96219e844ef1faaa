"""Where frames come from: a file for each kind of source, and the functions that choose one."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import SourceError
from .base import Source
from .cameras import describe_cameras
from .capture import check_readable, is_utf8
from .demo import DemoSource
from .images import IMAGE_SUFFIXES, ImageSource
from .picamera import PiCameraSource
from .stream import StreamSource
from .v4l2 import CameraSource
from .video import VideoSource


def open_source(spec: str | os.PathLike[str]) -> Source:
    """Open an image, a folder of images, a video file, or an ``rtsp://`` or ``http://`` URL.

    Files are told apart by what is in them. Raises :class:`~fer_edge.errors.SourceError` for what
    is missing or neither image nor video, and for a stream that does not answer.
    """
    text = os.fspath(spec)
    if re.match(r"[a-z][a-z0-9+]*://", text, re.IGNORECASE):
        return StreamSource(text)
    path = Path(text)
    if path.is_dir():
        return ImageSource(path)
    check_readable(path)
    import cv2

    if path.suffix.lower() in IMAGE_SUFFIXES or (is_utf8(text) and cv2.haveImageReader(text)):
        return ImageSource(path)
    return VideoSource(path)


def open_camera(spec: str, colour: bool = False) -> Source:
    """Open a camera: a number N (``/dev/videoN``), ``picamera2`` or ``demo``.

    ``colour`` asks for BGR frames where grey ones would cost less. Raises
    :class:`~fer_edge.errors.SourceError` for another name and for a camera that is missing, busy or
    forbidden, :class:`~fer_edge.errors.MissingExtraError` for the demo camera without its photo.
    """
    if spec == "demo":
        return DemoSource()
    if spec == "picamera2":
        return PiCameraSource(colour=colour)
    if spec.isdecimal():
        return CameraSource(int(spec))
    raise SourceError(
        f"camera {spec!r}: give a number, picamera2 or demo; cameras seen: {describe_cameras()}"
    )
