"""Bad rows of FER-2013 files: where they are, what is wrong, and how they are skipped."""

from __future__ import annotations

import numpy as np
import pytest
from fer2013.rows import LABELS, PIXELS, PLAIN, TEXTS, USAGE, check

from fer_edge.errors import DataError
from fer_edge.fer2013.reader import FerDataset, read_fer2013

pytestmark = pytest.mark.usefixtures("kernels")


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
