"""The packets of a film: when each is shown, and at which of them decoding can begin; nothing is decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .opencv_capture import Capture, open_capture

_FRESH = frozenset(("mpg1", "mpg2", "fmp4", "mp4v", "xvid", "divx", "mjpg", "vp80", "vp90", "vp8", "vp9"))
"""Codecs of which no frame shown after a key frame refers to one before it."""

_H264 = frozenset(("h264", "avc1", "x264"))
_HEVC = frozenset(("hevc", "hev1", "hvc1", "h265"))

_UNIT = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)


@dataclass(frozen=True)
class Packet:
    """A packet of a film's pictures."""

    seconds: float
    """When it is shown, as the container tells; 0 or not finite where it does not."""
    key: bool
    """Whether it is a key frame."""
    fresh: bool = False
    """Whether it is one from which a decoder gives the same pictures as one that began earlier; False where
    that is not known, as of key frames across which others refer."""


def packets(path: str | os.PathLike[str]) -> Iterator[Packet]:
    """Yield the packets of the film ``path``, in the order of the file; none where it cannot be opened."""
    import cv2

    capture = open_capture(os.fspath(path), [cv2.CAP_PROP_FORMAT, -1])
    try:
        codec = _codec(capture) if capture.opened else ""
        while capture.opened and capture.grab():
            key = bool(capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))
            yield Packet(
                capture.get(cv2.CAP_PROP_POS_MSEC) / 1000,
                key,
                key and (codec in _FRESH or is_fresh(codec, capture.retrieve())),
            )
    finally:
        capture.release()


def is_fresh(codec: str, content: NDArray[np.uint8] | None) -> bool:
    """Whether a key frame's packet, in the byte stream format, is an instantaneous decoder refresh.

    Known of H.264 (ITU-T H.264, table 7-1: type 5) and HEVC (H.265, table 7-1: types 19 and 20).
    """
    if content is None or codec not in _H264 | _HEVC:
        return False
    for unit in _UNIT.finditer(content.tobytes()):
        head = unit[1][0]
        if codec in _HEVC:
            kind = head >> 1 & 0x3F
            if kind < 32:  # a slice, not a parameter set
                return kind in (19, 20)
        elif 1 <= head & 0x1F <= 5:
            return head & 0x1F == 5
    return False


def _codec(capture: Capture) -> str:
    import cv2

    return (
        int(capture.get(cv2.CAP_PROP_FOURCC))
        .to_bytes(4, "little", signed=True)
        .decode("latin-1")
        .strip("\0 ")
        .lower()
    )
