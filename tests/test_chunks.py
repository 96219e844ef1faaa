"""Several threads on one file: the same result, and the same complaint, as from one."""

import gzip
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_edge import _chunks
from fer_edge.dataset import read_fer2013
from fer_edge.errors import DataError

pytestmark = pytest.mark.usefixtures("kernels")

IMAGES = np.random.default_rng(4).integers(0, 256, (40, 2304), dtype=np.uint8)
LINES = [
    f"{index % 7},{' '.join(map(str, image.tolist()))},{('Training', 'PublicTest')[index % 2]}\n"
    for index, image in enumerate(IMAGES)
]
HEADER = "emotion,pixels,Usage\n"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """About three rows."""
    monkeypatch.setattr(_chunks, "CHUNK_BYTES", 25_000)


def outcome(path, **options):
    try:
        found = read_fer2013(path, **options)
    except DataError as error:
        return str(error)
    columns = [None if column is None else column.tolist() for column in (found.labels, found.usage)]
    return found.pixels.tobytes(), *columns, found.skipped


def same(path, threads=2):
    for skip_bad in (False, True):
        alone = outcome(path, skip_bad=skip_bad)
        assert outcome(path, skip_bad=skip_bad, threads=threads) == alone
    return alone


@pytest.fixture
def write(tmp_path):
    def write(text, name="faces.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_give_what_one_gives(write, threads):
    path = write(HEADER + "".join(LINES))
    found = read_fer2013(path, threads=threads)
    assert np.array_equal(found.pixels.reshape(-1, 2304), IMAGES)
    assert found.labels.tolist() == [index % 7 for index in range(40)]
    assert found.usage.tolist() == ["Training", "PublicTest"] * 20


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "".join(LINES)[:-1],
        (HEADER + "".join(LINES)).replace("\n", "\r\n"),
        HEADER + "".join(LINES) + "\n\r\n  \n",
        HEADER + "".join(f'"{line[0]}"{line[1:]}' for line in LINES),
        HEADER + "".join(LINES)[:-5000],
        HEADER + "".join(LINES[:20]) + "x" * 70_000 + "\n" + "".join(LINES[20:]),
        HEADER + "".join(LINES[:20]) + "7" + "".join(LINES[20:]),
        HEADER + "".join(LINES[:2]) + "\n" * 60_000 + "".join(LINES[2:]),
        HEADER + "".join(LINES[:12]) + " " * 20_000 + "".join(LINES[12:]),
        HEADER + "\n",
        HEADER,
        HEADER + LINES[0][:-1],
        "pixels,other\n1 2 3,4\n",
    ],
    ids=[
        "no line feed at the end",
        "CRLF",
        "empty lines at the end",
        "quotes",
        "half a row at the end",
        "a long line",
        "a bad label",
        "empty lines within",
        "a long good row",
        "an empty row",
        "no rows",
        "one row",
        "no FER-2013 at all",
    ],
)
def test_odd_files_give_what_one_thread_gives(write, text):
    same(write(text))


def test_more_rows_than_the_first_ones_let_expect(write):
    short = "0," + " ".join(["7"] * 2304) + ",Training\n"
    found = same(write(HEADER + "".join(LINES[:30]) * 10 + short * 5000))
    assert len(found[0]) == 5300 * 2304


def test_a_compressed_file_is_read_as_ever(write):
    same(write(gzip.compress((HEADER + "".join(LINES)).encode())))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 39), max_size=14),
    st.lists(st.tuples(st.integers(0, 120_000), st.sampled_from(["\n", ",", "x", '"', " ", ""])), max_size=2),
    st.integers(9_400, 30_000),
)
def test_damage_anywhere_gives_what_one_thread_gives(tmp_path, chosen, damage, chunk):
    text = HEADER + "".join(LINES[index] for index in chosen)
    for place, what in damage:
        text = text[:place] + what + text[place + 1 :]
    path = tmp_path / "damaged.csv"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_chunks, "CHUNK_BYTES", chunk)
        same(path, threads=3)


def test_an_error_of_reading_is_a_data_error_not_a_hang(write, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    path = write(HEADER + "".join(LINES))
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(DataError, match=r"faces\.csv: cannot be read.*Input/output error"):
        read_fer2013(path, threads=2)


def test_memory_is_the_result_and_a_window_for_each_thread(write, monkeypatch):
    monkeypatch.setattr(_chunks, "CHUNK_BYTES", 1 << 19)
    path = write(HEADER + "".join(LINES) * 40)
    tracemalloc.start()
    found = read_fer2013(path, threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 1600
    # 4096 rows are allocated at least; the text of the file would be another 13.2 MB.
    assert path.stat().st_size > 13_000_000
    assert peak < 4096 * (2304 + 33) + (2 << 20) + 2 * 1_100_000 + 2_000_000


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(write, threads):
    with pytest.raises(ValueError, match="want at least 1"):
        read_fer2013(write(HEADER + LINES[0]), threads=threads)
