"""What a picture file is and how large, read from its first bytes before anything is decoded."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

HEAD_BYTES = 64
"""Bytes at the beginning of a file that tell its kind."""

_PNM = re.compile(rb"P[1-6fF]\s(?:\s|#[^\n]*\n)*(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")
_PAM = re.compile(
    rb"WIDTH (\d{1,9})\s(?:.*\n)*?HEIGHT (\d{1,9})\s|HEIGHT (\d{1,9})\s(?:.*\n)*?WIDTH (\d{1,9})\s"
)
_HDR = re.compile(rb"[-+]Y (\d{1,9}) [-+]X (\d{1,9})")
# In the entropy-coded part of a JPEG, FF is followed by 00 or a restart marker; all else ends it.
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))

# Markers of a JPEG: start, end; frame headers are C0 to CF without these three.
_SOI, _EOI = 0xD8, 0xD9
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)

_TIFF_NEW_SUBFILE, _TIFF_WIDTH, _TIFF_HEIGHT = 254, 256, 257
_TIFF_MOST_PAGES = 100_000


def picture_kind(head: bytes) -> str | None:
    """The format of a picture that begins with ``head``, for example ``jpeg``; None for all else."""
    fixed = {
        b"\x89PNG\r\n\x1a\n": "png",
        b"\xff\xd8\xff": "jpeg",
        b"GIF87a": "gif",
        b"GIF89a": "gif",
        b"II*\0": "tiff",
        b"MM\0*": "tiff",
        b"II+\0": "tiff",
        b"MM\0+": "tiff",
        b"\0\0\0\x0cjP  ": "jp2",
        b"\xff\x4f\xff\x51": "jp2",
        b"#?RADIANCE": "hdr",
        b"#?RGBE": "hdr",
        b"\x59\xa6\x6a\x95": "sun",
        b"P7\n": "pam",
    }
    for start, kind in fixed.items():
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _BMP_HEADERS:
        return "bmp"
    if head[4:8] == b"ftyp":
        return _kind_by_brand(head)
    # A text may begin with "P1 ", but not go on with two numbers.
    return "pnm" if _PNM.match(head + b"\n") or re.match(rb"P[1-6fF]\s+#", head) else None


def is_sequence(head: bytes) -> bool:
    """Whether an AVIF or HEIC file says that it holds a film."""
    return any(brand in (b"avis", b"msf1", b"hevc") for brand in _brands(head))


def _brands(head: bytes) -> list[bytes]:
    length = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, length, 4))]


def _kind_by_brand(head: bytes) -> str | None:
    brands = _brands(head)
    if b"avif" in brands or b"avis" in brands:
        return "avif"
    return "heic" if _HEIC_BRANDS.intersection(brands) else None


def picture_size(kind: str, content: bytes) -> tuple[int, int] | None:
    """Width and height that the header of ``content`` tells, of this ``kind``; None where it does not."""
    readers = {
        "png": _size_of_png,
        "jpeg": _size_of_jpeg,
        "gif": lambda data: struct.unpack_from("<HH", data, 6),
        "bmp": _size_of_bmp,
        "webp": _size_of_webp,
        "tiff": lambda data: next(((page.width, page.height) for page in tiff_pages(data)), None),
        "jp2": _size_of_jp2,
        "avif": _size_of_heif,
        "heic": _size_of_heif,
        "sun": lambda data: struct.unpack_from(">II", data, 4),
        "hdr": lambda data: _matched(_HDR, data, swapped=True),
        "pnm": lambda data: _matched(_PNM, data),
        "pam": _size_of_pam,
    }
    try:
        size = readers[kind](content)
    except (struct.error, IndexError):
        return None
    return None if size is None else (int(size[0]), int(size[1]))


def _matched(pattern: re.Pattern[bytes], content: bytes, swapped: bool = False) -> tuple[int, int] | None:
    match = pattern.search(content, 0, 1 << 16)
    if match is None:
        return None
    first, second = int(match.group(1)), int(match.group(2))
    return (second, first) if swapped else (first, second)


def _size_of_png(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _size_of_bmp(content: bytes) -> tuple[int, int]:
    form = "<HH" if content[14] == 12 else "<ii"
    width, height = struct.unpack_from(form, content, 18)
    return abs(width), abs(height)


def _size_of_pam(content: bytes) -> tuple[int, int] | None:
    match = _PAM.search(content, 0, 1 << 16)
    if match is None:
        return None
    width, height, other_height, other_width = match.groups()
    return int(width or other_width), int(height or other_height)


def _size_of_webp(content: bytes) -> tuple[int, int] | None:
    match content[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(content[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None


def _size_of_jp2(content: bytes) -> tuple[int, int] | None:
    box = content.find(b"ihdr", 0, 1 << 16)
    if box >= 0:
        height, width = struct.unpack_from(">II", content, box + 4)
        return width, height
    right, bottom, left, top = struct.unpack_from(">IIII", content, 8)
    return right - left, bottom - top


def _size_of_heif(content: bytes) -> tuple[int, int] | None:
    """The largest of the pictures in the file: the others are tiles or previews of it."""
    sizes = []
    at = content.find(b"ispe", 0, 1 << 20)
    while at >= 0:
        sizes.append(struct.unpack_from(">II", content, at + 8))
        at = content.find(b"ispe", at + 4, 1 << 20)
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _size_of_jpeg(content: bytes) -> tuple[int, int] | None:
    return jpeg_picture(content, 0).size


class JpegPicture(NamedTuple):
    """One JPEG among others in a file."""

    end: int | None
    """Offset behind its last byte; None where the content ends before."""
    size: tuple[int, int] | None
    """Width and height; None where the end comes before they are told."""
    indexed: bool
    """Whether it says that it is the first of several (the multi-picture format, MPF)."""


def jpeg_picture(content: bytes, start: int) -> JpegPicture:
    """Walk over the segments of the JPEG at ``start``; previews within segments are passed over."""
    at = start + 2
    size = None
    indexed = False
    while True:
        marker = _JPEG_MARKER.search(content, at)
        if marker is None:
            return JpegPicture(None, size, indexed)
        at = marker.end()
        code = marker.group(1)[0]
        if code == _EOI:
            return JpegPicture(at, size, indexed)
        if code == _SOI:
            # The next picture begins, and this one has lost its end.
            return JpegPicture(marker.start(), size, indexed)
        if code == 0x01:
            continue
        if at + 2 > len(content):
            return JpegPicture(None, size, indexed)
        if 0xC0 <= code <= 0xCF and code not in _NOT_FRAMES and at + 7 <= len(content):
            height, width = struct.unpack_from(">HH", content, at + 3)
            size = size or (width, height)
        indexed = indexed or (code == 0xE2 and content[at + 2 : at + 6] == b"MPF\0")
        length = int.from_bytes(content[at : at + 2], "big")
        # Previews lie in application segments; in any other, a start is that of the next picture.
        following = -1 if 0xE0 <= code <= 0xEF else content.find(b"\xff\xd8\xff", at, at + length)
        if following >= 0:
            return JpegPicture(following, size, indexed)
        at += length


class TiffPage(NamedTuple):
    """A picture of a TIFF file."""

    offset: int
    """Of its directory."""
    width: int
    height: int


def tiff_pages(content: bytes) -> list[TiffPage]:
    """The pages of a TIFF file in their order, without reduced copies of others.

    BigTIFF as well. A damaged chain of directories ends where it is damaged.
    """
    order, big = _tiff_form(content)
    pages: list[TiffPage] = []
    copies: list[TiffPage] = []
    seen: set[int] = set()
    try:
        offset = _tiff_first(content)
        while offset and offset not in seen and len(pages) < _TIFF_MOST_PAGES:
            seen.add(offset)
            page, reduced, following = _tiff_directory(content, offset, order, big)
            (copies if reduced else pages).append(page)
            offset = following
    except struct.error:
        pass
    # A file of nothing but reduced copies holds a picture nevertheless.
    return pages or copies[:1]


def tiff_at(content: bytes, page: TiffPage) -> bytes:
    """A TIFF file with that ``page`` as its first: readers take the one that the file's header points to."""
    if _tiff_first(content) == page.offset:
        return content
    order, big = _tiff_form(content)
    start, form = (8, "Q") if big else (4, "I")
    pointer = struct.pack(order + form, page.offset)
    return content[:start] + pointer + content[start + len(pointer) :]


