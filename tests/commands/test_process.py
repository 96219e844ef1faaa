"""The program as a process: signals at any moment, standard output that cannot be written to, odd names."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_csv

cv2 = pytest.importorskip("cv2")

# Clocks, signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy

PROGRAM = [sys.executable, "-m", "fer_edge"]


def start(*arguments, **options):
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def wait_for_main(process):
    """Wait until the program has begun: what Python does before that with Ctrl-C is its own affair."""
    caught = 0
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        now = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
        # Python catches SIGINT; then our main module does not, for a while, and then SIGTERM as well.
        if now >> (signal.SIGTERM - 1) & 1 or (caught and not now >> (signal.SIGINT - 1) & 1):
            return
        caught = now >> (signal.SIGINT - 1) & 1
    pytest.fail("the program did not begin")


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 40, 60, 90, 120, 160, 200, 250, 300, 400, 600])
def test_ctrl_c_in_the_first_second_ends_the_program_without_a_traceback(milliseconds):
    process = start("run", "--camera", "demo", "--jsonl", os.devnull, "--append")
    try:
        wait_for_main(process)
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode in (0, 130, -signal.SIGINT), err
    assert b"Traceback" not in err
    assert b"PLEASE READ THIS" not in err


def test_nothing_is_imported_before_ctrl_c_is_handled():
    """Until then Ctrl-C is a traceback; signal itself and what Python loads for it come after the package."""
    code = "import sys; before = set(sys.modules); import fer_edge; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"fer_edge", "__future__", "importlib", "warnings"}


def test_modules_of_errors_and_labels_are_there_at_once():
    code = (
        "import fer_edge; print(fer_edge.errors.DataError is fer_edge.DataError, fer_edge.labels.EMOTIONS[3])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True happy\n"


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_ctrl_c_while_a_silent_stream_is_opened_ends_the_program_at_once(scheme):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(30)
        process = start("run", f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x")
        try:
            accepted, _ = silent.accept()
            time.sleep(0.2)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
            assert time.monotonic() - began < 4
            accepted.close()
        finally:
            process.kill()
    assert (process.returncode, err) == (130, b"stopped\n")


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (words, unbuffered)
        for words in (["--version"], ["--help"], ["run", "--help"])
        for unbuffered in ("1", "")
    ],
)
def test_a_full_disk_under_standard_output_is_an_error(arguments, unbuffered):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = subprocess.run(
            [*PROGRAM, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert process.returncode == 1
    assert process.stderr == b"fer-edge: standard output: No space left on device\n"


@pytest.fixture
def full_log():
    """Where standard error can take nothing, as a log on a full disk."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        yield full


def test_messages_that_cannot_be_written_neither_hang_a_film_nor_stop_its_other_outputs(tmp_path, full_log):
    path = tmp_path / "a.avi"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(5):
        film.write(np.full((48, 64, 3), 90, np.uint8))
    film.release()
    done = subprocess.run(
        [*PROGRAM, "run", path, "--jsonl", "/dev/full", "--append", "--save-video", tmp_path / "b.mkv"],
        stdout=subprocess.PIPE,
        stderr=full_log,
        timeout=120,
    )
    assert done.returncode == 1, "JSON lines were lost"
    assert done.stdout.splitlines()[-1].endswith(b"jsonl lost 5")
    assert (tmp_path / "b.mkv").stat().st_size > 0


def test_a_run_whose_summary_cannot_be_written_among_its_messages_succeeds(odd_picture, full_log):
    done = subprocess.run(
        [*PROGRAM, "run", odd_picture(b"a.png"), "--jsonl", "-"],
        stdout=subprocess.PIPE,
        stderr=full_log,
        timeout=120,
    )
    assert done.returncode == 0
    assert b"a.png" in done.stdout


@pytest.fixture
def odd_picture(tmp_path):
    def written(name):
        path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(cv2.imencode(".png", np.full((48, 48, 3), 90, np.uint8))[1].tobytes())
        return path

    return written


ODD_NAMES = ("grüße.png".encode(), "日本.png".encode(), b"\xff\xfe.png")
EACH = """
import sys
from fer_edge.cli import main
command, *paths = sys.argv[1:]
for path in paths:
    code = main([command, path, *(["--crops"] if command == "predict" else [])])
    print(code, "was the exit code", flush=True)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("command", ["predict", "run"])
def test_names_are_printed_in_any_locale(odd_picture, encoding, command):
    paths = [odd_picture(name) for name in ODD_NAMES]
    process = subprocess.run(
        [sys.executable, "-c", EACH, command, *paths],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"},
    )
    *printed, rest = process.stdout.split(b"0 was the exit code\n")
    assert rest == b"", process.stderr
    for name, path, lines in zip(ODD_NAMES, paths, printed, strict=True):
        if encoding == "utf-8":
            assert lines.startswith(path)
        else:
            shown = os.fsdecode(name).encode(encoding, "backslashreplace")
            assert lines.startswith(os.path.dirname(path) + b"/" + shown)  # noqa: PTH120


@pytest.mark.parametrize("command", ["predict", "run"])
def test_escape_codes_in_names_do_not_reach_the_terminal(odd_picture, command):
    for name in (b"\x1b[31mred.png", b"\x1b[31mmissing.png"):
        path = odd_picture(name)
        if b"missing" in name:
            os.unlink(path)  # noqa: PTH108
        process = subprocess.run([*PROGRAM, command, path], capture_output=True)
        assert b"\\x1b[31m" in process.stdout + process.stderr
        assert b"\x1b" not in process.stdout + process.stderr


def test_predict_writes_labels_to_standard_output(cli, tmp_path):
    path = write_csv(tmp_path / "a.csv", {"Training": 1})
    code, out, err = cli("predict", path, "--out", "-")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "emotion"
    assert len(lines) == 8
    assert set(lines[1:]) <= set("0123456")
    assert "7 rows labelled: -" in err
    cli("predict", path, "--out", tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text() == out


def test_predict_does_not_mind_emotions_and_usage(cli, tmp_path):
    path = write_csv(tmp_path / "a.csv", {"Training": 1})
    path.write_text(path.read_text().replace("\n3,", "\nhappy,").replace("Training", '"Üb"'))
    code, out, _ = cli("predict", path, "--out", "-")
    assert code == 0
    assert len(out.splitlines()) == 8


def test_a_very_long_name_does_not_keep_the_others_from_being_saved(cli, tmp_path):
    picture = cv2.imencode(".png", np.full((48, 48, 3), 90, np.uint8))[1].tobytes()
    names = ["a.png", "b" * 251 + ".png", "ü" * 125 + "1.png", "ü" * 125 + "2.png"]
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in names:
        (tmp_path / "in" / name).write_bytes(picture)
    code, _, err = cli("run", tmp_path / "in", "--save-image", tmp_path / "out")
    assert code == 0, err
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "{picture}", "--jsonl", "{circle}"),
        ("run", "{picture}", "--save-image", "{circle}.png"),
        ("predict", "{picture}", "--jsonl", "{circle}"),
        ("predict", "data.csv", "--out", "{circle}"),
    ],
)
def test_an_output_behind_links_that_go_round_in_a_circle_is_refused(cli, odd_picture, tmp_path, arguments):
    places = {"picture": os.fsdecode(odd_picture(b"picture.png")), "circle": tmp_path / "circle"}
    for name in ("circle", "circle.png"):
        (tmp_path / name).symlink_to(name)
    code, _, err = cli(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert "a symbolic link that goes round in a circle" in err
