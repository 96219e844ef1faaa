"""``fer-edge run`` with outputs that exist, fail, hang, or are killed."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest

cv2 = pytest.importorskip("cv2")

from fer_edge.errors import OutputError
from fer_edge.option import duration
from fer_edge.outputs.base import FLUSH_SECONDS
from fer_edge.outputs.video import VideoOutput


def types(path):
    return [json.loads(line)["type"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("option", "name"), [("--save-video", "o.mkv"), ("--save-image", "o.png"), ("--jsonl", "o.jsonl")]
)
def test_no_output_overwrites_a_file_unless_forced(cli, film, tmp_path, option, name):
    path = tmp_path / name
    path.write_text("mine\n")
    code, out, err = cli("run", film, option, path)
    assert (code, out) == (2, "")
    assert name in err and "--force" in err
    assert path.read_text() == "mine\n"
    code, _, _ = cli("run", film, option, path, "--force")
    assert code == 0
    assert not path.read_bytes().startswith(b"mine")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--append"], "--append is for a --jsonl file"),
        (["--force"], "--force is for the files"),
        (["--append", "--force", "--jsonl", "x"], "give one of them"),
        (
            ["--require", "video", "--jsonl", "x"],
            "--require video: there is no such output; give --save-video",
        ),
        (["--segment", "10", "--save-video", "x.mkv"], "'10' is not a duration such as 30s"),
    ],
)
def test_options_that_make_no_sense_are_refused(cli, film, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("run", film, *arguments)
    assert code == 2
    assert words in err
    assert {path.name for path in tmp_path.iterdir()} == {"film.avi"}


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("1h", 3600), ("1.5h", 5400)])
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0s", "-1s", "1d", "m", "1 h", "infs"])
def test_what_is_no_duration(text):
    with pytest.raises(argparse.ArgumentTypeError, match="30s, 10m or 1h"):
        duration(text)


def test_segments_are_as_long_as_asked(cli, film, tmp_path):
    code, _, _ = cli("run", film, "--save-video", tmp_path / "o.mkv", "--segment", "1s")
    assert code == 0
    assert {path.name for path in tmp_path.glob("o*")} == {
        "o.mkv",
        "o-00h00m01s.mkv",
        "o-00h00m02s.mkv",
    }


@pytest.fixture
def broken_video(monkeypatch):
    def fail(self, result):
        raise OutputError("o.mkv: cannot be written: No space left on device")

    monkeypatch.setattr(VideoOutput, "write", fail)


def test_a_failing_output_leaves_the_others_alone_and_gives_exit_1(cli, film, tmp_path, broken_video, caplog):
    code, out, _ = cli("run", film, "--save-video", tmp_path / "o.mkv", "--jsonl", tmp_path / "o.jsonl")
    assert code == 1
    assert caplog.messages == ["video: o.mkv: cannot be written: No space left on device; retrying"]
    assert out.splitlines()[-1].endswith("video lost 25")
    assert types(tmp_path / "o.jsonl") == ["start", *["frame"] * 25, "end"]
    end = json.loads((tmp_path / "o.jsonl").read_text().splitlines()[-1])
    assert end["outputs"]["video"] == {"lost": 25, "dropped": 0}


def test_a_required_output_that_fails_ends_the_run(cli, film, tmp_path, broken_video):
    code, _, err = cli("run", film, "--save-video", tmp_path / "o.mkv", "--require", "video")
    assert code == 1
    assert err.strip() == "fer-edge run: o.mkv: cannot be written: No space left on device"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_told_and_gives_exit_1(cli, film, caplog):
    code, out, _ = cli("run", film, "--jsonl", "/dev/full", "--append")
    assert code == 1
    assert caplog.messages == ["jsonl: /dev/full: cannot be written: No space left on device; retrying"]
    assert out.splitlines()[-1].endswith("jsonl lost 25")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_camera_goes_on_where_standard_output_is_full(tmp_path):
    pytest.importorskip("skimage")
    path = tmp_path / "o.jsonl"
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [*_PROGRAM, "run", "--camera", "demo", "--frames", "10", "--jsonl", path],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == 1
    assert types(path) == ["start", *["frame"] * 10, "end"]
    problem = "stdout: cannot be written: No space left on device"
    told = [line for line in done.stderr.splitlines() if "stdout" in line]
    assert [line.partition("warning: ")[2] for line in told[:-1]] == [f"{problem}; retrying"]
    assert told[-1] == f"fer-edge run: {problem}"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_film_ends_where_standard_output_is_full_and_says_so(film):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [*_PROGRAM, "run", film], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert done.returncode == 1
    assert done.stderr == "fer-edge run: stdout: cannot be written: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("output", ["--jsonl=-", "lines for people"])
def test_a_hanging_reader_does_not_hold_up_the_end(number, output):
    pytest.importorskip("skimage")
    read, write = os.pipe()
    os.write(write, bytes(fcntl.fcntl(write, fcntl.F_GETPIPE_SZ)))
    options = [output] if output.startswith("--") else []
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, "run", "--camera", "demo", *options],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(write)
        try:
            assert process.stderr.readline() == "a frame\n"
            before = time.monotonic()
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            took = time.monotonic() - before
        finally:
            process.kill()
            os.close(read)
    # Records are lost then; lines for people are left out meanwhile.
    assert process.returncode == (1 if options else 0)
    assert ("jsonl: not finished in time" in errors) == bool(options)
    # Two seconds to flush; the rest is for a machine that does other work as well.
    assert took < FLUSH_SECONDS + 20


_PROGRAM = [sys.executable, "-m", "fer_edge"]

_RUN = """
import sys
from fer_edge.cli import main
from fer_edge.outputs.base import Outputs
write = Outputs.write
def told(self, result):
    if result.index == 0: print("a frame", file=sys.stderr, flush=True)
    write(self, result)
Outputs.write = told
sys.exit(main(sys.argv[1:]))
"""
