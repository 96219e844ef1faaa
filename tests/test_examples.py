"""Each program of examples/, run as a user runs it."""

from __future__ import annotations

import contextlib
import csv
import http.server
import importlib.util
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ports import free_port

import fer_edge

# Clocks, signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
if not EXAMPLES.is_dir():
    pytest.skip("no examples/ beside the tests", allow_module_level=True)


def run(name, *arguments, stdin="", without=()):
    """Run an example; ``without`` names packages that it cannot import. Returns stdout."""
    blocked = "".join(f"sys.modules[{package!r}] = None; " for package in without)
    program = str(EXAMPLES / name)
    start = f"import runpy, sys; {blocked}sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", start, program, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def started(name, *arguments):
    """Start an example; end it, with Ctrl-C, at the end of the block."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def film(astronaut, tmp_path_factory):
    """Half a second of nobody, a second with a smile, 1.5 s of nobody, a second with a smile; 10 fps."""
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    from sources.pictures import write_film

    nobody = np.full_like(astronaut, 90)
    pictures = 5 * [nobody] + 10 * [astronaut] + 15 * [nobody] + 10 * [astronaut]
    return write_film(tmp_path_factory.mktemp("film") / "film.avi", pictures)


def test_every_example_is_tested_and_listed():
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == set(re.findall(r'"(\w+\.py)"', Path(__file__).read_text()))
    assert names == set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text()))


def test_the_demo_camera_goes_to_the_console_until_ctrl_c(astronaut):
    with started("camera_to_console.py", "demo") as process:
        lines = []
        while not any("#1" in line for line in lines):
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
    assert process.returncode == 0
    assert re.fullmatch(r"\d\d:\d\d:\d\d  #1 \d+ of 10 would say happy\n", lines[-1])


def test_smiles_of_a_film_are_counted_once_each(film):
    out = run("count_smiles.py", film)
    assert out.splitlines()[-1] == "2 smiles"
    assert len(out.splitlines()) == 3


def test_a_film_becomes_a_table(film, tmp_path):
    table = tmp_path / "film.csv"
    assert "40 frames" in run("film_to_csv.py", film, table)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 20
    assert {row["emotion"] for row in rows} == {"happy"}
    assert [float(rows[0]["seconds"]), float(rows[-1]["seconds"])] == pytest.approx([0.5, 3.9], abs=0.01)
    assert {row["track"] for row in rows} == {"", "1", "2"}
    for row in rows:
        assert sum(float(row[emotion]) for emotion in fer_edge.EMOTIONS) == pytest.approx(1, abs=1e-3)
        assert 150 < float(row["x"]) + float(row["width"]) / 2 < 300


def test_a_folder_of_pictures_is_listed(astronaut, tmp_path):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    for name, picture in {"a": np.full_like(astronaut, 90), "b": astronaut, "c": astronaut // 3}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    first, second, third, last = run("picture_folder.py", tmp_path).splitlines()
    assert first == f"{tmp_path / 'a.png'}: no face"
    assert second == f"{tmp_path / 'b.png'}: happy"
    assert third.startswith(f"{tmp_path / 'c.png'}: ")
    assert re.fullmatch(
        rf"happiest: {re.escape(str(tmp_path / 'b.png'))}, \d+\.\d of 10 would say happy", last
    )


def test_crops_are_classified_without_opencv(astronaut, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    crop = tmp_path / "crop.png"
    image.fromarray(astronaut[60:180, 160:280, ::-1].copy()).save(crop)
    out = run("classify_crops.py", crop, without=["cv2"])
    assert re.fullmatch(rf"{re.escape(str(crop))}: \d+ of 10 would say happy\n", out)


def test_json_lines_are_summed_up():
    frames = [{"type": "frame", "faces": [{"emotion": name} for name in names]} for names in ("hh", "hs", "")]
    gaps = [{"type": "gap", "lost": 3}, {"type": "gap", "lost": 0, "seconds": 42.1}]
    records = [{"type": "start"}, *frames, *gaps, {"type": "new"}, {"type": "end"}]
    lines = "\n".join(json.dumps({"schema": 1, **record}) for record in records)
    out = run("read_jsonl.py", stdin=lines)
    assert [line.split() for line in out.splitlines()] == [["h", "3"], ["s", "1"]]


def test_json_lines_of_a_later_version_are_summed_up():
    """What docs/jsonl.md asks of readers: pass over types and fields that they do not know."""
    face = {"emotion": "happy", "pose": [1, 2], "probabilities": {"happy": 1.0, "awe": 0.0}}
    records = [
        {"type": "start", "version": "9.0", "cameras": [{}]},
        {"type": "frame", "faces": [face, face], "weather": None},
        {"type": "visit", "faces": 3},
        {"type": "gap", "lost": 3, "kind": "new"},
        {"type": "end", "summary": {}},
    ]
    lines = "\n".join(json.dumps({"schema": 2, "id": 7, **record}) for record in records)
    assert run("read_jsonl.py", stdin=lines).split() == ["happy", "2"]


def test_json_lines_of_a_run_are_summed_up(film):
    command = [sys.executable, "-m", "fer_edge", "run", str(film), "--jsonl", "-"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert len(lines.splitlines()) == 1 + 40 + 1
    assert run("read_jsonl.py", stdin=lines).split() == ["happy", "20"]


def test_one_recognizer_serves_all_threads_of_a_web_service(astronaut):
    if importlib.util.find_spec("flask") is None:
        pytest.skip("Flask is not installed")
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    port = free_port()
    url = f"http://127.0.0.1:{port}/faces"

    def ask(body):
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return json.load(answer)

    pictures = [cv2.imencode(".png", picture)[1].tobytes() for picture in (astronaut, astronaut[:, ::-1])]
    with started("flask_app.py", port) as process:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, pictures * 8))
        assert answers == answers[:2] * 8
        for (face,), middle in zip(answers[:2], (223, 512 - 223), strict=True):
            assert (face["emotion"], face["unsure"]) == ("happy", False)
            assert face["box"][0] < middle < face["box"][0] + face["box"][2]
        for nothing in (b"", b"no picture"):
            with pytest.raises(urllib.error.HTTPError, match="400"):
                ask(nothing)


@contextlib.contextmanager
def hearing(answers):
    """A web server that gives these ``answers``, then 204; yields what it heard, and its URL."""
    heard = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield heard, f"http://127.0.0.1:{server.server_port}/hook"
        finally:
            server.shutdown()
            thread.join()


def test_a_web_hook_hears_of_each_change_once(film):
    with hearing([]) as (heard, url):
        run("web_hook.py", url, film)
    assert [(event["person"], event["emotion"]) for event in heard] == [(1, "happy"), (2, "happy")]


def test_a_web_hook_that_fails_is_told_again_and_one_that_refuses_is_not(film):
    with hearing([503, 429, 204, 400]) as (heard, url):
        run("web_hook.py", url, film)
    # Three attempts for the first; the second was refused for good.
    assert [event["person"] for event in heard] == [1, 1, 1, 2]
    assert len({event["id"] for event in heard}) == 2


def test_a_lamp_shines_while_somebody_smiles(film):
    pytest.importorskip("gpiozero", reason="gpiozero is not installed")
    program = str(EXAMPLES / "lamp.py")
    start = f"""
import runpy, sys
from gpiozero import Device
from gpiozero.pins.mock import MockFactory
Device.pin_factory = MockFactory()
pin = Device.pin_factory.pin(22)
sys.argv = [{program!r}, "22", {str(film)!r}]
runpy.run_path(sys.argv[0], run_name="__main__")
print([int(state.state) for state in pin.states])
"""
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout.splitlines()[-1])
    # Two smiles, the second of which lasts to the end.
    switched = [state for before, state in itertools.pairwise([0, *states]) if state != before]
    assert switched[:3] == [1, 0, 1]


def test_minutes_become_rows_of_a_table(film, tmp_path):
    table = tmp_path / "minutes.csv"
    for _ in range(2):
        run("minutes_to_csv.py", table, film, 1)
    assert table.read_bytes().count(b"\xef\xbb\xbf") == 1
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    # Seconds of the film: half of the first is empty, the second half so, the third is, the last is not.
    assert [row["people"] for row in rows] == ["1", "1", "0", "1"] * 2
    for row in rows:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["time"])
        shares = [float(row[emotion]) for emotion in fer_edge.EMOTIONS]
        assert sum(shares) == pytest.approx(int(row["people"]), abs=0.005)
        assert max(shares) == float(row["happy"])
