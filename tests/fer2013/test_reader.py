"""FER-2013 files: every layout, pieces, and files that are something else."""

from __future__ import annotations

import gzip
import os
import random
import tracemalloc

import numpy as np
import pytest
from fer2013.rows import LABELS, PIXELS, PLAIN, TEXTS, USAGE, check

from fer_edge.errors import DataError
from fer_edge.fer2013.reader import iter_fer2013, read_fer2013

pytestmark = pytest.mark.usefixtures("kernels")


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


def test_batches_below_one_fail_at_the_call(tmp_path):
    with pytest.raises(ValueError, match="batch is 0"):
        iter_fer2013(tmp_path / "missing.csv", batch=0)


def test_emotions_and_usage_that_are_not_wanted_may_be_anything(tmp_path, kernels):
    pixels = " ".join(["7"] * 2304)
    path = tmp_path / "a.csv"
    path.write_text(f"emotion,pixels,Usage\nhappy,{pixels},Üb\n,{pixels},\n", encoding="utf-8")
    (piece,) = iter_fer2013(path, pixels_only=True)
    assert piece.pixels.shape == (2, 48, 48)
    assert (piece.labels, piece.usage) == (None, None)
    with pytest.raises(DataError, match="emotion code"):
        list(iter_fer2013(path))
