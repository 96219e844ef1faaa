"""A USB camera made of software, for tools/camera.py: a USB Video Class device on the driver vhci_hcd.

Usage, as root: usb_camera.py PORT [--formats YUYV MJPG] [--fps FPS] [--damaged]; plugs the camera into that
port of the virtual hub, prints "plugged in" and is the camera until it is ended, which unplugs it. After
SIGUSR1 it sends no more pictures.

The kernel speaks USB/IP (Documentation/usb/usbip_protocol.rst) with the other end of a socket pair; no
network is needed. Descriptors and requests are those of "USB Device Class Definition for Video Devices" 1.0.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import select
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

HUB = Path("/sys/devices/platform/vhci_hcd.0")
WIDTH, HEIGHT = 640, 480
COUNT, GREY_STEP = 8, 30
"""The pictures differ in one grey, so that a reader can tell which of them it has got."""

HIGH_SPEED = 3
PAYLOAD = {"YUYV": 16384, "MJPG": 2048}
"""Bytes of a piece of a picture with its head: few enough to be fast, and several to a JPEG picture."""

HEAD, REST, STREAMING_ENDPOINT = struct.Struct(">IIIII"), 28, 1
"""Of a USB/IP message: command, number, device, direction, endpoint; the rest depends on the command."""

UNLINK, SUBMITTED, UNLINKED = 2, 3, 4
"""Commands; the only other one, 1, asks for a transfer."""

STALL, UNLINKED_IN_TIME = -errno.EPIPE, -errno.ECONNRESET

PROBE = struct.Struct("<HBBI10xII")
"""Hint, format, size, interval, (rates and delay), bytes of a picture and of a payload."""

CONTROL_INTERFACE, STREAMING_INTERFACE = 0, 1
DEVICE, CONFIGURATION, STRING, INTERFACE, ENDPOINT, ASSOCIATION, CLASS_SPECIFIC = 1, 2, 3, 4, 5, 11, 0x24
VIDEO, VIDEO_CONTROL, VIDEO_STREAMING, VIDEO_COLLECTION = 14, 1, 2, 3
FORMATS = {"YUYV": (4, 5), "MJPG": (6, 7)}
"""Kinds of the two descriptors of a format: of itself, of its picture size."""

YUY2 = bytes.fromhex("5955593200001000800000aa00389b71")


def main() -> None:
    """Plug the camera in and be it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="of the virtual hub, from 0")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--damaged", action="store_true", help="most JPEG pictures are not whole")
    arguments = parser.parse_args()
    ours, kernels = socket.socketpair()
    camera = UsbCamera(ours, arguments.formats, arguments.fps, arguments.damaged)
    (HUB / "attach").write_text(f"{arguments.port} {kernels.fileno()} {arguments.port + 1} {HIGH_SPEED}")
    kernels.close()
    signal.signal(signal.SIGUSR1, lambda *_: camera.fall_silent())
    print("plugged in", flush=True)
    camera.serve()


