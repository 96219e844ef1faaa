"""FER-2013 files: every layout, every compression, every fault where it is; votes and duplicates."""

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import c_kernels, needs_extension
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge.errors import DataError
from fer_edge.fer2013.duplicates import in_training
from fer_edge.fer2013.reader import FerDataset, iter_fer2013, read_fer2013
from fer_edge.fer2013.votes import (
    absolute_majorities,
    majority_votes,
    people_votes,
    read_votes,
    top_votes,
    vote_shares,
)
from fer_edge.kernels import fallback
from fer_edge.labels import PEOPLE_ANSWERS, VOTE_COLUMNS

pytestmark = pytest.mark.usefixtures("kernels")


PIXELS = np.random.default_rng(1).integers(0, 256, (3, 48, 48), dtype=np.uint8)
LABELS = [3, 0, 6]
USAGE = ["Training", "PublicTest", "PrivateTest"]


def text_of(image, blank=" "):
    return blank.join(str(value) for value in image.ravel().tolist())


TEXTS = [text_of(image) for image in PIXELS]
PLAIN = "emotion,pixels,Usage\n" + "".join(
    f"{code},{text},{usage}\n" for code, text, usage in zip(LABELS, TEXTS, USAGE, strict=True)
)


@pytest.fixture
def write(tmp_path):
    def write(content, name="faces.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def check(found, labels=True, usage=True):
    assert found.pixels.dtype == np.uint8
    assert np.array_equal(found.pixels, PIXELS)
    if labels:
        assert found.labels.dtype == np.int8
        assert found.labels.tolist() == LABELS
    else:
        assert found.labels is None
    if usage:
        assert found.usage.dtype.kind == "U"
        assert found.usage.tolist() == USAGE
    else:
        assert found.usage is None
    assert found.skipped == ()
    assert len(found) == 3


# ---------------------------------------------------------------- layouts


def test_fer2013_csv(write):
    check(read_fer2013(write(PLAIN)))


def test_icml_face_data_csv(write):
    rows = "".join(f"{c}, {u}, {t}\n" for c, t, u in zip(LABELS, TEXTS, USAGE, strict=True))
    check(read_fer2013(write("emotion, Usage, pixels\n" + rows)))
    rows = "".join(f"{c},{u},{t}\n" for c, t, u in zip(LABELS, TEXTS, USAGE, strict=True))
    check(read_fer2013(write("emotion, Usage, pixels\n" + rows)))


def test_train_csv(write):
    rows = "".join(f'{c},"{t}"\n' for c, t in zip(LABELS, TEXTS, strict=True))
    check(read_fer2013(write("emotion,pixels\n" + rows)), usage=False)


@pytest.mark.parametrize("quote", ["", '"'])
def test_test_csv(write, quote):
    rows = "".join(f"{quote}{t}{quote}\n" for t in TEXTS)
    check(read_fer2013(write("pixels\n" + rows)), labels=False, usage=False)


def test_any_column_order_any_case_quotes_and_other_columns(write):
    rows = "".join(
        f'"x, ""y"" {i}", "{u}" ,é,\t" {t} "\t, "{c}"\n'
        for i, (c, t, u) in enumerate(zip(LABELS, TEXTS, USAGE, strict=True))
    )
    check(read_fer2013(write('note, "USAGE" ,accent,PIXELS," Emotion"\n' + rows)))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace("\n", "\r\n").removesuffix("\n"),
        lambda text: text + "\n\r\n  \t\n\n",
        lambda text: text + "\n   ",
        lambda text: text.replace(" ", "   "),
        lambda text: text.replace(" ", "\t "),
        lambda text: text.replace(",Pr", " , Pr").replace(",Tr", "  ,Tr"),
    ],
    ids=["crlf", "bom", "no end", "cr end", "empty end", "blank end", "blanks", "tabs", "around"],
)
def test_harmless_variations_change_nothing(write, change):
    check(read_fer2013(write(change(PLAIN))))


def test_leading_zeros_up_to_three_digits_are_numbers(write):
    text = " ".join(f"{value:03d}" for value in PIXELS[0].ravel().tolist())
    assert np.array_equal(read_fer2013(write(f"pixels\n{text}\n")).pixels[0], PIXELS[0])


# ---------------------------------------------------------------- compression


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