def _tiff_form(content: bytes) -> tuple[str, bool]:
    """The order of bytes in a TIFF file, as struct has it, and whether it is a BigTIFF."""
    return "<" if content[:2] == b"II" else ">", content[2:4] in (b"+\0", b"\0+")


def _tiff_first(content: bytes) -> int:
    """The offset to which the header points."""
    order, big = _tiff_form(content)
    return int(struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)[0])


def _tiff_directory(content: bytes, offset: int, order: str, big: bool) -> tuple[TiffPage, bool, int]:
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, offset)
    entry, at = (20, offset + 8) if big else (12, offset + 2)
    tags = {}
    for index in range(min(count, 4096)):
        tag, kind = struct.unpack_from(order + "HH", content, at + entry * index)
        if tag in (_TIFF_NEW_SUBFILE, _TIFF_WIDTH, _TIFF_HEIGHT):
            form = {3: "H", 16: "Q"}.get(kind, "I")
            (tags[tag],) = struct.unpack_from(order + form, content, at + entry * index + (12 if big else 8))
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), content, at + entry * count)
    page = TiffPage(offset, tags.get(_TIFF_WIDTH, 0), tags.get(_TIFF_HEIGHT, 0))
    return page, bool(tags.get(_TIFF_NEW_SUBFILE, 0) & 1), following
