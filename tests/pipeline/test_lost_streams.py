"""Streams and cameras that are lost and come back: real servers, and stand-ins for drivers."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import socket
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from pipeline.scripts import ScriptedRecognizer
from sources.rtsp import playing
from sources.web import MJPEG, jpeg, multipart, serving, whole

from fer_edge.errors import SourceLostError
from fer_edge.pipeline import reconnect
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.watch import Watch
from fer_edge.sources import stream

# Clocks, signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSES", (0.1,))


def watching(source, on_state=lambda _: None, **options):
    """A run that gives up after a minute."""
    options = WatchOptions(**{"reconnect": 60.0, **options})
    return Watch(source, options, ScriptedRecognizer(without=set(range(256))), on_state)


def until_back(watch, after=0, meanwhile=lambda: None):
    """Take frames until one comes after a gap; do something ``meanwhile``, before frame ``after``."""
    before = []
    for result in watch:
        if result.gap is not None:
            return before, result
        before.append(result)
        if result.index == after:
            meanwhile()
    raise AssertionError("no gap")


@pytest.mark.skipif(
    tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 12),
    reason="the FFmpeg of this OpenCV gets no frame from the server of the tests",
)
def test_an_rtsp_server_that_ends_the_stream_is_asked_again():
    with playing(frames=40) as port, watching(f"rtsp://me:secret@127.0.0.1:{port}/camera") as watch:
        before, back = until_back(watch)
        assert len(list(itertools.islice(watch, 3))) == 3
    assert before
    assert back.gap.reason == f"rtsp://127.0.0.1:{port}/camera: the stream stopped"
    assert back.timestamp > before[-1].timestamp


@pytest.mark.skipif(
    tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 12),
    reason="the FFmpeg of this OpenCV gets no frame from the server of the tests",
)
def test_an_rtsp_server_that_is_restarted_is_found_again():
    with contextlib.ExitStack() as servers:
        port = servers.enter_context(playing(frames=40))
        refused = []

        def restart(state):
            if state.name == "waiting" and "cannot be opened: refused" in state.reason and not refused:
                refused.append(state.reason)
                servers.enter_context(playing(port))

        with watching(f"rtsp://127.0.0.1:{port}/camera", restart) as watch:
            _, back = until_back(watch, meanwhile=servers.close)
    assert len(refused) == 1
    assert "the stream stopped" in back.gap.reason


@pytest.fixture
def server():
    with serving() as running:
        yield running


def test_an_mjpeg_stream_that_ends_is_asked_again(server):
    server.answers["/video"] = lambda _: (MJPEG, None, multipart([jpeg(20)] * 5, 0.02))
    with watching(server.url + "/video") as watch:
        before, back = until_back(watch)
    assert [result.image.mean() for result in (*before, back)] == pytest.approx(
        [20] * (len(before) + 1), abs=2
    )
    assert back.gap.reason == f"{server.url}/video: the stream stopped"


def test_a_server_that_stalls_after_its_headers_is_asked_again(server, monkeypatch):
    monkeypatch.setattr(stream, "OPEN_TIMEOUT", 0.5)
    stalled = threading.Event()
    reasons = []

    def nothing():
        stalled.wait(30)
        yield b""

    def several():
        yield (MJPEG, None, multipart([jpeg(20)] * 3, 0.02))
        yield (MJPEG, None, nothing())
        yield (MJPEG, None, nothing())
        while True:
            yield (MJPEG, None, multipart([jpeg(60)] * 3, 0.02))

    answers = several()
    server.answers["/video"] = lambda _: next(answers)
    with watching(server.url + "/video", lambda state: reasons.append(state.reason)) as watch:
        _, back = until_back(watch)
    stalled.set()
    assert back.image.mean() == pytest.approx(60, abs=2)
    assert f"{server.url}/video: the stream cannot be opened: no answer within 0.5 s" in reasons
    assert len(server.asked) == 4


def test_a_stream_that_stalls_is_closed_and_asked_again(server):
    stalled = threading.Event()

    def body():
        yield from multipart([jpeg(20)] * 3, 0.02)
        stalled.wait(30)

    server.answers["/video"] = lambda _: (MJPEG, None, body())
    with watching(server.url + "/video", silence=0.5) as watch:
        _, back = until_back(watch)
        stalled.set()
    assert back.gap.reason == f"{server.url}/video: no frame for 0.5 s"


def test_attempts_that_fail_leave_no_files_open(server, monkeypatch):
    """Every kind of failure, over and over: a year has three million attempts."""
    monkeypatch.setattr(stream, "OPEN_TIMEOUT", 0.1)
    monkeypatch.setattr(reconnect, "PAUSES", (0.0,))
    released = threading.Event()

    def nothing():
        released.wait(0.3)
        yield b""

    def kinds():
        yield (MJPEG, None, multipart([jpeg(20)] * 3))
        while True:
            yield 404
            yield (MJPEG, None, nothing())
            yield (MJPEG, None, [])
            yield (MJPEG, None, multipart([jpeg(20)] * 2))

    answers = kinds()
    server.answers["/video"] = lambda _: next(answers)
    counts = []

    def count():
        gc.collect()
        return sum(os.path.realpath(link).startswith("/proc") for link in Path("/proc/self/fd").iterdir())

    with watching(server.url + "/video") as watch:
        for result in watch:
            if result.gap is not None:
                counts.append(count())
            if len(counts) == 5:
                break
    # Sockets of the server in this process close a moment later than ours.
    assert counts[-1] <= counts[1] + 3


@pytest.mark.parametrize("answer", [404, 401, 503, whole("text/html", b"<html>starting</html>")])
def test_a_camera_that_refuses_while_it_starts_is_asked_again(server, answer):
    server.answers["/video"] = lambda _: (MJPEG, None, multipart([jpeg(20)] * 3, 0.02))
    with watching(server.url + "/video") as watch:
        next(watch)
        server.answers["/video"] = lambda _: (
            answer if len(server.asked) < 4 else (MJPEG, None, multipart([jpeg(60)] * 3, 0.02))
        )
        _, back = until_back(watch, after=-1)
    assert back.image.mean() == pytest.approx(60, abs=2)


def test_snapshots_that_fail_for_long_come_back(server):
    answers = itertools.chain([whole("image/jpeg", jpeg(20))] * 3, [500] * 40, itertools.repeat(None))
    server.answers["/snap"] = lambda _: next(answers) or whole("image/jpeg", jpeg(60))
    # On a busy machine 26 answers may take longer than a camera may be silent.
    with watching(server.url + "/snap", poll=0.005, silence=120.0) as watch:
        _, back = until_back(watch)
        assert back.image.mean() == pytest.approx(60, abs=2)
        assert back.gap.reason == f"{server.url}/snap: 26 times in a row no picture; the stream stopped"
        assert watch.source.live


def test_names_that_cannot_be_resolved_are_asked_for_again(server, monkeypatch):
    server.answers["/video"] = lambda _: (MJPEG, None, multipart([jpeg(20)] * 3, 0.02))
    resolve, failures, reasons = socket.getaddrinfo, itertools.count(), []

    def gone(host, *rest, **options):
        if host != "camera.example":
            return resolve(host, *rest, **options)
        if watch_began and next(failures) < 3:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve("127.0.0.1", *rest, **options)

    watch_began = []
    monkeypatch.setattr(socket, "getaddrinfo", gone)
    url = server.url.replace("127.0.0.1", "camera.example") + "/video"
    with watching(url, lambda state: reasons.append(state.reason)) as watch:
        watch_began.append(True)
        until_back(watch)
    assert f"{url}: the stream cannot be opened: Temporary failure in name resolution" in reasons


def test_a_stream_that_became_a_film_is_none(server):
    """As where a web server answers with a picture of a test card."""
    server.answers["/video"] = lambda _: (MJPEG, None, multipart([jpeg(20)] * 3, 0.02))
    reasons = []
    with watching(server.url + "/video", lambda state: reasons.append(state.reason), poll=0.0) as watch:
        next(watch)
        server.answers["/video"] = whole("image/jpeg", jpeg(99))

        def later(state):
            reasons.append(state.reason)
            if "is no camera or live stream" in state.reason:
                server.answers["/video"] = lambda _: (MJPEG, None, multipart([jpeg(60)] * 3, 0.02))

        watch._feed._on_state = later
        _, back = until_back(watch, after=-1)
    assert back.image.mean() == pytest.approx(60, abs=2)


# picamera2


class FakePicamera2:
    """Gives ``frames`` pictures and then none; ``flushes``: whether waiting for one can be given up.

    ``hangs``: closing it never returns.
    """

    frames = 3
    flushes = True
    hangs = False
    instances: list[FakePicamera2] = []  # noqa: RUF012
    released = threading.Event()

    def __init__(self):
        if any(not camera.closed for camera in self.instances):
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.closed = False
        self.left = FakePicamera2.frames
        self.given_up = threading.Event()
        if not self.flushes:
            self.cancel_all_and_flush = None
        self.instances.append(self)

    def create_video_configuration(self, main, lores):
        return {"main": main, "lores": lores}

    def configure(self, configuration):
        pass

    def stream_configuration(self, name):
        return {"size": (48, 32)}

    def start(self):
        pass

    def capture_array(self, name):
        if not self.left:
            (self.given_up if self.flushes else self.released).wait(60)
            raise TimeoutError
        self.left -= 1
        return np.full((48, 64), len(self.instances), np.uint8)

    def cancel_all_and_flush(self):
        self.given_up.set()

    def stop(self):
        if self.hangs:
            self.released.wait(60)

    def close(self):
        self.closed = True


@pytest.fixture
def picamera2(monkeypatch):
    module = types.ModuleType("picamera2")
    module.Picamera2 = FakePicamera2
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(FakePicamera2, "instances", [])
    monkeypatch.setattr(FakePicamera2, "released", threading.Event())
    yield FakePicamera2
    FakePicamera2.released.set()


@pytest.mark.parametrize("flushes", [True, False])
def test_a_pi_camera_that_stops_delivering_is_closed_and_opened_again(picamera2, monkeypatch, flushes):
    monkeypatch.setattr(picamera2, "flushes", flushes)
    with watching("picamera2", silence=0.3) as watch:
        _, back = until_back(watch)
        hanging = [thread for old in watch._feed._hanging for thread in old.threads if thread.is_alive()]
    assert back.gap.reason == "picamera2: no frame for 0.3 s"
    assert back.image.max() == 2
    assert picamera2.instances[0].closed
    # Versions that cannot give up a frame leave a thread behind.
    assert len(hanging) == (0 if flushes else 1)


def test_a_camera_stack_that_hangs_ends_the_run(picamera2, monkeypatch):
    """Nobody can open the camera then; a new process can."""
    monkeypatch.setattr(picamera2, "hangs", True)
    monkeypatch.setattr(reconnect, "HANGS_AFTER", 0.1)
    monkeypatch.setattr(reconnect, "LONGEST_HANGING", 1.0)
    reasons = []
    with (
        pytest.raises(SourceLostError, match=r"picamera2: no frame for 0\.3 s; its driver hangs"),
        watching("picamera2", lambda state: reasons.append(state.reason), silence=0.3) as watch,
    ):
        for _ in watch:
            pass
    assert any("no camera found (Camera __init__" in reason for reason in reasons)
