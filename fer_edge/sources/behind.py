"""What lies behind the end of a picture or film in its file, put there by whoever joined files."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable
from pathlib import Path

from .headers import HEAD_BYTES, picture_kind

Content = bytes | mmap.mmap

_PADDING = 1 << 12
"""Bytes of zeros that may lie between the two."""

_FILMS = re.compile(rb"\x1a\x45\xdf\xa3|RIFF.{4}AVI |FLV\x01|\x00\x00\x01\xba|.{4}ftyp|G.{187}G", re.DOTALL)


def begins_a_film(head: bytes) -> bool:
    """Whether ``head`` is the beginning of a film in a container that is known by it."""
    return _FILMS.match(head) is not None


def trailing_in_film(path: Path) -> str:
    """As :func:`told_behind`, of a film file; of MP4 with its relatives and AVI."""
    with path.open("rb") as stream:
        head = stream.read(12)
        kind = "avi" if head[:4] == b"RIFF" and head[8:] == b"AVI " else "mp4" if head[4:8] == b"ftyp" else ""
        if not kind:
            return ""
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return trailing(kind, content)


def trailing(kind: str, content: Content) -> str:
    """In words what begins behind the file of this ``kind`` that ``content`` begins with; mostly nothing.

    Of formats that tell where they end; JPEG, whose files hold several pictures on purpose, has
    :mod:`.jpeg`, and TIFF has pages.
    """
    if kind not in _ENDS:
        return ""
    try:
        end = _ENDS[kind](content)
    except (struct.error, IndexError):
        return ""
    rest = content[end : end + _PADDING + HEAD_BYTES].lstrip(b"\0")
    start = content.find(rest[:HEAD_BYTES], end) if rest else len(content)
    # Both ftyp and a pack header begin with zeros.
    heads = [content[at : at + 192] for at in range(max(end, start - 3), start + 1)]
    for head in heads:
        other = picture_kind(head[:HEAD_BYTES])
        if other is not None:
            return f"a {other.upper()} picture behind its end"
        # Of AVI behind AVI, FFmpeg reads both.
        if begins_a_film(head) and not (kind == "avi" and head[8:12] == b"AVI "):
            return "a film behind its end"
    return ""


def _end_of_png(content: Content) -> int:
    at = 8
    while content[at + 4 : at + 8] != b"IEND":
        at += 12 + int(struct.unpack_from(">I", content, at)[0])
    return at + 12


def _end_of_gif(content: Content) -> int:
    def skip_table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 0x80 else 0

    at = 13 + skip_table(content[10])
    while content[at] != 0x3B:
        if content[at] == 0x2C:
            at += 11 + skip_table(content[at + 9])
        elif content[at] == 0x21:
            at += 2
        else:
            raise IndexError(at)
        while content[at]:
            at += 1 + content[at]
        at += 1
    return at + 1


def _end_of_riff(content: Content) -> int:
    (length,) = struct.unpack_from("<I", content, 4)
    return 8 + int(length) + int(length) % 2


def _end_of_bmp(content: Content) -> int:
    return int(struct.unpack_from("<I", content, 2)[0])


def _end_of_boxes(content: Content) -> int:
    """ISO base media files and JPEG 2000: where the boxes of another file begin, or no box is."""
    at = types = 0
    while True:
        (length,) = struct.unpack_from(">I", content, at)
        mark = content[at + 4 : at + 8]
        types += mark == b"ftyp"
        if at and (types > 1 or picture_kind(content[at : at + HEAD_BYTES]) is not None):
            return at
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, at + 8)
        if length == 0:
            return len(content)
        if length < 8 or not mark.strip().isalnum():
            return at
        at += length


_ENDS: dict[str, Callable[[Content], int]] = {
    "png": _end_of_png,
    "gif": _end_of_gif,
    "webp": _end_of_riff,
    "bmp": _end_of_bmp,
    "avi": _end_of_riff,
    "mp4": _end_of_boxes,
    "jp2": _end_of_boxes,
    "avif": _end_of_boxes,
    "heic": _end_of_boxes,
}
