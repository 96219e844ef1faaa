"""``fer-edge run`` on cameras and streams that are lost, come back, or are not there yet."""

from __future__ import annotations

import contextlib
import json
import math
import re
import signal
import subprocess
import sys

import pytest

cv2 = pytest.importorskip("cv2")

from sources.web import MJPEG, jpeg, multipart, serving

from fer_edge.config import load
from fer_edge.option import LIMIT
from fer_edge.sources.cameras import Camera
from fer_edge.sources.demo import DemoSource

# Clocks, signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy


def besides_privacy(err):
    """The lines that are not about what leaves the device, and what is forbidden."""
    return [
        line for line in err.splitlines() if " leaves this device: " not in line and " in the EU " not in line
    ]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("fer_edge.pipeline.reconnect.PAUSES", (0.1,))


@pytest.fixture
def url():
    """A stream that ends after 20 pictures each time it is asked for."""
    with serving() as running:
        running.answers["/video"] = lambda _: (MJPEG, None, multipart([jpeg(20)] * 20, 0.02))
        yield running.url + "/video"


def test_a_lost_stream_is_opened_again_and_the_gap_recorded(cli, tmp_path):
    log = tmp_path / "log.jsonl"
    outputs = ["--jsonl", log, "--save-video", tmp_path / "o.mkv"]
    with serving() as running:
        url = running.url + "/video"
        # A busy machine drops frames: the second time there are as many as it takes, or there is a third one.
        running.answers["/video"] = lambda _: (
            MJPEG,
            None,
            multipart([jpeg(20)] * (20 if len(running.asked) == 1 else 10_000), 0.02),
        )
        code, out, err = cli("run", url, "--frames", 30, "--seconds", 60, *outputs)
    assert code == 0
    lost, back, *_ = besides_privacy(err)
    assert lost.endswith(f"warning: {url}: the stream stopped; opening it again")
    assert f": {url}: back after " in back
    assert "without the camera" in out.splitlines()[-1]
    records = [json.loads(line) for line in log.read_text().splitlines()]
    (at,) = (index for index, record in enumerate(records) if record["type"] == "gap")
    told, after = records[at : at + 2]
    assert (told["reason"], told["lost"], told["paused"]) == (f"{url}: the stream stopped", 0, 0)
    assert after["timestamp"] - records[at - 1]["timestamp"] == pytest.approx(told["seconds"], abs=0.1)
    assert (records[-1]["summary"]["gaps"], records[-1]["summary"]["frames"]) == (1, 30)
    assert records[-1]["summary"]["gap_seconds"] == told["seconds"]
    assert records[0]["options"]["reconnect"] is None
    # A gap of a moment does not end the video.
    assert len(list(tmp_path.glob("o-*.mkv"))) == 1


def test_reconnect_off_ends_the_run_with_1(cli, url):
    code, out, err = cli("run", url, "--reconnect", "off", "--seconds", 60)
    assert (code, besides_privacy(err)) == (1, [f"fer-edge run: {url}: the stream stopped"])
    assert re.search(r"^\d+ frames? in ", out, re.MULTILINE)


@pytest.mark.parametrize("limit", ["1", "1s"])
def test_a_limit_ends_the_run_with_1(cli, limit):
    with serving() as running:
        url = running.url + "/video"
        running.answers["/video"] = lambda _: (
            (MJPEG, None, multipart([jpeg(20)] * 5, 0.02)) if len(running.asked) == 1 else 404
        )
        code, out, err = cli("run", url, "--reconnect", limit, "--seconds", 60)
    assert code == 1
    assert err.splitlines()[-1] == (f"fer-edge run: {url}: the stream stopped; not there again within 1 s")
    # One where a busy machine looked at the newest only.
    assert re.search(r"^[1-5] frames? in ", out, re.MULTILINE)


