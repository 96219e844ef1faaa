"""Leaping over frames of a film gives the frames, and counts, of decoding all of them."""

import logging
import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

import fer_edge.sources.course as module
from fer_edge.pipeline.pace import Pace
from fer_edge.sources.course import Course, Leaps, has_index, survey, why_unclear
from fer_edge.sources.opencv_capture import Capture, open_capture
from fer_edge.sources.packets import is_fresh, packets
from fer_edge.sources.stretch import Span
from fer_edge.sources.video import VideoSource

# 120 frames of 64x48 pixels, a key frame about every 15, made by FFmpeg's libx264 and mpeg4.
FILMS = Path(__file__).parents[1] / "archive" / "films"
CUT = ("h264_b.mp4", "h264_open.mkv", "h264_open.ts", "h264_refresh.mkv", "mpeg4_b.mp4", "vfr.mkv")
"""B-frames, groups that refer across key frames, no index, intra refresh, a varying rate."""


@pytest.fixture
def always(monkeypatch):
    """Leap wherever that is possible, whatever it costs."""
    monkeypatch.setattr(module, "_GAIN", 1e9)
    monkeypatch.setattr(module, "LEAST_GAP", 1)


def read(path, every, leaps=True, span=None, fps=None):
    """The frames of a film, what was counted, and the source."""
    course = survey(path).course() if leaps and span is not None else None
    if course is not None:
        course = course.between(span.begin, span.end, span.begin if span.seek is None else span.seek)
    with VideoSource(path, span, 1, course) as source:
        pace = Pace(every, fps)
        source.chooser = pace.chooses
        source.foresees = pace.foresees if leaps else None
        frames = [(frame.timestamp, zlib.crc32(np.ascontiguousarray(frame.image))) for frame in source]
        stretch = source.stretch
        told = (pace.passed, source.missing, stretch.shown, stretch.first, stretch.behind, stretch.failed)
        return frames, told, source


def spans(path):
    keys = [packet.seconds for packet in packets(path) if packet.key]
    bounds = [(-np.inf, np.inf, None), (-np.inf, keys[4], None), (keys[3], np.inf, keys[2])]
    return [Span(*one) for one in (*bounds, (keys[2], keys[5], keys[1]))]


@pytest.mark.parametrize("name", CUT)
def test_leaps_in_stretches_give_the_frames_of_decoding_all(name, always):
    path = FILMS / name
    leaps = 0
    for span in spans(path):
        for every in (9, 17, 23, 31, 44, 59, 118):
            expected = read(path, every, leaps=False, span=span)
            found = read(path, every, span=span)
            assert found[:2] == expected[:2], (span, every)
            leaps += found[2].stretch.leaps
    assert leaps >= 15


@pytest.mark.parametrize("name", CUT)
def test_leaps_in_whole_films_give_the_frames_of_decoding_all(name, always, monkeypatch):
    path = FILMS / name
    made = []
    leap = Leaps.leap

    def counted(self, capture):
        made.append(leap(self, capture))
        return made[-1]

    monkeypatch.setattr(Leaps, "leap", counted)
    for options in ({"every": 33}, {"every": 50}, {"every": 1, "fps": 0.7}):
        expected = read(path, leaps=False, **options)
        found = read(path, **options)
        assert found[:2] == expected[:2]
        assert 2 <= len(found[0]) <= 5
    assert sum(one is not None for one in made) >= 3


def test_no_leaps_are_made_where_packets_tell_other_times_than_frames(always):
    """In AVI with B-frames, the first frame is shown when the container says that the second one is."""
    path = FILMS / "mpeg4_b.avi"
    expected = read(path, 33, leaps=False)
    assert read(path, 33)[:2] == expected[:2]
    assert len(expected[0]) == 4


