"""Pipes, standard input and raw frames."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from sources.pictures import animation, encoded, gradient, grey, write_film

from fer_edge.errors import SourceError
from fer_edge.sources import SourceOptions, open_source
from fer_edge.sources.raw import RawFormat, raw_format

# Clocks, signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy

LEVELS = list(range(20, 220, 10))


def film(path, levels=LEVELS, codec="MJPG"):
    return write_film(path, (grey(level, (64, 48)) for level in levels), codec).read_bytes()


@pytest.fixture
def pipe(tmp_path):
    """Open what is written to a FIFO, a few bytes at a time, as a source."""
    threads = []

    def opened(content, options=None, step=3000):
        path = tmp_path / f"fifo{len(threads)}"
        os.mkfifo(path)

        def write():
            with path.open("wb", buffering=0) as stream:
                try:
                    for start in range(0, len(content), step):
                        stream.write(content[start : start + step])
                except BrokenPipeError:
                    pass

        threads.append(threading.Thread(target=write))
        threads[-1].start()
        return open_source(path, options or SourceOptions())

    yield opened
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def levels(source):
    with source:
        return [round(float(frame.image.mean())) for frame in source]


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("a.ts", "mp4v")])
def test_a_film_through_a_pipe_gives_each_frame_once(pipe, tmp_path, name, codec):
    source = pipe(film(tmp_path / name, codec=codec))
    assert (source.live, source.related, source.blocking) == (False, True, True)
    assert levels(source) == pytest.approx(LEVELS, abs=4)


def test_frames_from_a_pipe_have_their_times(pipe, tmp_path):
    with pipe(film(tmp_path / "a.mkv", codec="mp4v")) as source:
        assert [frame.timestamp for frame in source] == pytest.approx([k / 10 for k in range(20)])


def test_raw_mjpeg_through_a_pipe_is_a_film(pipe):
    source = pipe(b"".join(encoded(".jpg", grey(level)) for level in LEVELS))
    assert source.related
    assert levels(source) == pytest.approx(LEVELS, abs=2)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_a_picture_through_a_pipe_is_a_picture(pipe, suffix):
    source = pipe(encoded(suffix, grey(80)))
    assert not source.related
    assert levels(source) == pytest.approx([80], abs=1)


def test_an_animation_through_a_pipe_is_a_film(pipe):
    assert levels(pipe(animation("GIF", [10, 90, 170], [100] * 3))) == pytest.approx([10, 90, 170], abs=2)


def test_what_is_neither_is_an_error(pipe):
    with pytest.raises(SourceError, match="neither an image nor a video"):
        pipe(b"some text\n" * 100)
    with pytest.raises(SourceError, match="nothing came"):
        pipe(b"")


def test_a_picture_in_a_pipe_is_held_to_the_limit(pipe):
    with (
        pipe(encoded(".png", grey(1)), SourceOptions(max_pixels=700)) as source,
        pytest.raises(SourceError, match="32x24 pixels"),
    ):
        list(source)


def test_closing_early_lets_the_writer_go(pipe, tmp_path):
    content = film(tmp_path / "a.avi", [*range(10, 250)] * 4)
    with pipe(content) as source:
        next(iter(source))


# Raw frames


def planes(picture, layout):
    yuv = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    if layout == "yuv420p":
        return yuv.tobytes()
    height = picture.shape[0]
    chroma = yuv[height:].reshape(2, -1)
    return yuv[:height].tobytes() + np.ascontiguousarray(chroma.T).tobytes()


@pytest.mark.parametrize("pixels", ["bgr24", "rgb24", "gray", "yuv420p", "nv12"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("piped", [False, True])
def test_raw_frames(pipe, tmp_path, pixels, colour, piped):
    picture = gradient(40, 30)
    brightness = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    content = {
        "bgr24": picture.tobytes(),
        "rgb24": picture[:, :, ::-1].tobytes(),
        "gray": brightness.tobytes(),
    }.get(pixels) or planes(picture, pixels)
    options = SourceOptions(raw=raw_format(f"{pixels}:40x30@4"), colour=colour)
    if piped:
        source = pipe(3 * content, options, step=777)
    else:
        (tmp_path / "a.raw").write_bytes(3 * content)
        source = open_source(tmp_path / "a.raw", options)
    with source:
        frames = list(source)
    assert [frame.timestamp for frame in frames] == [0, 0.25, 0.5]
    image = frames[2].image
    if pixels in ("bgr24", "rgb24"):
        assert np.array_equal(image, picture)
    elif pixels == "gray":
        assert np.array_equal(image, brightness)
    elif colour:
        # A quarter of the colour is kept.
        assert np.abs(image.astype(int) - picture)[6:, 6:].max() <= 6
    else:
        assert image.shape == (30, 40)
        assert np.abs(image * 1.0 - (16 + brightness * (219 / 255))).max() <= 1.5
        yuv = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        assert np.array_equal(frames[2].chroma, yuv[30:].reshape(2, 15, 20))
    assert (frames[2].chroma is None) == (colour or not raw_format(f"{pixels}:40x30").planar)


def test_half_a_raw_frame_is_missing(tmp_path, caplog):
    (tmp_path / "a.raw").write_bytes(bytes(250))
    with open_source(tmp_path / "a.raw", SourceOptions(raw=RawFormat("gray", 10, 10))) as source:
        assert len(list(source)) == 2
        assert source.missing == 1
    assert "the last frame has 50 of 100 bytes" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bgr24", "want FORMAT"),
        ("bgr24:640", "want FORMAT"),
        ("h264:640x480", "want one of bgr24"),
        ("nv12:641x480", "even width and height"),
        ("gray:0x480", "want 1x1 or more, and more than 0"),
    ],
)
def test_raw_formats_that_cannot_be_are_refused(text, words, cli, tmp_path):
    with pytest.raises(ValueError, match=words):
        raw_format(text)
    (tmp_path / "a.raw").write_bytes(bytes(100))
    code, _, err = cli("run", tmp_path / "a.raw", "--raw", text)
    assert code == 2
    assert words in err


def test_raw_frames_do_not_come_from_a_url_however_long_it_is_waited_for(cli):
    code, _, err = cli(
        "run", "http://127.0.0.1:9/x", "--wait-for-camera", "--raw", "gray:40x30", "--seconds", "3"
    )
    assert code == 2
    assert "raw frames come from a file or pipe, not from a URL" in err


def test_the_form_of_raw_frames_leaves_a_camera_beside_them_alone(cli):
    """An option for all of several sources, or of a file that names another one."""
    code, _, err = cli("run", "--camera", "demo", "--raw", "gray:40x30", "--frames", "2")
    assert code == 0, err


# The command itself, whose standard input is a pipe


def fer_edge(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "fer_edge", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=False,
        **options,
    )


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_run_reads_standard_input(tmp_path, name):
    out, err = fer_edge("run", name).communicate(film(tmp_path / "a.avi"), timeout=60)
    assert b"20 frames in" in out, err


def test_run_reads_a_film_that_is_redirected(tmp_path):
    film(tmp_path / "a.avi")
    with (tmp_path / "a.avi").open("rb") as stream:
        result = subprocess.run(
            [sys.executable, "-m", "fer_edge", "run", "-"], stdin=stream, capture_output=True, timeout=60
        )
    assert b"20 frames in" in result.stdout, result.stderr


def test_predict_reads_a_picture_from_standard_input_but_no_film(tmp_path):
    out, _ = fer_edge("predict", "-", "--crops").communicate(encoded(".png", gradient()), timeout=60)
    assert out.startswith(b"/dev/stdin  1 face: ")
    process = fer_edge("predict", "-")
    _, err = process.communicate(film(tmp_path / "a.avi"), timeout=60)
    assert process.returncode == 2
    assert b"a film comes through this pipe; fer-edge run reads it" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_on_a_pipe_that_falls_silent_can_be_stopped(tmp_path, number):
    process = fer_edge("run", "-", "--jsonl", "-")
    try:
        content = film(tmp_path / "a.avi", [*range(10, 250)])
        process.stdin.write(content[: len(content) * 3 // 4])
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(number)
        process.wait(timeout=30)
        assert time.monotonic() - began < 15
        assert re.search(rb"\d frames? in ", process.stderr.read())
    finally:
        process.kill()
        process.communicate()
