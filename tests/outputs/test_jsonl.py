"""JSON lines: what they hold, and the file they go to."""

from __future__ import annotations

import json
import math
import os
import select
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from results import face, gap, result

from fer_edge.errors import DataError, FerEdgeError, OutputError
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.base import OutputClosed
from fer_edge.outputs.jsonl import (
    JsonLinesOutput,
    face_to_json,
    gap_to_json,
    picture_to_json,
    start_to_json,
    summary_to_json,
    to_json,
)
from fer_edge.pipeline.summary import Summary

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "jsonl.md"
documented_here = pytest.mark.skipif(not DOCUMENTATION.exists(), reason="no docs/ beside the tests")

SUMMARY = Summary(3, 1, 0, 5, 4, 2, 1.5, 10.0, math.nan, gaps=1, gap_seconds=12.3456)


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def whole_run(path, **options):
    """Everything that a run can write."""
    model = {"name": "edge", "backend": "litert", "precision": "int8", "labels": "people"}
    start = start_to_json("1.2.3", "camera 0", "door", True, model, {"frames": 3, "model": Path("m.onnx")})
    output = JsonLinesOutput(path, start=[start], **options)
    output.open()
    seen = (face(), face("sad", track=None, detected=False))
    lit = (replace(one, brightness=121.66) for one in seen)
    output.write(replace(result(*lit, timestamp=0.25), brightness=96.04))
    output.gap(7)
    output.write(result(index=1, timestamp=0.5, gap=gap()))
    output.end({"summary": summary_to_json(SUMMARY), "outputs": {"video": {"lost": 1, "dropped": 2}}})
    output.close()
    return records(path)


def test_brightness_is_told_where_it_was_measured():
    lit = replace(result(replace(face(), brightness=121.66), face("sad")), brightness=96.04)
    told = to_json(lit)
    assert told["brightness"] == 96.0
    assert told["faces"][0]["brightness"] == 121.7
    assert "brightness" not in told["faces"][1]
    assert "brightness" not in to_json(result())


def test_a_gap_of_the_camera_is_a_record_before_the_frame_after_it(tmp_path):
    output = JsonLinesOutput(tmp_path / "log.jsonl")
    output.open()
    output.write(result())
    output.write(result(index=1, timestamp=12.4, gap=gap()))
    output.close()
    first, told, second = records(tmp_path / "log.jsonl")
    assert (first["frame"], second["frame"]) == (0, 1)
    del told["time"], told["monotonic"]
    assert told == {
        "schema": 1,
        "type": "gap",
        "lost": 0,
        "camera": "door",
        "began": "2026-11-26T12:30:00.000Z",
        "seconds": 12.346,
        "paused": 0.0,
        "reason": "camera 0: unplugged",
    }


def test_a_gap_says_how_much_of_it_was_a_pause():
    lasting = replace(gap(), reason="paused", seconds=12.3456, paused=10.3)
    told = gap_to_json(lasting, "door")
    assert (told["seconds"], told["paused"], told["reason"]) == (12.346, 10.3, "paused")


def test_a_limit_that_is_infinite_is_none():
    start = start_to_json("1.2.3", "a", "a", False, {}, {"seconds": math.inf, "frames": 3})
    assert start["options"] == {"seconds": None, "frames": 3}


def test_json_line_holds_the_frame_and_its_faces(capsys):
    output = JsonLinesOutput("-")
    output.write(result(face(), index=31, timestamp=0.98))
    output.close()
    (line,) = capsys.readouterr().out.splitlines()
    written = json.loads(line)
    assert written == {
        "schema": 1,
        "type": "frame",
        "frame": 31,
        "timestamp": 0.98,
        "time": "2026-11-26T12:30:00.980Z",
        "monotonic": 1000.98,
        "source": "camera 0",
        "camera": "door",
        "size": [160, 120],
        "latency_ms": 12.35,
        "dropped": 2,
        "faces": [
            {
                "track": 1,
                "detected": True,
                "box": [10.0, 20.1, 30.0, 40.0],
                "score": 0.8765,
                "landmarks": [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]],
                "emotion": "happy",
                "unsure": False,
                "uncertainty": 0.1235,
                "probabilities": {
                    name: 0.93 if name == "happy" else pytest.approx(0.07 / 6, abs=5e-5) for name in EMOTIONS
                },
            }
        ],
    }


