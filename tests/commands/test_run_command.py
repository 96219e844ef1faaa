"""``fer-edge run`` on films, pictures and cameras: what it prints, writes and refuses."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from pipeline.scripts import ScriptedSource
from sources.pictures import write_film

from fer_edge.errors import DataError, SourceLostError
from fer_edge.sources.cameras import Camera


@pytest.fixture
def video(tmp_path, astronaut):
    starts = range(60, 84, 2)
    pictures = (np.ascontiguousarray(astronaut[:300, left : left + 300]) for left in starts)
    return write_film(tmp_path / "film.avi", pictures)


def test_command_writes_json_only_to_stdout(cli, classifier, video):
    code, out, err = cli("run", video, "--jsonl", "-")
    assert code == 0
    start, *written, end = [json.loads(line) for line in out.splitlines()]
    assert (start["type"], start["source"], start["live"]) == ("start", str(video), False)
    assert start["model"] == {
        "name": "brightness",
        "backend": "none",
        "precision": "int8",
        "labels": "people",
    }
    assert start["options"]["detect_every"] == 1
    assert end["summary"]["frames"] == 12
    assert end["outputs"] == {"jsonl": {"lost": 0, "dropped": 0}}
    assert [one["frame"] for one in written] == list(range(12))
    assert [one["timestamp"] for one in written] == pytest.approx([k / 10 for k in range(12)])
    assert [one["faces"][0]["track"] for one in written] == [None, None, *[1] * 10]
    lefts = [one["faces"][0]["box"][0] for one in written]
    assert lefts[0] - lefts[-1] == pytest.approx(22, abs=5)
    assert "12 frames" in err


def test_command_tells_people_what_it_sees(cli, classifier, video):
    code, out, err = cli("run", video)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "frame 0  0.00 s  1 face: 10 of 10 would say happy"
    assert "frame 2  0.20 s  1 face: #1 10 of 10 would say happy" in lines
    assert lines[-1].startswith("12 frames in ")
    assert "faces 12 (1 track)" in lines[-1]


def test_command_on_a_folder_tells_each_image_and_keeps_on_after_a_bad_one(
    cli, classifier, tmp_path, astronaut
):
    cv2.imwrite(str(tmp_path / "a.png"), astronaut)
    cv2.imwrite(str(tmp_path / "c.png"), astronaut // 3)
    (tmp_path / "b.png").write_bytes(b"bad")
    (tmp_path / "out").mkdir()
    code, out, _ = cli("run", tmp_path, "--save-image", tmp_path / "out")
    assert code == 0
    assert out.splitlines()[:2] == [
        f"{tmp_path}/a.png  1 face: 10 of 10 would say happy",
        f"{tmp_path}/c.png  1 face: unsure, 10 of 10 would say sad",
    ]
    assert "skipped 1 unreadable" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png.png", "c.png.png"]


def test_unsure_off_leaves_the_word_out_but_not_the_field(cli, classifier, tmp_path, astronaut):
    cv2.imwrite(str(tmp_path / "dark.png"), astronaut // 3)
    told = {}
    for unsure in ("on", "off"):
        picture = tmp_path / f"{unsure}.png"
        code, out, _ = cli("run", tmp_path / "dark.png", "--unsure", unsure, "--save-image", picture)
        assert code == 0
        told[unsure] = (out.splitlines()[0].partition("1 face: ")[2], cv2.imread(str(picture)))
        code, out, _ = cli("run", tmp_path / "dark.png", "--unsure", unsure, "--jsonl", "-")
        assert code == 0
        face = json.loads(out.splitlines()[1])["faces"][0]
        assert (face["emotion"], face["unsure"], face["uncertainty"]) == ("sad", True, 0.3)
    assert told["on"][0] == "unsure, 10 of 10 would say sad"
    assert told["off"][0] == "10 of 10 would say sad"
    assert not np.array_equal(told["on"][1], told["off"][1])
    code, _, err = cli("run", tmp_path / "dark.png", "--unsure", "maybe")
    assert code == 2
    assert "'maybe' is neither on nor off" in err


@pytest.mark.parametrize(("given", "labels"), [((), "people"), (("--labels", "fer2013"), "fer2013")])
def test_command_asks_whom_it_is_told_to(cli, video, given, labels):
    code, out, err = cli("run", video, "--jsonl", "-", *given)
    assert code == 0, err
    start, *_ = [json.loads(line) for line in out.splitlines()]
    assert start["model"]["labels"] == start["options"]["labels"] == labels
    code, out, err = cli("run", video, *given)
    assert code == 0, err
    words = r"1 face: \d+ of 10 would say happy" if labels == "people" else r"1 face: happy \d+ %"
    assert re.fullmatch(rf"frame 0  0\.00 s  {words}", out.splitlines()[0])
    code, _, err = cli("run", video, "--balance", "0.5", *given)
    assert code == 0, err
    assert ("balance 0.5 does nothing with the labels of 2013" in err) == (labels == "fer2013")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (("--save-image", "a.png"), "is also the input"),
        (("--jsonl", "a.png", "--force"), "is a picture, not a file for JSON lines"),
        (("--save-image", "."), "holds the input"),
        (("--save-image", "out"), "is also the input"),
        (("--jsonl", "x.png", "--save-image", "./x.png"), "two outputs cannot be the same file"),
    ],
)
def test_command_keeps_every_image_of_a_folder_that_it_reads(
    cli, classifier, tmp_path, astronaut, monkeypatch, outputs, message
):
    """`out` holds a link to an input under the name that its annotated picture would get."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", astronaut)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png.png").hardlink_to("a.png")
    before = (tmp_path / "a.png").read_bytes()
    code, _, err = cli("run", ".", *outputs)
    assert code == 2
    assert message in err
    assert (tmp_path / "a.png").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "out"}


