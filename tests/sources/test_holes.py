"""Frames that films lack: told from pauses by the container, and counted."""

from __future__ import annotations

import logging
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from results import result

from fer_edge.outputs.video import SUFFIXES, VideoOutput
from fer_edge.sources import open_source
from fer_edge.sources.containers import is_broken
from fer_edge.sources.film import Account
from fer_edge.sources.holes import Steps

VARYING = Path(__file__).parents[1] / "archive" / "films" / "vfr.mkv"
"""120 frames, 20 to 90 ms apart."""

FRAMES = 40
CODECS = {"avi": "MJPG", "mkv": "mp4v", "webm": "VP80", "ts": "MPG2", "flv": "FLV1", "mpg": "MPG1"}
every_container = pytest.mark.parametrize("suffix", CODECS)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """The bytes of a film of 40 noisy frames at 25 a second, by suffix."""
    folder = tmp_path_factory.mktemp("films")
    made = {}

    def film(suffix):
        if suffix not in made:
            path = folder / f"film.{suffix}"
            codec = cv2.VideoWriter.fourcc(*CODECS[suffix])
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 25.0, (96, 64))
            if not writer.isOpened():
                pytest.skip(f"this OpenCV cannot write {suffix}")
            rng = np.random.default_rng(3)
            for index in range(FRAMES):
                noise = rng.integers(0, 60, (64, 96, 3), dtype=np.uint8)
                writer.write(noise + np.uint8(3 * index))
            writer.release()
            made[suffix] = path.read_bytes()
        return made[suffix]

    return film


def counted(path):
    """Frames that are given, and those that are counted as missing."""
    with open_source(path) as source:
        given = sum(1 for _ in source)
        return given, source.missing


@every_container
def test_a_whole_film_lacks_nothing(film, tmp_path, suffix, caplog):
    path = tmp_path / f"whole.{suffix}"
    path.write_bytes(film(suffix))
    assert not is_broken(path)
    assert counted(path) == (FRAMES, 0)
    assert caplog.text == ""


@every_container
@pytest.mark.parametrize("filling", ["nothing", "zeros"])
def test_frames_lost_in_the_middle_count_as_missing(film, tmp_path, suffix, filling):
    content = film(suffix)
    start, end = 2 * len(content) // 5 + 7, 3 * len(content) // 5 + 3
    path = tmp_path / f"hole.{suffix}"
    path.write_bytes(content[:start] + (bytes(end - start) if filling == "zeros" else b"") + content[end:])
    assert is_broken(path)
    given, missing = counted(path)
    assert missing > FRAMES / 10
    assert given + missing == pytest.approx(FRAMES, abs=1)


