"""Where frames come from: a file for each kind of source, and the functions that choose one."""

from __future__ import annotations

import os
import re
from numbers import Integral
from pathlib import Path

from ..errors import SourceError
from ..opencv import check_opencv
from .animation import AnimationSource, frame_count
from .base import Source
from .cameras import describe_cameras, list_cameras
from .demo import DemoSource
from .headers import HEAD_BYTES, picture_kind
from .images import ImageSource, read_content, read_image
from .jpeg import followers
from .mjpeg import MjpegSource, pictures
from .opencv_capture import check_readable
from .options import SourceOptions
from .picamera import PiCameraSource, has_picamera
from .pipe import STANDARD_INPUT, is_pipe, open_pipe
from .raw import RawSource
from .stream import StreamSource, open_stream
from .urls import is_url, without_secrets
from .v4l2 import CameraSource
from .video import VideoSource

__all__ = [
    "STANDARD_INPUT",
    "AnimationSource",
    "CameraSource",
    "DemoSource",
    "ImageSource",
    "MjpegSource",
    "PiCameraSource",
    "Source",
    "SourceOptions",
    "StreamSource",
    "VideoSource",
    "first_camera",
    "has_camera",
    "is_pipe",
    "open_any",
    "open_camera",
    "open_pipe",
    "open_source",
    "read_image",
]

DEFAULTS = SourceOptions()


def open_any(source: str | int | os.PathLike[str], options: SourceOptions = DEFAULTS) -> Source:
    """Open a camera, where ``source`` is a number, ``picamera2`` or ``demo``, else as :func:`open_source`.

    A file of such a name is ``./demo``. Errors as for :func:`open_camera`.
    """
    text = str(source) if isinstance(source, (int, Integral)) else os.fsdecode(source)
    if not text:
        raise SourceError("the source is an empty name; give a file, a folder, a URL or a camera")
    if text.isdecimal() or text in ("picamera2", "demo"):
        return open_camera(text, options)
    return open_source(text, options)


def has_camera() -> bool:
    """Whether :func:`first_camera` finds a camera."""
    return bool(list_cameras()) or has_picamera()


def first_camera(options: SourceOptions = DEFAULTS) -> Source:
    """Open the first V4L2 camera, else a Raspberry Pi camera.

    Raises :class:`~fer_edge.errors.SourceError` that lists what could be given where there is none,
    and where the one there is cannot be opened.
    """
    cameras = list_cameras()
    if cameras:
        return open_camera(str(cameras[0].index), options)
    if has_picamera():
        return open_camera("picamera2", options)
    raise SourceError(
        "no camera found: give a film, an image, a folder or a URL, or --camera with N (of /dev/videoN), "
        "picamera2, or demo for the built-in demo camera"
    )


def open_source(spec: str | os.PathLike[str], options: SourceOptions = DEFAULTS) -> Source:
    """Open an image, a folder of images, a video file, a pipe, or an ``rtsp://`` or ``http://`` URL.

    ``-`` is standard input, ``/dev/videoN`` a camera. Files are told apart by what is in them: more
    than one frame is a film. Raises :class:`~fer_edge.errors.SourceError` for what is missing or
    neither image nor video, and for a stream that does not answer,
    :class:`~fer_edge.errors.MissingRuntimeError` for an OpenCV that is missing or broken.
    """
    check_opencv()
    text = os.fspath(spec)
    if is_url(text):
        if options.raw is not None:
            raise SourceError(f"{without_secrets(text)}: raw frames come from a file or pipe, not from a URL")
        return open_stream(text, options)
    if camera := re.fullmatch(r"/dev/video(\d+)", text):
        return open_camera(camera[1], options)
    path = Path(STANDARD_INPUT if text == "-" else text)
    if path.is_dir():
        return ImageSource(path, options.recursive, options.max_pixels)
    return _open_file(path, options)


def _open_file(path: Path, options: SourceOptions) -> Source:
    if is_pipe(path):
        return open_pipe(path, options)
    if str(path) == STANDARD_INPUT and os.isatty(0):
        raise SourceError("standard input is a terminal: give - behind a pipe, as in: ... | fer-edge run -")
    check_readable(path)
    if options.raw is not None:
        return RawSource(path.open("rb"), str(path), options.raw, options.colour)
    content = read_content(path, options.max_pixels)
    kind = picture_kind(content[:HEAD_BYTES])
    if kind is None:
        return VideoSource(path)
    if kind == "jpeg" and followers(content).film:
        stream = path.open("rb")
        return MjpegSource(pictures(stream), str(path), options.max_pixels, stream)
    if frame_count(content) > 1:
        return AnimationSource(path, content, options.max_pixels)
    return ImageSource(path, max_pixels=options.max_pixels)


def open_camera(spec: str, options: SourceOptions = DEFAULTS) -> Source:
    """Open a camera: a number N (``/dev/videoN``), ``picamera2`` or ``demo``.

    Raises :class:`~fer_edge.errors.SourceError` for another name and for a camera that is missing, busy
    or forbidden, :class:`~fer_edge.errors.MissingExtraError` for the demo camera without its photo,
    :class:`~fer_edge.errors.MissingRuntimeError` for an OpenCV that is missing or broken.
    """
    check_opencv()
    if spec == "demo":
        return DemoSource(paced=not options.unpaced)
    if spec == "picamera2":
        return PiCameraSource(colour=options.colour, turn=options.turn)
    if spec.isdecimal():
        return CameraSource(int(spec))
    raise SourceError(
        f"camera {without_secrets(spec)!r}: give a number, picamera2 or demo; "
        f"cameras seen: {describe_cameras()}"
    )