@pytest.mark.parametrize(
    "outputs",
    [
        ("--jsonl", "log.jsonl", "--append"),
        ("--jsonl", "log.jsonl", "--force"),
        ("--save-image", "out/", "--force"),
    ],
)
def test_command_reads_the_others_beside_a_forbidden_link_where_its_output_exists(
    cli, classifier, tmp_path, astronaut, monkeypatch, forbid, outputs
):
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "out", "hidden"):
        (tmp_path / folder).mkdir()
    cv2.imwrite("in/a.png", astronaut)
    (tmp_path / "in" / "0.png").symlink_to(tmp_path / "hidden" / "a.png")
    (tmp_path / "log.jsonl").write_text('{"type": "end"}\n')
    (tmp_path / "out" / "a.png.png").write_bytes(b"before")
    forbid(tmp_path / "hidden")
    code, _, err = cli("run", "in", *outputs)
    assert code == 0
    assert "in/0.png: Permission denied; skipped" in err
    told = [json.loads(line).get("source") for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    saved = cv2.imread("out/a.png.png") is not None
    assert ("in/a.png" in told, saved) == ("--jsonl" in outputs, "--save-image" in outputs)


def test_command_refuses_a_folder_for_the_pictures_of_a_film(cli, classifier, video, tmp_path):
    for folder in (tmp_path, f"{tmp_path}/new/"):
        code, _, err = cli("run", video, "--save-image", folder)
        assert code == 2
        assert "is a folder, which is for images" in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ("run", option, "")
            for option in ("--camera", "--jsonl", "--save-video", "--save-image", "--model")
        ),
        ("run", ""),
        ("predict", ""),
        ("evaluate", "x.csv", "--votes", ""),
        ("bench", "--image", ""),
    ],
)
def test_an_unset_shell_variable_is_refused(cli, arguments):
    code, _, err = cli(*arguments)
    assert code == 2
    assert "must not be empty" in err


def test_command_writes_video_image_and_log_at_once(cli, classifier, video, tmp_path):
    code, _, _ = cli(
        *("run", video, "--save-video", tmp_path / "o.mp4"),
        *("--save-image", tmp_path / "o.png", "--jsonl", tmp_path / "o.jsonl"),
    )
    assert code == 0
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 1 + 12 + 1
    assert cv2.imread(str(tmp_path / "o.png")).shape == (600, 600, 3)
    capture = cv2.VideoCapture(str(tmp_path / "o.mp4"), cv2.CAP_FFMPEG)
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (12, pytest.approx(10))


def test_command_does_not_overwrite_a_film_that_a_url_names(cli, classifier, video):
    before = video.read_bytes()
    faults = {"--jsonl": "holds something other than text", "--save-video": "is also the input"}
    for option, fault in faults.items():
        code, _, err = cli("run", f"file://{video}", option, video, "--force")
        assert code == 2
        assert fault in err
    assert video.read_bytes() == before


def test_command_without_camera_says_what_could_be_given(cli, classifier, monkeypatch):
    monkeypatch.setattr("fer_edge.sources.list_cameras", list)
    monkeypatch.setattr("fer_edge.sources.has_picamera", lambda: False)
    code, out, err = cli("run", "--frames", "2")
    assert (code, out) == (2, "")
    for choice in ("film", "image", "folder", "URL", "--camera", "picamera2", "demo"):
        assert choice in err


