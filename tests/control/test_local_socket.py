"""The socket of a run: who is answered, who is cut off, what is left behind, and which run is meant."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from fer_edge.control import local
from fer_edge.control.local import LONGEST_REQUEST, MOST_CLIENTS, MOST_RUNS, Listener, ask, find, listening
from fer_edge.errors import DataError, ServiceError

PATIENCE = 30.0


def echo(asked):
    if asked == {"action": "fail"}:
        raise KeyError("x")
    if asked == {"action": "refuse"}:
        raise DataError("not that")
    return {"asked": asked}


def connected(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(str(path))
    return connection


def answer_to(path, sent, shut=True):
    with connected(path) as connection:
        connection.sendall(sent)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        return json.loads(connection.makefile().readline())


@pytest.fixture
def path(tmp_path):
    listener = Listener(tmp_path / "door.sock", echo)
    yield listener.path
    listener.close()
    assert not listener.path.exists()


def test_a_request_is_a_line_and_so_is_its_answer(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert ask(path, {"action": "x"}) == {"ok": True, "asked": {"action": "x"}}
    assert answer_to(path, b'{"a": 1}\n', shut=False) == {"ok": True, "asked": {"a": 1}}
    assert answer_to(path, b'{"a": 1}') == {"ok": True, "asked": {"a": 1}}
    with connected(path) as connection:
        for part in (b'{"a"', b": 2", b"}\n"):
            connection.sendall(part)
            time.sleep(0.01)
        assert json.loads(connection.makefile().readline())["asked"] == {"a": 2}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"pause\n", "a request is a line of JSON"),
        (b"\xff\xfe\n", "a request is a line of JSON"),
        (b"[" * 4000 + b"\n", "a request is a line of JSON"),
        (b"x" * (LONGEST_REQUEST + 1), f"at most {LONGEST_REQUEST} bytes"),
        (b'{"action": "refuse"}\n', "not that"),
        (b'{"action": "fail"}\n', "the run failed on it: KeyError"),
    ],
)
def test_bad_requests_are_answered_with_what_is_wrong(path, sent, told):
    answer = answer_to(path, sent, shut=False)
    assert (answer["ok"], told in answer["error"]) == (False, True), answer
    assert ask(path, {"action": "x"})["ok"]


def test_a_refusal_is_an_error_of_the_client(path):
    with pytest.raises(DataError, match=r"^not that$"):
        ask(path, {"action": "refuse"})


def test_clients_that_hang_hold_nobody_up_and_are_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "ANSWER_SECONDS", 0.5)
    with ExitStack() as stack:
        listener = Listener(tmp_path / "door.sock", echo)
        stack.callback(listener.close)
        silent = [stack.enter_context(connected(listener.path)) for _ in range(4)]
        silent[0].sendall(b'{"action": ')
        began = time.monotonic()
        assert ask(listener.path, {"a": 1})["ok"]
        for one in silent:
            assert one.recv(1) == b""
        assert time.monotonic() - began < PATIENCE / 2
        deadline = time.monotonic() + PATIENCE
        while listener._clients:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_of_too_many_clients_the_oldest_goes(path):
    with ExitStack() as stack:
        many = [stack.enter_context(connected(path)) for _ in range(MOST_CLIENTS + 1)]
        assert many[0].recv(1) == b""
        many[-1].sendall(b'{"a": 1}\n')
        assert json.loads(many[-1].makefile().readline())["ok"]


def test_a_client_that_takes_no_answer_and_goes_does_no_harm(path):
    for _ in range(20):
        with connected(path) as connection:
            connection.sendall(b'{"a": 1}\n')
    assert ask(path, {"action": "x"})["ok"]


def test_a_socket_left_behind_is_replaced(tmp_path):
    code = (
        "import os, sys, pathlib; from fer_edge.control.local import Listener;"
        "Listener(pathlib.Path(sys.argv[1]), dict); os._exit(9)"
    )
    path = tmp_path / "door.sock"
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == 9
    assert path.is_socket()
    with pytest.raises(ServiceError, match="no run is listening"):
        find(None, [tmp_path])
    with listening(tmp_path, "door", echo):
        assert find(None, [tmp_path]).path == path
        assert ask(path, {"a": 1})["run"] == "door"


def test_a_second_run_gets_a_number_and_says_so(tmp_path, caplog):
    with ExitStack() as stack:
        stack.enter_context(caplog.at_level(logging.INFO, "fer_edge"))
        stack.enter_context(listening(tmp_path, "door", echo))
        assert caplog.messages == []
        stack.enter_context(listening(tmp_path, "door", echo))
        assert caplog.messages == [
            "a run named door is already going on; for fer-edge session and pause, this one is named door-2"
        ]
        assert ask(find("door-2", [tmp_path]).path, {})["run"] == "door-2"
        with pytest.raises(ServiceError, match="2 runs are listening: door, door-2; choose one with --run"):
            find(None, [tmp_path])
        for _ in range(2, MOST_RUNS + 1):
            stack.enter_context(listening(tmp_path, "door", echo))
        assert caplog.messages[-1] == (
            "9 runs named door are already going on; fer-edge session and pause cannot reach this one"
        )
    assert not [*tmp_path.glob("*.sock")]


def test_two_that_start_at_once_get_a_socket_each(tmp_path):
    barrier, over, found = threading.Barrier(6), threading.Event(), []

    def run():
        with listening(tmp_path, "door", echo):
            barrier.wait(PATIENCE)
            over.wait(PATIENCE)

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    barrier.wait(PATIENCE)
    found = [one.name for one in local.runs([tmp_path])]
    over.set()
    for thread in threads:
        thread.join()
    assert found == ["door", "door-2", "door-3", "door-4", "door-5"]


def test_where_nobody_can_listen_the_run_goes_on_and_says_so(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.INFO, "fer_edge"), listening(tmp_path / "file" / "x", "door", echo):
        pass
    assert "fer-edge session, pause and resume cannot reach this run" in caplog.text
    with listening(None, "door", echo):
        pass


def test_paths_longer_than_the_kernel_takes_are_no_matter(tmp_path):
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    with listening(folder, "door", echo):
        assert ask(find("door", [folder]).path, {"a": 1})["ok"]


def test_runs_of_services_lie_one_folder_below(tmp_path):
    with listening(tmp_path / "till", "till", echo), listening(tmp_path / "door", "door", echo):
        assert [one.name for one in local.runs([tmp_path, tmp_path])] == ["door", "till"]
        assert ask(find("till", [tmp_path]).path, {})["run"] == "till"
    with pytest.raises(
        ServiceError, match=r"no run 'till' is listening in .*; start one: fer-edge run --store"
    ):
        find("till", [tmp_path])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may ask everybody")
def test_a_run_of_another_user_is_told(tmp_path):
    with listening(tmp_path, "door", echo):
        (tmp_path / "door.sock").chmod(0)
        with pytest.raises(ServiceError, match=r"door.sock: no permission; .* another user's"):
            find(None, [tmp_path])


def test_a_run_that_does_not_answer_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "ANSWER_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "door.sock"))
        silent.listen()
        with pytest.raises(ServiceError, match="the run does not answer within"):
            ask(tmp_path / "door.sock", {"a": 1})


def test_runs_listen_where_systemd_or_xdg_say(tmp_path):
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    state = tmp_path / "state"
    assert local.listening_folder(state, runtime) == tmp_path / "fer-edge"
    assert local.listening_folder(state, {"XDG_RUNTIME_DIR": "/does/not/exist"}) == state
    assert local.listening_folder(state, {}) == state
    systemd = {**runtime, "RUNTIME_DIRECTORY": "/run/fer-edge/door:/run/other"}
    assert str(local.listening_folder(state, systemd)) == "/run/fer-edge/door"
    places = local.folders({**runtime, "XDG_STATE_HOME": "/x"})
    assert [str(one) for one in places] == ["/run/fer-edge", f"{tmp_path}/fer-edge", "/x/fer-edge"]
