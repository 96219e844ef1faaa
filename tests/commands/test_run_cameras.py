"""Several cameras of one run: from tables of the file and from flags, with common and own outputs."""

from __future__ import annotations

import collections
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib

import pytest

pytest.importorskip("cv2")

from sources.pictures import write_film

from fer_edge.commands import command_parsers
from fer_edge.config import OPTIONS, TABLE, ConfigError, load, reloaded, to_toml
from fer_edge.errors import DataError
from fer_edge.pipeline.options import SHARED

TWO = """\
min_score = 0.8
jsonl = "all.jsonl"
save_video = "v.mkv"
append = true

[[camera]]
name = "door"
source = 0
rotate = 180
region = [0.1, 0, 0.9, 1]
mask = [[[0, 0], [0.3, 0], [0.3, 1]]]
jsonl = "door.jsonl"

[[camera]]
name = "the till"
source = "rtsp://host/live"
min_score = 0.9
save_video = "till.mkv"
"""


def loaded(tmp_path, text, *flags, **environment):
    path = tmp_path / "c.toml"
    path.write_text(text)
    namespace = vars(command_parsers()["run"].parse_args(flags))
    given = {name: value for name, value in namespace.items() if name in OPTIONS}
    return load(given, environment, str(path))


def configs(tmp_path, text, *flags, **environment):
    config = loaded(tmp_path, text, *flags, **environment).config
    return config, {camera.name: camera.config for camera in config.cameras}


def test_a_table_has_what_it_says_and_else_what_stands_above(tmp_path):
    config, cameras = configs(tmp_path, TWO)
    door, till = cameras["door"], cameras["the till"]
    assert (door.source, till.source) == ("0", "rtsp://host/live")
    assert (door.watch.min_score, till.watch.min_score) == (0.8, 0.9)
    assert (door.watch.rotate, till.watch.rotate) == (180, 0)
    assert door.watch.region == (0.1, 0.0, 0.9, 1.0)
    assert door.watch.mask == (((0.0, 0.0), (0.3, 0.0), (0.3, 1.0)),)
    # The lines of all, and those of one; pictures of each.
    assert (config.jsonl, door.jsonl, till.jsonl) == ("all.jsonl", "door.jsonl", None)
    assert (door.append, till.append) == (True, False)
    assert (door.save_video, till.save_video) == ("v-door.mkv", "till.mkv")
    assert config.camera == ()


def test_flags_and_variables_come_before_tables(tmp_path):
    _, cameras = configs(tmp_path, TWO, "--min-score", "0.5", FER_EDGE_ROTATE="90")
    assert {camera.watch.min_score for camera in cameras.values()} == {0.5}
    assert {camera.watch.rotate for camera in cameras.values()} == {90}


def test_a_source_or_cameras_of_flags_displace_the_tables(tmp_path):
    config, cameras = configs(tmp_path, TWO, "party.mp4")
    assert (config.source, cameras) == ("party.mp4", {})
    config, cameras = configs(tmp_path, TWO, "--camera", "demo")
    assert (config.camera, cameras) == (("demo",), {})
    config, cameras = configs(tmp_path, TWO, FER_EDGE_CAMERA="demo 1")
    assert {name: camera.source for name, camera in cameras.items()} == {"demo": "demo", "camera 1": "1"}


