"""JPEG files with more behind their first picture: raw MJPEG films, stereo pairs, motion photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from .headers import jpeg_picture

MANY = 4
"""Pictures of one size behind the first that make a film, whatever else is in the file; cameras write two."""


FIRST_BYTES = 1 << 16
"""What is read at least to tell what a file is."""


class Followers(NamedTuple):
    """What comes behind the first picture of a JPEG file."""

    pictures: int
    """Further ones as large as the first; smaller ones are previews and gain maps, unless they are many."""
    film: bool
    """Whether the whole is raw MJPEG: pictures of one size that do not tell of each other, but for a damaged
    one among them."""
    motion: bool
    """Whether a film in a container follows, as in motion photos."""

    def __str__(self) -> str:
        parts = []
        if self.pictures:
            parts.append(f"{self.pictures} more picture{'s' if self.pictures > 1 else ''}")
        if self.motion:
            parts.append("a film (a motion photo)")
        return " and ".join(parts)


def followers(content: bytes) -> Followers:
    """Look behind the first JPEG in ``content``, which may end anywhere."""
    first = jpeg_picture(content, 0)
    end = first.end
    sizes: Counter[tuple[int, int]] = Counter()
    while end is not None:
        # Cameras pad, and write a word of their own between pictures.
        start = content.find(b"\xff\xd8\xff", end, end + (1 << 16))
        if start < 0:
            break
        picture = jpeg_picture(content, start)
        if picture.size is not None:
            sizes[picture.size] += 1
        end = picture.end
    motion = False
    if end is not None:
        box = content.find(b"ftyp", end)
        motion = box >= end + 4 and int.from_bytes(content[box - 4 : box], "big") <= 256
    many = max(sizes.values(), default=0)
    pictures = many if many >= MANY else sizes[first.size] if first.size else 0
    return Followers(
        pictures, bool(pictures) and not first.indexed and (not motion or pictures >= MANY), motion
    )


def read_to_tell(content: bytes, read: Callable[[int], bytes], limit: int) -> tuple[bytes, bool]:
    """Read on behind ``content``, the beginning of a JPEG file, as far as it takes to tell what the file is.

    Returns what was read then and whether it is raw MJPEG, by at most some ``limit`` bytes. ``read`` returns
    so many bytes more, fewer at the end.
    """
    while True:
        behind = followers(content)
        told = behind.pictures >= MANY or len(content) > limit
        part = b"" if told else read(max(FIRST_BYTES, len(content)))
        if not part:
            return content, behind.film
        content += part
