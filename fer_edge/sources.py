"""Where frames come from: cameras, streams, videos, images, folders, and a camera without hardware.

A source is a context manager and an iterable of :class:`Frame`. Live sources (cameras, network
streams) do not wait for a slow reader; the others give each frame exactly once.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import math
import os
import re
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .errors import MissingExtraError, SourceError, SourceLostError

if TYPE_CHECKING:
    import cv2

CAMERA_SIZE = (640, 480)
"""Width and height asked of cameras: a face at two metres still has more pixels than the classifier takes."""

CAMERA_FPS = 30.0
OPEN_TIMEOUT = 10.0
READ_TIMEOUT = 10.0
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_FAILED_READS_ALLOWED = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source."""

    image: NDArray[np.uint8]
    """(h, w, 3) in BGR order, or (h, w) grey."""
    timestamp: float
    """Seconds: since the source was opened (live), in the film (video file), 0 (image)."""
    name: str
    """Of the source, or the path of the image."""


class Source(ABC):
    """Gives frames when iterated over, once; close it or use it in a ``with`` statement.

    Iterating raises :class:`~fer_edge.errors.SourceLostError` where a camera or stream stops giving
    frames.
    """

    name: str
    live: bool = False
    """Whether frames come in their own time; what is not taken is lost."""
    related: bool = True
    """Whether one frame follows from the other, as in a video, so that faces can be tracked."""
    fps: float | None = None
    """Nominal frames a second, where known."""
    skipped: int = 0
    """Unreadable images passed over so far."""
    paths: Sequence[Path] = ()
    """The images, where the source is a file of one or a folder of them."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:  # noqa: B027 (most sources hold nothing)
        """Give the device or file back; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
    _check_readable(path)
    import cv2

    if path.suffix.lower() in IMAGE_SUFFIXES or (_is_utf8(text) and cv2.haveImageReader(text)):
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


class CameraSource(Source):
    """A V4L2 camera, most often on USB."""

    live = True

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
        self._capture = _Capture(cv2.VideoCapture(index, cv2.CAP_V4L2))
        if not self._capture.opened:
            raise SourceError(self._why_not_opened())
        for key, value in wanted.items():
            self._capture.set(key, value)
        self.fps = _positive(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame]:
        started = time.monotonic()
        failed = 0
        while failed <= _FAILED_READS_ALLOWED:
            image = self._capture.read()
            if image is not None:
                failed = 0
                yield Frame(image, time.monotonic() - started, self.name)
            elif not self._device.exists():
                raise SourceLostError(f"{self.name}: {self._device} is gone; was it unplugged?")
            else:
                failed += 1
                time.sleep(0.05)
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
        holders = _processes_holding(self._device)
        if holders:
            return f"{self.name}: {self._device} is busy, in use by {', '.join(holders)}"
        if _driver(self._device) in _RIBBON_DRIVERS:
            return (
                f"{self.name}: {self._device} is a ribbon-cable camera, which V4L2 alone cannot read; "
                f"use --camera picamera2"
            )
        return (
            f"{self.name}: {self._device} gives no video: busy, or not a camera; "
            f"cameras seen: {describe_cameras()}"
        )


class PiCameraSource(Source):
    """A Raspberry Pi camera through picamera2's low-resolution YUV420 stream.

    Its Y plane is the grey image, so that no colour is ever converted and nothing copied (rows are
    as far apart as the camera writes them); with ``colour`` the same stream is converted to BGR.
    """

    live = True
    name = "picamera2"
    fps = CAMERA_FPS

    def __init__(self, size: tuple[int, int] = CAMERA_SIZE, colour: bool = False) -> None:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise SourceError(
                f"--camera picamera2 needs Raspberry Pi OS's own package: sudo apt install "
                f"python3-picamera2, and a venv made with --system-site-packages ({error})"
            ) from error
        self._colour = colour
        try:
            self._camera = Picamera2()
        except (IndexError, RuntimeError) as error:
            raise SourceError(
                f"picamera2: no camera to be had ({error}); check the ribbon cable and "
                f"'rpicam-hello --list-cameras', and that no other program uses it"
            ) from error
        try:
            # A main stream as small as the low-resolution one makes libcamera choose a sensor mode
            # that sees only the middle of the view.
            configuration = self._camera.create_video_configuration(
                main={"size": (2 * size[0], 2 * size[1])}, lores={"size": size, "format": "YUV420"}
            )
            self._camera.configure(configuration)
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
            except RuntimeError as error:
                raise SourceLostError(f"picamera2: the camera stopped ({error})") from error
            yield Frame(self._picture(planes), time.monotonic() - started, self.name)

    def close(self) -> None:
        self._camera.stop()
        self._camera.close()

    def _picture(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        width, height = self._size
        if not self._colour:
            return planes[:height, :width]
        import cv2

        return np.ascontiguousarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)[:, :width])


