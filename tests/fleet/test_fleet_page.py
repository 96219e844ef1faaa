"""The page of a fleet: its figures, and that it is as closed as the page of a run."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import threading
from datetime import datetime

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
prometheus = pytest.importorskip("prometheus_client.parser")
pytest.importorskip("paho.mqtt.enums")

from fer_edge.fleet.board import Board
from fer_edge.fleet.page import FleetPage
from fer_edge.option import Address
from fer_edge.outputs.page.gate import CSP
from fer_edge.outputs.page.page import Door, PageOptions

NOW = 1_790_000_000.0
GETS = ("/", "/page.css", "/fleet.css", "/fleet.js", "/api/devices", "/metrics")
ODD = '<img src=x onerror="alert(1)">'


def filled():
    board = Board(lambda: NOW)
    board.broker = None
    board.hear("shop", retained=False)
    board.is_available("shop", "online")
    board.show("shop", {
        "people": 3, "people_today": 40, "fer_edge": "0.2.0", "temperature": 61.5, "fps": 14.5,
        "cameras": [{"name": "door", "state": "waiting", "reason": ODD}],
    })  # fmt: skip
    board.misses("shop", 7, 2)
    board.has_minutes("shop", 1_789_999_980_000)
    board.is_available("bar", "stopped")
    board.refuse(ODD, "malformed", "minutes: not JSON")
    board.counts["rows"] = 12
    return board


@contextlib.contextmanager
def served(tmp_path, **options):
    door = Door(PageOptions(Address("127.0.0.1", 0), **options), lambda: tmp_path)
    page = FleetPage(door, filled())
    page.start()
    try:
        yield page, door.port
    finally:
        page.close()


def ask(port, path, headers=(), host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}", **dict(headers)})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_the_devices_are_told_as_they_are(tmp_path):
    with served(tmp_path) as (_, port):
        status, headers, body = ask(port, "/api/devices")
        told = json.loads(body)
        assert status == 200 and headers["content-type"] == "application/json"
        assert told["version"] == 1 and told["broker"] == {"connected": True, "reason": None}
        assert told["states"] == {"offline": 1, "stopped": 1, "problem": 1}
        by_name = {one["name"]: one for one in told["devices"]}
        assert by_name["shop"] == {
            "name": "shop", "state": "problem", "seen": "2026-09-21T14:13:20.000Z", "people": 3,
            "people_today": 40, "cameras": 1, "problem": f"door: {ODD}", "fer_edge": "0.2.0",
            "temperature": 61.5, "throttled": False, "fps": 14.5,
            "minutes_until": "2026-09-21T14:13:00.000Z", "missing": 7, "lost": 2, "faults": 0, "fault": None,
        }  # fmt: skip
        assert by_name[ODD]["faults"] == 1 and by_name["bar"]["people"] is None


def test_every_answer_has_the_headers_of_the_page_of_a_run(tmp_path):
    with served(tmp_path) as (_, port):
        for path in (*GETS, "/healthz", "/nothing"):
            status, headers, _ = ask(port, path)
            assert status == (404 if path == "/nothing" else 200), path
            assert headers["content-security-policy"] == CSP
            assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"


def test_another_name_or_site_is_refused(tmp_path):
    with served(tmp_path) as (_, port):
        for path in GETS:
            assert ask(port, path, host="evil.example")[0] == 421
            assert ask(port, path, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"})[0] == 403
        assert ask(port, "/api/devices", {"X-Forwarded-For": "192.0.2.1"})[0] == 403


def test_without_the_token_only_the_health_is_told(tmp_path):
    token = tmp_path / "token"
    token.write_text("correct-horse-battery\n")
    token.chmod(0o600)
    with served(tmp_path, token_file=str(token)) as (_, port):
        for path in GETS:
            assert ask(port, path)[0] == (200 if path == "/page.css" else 401), path
        status, _, body = ask(port, "/healthz")
        assert status == 200 and json.loads(body) == {"ok": True, "broker": True, "store": True}
        bearer = {"Authorization": "Bearer correct-horse-battery"}
        assert all(ask(port, path, bearer)[0] == 200 for path in GETS)
        status, headers, _ = ask(port, "/?token=correct-horse-battery")
        assert status == 303 and re.match(rf"fer_edge_fleet_{port}=\w+;.*HttpOnly", headers["set-cookie"])


def test_a_run_with_the_same_state_folder_has_another_token(tmp_path, monkeypatch):
    import fer_edge.outputs.page.page as module
    from fer_edge.commands.fleet import _door

    # As where the pages are open to the network.
    monkeypatch.setattr(module, "is_loopback", lambda _: False)
    args = argparse.Namespace(
        page=Address("127.0.0.1", 0),
        page_tls=None,
        page_host=(),
        page_token_file=None,
        state_folder=str(tmp_path),
    )
    with contextlib.ExitStack() as stack:
        fleet = _door(args, stack)
        run = Door(PageOptions(Address("127.0.0.1", 0)), lambda: tmp_path)
        stack.callback(run.close)
        assert (fleet.token_path.name, run.token_path.name) == ("fleet.token", "page.token")
        assert fleet.key.token != run.key.token and fleet.key.cookie != run.key.cookie
        page = FleetPage(fleet, filled())
        page.start()
        try:
            cookie = f"fer_edge_fleet_{fleet.port}="
            for token, status in ((run.key.token, 401), (fleet.key.token, 200)):
                assert ask(fleet.port, "/", {"Authorization": f"Bearer {token}"})[0] == status
            for value, status in ((run.key.cookie, 401), (fleet.key.cookie, 200)):
                assert ask(fleet.port, "/", {"Cookie": cookie + value})[0] == status
        finally:
            page.close()
        again = _door(args, stack)
        assert again.key.token == fleet.key.token


def test_health_says_what_is_not_there(tmp_path):
    with served(tmp_path) as (page, port):
        page._board.database = "fleet.db: cannot be written: database or disk is full"
        status, _, body = ask(port, "/healthz")
        assert status == 503 and json.loads(body) == {"ok": False, "broker": True, "store": False}


def test_prometheus_reads_sums_without_names_of_devices(tmp_path):
    with served(tmp_path) as (_, port):
        _, headers, body = ask(port, "/metrics")
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in prometheus.text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
        assert found["fer_edge_fleet_rows_total",] == 12
        assert found["fer_edge_fleet_rows_missing",] == 7 and found["fer_edge_fleet_rows_lost",] == 2
        assert found["fer_edge_fleet_devices", "problem"] == 1
        assert found["fer_edge_fleet_faults_total", "malformed"] == 1
        assert found["fer_edge_fleet_broker_up",] == 1
        assert b"shop" not in body


def test_texts_of_devices_are_never_markup(tmp_path):
    with served(tmp_path) as (_, port):
        script = ask(port, "/fleet.js")[2].decode()
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in script
        page = ask(port, "/")[2].decode()
        assert "<script>" not in page and " style=" not in page and "onclick" not in page


def test_of_a_camera_that_waits_only_texts_are_told():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    board = Board(lambda: NOW)
    board.show("shop", {"cameras": [{"name": deep, "state": "waiting", "reason": {"a": deep}}]})
    assert board.snapshot()["devices"][0]["problem"] == "a camera: no frames"


def test_today_is_empty_for_a_device_that_was_last_heard_on_another_day():
    midday = datetime(2026, 11, 26, 12, 30).timestamp()
    now = midday
    board = Board(lambda: now)
    for name in ("shop", "bar", "kept by the broker"):
        board.hear(name, retained=name == "kept by the broker")
        board.show(name, {"people_today": 412})

    def today():
        return {one["name"]: one["people_today"] for one in board.snapshot()["devices"]}

    assert today() == {"shop": 412, "bar": 412, "kept by the broker": None}
    now = midday + 11 * 3600
    assert today()["bar"] == 412, "half past eleven at night"
    now = midday + 12 * 3600
    board.hear("shop", retained=False)
    board.show("shop", {"people_today": 2})
    assert today() == {"shop": 2, "bar": None, "kept by the broker": None}


def test_the_board_may_be_looked_at_while_it_changes():
    board, over, faults = filled(), threading.Event(), []

    def look():
        while not over.is_set():
            try:
                board._made = None
                json.dumps(board.snapshot())
            except Exception as error:
                faults.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for one in threads:
        one.start()
    for number in range(3000):
        board.hear(f"d{number}", retained=False)
        board.show(f"d{number}", {"people": number, "cameras": []})
    over.set()
    for one in threads:
        one.join()
    assert faults == []
