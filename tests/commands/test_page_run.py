"""``fer-edge run --page``: what is refused at once, and a run that is looked at and ends."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from ports import free_port

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from results import result, tracked

from fer_edge.config import load, reloaded

PATIENCE = 60.0


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def started(started, tmp_path, monkeypatch):
    """Start runs whose state is in ``tmp_path``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return started


def ask(port, path, body=None, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    given = {"Content-Type": "application/json", **dict(headers)}
    connection.request("GET" if body is None else "POST", path, body and json.dumps(body), given)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def await_page(process, port, path="/healthz", wanted=(200,), headers=()):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        try:
            status, content = ask(port, path, headers=headers)
            if status in wanted:
                return content
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("there is no page")


def test_an_address_that_is_taken_is_refused_before_a_camera_is_opened(cli, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        code, out, err = cli("run", "--camera", "/dev/none", "--page", f":{port}")
    assert (code, out) == (2, "")
    assert f"--page 127.0.0.1:{port}: Address already in use; choose another" in err


def test_a_snapshot_that_was_waited_for_is_healthy_between_its_frames(cli, classifier, monkeypatch):
    pytest.importorskip("cv2")
    from sources.web import jpeg, serving, whole

    from fer_edge.outputs.page.page import PageOutput

    write, healthy = PageOutput.write, []

    def looked_at(page, result):
        write(page, result)
        for seconds in (29, 31):
            monkeypatch.setattr(page, "_clock", lambda later=seconds: time.monotonic() + later)
            healthy.append(page.health()[0])

    monkeypatch.setattr(PageOutput, "write", looked_at)
    monkeypatch.setattr("fer_edge.pipeline.reconnect.PAUSES", (0.1,))
    with serving() as running:
        running.answers["/snap.jpg"] = lambda _: (
            404 if len(running.asked) == 1 else whole("image/jpeg", jpeg(20))
        )
        given = ("--wait-for-camera", "--poll", 3, "--every", 10, "--page", "127.0.0.1:0", "--frames", 1)
        code, _, err = cli("run", running.url + "/snap.jpg", *given)
    assert (code, "waiting for it" in err, healthy) == (0, True, [True, False])


def test_a_bad_certificate_is_refused_before_a_camera_is_opened(cli, tmp_path):
    code, out, err = cli(
        "run", "--camera", "/dev/none", "--page", ":0", "--page-tls", f"{tmp_path}/a,{tmp_path}/b"
    )
    assert (code, out) == (2, "")
    assert f"--page-tls: {tmp_path}/a: No such file" in err


def test_pictures_are_refused_in_words_about_the_page(cli, tmp_path):
    cv2 = pytest.importorskip("cv2")
    import numpy as np

    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((48, 48, 3), np.uint8))
    for source in (tmp_path / "x.png", tmp_path):
        code, out, err = cli("run", source, "--page", ":0")
        assert (code, out) == (2, "")
        assert f"--page: {source} has no time in which somebody could look" in err
        assert "--store" not in err


def test_a_bad_token_file_is_refused_before_a_camera_is_opened(cli, tmp_path):
    (tmp_path / "token").write_text("short")
    code, _, err = cli(
        "run", "--camera", "/dev/none", "--page", ":0", "--page-token-file", tmp_path / "token"
    )
    assert code == 2
    assert "16 or more letters" in err


@pytest.mark.parametrize(
    "text", ["8080", "host", ":x", ":70000", "::1:8080", "[::1]", "a b:80", "http://a:80", ""]
)
def test_what_is_no_address_is_told(cli, text):
    code, _, err = cli("run", "--camera", "demo", "--page", text)
    assert code == 2
    assert "--page" in err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--page-picture", "off"), ("--page-host", "a"), ("--page-tls", "a,b"), ("--page-fps", "3")],
)
def test_options_of_the_page_need_one(cli, option, value):
    code, _, err = cli("run", "--camera", "demo", option, value)
    assert code == 2
    assert f"{option} needs --page HOST:PORT" in err


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Shop.example:8443", "shop.example"),
        ("shop.example.", "shop.example"),
        ("door_2", "door_2"),
        ("192.0.2.7:443", "192.0.2.7"),
        ("[2001:DB8::1]:8443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_a_name_of_the_page_is_taken_without_its_port(cli, text, name):
    code, out, _ = cli("run", "--camera", "demo", "--page", ":0", "--page-host", text, "--print-config")
    assert code == 0
    assert f'page_host = ["{name}"]' in out


@pytest.mark.parametrize(
    "text",
    ["https://shop.example", "shop.example/page", "*.shop.example", "shop.example:x", "a b", "tür", ".",
     ":80", "me@shop.example", "[shop]", "a,b", ""],
)  # fmt: skip
def test_what_no_browser_calls_a_page_is_refused_as_its_name(cli, text):
    code, _, err = cli("run", "--camera", "demo", "--page", ":0", "--page-host", text, "--frames", "1")
    assert code == 2
    assert "--page-host" in err
    assert "is not the name of a host, such as shop.example" in err


@pytest.mark.parametrize("fps", ["0", "-1", "31", "nan"])
def test_a_rate_of_pictures_has_limits(cli, fps):
    code, _, err = cli("run", "--camera", "demo", "--page", ":0", "--page-fps", fps)
    assert code == 2
    assert "--page-fps must be more than 0 and at most 30" in err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra_it_is_named(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from fer_edge.cli import main;"
        "sys.exit(main(['run', '--camera', '/dev/none', '--page', ':0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'fer-edge[page]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_visits_are_kept_and_for_how_long_is_told(cli, tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    short = ("run", "--camera", "demo", "--frames", 2)
    code, _, err = cli(*short, "--page", "127.0.0.1:0")
    assert code == 0
    assert f"info: visits are kept for 90 days in {tmp_path / 'fer-edge' / 'store.db'}\n" in err
    code, _, err = cli(*short, "--page", "127.0.0.1:0", "--store", tmp_path / "shop.db", "--keep", 1)
    assert code == 0
    assert f"info: visits are kept for 1 day in {tmp_path / 'shop.db'}\n" in err
    assert "are kept" not in cli(*short)[2]


def test_without_a_page_nothing_of_a_server_is_loaded(tmp_path):
    pytest.importorskip("skimage")
    code = (
        "import sys; from fer_edge.cli import main; main(['run', '--camera', 'demo', '--frames', '1']);"
        "print(sorted({'starlette', 'uvicorn', 'h11', 'asyncio', 'anyio', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_another_page_needs_a_restart():
    before = load({"camera": ("demo",)}, {"FER_EDGE_PAGE": ":8080"}).config
    after = load({"camera": ("demo",)}, {"FER_EDGE_PAGE": ":8081", "FER_EDGE_PAGE_FPS": "5"}).config
    found = reloaded(before, after)
    assert found.left == ("page", "page_fps")
    assert found.config.page == before.page


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_is_looked_at_and_ends_in_time(started, tmp_path, port, number):
    pytest.importorskip("skimage")
    process = started("--camera", "demo", "--page", f":{port}")
    await_page(process, port)
    status, content = ask(port, "/api/state")
    state = json.loads(content)
    assert status == 200
    assert state["cameras"][0]["state"] == "running"
    assert state["page"]["picture"] == "full"
    assert ask(port, "/api/snapshot.jpg")[1][:2] == b"\xff\xd8"
    # Without --store, there is one in the state folder.
    assert (tmp_path / "state" / "fer-edge" / "store.db").is_file()
    assert ask(port, "/api/store")[0] == 200
    assert b"fer_edge_build_info" in ask(port, "/metrics")[1]

    assert ask(port, "/api/session", {"action": "start", "name": "evening"})[0] == 200
    assert json.loads(ask(port, "/api/state")[1])["session"] == "evening"
    assert ask(port, "/api/pause", {"paused": True})[0] == 200
    deadline = time.monotonic() + PATIENCE
    while json.loads(ask(port, "/api/state")[1])["cameras"][0]["state"] != "paused":
        assert time.monotonic() < deadline
    assert json.loads(ask(port, "/healthz")[1])["paused"] is True
    assert ask(port, "/api/pause", {"paused": False})[0] == 200

    with (
        socket.create_connection(("127.0.0.1", port)) as events,
        socket.create_connection(("127.0.0.1", port)),
    ):
        events.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        events.recv(10)
        began = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - began < 10
    assert process.returncode == 0, err
    assert "Traceback" not in err and "uvicorn" not in err.lower()


@pytest.mark.heavy
def test_a_drawn_mask_is_filled_in_every_picture(started, port):
    cv2 = pytest.importorskip("cv2")
    np = pytest.importorskip("numpy")
    pytest.importorskip("skimage")
    process = started("--camera", "demo", "--page", f":{port}")
    await_page(process, port)
    camera = json.loads(ask(port, "/api/state")[1])["cameras"][0]["name"]
    left = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    assert ask(port, "/api/mask", {"camera": camera, "polygons": [left]})[0] == 200
    deadline = time.monotonic() + PATIENCE
    while True:
        jpeg = ask(port, "/api/snapshot.jpg?boxes=0")[1]
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)
        if picture[:, : picture.shape[1] // 2 - 8].max() < 20:
            break
        assert time.monotonic() < deadline
    assert picture[:, picture.shape[1] // 2 + 8 :].max() > 100


@pytest.mark.heavy
def test_the_token_is_shown_in_a_terminal_only(started, tmp_path, port):
    pytest.importorskip("skimage")
    pytest.importorskip("segno")
    process = started("--camera", "demo", "--page", f"0.0.0.0:{port}")
    await_page(process, port)
    assert ask(port, "/api/state")[0] == 401
    token = (tmp_path / "state" / "fer-edge" / "page.token").read_text().strip()
    bearer = {"Authorization": f"Bearer {token}"}
    status, content = ask(port, "/api/state", headers=bearer)
    assert status == 200
    assert json.loads(content)["page"]["picture"] == "blurred"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert token not in err
    assert str(tmp_path / "state" / "fer-edge" / "page.token") in err

    terminal, end = pty.openpty()
    process = started("--camera", "demo", "--page", f"0.0.0.0:{port}", stderr=end)
    os.close(end)
    await_page(process, port)
    process.send_signal(signal.SIGTERM)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    assert f"/?token={token}" in shown.decode()
    assert len(re.findall("[▀▄█]", shown.decode())) > 100


def test_sighup_to_another_store_is_followed_by_page_and_broker(started, port, tmp_path):
    pytest.importorskip("paho.mqtt.enums")
    from fer_edge.outputs.store import StoreOutput
    from fer_edge.store.reader import StoreReader

    # A store that a run before has written, on another camera.
    before = StoreOutput(tmp_path / "b.db", live=True)
    before.open()
    before.write(replace(result(), faces=tracked(), time=datetime.now(UTC)))
    before.end({})
    before.close()
    file = tmp_path / "door.toml"
    head = f'camera = "demo"\npage = ":{port}"\nmqtt = "mqtt://127.0.0.1:9"\nstate_folder = "state"\n'
    file.write_text(head + 'store = "a.db"\n')
    process = started("--config", "door.toml")
    await_page(process, port)
    assert not json.loads(ask(port, "/api/store?camera=door")[1]).get("rows")
    file.write_text(head + 'store = "b.db"\n')
    process.send_signal(signal.SIGHUP)
    end = time.monotonic() + PATIENCE
    while not json.loads(ask(port, "/api/store?camera=door")[1]).get("rows"):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    ids = []
    for path in (tmp_path / "a.db", tmp_path / "b.db"):
        with StoreReader(path) as store:
            ids.append(store.devices()[0].uuid)
    (kept,) = (path for path in (tmp_path / "state" / "mqtt").glob("*.json"))
    while ids[1] not in (told := json.loads(kept.read_text())["stores"]):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert list(told) == ids
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