def test_sharpness_is_written_where_it_was_measured():
    assert "sharpness" not in face_to_json(face())
    assert face_to_json(replace(face(), sharpness=0.21449))["sharpness"] == 0.214


def test_pitch_is_written_where_it_was_measured():
    assert "pitch" not in face_to_json(face())
    assert face_to_json(replace(face(), pitch=-23.46))["pitch"] == -23.5


def test_json_file_can_be_read_while_it_grows(tmp_path):
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path)
    for index in range(3):
        output.write(result(index=index))
        assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == list(range(index + 1))
    output.close()


def test_json_file_with_content_is_refused_appended_or_overwritten(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"frame":7}\n')
    with pytest.raises(DataError, match=r"log\.jsonl: has content.*--append.*--force"):
        JsonLinesOutput(path)
    for mode, frames in (("append", [7, 0]), ("overwrite", [0])):
        output = JsonLinesOutput(path, mode)
        output.write(result())
        output.close()
        assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == frames


def test_a_log_that_is_moved_away_is_begun_anew(tmp_path, monkeypatch):
    """As logrotate does, while the run goes on."""
    now = [100.0]
    monkeypatch.setattr("fer_edge.outputs.jsonl.time.monotonic", lambda: now[0])
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path)
    output.write(result(index=0))
    path.rename(tmp_path / "log.1")
    output.write(result(index=1))
    now[0] += 1.5
    output.write(result(index=2))
    kept = path.read_text()
    path.unlink()
    now[0] += 1.5
    output.write(result(index=3))
    output.close()
    frames = [
        [json.loads(line)["frame"] for line in text.splitlines()]
        for text in ((tmp_path / "log.1").read_text(), kept, path.read_text())
    ]
    assert frames == [[0, 1], [2], [3]]


@pytest.fixture
def looks(monkeypatch):
    """A function that makes the next write look whether its file still is where it was."""
    now = [100.0]
    monkeypatch.setattr("fer_edge.outputs.jsonl.time.monotonic", lambda: now[0])

    def later():
        now[0] += 1.5

    return later


def frames_in(text):
    return [json.loads(line)["frame"] for line in text.splitlines()]


def test_a_log_whose_folder_is_moved_goes_on_until_it_can_be_begun_anew(tmp_path, looks):
    folder = tmp_path / "logs"
    folder.mkdir()
    output = JsonLinesOutput(folder / "log.jsonl")
    output.write(result(index=0))
    folder.rename(tmp_path / "old")
    for index in (1, 2):
        looks()
        output.write(result(index=index))
    folder.mkdir()
    looks()
    output.write(result(index=3))
    output.close()
    assert frames_in((tmp_path / "old" / "log.jsonl").read_text()) == [0, 1, 2]
    assert frames_in((folder / "log.jsonl").read_text()) == [3]


def test_a_log_that_is_gone_with_its_folder_is_an_error(tmp_path, looks):
    folder = tmp_path / "logs"
    folder.mkdir()
    output = JsonLinesOutput(folder / "log.jsonl")
    output.write(result(index=0))
    shutil.rmtree(folder)
    looks()
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot be written: No such file"):
        output.write(result(index=1))
    folder.mkdir()
    output.open()
    output.write(result(index=2))
    output.close()
    assert frames_in((folder / "log.jsonl").read_text()) == [2]


def test_a_log_that_a_fifo_replaces_does_not_wait_for_a_reader(tmp_path, looks):
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path)
    output.write(result(index=0))
    path.rename(tmp_path / "log.1")
    os.mkfifo(path)
    looks()
    output.write(result(index=1))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    looks()
    output.write(result(index=2))
    assert frames_in((tmp_path / "log.1").read_text()) == [0, 1]
    assert frames_in(os.read(reader, 100_000).decode()) == [2]
    os.close(reader)
    with pytest.raises(OutputClosed):
        output.write(result(index=3))
    output.close()