@pytest.mark.parametrize(("v4l2", "opened"), [(True, "3"), (False, "picamera2")])
def test_command_takes_the_first_camera_there_is(cli, classifier, monkeypatch, v4l2, opened):
    monkeypatch.setattr("fer_edge.sources.list_cameras", lambda: [Camera(3, "", "", True)] * v4l2)
    monkeypatch.setattr("fer_edge.sources.has_picamera", lambda: True)
    asked = []

    def opens(name):
        return lambda *_, **__: asked.append(name) or ScriptedSource(2, live=True, hang=True)

    monkeypatch.setattr("fer_edge.sources.open_camera", lambda spec, colour: opens(spec)())
    monkeypatch.setattr("fer_edge.sources.PiCameraSource", opens("picamera2"))
    code, _, err = cli("run", "--frames", "1")
    assert (code, asked) == (0, [opened])
    assert "script (choose with --camera)" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jpg"], "missing.jpg: No such file"),
        (["film.avi", "--camera", "0"], "not both"),
        (["film.avi", "--frames", "0"], "frames must be 1 or more"),
        (["film.avi", "--save-video", "o.gif"], "must end in .mp4"),
        (["film.avi", "--detector-model", "missing.onnx"], "missing.onnx"),
        (["film.avi", "--min-score", "7"], "min_score must be from 0 to 1"),
        (["--camera", "99"], "/dev/video99"),
    ],
)
def test_command_refuses_bad_input_with_exit_code_2(cli, classifier, video, monkeypatch, arguments, words):
    monkeypatch.chdir(video.parent)
    code, out, err = cli("run", *arguments)
    assert code == 2
    assert words in err
    assert out == ""
    assert "Traceback" not in err


def test_a_run_that_is_refused_leaves_its_log_as_it_was(cli, classifier, video, tmp_path):
    (tmp_path / "bad.db").write_bytes(b"nonsense" * 1000)
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    old.write_text('{"frame":7}\n')
    for log in (old, new):
        code, _, err = cli("run", video, "--jsonl", log, "--force", "--store", tmp_path / "bad.db")
        assert code == 2
        assert "bad.db: cannot be read as a store" in err
    assert old.read_text() == '{"frame":7}\n'
    assert not new.exists()


def test_a_missing_button_is_found_out_before_files_are_made(cli, classifier, video, monkeypatch, tmp_path):
    def missing(*_):
        raise DataError("--gpio-button: no GPIO pins found")

    monkeypatch.setattr("fer_edge.control.button.require_gpiozero", missing)
    outputs = ["--store", tmp_path / "s.db", "--jsonl", tmp_path / "x.jsonl"]
    before = {*tmp_path.iterdir()}
    code, _, err = cli("run", video, *outputs, "--gpio-button", "17")
    assert (code, err) == (2, "fer-edge run: --gpio-button: no GPIO pins found\n")
    assert {*tmp_path.iterdir()} == before


def test_a_run_that_cannot_start_closes_what_it_opened(cli, classifier, video, monkeypatch, tmp_path):
    def fail(*_):
        raise DataError("no keys")

    monkeypatch.setattr("fer_edge.commands.run.let_others_ask", fail)
    store = tmp_path / "s.db"
    assert cli("run", video, "--store", store)[::2] == (2, "fer-edge run: no keys\n")
    assert store.exists()
    assert not store.with_name("s.db-wal").exists()


def test_command_fails_with_1_when_the_camera_is_lost_but_keeps_what_it_has(
    cli, classifier, monkeypatch, tmp_path
):
    source = ScriptedSource(5, live=True, pause=0.05, error=SourceLostError("camera 0: unplugged"))
    monkeypatch.setattr("fer_edge.sources.open_camera", lambda spec, colour: source)
    code, out, err = cli("run", "--camera", "--save-video", tmp_path / "o.avi")
    assert code == 1
    *privacy, told = err.splitlines()
    assert told == "fer-edge run: camera 0: unplugged"
    assert [re.sub(r"^\S+ (\w+: .{20}).*", r"\1", line) for line in privacy] == [
        "info: leaves this device: ",
        "warning: in the EU it is forb",
    ]
    frames, dropped = re.search(r"(\d+) frames in .* dropped (\d+)", out).groups()
    assert int(frames) + int(dropped) == 5
    (written,) = tmp_path.glob("o-*Z.avi")
    assert written.stat().st_size > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_stopped_by_a_signal_finishes_its_files(number, tmp_path):
    pytest.importorskip("skimage")
    program = (
        "import sys, fer_edge.pipeline.recognizer\n"
        "from pipeline.scripts import BrightnessClassifier\n"
        "fer_edge.pipeline.recognizer.load_classifier = lambda *_, **__: BrightnessClassifier()\n"
        "from fer_edge.cli import main\n"
        f"sys.exit(main(['run', '--camera', 'demo', '--save-video', '{tmp_path}/o.avi']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        with contextlib.ExitStack() as stack:
            stack.callback(process.kill)
            assert process.stdout.readline().startswith("frame 0")
            process.send_signal(number)
            rest, errors = process.communicate(timeout=60)
            stack.pop_all()
        assert (process.returncode, errors) == (0, "")
        assert re.search(r"\d frames? in ", rest.splitlines()[-1])
    (written,) = tmp_path.glob("o-*Z.avi")
    capture = cv2.VideoCapture(str(written), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 1
