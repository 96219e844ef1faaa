"""FER-2013 files that are compressed, in archives, or spreadsheets."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pytest
from fer2013.rows import LABELS, PIXELS, PLAIN, TEXTS, USAGE, check, text_of

from fer_edge.errors import DataError
from fer_edge.fer2013.reader import read_fer2013

pytestmark = pytest.mark.usefixtures("kernels")


def zipped(members):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def tarred(members, mode="w:gz"):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


RAW = PLAIN.encode()
MEMBERS = {"fer2013/README": b"hello", "fer2013/fer2013.csv": RAW, "fer2013/._fer2013.csv": b"mac"}


@pytest.mark.parametrize(
    "content",
    [
        RAW,
        gzip.compress(RAW),
        gzip.compress(RAW[:5000]) + gzip.compress(RAW[5000:]),
        lzma.compress(RAW),
        bz2.compress(RAW),
        zipped(MEMBERS),
        tarred(MEMBERS),
        tarred(MEMBERS, "w"),
        tarred(MEMBERS, "w:xz"),
        tarred(MEMBERS, "w:bz2"),
    ],
    ids=["plain", "gz", "gz members", "xz", "bz2", "zip", "tar.gz", "tar", "tar.xz", "tar.bz2"],
)
def test_the_content_tells_the_compression_not_the_name(write, content):
    check(read_fer2013(write(content, "faces.whatever")))


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_needs_exactly_one_csv(write, pack):
    with pytest.raises(DataError, match=r"2 \.csv files in the archive.*a\.txt, train\.csv, test\.csv"):
        read_fer2013(write(pack({"a.txt": b"", "train.csv": RAW, "test.csv": RAW})))
    with pytest.raises(DataError, match=r"0 \.csv files in the archive.*notes\.txt"):
        read_fer2013(write(pack({"notes.txt": b"hello"})))


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        (
            ("[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml"),
            r"an Excel workbook \(\.xlsx\)",
        ),
        (("mimetype", "content.xml"), r"an OpenDocument spreadsheet \(\.ods\)"),
    ],
)
def test_spreadsheets_are_told_from_archives_whatever_their_name(write, members, kind):
    path = write(zipped(dict.fromkeys(members, b"<xml/>")), "faces.csv")
    with pytest.raises(DataError, match=rf"faces\.csv: this is {kind}; want a CSV file: save it as CSV"):
        read_fer2013(path)


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_semicolons_and_tabs_may_separate_fields(write, separator, pack):
    rows = [
        f'"{code}"{separator}"{text}"{separator}{usage}\r\n'
        for code, text, usage in zip(LABELS, TEXTS, USAGE, strict=True)
    ]
    header = f"emotion{separator}pixels{separator}Usage\r\n"
    check(read_fer2013(write(pack((header + "".join(rows)).encode()))))
    # More than the window holds at once.
    long = read_fer2013(write(pack((header + "".join(rows * 200)).encode())))
    np.testing.assert_array_equal(long.pixels, np.tile(PIXELS, (200, 1, 1)))
    with pytest.raises(DataError, match=r'row 4, column "emotion": found .7.; want an emotion code'):
        read_fer2013(write(pack((header + "".join(rows) + rows[0].replace('"3"', "7")).encode())))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_no_separators(write, separator):
    rows = [[str(code), text, "Training", "0,9,5"] for code, text in zip(LABELS, TEXTS, strict=True)]
    text = "".join(separator.join(row) + "\n" for row in [["emotion", "pixels", "Usage", "score"], *rows])
    data = read_fer2013(write(text))
    np.testing.assert_array_equal(data.labels, LABELS)
    np.testing.assert_array_equal(data.pixels, PIXELS)


def test_a_comma_in_the_header_leaves_semicolons_and_tabs_alone(write):
    tabs = text_of(PIXELS[0], "\t")
    found = read_fer2013(write(f"note;more,pixels\na;b,{tabs}\n"))
    np.testing.assert_array_equal(found.pixels, PIXELS[:1])


def test_an_error_inside_an_archive_names_the_member(write):
    with pytest.raises(DataError, match=r"faces\.zip:x/y\.csv: no column"):
        read_fer2013(write(zipped({"x/y.csv": b"a,b\n1,2\n"}), "faces.zip"))


@pytest.mark.parametrize(
    "pack", [gzip.compress, lzma.compress, bz2.compress, lambda raw: tarred({"a.csv": raw})]
)
def test_a_truncated_or_damaged_compressed_file_is_a_data_error(write, pack):
    noise = np.random.default_rng(0).integers(0, 256, (20, 2304))
    content = pack(b"pixels\n" + b"".join(text_of(image).encode() + b"\n" for image in noise))
    with pytest.raises(DataError, match="damaged"):
        read_fer2013(write(content[: len(content) // 2]))
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    with pytest.raises(DataError):
        read_fer2013(write(bytes(damaged)))


def test_a_damaged_zip_is_a_data_error(write):
    content = zipped({"a.csv": RAW})
    with pytest.raises(DataError, match="damaged"):
        read_fer2013(write(content[: len(content) // 2]))


def test_after_the_first_fault_an_endless_line_is_not_read_on(tmp_path, kernels):
    """64 MB of zeros on one line, packed: what is unpacked of it is counted."""
    import fer_edge.fer2013.archives as archives

    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(b"emotion,pixels\n3,")
        for _ in range(64):
            stream.write(b"0" * (1 << 20))
    unpacked = []

    class Counting(gzip.GzipFile):
        def readinto(self, buffer):
            count = super().readinto(buffer)
            unpacked.append(count)
            return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(archives._DECOMPRESSORS, b"\x1f\x8b", lambda raw: Counting(fileobj=raw))
        with pytest.raises(DataError, match="row 1"):
            read_fer2013(path)
    assert 0 < sum(unpacked) <= 4 << 20