def test_cameras_of_flags_have_names_without_secrets(tmp_path):
    flags = []
    for source in ("0", "demo", "rtsp://me:pw@host/a?token=x", "demo", "film.mp4", "demo"):
        flags += ["--camera", source]
    config, cameras = configs(tmp_path, 'save_image = "a.png"', *flags)
    names = ["camera 0", "demo", "rtsp://host/a?token=***", "demo 2", "film.mp4", "demo 3"]
    assert list(cameras) == names
    assert cameras["rtsp://host/a?token=***"].source == "rtsp://me:pw@host/a?token=x"
    assert cameras["rtsp://host/a?token=***"].save_image == "a-rtsp-host-a-token.png"
    assert cameras["demo 2"].save_image == "a-demo-2.png"
    assert config.camera == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[camera]]\nsource = 0", 'line 1: a camera needs a name, as in name = "door"'),
        ("[[camera]]\nname = 1\nsource = 0", 'line 1: a camera needs a name, as in name = "door"'),
        ("\n[[camera]]\nname = 'a'", "line 2: camera 'a' needs a source, as in source = 0"),
        (
            "[[camera]]\nname = 'a'\nsource = 0\n[[camera]]\nname = 'a'\nsource = 1",
            "line 4: there are two cameras with the name 'a'",
        ),
        (
            "[[camera]]\nname = 'a'\nsource = 0\nmin_scor = 1",
            "line 4: camera 'a': unknown key 'min_scor'; did you mean min_score?",
        ),
        (
            "[[camera]]\nname = 'a'\nsource = 0\nframes = 1",
            "line 4: camera 'a': frames is the same for all cameras; it goes above the first [[camera]]",
        ),
        ("[[camera]]\nname = 'a'\nsource = 0\nrotate = 45", "line 4: rotate: there is no '45'"),
        ("[[camera]]\nname = 'a'\nsource = 1.5", "line 3: source: must be a text, not a number"),
        (
            "[[camera]]\nname = 'a'\nsource = 0\nappend = true",
            "line 1: camera 'a': --append is for a --jsonl",
        ),
        (
            "[[camera]]\nname = 'a'\nsource = 0\nregion = [0, 0, 1]",
            "line 4: region: '0,0,1' is not LEFT,TOP,RIGHT,BOTTOM in parts of the picture, 0 to 1",
        ),
        (
            "[[camera]]\nname = 'a'\nsource = 0\nregion = '0,0,1,1'",
            "line 4: region: must be four numbers, as in [0.1, 0, 0.9, 1], not a text",
        ),
        (
            "[[camera]]\nname = 'a'\nsource = 0\nmask = [[1, 2, 3]]",
            "line 4: mask: [[1, 2, 3]] is not polygons, as in",
        ),
        ("source = 'x'\n[[camera]]\nname = 'a'\nsource = 0", "not both"),
        ("append = true\n[[camera]]\nname = 'a'\nsource = 0", "--append is for a --jsonl file"),
        (
            "require = ['jsonl']\n[[camera]]\nname = 'a'\nsource = 0",
            "--require jsonl: there is no such output",
        ),
        (
            "[[camera]]\nname = 'a'\nsource = 0\npassword_file = '/etc/hostname'",
            "line 1: camera 'a': 0: --password-file is for a URL with a user",
        ),
    ],
)
def test_a_bad_table_is_told_with_line_camera_and_remedy(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "flags", "environment", "message"),
    [
        (
            "min_score = 0.8\ncamera = ['0', '0']",
            [],
            {},
            "line 2: cameras 'camera 0' and 'camera 0 2' are both",
        ),
        (
            "[[camera]]\nname = 'a'\nsource = 0\n[[camera]]\nname = 'b'\nsource = '/dev/video0'",
            [],
            {},
            "line 6: cameras 'a' and 'b' are both /dev/video0, which can be opened only once; leave one "
            "of them out, or give it another source",
        ),
        ("", [], {"FER_EDGE_CAMERA": "0 1 0"}, "FER_EDGE_CAMERA: cameras 'camera 0' and 'camera 0 2'"),
        ("", ["--camera", "0", "--camera", "0"], {}, "--camera: cameras 'camera 0' and 'camera 0 2'"),
        ("", ["--camera", "picamera2", "--camera", "picamera2"], {}, "are both picamera2, which"),
        ("", ["--camera", "usb:046D:082d", "--camera", "usb:046d:082d"], {}, "are both usb:046d:082d, which"),
        ("", ["--camera", "-", "--camera", "-"], {}, "are both /dev/stdin, which"),
    ],
)
def test_a_device_for_two_cameras_is_refused(tmp_path, text, flags, environment, message):
    with pytest.raises(DataError if flags else ConfigError) as caught:
        loaded(tmp_path, text, *flags, **environment)
    assert message in str(caught.value)


def test_several_cameras_may_be_parts_of_one_stream(tmp_path):
    text = "".join(
        f"[[camera]]\nname = '{name}'\nsource = 'rtsp://host/live'\nregion = {region}\n"
        for name, region in (("left", [0, 0, 0.5, 1]), ("right", [0.5, 0, 1, 1]))
    )
    _, cameras = configs(tmp_path, text)
    assert {camera.source for camera in cameras.values()} == {"rtsp://host/live"}
    assert cameras["right"].watch.region == (0.5, 0, 1, 1)


