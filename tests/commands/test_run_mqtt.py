"""``run --mqtt`` and ``fer-edge mqtt``, as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("cv2")
pytest.importorskip("skimage", reason="the demo camera needs scikit-image")
pytest.importorskip("paho.mqtt.enums")

PROGRAM = [sys.executable, "-m", "fer_edge"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path / "state" / "fer-edge"


def run(*arguments, timeout=120):
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port


def test_a_broker_that_is_not_there_costs_a_run_a_line(home):
    with free_port() as port:
        done = run("run", "--camera", "demo", "--frames", 45, "--mqtt", f"mqtt://127.0.0.1:{port}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^45 frames ", done.stdout, re.MULTILINE)
    lines = [line for line in done.stderr.splitlines() if "mqtt" in line]
    assert len(lines) == 1, lines
    assert f"mqtt: 127.0.0.1:{port}: connection refused; trying again" in lines[0]
    # What the broker lacks lies here.
    assert (home / "store.db").is_file()
    assert (home.stat().st_mode & 0o777, len([*(home / "mqtt").iterdir()])) == (0o700, 2)


def test_a_broker_that_hangs_neither_slows_a_run_nor_holds_up_its_end(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        done = run("run", "--camera", "demo", "--frames", 60, "--mqtt", url)
        # Closing alone does not end an accept() that waits.
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert taken
        for one in taken:
            one.close()
    assert done.returncode == 0, done.stderr
    assert "not finished in time" not in done.stderr
    (seconds,) = re.findall(r"^60 frames in ([\d.]+) s", done.stdout, re.MULTILINE)
    # Two seconds of a camera; a hanging connection would take five or more.
    assert float(seconds) < 30


def test_what_does_not_fit_is_refused_before_the_run_begins(cli, home, tmp_path, monkeypatch):
    import cv2
    import numpy as np

    picture = tmp_path / "party.png"
    cv2.imwrite(str(picture), np.zeros((48, 48, 3), np.uint8))
    code, _, err = cli("run", picture, "--mqtt", "mqtt://broker.lan")
    assert code == 2
    assert "--mqtt: " in err
    assert "has no times, so nobody can be tracked" in err
    broker = ("run", "--camera", "demo", "--frames", "1", "--mqtt", "mqtts://broker.lan")
    code, _, err = cli(*broker, "--mqtt-ca", tmp_path / "ca.crt")
    assert (code, err.strip()) == (2, f"fer-edge run: --mqtt-ca {tmp_path}/ca.crt: no such file")
    code, _, err = cli(*broker, "--mqtt-password-file", tmp_path / "none")
    assert code == 2
    assert "--mqtt-password-file is for a URL with a user" in err
    monkeypatch.setitem(sys.modules, "paho.mqtt.enums", None)
    code, _, err = cli(*broker)
    assert code == 2
    assert "MQTT needs paho-mqtt 2: pip install 'fer-edge[mqtt]'" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mqtt", "mqtt://me:s3cret@broker.lan:x"), "mqtt://broker.lan:x"),
        (("--mqtt", "http://me:s3cret@broker.lan"), "is not the URL of a broker; give mqtt[s]://[USER@]HOST"),
        (("--mqtt-name", "shop"), "--mqtt-name needs --mqtt mqtt://HOST"),
        (("--mqtt", "mqtt://broker.lan", "--mqtt-cert", "a.crt"), "'a.crt' is not"),
        (
            ("--mqtt", "mqtt://broker.lan", "--mqtt-cert", "a.crt,a.key"),
            "give --mqtt mqtts://broker.lan:1883",
        ),
        (("--mqtt", "mqtt://broker.lan", "--mqtt-every", "500ms"), "is not a duration"),
        (("--mqtt", "mqtt://broker.lan", "--mqtt-every", "0.5s"), "--mqtt-every must be 1s or more"),
        (("--mqtt", "mqtt://broker.lan", "--mqtt-discovery", "a/+"), "is no prefix of topics"),
        (("--mqtt", "mqtt://broker.lan", "--mqtt-name", "a\nb"), "is no name of a device"),
    ],
)
def test_options_that_are_wrong_are_refused_and_no_password_is_shown(cli, arguments, said):
    code, out, err = cli("run", "--camera", "demo", *arguments)
    assert code == 2
    assert said in err
    assert "s3cret" not in out + err


def test_the_configuration_is_printed_without_the_password(cli):
    code, out, err = cli(
        "run", "--camera", "demo", "--mqtt", "mqtt://me:s3cret@broker.lan/x", "--print-config"
    )
    assert code == 0
    assert 'mqtt = "mqtt://broker.lan/x"' in out
    assert "s3cret" not in out + err


def test_the_announcement_is_printed_without_a_connection(cli, home):
    code, out, _ = cli(
        "mqtt", "--print", "--mqtt", "mqtt://broker.lan", "--mqtt-name", "Shop", "--mqtt-camera"
    )
    assert code == 0
    told = json.loads(out)
    assert told["dev"]["name"] == "Shop"
    assert told["cmps"]["people"]["stat_t"] == "fer-edge/Shop/state"
    assert told["cmps"]["camera_picture"]["p"] == "camera"


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["--camera", "demo"], "demo-camera"),
        (["--camera", "/dev/video2"], "camera-2"),
        (["--camera", "usb:046d:0825"], "usb-046d-0825"),
        (["--camera", "rtsp://me:s3cret@door.lan/stream"], "rtsp-door.lan-stream"),
        ([], "camera-0"),
    ],
)
def test_the_announcement_has_the_topics_of_a_run(cli, home, monkeypatch, given, part):
    monkeypatch.setattr("fer_edge.sources.list_cameras", list)
    monkeypatch.setattr("fer_edge.sources.has_picamera", lambda: False)
    options = ("--mqtt", "mqtt://broker.lan", "--mqtt-name", "q", "--mqtt-camera", *given)
    code, out, _ = cli("mqtt", "--print", *options)
    assert code == 0
    assert json.loads(out)["cmps"]["camera_picture"]["t"] == f"fer-edge/q/camera/{part}/picture"


def test_a_check_or_removal_without_a_broker_fails_with_1_and_without_a_name_with_2(cli, home, tmp_path):
    file = tmp_path / "shop.toml"
    with free_port() as port:
        file.write_text(f'camera = "demo"\nmqtt = "mqtt://me:s3cret@127.0.0.1:{port}"\n')
        for what in ("--check", "--remove"):
            code, _, err = cli("mqtt", what, "--config", file)
            assert (code, err.strip()) == (1, f"fer-edge mqtt: 127.0.0.1:{port}: connection refused")
    code, _, err = cli("mqtt", "--check")
    assert code == 2
    assert "no broker given: add --mqtt mqtt://HOST" in err


# With a broker


@pytest.fixture
def mosquitto(tmp_path):
    from outputs.mosquitto import Mosquitto

    folder = tmp_path / "mosquitto"
    folder.mkdir()
    made = Mosquitto(folder)
    yield made
    made.kill()


@contextlib.contextmanager
def running(*arguments):
    command = [*PROGRAM, "run", "--camera", "demo", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.services
def test_a_run_is_seen_paused_stopped_and_missed_at_a_broker(mosquitto, home, cli):
    from outputs.mosquitto import await_true, kept, reading

    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    options = ("--mqtt", url, "--mqtt-name", "shop", "--mqtt-discovery", "--mqtt-camera")
    with reading(mosquitto.place) as reader:

        def states():
            return [json.loads(one) for one in reader.told("fer-edge/shop/state")]

        with running(*options) as process:
            await_true(lambda: any(one["people"] == 1 for one in states()))
            state = next(one for one in states() if one["people"] == 1)
            assert (state["device"], state["dominant"], state["paused"]) == ("shop", "happy", False)
            await_true(lambda: reader.told("fer-edge/shop/camera/demo-camera/picture"))
            assert reader.told("fer-edge/shop/camera/demo-camera/picture")[0][:3] == b"\xff\xd8\xff"
            assert json.loads(reader.told("fer-edge/shop/people")[0])["event"] == "came"
            code, _, err = cli("mqtt", "--remove", "--mqtt", url, "--mqtt-name", "shop")
            assert code == 1
            assert "the device is online; end its fer-edge run first" in err
            reader.say("fer-edge/shop/pause/set", b"ON")
            await_true(lambda: states()[-1]["paused"])
            await_true(lambda: states()[-1]["people"] == 0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, process.stderr.read()
        assert reader.told("fer-edge/shop/availability") == [b"online", b"stopped"]
        await_true(lambda: len(reader.told("fer-edge/shop/minutes")) >= 1)
        went = [one for one in map(json.loads, reader.told("fer-edge/shop/people")) if one["event"] == "went"]
        assert [(one["track"], one["camera"]) for one in went] == [(1, "demo camera")]
        # It still is paused, and can be told to go on before it has seen a frame.
        with running(*options) as process:
            await_true(lambda: reader.told("fer-edge/shop/availability")[-1] == b"online")
            await_true(lambda: states()[-1]["paused"])
            reader.say("fer-edge/shop/pause/set", b"OFF")
            await_true(lambda: states()[-1]["people"] == 1)
            process.kill()
            process.wait()
            await_true(lambda: reader.told("fer-edge/shop/availability")[-1] == b"offline")
        code, out, _ = cli("mqtt", "--remove", "--mqtt", url, "--mqtt-name", "shop")
        assert code == 0
        assert "shop removed, with 3 retained topics" in out
    assert kept(mosquitto.place) == {}


@pytest.mark.services
def test_a_name_that_no_device_has_is_told_where_it_is_to_be_removed(mosquitto, home, cli):
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    code, out, _ = cli("mqtt", "--remove", "--mqtt", url, "--mqtt-name", "shoop")
    assert code == 0
    assert "the broker holds nothing of a device shoop" in out and "removed" not in out


@pytest.mark.services
def test_a_broker_that_goes_and_comes_leaves_the_rate_of_a_run_alone(mosquitto, home):
    """The same run with and without a broker that is killed, hangs and comes back."""
    rates = {}
    for options in ((), ("--mqtt", f"mqtt://127.0.0.1:{mosquitto.port}", "--mqtt-discovery")):
        with running("--seconds", 6, *options) as process:
            if options:
                time.sleep(2)
                mosquitto.kill()
                time.sleep(1)
                mosquitto.start()
                time.sleep(2)
                mosquitto.send(signal.SIGSTOP)
            out, err = process.communicate(timeout=120)
            if options:
                mosquitto.send(signal.SIGCONT)
        assert process.returncode == 0, err
        rates[bool(options)] = float(re.findall(r"([\d.]+) fps", out)[-1])
    print(rates, os.getloadavg())
    assert rates[True] > 0.5 * rates[False]
