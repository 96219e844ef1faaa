"""Stretches of films give the frames that the whole film gives, or say that they cannot."""

import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest

from fer_edge.sources.packets import packets
from fer_edge.sources.stretch import COMPARED, Span, UnclearTimesError
from fer_edge.sources.video import VideoSource

# 120 frames of 64x48 pixels, a key frame about every 15, made by FFmpeg's libx264, mpeg4 and mpeg2video.
FILMS = Path(__file__).parents[1] / "archive" / "films"
CUT = ("h264_b.mp4", "h264_open.mkv", "h264_open.ts", "h264_refresh.mkv", "mpeg4_b.mp4", "vfr.mkv")
"""B-frames, groups that refer across key frames, no index, intra refresh, a varying rate."""


def frames_of(source):
    return [(frame.timestamp, zlib.crc32(np.ascontiguousarray(frame.image))) for frame in source]


def whole(path):
    with VideoSource(path, threads=1) as source:
        return frames_of(source)


def spans(keys, every):
    """Spans that begin at every so many key frames, decoded from the one before."""
    starts = list(range(every, len(keys), every))
    begins = [-1.0, *(keys[index] for index in starts)]
    ends = [*begins[1:], 1e9]
    seeks = [None, *(keys[index - 1] for index in starts)]
    return [Span(*one) for one in zip(begins, ends, seeks, strict=True)]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("name", CUT)
def test_stretches_give_the_frames_of_the_whole_film(name, every):
    path = FILMS / name
    expected = whole(path)
    assert len(expected) == 120
    keys = sorted(packet.seconds for packet in packets(path) if packet.key)
    found, stretches = [], []
    for span in spans(keys, every):
        with VideoSource(path, span, threads=1) as source:
            found += frames_of(source)
            stretches.append(source.stretch)
    assert len(stretches) == (len(keys) + every - 1) // every
    assert found == expected
    for one, following in itertools.pairwise(stretches):
        assert len(following.first) == min(COMPARED, len(following.shown))
        assert one.behind[: len(following.first)] == following.first
    # One group is decoded in vain, and a few frames on the way to it.
    assert max(stretch.decoded - len(stretch.shown) for stretch in stretches) <= 2 * 16 + COMPARED


def test_a_seek_without_the_group_before_shows_in_the_checksums():
    """A stretch that begins in the middle of a group has other pictures, which the comparison finds."""
    path = FILMS / "mpeg4_b.mp4"
    times = [timestamp for timestamp, _ in whole(path)]
    keys = sorted(packet.seconds for packet in packets(path) if packet.key)
    with VideoSource(path, Span(-1.0, keys[3], None), threads=1) as source:
        frames_of(source)
        before = source.stretch
    with VideoSource(path, Span(times[times.index(keys[3]) + 1], 1e9, keys[2]), threads=1) as source:
        frames_of(source)
        shifted = source.stretch
    assert before.behind != shifted.first


@pytest.mark.parametrize("name", ["mpeg4_b.avi", "mpeg2.mpg"])
def test_times_that_do_not_grow_are_refused(name):
    with (
        VideoSource(FILMS / name, Span(), threads=1) as source,
        pytest.raises(UnclearTimesError, match="do not grow"),
    ):
        frames_of(source)


def test_frames_that_are_not_wanted_are_counted_but_not_given():
    path = FILMS / "h264_b.mp4"
    expected = whole(path)
    with VideoSource(path, Span(), threads=1) as source:
        source.chooser = lambda seconds: round(25 * seconds) % 10 == 0
        found = frames_of(source)
        assert found == expected[::10]
        assert source.stretch.shown == [timestamp for timestamp, _ in expected]
