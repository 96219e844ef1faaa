"""What systemd is told, on a real socket: the protocol, and the life of a run."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from fer_edge.pipeline.state import RUNNING, State
from fer_edge.service.heartbeat import STATUS_SECONDS, Heartbeat
from fer_edge.service.notify import Notifier, notifier_from

pytest.importorskip("cv2")

from sources.web import jpeg, serving, whole

RUN = [sys.executable, "-m", "fer_edge", "run"]


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket, with ``address`` as NOTIFY_SOCKET has it and what it was ``told``."""
    with Manager(str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}/notify") as one:
        yield one


class Manager:
    def __init__(self, address):
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def next(self, seconds=60.0):
        """The next message's lines, by their names."""
        self._socket.settimeout(seconds)
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().split("\n"))

    def told(self):
        """All messages that are waiting."""
        messages = []
        while True:
            try:
                messages.append(self.next(0.001))
            except (TimeoutError, BlockingIOError):
                return messages


def test_each_message_is_one_datagram_of_lines(manager):
    notifier = Notifier(manager.address, watchdog=30.0)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.ready("started on\n camera 0")
    notifier.alive("12 frames")
    notifier.alive()
    notifier.reloading()
    notifier.extend(2.5)
    notifier.watch_every(90)
    notifier.stopping("finishing")
    told = manager.told()
    reloaded = int(told[3].pop("MONOTONIC_USEC"))
    assert told == [
        {"READY": "1", "STATUS": "started on camera 0"},
        {"WATCHDOG": "1", "STATUS": "12 frames"},
        {"WATCHDOG": "1"},
        {"RELOADING": "1"},
        {"EXTEND_TIMEOUT_USEC": "2500000"},
        {"WATCHDOG_USEC": "90000000"},
        {"STOPPING": "1", "STATUS": "finishing"},
    ]
    assert before <= reloaded <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_without_a_watchdog_only_the_status_is_told(manager):
    notifier = Notifier(manager.address)
    notifier.alive("12 frames")
    notifier.alive()
    notifier.watch_every(90)
    assert manager.told() == [{"STATUS": "12 frames"}]


def test_a_copy_in_a_forked_process_says_nothing(manager):
    notifier = Notifier(manager.address, watchdog=30.0)
    child = os.fork()
    if not child:
        notifier.alive("the child")
        os._exit(0)
    os.waitpid(child, 0)
    notifier.alive("the parent")
    assert manager.told() == [{"WATCHDOG": "1", "STATUS": "the parent"}]


def test_variables_are_taken_out_of_the_environment(manager):
    environment = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    notifier = notifier_from(environment)
    assert notifier.watchdog == 30.0
    assert environment == {"HOME": "/"}
    notifier.alive()
    assert manager.told() == [{"WATCHDOG": "1"}]


@pytest.mark.parametrize(
    ("variables", "watchdog"),
    [
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "30s"}, None),
        ({"WATCHDOG_USEC": "\u0663"}, None),
        ({}, None),
    ],
)
def test_only_a_watchdog_for_this_process_counts(variables, watchdog):
    assert notifier_from({"NOTIFY_SOCKET": "@nobody", **variables}).watchdog == watchdog


def test_without_a_service_manager_nothing_happens(caplog):
    notifier = notifier_from({"WATCHDOG_USEC": "30000000"})
    assert notifier.watchdog is None
    notifier.ready("started")
    notifier.alive("running")
    assert caplog.records == []


def test_a_socket_of_another_kind_is_told(caplog):
    notifier_from({"NOTIFY_SOCKET": "vsock:2:1234"}).ready("started")
    assert "NOTIFY_SOCKET=vsock:2:1234: neither a path nor @ and a name" in caplog.text


def test_a_manager_that_has_gone_is_told_once_and_ends_nothing(tmp_path, caplog):
    notifier = Notifier(str(tmp_path / "gone"), watchdog=30.0)
    for _ in range(3):
        notifier.alive("running")
    (record,) = caplog.records
    assert record.getMessage() == f"systemd cannot be told at {tmp_path}/gone: No such file or directory"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Frames:
    def __init__(self):
        self.count = 0

    def __call__(self):
        return self.count


def test_life_is_told_after_frames_four_times_within_the_watchdogs_time(manager):
    clock, frames = Clock(), Frames()
    alive = Heartbeat(Notifier(manager.address, watchdog=8.0), frames, clock)
    # Times that are exact as binary numbers: eight frames a second for six seconds.
    for _ in range(48):
        clock.now += 0.125
        frames.count += 1
        alive(RUNNING)
    assert manager.told() == [
        {"WATCHDOG": "1", "STATUS": "frames processed: 1"},
        {"WATCHDOG": "1", "STATUS": "frames processed: 17, 8.0 a second"},
        {"WATCHDOG": "1", "STATUS": "frames processed: 33, 8.0 a second"},
    ]


def test_nothing_is_told_while_no_frame_is_processed(manager):
    clock, frames = Clock(), Frames()
    alive = Heartbeat(Notifier(manager.address, watchdog=8.0), frames, clock)
    alive(RUNNING)
    manager.told()
    clock.now += 3600
    assert manager.told() == []


