"""The cameras that the kernel lists, and who holds them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys/class/video4linux")

DEV = Path("/dev")


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
RIBBON_DRIVERS = frozenset({"unicam", "rp1-cfe"})

_NOT_CAMERAS = RIBBON_DRIVERS | {"bcm2835-codec", "bcm2835-isp", "pispbe", "rpi-hevc-dec", "rpivid"}


def list_cameras() -> list[Camera]:
    """Return the V4L2 cameras that :class:`CameraSource` can read, by index.

    A device that this user may not open is listed too, as far as ``/sys`` names it.
    """
    cameras = []
    for device in DEV.glob("video*"):
        digits = device.name.removeprefix("video")
        if not digits.isdecimal():
            continue
        readable = os.access(device, os.R_OK | os.W_OK)
        driver = driver_of(device)
        if driver in _NOT_CAMERAS or (readable and not captures_video(device)):
            continue
        cameras.append(Camera(int(digits), _name(device), driver, readable))
    return sorted(cameras, key=lambda camera: camera.index)


def describe_cameras() -> str:
    """Return the cameras of :func:`list_cameras` in words, for messages."""
    return ", ".join(map(str, list_cameras())) or "none"


def _name(device: Path) -> str:
    try:
        return (SYS / device.name / "name").read_text().strip()
    except OSError:
        return str(device)


def driver_of(device: Path) -> str:
    """Return the kernel driver of ``/dev/videoN``, as ``/sys`` names it."""
    return (SYS / device.name / "device/driver").resolve().name


def captures_video(device: Path) -> bool:
    """Whether the device ``/dev/videoN`` gives pictures, and not only what is said of them."""
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


def processes_holding(device: Path) -> dict[int, str]:
    """Number and name of the other processes that have ``device`` open, as far as this user may look."""
    holders = {}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        process = link.parent.parent
        # Processes end and close files while this looks at them.
        with contextlib.suppress(OSError):
            if process.name != str(os.getpid()) and link.readlink() == device:
                holders[int(process.name)] = (process / "comm").read_text().strip()
    return holders


def describe_holders(device: Path) -> str:
    """Return the processes of :func:`processes_holding` in words, for messages; empty where there is none."""
    return ", ".join(f"{name} (process {number})" for number, name in processes_holding(device).items())


def ribbon_devices() -> list[Path]:
    """Return the ``/dev/videoN`` that stand for ribbon-cable cameras, which libcamera alone can read."""
    return sorted(device for device in DEV.glob("video*") if driver_of(device) in RIBBON_DRIVERS)
