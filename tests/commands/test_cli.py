"""The command line itself: help, exit codes, and what the package loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import write_csv

from fer_edge.cli import COMMANDS
from fer_edge.commands import command_parsers
from fer_edge.config import OPTIONS
from fer_edge.labels import EMOTIONS
from fer_edge.models.backends import available_backends


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_an_example(cli, command):
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert "example" in out
    assert f"fer-edge {command}" in out


def test_no_command_prints_help_and_is_a_usage_error(cli):
    code, _, err = cli()
    assert code == 2
    assert all(command in err for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "{name}.csv"),
        ("report", "{name}.db", "--out", "out.html"),
        ("store", "{name}.db"),
        ("bench", "--model", "{name}.onnx"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_name_that_is_too_long_is_bad_input(cli, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    name = "x" * 300
    code, _, err = cli(*(one.format(name=name) for one in arguments))
    assert code == 2
    assert name in err
    assert err.rstrip().endswith("File name too long")
    assert not list(tmp_path.iterdir())


def test_an_unknown_option_is_told_with_the_one_that_was_meant(cli):
    code, _, err = cli("run", "--camra", "demo")
    assert code == 2
    assert err == (
        "fer-edge run: error: unrecognized arguments: --camra; did you mean --camera?\n"
        "all options: fer-edge run --help\n"
    )
    code, _, err = cli("pause", "--qqqqq")
    assert code == 2
    assert err.splitlines()[-1] == "fer-edge pause: error: unrecognized arguments: --qqqqq"


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (
            ["session", "mark", "-x"],
            "required: NAME; what begins with a hyphen and is no option comes after --, as in fer-edge "
            "session mark -- -x",
        ),
        (
            ["session", "mark", "A", "--group", "-g"],
            "argument --group: expected one argument; a value that begins with a hyphen comes after an "
            "equals sign: --group=-g",
        ),
        (["session", "mark", "--grup"], "required: NAME; did you mean --group?"),
        (["session", "mark"], "required: NAME"),
        (["session", "mark", "A", "--group", "--run", "x"], "argument --group: expected one argument"),
    ],
)
def test_names_that_begin_with_a_hyphen_are_told_how_to_be_given(cli, arguments, end):
    code, _, err = cli(*arguments)
    assert code == 2
    assert err.endswith(f"{end}\n")


def test_names_that_begin_with_a_hyphen_are_taken_as_told():
    parser = command_parsers()["session"]
    parsed = parser.parse_args(["mark", "--group=-g", "--", "-x"])
    assert (parsed.title, parsed.group) == ("-x", "-g")


MANY = {
    "camera": ("usb:1", "usb:2"),
    "mask": ("0,0 1,0 1,1", "0,0 0.5,0 0.5,1"),
    "keep_files": ("20G", "30d"),
    "require": ("jsonl", "store"),
    "page_host": ("door.lan", "shop.lan"),
}
"""Two values of each option that can be given more than once."""


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["archive", "film.mp4", "--out", "scored"], "mask"),
        (["fleet", "--mqtt", "mqtt://broker", "--store", "fleet.db"], "page_host"),
        (["mqtt", "--check"], "camera"),
        *((["run"], name) for name in MANY),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_can_be_given_more_than_once_is_taken_by_each_command_that_has_it(command, name):
    option, parser = OPTIONS[name], command_parsers()[command[0]]
    given = [part for value in MANY[name] for part in (option.flag, value)]
    parsed = parser.parse_args([*command[1:], *given])
    assert getattr(parsed, name) == [option.kind.parse(value) for value in MANY[name]]
    # What one command line was given is not there in the next one.
    assert not getattr(parser.parse_args(command[1:]), name, None)


def test_there_is_a_test_of_each_option_that_can_be_given_more_than_once():
    assert set(MANY) == {name for name, option in OPTIONS.items() if option.many}


def test_session_and_run_refer_to_each_other_where_a_run_is_named(cli):
    commands = (("run",), ("session", "status"), ("pause",), ("resume",))
    told = {command[0]: " ".join(cli(*command, "--help")[1].split()) for command in commands}
    assert "for the --run of fer-edge session, pause and resume" in told.pop("run")
    assert all("the --name of fer-edge run or service" in text for text in told.values())


def test_a_long_usage_does_not_hide_an_error(cli):
    code, _, err = cli("run", "--page", "99999")
    assert code == 2
    assert err.startswith("fer-edge run: error: argument --page: '99999' is not HOST:PORT")
    assert err.splitlines()[1:] == ["all options: fer-edge run --help"]


def test_unknown_command_is_a_usage_error(cli):
    code, _, err = cli("dance")
    assert code == 2
    assert "dance" in err


def test_import_is_lean():
    loaded = json.loads(run_python("import json, sys, fer_edge; print(json.dumps(sorted(sys.modules)))"))
    heavy = {"torch", "onnxruntime", "cv2", "ai_edge_litert", "tflite_runtime", "matplotlib", "skimage"}
    assert heavy.isdisjoint(loaded)


def test_all_public_names_resolve():
    import fer_edge

    assert fer_edge.EMOTIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert fer_edge.read_fer2013.__module__ == "fer_edge.fer2013.reader"
    assert fer_edge.Recognizer.__module__ == "fer_edge.pipeline.recognizer"
    assert set(fer_edge.__all__) <= set(dir(fer_edge))
    assert all(hasattr(fer_edge, name) for name in fer_edge.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fer_edge.no_such_name


def test_classifying_needs_no_opencv():
    code = (
        "import sys, numpy, fer_edge; fer_edge.load_classifier().predict(numpy.zeros((1, 48, 48), 'uint8'));"
        "print('cv2' in sys.modules)"
    )
    assert run_python(code).strip() == "False"


def test_a_csv_is_labelled_where_opencv_is_not_installed(tmp_path):
    table = write_csv(tmp_path / "drawn.csv", {"PublicTest": 1})
    call = ["predict", str(table), "--out", str(tmp_path / "out.csv")]
    run_python(
        f"import sys; sys.modules['cv2'] = None; from fer_edge.cli import main; sys.exit(main({call!r}))"
    )
    assert len((tmp_path / "out.csv").read_text().split()) == 1 + len(EMOTIONS)


def test_labelling_a_csv_loads_no_opencv(tmp_path):
    table = write_csv(tmp_path / "drawn.csv", {"PublicTest": 1})
    call = ["predict", str(table), "--out", str(tmp_path / "out.csv")]
    code = f"import sys; from fer_edge.cli import main; main({call!r}); print('cv2' in sys.modules)"
    assert run_python(code).strip() == "False"


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("backend", available_backends())
def test_demo_run_is_happy_on_each_backend_with_c_and_with_numpy(backend, pure):
    pytest.importorskip("skimage")
    command = [sys.executable, "-m", "fer_edge", "run", "--camera", "demo", "--frames", "3", "--jsonl", "-"]
    command += ["--backend", backend]
    environment = {**os.environ, "FER_EDGE_PURE": pure}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    frames = [line for line in lines if line["type"] == "frame"]
    assert [line["type"] for line in lines] == ["start", "frame", "frame", "frame", "end"]
    assert all([face["emotion"] for face in frame["faces"]] == ["happy"] for frame in frames)
    assert "3 frames" in done.stderr


def test_version_is_printed(cli):
    code, out, _ = cli("--version")
    assert code == 0
    assert out.startswith("fer-edge 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "missing.csv"),
        ("predict", "missing.csv", "--out", "submission.csv"),
        ("predict", "missing.png"),
        ("run", "missing.mp4"),
        ("bench", "--image", "missing.png"),
    ],
)
def test_a_missing_file_is_named_without_a_traceback(cli, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*arguments)
    assert code == 2
    assert "missing." in err
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


def test_doctor_reports_intact_weights_and_backends_as_json(cli):
    code, out, _ = cli("doctor", "--json")
    findings = json.loads(out)
    assert code == 0
    subjects = {finding["subject"] for finding in findings if finding["state"] == "ok"}
    assert {"python", "weights", "backend", "detector"} <= subjects
    assert not [finding for finding in findings if finding["state"] == "fault"]


def test_doctor_prints_one_line_a_finding(cli):
    code, out, _ = cli("doctor")
    assert code == 0
    assert all(line.split()[0] in ("ok", "note", "fault") for line in out.splitlines())


def test_missing_opencv_is_named_with_its_cure(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    code, _, err = cli("run", "--camera", "demo", "--frames", "1")
    assert code == 2
    assert "pip install 'opencv-python-headless" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--camera", "rtsp://me:hidden@host/x"],
        ["run", "a.jpg", "--camera", "rtsp://me:hidden@host/x"],
        ["run", "a.jpg", "rtsp://me:hidden@host/x"],
        ["bench", "--camera", "rtsp://me:hidden@host/x"],
        ["predict", "rtsp://me:hidden@host/x"],
        ["evaluate", "http://host/x.csv?token=hidden"],
    ],
    ids=" ".join,
)
def test_no_message_repeats_a_password(cli, arguments):
    code, out, err = cli(*arguments)
    assert code == 2
    assert "host/x" in err
    assert "hidden" not in out + err
