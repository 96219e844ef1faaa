"""MPEG-4 video from OpenCV, as packets instead of a file.

OpenCV's writer collects up to 256 KiB before it writes, knows no times but a constant rate, and hides
errors of the disk. So its encoder gets a second or so at a time and writes it into memory, from where
the packets are taken.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError

if TYPE_CHECKING:
    import cv2

_NOMINAL_FPS = 30.0
_SEQUENCE, _PICTURE = b"\0\0\1\xb0", b"\0\0\1\xb6"
"""Start codes of ISO/IEC 14496-2; the encoder begins each key picture with the headers of the sequence."""


class Encoder:
    """Encodes pieces of a film, each of which can be decoded by itself; to be closed.

    ``fps``: nominal; the encoder derives its highest bit rate from it. Times are the container's.
    """

    def __init__(self, fps: float | None = None) -> None:
        self._fps = fps or _NOMINAL_FPS
        self._writer: cv2.VideoWriter | None = None
        self._memory = os.fdopen(os.memfd_create("piece"), "r+b")

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Encode ``picture``, uint8 (h, w, 3) BGR of even size, all of a piece equal.

        Raises :class:`~fer_edge.errors.OutputError` where OpenCV lacks the encoder.
        """
        import cv2

        if self._writer is None:
            height, width = picture.shape[:2]
            codec = cv2.VideoWriter.fourcc(*"XVID")
            # OpenCV chooses the format by the name, which is needed only until the file is open.
            with tempfile.TemporaryDirectory(prefix="fer-edge-") as folder:
                name = Path(folder, "piece.avi")
                name.symlink_to(f"/proc/{os.getpid()}/fd/{self._memory.fileno()}")
                writer = cv2.VideoWriter(str(name), cv2.CAP_FFMPEG, codec, self._fps, (width, height))
            if not writer.isOpened():
                raise OutputError(f"this OpenCV cannot encode MPEG-4 at {width}x{height}")
            self._writer = writer
        self._writer.write(picture)

    def finish(self) -> list[bytes]:
        """End the piece and return its packets, one for each picture; the first is a key picture."""
        if self._writer is None:
            return []
        self._writer.release()
        self._writer = None
        self._memory.seek(0)
        return _packets(self._memory.read())

    def close(self) -> None:
        """Free the memory; what was not finished is gone."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._memory.close()


def is_key(packet: bytes) -> bool:
    """Whether a packet can be decoded without those before it."""
    return packet.startswith(_SEQUENCE)


def headers(packet: bytes) -> bytes:
    """Return what precedes the picture in a key packet."""
    return packet[: packet.index(_PICTURE)]


def _packets(avi: bytes) -> list[bytes]:
    """Return the whole pictures in an AVI file's list ``movi``; without memory for it, it ends early."""
    packets: list[bytes] = []
    at = avi.find(b"movi") + 4
    if at < 4:
        return packets
    while at + 8 <= len(avi):
        name, size = struct.unpack_from("<4sI", avi, at)
        if name != b"00dc" or at + 8 + size > len(avi):
            break
        packets.append(avi[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return packets
