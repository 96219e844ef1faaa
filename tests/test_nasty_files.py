"""Files and arrays that mean harm or came to harm: the right result or a clear refusal, never a crash."""

import bz2
import gzip
import lzma
import os
import signal
import socket

import numpy as np
import pytest
from conftest import c_kernels, needs_extension

from fer_edge.errors import DataError
from fer_edge.fer2013.reader import iter_fer2013, read_fer2013
from fer_edge.fer2013.votes import read_votes
from fer_edge.kernels.crop import crop_faces

pytestmark = pytest.mark.usefixtures("kernels", "no_hang")

IMAGES = np.random.default_rng(9).integers(0, 256, (3, 48, 48), dtype=np.uint8)
TEXTS = [" ".join(map(str, image.ravel().tolist())) for image in IMAGES]
ROWS = [f"{index},{text},Training" for index, text in enumerate(TEXTS)]
HEADER = "emotion,pixels,Usage"
GOOD = "\n".join([HEADER, *ROWS, ""])
MILLION = "1" * 10**6


@pytest.fixture
def no_hang():
    """A read that waits for ever ends the test."""

    def stop(*_):
        raise TimeoutError("hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "nasty.csv"


def put(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace("\n", "\r\n"),
        "\N{BOM}" + GOOD,
        ("\N{BOM}" + GOOD).replace("\n", "\r\n"),
        GOOD[:-1],
        GOOD + "\n \n\t\r\n",
        gzip.compress(GOOD.encode()),
        lzma.compress(GOOD.encode()),
        bz2.compress(GOOD.encode()),
        gzip.compress(GOOD[:9000].encode()) + gzip.compress(GOOD[9000:].encode()),
    ],
    ids=["CRLF", "BOM", "BOM and CRLF", "no end", "blank end", "gzip", "xz", "bzip2", "gzip in two"],
)
def test_unusual_but_good_files_are_read(path, content):
    found = read_fer2013(put(path, content))
    assert np.array_equal(found.pixels, IMAGES)
    assert found.labels.tolist() == [0, 1, 2]
    assert found.usage.tolist() == ["Training"] * 3


def second_row(text):
    return "\n".join([HEADER, ROWS[0], text, ROWS[2], ""])


def second_pixels(text):
    return second_row(f"1,{text},Training")


BAD_FILES = {
    "empty": ("", "nasty.csv: the file is empty; want a CSV header"),
    "one line feed": ("\n", 'no column "pixels" in the header'),
    "one line without end": (GOOD.replace("\n", " "), "no rows after the header"),
    "one row and no header": (ROWS[0], 'no column "pixels" in the header'),
    "line ends of old Macs": (GOOD.replace("\n", "\r"), "the first line is not a CSV header"),
    "only a header": (HEADER, "no rows after the header"),
    "NUL bytes": (b"\0" * 100_000, "UTF-16 or binary; want text in UTF-8"),
    "NUL in the header": (GOOD.replace("Usage", "Us\0ge"), "UTF-16 or binary"),
    "UTF-16 LE with BOM": (b"\xff\xfe" + GOOD.encode("utf-16-le"), "UTF-16 or binary; want text in UTF-8"),
    "UTF-16 BE with BOM": (b"\xfe\xff" + GOOD.encode("utf-16-be"), "UTF-16 or binary; want text in UTF-8"),
    "UTF-16 BE": (GOOD.encode("utf-16-be"), "UTF-16 or binary"),
    "a huge first line": ("p" * 5_000_000, "first line is longer than 1048576 bytes; want a CSV header"),
    "a packed huge line": (lzma.compress(b"p" * 50_000_000), "first line is longer than 1048576 bytes"),
    "quotes in the header never closed": (GOOD.replace("emotion", '"emotion'), 'no column "pixels"'),
    "a number of a million digits": (
        second_pixels(MILLION + " 2"),
        "row 2, column \"pixels\", pixel 1 at character 3: found '1111111111111111...'; want a whole number",
    ),
    "a million digits of zero": (
        second_pixels("0" * 10**6),
        "pixel 1 at character 3: found '0000000000000000",
    ),
    "a label of a million digits": (second_row(MILLION + ",1,Training"), 'row 2, column "emotion": found'),
    "a usage of a million letters": (
        second_row(f"1,{TEXTS[1]},{'x' * 10**6}"),
        'row 2, column "Usage": found',
    ),
    "a huge line": (second_row("1 " * 10**6), "row 2 is longer than 1048576 bytes; want 2304 pixels a line"),
    "a huge last line": ("\n".join([HEADER, ROWS[0], "9" * 9_000_000]), "row 2 is longer than 1048576 bytes"),
    "many fields": (second_row("," * 10**5), "row 2 has 100001 fields; want 3 as in the header"),
    "a million quotes": (second_row('"' * 10**6), "row 2 "),
    "a quote never closed": (
        second_row(f'1,"{TEXTS[1]},Training'),
        'row 2, column "pixels": the quote at character 3 is not closed where the field ends',
    ),
    "a quote over a line end": (
        second_pixels('"' + TEXTS[1].replace(" ", "\n", 1) + '"'),
        'row 2, column "pixels": the quote at character 3 is not closed where the field ends',
    ),
    "NUL as a pixel": (
        second_pixels("12 \0 7"),
        r"pixel 2 at character 6: found '\x00'; want a whole number",
    ),
    "a row of NUL": (second_row("\0" * 9000), "row 2 has 1 fields; want 3"),
    "invalid UTF-8": (second_row("\udcff,\udcfe,x"), 'row 2, column "emotion": found'),
    "half a row at the end": (GOOD[:-4000], "row 3 has 2 fields; want 3 as in the header"),
    "truncated gzip": (gzip.compress(GOOD.encode())[:-400], "cannot be read, or is damaged"),
    "truncated xz": (lzma.compress(GOOD.encode())[:-400], "cannot be read, or is damaged"),
    "truncated bzip2": (bz2.compress(GOOD.encode())[:-400], "cannot be read, or is damaged"),
    "gzip and then something": (gzip.compress(GOOD.encode()) + b"xyz", "cannot be read, or is damaged"),
    "nothing but the start of gzip": (b"\x1f\x8b", "cannot be read, or is damaged"),
    "nothing but the start of xz": (b"\xfd7zXZ\0", "cannot be read, or is damaged"),
    "nothing but the start of a zip": (b"PK\3\4", "cannot be read, or is damaged"),
}