def test_few_frames_are_decoded_for_few_that_are_wanted(tmp_path):
    path = tmp_path / "long.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (64, 48))
    for index in range(1500):
        writer.write(np.full((48, 64, 3), index % 250, np.uint8))
    writer.release()
    expected = read(path, 300, leaps=False, span=Span())
    # Time is not measured here: a busy machine may make any leap seem slow.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Leaps.__init__, "__defaults__", (lambda: 0.0,))
        found = read(path, 300, span=Span())
    assert found[:2] == expected[:2]
    assert expected[2].stretch.decoded == 1500
    # A group has 12 frames. Five leaps, and 8 frames with checksums.
    assert found[2].stretch.leaps == 5
    assert found[2].stretch.decoded <= 5 * 24 + 8


class Clumsy(Capture):
    """Seeks land ``off`` seconds from where they should; less than none: nowhere."""

    off = 0.0

    def set(self, key, value):
        if self.off < 0:
            return False
        return super().set(key, value + 1000 * self.off)


@pytest.mark.parametrize("off", [0.36, 0.2, 4.0, -1.0])
@pytest.mark.parametrize("name", ["h264_b.mp4", "h264_open.ts"])
@pytest.mark.parametrize("span", [Span(), None])
def test_where_seeks_land_elsewhere_the_frames_are_the_same(name, off, span, always, monkeypatch):
    path = FILMS / name
    expected = read(path, 40, leaps=False, span=span)
    monkeypatch.setattr("fer_edge.sources.opencv_capture.Capture", Clumsy)
    monkeypatch.setattr(Clumsy, "off", off)
    found = read(path, 40, span=span)
    assert found[:2] == expected[:2]


