"""Where frames come from: a file for each kind of source, and the functions that choose one."""

from __future__ import annotations

import contextlib
import os
import re
from numbers import Integral
from pathlib import Path

from ..errors import SourceError, WrongSourceError
from ..files import leads_to_folder
from ..opencv import check_opencv
from .animation import AnimationSource, frame_count
from .base import Source
from .cameras import describe_cameras, list_cameras
from .demo import DemoSource
from .headers import HEAD_BYTES, picture_kind
from .images import ImageSource, is_mjpeg, read_content, read_image
from .mjpeg import MjpegSource, pictures
from .opencv_capture import check_readable
from .options import SourceOptions
from .picamera import PiCameraSource, has_picamera
from .pipe import STANDARD_INPUT, is_pipe, open_pipe
from .raw import RawSource
from .reconnect import lasting, opened_or_awaited
from .stream import StreamSource, open_stream
from .urls import is_url, path_of, without_secrets
from .usb import find_usb_camera, finder, is_usb_name
from .v4l2 import CameraSource, camera_at, is_camera_path, number_at
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
    "await_any",
    "await_first",
    "device_of",
    "first_camera",
    "has_camera",
    "is_camera",
    "is_pipe",
    "open_any",
    "open_camera",
    "open_pipe",
    "open_source",
    "read_image",
]

DEFAULTS = SourceOptions()

_NUMBERED = re.compile(r"(?:/dev/video)?(\d+)")


def open_any(source: str | int | os.PathLike[str], options: SourceOptions = DEFAULTS) -> Source:
    """Open a camera, where :func:`is_camera` says that ``source`` names one, else as :func:`open_source`.

    A file of such a name is ``./demo``. Errors as for :func:`open_camera`.
    """
    text = _text(source)
    if not text:
        raise SourceError("the source is an empty name; give a file, a folder, a URL or a camera")
    return open_camera(text, options) if is_camera(text) else open_source(text, options)


def await_any(source: str | int | os.PathLike[str], options: SourceOptions = DEFAULTS) -> Source:
    """Open as :func:`open_any` does; what stands for a camera or stream that is not there waits for it.

    Raises :class:`~fer_edge.errors.WrongSourceError` for a file or folder, and for a name that no
    camera will ever have.
    """
    text = _text(source)
    if not (is_camera(text) or is_url(text)):
        raise WrongSourceError(f"{text or 'an empty name'}: only a camera or a stream can be waited for")
    return opened_or_awaited(place_name(text), lambda: open_any(text, options))


def await_first(options: SourceOptions = DEFAULTS) -> Source:
    """Open as :func:`first_camera` does; what stands for a camera that is not there waits for one.

    It has the name that :func:`first_name` gives. Errors as for :func:`await_any`.
    """
    return opened_or_awaited(first_name(), lambda: first_camera(options))


def first_name() -> str:
    """Return the name of the first camera that is seen, else that which a first camera nearly always gets."""
    place = None
    with contextlib.suppress(SourceError):
        place = _first_place()
    return place_name(place or "0")


def place_name(source: str | int | os.PathLike[str]) -> str:
    """Return the name that a ``source`` of :func:`open_any` has once it is open; without passwords."""
    text = _text(source)
    if text == "demo":
        return DemoSource.name
    if camera := _NUMBERED.fullmatch(text):
        return f"camera {int(camera[1])}"
    return without_secrets(text) if is_camera(text) or is_url(text) else str(_path(text))


def is_camera(text: str) -> bool:
    """Whether ``text`` is a camera's name for :func:`open_camera`."""
    return text.isdecimal() or text in ("picamera2", "demo") or is_usb_name(text) or is_camera_path(text)


def device_of(source: str) -> str | None:
    """Return the device that ``source`` names where that can be opened only once at a time.

    Equal devices have equal texts, whatever they were called. A USB camera that is not plugged in, or
    shares its name with another, is represented by its name in lower case. ``None`` for what several can
    read: the demo camera, streams, files, folders.
    """
    if source == "picamera2":
        return source
    source = path_of(source)
    if is_usb_name(source):
        try:
            index: int | None = find_usb_camera(source)
        except SourceError:
            return source.lower()
    else:
        index = int(source) if source.isdecimal() else number_at(source)
    if index is not None:
        return f"/dev/video{index}"
    path = _path(source)
    return str(path) if source == "-" or is_pipe(path) else None


