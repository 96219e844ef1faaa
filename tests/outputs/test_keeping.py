"""What is kept of the files of an output: the oldest go first, and nothing else ever."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
from collections import namedtuple
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from results import BEGAN, face, result

from fer_edge.config import load
from fer_edge.errors import DataError, OutputError
from fer_edge.option import BYTES, FILE_LIMIT, FileLimit
from fer_edge.outputs import jsonl, keeping
from fer_edge.outputs.jsonl import JsonLinesOutput
from fer_edge.outputs.keeping import TRUST_AFTER, Keeper, Limits, dated, numbered

pytest.importorskip("cv2")

from fer_edge.outputs.video import VideoOutput

Usage = namedtuple("Usage", "free")
DAY = 86400.0


class Clocks:
    """A wall clock and a monotonic one that only tests move."""

    def __init__(self):
        self.wall, self.now = BEGAN.timestamp(), 1000.0

    def go_on(self, seconds):
        self.wall += seconds
        self.now += seconds


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def disk(monkeypatch):
    """A disk that has ``free`` bytes less those of the files of the folder that is asked about."""
    room = {"free": 10**12}

    def usage(folder):
        taken = sum(path.stat().st_size for path in folder.iterdir())
        return Usage(room["free"] - taken)

    monkeypatch.setattr("fer_edge.outputs.keeping.shutil.disk_usage", usage)
    return room


def keeper(tmp_path, clocks, usual=100, **limits):
    return Keeper(
        "video",
        tmp_path / "door.mkv",
        Limits(**{"free": 0, **limits}),
        usual,
        lambda: clocks.now,
        lambda: clocks.wall,
    )


def segment(tmp_path, clocks, days, size=100):
    """A segment written so many days ago."""
    at = clocks.wall - days * DAY
    path = dated(tmp_path / "door.mkv", datetime.fromtimestamp(at, UTC))
    path.write_bytes(bytes(size))
    os.utime(path, (at, at))
    return path


def left(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "limit", "written"),
    [
        ("20G", FileLimit(size=20_000_000_000), "20G"),
        ("1.5GB", FileLimit(size=1_500_000_000), "1500M"),
        ("2T", FileLimit(size=2_000_000_000_000), "2T"),
        ("30d", FileLimit(seconds=30 * DAY), "30d"),
        ("2w", FileLimit(seconds=14 * DAY), "14d"),
        ("12h", FileLimit(seconds=DAY / 2), "12h"),
        ("1.5d", FileLimit(seconds=1.5 * DAY), "36h"),
    ],
)
def test_limits_are_sizes_or_ages(text, limit, written):
    assert FILE_LIMIT.parse(text) == limit
    assert FILE_LIMIT.write(limit) == written
    assert FILE_LIMIT.parse(written) == limit


@pytest.mark.parametrize("text", ["", "20", "30m", "0d", "-1d", "30 d", "20g", "G", "infd"])
def test_what_is_no_limit(text):
    with pytest.raises(argparse.ArgumentTypeError, match="neither a size such as 20G nor an age such as 30d"):
        FILE_LIMIT.parse(text)


def test_a_limit_below_a_megabyte_is_refused():
    with pytest.raises(argparse.ArgumentTypeError, match="'999k' is too small; 1M is the least"):
        FILE_LIMIT.parse("999k")


@pytest.mark.parametrize(("text", "size"), [("500M", 5 * 10**8), ("0k", 0), ("1.25M", 1_250_000)])
def test_sizes(text, size):
    assert BYTES.parse(text) == size
    assert BYTES.parse(str(BYTES.write(size))) == size


def test_limits_of_options():
    size, age = FileLimit(size=20_000_000), FileLimit(seconds=DAY)
    assert Limits.of((), 7) is None
    assert Limits.of((age, size), 7) == Limits(20_000_000, DAY, 7)
    assert Limits.of((age,), 7) == Limits(None, DAY, 7)


def test_the_oldest_go_until_the_rest_and_a_new_file_are_within_the_size(tmp_path, clocks, disk, caplog):
    paths = [segment(tmp_path, clocks, days) for days in (5, 4, 3, 2, 1)]
    one = keeper(tmp_path, clocks, size=400)
    with caplog.at_level(logging.INFO):
        one.tidy(None)
    # 400 bytes are three old files of 100 and the one that begins.
    assert left(tmp_path) == [path.name for path in paths[2:]]
    assert one.largest == 100
    assert caplog.messages == [f"video: {path} deleted, 0.0 MB: 4e-07 GB are kept" for path in paths[:2]]


def test_files_become_smaller_where_little_is_kept(tmp_path, clocks):
    assert keeper(tmp_path, clocks, usual=2000, size=4000).largest == 1000
    assert keeper(tmp_path, clocks, usual=2000, size=40_000).largest == 2000
    assert keeper(tmp_path, clocks, usual=2000, age=DAY).largest == 2000


def test_only_files_with_the_outputs_name_and_a_time_go(tmp_path, clocks, disk):
    old = segment(tmp_path, clocks, 9)
    numbered(old).write_bytes(b"x")
    others = [
        "door.mkv",
        "door.jsonl",
        "door-20261101T120000Z.mp4",
        "front-door-20261101T120000Z.mkv",
        "door-2026.mkv",
        "door-20261101T120000Z.mkv.part",
        "door-20261101T120000Z-best.mkv",
    ]
    for name in others:
        (tmp_path / name).write_bytes(bytes(100))
    (tmp_path / "film.mkv").write_bytes(b"x")
    (tmp_path / "door-20261102T120000Z.mkv").symlink_to(tmp_path / "film.mkv")
    (tmp_path / "door-20261103T120000Z.mkv").mkdir()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    keeper(tmp_path, clocks, size=1, age=1.0).end(None)
    assert left(tmp_path) == sorted(
        [*others, "film.mkv", "door-20261102T120000Z.mkv", "door-20261103T120000Z.mkv"]
    )


def test_the_file_being_written_stays(tmp_path, clocks, disk):
    segment(tmp_path, clocks, 9)
    writing = segment(tmp_path, clocks, 8)
    keeper(tmp_path, clocks, size=1, age=1.0).end(writing)
    assert left(tmp_path) == [writing.name]


def test_files_go_for_their_age_once_the_clock_was_right_for_ten_minutes(tmp_path, clocks, disk, caplog):
    paths = [segment(tmp_path, clocks, days) for days in (31, 29)]
    one = keeper(tmp_path, clocks, age=30 * DAY)
    one.tidy(None)
    assert left(tmp_path) == sorted(path.name for path in paths)
    clocks.go_on(TRUST_AFTER)
    with caplog.at_level(logging.INFO):
        one.tidy(None)
    assert left(tmp_path) == [paths[1].name]
    assert caplog.messages == [f"video: {paths[0]} deleted, 0.0 MB: older than 30 days"]
    # Later by the hour, without a new file.
    clocks.go_on(DAY)
    one.look(None)
    assert left(tmp_path) == []


@pytest.mark.parametrize("hours", [-20, 20 * 365 * 24])
def test_a_clock_that_is_set_makes_nothing_old(tmp_path, clocks, disk, hours):
    path = segment(tmp_path, clocks, 1)
    one = keeper(tmp_path, clocks, age=30 * DAY)
    clocks.go_on(2 * TRUST_AFTER)
    clocks.wall += 3600 * hours
    one.tidy(None)
    one.end(None)
    clocks.go_on(TRUST_AFTER / 2)
    clocks.wall -= 3600 * hours
    one.tidy(None)
    one.end(None)
    clocks.go_on(TRUST_AFTER)
    one.tidy(None)
    assert left(tmp_path) == [path.name]


def test_a_short_run_deletes_at_its_end(tmp_path, clocks, disk):
    segment(tmp_path, clocks, 31)
    keeper(tmp_path, clocks, age=30 * DAY).end(None)
    assert left(tmp_path) == []


def test_the_oldest_go_until_enough_is_free(tmp_path, clocks, disk, caplog):
    paths = [segment(tmp_path, clocks, days) for days in (5, 4, 3)]
    disk["free"] = 450
    one = keeper(tmp_path, clocks, free=300)
    with caplog.at_level(logging.INFO):
        one.look(None)
    assert left(tmp_path) == [paths[2].name]
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["less than 0 MB were free"] * 2


def test_a_disk_that_others_filled_is_told_once(tmp_path, clocks, disk, caplog):
    writing = segment(tmp_path, clocks, 0)
    disk["free"] = 150
    one = keeper(tmp_path, clocks, free=300)
    for _ in range(20):
        one.look(writing)
        clocks.go_on(1)
    assert caplog.messages == ["video: less than 0 MB are free, and nothing old is left to delete"]
    disk["free"] = 10_000
    one.look(writing)
    clocks.go_on(4000)
    one.look(writing)
    disk["free"] = 150
    one.look(writing)
    assert len(caplog.messages) == 2
    assert left(tmp_path) == [writing.name]


def test_a_file_that_cannot_be_deleted_is_told_and_stops_nothing(tmp_path, clocks, disk, caplog, monkeypatch):
    path = segment(tmp_path, clocks, 31)

    def refuse(self, missing_ok):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(type(path), "unlink", refuse)
    one = keeper(tmp_path, clocks, age=DAY)
    one.end(None)
    one.end(None)
    assert caplog.messages == [f"video: {path}: cannot be deleted: Operation not permitted"] * 2


def indices(path):
    return [json.loads(line)["frame"] for line in path.read_text().splitlines()]


class Wall(datetime):
    """The clock on the wall, set by tests."""

    moment = BEGAN

    @classmethod
    def now(cls, tz=None):
        return cls.moment


@pytest.fixture
def step(monkeypatch, disk):
    """Writes a result after so many seconds of both clocks."""
    now = [100.0]
    monkeypatch.setattr(jsonl.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(jsonl, "datetime", Wall)
    monkeypatch.setattr(Wall, "moment", BEGAN)

    def write(output, index, seconds, *faces):
        now[0] += seconds
        Wall.moment += timedelta(seconds=seconds)
        output.write(result(*faces, index=index))

    return write


def test_lines_begin_a_new_file_each_day(tmp_path, step):
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path, keep=Limits(age=30 * DAY))
    output.open()
    for index in range(9):
        step(output, index, DAY / 4)
    output.close()
    # It is opened at 12:30, so that the second frame is of the next day, and the sixth of the one after it.
    told = {name: indices(tmp_path / name) for name in left(tmp_path)}
    assert told == {
        "log-20261127T003000Z.jsonl": [0],
        "log-20261128T003000Z.jsonl": [1, 2, 3, 4],
        "log.jsonl": [5, 6, 7, 8],
    }


def test_a_clock_that_is_set_back_begins_no_new_file_of_lines(tmp_path, step):
    output = JsonLinesOutput(tmp_path / "log.jsonl", keep=Limits(age=30 * DAY))
    output.open()
    step(output, 0, 10)
    Wall.moment -= timedelta(days=3)
    step(output, 1, 10)
    Wall.moment += timedelta(days=3)
    step(output, 2, 10)
    output.close()
    assert left(tmp_path) == ["log.jsonl"]


def test_lines_appended_on_another_day_begin_a_new_file(tmp_path, step):
    path = tmp_path / "log.jsonl"
    path.write_text('{"frame":7}\n{"fra')
    yesterday = (BEGAN - timedelta(days=1)).timestamp()
    os.utime(path, (yesterday, yesterday))
    output = JsonLinesOutput(path, "append", keep=Limits(age=30 * DAY))
    output.open()
    step(output, 0, 10)
    step(output, 1, 10)
    output.close()
    assert indices(path) == [0, 1]
    assert (tmp_path / "log-20261126T123010Z.jsonl").read_text() == '{"frame":7}\n{"fra\n'


def test_lines_stay_within_their_size_and_every_one_that_is_kept_is_whole(tmp_path, step):
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path, keep=Limits(size=20_000))
    output.open()
    for index in range(200):
        step(output, index, 2, face())
    output.close()
    kept = [*sorted(tmp_path.glob("log-*")), path]
    # Of the size a quarter makes a file, which ends with the line that fills it.
    line = 700
    assert all(5000 <= one.stat().st_size < 5000 + line for one in kept[:-1])
    total = sum(one.stat().st_size for one in kept)
    assert 20_000 - 2 * (5000 + line) < total < 20_000 + line
    frames = [index for one in kept for index in indices(one)]
    assert frames == list(range(frames[0], 200))
    assert frames[0] > 0


def test_without_limits_lines_stay_one_file(tmp_path, step):
    output = JsonLinesOutput(tmp_path / "log.jsonl")
    output.open()
    for index in range(5):
        step(output, index, DAY)
    output.close()
    assert left(tmp_path) == ["log.jsonl"]


def test_lines_behind_a_link_keep_their_place(tmp_path, step):
    (tmp_path / "card").mkdir()
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "card" / "door.jsonl")
    output = JsonLinesOutput(tmp_path / "log.jsonl", keep=Limits(age=DAY))
    output.open()
    step(output, 0, 10)
    step(output, 1, DAY)
    output.close()
    assert (tmp_path / "log.jsonl").is_symlink()
    assert left(tmp_path / "card") == ["door-20261127T123010Z.jsonl", "door.jsonl"]


def test_lines_in_a_folder_that_cannot_be_written_to_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_edge.files.os.access", lambda *_: False)
    with pytest.raises(DataError, match="no permission to write"):
        JsonLinesOutput(tmp_path / "log.jsonl", keep=Limits(age=DAY))


def test_lines_are_put_aside_and_deleted_though_none_comes(tmp_path, step, clocks, monkeypatch):
    monkeypatch.setattr(jsonl, "_LOOK_EVERY", 0.0)
    path, limits = tmp_path / "log.jsonl", Limits(age=30 * DAY, free=0)
    output = JsonLinesOutput(path, keep=limits)
    assert output.idles
    output._keeper = Keeper("jsonl", path, limits, 10**8, lambda: clocks.now, lambda: clocks.wall)
    output.open()
    step(output, 0, 10)
    os.utime(path, (clocks.wall, clocks.wall))
    for days, names in ((1, ["log-20261127T123010Z.jsonl", "log.jsonl"]), (30, ["log.jsonl"])):
        clocks.go_on(days * DAY)
        Wall.moment += timedelta(days=days)
        output.flush()
        assert left(tmp_path) == names
    output.close()


def test_segments_stay_within_their_size(tmp_path, disk):
    """Noise fills the size three times; a segment ends with the first piece beyond a quarter of it."""
    rng = np.random.default_rng(7)
    size, rate = 8_000_000, 10
    output = VideoOutput(tmp_path / "door.mkv", live=True, keep=Limits(size=size))
    most = 0
    for index in range(250):
        picture = rng.integers(0, 255, (120, 160, 3), np.uint8)
        output.write(result(index=index, timestamp=index / rate, image=picture))
        most = max(most, sum(path.stat().st_size for path in tmp_path.iterdir()))
    output.end({})
    output.close()
    kept = sorted(tmp_path.iterdir())
    piece = rate * 100_000
    assert all(size // 4 <= path.stat().st_size < size // 4 + piece for path in kept[:-1])
    assert size // 2 < most < size + piece
    assert len(kept) >= 3
    # The time of the last frame is 24.9 s.
    assert kept[-1].name >= "door-20261126T123020Z.mkv"


def test_a_recording_deletes_its_oldest_before_it_ends_for_a_full_disk(tmp_path, disk, clocks, monkeypatch):
    monkeypatch.setattr("fer_edge.outputs.video.shutil.disk_usage", keeping.shutil.disk_usage)
    old = segment(tmp_path, clocks, 3, size=5_000_000)
    disk["free"] = 40_000_000
    output = VideoOutput(tmp_path / "door.mkv", live=True, keep=Limits(age=300 * DAY, free=20_000_000))
    for index in range(40):
        output.write(result(index=index, timestamp=index / 20))
    assert not old.exists()
    output.close()
    disk["free"] = 20_000_000
    output = VideoOutput(tmp_path / "door.mkv", live=True, keep=Limits(age=300 * DAY, free=20_000_000))
    with pytest.raises(OutputError, match="ends here, because the disk has only 20 MB left"):
        for index in range(40):
            output.write(result(index=index, timestamp=index / 20))
    with contextlib.suppress(OutputError):
        output.close()


def test_a_segment_ends_and_is_deleted_though_no_frame_comes(tmp_path, disk, clocks, monkeypatch):
    monkeypatch.setattr("fer_edge.outputs.video.monotonic", lambda: clocks.now)
    output = VideoOutput(tmp_path / "door.mkv", live=True, segment=600, keep=Limits(age=30 * DAY))
    assert output.idles
    output._keeper = keeper(tmp_path, clocks, age=30 * DAY)
    for index in range(5):
        output.write(result(index=index, timestamp=index / 20))
    clocks.go_on(500)
    output.flush()
    (path,) = tmp_path.iterdir()
    os.utime(path, (clocks.wall, clocks.wall))
    # Shorter than the segment, which goes on with it.
    output.write(result(index=5, timestamp=500))
    output.flush()
    assert left(tmp_path) == [path.name]
    os.utime(path, (clocks.wall, clocks.wall))
    clocks.go_on(31 * DAY)
    output.flush()
    assert left(tmp_path) == []
    output.write(result(index=6, timestamp=31 * DAY + 500))
    output.close()
    assert left(tmp_path) == ["door-20261227T123820Z.mkv"]


def test_parts_of_a_film_are_not_deleted(tmp_path):
    with pytest.raises(DataError, match=r"film\.mkv: parts of a film are not deleted"):
        VideoOutput(tmp_path / "film.mkv", live=False, keep=Limits(age=DAY))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep-files", "1G"], "--keep-files is for the files of --jsonl and --save-video"),
        (["--keep-files", "1G", "--jsonl", "-"], "--keep-files is for the files of --jsonl and --save-video"),
        (
            ["--keep-files", "1G", "--keep-files", "2G", "--jsonl", "x.jsonl"],
            "--keep-files takes one size and one age",
        ),
    ],
)
def test_limits_that_make_no_sense_are_refused(cli, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("run", "--camera", "demo", *options)
    assert code == 2
    assert message in err


def test_a_run_keeps_to_its_limits_and_says_so(cli, tmp_path, caplog):
    pytest.importorskip("skimage")
    old = tmp_path / "door-20250101T000000Z.mkv"
    old.write_bytes(bytes(3_000_000))
    os.utime(old, (0, 0))
    limits = ["--keep-files", "400d", "--keep-files", "5G"]
    outputs = ["--save-video", tmp_path / "door.mkv", "--jsonl", tmp_path / "log.jsonl"]
    code, _, _ = cli("run", "--camera", "demo", "--frames", "3", *outputs, *limits, "--keep-free", "0k")
    assert code == 0
    assert f"video: {old} deleted, 3.0 MB: older than 400 days" in caplog.messages
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".mkv", ".jsonl"]


def test_limits_hold_for_the_files_of_each_of_several_cameras(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_text(
        "keep_files = ['2G', '30d']\njsonl = 'all.jsonl'\n"
        "[[camera]]\nname = 'door'\nsource = '0'\nsave_video = 'door.mkv'\n"
        "[[camera]]\nname = 'till'\nsource = '1'\n"
    )
    config = load({}, {}, str(path)).config
    limits = (FileLimit(size=2_000_000_000), FileLimit(seconds=30 * DAY))
    assert config.keep_files == limits
    assert [camera.config.keep_files for camera in config.cameras] == [limits, ()]