def test_what_all_cameras_share_is_no_key_of_a_table():
    assert not TABLE & SHARED
    assert {"source", "password_file", "rotate", "mirror", "region", "mask", "min_score", "jsonl"} <= TABLE
    assert not TABLE & {"camera", "window", "require", "unsure", "model"}


def test_a_password_above_is_for_the_cameras_that_take_one(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s\n")
    secret.chmod(0o600)
    text = f'password_file = "{secret}"\n' + "".join(
        f'[[camera]]\nname = "{name}"\nsource = "{source}"\n'
        for name, source in (("a", "rtsp://me@host/x"), ("b", "demo"), ("c", "rtsp://me:pw@host/x"))
    )
    _, cameras = configs(tmp_path, text)
    found = {name: camera.watch.password_file for name, camera in cameras.items()}
    assert found == {"a": str(secret), "b": None, "c": None}


def test_print_config_of_several_cameras_can_be_read_back(tmp_path):
    first = loaded(tmp_path, TWO)
    printed = to_toml(first)
    assert [table["name"] for table in tomllib.loads(printed)["camera"]] == ["door", "the till"]
    assert loaded(tmp_path, printed).config == first.config
    flags = loaded(tmp_path, "", "--camera", "demo", "--camera", "rtsp://me:pw@host/live")
    printed = to_toml(flags)
    assert "pw" not in printed
    _, cameras = configs(tmp_path, printed)
    assert {name: camera.source for name, camera in cameras.items()} == {
        "demo": "demo",
        "rtsp://host/live": "rtsp://host/live",
    }


def test_print_config_leaves_out_what_flags_and_variables_displace_in_tables(tmp_path):
    first = loaded(tmp_path, TWO, "--rotate", "90", FER_EDGE_MIN_SCORE="0.7")
    door, till = tomllib.loads(to_toml(first))["camera"]
    assert "rotate" not in door and "min_score" not in till
    assert door["jsonl"] == "door.jsonl"
    assert loaded(tmp_path, to_toml(first)).config == first.config


def test_a_reload_tells_changes_of_cameras_by_their_names(tmp_path):
    running = loaded(tmp_path, TWO).config
    wanted = loaded(
        tmp_path,
        TWO.replace("min_score = 0.9", "min_score = 0.95")
        .replace("rotate = 180", "mirror = true")
        .replace("min_score = 0.8", "min_score = 0.7\nsmoothing = 1"),
    ).config
    new = reloaded(running, wanted)
    # What changes above the tables as well is not told again.
    assert new.changed == ("smoothing", "min_score")
    assert new.left == ("door: rotate", "door: mirror")
    assert [camera.config.watch.min_score for camera in new.config.cameras] == [0.7, 0.95]
    assert [camera.config.watch.smoothing for camera in new.config.cameras] == [1.0, 1.0]
    assert new.config.cameras[0].config.watch.rotate == 180
    assert reloaded(running, loaded(tmp_path, "").config).left[-1] == "camera"
    assert reloaded(running, running).changed == reloaded(running, running).left == ()


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_of_several_cameras_writes_common_and_own_outputs(cli, tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(
        'frames = 30\njsonl = "all.jsonl"\nsave_image = "last.png"\n'
        '[[camera]]\nname = "door"\nsource = "demo"\njsonl = "door.jsonl"\n'
        '[[camera]]\nname = "till"\nsource = "demo"\nmask = [[[0, 0], [1, 0], [1, 1], [0, 1]]]\n'
    )
    code, out, err = cli("run", "--config", "c.toml")
    assert code == 0, err
    assert [line.split(":")[0] for line in out.splitlines()[-3:]] == ["door", "till", "all"]
    assert "all: 30 frames" in out

    told = records(tmp_path / "all.jsonl")
    assert [(one["type"], one["camera"]) for one in told[:2]] == [("start", "door"), ("start", "till")]
    frames = [one for one in told if one["type"] == "frame"]
    counts = collections.Counter(one["camera"] for one in frames)
    assert sum(counts.values()) == 30 and min(counts.values()) >= 1
    assert {name: one["frames"] for name, one in told[-1]["cameras"].items()} == counts
    assert told[-1]["summary"]["frames"] == 30
    assert not any(one["faces"] for one in frames if one["camera"] == "till"), "all of it is masked"
    assert any(one["faces"] for one in frames if one["camera"] == "door")

    own = [one for one in records(tmp_path / "door.jsonl") if one["type"] == "frame"]
    assert own == [one for one in frames if one["camera"] == "door"]
    import cv2

    assert cv2.imread("last-till.png").max() == 0
    assert cv2.imread("last-door.png").max() > 100


@pytest.mark.parametrize("also", ["", 'jsonl = "-"\n'], ids=["one", "both"])
def test_lines_of_a_camera_on_stdout_are_alone_there(cli, tmp_path, monkeypatch, also):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(
        'frames = 10\n[[camera]]\nname = "door"\nsource = "demo"\njsonl = "-"\n'
        '[[camera]]\nname = "till"\nsource = "demo"\n' + also
    )
    code, out, err = cli("run", "--config", "c.toml")
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert {one["camera"] for one in found if one["type"] == "start"} == {"door", *["till"] * bool(also)}
    assert "all: 10 frames" in err


def test_two_cameras_write_one_store_with_rows_of_both(cli, tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(
        'frames = 60\nstore = "s.db"\nmin_hits = 1\n'
        '[[camera]]\nname = "door"\nsource = "demo"\n[[camera]]\nname = "till"\nsource = "demo"\n'
    )
    code, _, err = cli("run", "--config", "c.toml")
    assert code == 0, err
    with contextlib.closing(sqlite3.connect("s.db")) as store:
        for table in ("visits", "minutes"):
            assert {name for (name,) in store.execute(f"SELECT camera FROM {table}")} == {"door", "till"}
        starts = [json.loads(start) for (start,) in store.execute("SELECT start FROM runs")]
    assert [[one["camera"] for one in run] for run in starts] == [["door", "till"]]


def test_cameras_and_films_do_not_write_one_store(cli, tmp_path, monkeypatch, astronaut):
    pytest.importorskip("skimage")
    import cv2

    monkeypatch.chdir(tmp_path)
    write_film("film.avi", 3 * [cv2.resize(astronaut, (256, 256))])
    code, _, err = cli("run", "--camera", "film.avi", "--camera", "demo", "--store", "s.db")
    assert code == 2
    assert "--store: cameras and films need separate runs" in err
    assert not (tmp_path / "s.db").exists()


def test_cameras_of_flags_may_be_films_and_cameras(cli, tmp_path, monkeypatch, astronaut):
    pytest.importorskip("skimage")
    import cv2

    monkeypatch.chdir(tmp_path)
    write_film("film.avi", 12 * [cv2.resize(astronaut, (256, 256))])
    code, out, err = cli(
        "run", "--camera", "film.avi", "--camera", "demo", "--seconds", "8", "--jsonl", "a.jsonl"
    )
    assert code == 0, err
    frames = [one for one in records(tmp_path / "a.jsonl") if one["type"] == "frame"]
    assert [one["frame"] for one in frames if one["camera"] == "film.avi"] == list(range(12))
    assert any(one["camera"] == "demo" for one in frames)
    assert "film.avi  frame 0" in out and "demo  frame 0" in out


def test_two_cameras_cannot_write_one_file(cli, tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    table = '[[camera]]\nname = "{}"\nsource = "demo"\njsonl = "one.jsonl"\n'
    (tmp_path / "c.toml").write_text(table.format("a") + table.format("b"))
    code, _, err = cli("run", "--config", "c.toml", "--frames", "2")
    assert code == 2
    assert "two outputs cannot be the same file" in err


@pytest.mark.parametrize("name", ["demo", "0"])
def test_a_camera_given_as_a_file_is_told_how_to_name_it(cli, name):
    code, _, err = cli("run", name)
    assert code == 2
    assert err.strip().endswith(f"{name}: No such file or directory; the camera is --camera {name}")


def test_a_camera_that_cannot_be_opened_ends_the_run_before_it_begins(cli):
    pytest.importorskip("skimage")
    code, _, err = cli("run", "--camera", "demo", "--camera", "nowhere.mp4")
    assert code == 2
    assert err == "fer-edge run: nowhere.mp4: No such file or directory\n"


@pytest.mark.heavy
def test_sigterm_ends_all_cameras_and_finishes_the_files(tmp_path):
    pytest.importorskip("skimage")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fer_edge",
            "run",
            "--camera",
            "demo",
            "--camera",
            "demo",
            "--jsonl",
            "a.jsonl",
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        path = tmp_path / "a.jsonl"
        while time.monotonic() < deadline and not (path.exists() and path.read_text().count("\n") > 10):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert records(path)[-1]["type"] == "end"
