"""From the bytes of a picture file to pixels: also of files that are cut off, deep, or HEIC."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..defaults import MAX_PIXELS
from ..errors import LargePictureError, MissingExtraError, SourceError
from ..opencv import check_opencv
from .behind import begins_a_film
from .headers import HEAD_BYTES, picture_kind, picture_size, tiff_at, tiff_pages
from .opencv_capture import as_uint8

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)


def decode(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return a picture as uint8 (h, w, 3) in BGR order, turned upright by its EXIF orientation.

    A file that is cut off is read as far as it goes, with a warning; what is missing is grey or
    black. More than eight bits a sample are scaled by what the picture holds, since twelve bits
    often come in sixteen. ``name`` is what messages call it.

    Raises :class:`~fer_edge.errors.SourceError` for what is no picture, is damaged, or has more than
    ``max_pixels``; :class:`~fer_edge.errors.MissingExtraError` for HEIC without ``pillow-heif``.
    """
    kind = picture_kind(content[:HEAD_BYTES])
    if kind is None:
        if begins_a_film(content[:HEAD_BYTES]):
            raise SourceError(f"{name}: a film, not an image; fer-edge run reads it")
        raise SourceError(f"{name}: not an image that OpenCV can read")
    check_pixels(picture_size(kind, content), name, max_pixels)
    if kind == "tiff" and (pages := tiff_pages(content)):
        # A reduced copy may come first.
        content = tiff_at(content, pages[0])
    if kind == "heic":
        return _decode_heic(content, name)
    image = _decode_with_opencv(content, name)
    if image is None and kind in _MENDERS:
        mended = _MENDERS[kind](content)
        image = None if mended is None else _decode_with_opencv(mended, name)
        if image is not None:
            _log.warning("%s: the file is cut off; read as far as it goes", name)
    if image is None and kind in ("gif", "avif"):
        # Older versions of OpenCV have no reader for them.
        image = _decode_with_pillow(content)
    if image is None:
        raise SourceError(f"{name}: damaged or cut off: OpenCV cannot decode this {kind.upper()} image")
    return image


def check_pixels(size: tuple[int, int] | None, name: str, max_pixels: int) -> None:
    """Raise :class:`~fer_edge.errors.LargePictureError` where a picture of this ``size`` is too large."""
    if size is not None and size[0] * size[1] > max_pixels:
        raise LargePictureError(
            f"{name}: {size[0]}x{size[1]} pixels are {size[0] * size[1] / 1e6:.4g} megapixels; at most "
            f"{max_pixels / 1e6:g} are read (--max-pixels allows more)"
        )


def _decode_with_opencv(content: bytes, name: str) -> NDArray[np.uint8] | None:
    check_opencv()
    import cv2

    try:
        # Not with cv2.imread, which crashes on names that are not UTF-8.
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(f"{name}: {error.err}") from error
        raise SourceError(f"{name}: OpenCV refuses this image ({error.err})") from error
    return None if image is None else to_eight_bits(image)


def to_eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale samples of any depth to 0 to 255: integers by the bits they use, floats by their top above 1."""
    if image.dtype == np.uint8:
        return as_uint8(image)
    if np.issubdtype(image.dtype, np.integer):
        top = float(max(255, 2 ** int(image.max()).bit_length() - 1))
    else:
        image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
        top = max(1.0, float(image.max()))
    scaled: NDArray[np.uint8] = (image.clip(0) * (255.0 / top) + 0.5).astype(np.uint8)
    return scaled


def _decode_heic(content: bytes, name: str) -> NDArray[np.uint8]:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError(f"{name}: reading HEIC", "pillow-heif", "heic") from error
    try:
        picture = pillow_heif.open_heif(content, convert_hdr_to_8bit=True, bgr_mode=True)
        pixels = np.asarray(picture)
    except (ValueError, EOFError, SyntaxError, RuntimeError, OSError) as error:
        raise SourceError(
            f"{name}: damaged or cut off: this HEIC image cannot be decoded ({error})"
        ) from error
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return to_eight_bits(np.ascontiguousarray(pixels[:, :, :3]))


def _decode_with_pillow(content: bytes) -> NDArray[np.uint8] | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])
    except Exception:  # on damaged files Pillow raises whatever its parsers come across
        return None


def _mend_jpeg(content: bytes) -> bytes:
    return content + b"\xff\xd9"


def _mend_bmp(content: bytes) -> bytes | None:
    (length,) = struct.unpack_from("<I", content, 2)
    # Rows that are not there are black; the header's length is believed only as far as it is likely.
    return content.ljust(length, b"\0") if len(content) < length <= 64 * len(content) else None


def _mend_png(content: bytes) -> bytes | None:
    """A PNG file with all the pixels that ``content`` still holds; those after them are black."""
    at, before, packed, header = 8, b"", b"", b""
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            header = data
        if kind == b"IDAT":
            packed += data
        elif kind != b"IEND" and not packed:
            before += content[at : at + 12 + length]
        at += 12 + length
    if len(header) != 13 or not packed:
        return None
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour)
    if samples is None or interlace:
        return None
    wanted = height * (1 + (width * depth * samples + 7) // 8)
    try:
        rows = zlib.decompressobj().decompress(packed, wanted)
    except zlib.error:
        return None
    whole = zlib.compress(rows.ljust(wanted, b"\0"), 1)
    return content[:8] + before + _chunk(b"IDAT", whole) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_MENDERS: dict[str, Callable[[bytes], bytes | None]] = {
    "jpeg": _mend_jpeg,
    "bmp": _mend_bmp,
    "png": _mend_png,
}