def test_a_log_that_a_fifo_replaces_and_that_was_deleted_is_an_error(tmp_path, looks):
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path)
    path.unlink()
    os.mkfifo(path)
    looks()
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot be written"):
        output.write(result(index=1))
    with pytest.raises(OutputError, match=r"log\.jsonl: cannot be written"):
        output.open()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    output.open()
    output.write(result(index=2))
    assert frames_in(os.read(reader, 100_000).decode()) == [2]
    output.close()
    os.close(reader)


def test_json_file_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"the folder .*missing does not exist"):
        JsonLinesOutput(tmp_path / "missing" / "log.jsonl")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_full_disk_is_an_error_that_names_the_file():
    output = JsonLinesOutput("/dev/full", "append")
    with pytest.raises(FerEdgeError, match="/dev/full: cannot be written: No space"):
        output.write(result())
    output.close()


def test_reader_that_leaves_ends_the_run_without_noise():
    program = (
        "import sys\n"
        "from fer_edge.outputs.base import OutputClosed\n"
        "from fer_edge.outputs.jsonl import JsonLinesOutput\n"
        "from results import result\n"
        "output = JsonLinesOutput('-')\n"
        "try:\n"
        "    for index in range(100_000): output.write(result(index=index))\n"
        "except OutputClosed: sys.exit(7)\n"
    )
    here = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here
    ) as process:
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 7


def test_long_lines_of_two_outputs_into_a_pipe_stay_whole():
    program = (
        "import threading\n"
        "from fer_edge.outputs.jsonl import JsonLinesOutput\n"
        "from results import face, result\n"
        "def write(first):\n"
        "    output = JsonLinesOutput('-')\n"
        "    for index in range(100): output.write(result(*[face()] * 40, index=first + index))\n"
        "threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    here = Path(__file__).parents[1]
    written = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, cwd=here
    ).stdout
    lines = written.splitlines()
    assert min(map(len, lines)) > 2 * select.PIPE_BUF
    assert sorted(json.loads(line)["frame"] for line in lines) == [*range(200)]


def test_half_a_line_at_the_end_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"frame":0}\n{"fra')
    output = JsonLinesOutput(path, "append")
    output.open()
    output.write(result())
    output.close()
    lines = path.read_text().splitlines()
    assert lines[1] == '{"fra'
    assert json.loads(lines[2])["frame"] == 0


def test_a_run_is_told_from_start_to_end(tmp_path):
    start, first, missed, blind, second, end = whole_run(tmp_path / "log.jsonl")
    assert [one["type"] for one in (start, first, missed, blind, second, end)] == [
        "start",
        "frame",
        "gap",
        "gap",
        "frame",
        "end",
    ]
    assert (start["version"], start["source"], start["camera"], start["live"]) == (
        "1.2.3",
        "camera 0",
        "door",
        True,
    )
    assert start["options"] == {"frames": 3, "model": "m.onnx"}
    assert (missed["lost"], blind["lost"]) == (7, 0)
    assert end["summary"] == {
        "frames": 3,
        "dropped": 1,
        "skipped": 0,
        "missing": 5,
        "faces": 4,
        "tracks": 2,
        "seconds": 1.5,
        "p50_ms": 10.0,
        "p95_ms": None,
        "passed": 0,
        "cpu_percent": None,
        "gaps": 1,
        "gap_seconds": 12.346,
        "paused_seconds": 0.0,
        "fps": 2.0,
    }
    assert end["outputs"] == {"video": {"lost": 1, "dropped": 2}}


def test_the_first_record_is_not_repeated_when_the_file_is_opened_again(tmp_path):
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path, start=[{"schema": 1, "type": "start"}])
    for index in range(2):
        output.open()
        output.write(result(index=index))
        output.close()
    assert [one["type"] for one in records(path)] == ["start", "frame", "frame"]


