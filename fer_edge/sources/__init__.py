"""Where frames come from: a file for each kind of source, and the functions that choose one."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import SourceError
from .base import Source
from .cameras import describe_cameras, list_cameras
from .capture import check_readable, is_utf8
from .demo import DemoSource
from .images import IMAGE_SUFFIXES, ImageSource, read_image
from .picamera import PiCameraSource, has_picamera
from .stream import StreamSource
from .urls import is_url
from .v4l2 import CameraSource
from .video import VideoSource

__all__ = [
    "CameraSource",
    "DemoSource",
    "ImageSource",
    "PiCameraSource",
    "Source",
    "StreamSource",
    "VideoSource",
    "first_camera",
    "has_camera",
    "open_any",
    "open_camera",
    "open_source",
    "read_image",
]


def open_any(source: str | int | os.PathLike[str], colour: bool = False) -> Source:
    """Open a camera, where ``source`` is a number, ``picamera2`` or ``demo``, else as :func:`open_source`.

    A file of such a name is ``./demo``. ``colour`` and errors as for :func:`open_camera`.
    """
    text = str(source) if isinstance(source, int) else os.fspath(source)
    if text.isdecimal() or text in ("picamera2", "demo"):
        return open_camera(text, colour)
    return open_source(text)


def has_camera() -> bool:
    """Whether :func:`first_camera` finds a camera."""
    return bool(list_cameras()) or has_picamera()


def first_camera(colour: bool = False) -> Source:
    """Open the first V4L2 camera, else a Raspberry Pi camera.

    Raises :class:`~fer_edge.errors.SourceError` that lists what could be given where there is none,
    and where the one there is cannot be opened.
    """
    cameras = list_cameras()
    if cameras:
        return open_camera(str(cameras[0].index), colour)
    if has_picamera():
        return PiCameraSource(colour=colour)
    raise SourceError(
        "no camera found: give a film, an image, a folder or a URL, or --camera with N (of /dev/videoN), "
        "picamera2, or demo for the built-in demo camera"
    )


def open_source(spec: str | os.PathLike[str]) -> Source:
    """Open an image, a folder of images, a video file, or an ``rtsp://`` or ``http://`` URL.

    Files are told apart by what is in them. Raises :class:`~fer_edge.errors.SourceError` for what
    is missing or neither image nor video, and for a stream that does not answer.
    """
    text = os.fspath(spec)
    if is_url(text):
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