# ---------------------------------------------------------------- files that are something else


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        ("emotion,pixels,Usage\n", "no rows"),
        ("emotion,pixels,Usage\n\n\r\n", "no rows"),
        ("emotion,pixels,Usage", "no rows"),
        ("emotion,Usage\n1,Training\n", 'no column "pixels" in the header, which is .emotion,Usage'),
        (PLAIN.partition("\n")[2], 'no column "pixels"'),
        ("pixels,Pixels\n1,2\n", '2 columns "pixels"'),
        ("emotion,emotion,pixels\n1,1,2\n", '2 columns "emotion"'),
        (PLAIN.encode("utf-16"), "UTF-16"),
        (PLAIN.encode("utf-16-le"), "UTF-16"),
        (PLAIN.encode("utf-32"), "UTF-16"),
        (b"\0" * 5000, "binary"),
        (
            b"\x89PNG\r\n\x1a\n" + bytes(range(128, 256)) * 9,
            "this is a picture; .*fer-edge predict '.*faces.csv'",
        ),
        (bytes(range(128, 256)) * 9, "UTF-8"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
            r"Excel workbook \(\.xls\); want a CSV file: save it",
        ),
        (b"PAR1" + bytes(600) + b"PAR1", r"Parquet file; .*pandas\.read_parquet\('.*faces\.csv'\)\.to_csv"),
        (gzip.compress(b"PAR1" + bytes(600), mtime=0), "this is a Parquet file"),
        (b"ARROW1\0\0" + bytes(600), "this is a Feather file; .*read_feather"),
        (b"(\xb5/\xfd" + bytes(600), "compressed with Zstandard; want a CSV file: unzstd"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", "this is a web page.*signed in"),
        (b"x" * 3_000_000, "first line is longer than 1048576 bytes"),
        ("\n" + PLAIN, 'no column "pixels"'),
    ],
)
def test_a_file_that_is_not_fer2013_is_a_data_error(write, content, words):
    with pytest.raises(DataError, match=words) as error:
        read_fer2013(write(content))
    assert "faces.csv" in str(error.value)
    assert len(str(error.value)) < 600


def test_a_missing_file_and_a_directory_are_data_errors(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: there is no such file"):
        read_fer2013(tmp_path / "none.csv")
    with pytest.raises(DataError, match="not a regular file"):
        read_fer2013(tmp_path)


def test_a_fifo_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="not a regular file"):
        read_fer2013(tmp_path / "pipe.csv")


def test_a_batch_below_one_is_refused(write):
    with pytest.raises(ValueError, match="batch is 0"):
        next(iter_fer2013(write(PLAIN), 0))


# ---------------------------------------------------------------- bad rows


def with_pixel(index, value):
    """The text of the first image with one pixel (from 1) replaced, and where that begins (from 1)."""
    tokens = TEXTS[0].split(" ")
    tokens[index - 1] = value
    return " ".join(tokens), len(" ".join(tokens[: index - 1])) + (1 if index > 1 else 0) + 1


def bad_pixel(index, value):
    text, position = with_pixel(index, value)
    return f"4,{text},Training", f'column "pixels", pixel {index} at character {position + 2}: found '


ONE_SHORT = TEXTS[0].rpartition(" ")[0]

