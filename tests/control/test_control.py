"""What may be asked of a run: a pause, masks, sessions; what outlasts it, and what is refused."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

from pipeline.several import Recognizer, Script, watching

from fer_edge.control.control import LONGEST_NAME, MOST_CORNERS, MOST_MASKS, Control
from fer_edge.control.folder import state_folder, state_path
from fer_edge.control.memory import VERSION
from fer_edge.control.requests import obey
from fer_edge.errors import DataError
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.watch import Watch
from fer_edge.sources.reconnect import AbsentSource

TRIANGLE = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0))
SQUARE = ((0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2))
SAMPLES = sorted(Path(__file__).parent.glob("control-*.json"))


class Sessions:
    """Takes down what a store is asked for."""

    session = None

    def __init__(self):
        self.asked = []

    def start_session(self, name):
        self.session = name
        self.asked.append(("start", name))

    def mark(self, name, group=None):
        self.asked.append(("mark", name, group))

    def stop_session(self):
        self.session = None
        self.asked.append(("stop",))


@pytest.fixture
def run():
    with Watch(Script(), WatchOptions(camera="door", mask=(TRIANGLE,)), Recognizer()) as one:
        yield one


def test_a_pause_outlasts_the_run(run, tmp_path, caplog):
    folder = tmp_path / "new" / "state"
    control = Control(run, folder=folder)
    assert not folder.exists(), "nothing to keep yet"
    changes = []
    control.on_change(lambda: changes.append(control.paused))
    control.pause()
    control.pause()
    assert (run.paused, control.snapshot()["paused"]) == (True, True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "control-default.json").stat().st_mode) == 0o600

    with Watch(Script(), WatchOptions(camera="door"), Recognizer()) as next_run:
        with caplog.at_level(logging.WARNING, "fer_edge"):
            caplog.clear()
            after = Control(next_run, folder=folder)
        assert next_run.paused
        assert [record.getMessage() for record in caplog.records] == [
            "paused, because the previous run was or may have been; continue with fer-edge resume"
        ]
        after.resume()
        assert not next_run.paused
    with Watch(Script(), WatchOptions(camera="door"), Recognizer()) as last_run:
        Control(last_run, folder=folder)
        assert not last_run.paused
    assert changes == [True]


def test_a_pause_of_a_camera_stops_no_film_and_no_run_of_another_name(run, tmp_path):
    Control(run, folder=tmp_path).pause()
    with Watch(Script(live=False), WatchOptions(), Recognizer()) as film:
        control = Control(film, folder=tmp_path)
        assert not film.paused
        control.pause()
        assert film.paused
        control.resume()
    with Watch(Script(), WatchOptions(), Recognizer()) as other:
        Control(other, folder=tmp_path, name="till")
        assert not other.paused
    with Watch(Script(), WatchOptions(), Recognizer()) as same:
        Control(same, folder=tmp_path)
        assert same.paused


def test_drawn_masks_are_kept_by_camera(tmp_path):
    with watching({"door": Script(), "till": Script()}) as run:
        control = Control(run, folder=tmp_path)
        assert control.cameras == ("door", "till")
        control.set_masks("till", [[[0, 0], [0.5, 0], [0.5, 1]]])
        assert (control.masks("door"), control.masks("till")) == ((), (TRIANGLE,))
        assert control.snapshot()["masks"] == {"door": [], "till": [[(0, 0), (0.5, 0), (0.5, 1)]]}
        results = {result.camera: result for _, result in zip(range(8), run, strict=False)}
        assert not results["till"].image[0, :30].any()
    with Watch(Script(), WatchOptions(camera="till", mask=(SQUARE,)), Recognizer()) as run:
        control = Control(run, folder=tmp_path)
        assert control.masks("till") == (SQUARE, TRIANGLE)
        assert control.drawn("till") == (TRIANGLE,)
        assert not next(run).image[0, :30].any()
        control.set_masks("till", [])
        assert control.masks("till") == (SQUARE,)
    # A mask of a camera that is not there now is not forgotten.
    with Watch(Script(), WatchOptions(camera="door"), Recognizer()) as run:
        Control(run, folder=tmp_path).set_masks("door", [SQUARE])
        Control(run, folder=tmp_path).pause()
    content = json.loads((tmp_path / "control-default.json").read_text())
    assert content == {
        "version": 1,
        "paused": True,
        "paused_cameras": ["door"],
        "masks": {"door": [[list(point) for point in SQUARE]]},
    }


def test_runs_of_one_name_leave_each_other_what_they_remember(run, tmp_path):
    with Watch(Script(), WatchOptions(camera="till"), Recognizer()) as other:
        door, till = Control(run, folder=tmp_path), Control(other, folder=tmp_path)
        door.set_masks("door", [SQUARE])
        door.pause()
        till.set_masks("till", [TRIANGLE])
        till.pause()
        till.resume()
    with Watch(Script(), WatchOptions(camera="door"), Recognizer()) as next_run:
        control = Control(next_run, folder=tmp_path)
        assert (next_run.paused, control.drawn("door")) == (True, (SQUARE,))
        control.resume()
    with watching({"door": Script(), "till": Script()}) as both:
        control = Control(both, folder=tmp_path)
        assert not both.paused
        assert control.masks("till") == (TRIANGLE,)


def test_a_pause_ends_though_its_camera_is_called_otherwise_now(run, tmp_path):
    Control(run, folder=tmp_path).pause()
    for paused in (True, False):
        with Watch(Script(), WatchOptions(camera="hall"), Recognizer()) as renamed:
            control = Control(renamed, folder=tmp_path)
            assert renamed.paused is paused
            control.resume()


@pytest.mark.parametrize(
    ("camera", "polygons", "told"),
    [
        ("hall", [TRIANGLE], "no camera 'hall'; choose one of 'door'"),
        ("door", "0,0 1,1 1,0", "masks must be a list of polygons"),
        ("door", [[[0, 0], [1, 1]]], "three or more points"),
        ("door", [[[0, 0], [1, 1], [1.5, 0]]], "in parts of the picture, 0 to 1"),
        ("door", [[[0, 0], [1, float("nan")], [1, 0]]], "in parts of the picture, 0 to 1"),
        ("door", [[[0, 0], [1, "x"], [1, 0]]], "polygon of points x, y"),
        ("door", [TRIANGLE] * (MOST_MASKS + 1), "at most 50 drawn masks"),
        ("door", [[(0.5, 0.5)] * (MOST_CORNERS + 1)], "of 200 corners each"),
    ],
)
def test_bad_masks_are_refused_and_change_nothing(run, tmp_path, camera, polygons, told):
    control = Control(run, folder=tmp_path)
    with pytest.raises(DataError, match=told):
        control.set_masks(camera, polygons)
    assert control.masks("door") == (TRIANGLE,)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 2}',
        '{"version": 1, "paused": 1}',
        '{"version": 1, "paused": true, "paused_cameras": "door"}',
        '{"version": 1, "paused": true, "paused_cameras": [1]}',
        '{"version": 1, "masks": {"door": 3}}',
        '{"version": 1, "paused": true, "masks": {"door": [[[0, 0]]]}}',
        "[" * 100_000,
    ],
)
def test_a_bad_file_is_told_and_pauses_what_is_live(run, tmp_path, caplog, content):
    """It may have held a pause, or masks without which somebody would be seen."""
    (tmp_path / "control-default.json").write_text(content)
    with caplog.at_level(logging.WARNING, "fer_edge"):
        control = Control(run, folder=tmp_path)
    told, paused = caplog.records
    assert "control-default.json: ignored, so that drawn masks may be missing" in told.getMessage()
    assert "fer-edge resume" in paused.getMessage()
    assert control.snapshot() == {"paused": True, "session": None, "masks": {"door": [list(TRIANGLE)]}}
    control.resume()
    assert not Control(run, folder=tmp_path).paused
    control.pause()
    assert json.loads((tmp_path / "control-default.json").read_text())["paused"] is True


@pytest.mark.parametrize("content", ["{", '{"version": 2}', None])
def test_a_film_leaves_a_bad_file_pausing_what_is_live(run, tmp_path, monkeypatch, content):
    """``None``: good content that may not be read."""

    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    path = tmp_path / "control-default.json"
    path.write_text(content or '{"version": 1, "paused": true}')
    with monkeypatch.context() as patched, Watch(Script(live=False), WatchOptions(), Recognizer()) as film:
        if content is None:
            patched.setattr(Path, "read_text", forbidden)
        control = Control(film, folder=tmp_path)
        assert not film.paused
        control.set_masks(*control.cameras, [SQUARE])
    assert [*json.loads(path.read_text())["masks"].values()] == [[[list(point) for point in SQUARE]]]
    after = Control(run, folder=tmp_path)
    assert run.paused
    after.resume()
    assert not Control(run, folder=tmp_path).paused


def test_resuming_ends_the_pause_of_a_file_that_was_damaged_meanwhile(run, tmp_path):
    path = tmp_path / "control-default.json"
    control = Control(run, folder=tmp_path)
    path.write_text("damaged")
    control.set_masks(*control.cameras, [SQUARE])
    assert json.loads(path.read_text())["paused"], "what was paused before is not known"
    path.write_text("damaged")
    control.pause()
    control.resume()
    assert not json.loads(path.read_text())["paused"]
    Control(run, folder=tmp_path)
    assert not run.paused


def test_there_is_a_sample_of_every_version():
    assert [path.name for path in SAMPLES] == [f"control-{number}.json" for number in range(1, VERSION + 1)]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_what_every_version_remembered_holds(run, tmp_path, caplog, sample):
    path = tmp_path / "control-default.json"
    shutil.copyfile(sample, path)
    control = Control(run, folder=tmp_path)
    assert (control.paused, control.drawn("door")) == (True, (SQUARE,))
    control.resume()
    assert json.loads(path.read_text())["masks"] == json.loads(sample.read_text())["masks"]
    assert [*tmp_path.iterdir()] == [path]


def test_what_a_later_version_remembered_is_kept_after_a_roll_back(run, tmp_path, caplog):
    path, kept = tmp_path / "control-default.json", tmp_path / "control-default.json.unread"
    later = SAMPLES[-1].read_text().replace(f'"version": {VERSION}', f'"version": {VERSION + 1}')
    path.write_text(later)
    control = Control(run, folder=tmp_path)
    assert control.paused
    assert path.read_text() == later and not kept.exists()
    control.resume()
    assert kept.read_text() == later
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "is kept in control-default.json.unread" in caplog.text
    control.set_masks("door", [SQUARE])
    assert kept.read_text() == later
    assert json.loads(path.read_text())["masks"] == {"door": [[list(point) for point in SQUARE]]}


def test_masks_of_a_camera_that_is_called_otherwise_now_are_named(run, tmp_path, caplog):
    content = {"version": 1, "paused": False, "masks": {"till": [SQUARE], "door": [SQUARE]}}
    (tmp_path / "control-default.json").write_text(json.dumps(content))
    control = Control(run, folder=tmp_path)
    assert control.drawn("door") == (SQUARE,)
    assert [record.getMessage() for record in caplog.records] == [
        "masks drawn on 'till' are not used: no camera of this run has that name"
    ]
    control.set_masks("door", [])
    assert [*json.loads((tmp_path / "control-default.json").read_text())["masks"]] == ["till"]


class Late(Script):
    """A camera that is called otherwise than what stood for it; its pictures are bright."""

    def __init__(self):
        super().__init__()
        self.name = "picamera2"

    def __iter__(self):
        for frame in super().__iter__():
            yield replace(frame, image=np.full_like(frame.image, 255))


def awaited(**options):
    absent = AbsentSource("camera 0", "camera 0: is not there", Late)
    return Watch(absent, WatchOptions(min_hits=1, **options), Recognizer())


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr("fer_edge.pipeline.reconnect.PAUSES", (0.01,))


@pytest.mark.usefixtures("no_pauses")
def test_a_camera_that_comes_late_under_another_name_gets_its_own_masks(tmp_path, caplog):
    path = tmp_path / "control-default.json"
    masks = {"camera 0": [SQUARE], "picamera2": [TRIANGLE]}
    path.write_text(json.dumps({"version": 1, "paused": False, "masks": masks}))
    with awaited() as run:
        control = Control(run, folder=tmp_path)
        changes = []
        control.on_change(lambda: changes.append(control.snapshot()["masks"]))
        result = next(run)
        assert control.cameras == (result.camera,) == ("camera 0",)
        assert changes == [{"camera 0": [list(TRIANGLE)]}]
        assert result.image.any() and not result.image[0, :30].any(), "the first picture shows what is masked"
        assert (
            "picamera2 is there, and this run calls it 'camera 0'; masks are those of picamera2"
            in caplog.messages
        )
        control.set_masks(result.camera, [])
    assert json.loads(path.read_text())["masks"] == {"camera 0": [[list(point) for point in SQUARE]]}


@pytest.mark.usefixtures("no_pauses")
def test_what_was_drawn_before_a_camera_came_hides_its_first_picture(tmp_path):
    with awaited() as run:
        control = Control(run, folder=tmp_path)
        control.set_masks("camera 0", [TRIANGLE])
        picture = next(run).image
        assert picture.any() and not picture[0, :30].any()
    with Watch(Late(), WatchOptions(), Recognizer()) as run:
        assert Control(run, folder=tmp_path).drawn("picamera2") == (TRIANGLE,)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("before", "drawn", "after"),
    [
        ({}, [TRIANGLE], {"picamera2": [TRIANGLE]}),
        ({"camera 0": [SQUARE]}, [TRIANGLE], {"camera 0": [SQUARE], "picamera2": [TRIANGLE]}),
        ({"camera 0": [SQUARE], "picamera2": [TRIANGLE]}, [], {"camera 0": [SQUARE]}),
    ],
)
def test_what_was_drawn_before_a_camera_came_is_kept_for_no_other_one(tmp_path, before, drawn, after):
    path = tmp_path / "control-default.json"
    path.write_text(json.dumps({"version": 1, "paused": False, "masks": before}))
    with awaited() as run:
        Control(run, folder=tmp_path).set_masks("camera 0", drawn)
        next(run)
    assert json.loads(path.read_text())["masks"] == json.loads(json.dumps(after))


@pytest.mark.usefixtures("no_pauses")
def test_what_another_run_drew_on_the_camera_that_was_waited_for_stays(tmp_path):
    with awaited() as run, awaited() as other:
        Control(run, folder=tmp_path).set_masks("camera 0", [TRIANGLE])
        Control(other, folder=tmp_path).set_masks("camera 0", [SQUARE])
        next(run)
    masks = json.loads((tmp_path / "control-default.json").read_text())["masks"]
    assert masks == json.loads(json.dumps({"camera 0": [SQUARE], "picamera2": [TRIANGLE]}))


@pytest.mark.usefixtures("no_pauses")
def test_a_camera_that_was_given_a_name_keeps_its_masks_whatever_its_source_is_called(tmp_path):
    with awaited(camera="door") as run:
        control = Control(run, folder=tmp_path)
        control.set_masks("door", [TRIANGLE])
        assert (next(run).camera, control.drawn("door")) == ("door", (TRIANGLE,))
    assert [*json.loads((tmp_path / "control-default.json").read_text())["masks"]] == ["door"]


def test_what_is_remembered_is_on_the_disk_before_it_takes_the_place_of_what_was(run, tmp_path, monkeypatch):
    path, synced = tmp_path / "control-default.json", []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(path.exists()), sync(handle)))
    Control(run, folder=tmp_path).pause()
    assert synced[0] is False and path.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_cannot_be_kept_holds_nevertheless(run, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    control = Control(run, folder=tmp_path / "file" / "state")
    with caplog.at_level(logging.WARNING, "fer_edge"):
        control.pause()
    assert run.paused
    assert "a restart will forget this" in caplog.text


def test_a_pause_is_kept_before_it_is_told(run, tmp_path, monkeypatch):
    path, kept = tmp_path / "control-default.json", []

    class Reader(logging.Handler):
        def emit(self, record):
            kept.append(json.loads(path.read_text())["paused"])

    monkeypatch.setattr(logging.getLogger("fer_edge"), "handlers", [Reader(logging.WARNING)])
    control = Control(run, folder=tmp_path)
    control.pause()
    control.resume()
    assert kept == [True, False]


def test_sessions_go_to_the_store(run):
    store = Sessions()
    control = Control(run, store)
    control.start_session(" Tuesday ")
    assert control.session == control.snapshot()["session"] == "Tuesday"
    control.mark("A")
    control.mark("B", "adverts")
    control.stop_session()
    assert control.session is None
    assert store.asked == [("start", "Tuesday"), ("mark", "A", None), ("mark", "B", "adverts"), ("stop",)]
    other = Sessions()
    control.set_store(other)
    control.start_session("x")
    assert other.session == "x"


def test_without_a_store_there_are_no_sessions(run):
    with pytest.raises(DataError, match="no store to keep sessions in; start it with --store"):
        Control(run).start_session("Tuesday")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[2J", "x" * (LONGEST_NAME + 1), None, 3, ["a"]])
def test_bad_names_are_refused(run, name):
    control = Control(run, Sessions())
    with pytest.raises(DataError, match="the name of a session"):
        control.start_session(name)
    control.start_session("ok")
    with pytest.raises(DataError, match="the name of an event"):
        control.mark(name)
    if name is not None:
        with pytest.raises(DataError, match="the name of a group"):
            control.mark("A", name)


def test_a_request_does_what_the_method_of_its_name_does(run):
    store = Sessions()
    control = Control(run, store)
    status = {"paused": False, "session": None, "cameras": ["door"], "store": True}
    assert obey(control, {"action": "status"}) == status
    assert obey(control, {"action": "start", "name": "x"}) == {**status, "session": "x"}
    obey(control, {"action": "mark", "name": "A", "group": "g"})
    obey(control, {"action": "mark", "name": "B"})
    assert obey(control, {"action": "stop"}) == status
    assert store.asked[1:3] == [("mark", "A", "g"), ("mark", "B", None)]
    assert obey(control, {"action": "pause"})["paused"] is True
    assert run.paused
    assert obey(control, {"action": "resume"})["paused"] is False


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ([], "a request is an object"),
        ({}, "action must be one of status, pause, resume, start, mark, stop; got None"),
        ({"action": "quit"}, "got 'quit'"),
        ({"action": ["pause"]}, "action must be one of"),
        ({"action": "mark"}, "mark: name is missing"),
        ({"action": "start", "name": 5}, "the name of a session"),
    ],
)
def test_bad_requests_are_refused(run, request_, told):
    with pytest.raises(DataError, match=told):
        obey(Control(run, Sessions()), request_)


def test_state_is_kept_where_option_systemd_or_xdg_say(tmp_path, monkeypatch):
    home = {"HOME": "/h"}
    monkeypatch.setenv("HOME", "/h")
    assert str(state_path(None, home)) == "/h/.local/state/fer-edge"
    assert str(state_path(None, {**home, "XDG_STATE_HOME": "relative"})) == "/h/.local/state/fer-edge"
    assert str(state_path(None, {"XDG_STATE_HOME": "/x"})) == "/x/fer-edge"
    made = {"XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}
    assert str(state_path(None, made)) == "/var/lib/a"
    assert str(state_path("/given", made)) == "/given"
    folder = tmp_path / "a" / "b"
    assert state_folder(str(folder)) == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be made to keep state in.*--state-folder"):
        state_folder(str(tmp_path / "file"))


def test_a_folder_in_which_everybody_may_write_is_told_once(tmp_path, caplog):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for _ in range(3):
        state_folder(str(tmp_path / "open"))
    (record,) = caplog.records
    assert f"chmod o-w {tmp_path / 'open'}" in record.getMessage()