@every_container
def test_a_film_that_was_cut_off_is_not_broken(film, tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    for share in (0.5, 0.61, 0.77):
        path.write_bytes(film(suffix)[: int(share * len(film(suffix)))])
        assert not is_broken(path)


def test_command_fails_where_a_hole_is_more_than_a_tenth(cli, film, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "fer_edge")
    content = film("mkv")
    path = tmp_path / "hole.mkv"
    path.write_bytes(content[: 2 * len(content) // 5] + content[3 * len(content) // 5 :])
    code, out, err = cli("run", path)
    assert code == 1
    assert int(re.search(r"missing (\d+) damaged", out)[1]) > FRAMES / 10
    assert "more than a tenth" in err


def without_frames(content, renumbered):
    """A transport stream without packets 40 % to 60 % of its video, their counters closed up or not."""
    packets = [bytearray(content[at : at + 188]) for at in range(0, len(content), 188)]
    video = [packet for packet in packets if packet[1:3] in (b"\x41\x00", b"\x01\x00")]
    # A frame begins where the unit start is set.
    begins = [index for index, packet in enumerate(video) if packet[1] & 0x40]
    left_out = video[begins[len(begins) * 2 // 5] : begins[len(begins) * 3 // 5]]
    kept = [packet for packet in packets if not any(packet is other for other in left_out)]
    if renumbered:
        count = 0
        for packet in kept:
            if any(packet is other for other in video):
                packet[3] = packet[3] & 0xF0 | count % 16
                count += 1
    return b"".join(map(bytes, kept))


def test_a_gap_of_a_stream_is_a_hole_only_where_its_counters_skip(film, tmp_path):
    content = film("ts")
    hole, pause = tmp_path / "hole.ts", tmp_path / "pause.ts"
    hole.write_bytes(without_frames(content, renumbered=False))
    pause.write_bytes(without_frames(content, renumbered=True))
    assert (is_broken(hole), is_broken(pause)) == (True, False)
    given, missing = counted(hole)
    assert missing > 0
    assert given + missing == FRAMES
    assert counted(pause) == (given, 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pause_of_a_camera_is_no_hole(tmp_path, suffix):
    """At a constant rate but for one pause, and at a varying rate."""
    for name, times in {
        "pause": [*(k / 25 for k in range(20)), *(3 + k / 25 for k in range(20))],
        "varying": np.cumsum([0, 0.04, 0.08, 0.04, 0.4, 0.04, 0.04, 0.2, 1.0] * 4).tolist(),
    }.items():
        path = tmp_path / f"{name}{suffix}"
        output = VideoOutput(path, fps=25.0)
        for index, time in enumerate(times):
            image = np.full((48, 64, 3), 5 * index, np.uint8)
            output.write(result(index=index, timestamp=time, image=image))
        output.close()
        assert not is_broken(path)
        given, missing = counted(path)
        assert missing == 0
        # AVI knows one rate, and repeats frames.
        assert given == len(times) or suffix == ".avi"


def test_a_film_of_a_varying_rate_is_damaged_only_where_it_is(tmp_path, caplog):
    """Matroska tells no number of frames; 166 are guessed from 6.64 s at 25 a second."""
    assert counted(VARYING) == (120, 0)
    assert caplog.text == ""
    content = VARYING.read_bytes()
    path = tmp_path / "hurt.mkv"
    path.write_bytes(content[: len(content) * 97 // 100])
    given, _ = counted(path)
    assert given < 120
    assert f"gives {given} of 166 frames; damaged?" in caplog.text
    caplog.clear()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(300) + content[middle + 300 :])
    given, _ = counted(path)
    assert given < 120
    assert f"gives {given} of 166 frames; damaged?" in caplog.text


def gaps(steps):
    return list(zip(steps.begins, steps.ends, strict=True))


def test_frames_out_of_their_order_make_no_gap():
    steps = Steps(0.04, 60.0)
    for index in (0, 3, 1, 2, 6, 4, 5, 9, 7, 8):
        steps.add(0.04 * index)
    steps.end()
    assert (gaps(steps), steps.jumps, steps.constant) == ([], 0, True)
    assert (steps.first, steps.last) == (0, pytest.approx(0.36))


def test_a_gap_in_frames_out_of_their_order_is_one():
    steps = Steps(0.04, 60.0)
    for index in (0, 1, 2, 3, 13, 11, 12, *range(14, 30)):
        steps.add(0.04 * index)
    steps.end()
    assert gaps(steps) == [(pytest.approx(0.12), pytest.approx(0.44))]
    assert steps.constant


def test_a_film_of_many_gaps_varies():
    steps = Steps(0.04, 60.0)
    for index in range(100):
        steps.add(0.04 * index + 0.2 * (index // 4))
    steps.end()
    assert not steps.constant
    assert len(gaps(steps)) <= 11


def test_gaps_of_a_long_film_take_little_memory():
    """2 hours in which one frame in twelve comes late, 15,000 in all: two numbers each."""
    tracemalloc.start()
    try:
        account = Account("film", 25.0, 0)
        seconds = 0.0
        for index in range(180_000):
            seconds += 0.04 if index % 12 else 0.08
            account.give(account.seconds(index, seconds))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 15_000 * 2 * 8 <= held < 400_000


@pytest.mark.parametrize(
    "content", [b"", b"G", b"RIFF", b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\0\0\1\xba", b"text" * 99]
)
def test_the_beginning_of_a_container_is_not_broken(tmp_path, content):
    (tmp_path / "film").write_bytes(content)
    assert not is_broken(tmp_path / "film")