def test_a_camera_that_is_waited_for_is_told_at_once_with_the_reason_and_then_every_so_often(manager):
    clock, frames = Clock(), Frames()
    alive = Heartbeat(Notifier(manager.address, watchdog=40.0), frames, clock)
    alive(RUNNING)
    for second in range(25):
        clock.now += 1
        alive(State("waiting", "camera 0: /dev/video0 is gone", float(second)))
    clock.now += 1
    alive(RUNNING)
    waiting = {"WATCHDOG": "1", "STATUS": "waiting for camera: camera 0: /dev/video0 is gone"}
    assert STATUS_SECONDS == 10.0
    assert manager.told() == [
        {"WATCHDOG": "1", "STATUS": "frames processed: 0"},
        *[waiting] * 3,
        {"WATCHDOG": "1", "STATUS": "frames processed: 0"},
    ]


@pytest.mark.parametrize(
    ("reason", "status"), [("", "paused"), ("camera 0: is gone", "paused; camera: camera 0: is gone")]
)
def test_a_pause_is_told_and_keeps_the_service_alive(manager, reason, status):
    clock, frames = Clock(), Frames()
    alive = Heartbeat(Notifier(manager.address, watchdog=40.0), frames, clock)
    alive(RUNNING)
    for second in range(25):
        clock.now += 1
        alive(State("paused", reason, float(second)))
    assert manager.told()[1:] == [{"WATCHDOG": "1", "STATUS": status}] * 3


def test_systemd_waits_for_longer_than_no_frame_may_come_as_it_is_then(manager):
    clock, silence = Clock(), [15.0]
    notifier = Notifier(manager.address, watchdog=20.0)
    alive = Heartbeat(notifier, Frames(), clock, lambda: silence[0])
    alive.adapt()
    assert manager.told() == []
    silence[0] = 30.0
    for _ in range(2):
        clock.now += STATUS_SECONDS
        alive(RUNNING)
    running = {"WATCHDOG": "1", "STATUS": "frames processed: 0"}
    assert [one | {"STATUS": running["STATUS"]} for one in manager.told()] == [
        {"WATCHDOG_USEC": "50000000", "STATUS": running["STATUS"]},
        running,
        running,
    ]
    silence[0] = 15.0
    alive.adapt()
    assert (manager.told(), notifier.watchdog) == ([{"WATCHDOG_USEC": "20000000"}], 20.0)


@pytest.fixture
def service(tmp_path):
    """Starts ``fer-edge run`` as systemd would, with a watchdog of half a second; ends it."""
    pytest.importorskip("skimage", reason="the demo camera needs scikit-image")
    started = []

    def start(manager, *arguments):
        environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "500000"}
        started.append(subprocess.Popen([*RUN, *arguments], env=environment, cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.heavy
def test_a_run_is_ready_lives_and_stops_in_this_order(manager, service):
    process = service(manager, "--camera", "demo", "--jsonl", os.devnull, "--append", "--poll", "9")
    assert manager.next() == {"EXTEND_TIMEOUT_USEC": "120000000"}
    # Three times --poll, and what systemd had asked for.
    assert manager.next() == {"WATCHDOG_USEC": "27500000"}
    assert manager.next() == {"READY": "1", "STATUS": "started on demo camera"}
    for _ in range(3):
        message = manager.next()
        assert message["WATCHDOG"] == "1"
        assert re.match(r"frames processed: \d+", message["STATUS"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert manager.told()[-1] == {"STOPPING": "1", "STATUS": "finishing the outputs"}


@pytest.mark.heavy
def test_a_snapshot_that_was_waited_for_has_the_time_that_its_pace_needs(manager, service):
    with serving() as running:
        running.answers["/snap.jpg"] = lambda _: (
            404 if len(running.asked) == 1 else whole("image/jpeg", jpeg(20))
        )
        given = ("--wait-for-camera", "--poll", "3", "--every", "10", "--jsonl", os.devnull, "--append")
        service(manager, running.url + "/snap.jpg", *given)
        told = []
        while not told or "frames processed" not in told[-1].get("STATUS", ""):
            told.append(manager.next())
    # First what any source may be silent for, then ten pictures' time, each with what systemd had asked for.
    assert [one["WATCHDOG_USEC"] for one in told if "WATCHDOG_USEC" in one] == ["15500000", "30500000"]


@pytest.mark.heavy
def test_a_run_whose_classifier_hangs_is_silent_and_says_where_when_it_is_aborted(manager, tmp_path):
    pytest.importorskip("skimage", reason="the demo camera needs scikit-image")
    hung = tmp_path / "hung"
    program = (
        "import sys, time\n"
        "from fer_edge.models.classifier import Classifier\n"
        "from fer_edge.cli import main\n"
        "whole, calls = Classifier.answers, []\n"
        "def answers(self, *rest):\n"
        "    calls.append(1)\n"
        f"    if len(calls) > 5: open({str(hung)!r}, 'w').close()\n"
        "    while len(calls) > 5: time.sleep(1)\n"
        "    return whole(self, *rest)\n"
        "Classifier.answers = answers\n"
        "sys.exit(main(['run', '--camera', 'demo', '--jsonl', '/dev/null', '--append']))\n"
    )
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "500000"}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while "READY" not in manager.next():
                pass
            assert manager.next()["WATCHDOG"] == "1"
            while not hung.exists():
                assert process.poll() is None
                time.sleep(0.05)
            manager.told()
            # Several times as long as from one sign of life to the next.
            with pytest.raises(TimeoutError):
                manager.next(2)
            process.send_signal(signal.SIGABRT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGABRT
    assert "in answers" in told


@pytest.mark.heavy
def test_a_run_with_bad_options_never_gets_ready(manager, service):
    assert service(manager, "--camera", "demo", "--append").wait(60) == 2
    assert manager.told() == []
