"""Recordings: each frame at its own time, in files that survive whatever ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from results import face, gap, result

from fer_edge.errors import DataError, OutputError
from fer_edge.outputs.mpeg4 import _packets
from fer_edge.outputs.video import SUFFIXES, VideoOutput

every_container = pytest.mark.parametrize("suffix", SUFFIXES)


def film(path):
    """Times in seconds and mean levels of the frames, and what the file says of itself."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    times, levels = [], []
    while True:
        ok, image = capture.read()
        if not ok:
            break
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        levels.append(float(image.mean()))
    return SimpleNamespace(
        times=times,
        levels=levels,
        fps=capture.get(cv2.CAP_PROP_FPS),
        told=capture.get(cv2.CAP_PROP_FRAME_COUNT),
    )


def grey(level, shape=(480, 640, 3)):
    return np.full(shape, level, np.uint8)


def level_of(index):
    return 20 + 10 * (index % 20)


def record(output, times, **options):
    for index, time in enumerate(times):
        output.write(result(index=index, timestamp=time, image=grey(level_of(index)), **options))
    output.close()


@every_container
def test_video_of_a_recording_has_every_frame_once(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    output = VideoOutput(path, fps=12.0)
    for index in range(30):
        output.write(result(face(), index=index, timestamp=index / 12))
    output.close()
    written = film(path)
    assert written.times == pytest.approx([k / 12 for k in range(30)], abs=0.001)
    assert (written.told, written.fps) == (30, pytest.approx(12))
    assert list(tmp_path.iterdir()) == [path]


@every_container
def test_frames_have_the_times_at_which_they_came(tmp_path, suffix):
    """As a telephone films; on AVI's grid of 60 a second."""
    times = [0, 0.1, 0.2, 0.4, 0.8, 1.2, 1.25, 3.0, 3.1]
    path = tmp_path / f"out{suffix}"
    record(VideoOutput(path, fps=3.2), times)
    written = film(path)
    assert written.times == pytest.approx(times, abs=0.009 if suffix == ".avi" else 0.001)
    assert written.levels == pytest.approx([level_of(k) for k in range(9)], abs=4.5)


@every_container
def test_video_of_a_live_source_keeps_real_time_and_tells_it_in_its_name(tmp_path, suffix):
    output = VideoOutput(tmp_path / f"out{suffix}", live=True)
    # 2 s at 30 a second, then one frame after a pause of a second.
    times = [5 + k / 30 for k in range(61)] + [8.0]
    record(output, times)
    (path,) = tmp_path.iterdir()
    assert path.name == f"out-20261126T123005Z{suffix}"
    assert film(path).times == pytest.approx([time - 5 for time in times], abs=0.009)


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    (tmp_path / "out-20261126T123000Z.mkv").write_bytes(b"mine")
    for _ in range(2):
        record(VideoOutput(tmp_path / "out.mkv", live=True, force=True), [0.0, 0.1])
    assert {path.name for path in tmp_path.iterdir()} == {
        "out-20261126T123000Z.mkv",
        "out-20261126T123000Z-2.mkv",
        "out-20261126T123000Z-3.mkv",
    }
    assert (tmp_path / "out-20261126T123000Z.mkv").read_bytes() == b"mine"


@every_container
def test_segments_hold_every_frame_once_and_are_named_by_time(tmp_path, suffix):
    times = [k / 10 for k in range(65)]
    record(VideoOutput(tmp_path / f"out{suffix}", fps=10, segment=3), times)
    record(VideoOutput(tmp_path / f"live{suffix}", live=True, segment=3), times)
    lengths = {path.name: len(film(path).times) for path in tmp_path.iterdir()}
    assert lengths == {
        f"out{suffix}": 30,
        f"out-00h00m03s{suffix}": 30,
        f"out-00h00m06s{suffix}": 5,
        f"live-20261126T123000Z{suffix}": 30,
        f"live-20261126T123003Z{suffix}": 30,
        f"live-20261126T123006Z{suffix}": 5,
    }
    assert film(tmp_path / f"out-00h00m03s{suffix}").times[0] == 0
    assert film(tmp_path / f"out-00h00m03s{suffix}").levels[0] == pytest.approx(level_of(30), abs=4.5)


def test_a_source_that_begins_anew_begins_a_segment(tmp_path):
    record(VideoOutput(tmp_path / "out.mkv", live=True), [50.0, 50.1, 50.05, 0.0, 0.1])
    (first, second) = sorted(tmp_path.iterdir(), key=lambda path: -len(film(path).times))
    assert film(first).times == pytest.approx([0, 0.1, 0.101])
    assert film(second).times == pytest.approx([0, 0.1])


def lost(output, before, seconds, after):
    """Record frames ``before`` and ``after`` a gap of that many seconds."""
    end = before[-1] + seconds
    for time in before:
        output.write(result(timestamp=time))
    for index, time in enumerate(after):
        told = None if index else gap(seconds)
        output.write(result(timestamp=end + time, gap=told))
    output.close()


@every_container
def test_a_long_gap_ends_the_segment_and_the_next_has_the_time_after_it(tmp_path, suffix):
    lost(VideoOutput(tmp_path / f"out{suffix}", live=True), [0.0, 0.1, 0.2], 100, [0.0, 0.1])
    times = {path.name: film(path).times for path in tmp_path.iterdir()}
    assert times == {
        f"out-20261126T123000Z{suffix}": pytest.approx([0, 0.1, 0.2], abs=0.009),
        f"out-20261126T123140Z{suffix}": pytest.approx([0, 0.1], abs=0.009),
    }


@every_container
def test_after_a_short_gap_the_film_goes_on_at_its_own_time(tmp_path, suffix):
    """A camera that comes and goes all day must not leave thousands of files."""
    lost(VideoOutput(tmp_path / f"out{suffix}", live=True), [0.0, 0.1, 0.2], 9.9, [0.0, 0.1])
    (path,) = tmp_path.iterdir()
    assert film(path).times == pytest.approx([0, 0.1, 0.2, 10.1, 10.2], abs=0.009)


def test_a_gap_does_not_end_a_pipe(tmp_path):
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        lost(VideoOutput(pipe, live=True), [0.0, 0.1], 100, [0.0, 0.1])
        (tmp_path / "copy.mkv").write_bytes(reader.stdout.read())
    assert film(tmp_path / "copy.mkv").times == pytest.approx([0, 0.1, 100.1, 100.2], abs=0.001)


@every_container
def test_a_video_that_exists_is_kept_unless_forced(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match=rf"out{suffix}: exists already; --force"):
        VideoOutput(path)
    assert path.read_bytes() == b"mine"
    record(VideoOutput(path, force=True), [0.0, 0.1])
    assert len(film(path).times) == 2


def test_a_later_segment_replaces_nothing_unless_forced(tmp_path):
    later = tmp_path / "out-00h00m01s.mkv"
    later.write_bytes(b"mine")
    record(VideoOutput(tmp_path / "out.mkv", segment=1), [0.0, 0.5, 1.0])
    assert later.read_bytes() == b"mine"
    assert len(film(tmp_path / "out-00h00m01s-2.mkv").times) == 1
    record(VideoOutput(tmp_path / "out.mkv", segment=1, force=True), [0.0, 0.5, 1.0])
    assert len(film(later).times) == 1


@pytest.mark.parametrize("force", [False, True])
def test_a_video_that_is_continued_replaces_nothing(tmp_path, force):
    path, begun = tmp_path / "out.mkv", set()
    record(VideoOutput(path, segment=1, begun=begun), [0.0, 0.5, 1.0])
    record(VideoOutput(path, force=force, begun=begun), [1.2, 1.3, 1.4])
    parts = ["out.mkv", "out-00h00m01s.mkv", "out-00h00m01s-2.mkv"]
    assert [len(film(tmp_path / part).times) for part in parts] == [2, 1, 3]


def test_video_scales_frames_of_another_size(tmp_path):
    path = tmp_path / "out.avi"
    output = VideoOutput(path, fps=10)
    for index, shape in enumerate([(480, 640, 3), (600, 800, 3)]):
        output.write(result(index=index, timestamp=index / 10, image=grey(60 + 100 * index, shape)))
    output.close()
    assert film(path).levels == pytest.approx([60, 160], abs=4.5)


@every_container
def test_frames_of_odd_size_lose_a_row_and_a_column(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    output = VideoOutput(path)
    output.write(result(image=grey(60, (481, 641, 3))))
    output.close()
    assert cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).read()[1].shape == (480, 640, 3)


def test_video_without_frames_is_no_file(tmp_path):
    VideoOutput(tmp_path / "out.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_video_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    with pytest.raises(DataError, match=r"\.mp4, \.avi, \.mkv"):
        VideoOutput(tmp_path / "out.gif")
    with pytest.raises(DataError, match="does not exist"):
        VideoOutput(tmp_path / "missing" / "out.mp4")


def test_codec_that_is_missing_leaves_no_file(tmp_path, monkeypatch):
    class Closed:
        def __init__(self, *_):
            pass

        def isOpened(self):
            return False

    monkeypatch.setattr(cv2, "VideoWriter", type("Closed", (Closed,), {"fourcc": lambda *_: 0}))
    output = VideoOutput(tmp_path / "out.mp4")
    with pytest.raises(OutputError, match=r"out\.mp4: this OpenCV cannot encode MPEG-4 at 480x360"):
        output.write(result())
    output.close()
    assert list(tmp_path.iterdir()) == []


@every_container
def test_a_video_ends_whole_before_the_disk_is_full(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"out{suffix}"
    output = VideoOutput(path, fps=10)
    free = [10**9]
    monkeypatch.setattr(
        "fer_edge.outputs.video.shutil.disk_usage", lambda folder: SimpleNamespace(free=free[0])
    )
    for index in range(11):
        output.write(result(index=index, timestamp=index / 10))
    assert output.pending == 1
    free[0] = 15_000_000
    with pytest.raises(OutputError, match="ends here, because the disk has only 15 MB left"):
        output.flush()
    assert output.pending == 0
    output.close()
    assert len(film(path).times) == 10


@every_container
def test_a_disk_that_is_full_leaves_what_was_written(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"out{suffix}"
    output = VideoOutput(path)
    output.write(result(timestamp=0))
    output.flush()
    size = path.stat().st_size
    write = os.write

    def half(descriptor, data):
        if descriptor == output._file._descriptor:
            if len(data) < 20:
                raise OSError(28, "No space left on device")
            data = data[: len(data) // 2]
        return write(descriptor, data)

    output.write(result(timestamp=0.1))
    monkeypatch.setattr("fer_edge.outputs.base.os.write", half)
    with pytest.raises(OutputError, match=r"out\.\w+: cannot be written: No space left"):
        output.flush()
    monkeypatch.undo()
    assert path.stat().st_size == size
    output.write(result(timestamp=0.2))
    output.close()
    assert film(path).times == pytest.approx([0, 0.2], abs=0.009)


@every_container
def test_a_recording_survives_kill_9_and_nothing_else_is_left(tmp_path, suffix):
    """12 s of film, killed right after the last frame: what came 2 s before the end is there."""
    program = (
        "import os, sys\n"
        "from fer_edge.outputs.video import VideoOutput\n"
        "from results import face, result\n"
        "output = VideoOutput(sys.argv[1], live=True)\n"
        "for k in range(180):\n"
        "    output.write(result(face(), index=k, timestamp=k / 15))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / f"out{suffix}"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == -signal.SIGKILL
    (path,) = tmp_path.iterdir()
    written = film(path)
    assert written.times == pytest.approx([k / 15 for k in range(165)], abs=0.009)
    assert written.told == pytest.approx(165 if suffix != ".avi" else 660, abs=4 if suffix != ".mkv" else 170)


def test_a_pipe_gets_the_film_as_it_grows(tmp_path):
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        record(VideoOutput(pipe, live=True, segment=1), [k / 10 for k in range(25)])
        (tmp_path / "copy.mkv").write_bytes(reader.stdout.read())
    assert film(tmp_path / "copy.mkv").times == pytest.approx([k / 10 for k in range(25)], abs=0.001)
    assert pipe.is_fifo()


def test_a_name_that_is_not_utf8_is_written(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mkv")
    record(VideoOutput(path), [0.0, 0.1])
    assert path.read_bytes().startswith(b"\x1aE\xdf\xa3")


@pytest.mark.heavy
def test_memory_does_not_grow_with_the_film(tmp_path):
    """The process's peak after 100 and after 1,100 pieces; 74 bytes a frame would be 2 MB."""
    program = (
        "import resource, sys\n"
        "import numpy as np\n"
        "import fer_edge.outputs.video as video\n"
        "from results import result\n"
        "video.annotated = lambda result, unsure: result.image\n"
        "output = video.VideoOutput(sys.argv[1], segment=10**6)\n"
        "picture = np.full((32, 32, 3), 60, np.uint8)\n"
        "for k in range(33_000):\n"
        "    if k == 3_000: before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    output.write(result(index=k, timestamp=k / 30, image=picture))\n"
        "output.close()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "out.mp4"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 1000  # KiB


def test_a_piece_that_had_no_memory_gives_the_pictures_that_are_whole():
    one, two = b"00dc\x04\0\0\0abcd", b"00dc\x06\0\0\0abcdef"
    assert _packets(b"RIFF movi" + one + two) == [b"abcd", b"abcdef"]
    assert _packets(b"RIFF movi" + one + two[:-1]) == [b"abcd"]
    assert _packets(b"RIFF movi" + one + two[:7]) == [b"abcd"]
    assert _packets(b"RIFF") == []