class DemoSource(Source):
    """A camera without hardware: a window that wanders and zooms over a photo of an astronaut.

    Frame k is the same on every run. ``paced`` frames come at 30 a second and are live, as from a
    camera; otherwise every frame is given, as fast as it is taken. Needs scikit-image, whose
    package contains the photo (NASA, public domain).
    """

    name = "demo camera"
    fps = CAMERA_FPS

    def __init__(self, size: tuple[int, int] = CAMERA_SIZE, paced: bool = True) -> None:
        try:
            from skimage import data
        except ImportError as error:
            raise MissingExtraError("The demo camera", "scikit-image", "demo") from error
        self._photo = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
        self._size = size
        self.live = paced

    def __iter__(self) -> Iterator[Frame]:
        if not self.live:
            for index in itertools.count():
                yield self._frame(index)
        started = time.monotonic()
        index = 0
        while True:
            ahead = index / CAMERA_FPS - (time.monotonic() - started)
            if ahead > 0:
                time.sleep(ahead)
            yield self._frame(index)
            index = max(index + 1, int((time.monotonic() - started) * CAMERA_FPS))

    def _frame(self, index: int) -> Frame:
        import cv2

        seconds = index / CAMERA_FPS
        width, height = self._size
        # Pixels of the frame per pixel of the photo; the periods have no common multiple below a minute.
        zoom = width / 640 * (2.3 + 0.3 * math.sin(seconds / 1.7))
        centre_x = 223 + 35 * math.sin(seconds / 1.3)
        centre_y = 136 + 14 * math.sin(seconds / 0.9)
        window = np.array(
            [[zoom, 0, width / 2 - zoom * centre_x], [0, zoom, height / 2 - zoom * centre_y]], np.float32
        )
        image = cv2.warpAffine(
            self._photo, window, self._size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return Frame(_pixels(image), seconds, self.name)


class ImageSource(Source):
    """An image, or the images of a folder in the order of their names, sub-folders left out.

    An unreadable image in a folder is reported as a warning, counted in ``skipped`` and passed
    over; where no image at all is readable, iterating ends with :class:`~fer_edge.errors.SourceError`.
    """

    related = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = Path(path)
        self.name = str(given)
        if not given.is_dir():
            self.paths = [given]
            return
        self.paths = sorted(
            entry for entry in given.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()
        )
        if not self.paths:
            raise SourceError(
                f"{given}: no image in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})"
            )

    def __iter__(self) -> Iterator[Frame]:
        for path in self.paths:
            try:
                image = read_image(path)
            except SourceError as error:
                if len(self.paths) == 1:
                    raise
                self.skipped += 1
                _log.warning("%s; skipped", error)
                continue
            yield Frame(image, 0.0, str(path))
        if self.skipped == len(self.paths):
            raise SourceError(f"{self.name}: none of the {self.skipped} images can be read")


class VideoSource(Source):
    """A video file, every frame in order."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import cv2

        self.name = os.fspath(path)
        _check_readable(Path(path))
        if not _is_utf8(self.name):
            # OpenCV would crash.
            raise SourceError(f"{path}: OpenCV opens videos with a UTF-8 name only; rename it")
        self._capture = _Capture(cv2.VideoCapture(self.name, cv2.CAP_FFMPEG))
        if not self._capture.opened:
            raise SourceError(f"{self.name}: neither an image nor a video that OpenCV can read")
        self.fps = _positive(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame]:
        yield from _film(self._capture, self.name, self.fps)

    def close(self) -> None:
        self._capture.release()


class StreamSource(Source):
    """A network stream (RTSP, or MJPEG and the like over HTTP); passwords are left out of its name.

    A URL whose content has an end, such as a video file on a web server, is not live.
    """

    def __init__(
        self, url: str, open_timeout: float = OPEN_TIMEOUT, read_timeout: float = READ_TIMEOUT
    ) -> None:
        import cv2

        self.name = without_password(url)
        started = time.monotonic()
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            int(open_timeout * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            int(read_timeout * 1000),
        ]
        self._capture = _Capture(cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts))
        if not self._capture.opened:
            waited = time.monotonic() - started
            reason = (
                f"no answer within {open_timeout:g} s"
                if waited >= open_timeout
                else "refused, not found, or not a video"
            )
            raise SourceError(f"{self.name}: the stream cannot be opened: {reason}")
        self.live = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0
        self.fps = _positive(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame]:
        if not self.live:
            yield from _film(self._capture, self.name, self.fps)
            return
        started = time.monotonic()
        while True:
            image = self._capture.read()
            if image is None:
                raise SourceLostError(f"{self.name}: the stream stopped")
            yield Frame(image, time.monotonic() - started, self.name)

    def close(self) -> None:
        self._capture.release()


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return an image file as uint8 (h, w, 3) in BGR order, turned upright by its EXIF orientation.

    Raises :class:`~fer_edge.errors.SourceError` for a file that is missing or no image.
    """
    import cv2

    try:
        # Not with cv2.imread, which crashes on names that are not UTF-8.
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:
        raise SourceError(f"{path}: OpenCV refuses this image ({error.err})") from error
    if image is None:
        raise SourceError(f"{path}: not an image that OpenCV can read")
    return _pixels(image)


@dataclass(frozen=True)
class Camera:
    """A camera as the kernel lists it."""

    index: int
    """N of ``/dev/videoN``."""
    name: str
    driver: str
    readable: bool
    """Whether this user may open it."""

    def __str__(self) -> str:
        return f"{self.index} ({self.name})" + ("" if self.readable else " without permission")


# Struct v4l2_capability and its request number, from linux/videodev2.h.
_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("=16s32s32sIII12x")
_VIDEO_CAPTURE = 0x1
_DEVICE_CAPS = 0x80000000

# Ribbon-cable cameras and the Pi's codec and image-processor nodes also offer "capture", but no
# picture that OpenCV could read.
_RIBBON_DRIVERS = frozenset({"unicam", "rp1-cfe"})
_NOT_CAMERAS = _RIBBON_DRIVERS | {"bcm2835-codec", "bcm2835-isp", "pispbe", "rpi-hevc-dec", "rpivid"}


def list_cameras() -> list[Camera]:
    """Return the V4L2 cameras that :class:`CameraSource` can read, by index.

    A device that this user may not open is listed too, as far as ``/sys`` names it.
    """
    cameras = []
    for device in Path("/dev").glob("video*"):
        digits = device.name.removeprefix("video")
        if not digits.isdecimal():
            continue
        readable = os.access(device, os.R_OK | os.W_OK)
        driver = _driver(device)
        if driver in _NOT_CAMERAS or (readable and not _captures_video(device)):
            continue
        cameras.append(Camera(int(digits), _name(device), driver, readable))
    return sorted(cameras, key=lambda camera: camera.index)


def describe_cameras() -> str:
    """Return the cameras of :func:`list_cameras` in words, for messages."""
    return ", ".join(map(str, list_cameras())) or "none"


def _name(device: Path) -> str:
    try:
        return Path(f"/sys/class/video4linux/{device.name}/name").read_text().strip()
    except OSError:
        return str(device)


def _driver(device: Path) -> str:
    return Path(f"/sys/class/video4linux/{device.name}/device/driver").resolve().name


def _captures_video(device: Path) -> bool:
    answer = bytearray(_CAPABILITY.size)
    try:
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        # Some drivers allow one user at a time: it is there, and somebody has it.
        return True
    try:
        fcntl.ioctl(handle, _QUERYCAP, answer)
    except OSError:
        return False
    finally:
        os.close(handle)
    *_, capabilities, device_capabilities = _CAPABILITY.unpack(answer)
    if capabilities & _DEVICE_CAPS:
        capabilities = device_capabilities
    return bool(capabilities & _VIDEO_CAPTURE)


def _processes_holding(device: Path) -> list[str]:
    """Name the other processes that have ``device`` open, as far as this user may look."""
    holders = {}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        process = link.parent.parent
        # Processes end and close files while this looks at them.
        with contextlib.suppress(OSError):
            if process.name != str(os.getpid()) and link.readlink() == device:
                holders[process.name] = (process / "comm").read_text().strip()
    return [f"{name} (process {number})" for number, name in holders.items()]


class _Capture:
    """An OpenCV capture that one thread can release while another waits in a read."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._lock = threading.Lock()

    @property
    def opened(self) -> bool:
        return self._capture.isOpened()

    def get(self, key: int) -> float:
        return self._capture.get(key)

    def set(self, key: int, value: float) -> bool:
        return self._capture.set(key, value)

    def read(self) -> NDArray[np.uint8] | None:
        with self._lock:
            ok, image = self._capture.read()
        return _pixels(image) if ok else None

    def release(self) -> None:
        # A read that hangs in a driver never gives the lock back; the process's end frees the device.
        if self._lock.acquire(timeout=1):
            self._capture.release()
            self._lock.release()


def _film(capture: _Capture, name: str, fps: float | None) -> Iterator[Frame]:
    import cv2

    told = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    seconds = -1.0
    for index in itertools.count():
        image = capture.read()
        if image is None:
            if index == 0:
                raise SourceError(f"{name}: the video has no frame that can be decoded")
            # Some containers count one frame more than they hold.
            if told > index + 1:
                _log.warning("%s: ends after %d of %d frames; damaged?", name, index, told)
            return
        # Telephones film at a varying rate. A container that does not tell gives 0 each time.
        shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        last, seconds = seconds, index / (fps or CAMERA_FPS)
        if math.isfinite(shown) and shown >= 0 and shown > last:
            seconds = shown
        elif seconds <= last:
            seconds = last + 1 / (fps or CAMERA_FPS)
        yield Frame(image, seconds, name)


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error


def without_password(url: str) -> str:
    """Return ``url`` without user and password; what is no URL stays as it is.

    Everything up to the last "@" goes, because passwords with special characters are often not quoted.
    """
    return re.sub(r"^([a-z][a-z0-9+]*://).*@", r"\1", url, flags=re.IGNORECASE | re.DOTALL)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def _pixels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """OpenCV's type stubs allow any dtype; what it decodes here is uint8."""
    pixels: NDArray[np.uint8] = image
    return pixels