@pytest.mark.parametrize(("content", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_in_so_many_words(path, content, words):
    if isinstance(content, str):
        content = content.encode(errors="surrogateescape")
    with pytest.raises(DataError) as refusal:
        read_fer2013(put(path, content))
    message = str(refusal.value)
    assert message.startswith(str(path))
    assert words in message
    assert len(message) < len(str(path)) + 400
    with pytest.raises(DataError) as again:
        list(iter_fer2013(path, batch=2))
    assert str(again.value) == message


@pytest.mark.parametrize(
    "content",
    [
        "", "\n", "\0" * 9999, b"\xff\xfe" + GOOD.encode("utf-16-le"), "p" * 5_000_000, GOOD,
        "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n" + MILLION,
        "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n" + "1," * 10**6,
        'neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"1,2,3,4,5,6,7,8,9,0\n',
        gzip.compress(GOOD.encode(), mtime=0)[:-400],
    ],
)  # fmt: skip
def test_votes_of_such_files_are_refused_too(path, content):
    with pytest.raises(DataError) as refusal:
        read_votes(put(path, content))
    assert str(refusal.value).startswith(str(path))
    assert len(str(refusal.value)) < len(str(path)) + 400


@pytest.mark.parametrize("read", [read_fer2013, read_votes, lambda path: list(iter_fer2013(path))])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, read):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "dangling.csv").symlink_to("nothing")
    (tmp_path / "zeros.csv").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)  # names of sockets are short
        listener.bind("socket.csv")
        for name, words in {
            "folder.csv": "not a regular file",
            "pipe.csv": "not a regular file",
            "socket.csv": "not a regular file",
            "zeros.csv": "not a regular file",
            "loop.csv": "cannot be read",
            "dangling.csv": "there is no such file",
        }.items():
            with pytest.raises(DataError, match=f"{name}: {words}"):
                read(tmp_path / name)


def test_every_cut_through_a_packed_file_is_refused_or_harmless(path):
    rng = np.random.default_rng(2)
    for pack in (gzip.compress, lzma.compress, bz2.compress):
        content = pack(GOOD.encode())
        for length in rng.integers(0, len(content), 15).tolist():
            with pytest.raises(DataError):
                read_fer2013(put(path, content[:length]))


# ---------------------------------------------------------------- arrays

FRAME = np.zeros((60, 60, 3), np.uint8)
SQUARE = np.array([[5.0, 6.0, 50.0]])


def unaligned(values):
    """The same numbers, not where such numbers should lie."""
    room = np.zeros(values.nbytes + 1, np.uint8)[1:]
    array = room.view(np.uint8).view(values.dtype).reshape(values.shape)
    array[...] = values
    return array


def locked(array):
    array.setflags(write=False)
    return array


def test_unaligned_numbers_are_read_and_not_written():
    frame = np.random.default_rng(0).integers(0, 256, (70, 80), dtype=np.uint8)
    out = np.empty((1, 48, 48), np.float32)
    assert np.array_equal(crop_faces(frame, unaligned(SQUARE), out), crop_faces(frame, SQUARE, out.copy()))
    with pytest.raises(ValueError, match="not aligned"):
        crop_faces(frame, SQUARE, unaligned(out))


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u8", "f2"])
def test_numbers_of_any_kind_are_squares(dtype):
    square = np.array([[5, 6, 50]], dtype)
    frame = np.random.default_rng(0).integers(0, 256, (70, 80), dtype=np.uint8)
    out = np.empty((1, 48, 48), np.int8)
    assert np.array_equal(crop_faces(frame, square, out.copy()), crop_faces(frame, SQUARE, out))