class UsbCamera:
    """Answers the requests of a kernel that believes in the camera.

    ``formats``: keys of :data:`FORMATS`.
    """

    def __init__(
        self, connection: socket.socket, formats: Sequence[str], fps: float, damaged: bool = False
    ) -> None:
        self._connection = connection
        self._formats = formats
        self._interval = 1 / fps
        self._pictures = {name: pictures(name, damaged) for name in formats}
        self._descriptors = descriptors(formats, self._interval)
        self._chosen = self._answer_to(1)
        self._wanted: deque[int] = deque()  # numbers of the requests that wait for a piece of a picture
        self._pieces: Iterator[tuple[bytes, float]] = iter(())
        self._due = 0.0

    def serve(self) -> None:
        """Answer until the kernel lets go of the camera."""
        while True:
            wait = max(0.0, self._due - time.monotonic()) if self._wanted else None
            if select.select([self._connection], [], [], wait)[0]:
                head = self._receive(HEAD.size)
                if not head:
                    return
                self._obey(head, self._receive(REST))
            else:
                piece, pause = next(self._pieces)
                self._reply(self._wanted.popleft(), piece)
                self._due = max(self._due, time.monotonic() - self._interval) + pause

    def fall_silent(self) -> None:
        """Send no picture for an hour, but answer as before: the driver waits for that, whatever happens."""
        self._due = time.monotonic() + 3600

    def _obey(self, head: bytes, rest: bytes) -> None:
        command, number, _, incoming, endpoint = HEAD.unpack(head)
        if command == UNLINK:
            (victim,) = struct.unpack_from(">I", rest)
            waiting = victim in self._wanted
            if waiting:
                self._wanted.remove(victim)
            self._send(UNLINKED, number, struct.pack(">i24x", UNLINKED_IN_TIME if waiting else 0))
        elif endpoint == STREAMING_ENDPOINT:
            self._wanted.append(number)
        else:
            length, setup = struct.unpack(">4xi12x8s", rest)
            data = b"" if incoming else self._receive(length)
            self._reply(number, self._control(setup, data), len(data))

    def _control(self, setup: bytes, data: bytes) -> bytes | None:
        """The answer to a request at endpoint 0; ``None`` where the camera does not know it."""
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        if (kind, request) == (0x80, 6):  # GET_DESCRIPTOR
            descriptor = self._descriptors.get(value)
            return None if descriptor is None else descriptor[:length]
        if kind in (0x80, 0x81, 0x82):  # GET_STATUS and the like
            return bytes(length)
        if kind in (0x00, 0x01, 0x02):  # SET_CONFIGURATION, SET_INTERFACE, CLEAR_FEATURE
            return b""
        if index != STREAMING_INTERFACE or value >> 8 not in (1, 2):  # of probe and commit
            return None
        if kind == 0xA1:
            return {0x85: bytes((PROBE.size, 0)), 0x86: b"\x03"}.get(request, self._chosen)[:length]
        _, chosen, *_ = PROBE.unpack(data)
        self._chosen = self._answer_to(chosen)
        if value >> 8 == 2:
            name = self._formats[chosen - 1]
            self._pieces = pieces(self._pictures[name], PAYLOAD[name] - 2, self._interval)
            self._due = time.monotonic()
        return b""

    def _answer_to(self, chosen: int) -> bytes:
        """What the camera will do where format ``chosen`` is asked for, counted from 1."""
        payload = PAYLOAD[self._formats[chosen - 1]]
        return PROBE.pack(1, chosen, 1, ticks(self._interval), 2 * WIDTH * HEIGHT, payload)

    def _reply(self, number: int, data: bytes | None, sent: int = 0) -> None:
        status = STALL if data is None else 0
        data = data or b""
        self._send(SUBMITTED, number, struct.pack(">ii20x", status, len(data) or sent) + data)

    def _send(self, command: int, number: int, rest: bytes) -> None:
        self._connection.sendall(HEAD.pack(command, number, 0, 0, 0) + rest)

    def _receive(self, size: int) -> bytes:
        return self._connection.recv(size, socket.MSG_WAITALL) if size else b""


def pictures(name: str, damaged: bool) -> list[bytes]:
    """What the camera sends in turn: blue, green and red bars, below them the picture's number as a grey."""
    bars = np.repeat(np.eye(3, dtype=np.uint8) * 255, (213, 214, 213), axis=0)
    encoded = []
    for number in range(COUNT):
        image = np.repeat(bars[None], HEIGHT, axis=0)
        image[-HEIGHT // 4 :] = GREY_STEP * number
        if name == "YUYV":
            encoded.append(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_YUYV).tobytes())
        else:
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            encoded.append(damage(number, jpeg) if damaged else jpeg)
    return encoded


def damage(number: int, jpeg: bytes) -> bytes:
    """What a bad cable or too little current makes of a picture; every fourth one stays whole."""
    half = len(jpeg) // 2
    noise = np.random.default_rng(number).bytes(3000)
    if number % 4 == 1:
        return jpeg[:half]
    if number % 4 == 2:
        return jpeg[:half] + noise + jpeg[half + len(noise) :]
    if number == 3:
        return noise
    if number == 7:
        # After the marker come six bytes: length, precision, height, width.
        size = jpeg.index(b"\xff\xc0") + 5
        return jpeg[:size] + b"\xff\xff\xff\xff" + jpeg[size + 4 :]
    return jpeg