BAD_ROWS = {
    "pixel of 256": (bad_pixel(17, "256")[0], bad_pixel(17, "256")[1] + "'256'; want a whole number"),
    "first pixel": (bad_pixel(1, "999")[0], "pixel 1 at character 3: found '999'"),
    "last pixel": (bad_pixel(2304, "1000")[0], bad_pixel(2304, "1000")[1] + "'1000'"),
    "letters": (bad_pixel(2303, "abc")[0], bad_pixel(2303, "abc")[1] + "'abc'"),
    "digits and letters": (bad_pixel(100, "12a")[0], bad_pixel(100, "12a")[1] + "'12a'"),
    "fraction": (bad_pixel(5, "1.5")[0], bad_pixel(5, "1.5")[1] + "'1.5'"),
    "negative": (bad_pixel(6, "-1")[0], bad_pixel(6, "-1")[1] + "'-1'"),
    "NUL": (bad_pixel(7, "\0")[0], bad_pixel(7, "\0")[1] + r"'\\x00'"),
    "full-width digit": (bad_pixel(8, "\uff11")[0], bad_pixel(8, "\uff11")[1] + "'\uff11'"),
    "quote within": (bad_pixel(9, '1"2')[0], bad_pixel(9, '1"2')[1] + "'1'"),
    "huge number": (bad_pixel(10, "1" * 10**6)[0], bad_pixel(10, "1")[1] + "'1111111111111111...'"),
    "a pixel missing": (
        f"4,{ONE_SHORT},Training",
        f'column "pixels": found 2303 pixels, and the end at character {len(ONE_SHORT) + 3}; want 2304',
    ),
    "two pixels too many": (
        f"4,{TEXTS[0]} 1 2,Training",
        f'column "pixels": found 2306 pixels, the first too many at character {len(TEXTS[0]) + 4}; want 2304',
    ),
    "no pixels": ("4,,Training", 'column "pixels": found 0 pixels'),
    "label of 7": (
        f"7,{TEXTS[0]},Training",
        "column \"emotion\": found '7'; want an emotion code from 0 to 6",
    ),
    "label of letters": (f"happy,{TEXTS[0]},Training", "column \"emotion\": found 'happy'"),
    "no label": (f",{TEXTS[0]},Training", 'column "emotion": found'),
    "negative label": (f"-1,{TEXTS[0]},Training", "found '-1'"),
    "field missing": (f"4,{TEXTS[0]}", r"has 2 fields; want 3 as in the header \(emotion,pixels,Usage\)"),
    "field too many": (f"4,{TEXTS[0]},Training,", "has 4 fields; want 3"),
    "empty": ("", "is empty; empty lines may only end the file"),
    "blank": (" \t ", "is empty"),
    "unclosed quote": (f'4,"{TEXTS[0]},Training', 'column "pixels": the quote at character 3 is not closed'),
    "text after quote": (f'4,"{TEXTS[0]}" x,Training', "the quote at character 3 is not closed"),
    "huge line": ("4," + "1 " * (1 << 20) + ",Training", "is longer than 1048576 bytes"),
    "very huge line": ("4" * 5_000_000, "is longer than 1048576 bytes"),
    "long usage": (f"4,{TEXTS[0]},{'x' * 33}", 'column "Usage": found .x{16}\\.\\.\\.\'; want at most 32'),
    "usage of bytes": (f"4,{TEXTS[0]},\0", 'column "Usage"'),
}