@pytest.mark.parametrize(
    "frame", [memoryview(FRAME), FRAME.tobytes(), FRAME.astype(bool), FRAME.view("u1,u1,u1")]
)
def test_what_is_almost_a_frame_is_refused(frame):
    with pytest.raises(TypeError, match=r"frame is .*; want a NumPy array of uint8"):
        crop_faces(frame, SQUARE, np.empty((1, 48, 48), np.int8))


@pytest.mark.parametrize("out", [memoryview(np.empty((1, 48, 48), np.uint8)), np.empty((1, 48, 48), bool)])
def test_what_is_almost_an_output_is_refused(out):
    with pytest.raises(TypeError, match=r"out is .*; want a NumPy array of uint8, int8 or float32"):
        crop_faces(FRAME, SQUARE, out)


TURN = np.array([[0.6, 0.8]])
CROP = {
    "frame": FRAME,
    "order": 1,
    "squares": SQUARE,
    "turns": TURN,
    "kind": 1,
    "out": np.zeros(2304, np.int8),
}
PARSE = {
    "text": np.frombuffer(ROWS[0].encode(), np.uint8),
    "final": True,
    "layout": (3, 0, 1, 2, 10_000),
    "pixels": np.zeros((2, 2304), np.uint8),
    "labels": np.zeros(2, np.int8),
    "usages": np.zeros((2, 32), np.uint8),
}


@needs_extension
@pytest.mark.parametrize(
    "wrong",
    [
        {"frame": FRAME[:, :, 0]},
        {"frame": FRAME[:, :, :2]},
        {"frame": FRAME[:, ::2]},
        {"frame": FRAME[:, :, ::-1]},
        {"frame": FRAME[:0]},
        {"frame": FRAME.astype(np.int8)},
        {"frame": FRAME.astype(np.float32)},
        {"frame": None},
        {"order": 0},
        {"order": 3},
        {"order": -1},
        {"squares": SQUARE[:0]},
        {"squares": SQUARE[0]},
        {"squares": SQUARE[:, :2]},
        {"squares": np.zeros((1, 6))[:, ::2]},
        {"squares": SQUARE.astype(np.int64)},
        {"squares": SQUARE.astype(">f8")},
        {"squares": unaligned(SQUARE)},
        {"squares": [[5.0, 6.0, 50.0]]},
        {"turns": TURN[0]},
        {"turns": np.zeros((2, 2))},
        {"turns": TURN.astype(np.int64)},
        {"kind": 3},
        {"kind": -1},
        {"kind": 0},
        {"kind": 2},
        {"out": np.zeros(2303, np.int8)},
        {"out": np.zeros(0, np.int8)},
        {"out": np.zeros(4608, np.int8)[::2]},
        {"out": locked(np.zeros(2304, np.int8))},
        {"out": bytes(2304)},
    ],
    ids=str,
)
def test_the_crop_kernel_refuses_arrays_that_do_not_fit(wrong):
    c_kernels.crop_faces(*CROP.values())
    with pytest.raises((TypeError, ValueError, BufferError)):
        c_kernels.crop_faces(*(CROP | wrong).values())


@needs_extension
@pytest.mark.parametrize(
    "wrong",
    [
        {"text": np.zeros(0, np.uint8)},
        {"text": PARSE["text"][::2]},
        {"text": np.zeros(9, np.float32)},
        {"text": "1 2 3"},
        {"layout": (3, 0, 1, 2)},
        {"layout": (-3, 0, 1, 2, 9)},
        {"layout": None},
        {"pixels": np.zeros((0, 2304), np.uint8)},
        {"pixels": np.zeros((2, 2303), np.uint8)},
        {"pixels": np.zeros((2, 4608), np.uint8)[:, ::2]},
        {"pixels": np.zeros((2, 2304), np.int16)},
        {"pixels": locked(np.zeros((2, 2304), np.uint8))},
        {"pixels": np.zeros(4608, np.uint8)},
        {"labels": np.zeros(1, np.int8)},
        {"labels": np.zeros(2, np.uint8)},
        {"labels": np.zeros(4, np.int8)[::2]},
        {"labels": locked(np.zeros(2, np.int8))},
        {"usages": np.zeros((1, 32), np.uint8)},
        {"usages": np.zeros((2, 31), np.uint8)},
        {"usages": locked(np.zeros((2, 32), np.uint8))},
        {"usages": None},
    ],
    ids=str,
)
def test_the_parser_refuses_arrays_that_do_not_fit(wrong):
    assert c_kernels.parse_rows(*PARSE.values())[0] == 1
    with pytest.raises((TypeError, ValueError, OverflowError)):
        c_kernels.parse_rows(*(PARSE | wrong).values())