@pytest.fixture(scope="module")
def schema():
    jsonschema = pytest.importorskip("jsonschema")
    described = json.loads((files("fer_edge.outputs") / "jsonl.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(described)
    return described


def errors(schema, record):
    import jsonschema

    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(record)]


def test_every_record_is_as_the_schema_says(schema, tmp_path):
    picture = picture_to_json("a.png", (640, 480), [face_to_json(face())])
    for record in [*whole_run(tmp_path / "log.jsonl"), picture]:
        assert errors(schema, record) == []


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"type": "other"},
        {"frame": -1},
        {"size": [640]},
        {"time": "2026-11-26 12:30"},
        {"faces": [{"box": [0, 0, 1, 1]}]},
        {"latency_ms": "12"},
        {"faces": [face_to_json(face()) | {"unsure": "no"}]},
        {"faces": [face_to_json(face()) | {"uncertainty": 1.5}]},
        {"faces": [face_to_json(face()) | {"emotion": "unsure"}]},
    ],
)
def test_the_schema_refuses_what_is_not_a_record(schema, change):
    record = to_json(result(face()))
    assert errors(schema, record) == []
    assert errors(schema, record | change)


def test_records_of_former_versions_are_as_the_schema_says(schema):
    """Without `unsure`, `uncertainty` and the model's `labels`."""
    record = to_json(result(face()))
    for name in ("unsure", "uncertainty"):
        del record["faces"][0][name]
    assert errors(schema, record) == []
    start = start_to_json("0.2.0", "a", "a", False, {"name": "a", "backend": "b", "precision": "c"}, {})
    assert errors(schema, start) == []
    start["model"]["labels"] = "fer2014"
    assert errors(schema, start)


def test_an_unsure_face_keeps_its_emotion():
    told = face_to_json(face("sad", unsure=True))
    assert (told["emotion"], told["unsure"]) == ("sad", True)


def test_the_schema_wants_all_of_a_frame_of_a_run(schema):
    for field in set(to_json(result())) - {"frame"}:
        record = to_json(result())
        del record[field]
        assert errors(schema, record), field


def fields(record):
    """Names of all fields in a record, those of faces, model and summary too."""
    for name, value in record.items():
        yield name
        if name in ("model", "summary"):
            yield from value
        if name == "faces":
            for one in value:
                yield from one


@documented_here
def test_every_field_is_in_the_schema_and_in_the_documentation(schema, tmp_path):
    documented = DOCUMENTATION.read_text(encoding="utf-8")
    definitions = schema["$defs"]
    for record in whole_run(tmp_path / "log.jsonl"):
        known = set(definitions[record["type"]]["properties"])
        assert set(record) <= known
        for name in fields(record):
            assert f"`{name}`" in documented, name
        for one in record.get("faces", []):
            assert set(one) == set(definitions["face"]["properties"])
            assert set(one["probabilities"]) == set(EMOTIONS)


@documented_here
def test_the_examples_in_the_documentation_are_records(schema):
    documented = DOCUMENTATION.read_text(encoding="utf-8")
    examples = [
        json.loads(text) for text in documented.split("```json\n")[1:] for text in [text.split("```")[0]]
    ]
    assert {one["type"] for one in examples} == {"start", "frame", "gap", "end"}
    for one in examples:
        assert errors(schema, one) == []


def test_a_line_that_waits_for_its_reader_can_be_given_up(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output = JsonLinesOutput(pipe)
    failures = []

    def fill():
        try:
            while True:
                output.write(result(face()))
        except FerEdgeError as error:
            failures.append(str(error))

    thread = threading.Thread(target=fill)
    thread.start()
    output.cancel()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert failures == [f"{pipe}: the reader has stopped reading"]
    os.close(reader)
    output.close()


def test_a_pipe_without_reader_ends_the_run(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output = JsonLinesOutput(pipe)
    output.write(result())
    os.close(reader)
    with pytest.raises(OutputClosed):
        output.write(result())
    output.close()
