"""Pictures as they come: cut off, deep, HEIC, too large."""

from __future__ import annotations

import struct
import sys
import types
import zlib

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from sources.pictures import animation, encoded, gradient, grey

from fer_edge.errors import MissingExtraError, SourceError
from fer_edge.sources.decode import MAX_PIXELS, decode
from fer_edge.sources.headers import HEAD_BYTES, picture_kind, picture_size

SUFFIXES = [".png", ".jpg", ".bmp", ".gif", ".webp", ".tiff", ".jp2", ".avif", ".ppm", ".pgm", ".pam", ".hdr"]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".sr", ".pfm"])
def test_headers_tell_kind_and_size(suffix):
    picture = gradient(40, 30)
    if suffix in (".hdr", ".pfm"):
        picture = picture.astype(np.float32) / 255
    content = encoded(suffix, picture)
    kind = picture_kind(content[:HEAD_BYTES])
    assert kind is not None
    assert picture_size(kind, content) == (40, 30)
    assert decode(content, "a").shape == (30, 40, 3)


@pytest.mark.parametrize("quality", [cv2.IMWRITE_WEBP_QUALITY])
@pytest.mark.parametrize("level", [50, 101])
def test_both_kinds_of_webp_tell_their_size(quality, level):
    content = cv2.imencode(".webp", gradient(517, 30), [quality, level])[1].tobytes()
    assert picture_size("webp", content) == (517, 30)


def test_animated_webp_and_progressive_jpeg_tell_their_size():
    assert picture_size("webp", animation("WEBP", [0, 200], [100, 100])) == (32, 24)
    content = cv2.imencode(".jpg", gradient(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert picture_size("jpeg", content) == (40, 30)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"P1 is a text",
        b"BM and more text that is no picture",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"II*",
        b"RIFF",
    ],
)
def test_what_is_no_picture_has_no_kind(head):
    assert picture_kind(head) is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_cut_of_every_format_is_a_picture_or_a_source_error(suffix):
    picture = gradient().astype(np.float32) / 255 if suffix == ".hdr" else gradient()
    content = encoded(suffix, picture)
    for length in range(0, len(content), max(1, len(content) // 60)):
        try:
            assert decode(content[:length], "a").shape == (30, 40, 3)
        except SourceError:
            continue


def bomb(width, height):
    """A PNG of a few bytes that says it is so large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_large_pictures_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(
        SourceError, match=r"a: 30000x30000 pixels are 900 megapixels; at most 100 .*--max-pixels"
    ):
        decode(bomb(30000, 30000), "a")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_limit_holds_for_every_format(suffix):
    picture = gradient().astype(np.float32) / 255 if suffix == ".hdr" else gradient()
    content = encoded(suffix, picture)
    assert decode(content, "a", max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(SourceError, match="40x30 pixels"):
        decode(content, "a", max_pixels=1199)


def test_the_command_line_has_the_same_default(cli, tmp_path):
    (tmp_path / "a.png").write_bytes(bomb(MAX_PIXELS // 1000 + 1, 1000))
    code, _, err = cli("predict", tmp_path / "a.png", "--crops")
    assert code == 2
    assert "100001x1000 pixels are 100 megapixels; at most 100" in err
    assert "megapixels" not in cli("predict", tmp_path / "a.png", "--crops", "--max-pixels", "101M")[2]
    assert cli("run", tmp_path / "a.png")[0] == 2
    assert "is not a number of pixels" in cli("run", tmp_path / "a.png", "--max-pixels", "many")[2]


def test_a_jpeg_without_its_last_bytes_is_read_with_a_warning(caplog):
    content = encoded(".jpg", gradient())
    assert np.array_equal(decode(content[:-2], "a.jpg"), decode(content, "a.jpg"))
    assert caplog.messages == ["a.jpg: the file is cut off; read as far as it goes"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_half_a_picture_gives_the_half_that_is_there(suffix, caplog):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(suffix, noise)
    whole = decode(content, "a")
    half = decode(content[: len(content) // 2], "a")
    # BMP has its rows from the bottom.
    there, lost = (slice(44, 64), slice(0, 20)) if suffix == ".bmp" else (slice(0, 14), slice(44, 64))
    assert np.array_equal(half[there], whole[there])
    assert half[lost].std() < 1
    assert "cut off" in caplog.text


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_deep_pictures_are_scaled_by_the_bits_they_use(suffix, bits):
    ramp = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(8, 32)
    pixels = decode(encoded(suffix, ramp), "a")
    assert np.abs(pixels[:, :, 0].ravel().astype(int) - np.arange(256)).max() <= 1


def test_dark_pictures_of_eight_bits_stay_as_they_are():
    assert np.array_equal(decode(encoded(".png", grey(12)), "a"), grey(12))


def test_sixteen_bits_that_hold_eight_stay_as_they_are():
    assert np.array_equal(decode(encoded(".png", np.full((4, 4), 77, np.uint16)), "a"), grey(77, (4, 4)))


HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(40)


def test_heic_without_its_reader_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"IMG\.HEIC: .*pillow-heif.*fer-edge\[heic\]"):
        decode(HEIC, "IMG.HEIC")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heic_is_read_by_pillow_heif(monkeypatch, brand):
    """A stand-in for the package: it is asked for eight bits in BGR order, and alpha is left out."""
    content = HEIC.replace(b"ftypheic", b"ftyp" + brand)

    def open_heif(data, convert_hdr_to_8bit, bgr_mode):
        assert (data, convert_hdr_to_8bit, bgr_mode) == (content, True, True)
        return np.dstack([gradient(), np.full((30, 40), 9, np.uint8)])

    monkeypatch.setitem(sys.modules, "pillow_heif", types.SimpleNamespace(open_heif=open_heif))
    assert np.array_equal(decode(content, "a"), gradient())


def test_heic_itself(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    from PIL import Image

    heif.from_pillow(Image.fromarray(grey(90, (64, 64)))).save(tmp_path / "a.heic", quality=90)
    content = (tmp_path / "a.heic").read_bytes()
    assert picture_size("heic", content) == (64, 64)
    assert decode(content, "a").mean() == pytest.approx(90, abs=2)
    with pytest.raises(SourceError, match="damaged or cut off"):
        decode(content[: len(content) // 2], "a")