def _text(source: str | int | os.PathLike[str]) -> str:
    return str(source) if isinstance(source, (int, Integral)) else path_of(os.fsdecode(source))


def _path(text: str) -> Path:
    return Path(STANDARD_INPUT if text == "-" else text)


def has_camera() -> bool:
    """Whether :func:`first_camera` finds a camera."""
    return _first_place() is not None


def first_camera(options: SourceOptions = DEFAULTS) -> Source:
    """Open the first V4L2 camera, else a Raspberry Pi camera.

    Raises :class:`~fer_edge.errors.SourceError` that lists what could be given where there is none,
    and where the one there is cannot be opened.
    """
    place = _first_place()
    if place is not None:
        return open_camera(place, options)
    raise SourceError(
        "no camera found: give a film, an image, a folder or a URL, or --camera with N (of /dev/videoN), "
        "picamera2, or demo for the built-in demo camera"
    )


def _first_place() -> str | None:
    cameras = list_cameras()
    if cameras:
        return str(cameras[0].index)
    return "picamera2" if has_picamera() else None


def open_source(spec: str | os.PathLike[str], options: SourceOptions = DEFAULTS) -> Source:
    """Open an image, a folder of images, a video file, a pipe, or an ``rtsp://`` or ``http://`` URL.

    ``-`` is standard input, ``/dev/videoN`` and links to it are cameras, a ``file://`` URL is the path in it.
    Files are told apart by what is in them: more than one frame is a film. Raises
    :class:`~fer_edge.errors.SourceError` for what is missing or neither image nor video, and for a stream
    that does not answer, :class:`~fer_edge.errors.MissingRuntimeError` for an OpenCV that is missing or
    broken.
    """
    check_opencv()
    text = _text(spec)
    if options.password_file is not None and not is_url(text):
        raise SourceError(f"{text}: a password is for the URL of a stream; leave the password_file out")
    if is_url(text):
        if options.raw is not None:
            name = without_secrets(text)
            raise WrongSourceError(f"{name}: raw frames come from a file or pipe, not from a URL")
        return lasting(lambda: open_stream(text, options))
    if is_camera_path(text):
        return open_camera(text, options)
    path = _path(text)
    if leads_to_folder(path):
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
    if is_mjpeg(path, options.max_pixels):
        stream = path.open("rb")
        return MjpegSource(pictures(stream), str(path), options.max_pixels, stream)
    content = read_content(path, options.max_pixels)
    if picture_kind(content[:HEAD_BYTES]) is None:
        return VideoSource(path)
    if frame_count(content) > 1:
        return AnimationSource(path, content, options.max_pixels)
    return ImageSource(path, max_pixels=options.max_pixels)


def open_camera(spec: str, options: SourceOptions = DEFAULTS) -> Source:
    """Open a camera: a number N, ``/dev/videoN``, a link to that, ``usb:...``, ``picamera2`` or ``demo``.

    :func:`~fer_edge.sources.usb.find_usb_camera` explains names that begin with ``usb:``. Raises
    :class:`~fer_edge.errors.SourceError` for another name and for a camera that is missing, busy
    or forbidden, :class:`~fer_edge.errors.MissingExtraError` for the demo camera without its photo,
    :class:`~fer_edge.errors.MissingRuntimeError` for an OpenCV that is missing or broken.
    """
    check_opencv()
    if spec == "demo":
        return DemoSource(paced=not options.unpaced)
    if spec == "picamera2":
        return lasting(lambda: PiCameraSource(colour=options.colour, turn=options.turn))
    if camera := _NUMBERED.fullmatch(spec):
        return _numbered(int(camera[1]), place_name(spec))
    if is_usb_name(spec):
        return _numbered(find_usb_camera(spec), spec)
    if is_camera_path(spec) or spec.startswith("/dev/"):
        return lasting(lambda: CameraSource(camera_at(spec), name=spec))
    raise WrongSourceError(
        f"camera {without_secrets(spec)!r}: give a number, usb:VENDOR:PRODUCT, a path in /dev, picamera2 or "
        f"demo; cameras seen: {describe_cameras()}"
    )


def _numbered(index: int, name: str) -> Source:
    """Open ``/dev/video<index>``; it is found again under another number."""
    find = finder(index)
    return lasting(lambda: CameraSource(index, name=name), lambda: CameraSource(find(), name=name))
