"""The packets of a film: when each is shown, and at which of them decoding can begin; nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from .opencv_capture import open_capture


@dataclass(frozen=True)
class Packet:
    """A packet of a film's pictures."""

    seconds: float
    """When it is shown, as the container tells; 0 or not finite where it does not."""
    key: bool
    """Whether it is a key frame."""


def packets(path: str | os.PathLike[str]) -> Iterator[Packet]:
    """Yield the packets of the film ``path``, in the order of the file; none where it cannot be opened."""
    import cv2

    capture = open_capture(os.fspath(path), [cv2.CAP_PROP_FORMAT, -1])
    try:
        while capture.opened and capture.grab():
            yield Packet(
                capture.get(cv2.CAP_PROP_POS_MSEC) / 1000,
                bool(capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME)),
            )
    finally:
        capture.release()
