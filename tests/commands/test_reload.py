"""SIGHUP: the configuration is read again by a run that goes on, or ends one that has no file."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from results import result

from fer_edge.commands._outputs import Watched, open_outputs
from fer_edge.config import load
from fer_edge.control.local import ask
from fer_edge.errors import DataError
from fer_edge.sources import ImageSource, open_source

pytest.importorskip("skimage", reason="scikit-image is not installed")

# Signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy

PATIENCE = 60.0
SUFFIXES = {"jsonl": ".jsonl", "save_video": ".mkv", "save_image": ".png", "store": ".db"}


def records(path):
    """The whole lines of a file."""
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line[-1:] == "\n"]
    return []


def await_frames(path, more=1):
    """Wait until so many more frames are recorded; return all records."""
    deadline = time.monotonic() + PATIENCE
    wanted = sum(one["type"] == "frame" for one in records(path)) + more
    while time.monotonic() < deadline:
        found = records(path)
        if sum(one["type"] == "frame" for one in found) >= wanted:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{path}: {len(found)} records, waited for {wanted} frames")


def reload(process):
    """Ask for a reload; return the line that tells of it."""
    process.send_signal(signal.SIGHUP)
    line = process.stderr.readline().strip()
    # Where nobody looks on, lines begin with time and level.
    return re.sub(r"^\d{4}-\S+ (info|warning|error): ", "", line)


def test_sighup_changes_outputs_and_thresholds_and_says_what_needs_a_restart(started, tmp_path):
    file = tmp_path / "door.toml"
    file.write_text('camera = "demo"\njsonl = "a.jsonl"\n')
    process = started("--config", "door.toml")
    assert any(one["faces"] for one in await_frames(tmp_path / "a.jsonl", 20)[1:])

    file.write_text('camera = "demo"\njsonl = "b.jsonl"\nmin_score = 1\nsmoothing = 0\nmirror = true\n')
    told = reload(process)
    assert told == (
        "configuration read again, changed: jsonl, smoothing, min_score; these need a restart: mirror"
    )
    found = await_frames(tmp_path / "b.jsonl", 5)
    assert [one["type"] for one in found[:2]] == ["start", "frame"]
    assert found[0]["options"]["min_score"] == 1 and found[0]["options"]["mirror"] is False
    # No face of the demo's is as sure as that.
    assert not any(one["faces"] for one in found[1:])
    before = records(tmp_path / "a.jsonl")
    assert before[-1]["type"] == "end"
    assert before[-2]["frame"] + 1 == found[1]["frame"]

    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert records(tmp_path / "b.jsonl")[-1]["type"] == "end"


def test_a_bad_new_file_is_one_line_and_the_old_configuration_goes_on(started, tmp_path):
    file = tmp_path / "door.toml"
    file.write_text('camera = "demo"\njsonl = "a.jsonl"\n')
    process = started("--config", "door.toml")
    await_frames(tmp_path / "a.jsonl")

    file.write_text('camera = "demo"\njsnol = "b.jsonl"\n')
    bad = "configuration not read again, the old one goes on: "
    assert reload(process) == f"{bad}door.toml, line 2: unknown key 'jsnol'; did you mean jsonl?"
    file.write_text('camera = "demo"\njsonl = "missing/b.jsonl"\nmin_score = 1\n')
    assert reload(process) == f"{bad}missing/b.jsonl: the folder missing does not exist"
    (tmp_path / "taken.png").write_bytes(b"something")
    file.write_text('camera = "demo"\njsonl = "c.jsonl"\nsave_image = "taken.png"\n')
    assert reload(process).startswith(f"{bad}taken.png: exists already")
    file.unlink()
    assert reload(process) == f"{bad}door.toml: No such file or directory; --config wants a TOML file"

    found = await_frames(tmp_path / "a.jsonl", 20)
    assert any(one["faces"] for one in found[-20:]), "min_score was taken over"
    file.write_text('camera = "demo"\njsonl = "a.jsonl"\n')
    assert reload(process) == "configuration read again, nothing changed"
    found = await_frames(tmp_path / "a.jsonl", 5)
    assert [one["type"] for one in found].count("start") == 1, "an output that stays the same goes on"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert [one["type"] for one in records(tmp_path / "a.jsonl")].count("end") == 1


@pytest.mark.parametrize("key", ["jsonl", "save_video", "save_image", "store"])
def test_a_name_that_no_file_can_have_is_one_line_and_the_old_configuration_goes_on(started, tmp_path, key):
    file, name = tmp_path / "door.toml", "x" * 300 + SUFFIXES[key]
    file.write_text('camera = "demo"\njsonl = "a.jsonl"\n')
    process = started("--config", "door.toml")
    await_frames(tmp_path / "a.jsonl")
    file.write_text('camera = "demo"\nmin_score = 1\n' + f'{key} = "{name}"\n')
    told = reload(process)
    assert told.startswith(f"configuration not read again, the old one goes on: {name}: ")
    assert told.endswith("File name too long")
    found = await_frames(tmp_path / "a.jsonl", 20)
    assert any(one["faces"] for one in found[-20:]), "min_score was taken over"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("mode", ["", "append = true\n", "force = true\n"])
def test_other_limits_leave_the_json_lines_of_the_run(started, tmp_path, mode):
    file = tmp_path / "door.toml"
    head = 'camera = "demo"\njsonl = "a.jsonl"\nkeep_files = ["{}"]\n' + mode
    file.write_text(head.format("1G"))
    process = started("--config", "door.toml")
    before = await_frames(tmp_path / "a.jsonl", 5)
    file.write_text(head.format("2G"))
    assert reload(process) == "configuration read again, changed: keep_files"
    after = await_frames(tmp_path / "a.jsonl", 5)
    assert after[: len(before)] == before, "what was written before is lost"
    file.write_text(head.format("2G") + 'keep_free = "1M"\n')
    assert reload(process) == "configuration read again, changed: keep_free"
    await_frames(tmp_path / "a.jsonl", 5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    found = records(tmp_path / "a.jsonl")
    assert found[: len(after)] == after
    frames = [one["frame"] for one in found if one["type"] == "frame"]
    assert frames == sorted(set(frames))


@pytest.mark.parametrize("changed", ['segment = "1h"', "unsure = false"])
def test_other_options_leave_the_video_of_the_run(started, tmp_path, changed):
    file = tmp_path / "door.toml"
    head = 'camera = "demo"\nunpaced = true\njsonl = "a.jsonl"\nsave_video = "a.mkv"\nforce = true\n'
    file.write_text(head)
    process = started("--config", "door.toml")
    # So many that a piece of the video is written.
    await_frames(tmp_path / "a.jsonl", 100)
    file.write_text(head + changed)
    assert reload(process) == f"configuration read again, changed: {changed.split()[0]}"
    await_frames(tmp_path / "a.jsonl", 100)
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)
    parts = [tmp_path / "a.mkv", *tmp_path.glob("a-*.mkv")]
    counts = []
    for path in parts:
        film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        counts.append(sum(1 for _ in iter(film.grab, False)))
    assert len(counts) == 2 and counts[0] >= 100 and counts[1] > 0


def test_images_that_the_run_has_written_refuse_no_reload(tmp_path):
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    out = tmp_path / "out"
    config = load({"source": str(tmp_path), "save_image": f"{out}/"}, {}).config
    source = ImageSource(tmp_path)

    def opened(config, *before):
        return open_outputs(config, [Watched(config, SimpleNamespace(source=source))], *before)

    first = opened(config)
    (out / "a.png.png").write_bytes(b"written by this run")
    other = replace(config, unsure=False)
    second = opened(other, first)
    assert [*first.slow.values()] != [*second.slow.values()]
    assert (out / "a.png.png").read_bytes() == b"written by this run"
    with pytest.raises(DataError, match=r"a\.png\.png: exists already"):
        opened(other)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("before", "names"), [(0, ["v.mkv"]), (1, ["v-00h00m01s.mkv", "v.mkv"])])
def test_the_video_of_a_film_has_its_plain_name_whenever_the_reload_comes(
    film, tmp_path, force, before, names
):
    """``before``: frames from before the reload, which are written when the next output is open already."""
    path = tmp_path / "video" / "v.mkv"
    path.parent.mkdir()
    if force:
        path.write_bytes(b"of another run")
    config = load({"source": str(film), "save_video": str(path), "force": force}, {}).config
    with open_source(film) as source:

        def opened(config, *before):
            return open_outputs(config, [Watched(config, SimpleNamespace(source=source))], *before)

        first = opened(config)
        (old,) = first.slow.values()
        for index in range(before):
            old.write(result(index=index, timestamp=float(index)))
        (new,) = opened(replace(config, unsure=False), first).slow.values()
        old.close()
        new.write(result(index=1, timestamp=1.0))
        new.close()
    assert sorted(part.name for part in path.parent.iterdir()) == names
    assert all(cv2.VideoCapture(str(path.parent / name), cv2.CAP_FFMPEG).read()[0] for name in names)


def test_a_picture_that_the_run_has_written_refuses_no_reload(started, tmp_path):
    file, last = tmp_path / "door.toml", tmp_path / "last.png"
    head = 'camera = "demo"\njsonl = "a.jsonl"\nsave_image = "last.png"\n'
    file.write_text(head)
    process = started("--config", "door.toml")
    for changed in ("unsure = false\n", ""):
        await_frames(tmp_path / "a.jsonl", 5)
        file.write_text(head + changed)
        assert reload(process) == "configuration read again, changed: unsure"
        assert cv2.imread(str(last)) is not None
    last.unlink()
    await_frames(tmp_path / "a.jsonl", 5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert cv2.imread(str(last)) is not None


def test_flags_still_come_first(started, tmp_path):
    file = tmp_path / "door.toml"
    file.write_text("")
    process = started("--config", "door.toml", "--camera", "demo", "--jsonl", "a.jsonl")
    await_frames(tmp_path / "a.jsonl")
    file.write_text('jsonl = "b.jsonl"\nmin_hits = 1\n')
    assert reload(process) == "configuration read again, changed: min_hits"
    await_frames(tmp_path / "a.jsonl")


def test_without_a_file_sighup_ends_the_run(started, tmp_path):
    process = started("--camera", "demo", "--jsonl", "a.jsonl")
    await_frames(tmp_path / "a.jsonl")
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE) == 0
    assert records(tmp_path / "a.jsonl")[-1]["type"] == "end"


@pytest.mark.parametrize("cameras", [1, 2])
def test_the_file_is_read_again_while_the_cameras_are_waited_for(started, tmp_path, cameras):
    file, url = tmp_path / "door.toml", "http://127.0.0.1:9/video"
    tables = "".join(f'[[camera]]\nname = "{name}"\nsource = "{url}/{name}"\n' for name in "ab")
    head = f'source = "{url}"\n' if cameras == 1 else ""
    text = 'wait_for_camera = true\njsonl = "{}"\n' + head + ("" if head else tables)
    file.write_text(text.format("a.jsonl"))
    process = started("--config", "door.toml")
    for about in (": leaves this device: nothing", ": in the EU it is forbidden to infer emotions at work "):
        assert about in process.stderr.readline()
    for _ in range(cameras):
        assert process.stderr.readline().strip().endswith("; waiting for it")
    file.write_text(text.format("b.jsonl"))
    assert reload(process) == "configuration read again, changed: jsonl"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert (tmp_path / "b.jsonl").exists()


def test_a_session_that_ends_with_its_store_is_reported(started, tmp_path):
    file = tmp_path / "door.toml"
    head = 'camera = "demo"\njsonl = "a.jsonl"\nstate_folder = "state"\n'
    file.write_text(head + 'store = "a.db"\n')
    (tmp_path / "rt").mkdir()
    process = started("--config", "door.toml", XDG_RUNTIME_DIR=str(tmp_path / "rt"))
    await_frames(tmp_path / "a.jsonl")
    ask(tmp_path / "rt" / "fer-edge" / "default.sock", {"action": "start", "name": "evening"})
    assert process.stderr.readline().strip().endswith("session 'evening' has started")
    file.write_text(head + 'store = "b.db"\n')
    assert reload(process) == "configuration read again, changed: store"
    told = "session 'evening' has ended with the store that it was in"
    assert process.stderr.readline().strip().endswith(told)