@pytest.mark.parametrize(("row", "words"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_reported_where_it_is_and_skipped_on_request(write, row, words):
    header, *good = PLAIN.splitlines()
    path = write("\n".join([header, good[0], row, *good[1:]]) + "\n")
    with pytest.raises(DataError, match=f"faces.csv: row 2,? .*{words}") as error:
        read_fer2013(path)
    assert len(str(error.value)) < 500

    found = read_fer2013(path, skip_bad=True)
    assert np.array_equal(found.pixels, PIXELS)
    assert found.labels.tolist() == LABELS
    assert found.usage.tolist() == USAGE
    assert found.skipped == (str(error.value),)


def test_half_a_row_at_the_end_is_a_bad_row(write):
    with pytest.raises(DataError, match="row 3 has 2 fields; want 3"):
        read_fer2013(write(PLAIN[:-4000]))
    found = read_fer2013(write(PLAIN[:-4000]), skip_bad=True)
    assert (len(found), len(found.skipped)) == (2, 1)


def test_a_character_position_counts_characters_not_bytes(write):
    text, position = with_pixel(3, "x")
    with pytest.raises(DataError, match=f"pixel 3 at character {position + 5}: found 'x'"):
        read_fer2013(write(f"note,pixels\n¼é€😀,{text}\n"))


def test_only_bad_rows_give_an_empty_dataset_when_skipped(write):
    found = read_fer2013(write("emotion,pixels,Usage\n9,1,x\n1,2,x\n"), skip_bad=True)
    assert found.pixels.shape == (0, 48, 48)
    assert len(found.labels) == len(found.usage) == 0
    assert len(found.skipped) == 2


def test_each_empty_row_in_the_middle_counts(write):
    header, *good = PLAIN.splitlines()
    path = write("\n".join([header, good[0], "", "  ", "", *good[1:], "8,,", ""]))
    found = read_fer2013(path, skip_bad=True)
    assert [message.partition(": ")[2].split(" is")[0] for message in found.skipped[:3]] == [
        "row 2",
        "row 3",
        "row 4",
    ]
    assert "row 7, column \"emotion\": found '8'" in found.skipped[3]
    check(FerDataset(found.pixels, found.labels, found.usage))


def test_a_line_longer_than_the_window_that_ends_the_file_is_one_bad_row(write):
    found = read_fer2013(write(PLAIN + "9" * 4_500_000), skip_bad=True)
    assert len(found) == 3
    assert len(found.skipped) == 1


# ---------------------------------------------------------------- pieces


def many(count):
    chooser = random.Random(2)
    order = [chooser.randrange(3) for _ in range(count)]
    rows = "".join(f"{LABELS[i]},{TEXTS[i]},{USAGE[i]}\n" for i in order)
    return order, "emotion,pixels,Usage\n" + rows


def test_pieces_are_the_rows_in_order_whatever_the_batch(write):
    order, text = many(600)  # more than the window holds
    path = write(text)
    for batch in (1, 7, 256, 600, 1000):
        pieces = list(iter_fer2013(path, batch))
        assert max(map(len, pieces)) <= batch
        assert len(pieces) == -(-600 // batch)
        assert np.array_equal(np.concatenate([piece.pixels for piece in pieces]), PIXELS[order])
        assert [u for piece in pieces for u in piece.usage.tolist()] == [USAGE[i] for i in order]


@pytest.mark.heavy
def test_reading_takes_little_more_memory_than_the_result(write):
    order, text = many(9000)
    for content in (text, gzip.compress(text.encode(), 1)):
        path = write(content)
        tracemalloc.start()
        dataset = read_fer2013(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.array_equal(dataset.pixels, PIXELS[order])
        assert dataset.usage.tolist() == [USAGE[i] for i in order]
        assert peak < 1.2 * dataset.pixels.nbytes + 8_000_000


def test_a_file_of_empty_lines_is_not_taken_for_one_of_many_rows(write):
    with pytest.raises(DataError, match="no rows after the header"):
        read_fer2013(write("emotion,pixels,Usage\n" + "\n" * 3_000_000))


@pytest.mark.heavy
def test_memory_is_bounded_by_the_batch(write):
    path = write(gzip.compress(many(4000)[1].encode() + b"\n" * 3_000_000 + b"x" * 20_000_000, 1))
    tracemalloc.start()
    rows = skipped = 0
    for piece in iter_fer2013(path, 64, skip_bad=True):
        rows += len(piece)
        assert len(piece.skipped) <= 64
        skipped += len(piece.skipped)
        if skipped > 10_000:
            break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 4000
    assert peak < 24_000_000


@pytest.mark.parametrize("batch", [1, 2, 3, 50])
def test_rows_keep_their_numbers_where_bad_ones_are_left_out(write, batch):
    good = ",".join(["3", " ".join(["7"] * 2304)])
    lines = [good, "9,1", good, good, "", "x", good, good]
    path = write("emotion,pixels\n" + "\n".join(lines) + "\n")
    whole = read_fer2013(path, skip_bad=True)
    assert whole.rows.tolist() == [1, 3, 4, 7, 8]
    assert whole.bad_rows == (2, 5, 6)
    pieces = list(iter_fer2013(path, batch, skip_bad=True))
    assert [row for piece in pieces for row in piece.rows.tolist()] == [1, 3, 4, 7, 8]
    assert [row for piece in pieces for row in piece.bad_rows] == [2, 5, 6]


# ---------------------------------------------------------------- C == NumPy


def parse(module, text, final, layout, capacity):
    pixels = np.zeros((capacity, 2304), np.uint8)
    labels = np.zeros(capacity, np.int8)
    usages = np.zeros((capacity, 32), np.uint8)
    result = module.parse_rows(np.frombuffer(text, np.uint8), final, layout, pixels, labels, usages)
    rows = result[0]
    return result, pixels[:rows].tobytes(), labels[:rows].tolist(), usages[:rows].tolist()


edits = st.tuples(
    st.integers(0, len(RAW)) | st.integers(0, 12),
    st.integers(0, 4),
    st.binary(max_size=4) | st.text(' \t,"\r\n0123456789x', max_size=4).map(str.encode),
)


def damaged(changes, length):
    """Rows of the usual kind, cut off, with a few bytes replaced, inserted or removed."""
    text = bytearray(RAW[RAW.index(b"\n") + 1 :][:length])
    for start, size, new in changes:
        text[start : start + size] = new
    return bytes(text) or b"\n"


layouts = st.sampled_from(
    [
        (3, 0, 1, 2, 1 << 20),
        (3, -1, 1, -1, 1 << 20),
        (3, 0, 1, -1, 9000),
        (2, 0, 1, -1, 1 << 20),
        (1, -1, 0, -1, 9),
    ]
)


@needs_extension
@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(edits, max_size=3),
    length=st.just(len(RAW)) | st.integers(1, len(RAW)),
    final=st.booleans(),
    layout=layouts,
    capacity=st.integers(1, 4),
)
def test_c_and_numpy_parse_damaged_rows_alike(changes, length, final, layout, capacity):
    text = damaged(changes, length)
    assert parse(c_kernels, text, final, layout, capacity) == parse(fallback, text, final, layout, capacity)


@needs_extension
@pytest.mark.parametrize(
    "odd",
    [
        "256",
        "260",
        "299",
        "300",
        "999",
        "1000",
        "",
        "\t",
        " 7",
        "7\t",
        "-1",
        "7.",
        "x",
        '"',
        "\x00",
        "\xa0",
        "/",
        ":",
    ],
)
def test_c_and_numpy_find_an_odd_number_wherever_it_is(odd):
    """The vector kernels read blocks of 16 or 32 characters: an odd one goes through all their positions."""
    numbers = TEXTS[0].split()
    for index in range(40):
        row = " ".join([*numbers[:index], odd, *numbers[index + 1 :]])
        text = f"0,{row},Training\n".encode("latin-1")
        layout = (3, 0, 1, 2, 1 << 20)
        assert parse(c_kernels, text, True, layout, 1) == parse(fallback, text, True, layout, 1)


@needs_extension
@pytest.mark.parametrize("value", range(256))
def test_every_value_is_read_in_every_place_of_a_block(value):
    row = " ".join(str(value) if index % 5 else str(index % 256) for index in range(2304))
    result, pixels, _, _ = parse(c_kernels, f"{row}\n".encode(), True, (1, -1, 0, -1, 1 << 20), 1)
    assert result[0] == 1
    assert list(pixels) == [value if index % 5 else index % 256 for index in range(2304)]


@needs_extension
@settings(max_examples=300, deadline=None)
@given(
    text=st.text(' \t,"\r\n09x', min_size=1, max_size=60).map(str.encode)
    | st.binary(min_size=1, max_size=60),
    final=st.booleans(),
    columns=st.integers(1, 4),
)
def test_c_and_numpy_parse_any_text_alike(text, final, columns):
    layout = (columns, -1, columns - 1, 0 if columns > 1 else -1, 40)
    assert parse(c_kernels, text, final, layout, 2) == parse(fallback, text, final, layout, 2)


# ---------------------------------------------------------------- votes


VOTES = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_votes_may_be_separated_otherwise(write, separator):
    lines = [separator.join(VOTE_COLUMNS), separator.join("9876543210")]
    assert read_votes(write("\n".join(lines) + "\n")).tolist() == [[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]


def test_votes_come_in_the_order_of_vote_columns_whatever_the_header(write):
    header = "Usage,Image name," + ",".join(reversed(VOTE_COLUMNS)).upper()
    votes = read_votes(
        write(
            f"{header}\r\nTraining,fer0000000.png,9,8,7,6,5,4,3,2,1,0\r\nTraining,,0,0,0,0,0,0,0,0,0,10\r\n\r\n"
        )
    )
    assert votes.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 0, 0, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (VOTES, "no rows"),
        (VOTES.replace(",NF", "") + "1,2,3,4,5,6,7,8,9\n", 'no column "NF"'),
        (VOTES + "1,2,3,4,5,6,7,8,9\n", "row 1 has 9 fields; want 10"),
        (VOTES + "0,0,0,0,0,0,0,0,0,0\n0,0,x,0,0,0,0,0,0,0\n", "row 2, column \"surprise\": found 'x'"),
        (VOTES + "0,0,0,0,0,0,0,0,0,256\n", "column \"NF\": found '256'; want a whole number from 0 to 255"),
        (VOTES + "-1,0,0,0,0,0,0,0,0,0\n", "found '-1'"),
        (VOTES + "1.5,0,0,0,0,0,0,0,0,0\n", "found '1.5'"),
        (VOTES + "\n1,0,0,0,0,0,0,0,0,0\n", "row 1 is empty"),
        (VOTES + "9" * 10**6 + ",0\n", "not CSV|fields"),
        (VOTES + "9" * 3 * 10**6, "longer than"),
        (VOTES + '"' + "1,0,0,0,0,0,0,0,0,0\n" * 10**5, "not CSV"),
        (VOTES.encode("utf-16"), "UTF-16"),
        (PLAIN, 'no column "neutral"'),
    ],
)
def test_a_wrong_votes_file_is_a_data_error(write, text, words):
    with pytest.raises(DataError, match=words) as error:
        read_votes(write(text))
    assert len(str(error.value)) < 600


def test_votes_for_another_number_of_images_are_refused(write):
    path = write(VOTES + "1,0,0,0,0,0,0,0,0,0\n" * 2)
    assert read_votes(path, rows=2).shape == (2, 10)
    with pytest.raises(DataError, match="has 2 rows of votes for 3 rows of images"):
        read_votes(path, rows=3)


def test_the_majority_is_translated_to_fer2013_codes():
    # One column after the other wins; contempt, unknown and NF are none of the seven emotions.
    assert majority_votes(np.eye(10, dtype=np.uint8) * 6 + 1).tolist() == [6, 3, 5, 4, 0, 1, 2, -1, -1, -1]


def test_a_tie_has_no_majority():
    votes = np.array(
        [
            [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],
            [4, 0, 0, 0, 0, 0, 0, 4, 1, 1],
            [4, 3, 3, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
    )
    assert majority_votes(votes).tolist() == [-1, -1, 6, -1]
    assert majority_votes(votes).dtype == np.int8


def test_the_top_vote_is_single_and_may_be_no_emotion():
    given = [{"happy": 6, "neutral": 4}, {"happy": 5, "sad": 5}, {"unknown": 7, "sad": 3}, {}]
    votes = np.array([[row.get(name, 0) for name in PEOPLE_ANSWERS] for row in given], np.float32)
    assert top_votes(votes).tolist() == [3, -1, 8, -1]


def test_single_votes_are_outliers():
    """A face with ten different opinions has none, and one vote more decides."""
    votes = np.array([[1] * 10, [1, 2, 1, 1, 1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]], np.uint8)
    assert majority_votes(votes).tolist() == [-1, 3, -1]
    assert absolute_majorities(votes).tolist() == [-1, 3, -1]
    assert people_votes(votes).sum(1).tolist() == [0, 2, 0]


def test_an_absolute_majority_is_more_than_half_of_the_votes_that_count():
    votes = np.array(
        [
            [5, 3, 2, 0, 0, 0, 0, 0, 0, 0],  # half is not more than half
            [5, 3, 1, 1, 0, 0, 0, 0, 0, 0],  # 5 of 8
            [0, 0, 0, 0, 4, 0, 0, 6, 0, 0],  # contempt is the eighth answer
            [0, 0, 0, 0, 0, 0, 0, 0, 9, 1],  # unknown is none
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # nor is NF,
            [5, 0, 0, 0, 0, 0, 0, 0, 0, 5],  # but its votes count
        ],
        np.uint8,
    )
    assert absolute_majorities(votes).tolist() == [-1, 6, 7, -1, -1, -1]
    assert absolute_majorities(votes).dtype == np.int8


def test_shares_of_votes_are_those_that_count():
    votes = np.array(
        [
            [4, 4, 0, 1, 0, 0, 0, 0, 0, 1],
            [0, 0, 2, 0, 0, 0, 0, 3, 3, 2],
            [3, 0, 0, 0, 0, 0, 0, 0, 0, 5],  # five of ten say NF: not most
            [4, 0, 0, 0, 0, 0, 0, 0, 0, 6],
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        ],
        np.uint8,
    )
    shares = vote_shares(votes)
    assert shares.dtype == np.float32
    # angry, disgust, fear, happy, sad, surprise, neutral, contempt, unknown
    np.testing.assert_allclose(
        shares,
        [
            [0, 0, 0, 0.5, 0, 0, 0.5, 0, 0],
            [0, 0, 0, 0, 0, 0.25, 0, 0.375, 0.375],
            [0, 0, 0, 0, 0, 0, 1, 0, 0],
            [0] * 9,
            [0] * 9,
        ],
    )


@pytest.mark.parametrize("rule", [majority_votes, absolute_majorities, vote_shares, people_votes])
def test_votes_of_another_shape_are_refused(rule):
    with pytest.raises(ValueError, match=r"shape \(3, 7\)"):
        rule(np.zeros((3, 7)))
    assert len(rule(np.zeros((0, 10)))) == 0


# ---------------------------------------------------------------- duplicates


def test_rows_outside_training_that_repeat_a_training_image_are_found():
    almost = PIXELS[0].copy()
    almost[47, 47] ^= 1
    images = np.stack([PIXELS[0], PIXELS[0], PIXELS[0], almost, PIXELS[1], PIXELS[1]])
    usage = np.array(["Training", "Training", "PublicTest", "PublicTest", "PublicTest", "PrivateTest"])
    found = in_training(FerDataset(images, None, usage))
    assert found.dtype == np.bool_
    assert found.tolist() == [False, False, True, False, False, False]


def test_duplicates_need_a_usage():
    with pytest.raises(DataError, match="no Usage"):
        in_training(FerDataset(PIXELS, None, None))


# ---------------------------------------------------------------- the data itself


@pytest.fixture(scope="module")
def fer2013():
    path = os.environ.get("FER2013_CSV")
    if not path:
        pytest.skip("FER2013_CSV is not set")
    return read_fer2013(path)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ("Training", [3995, 436, 4097, 7215, 4830, 3171, 4965]),
        ("PublicTest", [467, 56, 496, 895, 653, 415, 607]),
    ],
)
def test_fer2013_has_its_published_class_counts(fer2013, usage, counts):
    assert np.bincount(fer2013.labels[fer2013.usage == usage], minlength=7).tolist() == counts


def test_fer2013_repeats_279_training_images_in_public_test(fer2013):
    repeated = in_training(fer2013)
    assert np.count_nonzero(repeated[fer2013.usage == "PublicTest"]) == 279


def test_the_majority_votes_mostly_agree_with_the_labels(fer2013):
    path = Path(os.environ["FER2013_CSV"]).with_name("ferplus_votes_dev.csv")
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    codes = majority_votes(read_votes(path))
    assert len(codes) == len(fer2013)
    clear = codes >= 0
    assert np.mean(codes[clear] == fer2013.labels[clear]) > 0.6


def test_batches_below_one_fail_at_the_call(tmp_path):
    with pytest.raises(ValueError, match="batch is 0"):
        iter_fer2013(tmp_path / "missing.csv", batch=0)


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


def test_emotions_and_usage_that_are_not_wanted_may_be_anything(tmp_path, kernels):
    pixels = " ".join(["7"] * 2304)
    path = tmp_path / "a.csv"
    path.write_text(f"emotion,pixels,Usage\nhappy,{pixels},Üb\n,{pixels},\n", encoding="utf-8")
    (piece,) = iter_fer2013(path, pixels_only=True)
    assert piece.pixels.shape == (2, 48, 48)
    assert (piece.labels, piece.usage) == (None, None)
    with pytest.raises(DataError, match="emotion code"):
        list(iter_fer2013(path))


def test_votes_of_another_order_are_refused(tmp_path):
    rows = ["Training,img.png,1,2,3,4,0,0,0,0,0,0", "PublicTest,img.png,1,2,3,4,0,0,0,0,0,0"]
    path = tmp_path / "votes.csv"
    path.write_text("\n".join(["Usage,Image name," + ",".join(VOTE_COLUMNS), *rows]) + "\n")
    usage = np.array(["Training", "PublicTest"])
    assert read_votes(path, 2, usage).shape == (2, 10)
    assert read_votes(path, 2).shape == (2, 10)
    with pytest.raises(DataError, match="row 1 is of 'Training', that of the images of 'PublicTest'"):
        read_votes(path, 2, usage[::-1])
