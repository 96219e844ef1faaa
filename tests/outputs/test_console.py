"""Lines for people."""

from __future__ import annotations

import fcntl
import io
import os

import pytest
from results import face, result

from fer_edge.errors import OutputError
from fer_edge.outputs.console import ConsoleOutput, describe_faces


def lines(output_arguments, results):
    stream = io.StringIO()
    output = ConsoleOutput(stream=stream, **output_arguments)
    for one in results:
        output.write(one)
    return stream.getvalue().splitlines()


def test_terminal_line_in_words():
    assert lines({}, [result(face(), index=31, timestamp=0.98)]) == [
        "frame 31  0.98 s  1 face: #1 9 of 10 would say happy"
    ]
    assert describe_faces(()) == "no face"
    assert describe_faces((face("sad", 0.42, track=4), face(track=2))) == (
        "2 faces: #2 9 of 10 would say happy; #4 4 of 10 would say sad"
    )


def test_many_faces_are_counted_by_what_they_show():
    eight = [face(track=None) for _ in range(8)]
    assert describe_faces(eight) == "8 faces: " + "; ".join(8 * ["9 of 10 would say happy"])
    nine = [face("neutral"), face("sad", unsure=True), face("happy", unsure=True), *eight[:6]]
    assert describe_faces(nine) == "9 faces: 6 happy, 2 unsure, 1 neutral"
    assert describe_faces(nine, unsure=False) == "9 faces: 7 happy, 1 neutral, 1 sad"
    old = [face("sad", unsure=True, labels="fer2013") for _ in range(9)]
    assert describe_faces(old) == "9 faces: 9 sad"


def test_the_labels_of_2013_are_told_in_per_cent():
    two = (face("sad", 0.5, track=4, labels="fer2013"), face(track=2, labels="fer2013"))
    assert describe_faces(two) == "2 faces: #2 happy 93 %; #4 sad 50 %"


def test_doubt_is_told_unless_it_is_not_wanted():
    doubted = face("sad", 0.42, unsure=True)
    assert describe_faces((doubted,)) == "1 face: #1 unsure, 4 of 10 would say sad"
    assert describe_faces((doubted,), unsure=False) == "1 face: #1 4 of 10 would say sad"
    for unsure, told in ((True, [0, 1, 2]), (False, [0])):
        results = [
            result(face("sad", 0.42, unsure=index == 1), index=index, timestamp=index / 10)
            for index in range(3)
        ]
        assert [int(line.split()[1]) for line in lines({"unsure": unsure}, results)] == told


def test_terminal_tells_changes_at_once_and_the_rest_every_second():
    results = [result(face(probability=0.9), index=k, timestamp=k / 10) for k in range(25)]
    results[13] = result(face("sad"), index=13, timestamp=1.3)
    assert [int(line.split()[1]) for line in lines({}, results)] == [0, 10, 13, 14, 24]


def test_terminal_gives_a_line_to_every_image():
    results = [result(face(track=None), source="a.jpg"), result(face(track=None), source="b.jpg")]
    assert lines({"every_frame": True}, results) == [
        "a.jpg  1 face: 9 of 10 would say happy",
        "b.jpg  1 face: 9 of 10 would say happy",
    ]


def test_live_terminal_that_does_not_read_holds_up_nothing():
    """A paused pager or terminal: the pipe is full, and lines go on when it is read again."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stream:
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        output = ConsoleOutput(stream=stream, live=True)
        for index in range(500):
            output.write(result(face(), index=index, timestamp=2.0 * index))
        first = reader.read1(1 << 20).decode().splitlines()
        assert 0 < len(first) < 500
        output.write(result(face(), index=999, timestamp=9999.0))
        assert reader.read1(1 << 20).decode().startswith("frame 999 ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_lines_of_a_camera_that_a_full_disk_cannot_take_are_left_out_and_told_once(tmp_path, caplog):
    path = tmp_path / "lines.txt"
    with open("/dev/full", "w") as stream, path.open("w") as room:  # noqa: PTH123
        output = ConsoleOutput(stream=stream, live=True)
        for index in range(3):
            output.write(result(face(), index=index, timestamp=2.0 * index))
        assert output.failed
        os.dup2(room.fileno(), stream.fileno())
        # With the same face, and within a second: nothing of the line before was seen.
        for index in range(3, 6):
            output.write(result(face(), index=index, timestamp=4.0 + index / 10))
    assert path.read_text() == "frame 3  4.30 s  1 face: #1 9 of 10 would say happy\n"
    assert caplog.messages == [
        "stdout: cannot be written: No space left on device; retrying",
        "stdout: works again",
    ]
    assert output.failed, "the exit code tells of it"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_under_the_lines_of_a_film_is_an_error():
    with open("/dev/full", "w") as stream:  # noqa: PTH123
        output = ConsoleOutput(stream=stream)
        with pytest.raises(OutputError, match=r"^stdout: cannot be written: No space left on device$"):
            output.write(result(face()))
