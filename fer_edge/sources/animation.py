"""Pictures that move: GIF, WebP, APNG and AVIF with several frames."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..defaults import MAX_PIXELS
from ..errors import SourceError
from .base import Frame, Source
from .behind import trailing
from .decode import check_pixels
from .headers import HEAD_BYTES, is_sequence, picture_kind, picture_size

SHORTEST = 0.02
"""Seconds below which a frame's duration is not meant: browsers show such a frame for a tenth of a second."""

_log = logging.getLogger(__name__)


def frame_count(content: bytes) -> int:
    """How many frames an animated picture has; 1 for all else, 0 where Pillow cannot tell."""
    kind = picture_kind(content[:HEAD_BYTES])
    if not (
        kind == "gif"
        or (kind == "png" and b"acTL" in content[: max(0, content.find(b"IDAT"))])
        or (kind == "webp" and content[12:16] == b"VP8X" and len(content) > 20 and content[20] & 2)
        or (kind == "avif" and is_sequence(content[:HEAD_BYTES]))
    ):
        return 1
    try:
        return _count(content)[0]
    except Exception:
        # Of a still GIF, other readers may make more; of the others, the header says that there are several.
        return 1 if kind == "gif" else 0


def _count(content: bytes) -> tuple[int, bool]:
    """The number of frames that Pillow finds, and whether the file is whole as far as that tells."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        try:
            return int(getattr(picture, "n_frames", 1)), True
        except Exception:  # on damaged files Pillow raises whatever its parsers come across
            pass
    with Image.open(io.BytesIO(content)) as picture:
        count = 1
        try:
            while True:
                picture.seek(count)
                count += 1
        except Exception:
            return count, False


def warn_of_more(kind: str | None, content: bytes, name: str) -> None:
    """Log a warning where another picture or film lies behind the end of this one."""
    if kind is not None and (behind := trailing(kind, content)):
        _log.warning("%s: also holds %s, which is not read", name, behind)


class AnimationSource(Source):
    """An animated picture as film: its frames as a browser composes them, at their own times.

    Raises :class:`~fer_edge.errors.SourceError` where it has more than ``max_pixels``.
    """

    def __init__(self, path: str | os.PathLike[str], content: bytes, max_pixels: int = MAX_PIXELS) -> None:
        self.name = os.fspath(path)
        self.paths = [Path(path)]
        kind = picture_kind(content[:HEAD_BYTES])
        check_pixels(picture_size(kind, content) if kind else None, self.name, max_pixels)
        self._content = content
        self._kind = kind

    def __iter__(self) -> Iterator[Frame]:
        from PIL import Image

        index, seconds = 0, 0.0
        try:
            count, whole = _count(self._content)
            if not whole:
                _log.warning("%s: the file is cut off; read as far as it goes", self.name)
            with Image.open(io.BytesIO(self._content)) as picture:
                for index in range(count):
                    self.missing = count - index
                    picture.seek(index)
                    image = np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])
                    self.missing = 0
                    yield Frame(image, seconds, self.name)
                    shown = float(picture.info.get("duration") or 0) / 1000
                    seconds += shown if shown >= SHORTEST else 0.1
            warn_of_more(self._kind, self._content, self.name)
        except Exception as error:  # whatever, as in _count
            if not index:
                raise SourceError(f"{self.name}: the animation cannot be decoded ({error})") from error
            _log.warning("%s: ends after %d of %d frames; damaged?", self.name, index, index + self.missing)
