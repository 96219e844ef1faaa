"""Films as they come: damaged frames, and clocks that say nothing or jump."""

from __future__ import annotations

import logging
import re
import tracemalloc

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from sources.pictures import grey, write_film

from fer_edge.errors import SourceError
from fer_edge.sources import open_source
from fer_edge.sources.base import Source
from fer_edge.sources.film import FAILED_READS_ALLOWED, film


class Script(Source):
    """A film whose reads are written down: the time that the container tells, or None for a failed read."""

    name = "film"

    def __init__(self, reads, fps=8.0, told=0):
        self.reads, self.fps, self.told = list(reads), fps, told
        self.position = 0.0

    def get(self, key):
        return {cv2.CAP_PROP_FRAME_COUNT: self.told, cv2.CAP_PROP_POS_MSEC: self.position}[key]

    def grab(self):
        told = self.reads.pop(0) if self.reads else None
        self.position = 0.0 if told is None else 1000 * told
        return told is not None

    def retrieve(self):
        return np.zeros((4, 4), np.uint8)

    def __iter__(self):
        return film(self, self)


def times(source):
    return [frame.timestamp for frame in source]


def test_gaps_of_what_is_no_file_take_no_memory():
    """24 minutes in which one frame in twelve comes late, 3,000 in all, as through a pipe without an end."""
    late = np.arange(36_000) // 12
    source = Script(((np.arange(36_000) + late) / 25).tolist(), fps=25.0)
    held = []

    def choose(_):
        if len(source.reads) in (35_000, 0):
            held.append(tracemalloc.get_traced_memory()[0])
        return False

    source.chooser = choose
    tracemalloc.start()
    try:
        assert times(source) == []
    finally:
        tracemalloc.stop()
    first, last = held
    assert last - first < 50_000


@pytest.mark.parametrize("told", [0.0, float("nan"), -5.0])
def test_a_film_that_tells_no_times_goes_by_its_rate(told):
    assert times(Script([told] * 4)) == [0.0, 0.125, 0.25, 0.375]


def test_damaged_frames_are_passed_over_and_counted(caplog):
    source = Script([0.0, 0.1, None, None, 0.4, None, 0.6], fps=10.0, told=7)
    assert times(source) == pytest.approx([0, 0.1, 0.4, 0.6])
    assert source.missing == 3
    assert "3 damaged frames are left out" in caplog.text


def test_damaged_frames_leave_their_time_where_the_container_tells_none():
    assert times(Script([0.0, None, 0.0])) == [0.0, 0.25]


def test_a_film_ends_after_many_failed_reads():
    source = Script([0.1, *[None] * (FAILED_READS_ALLOWED + 1), 9.0])
    assert times(source) == pytest.approx([0.1])
    assert source.missing == 0
    source = Script([0.1, *[None] * FAILED_READS_ALLOWED, 9.0])
    assert times(source) == pytest.approx([0.1, 9.0])
    assert source.missing == FAILED_READS_ALLOWED


def test_a_film_cut_in_half_misses_its_end(caplog):
    source = Script([k / 10 for k in range(10)], fps=10.0, told=20)
    assert len(times(source)) == 10
    assert source.missing == 10
    assert "gives 10 of 20 frames" in caplog.text


def test_a_wrong_guess_of_the_number_of_frames_makes_none_missing(caplog):
    """Matroska guesses it from length and rate; here the film lasts as long as it should."""
    source = Script([k / 5 for k in range(10)], fps=10.0, told=20)
    assert len(times(source)) == 10
    assert source.missing == 0
    assert "gives 10 of 20 frames" in caplog.text


def test_a_time_that_jumps_is_bridged_and_told(caplog):
    source = Script([0.0, 0.125, 9368.25, 9368.375, 9368.5])
    assert times(source) == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    assert "clock jumps 1 times" in caplog.text


def test_times_of_a_second_film_joined_to_the_first_go_on(caplog):
    source = Script([5.0, 5.125, 0.01, 0.135, 0.26])
    assert times(source) == pytest.approx([5.0, 5.125, 5.25, 5.375, 5.5])
    assert "clock jumps 1 times" in caplog.text


def test_slow_films_do_not_jump(caplog):
    """A frame each two minutes, and one that fell asleep for 50 s."""
    assert times(Script([1.0, 121.0, 241.0], fps=1 / 120)) == [1, 121, 241]
    assert times(Script([0.1, 50.0, 50.1])) == pytest.approx([0.1, 50, 50.1])
    assert caplog.text == ""


def test_a_film_without_a_frame_is_an_error():
    with pytest.raises(SourceError, match="no picture or frame"):
        times(Script([]))


@pytest.fixture
def damaged(tmp_path):
    """A Motion JPEG film of 20 frames, some of which hold zeros instead of a picture."""

    def damaged(*which):
        pictures = (grey(level, (64, 48)) for level in range(0, 200, 10))
        path = write_film(tmp_path / f"damaged{len(which)}.avi", pictures)
        content = bytearray(path.read_bytes())
        starts = [found.start() for found in re.finditer(rb"\xff\xd8\xff", content)]
        assert len(starts) == 20
        for index in which:
            # Up to the header of the next picture.
            length = starts[index + 1] - starts[index] - 16
            content[starts[index] : starts[index] + length] = bytes(length)
        path.write_bytes(content)
        return path

    return damaged


def test_damaged_frame_does_not_end_a_film(damaged):
    with open_source(damaged(4)) as source:
        levels = [round(frame.image.mean() / 10) for frame in source]
    assert levels == [0, 1, 2, 3, *range(5, 20)]
    assert source.missing == 1


@pytest.mark.parametrize(("which", "code"), [((4,), 0), ((4, 5, 9), 1)])
def test_command_fails_where_more_than_a_tenth_of_a_film_is_missing(cli, damaged, which, code):
    logging.getLogger("fer_edge").setLevel(logging.WARNING)
    ended, out, err = cli("run", damaged(*which))
    assert ended == code
    assert f"missing {len(which)} damaged" in out
    assert ("more than a tenth" in err) == bool(code)