def test_a_leap_that_costs_more_than_decoding_is_not_made_again():
    course = Course(np.arange(1000) / 25, np.arange(0, 1000, 10), np.ones(100, np.bool_), True)
    now = [0.0]

    class Slow:
        """A seek takes as long as to decode 300 frames."""

        at = -1

        def grab(self):
            now[0] += 1
            self.at += 1
            return True

        def set(self, key, value):
            now[0] += 300
            self.at = round(value / 1000 * 25) - 1

        def get(self, key):
            return 1000 * self.at / 25

    needed = np.zeros(1000, np.bool_)
    needed[::100] = True
    capture = Slow()
    leaps = Leaps(course, needed, 25.0, lambda: pytest.fail("lands where it should"), lambda: now[0])
    made = 0
    while capture.at < 999:
        if capture.at >= 20 and (leap := leaps.leap(capture)):
            made += 1
            assert leap.until * 25 == pytest.approx(100 * (1 + capture.at // 100))
            while capture.at / 25 < leap.until:
                leaps.grab(capture)
        else:
            leaps.grab(capture)
        leaps.saw(capture.at / 25)
    # One leap costs 320; the next one would be expected to cost more than the 100 frames.
    assert 1 <= made <= 3


def test_frames_missing_in_a_film_end_its_leaps():
    course = Course(np.arange(300) / 25, np.arange(0, 300, 10), np.ones(30, np.bool_), True)
    leaps = Leaps(course, np.arange(300) % 100 == 0, 25.0, lambda: pytest.fail("is not asked"))
    leaps.saw(0.0)
    leaps.saw(2 / 25)
    assert leaps.leap(None) is None


def test_a_damaged_film_counts_what_it_counts_without_leaps(tmp_path, caplog):
    """Its container is whole, but a packet before the last wanted frame is not, and its end is cut off."""
    path = tmp_path / "cut.mkv"
    content = (FILMS / "vfr.mkv").read_bytes()
    path.write_bytes(content[: int(0.9 * len(content))])
    with caplog.at_level(logging.WARNING):
        expected = read(path, 40, leaps=False)
    told = list(caplog.messages)
    caplog.clear()
    found = read(path, 40)
    assert found[:2] == expected[:2]
    assert caplog.messages == told


def test_no_film_with_a_broken_container_is_leapt_in(tmp_path, monkeypatch):
    content = bytearray((FILMS / "h264_open.ts").read_bytes())
    del content[188 * 60 : 188 * 75]
    path = tmp_path / "broken.ts"
    path.write_bytes(content)
    expected = read(path, 60, leaps=False)
    monkeypatch.setattr(Leaps, "leap", lambda *_: pytest.fail("leaps"))
    assert read(path, 60)[:2] == expected[:2]
    assert expected[2].missing > 0


def test_packets_are_not_read_for_a_film_whose_frames_are_mostly_wanted(monkeypatch):
    path = FILMS / "h264_b.mp4"
    monkeypatch.setattr("fer_edge.sources.video.survey", lambda *_: pytest.fail("reads packets"))
    assert len(read(path, 5)[0]) == 24
    assert len(read(path, 1, fps=2)[0]) == 10


def test_a_survey_finds_key_frames_and_those_to_which_nothing_refers_across():
    found = {name: survey(FILMS / name) for name in CUT}
    for name, one in found.items():
        assert len(one.times) == 120
        assert one.keys.sum() in range(6, 12)
        assert one.indexed == (not name.endswith(".ts"))
        assert not why_unclear(one.times, 25.0)
        assert not (one.fresh & ~one.keys).any()
    assert found["h264_b.mp4"].fresh.sum() == 11
    assert found["mpeg4_b.mp4"].fresh.sum() == 9
    # The first frame of any stream; the others are recovery points.
    assert found["h264_open.mkv"].fresh.sum() == found["h264_refresh.mkv"].fresh.sum() == 1


def test_slices_of_a_refresh_are_told_from_others():
    def packet(*heads):
        return np.frombuffer(b"".join(b"\0\0\0\1" + bytes([head, 9, 9]) for head in heads), np.uint8)

    assert is_fresh("h264", packet(0x67, 0x68, 0x65))
    assert not is_fresh("h264", packet(0x06, 0x41))
    assert is_fresh("hevc", packet(0x40, 0x42, 0x26)) and is_fresh("hevc", packet(0x28))
    # A clean random access picture: those that lead it refer to before it.
    assert not is_fresh("hevc", packet(0x40, 0x2A))
    assert not is_fresh("av01", packet(0x65)) and not is_fresh("h264", None)


def test_containers_with_an_index(tmp_path):
    assert has_index(FILMS / "h264_b.mp4") and has_index(FILMS / "vfr.mkv")
    for name in ("h264_open.ts", "mpeg2.mpg", "mpeg4_b.avi"):
        assert not has_index(FILMS / name)


@pytest.mark.parametrize(
    ("times", "why"),
    [
        ([], "no times"),
        ([0.0, np.nan], "no times"),
        ([0.0, 0.04, 0.04], "same time"),
        ([0.0, 0.0, 0.0], "same time"),
        ([-0.04, 0.0, 0.04], "before 0"),
        ([0.0, 0.04, 99.0], "clock jumps"),
        ([0.08, 0.0, 0.04], ""),
    ],
)
def test_times_that_do_not_distinguish_frames_are_told(times, why):
    told = why_unclear(np.array(times, np.float64), 25.0)
    assert why in told and bool(told) == bool(why)


def test_opening_again_leaves_no_capture_open(tmp_path, always, monkeypatch):
    """A capture that is left behind would keep a file descriptor of a film for as long as the run lasts."""
    opened = []

    def counted(*arguments):
        opened.append(open_capture(*arguments))
        return opened[-1]

    monkeypatch.setattr("fer_edge.sources.video.open_capture", counted)
    monkeypatch.setattr("fer_edge.sources.opencv_capture.Capture", Clumsy)
    monkeypatch.setattr(Clumsy, "off", 4.0)
    path = shutil.copy(FILMS / "h264_b.mp4", tmp_path / "film.mp4")
    read(path, 40)
    assert len(opened) == 1 + module._MOST_FAILED
    assert not any(capture.opened for capture in opened)