def pieces(pictures: Sequence[bytes], room: int, interval: float) -> Iterator[tuple[bytes, float]]:
    """Payloads without end, of ``room`` bytes and a head, each with the seconds until the next one.

    A picture takes all its time, so that the next one begins when it ends.
    """
    for index, picture in enumerate(itertools.cycle(pictures)):
        starts = range(0, len(picture), room)
        for start in starts:
            last = start == starts[-1]
            # The lowest bit changes with each picture, the next one marks its last piece.
            flags = 0x80 | index & 1 | last << 1
            pause = 0.0 if last else interval / (len(starts) - 1)
            yield bytes((2, flags)) + picture[start : start + room], pause


def ticks(seconds: float) -> int:
    """Time as USB Video Class gives it, in units of 100 ns."""
    return round(seconds * 1e7)


def descriptors(formats: Sequence[str], interval: float) -> dict[int, bytes]:
    """How the device describes itself, by the value of GET_DESCRIPTOR: kind and index."""
    name = "Emulated camera".encode("utf-16-le")
    # The numbers are those of pid.codes for tests.
    device = described(DEVICE, "HBBBBHHHBBBB", 0x0200, 0xEF, 2, 1, 64, 0x1209, 0x0001, 0x0100, 0, 1, 0, 1)
    interfaces = described(ASSOCIATION, "6B", CONTROL_INTERFACE, 2, VIDEO, VIDEO_COLLECTION, 0, 0)
    interfaces += control_interface() + streaming_interface(formats, interval)
    length = 9 + len(interfaces)
    return {
        DEVICE << 8: device,
        CONFIGURATION << 8: described(CONFIGURATION, "H5B", length, 2, 1, 0, 0x80, 250) + interfaces,
        STRING << 8: described(STRING, "H", 0x0409),
        STRING << 8 | 1: described(STRING, f"{len(name)}s", name),
    }


def control_interface() -> bytes:
    """A sensor (entity 1) that leads to the USB (entity 2), without any knobs."""
    sensor = described(CLASS_SPECIFIC, "BBHBBHHHB3x", 2, 1, 0x0201, 0, 0, 0, 0, 0, 3)
    output = described(CLASS_SPECIFIC, "BBHBBB", 3, 2, 0x0101, 0, 1, 0)
    length = 13 + len(sensor + output)
    head = described(CLASS_SPECIFIC, "BHHIBB", 1, 0x0100, length, 48_000_000, 1, STREAMING_INTERFACE)
    return (
        described(INTERFACE, "7B", CONTROL_INTERFACE, 0, 0, VIDEO, VIDEO_CONTROL, 0, 0)
        + head
        + sensor
        + output
    )


def streaming_interface(formats: Sequence[str], interval: float) -> bytes:
    """One picture size in each of the formats, through a bulk endpoint."""
    body = b""
    rate, size = round(16 * WIDTH * HEIGHT / interval), 2 * WIDTH * HEIGHT
    for number, name in enumerate(formats, 1):
        kind, frame_kind = FORMATS[name]
        body += (
            described(CLASS_SPECIFIC, "3B16s6B", kind, number, 1, YUY2, 16, 1, 0, 0, 0, 0)
            if name == "YUYV"
            else described(CLASS_SPECIFIC, "9B", kind, number, 1, 1, 1, 0, 0, 0, 0)
        )
        body += described(
            *(CLASS_SPECIFIC, "3BHH4IBI", frame_kind, 1, 0, WIDTH, HEIGHT, rate, rate, size),
            *(ticks(interval), 1, ticks(interval)),
        )
    count, endpoint = len(formats), 0x80 | STREAMING_ENDPOINT
    length = 13 + count + len(body)
    head = described(CLASS_SPECIFIC, f"BBH7B{count}x", 1, count, length, endpoint, 0, 2, 0, 0, 0, 1)
    interface = described(INTERFACE, "7B", STREAMING_INTERFACE, 0, 1, VIDEO, VIDEO_STREAMING, 0, 0)
    return interface + head + body + described(ENDPOINT, "BBHB", endpoint, 2, 512, 0)


def described(kind: int, layout: str, *fields: int | bytes) -> bytes:
    """A descriptor: its length, its kind, its fields."""
    body = struct.pack(f"<{layout}", *fields)
    return bytes((len(body) + 2, kind)) + body


if __name__ == "__main__":
    main()