@pytest.mark.parametrize("value", ["maybe", "-1", "0", "", "inf", "1d"])
def test_reconnect_takes_on_off_or_a_time(cli, value):
    code, _, err = cli("run", "x", f"--reconnect={value}")
    assert code == 2
    assert "neither on nor off nor a time such as 90s or 10m" in err


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("true", math.inf), ('"off"', 0.0), ("false", 0.0), ("1", 1.0), ("2.5", 2.5), ('"10m"', 600.0)],
)
def test_a_file_and_a_variable_say_it_as_the_flag_does(tmp_path, line, seconds):
    path = tmp_path / "door.toml"
    path.write_text(f"reconnect = {line}\nwait_for_camera = true\n")
    watch = load({}, {}, str(path)).config.watch
    assert (watch.reconnect, watch.wait_for_camera) == (seconds, True)
    watch = load({}, {"FER_EDGE_RECONNECT": line.strip('"')}).config.watch
    assert watch.reconnect == seconds
    assert LIMIT.parse(str(LIMIT.write(seconds))) == seconds


def test_a_camera_that_is_missing_at_the_start_ends_the_run_with_2(cli):
    for arguments in ([], ["--reconnect", "on"]):
        code, _, err = cli("run", "http://127.0.0.1:9/video", *arguments)
        assert code == 2
        assert "cannot be opened" in err


def test_a_camera_that_is_missing_at_the_start_is_waited_for(cli, monkeypatch):
    with serving() as running:
        url = running.url + "/video"
        running.answers["/video"] = lambda _: (
            (MJPEG, None, multipart([jpeg(20)] * 20, 0.02)) if len(running.asked) > 3 else 404
        )
        code, out, err = cli("run", url, "--wait-for-camera", "--frames", 3, "--seconds", 60)
    assert code == 0
    first, second, *_ = besides_privacy(err)
    assert f"warning: {url}: the stream cannot be opened: 404 " in first
    assert first.endswith("; waiting for it")
    assert f": {url}: there after " in second
    assert "3 frames in" in out


def test_the_first_camera_has_one_name_and_its_masks_also_where_it_comes_late(cli, tmp_path, monkeypatch):
    class First(DemoSource):
        name = "camera 0"

    listed = iter([[], [], []])
    monkeypatch.setattr(
        "fer_edge.sources.list_cameras", lambda: next(listed, [Camera(0, "late", "uvcvideo", True)])
    )
    monkeypatch.setattr("fer_edge.sources.has_picamera", lambda: False)
    monkeypatch.setattr("fer_edge.sources.open_camera", lambda *_: First())
    whole = [[0, 0], [1, 0], [1, 1], [0, 1]]
    kept = {"version": 1, "paused": False, "masks": {"camera 0": [whole]}}
    (tmp_path / "control-default.json").write_text(json.dumps(kept))
    log = tmp_path / "log.jsonl"
    code, _, err = cli("run", "--wait-for-camera", "--frames", 20, "--jsonl", log, "--state-folder", tmp_path)
    assert (code, "waiting for it" in err, next(listed, None)) == (0, True, None)
    start, *frames, _ = [json.loads(line) for line in log.read_text().splitlines()]
    assert {start["camera"], *(one["camera"] for one in frames)} == {"camera 0"}
    assert not any(one.get("faces") for one in frames), "faces under the remembered mask"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["film.mp4"], "film.mp4: only a camera or a stream can be waited for"),
        (["--camera", "webcam"], "webcam: only a camera or a stream can be waited for"),
        (["--camera", "usb:1:2"], "want usb:VENDOR:PRODUCT"),
    ],
)
def test_only_cameras_and_streams_are_waited_for(cli, arguments, words):
    code, _, err = cli("run", *arguments, "--wait-for-camera")
    assert code == 2
    assert words in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("there", [True, False], ids=["lost", "missing"])
def test_a_signal_while_waiting_ends_the_run_at_once_with_its_summary(number, there):
    with serving() as running, contextlib.ExitStack() as stack:
        running.answers["/video"] = lambda _: (
            (MJPEG, None, multipart([jpeg(20)] * 5, 0.02)) if there and len(running.asked) == 1 else 404
        )
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "fer_edge", "run", f"{running.url}/video", "--wait-for-camera"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.kill)
        read = ""
        while not (waiting := besides_privacy(read)):
            read = process.stderr.readline()
            assert read
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert ("opening it again" if there else "waiting for it") in waiting[0]
    assert (process.returncode, besides_privacy(err)) == (0, [])
    frames = int(re.match(r"(\d+) frames? in ", out.splitlines()[-1])[1])
    assert (frames > 0) == there
