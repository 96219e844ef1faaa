"""Pictures of the film that was shown, at the peaks; never of those who watched it."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import DataError
from .content_types import Peak

_WIDTH = 320
_QUALITY = 72


def with_pictures(peaks: Sequence[Peak], film: str | os.PathLike[str], began: int) -> tuple[Peak, ...]:
    """Return the peaks with the pictures that a film showed then, where it began at ``began`` (milliseconds).

    A peak before the film's begin or after its end gets none. Raises :class:`~fer_edge.errors.DataError`
    where the film cannot be read.
    """
    import cv2

    path = Path(film)
    if not path.is_file():
        raise DataError(f"{film}: no such film" if not path.exists() else f"{film}: is no file")
    capture = cv2.VideoCapture(str(path))
    try:
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if not capture.isOpened() or not rate > 0:
            raise DataError(f"{film}: cannot be read as a film")
        found = []
        for peak in peaks:
            second = (peak.at - began) / 1000
            if second < 0 or (count > 0 and second > count / rate):
                found.append(peak)
                continue
            capture.set(cv2.CAP_PROP_POS_MSEC, second * 1000)
            read, picture = capture.read()
            if not read or picture is None:
                found.append(peak)
                continue
            height = max(1, round(picture.shape[0] * _WIDTH / picture.shape[1]))
            small = cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA)
            done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            url = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}" if done else ""
            found.append(replace(peak, picture=url))
        return tuple(found)
    finally:
        capture.release()
