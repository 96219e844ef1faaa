"""USB cameras by what they are, whatever number ``/dev/videoN`` they got."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import SourceError, WrongSourceError
from .cameras import DEV, SYS, list_cameras

_SPEC = re.compile(r"usb:([0-9a-f]{4}):([0-9a-f]{4})(?::(.+))?", re.IGNORECASE)


@dataclass(frozen=True)
class UsbCamera:
    """A USB device that gives pictures, as the kernel describes it."""

    vendor: str
    """Four hexadecimal digits, lower case; so is ``product``."""
    product: str
    serial: str
    """Empty where it has none; cheap cameras of one kind may all have the same."""
    interface: str
    """Of the device, that gives these pictures: some have two lenses."""
    node: str
    """Which device of this interface: some give two formats at once."""
    port: str
    """Where it is plugged in, for example ``1-1.2``."""

    def __str__(self) -> str:
        return f"usb:{self.vendor}:{self.product}" + (f":{self.serial}" if self.serial else "")

    def is_like(self, other: UsbCamera) -> bool:
        """Whether only the port tells it from ``other``."""
        return replace(self, port="") == replace(other, port="")


def is_usb_name(spec: str) -> bool:
    """Whether ``spec`` is meant as ``usb:VENDOR:PRODUCT[:SERIAL]``."""
    return spec.lower().startswith("usb:")


def camera_on_usb(index: int) -> UsbCamera | None:
    """Return what the kernel says of ``/dev/video<index>``; ``None`` where that is not on USB."""
    interface = (SYS / f"video{index}" / "device").resolve()
    device = interface.parent
    try:
        vendor, product = (device / "idVendor").read_text(), (device / "idProduct").read_text()
    except OSError:
        return None
    return UsbCamera(
        vendor.strip().lower(),
        product.strip().lower(),
        _text(device / "serial"),
        _text(interface / "bInterfaceNumber"),
        _text(SYS / f"video{index}" / "index"),
        device.name,
    )


def find_usb_camera(spec: str) -> int:
    """Return N of ``/dev/videoN`` for ``usb:VENDOR:PRODUCT[:SERIAL]``.

    Raises :class:`~fer_edge.errors.SourceError` where no such camera is plugged in,
    :class:`~fer_edge.errors.WrongSourceError` for another name, and where several cameras have this one.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise WrongSourceError(
            f"camera {spec!r}: want usb:VENDOR:PRODUCT or usb:VENDOR:PRODUCT:SERIAL with four hexadecimal "
            f"digits each, as in usb:046d:082d; seen: {_seen()}"
        )
    vendor, product, serial = match[1].lower(), match[2].lower(), match[3]
    found = {
        index: camera
        for index, camera in _usb_cameras().items()
        if (camera.vendor, camera.product) == (vendor, product) and serial in (None, camera.serial)
    }
    if not found:
        raise SourceError(f"{spec}: no such camera is plugged in; seen: {_seen()}")
    if len({camera.port for camera in found.values()}) > 1:
        raise WrongSourceError(
            f"{spec}: several cameras have this name; give the serial number, or where each is plugged in: "
            f"{_by_path(found)}"
        )
    # A device with two lenses or formats has a node for each; the first is the one that others take as well.
    return min(found, key=lambda index: (found[index].interface, found[index].node, index))


def finder(index: int) -> Callable[[], int]:
    """Return what finds the camera that ``/dev/video<index>`` is now, under whatever number it is then.

    It raises :class:`~fer_edge.errors.SourceError` where it is not there. Among equal cameras the port
    decides, that at which it was found last. One at another port is taken for it only where it is alone and
    no two were seen at once, and has a serial number or comes after no equal one was there at all. A camera
    that is not on USB keeps its number.
    """
    camera = camera_on_usb(index)
    if camera is None:
        return lambda: index
    twins = any(other.is_like(camera) and other.port != camera.port for other in _usb_cameras().values())
    missed = False

    def find() -> int:
        nonlocal camera, twins, missed
        assert camera is not None
        found = {number: other for number, other in _usb_cameras().items() if other.is_like(camera)}
        here = [number for number, other in found.items() if other.port == camera.port]
        if here:
            twins, missed = len(here) < len(found), False
            return min(here)
        if not found:
            missed = True
            raise SourceError(f"{camera} is not plugged in")
        twins = twins or len(found) > 1
        # Without a serial number, what is elsewhere before this one was missed may have been there beside it.
        if twins or not (missed or camera.serial):
            raise SourceError(
                f"{camera} is not plugged in at port {camera.port}, and equal cameras cannot be told apart: "
                f"{_by_path(found)}"
            )
        ((number, camera),) = found.items()
        missed = False
        return number

    return find


def _usb_cameras() -> dict[int, UsbCamera]:
    """The cameras on USB, by N of ``/dev/videoN``."""
    found = {camera.index: camera_on_usb(camera.index) for camera in list_cameras()}
    return {index: camera for index, camera in found.items() if camera is not None}


def _seen() -> str:
    return ", ".join(f"{camera} ({DEV}/video{index})" for index, camera in _usb_cameras().items()) or "none"


def _by_path(cameras: dict[int, UsbCamera]) -> str:
    """The links that tell ``cameras`` apart; where udev made none, their devices."""
    links: dict[str, Path] = {}
    for link in sorted((DEV / "v4l/by-path").glob("*")):
        name = Path(os.path.realpath(link)).name
        # udev makes a second link, with "usbv2" or "usbv3", to the same camera.
        links.setdefault(name, link)
    return ", ".join(str(links.get(f"video{index}", DEV / f"video{index}")) for index in sorted(cameras))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
