"""Sessions, pauses and masks asked of a run in another process, and what is in its store then."""

from __future__ import annotations

import itertools
import json
import re
import signal
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("skimage", reason="scikit-image is not installed")

from fer_edge.store.reader import StoreReader

# Signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy

PATIENCE = 60.0


@pytest.fixture
def place(monkeypatch):
    """A folder for sockets and state of this test alone, short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("XDG_STATE_HOME", f"{folder}/state")
        yield Path(folder)


@pytest.fixture
def started(started, place, tmp_path):
    """Start runs on the demo camera; their stderr goes into the files stderr-0, stderr-1 …"""
    count = itertools.count()

    def start(*arguments):
        with (tmp_path / f"stderr-{next(count)}").open("w") as errors:
            return started("--camera", "demo", *arguments, stderr=errors)

    return start


def await_that(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def ended(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def frames(path):
    """How many frames are recorded."""
    return path.read_text().count('"type":"frame"') if path.exists() else 0


def latest(path):
    """The time of the last frame that is recorded."""
    (*_, last) = re.findall(r'"type":"frame".*?"time":"([^"]+)"', path.read_text())
    return datetime.fromisoformat(last)


def status(cli, *arguments):
    code, out, _ = cli("session", "status", "--json", *arguments)
    return json.loads(out) if code == 0 else None


def test_a_session_marked_from_elsewhere_is_in_the_store(started, cli, tmp_path):
    process = started("--store", "shop.db", "--jsonl", "all.jsonl", "--name", "shop")
    state = await_that(lambda: status(cli))
    assert state == {
        "ok": True,
        "run": "shop",
        "paused": False,
        "session": None,
        "cameras": ["demo camera"],
        "store": True,
    }
    await_that(lambda: frames(tmp_path / "all.jsonl") > 60)
    before = latest(tmp_path / "all.jsonl")
    assert cli("session", "start", "Tuesday preview")[:2] == (0, "session 'Tuesday preview' has started\n")
    assert (
        cli("session", "mark", "A", "--group", "trailers")[1] == "marked 'A' in session 'Tuesday preview'\n"
    )
    assert cli("session", "status")[1] == "shop: recognizing on demo camera; session 'Tuesday preview'\n"
    code, _, err = cli("session", "start", "B")
    assert (code, err) == (
        2,
        "fer-edge session: session 'Tuesday preview' goes on; stop it before starting another\n",
    )
    # A second of the session has to end before it is a row.
    so_far = frames(tmp_path / "all.jsonl")
    await_that(lambda: frames(tmp_path / "all.jsonl") > so_far + 60)
    assert cli("session", "mark", "B", "--run", "shop")[0] == 0
    assert cli("session", "stop")[1] == "the session has stopped\n"
    assert cli("session", "stop")[0] == 2
    ended(process)
    with StoreReader(tmp_path / "shop.db") as store:
        (session,) = store.rows("sessions")
        events = [(row["name"], row["group"]) for row in store.rows("events")]
        seconds = [*store.rows("seconds")]
    assert (session["name"], session["cut"]) == ("Tuesday preview", 0)
    assert events == [("A", "trailers"), ("B", None)]
    assert seconds
    assert all(session["began"] <= row["began"] <= session["ended"] for row in seconds[1:])
    # The first begins with the person's second in which the session was started.
    assert before - timedelta(seconds=1) < seconds[0]["began"] <= session["ended"]


def test_a_pause_records_nothing_and_outlasts_a_restart(started, cli, tmp_path, place):
    lines = tmp_path / "all.jsonl"
    process = started("--jsonl", "all.jsonl", "--store", "shop.db")
    # Until a face counts as a person.
    await_that(lambda: frames(lines) > 20)
    assert cli("pause")[1] == "default: paused on demo camera; no session\n"
    paused_at = frames(lines)
    await_that(lambda: "paused" in (tmp_path / "stderr-0").read_text())
    time.sleep(0.5)
    # The frame that was being recognized, and what waited to be written.
    later = frames(lines)
    time.sleep(1.0)
    assert frames(lines) == later <= paused_at + 3
    assert cli("resume")[1] == "default: recognizing on demo camera; no session\n"
    await_that(lambda: frames(lines) > later + 20)
    cli("pause")
    ended(process)
    (gap,) = [one for one in map(json.loads, lines.read_text().splitlines()) if one["type"] == "gap"]
    assert (gap["reason"], gap["camera"], gap["seconds"] > 1.5) == ("paused", "demo camera", True)
    assert gap["paused"] == gap["seconds"]
    with StoreReader(tmp_path / "shop.db") as store:
        (gap,) = store.rows("gaps")
        visits = [*store.rows("visits")]
    assert gap["reason"] == "paused"
    assert {visit["track"] for visit in visits} == {1, 2}
    assert visits[0]["ended"] <= gap["began"]
    assert visits[1]["began"] >= gap["ended"]

    process = started("--jsonl", "next.jsonl", "--seconds", "2")
    assert process.wait(PATIENCE) == 0
    assert (
        "paused, because the previous run was or may have been; continue with fer-edge resume"
        in (tmp_path / "stderr-1").read_text()
    )
    assert frames(tmp_path / "next.jsonl") == 0


def test_a_pause_is_kept_in_the_folder_that_was_named(started, cli, tmp_path):
    process = started("--state-folder", "state", "--name", "own")
    assert await_that(lambda: status(cli))["run"] == "own"
    assert cli("pause")[0] == 0
    ended(process)
    assert json.loads((tmp_path / "state" / "control-own.json").read_text())["paused"] is True


def test_without_a_runtime_folder_the_folder_of_state_serves(started, cli, tmp_path, place, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    process = started("--store", "shop.db")
    assert await_that(lambda: status(cli))["run"] == "default"
    assert (place / "state" / "fer-edge" / "default.sock").is_socket()
    ended(process)


def test_several_runs_are_told_apart(started, cli, tmp_path):
    started("--name", "door")
    started("--name", "till")
    await_that(lambda: status(cli, "--run", "door") and status(cli, "--run", "till"))
    code, _, err = cli("pause")
    assert (code, err) == (
        1,
        "fer-edge pause: 2 runs are listening: door, till; choose one with --run NAME\n",
    )
    assert cli("pause", "--run", "till")[0] == 0
    assert (status(cli, "--run", "door")["paused"], status(cli, "--run", "till")["paused"]) == (False, True)
    assert cli("session", "start", "x", "--run", "door")[2] == (
        "fer-edge session: this run has no store to keep sessions in; start it with --store FILE.db\n"
    )


def test_without_a_run_the_command_says_so(place, cli):
    for command in (["pause"], ["resume"], ["session", "stop"], ["session", "status"]):
        code, _, err = cli(*command)
        assert code == 1
        assert "no run is listening in " in err
        assert "start one: fer-edge run --store FILE.db" in err


def test_a_session_needs_an_action_and_a_name(cli):
    assert cli("session")[0] == 2
    assert cli("session", "start")[0] == 2
    assert cli("session", "start", "")[0] == 2


def test_listed_events_are_recorded_in_a_film(cli, place, tmp_path):
    (tmp_path / "trailers.csv").write_text("offset,name,group,duration\n0:01,A,g,1\n2.5,B,g,\n90,C,,\n")
    run = ("run", "--camera", "demo", "--unpaced", "--frames", "120", "--store", tmp_path / "film.db")
    code, _, err = cli(*run, "--events", tmp_path / "trailers.csv")
    assert code == 0
    assert err.splitlines()[0] == "store: event 3 ('C') lies after the end, and is not recorded"
    with StoreReader(tmp_path / "film.db") as store:
        (session,) = store.rows("sessions")
        events = [(row["name"], row["group"], row["monotonic"]) for row in store.rows("events")]
    assert session["name"] == "trailers"
    assert events == [("A", "g", 1.0), ("B", "g", 2.5)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--store", "x.db", "--events", "wall.csv"],
            "wall.csv, row 2, column time: a film knows no time of day",
        ),
        (["--events", "wall.csv"], "--events are recorded in a store; add --store FILE.db"),
        (["--store", "x.db", "--events", "none.csv"], "none.csv: No such file or directory"),
        (["--store", "wall.csv", "--events", "wall.csv", "--force"], "--force is for"),
        (["--store", "wall.csv", "--events", "wall.csv"], "wall.csv: is also the input"),
    ],
)
def test_listed_events_that_do_not_fit_end_the_run_at_once(
    cli, place, tmp_path, monkeypatch, arguments, told
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wall.csv").write_text("time,name\n2026-11-26T20:00,A\n")
    code, _, err = cli("run", "--camera", "demo", "--unpaced", "--frames", "3", *arguments)
    assert code == 2
    assert told in err
    assert (tmp_path / "wall.csv").read_text().startswith("time,name")
