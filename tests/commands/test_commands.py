"""predict, bench and their figures, through the real command line."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

import fer_edge
from fer_edge import machine
from fer_edge.checks import latency
from fer_edge.checks.latency import Subject, doubts, summarize
from fer_edge.commands._json import to_json
from fer_edge.commands.bench import _progress
from fer_edge.models.backends import available_backends
from fer_edge.models.manifest import WEIGHTS, bundled_models, read_manifest


def test_json_has_null_for_what_is_not_a_number():
    assert json.loads(to_json({"a": float("nan"), "b": [1.5, None]})) == {"a": None, "b": [1.5, None]}


@pytest.mark.heavy
def test_predict_writes_one_code_a_row_in_order(cli, drawn_csv, tmp_path):
    lines = drawn_csv.read_text().splitlines()[1:]
    test_csv = tmp_path / "test.csv"
    test_csv.write_text("pixels\n" + "\n".join(f'"{line.split(",")[1]}"' for line in lines) + "\n")
    out = tmp_path / "submission.csv"
    code, _, err = cli("predict", test_csv, "--out", out)
    assert code == 0, err
    assert "210 rows" in err
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    pixels = fer_edge.read_fer2013(test_csv).pixels
    expected = fer_edge.load_classifier(labels="fer2013").predict(pixels).argmax(1)
    assert [int(row["emotion"]) for row in rows] == expected.tolist()
    by_people = fer_edge.load_classifier().answer(pixels).emotions
    assert by_people.tolist() != expected.tolist()
    for labels, told in (("people", by_people), ("fer2013", expected)):
        code, text, err = cli("predict", test_csv, "--out", "-", "--labels", labels)
        assert code == 0, err
        assert list(map(int, text.splitlines()[1:])) == told.tolist()


def test_predict_leaves_nothing_behind_when_a_row_is_bad(cli, tmp_path):
    test_csv = tmp_path / "test.csv"
    test_csv.write_text("pixels\n" + " ".join(["1"] * 2304) + "\n1 2 3\n")
    out = tmp_path / "submission.csv"
    out.write_text("older result\n")
    code, _, err = cli("predict", test_csv, "--out", out, "--force")
    assert code == 2
    assert "row 2" in err
    assert out.read_text() == "older result\n"
    assert {path.name for path in tmp_path.iterdir()} == {"test.csv", "submission.csv"}
    code, _, err = cli("predict", test_csv, "--out", out, "--force", "--skip-bad")
    assert code == 0
    assert "1 rows labelled, 1 skipped" in err
    assert out.read_text().splitlines()[0] == "row,emotion"
    assert [line.split(",")[0] for line in out.read_text().splitlines()[1:]] == ["1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("me.jpg", "--skip-bad"), "--skip-bad is for the rows of a CSV"),
        (("a.csv",), "--out"),
        (("a.csv", "b.csv", "--out", "c.csv"), "one CSV"),
        (("a.csv", "--out", "c.csv", "--detector-model", "x"), "--detector-model"),
        (("a.csv", "--out", "c.csv", "--jsonl"), "for images"),
        (("a.csv", "--out", "c.csv", "--align"), "for images"),
        (("a.csv", "--out", "c.csv", "--detect-size", "full"), "for images"),
        *(
            (("a.csv", "--out", "c.csv", *option), f"{option[0]} is for images, not for a CSV")
            for option in (
                *(("--crops",), ("--rotate", "90"), ("--mirror",), ("--recursive",), ("--unsure", "off")),
                *(("--max-pixels", "9"), ("--detector-engine", "onnx"), ("--detector-model", "x")),
            )
        ),
        (("a.png", "--crops", "--detect-size", "64"), "--detect-size is for the detector"),
        (("a.png", "--crops", "--detector-model", "x"), "--detector-model is for the detector"),
        (("a.png", "--crops", "--detector-engine", "onnx"), "--detector-engine is for the detector"),
        (("a.png", "--detect-size", "large"), "whole number of at least 1, nor full"),
        (("a.png", "--detect-size", "8"), "32 pixels or more"),
        (("a.png", "--align", "--crops"), "--align needs the detector"),
        (("a.png", "b.png", "--out", "c.csv"), "--jsonl FILE"),
    ],
)
def test_predict_explains_what_goes_together(cli, arguments, message):
    code, _, err = cli("predict", *arguments)
    assert code == 2
    assert message in err


@pytest.fixture
def photo(tmp_path):
    cv2 = pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    path = tmp_path / "astronaut.png"
    cv2.imwrite(str(path), data.astronaut()[:, :, ::-1])
    return path


def test_predict_finds_the_happy_astronaut(cli, photo):
    code, out, err = cli("predict", photo, "--jsonl")
    assert code == 0, err
    record = json.loads(out)
    assert record["size"] == [512, 512]
    assert record["source"] == str(photo)
    (face,) = record["faces"]
    assert face["emotion"] == "happy"
    x, y, width, height = face["box"]
    assert x < 223 < x + width
    assert y < 120 < y + height
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("crops", [(), ("--crops",)])
def test_predict_tells_images_what_people_would_say(cli, photo, crops):
    if crops:
        import cv2

        cv2.imwrite(str(photo), cv2.imread(str(photo))[60:180, 160:280])
    for labels, words in (
        ((), r"\d+ of 10 would say happy"),
        (("--labels", "people"), r"\d+ of 10 would say happy"),
        (("--labels", "fer2013"), r"happy \d+ %"),
    ):
        code, out, err = cli("predict", photo, *crops, *labels)
        assert code == 0, err
        assert re.fullmatch(rf"{re.escape(str(photo))}  1 face: {words}\n", out)


def test_predict_says_unsure_unless_it_is_off(cli, tmp_path):
    """Of an even grey picture nobody could tell anything."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "fog.png"
    cv2.imwrite(str(path), np.full((60, 60), 128, np.uint8))
    expected = fer_edge.load_classifier().answer(np.full((1, 48, 48), 128, np.uint8))
    assert expected.unsure.tolist() == [True]
    told = {}
    for unsure in ("on", "off"):
        code, out, err = cli("predict", path, "--crops", "--unsure", unsure)
        assert code == 0, err
        told[unsure] = out
        code, out, err = cli("predict", path, "--crops", "--unsure", unsure, "--jsonl")
        assert code == 0, err
        (face,) = json.loads(out)["faces"]
        assert face["unsure"] is True
        assert face["uncertainty"] == pytest.approx(float(expected.uncertainty[0]), abs=5e-5)
        assert face["emotion"] == fer_edge.EMOTIONS[int(expected.emotions[0])]
    assert "1 face: unsure, " in told["on"]
    assert told["off"] == told["on"].replace("unsure, ", "")


def test_predict_with_the_labels_of_2013_is_never_unsure(cli, photo):
    code, out, err = cli("predict", photo, "--jsonl", "--labels", "fer2013")
    assert code == 0, err
    (face,) = json.loads(out)["faces"]
    assert face["unsure"] is False
    assert face["probabilities"][face["emotion"]] == max(face["probabilities"].values())


@pytest.fixture
def former_export(tmp_path):
    """A folder with the files of ``nano`` and a manifest of format 1, as former versions wrote them."""
    folder = tmp_path / "former"
    folder.mkdir()
    manifest = read_manifest(WEIGHTS)
    manifest["format"] = "fer-edge manifest 1"
    manifest["models"] = {"nano": manifest["models"]["nano"]}
    entry = manifest["models"]["nano"]
    del entry["people"]
    for name, file in entry["files"].items():
        shutil.copy(WEIGHTS / name, folder)
        file["output"] = file.pop("outputs")["fer2013"]
        file["reference"]["logits"] = file["reference"]["logits"]["fer2013"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("command", ["run", "predict"])
def test_a_former_export_says_what_it_cannot_answer(cli, photo, former_export, command):
    code, out, err = cli(command, photo, "--model", former_export)
    assert (code, out) == (2, "")
    assert (
        "answers with the labels of 2013 only; choose labels='fer2013' (--labels fer2013), or export" in err
    )
    code, out, err = cli(command, photo, "--model", former_export, "--labels", "fer2013")
    assert code == 0, err
    assert re.search(r"1 face: happy \d+ %", out)


def test_bench_times_a_former_export(cli, photo, former_export):
    arguments = ("bench", "--image", photo, "--calls", "2", "--threads", "1", "--json")
    code, out, err = cli(*arguments, "--model", former_export)
    assert code == 0, err
    report = json.loads(out)
    subjects = [timing["subject"] for timing in report["timings"]]
    assert [one["model"] for one in subjects if one["name"] == "whole frame"] == [str(former_export)]
    assert report["peak_memory"] is None or report["peak_memory"] > 20e6


def test_detect_size_finds_a_small_face_in_a_large_picture(cli, photo, tmp_path):
    import cv2

    picture = np.full((1500, 2000, 3), 90, np.uint8)
    picture[700:900, 1000:1200] = cv2.resize(cv2.imread(str(photo)), (200, 200), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "large.png"), picture)
    for command in (("predict", "--jsonl"), ("run", "--jsonl", "-")):
        for size, count in (("320", 0), ("2000", 1), ("full", 1)):
            code, out, err = cli(command[0], tmp_path / "large.png", *command[1:], "--detect-size", size)
            assert code == 0, err
            records = [json.loads(line) for line in out.splitlines()]
            (faces,) = (record["faces"] for record in records if record["type"] == "frame")
            assert len(faces) == count
            for face in faces:
                scale = 200 / 512
                expected = [1000 + 178 * scale, 700 + 63 * scale, 90 * scale, 113 * scale]
                assert face["box"] == pytest.approx(expected, abs=4)


def test_predict_turns_a_tilted_face_upright_on_request(cli, photo):
    import cv2

    image = cv2.imread(str(photo))
    tilt = cv2.getRotationMatrix2D((223, 120), 30, 1)
    cv2.imwrite(str(photo), cv2.warpAffine(image, tilt, (512, 512), borderMode=cv2.BORDER_REPLICATE))
    answers = []
    for options in ((), ("--align",)):
        code, out, err = cli("predict", photo, "--jsonl", "--labels", "fer2013", *options)
        assert code == 0, err
        answers.append(json.loads(out)["faces"][0])
    as_it_is, aligned = answers
    assert aligned["box"] == as_it_is["box"]
    assert aligned["probabilities"] != as_it_is["probabilities"]
    assert aligned["emotion"] == "happy"


def test_predict_takes_an_aligned_crop_whole(cli, photo, tmp_path):
    import cv2

    crop = tmp_path / "crop.png"
    cv2.imwrite(str(crop), cv2.imread(str(photo))[60:180, 160:280])
    code, out, err = cli("predict", crop, "--crops", "--jsonl")
    assert code == 0, err
    (face,) = json.loads(out)["faces"]
    assert face["emotion"] == "happy"
    assert face["box"] == [0, 0, 120, 120]
    assert "landmarks" not in face


def test_the_former_name_of_crops_works_and_says_what_it_is_called(cli, photo):
    code, out, err = cli("predict", photo, "--aligned", "--jsonl")
    assert code == 0, err
    assert err.count("--aligned is now called --crops") == 1
    assert "score" not in json.loads(out)["faces"][0]
    assert "--aligned" not in cli("predict", "--help")[1]


def test_json_lines_go_to_a_file_and_the_lines_for_people_to_stdout(cli, photo, tmp_path):
    lines = tmp_path / "faces.jsonl"
    code, out, err = cli("predict", photo, "--jsonl", lines)
    assert code == 0, err
    assert out.startswith(f"{photo}  ")
    written = lines.read_text()
    for arguments in ((photo, "--jsonl"), ("--jsonl", "-", photo)):
        assert cli("predict", *arguments)[:2] == (0, written)
    assert json.loads(written)["faces"][0]["emotion"] == "happy"

    code, _, err = cli("predict", photo, "--jsonl", lines)
    assert code == 2
    assert "--force overwrites it" in err
    lines.write_text('{"old": 1}\n')
    assert cli("predict", photo, "--jsonl", lines, "--force")[0] == 0
    assert lines.read_text() == written
    code, _, err = cli("predict", photo, "--jsonl", "--force")
    assert code == 2
    assert "--force is for the file of --out or --jsonl" in err


@pytest.mark.parametrize("command", ["predict", "run"])
def test_a_picture_is_never_taken_for_the_file_of_json_lines(cli, photo, command):
    """Behind a bare --jsonl a picture looks like its value."""
    content = photo.read_bytes()
    for arguments in (("--jsonl", photo), ("--jsonl", photo, photo, "--force"), ("--jsonl", photo.parent)):
        code, _, err = cli(command, *arguments)
        assert code == 2
        assert "not a file for JSON lines; for stdout give --jsonl -" in err
    assert photo.read_bytes() == content


@pytest.mark.parametrize("command", ["predict", "predict --force", "run", "run --force", "run --append"])
@pytest.mark.parametrize(
    "content",
    [
        b"\x1aE\xdf\xa3\xa3B\x86\x81\x01",
        b"\0\0\0\x20ftypisom\0\0\x02\0",
        b"YUV4MPEG2 W64 H48\nFRAME\n\x10\x10\x10",
        b"\x1f\x8b\x08\0",
    ],
)
def test_json_lines_are_added_to_no_other_file_nor_replace_it(cli, photo, tmp_path, command, content):
    """Behind a bare --jsonl a film looks like its value."""
    film = tmp_path / "film"
    film.write_bytes(content)
    code, _, err = cli(*command.split(), photo, "--jsonl", film)
    assert code == 2
    assert f"'{film}' holds something other than text, not a file for JSON lines" in err
    assert "--append adds" not in err
    assert film.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b'\n{"type":"end"}\n',
        b' \n {"type":"end"}\n',
        b'frame":9}\n{"type":"end"}\n',
        b'{"frame":9}\n\0\0\0',
        b'\xef\xbb\xbf{"a":1}\n',
    ],
)
def test_json_lines_are_added_to_a_file_that_a_pulled_plug_or_an_editor_left(cli, photo, tmp_path, content):
    log = tmp_path / "log.jsonl"
    log.write_bytes(content)
    code, _, err = cli("run", photo, "--jsonl", log, "--append")
    assert code == 0, err
    assert log.read_bytes().startswith(content)
    records = [json.loads(line) for line in log.read_text().splitlines()[-3:]]
    assert [record["type"] for record in records] == ["start", "frame", "end"]


@pytest.mark.parametrize("kind", [".png", ".bmp"])
def test_predict_says_of_a_picture_that_answers_go_to_json_lines(cli, photo, tmp_path, kind):
    cv2 = pytest.importorskip("cv2")
    picture = tmp_path / f"me{kind}"
    cv2.imwrite(str(picture), cv2.imread(str(photo)))
    misnamed = tmp_path / "me.csv"
    misnamed.write_bytes(picture.read_bytes())
    for name in (picture, misnamed):
        code, out, err = cli("predict", name, "--out", tmp_path / "out.csv")
        assert (code, out) == (2, "")
        assert err == "fer-edge predict: --out is for the labels of one CSV; use --jsonl FILE for images\n"
    assert not (tmp_path / "out.csv").exists()


def test_run_without_a_file_for_json_lines_writes_to_stdout(cli, photo):
    code, out, err = cli("run", photo, "--jsonl")
    assert code == 0, err
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["start", "frame", "end"]


def test_predict_answers_the_rest_when_one_image_is_broken(cli, photo, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n but no more")
    code, out, err = cli("predict", broken, photo)
    assert code == 2
    assert "broken.png" in err
    assert "happy" in out


@pytest.mark.heavy
def test_bench_times_every_classifier_and_the_whole_frame(cli, photo):
    code, out, err = cli("bench", "--image", photo, "--calls", "15", "--threads", "1", "--json")
    assert code == 0, err
    report = json.loads(out)
    subjects = [timing["subject"] for timing in report["timings"]]
    timed = {
        (s["model"], s["backend"], s["precision"], s["threads"])
        for s in subjects
        if s["name"] == "classifier"
    }
    assert timed == {
        (model, backend, precision, 1)
        for model in bundled_models()
        for backend in available_backends()
        for precision in ("int8", "fp32")
    }
    names = {subject["name"] for subject in subjects}
    assert {"detector", "detector, window of 128", "whole frame", "1 face in full"} <= names
    assert {"5 faces in full", "15 faces in full", "1 face as on cameras"} <= names
    assert ("detector on litert, int8" in names) == ("litert" in available_backends())
    for timing in report["timings"]:
        assert timing["calls"] == 15
        assert 0 < timing["min"] <= timing["p50"] <= timing["p95"] <= timing["p99"]
    fastest = {timing["subject"]["name"]: timing["min"] for timing in report["timings"]}
    assert fastest["whole frame"] > fastest["detector"] * 0.5
    assert fastest["detector, window of 128"] < fastest["detector"]
    assert fastest["15 faces in full"] > fastest["1 face in full"]
    assert report["frame"] == "512x512"
    assert 20e6 < report["peak_memory"] < 200e6
    assert report["machine"]["cores"] >= 1


def test_the_memory_of_a_run_is_measured_with_no_module_of_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise ImportError('of another program')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    peak = latency._memory_of_a_run(np.zeros((64, 64, 3), np.uint8), "edge", "people")
    assert 20e6 < peak < 200e6


def test_the_memory_of_a_run_that_fails_is_unknown(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert latency._memory_of_a_run(np.zeros((64, 64, 3), np.uint8), "edge", "people") is None


def test_bench_counts_rounds_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in (
        (Terminal(), "\r1 of 2 rounds\r2 of 2 rounds\r\x1b[K"),
        (io.StringIO(), ""),
    ):
        monkeypatch.setattr("sys.stderr", stream)
        assert list(_progress(2)(iter(range(2)))) == [0, 1]
        assert stream.getvalue() == shown


def test_bench_prints_a_table(cli, photo):
    code, out, _ = cli("bench", "--image", photo, "--calls", "3", "--threads", "1")
    assert code == 0
    assert all(word in out for word in ("p50", "p95", "p99", "min", "whole frame", "governor", "throttling"))


@pytest.mark.heavy
def test_bench_compares_two_files(cli, photo, tmp_path):
    code, out, err = cli("bench", "--image", photo, "--calls", "3", "--threads", "1", "--json")
    assert code == 0, err
    slow = json.loads(out)
    fast = json.loads(out)
    for timing in fast["timings"]:
        timing["p50"] /= 4
    fast["timings"].pop()
    fast["doubts"] = ["the firmware reports throttled"]
    for name, result in (("slow", slow), ("fast", fast)):
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    code, _, err = cli("bench", "--compare", tmp_path / "slow.json", tmp_path / "fast.json", "--json")
    assert code == 2
    assert "cannot be combined with --json" in err
    code, out, err = cli("bench", "--compare", tmp_path / "slow.json", tmp_path / "fast.json")
    assert code == 0, err
    assert out.count("4.00 x as fast") == len(fast["timings"])
    assert "not compared: 1 that only one of them timed" in out
    assert "warning: unreliable: the firmware reports throttled" in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("[]", "not a benchmark"),
        ('{"format": "fer-edge benchmark 1"}', "damaged benchmark"),
        ('{"format": "fer-edge benchmark 1", "timings": [{"subject": 3}], "machine": {}}', "damaged"),
    ],
)
def test_bench_compares_nothing_but_benchmarks(cli, tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    code, _, err = cli("bench", "--compare", path, path)
    assert code == 2
    assert str(path) in err
    assert message in err


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda report: report.pop("doubts"), "'doubts'"),
        (lambda report: report.pop("frame"), "'frame'"),
        (lambda report: report.pop("version"), "'version'"),
        (lambda report: report.update(doubts=None), "not iterable"),
        (lambda report: report["machine"].pop("board"), "'board'"),
        (lambda report: report["timings"][0].update(p50=0), "a p50 of 0 ms"),
        (lambda report: report["timings"][0].update(p50=math.nan), "a p50 of nan ms"),
    ],
)
def test_bench_compares_no_damaged_benchmark(cli, tmp_path, damage, told):
    timing = latency.Timing(Subject("detector"), 1, 2.0, 2.0, 2.0, 2.0)
    whole = latency.Benchmark(
        latency.FORMAT, "0.2.0", BOARD, QUIET, QUIET, [], "8x8", True, "onnx", 1, None, [timing]
    )
    path, damaged = tmp_path / "whole.json", tmp_path / "damaged.json"
    path.write_text(json.dumps(asdict(whole)))
    code, out, err = cli("bench", "--compare", path, path)
    assert code == 0, err
    assert "1.00 x as fast" in out
    report = asdict(whole)
    damage(report)
    damaged.write_text(json.dumps(report))
    code, out, err = cli("bench", "--compare", path, damaged)
    assert (code, out) == (2, "")
    assert f"{damaged}: a damaged benchmark" in err
    assert told in err


QUIET = machine.Condition(temperature=55.0, load=0.1, throttling=("under-voltage since boot",))
BOARD = machine.Machine("Raspberry Pi 4", "Cortex-A72", 4, "aarch64", "Linux", "3.11.2", "ondemand")


@pytest.mark.parametrize(
    ("board", "before", "after", "expected"),
    [
        (BOARD, QUIET, QUIET, None),
        (BOARD, QUIET, replace(QUIET, throttling=("throttled now",)), "the firmware reports throttled"),
        (BOARD, QUIET, replace(QUIET, throttling=("was throttled since boot",)), "came up during the run"),
        (BOARD, QUIET, replace(QUIET, temperature=84.0), "84 °C"),
        (BOARD, replace(QUIET, load=2.5), QUIET, "load 2.5 on 4 cores"),
        (replace(BOARD, governor="powersave"), QUIET, QUIET, "powersave"),
        (BOARD, machine.Condition(None, 0.0, None), machine.Condition(None, 9.0, None), None),
    ],
)
def test_figures_of_a_disturbed_machine_are_doubted(board, before, after, expected):
    found = doubts(board, before, after)
    assert len(found) == (expected is not None)
    if expected:
        assert expected in found[0]


def test_bench_refuses_more_threads_than_cores(cli, photo):
    code, _, err = cli("bench", "--image", photo, "--threads", "4096")
    assert code == 2
    assert "cores" in err


def test_percentiles_are_times_that_occurred():
    timing = summarize(Subject("x"), [1_000_000 * value for value in range(1, 101)])
    assert (timing.p50, timing.p95, timing.p99, timing.min) == (51, 96, 100, 1)
    assert timing.per_second == pytest.approx(1000 / 51)


def test_machine_reads_what_a_pi_tells(tmp_path, monkeypatch):
    for name, text in {
        "model": "Raspberry Pi 4 Model B Rev 1.4\x00",
        "cpuinfo": "processor\t: 0\nCPU part\t: 0xd08\n",
        "governor": "ondemand\n",
        "soc/soc:firmware/get_throttled": "50005\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    zone = tmp_path / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("61234\n")
    monkeypatch.setattr(machine, "_DEVICE_TREE", tmp_path / "model")
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_GOVERNOR", tmp_path / "governor")
    monkeypatch.setattr(machine, "_PLATFORM", tmp_path)
    monkeypatch.setattr(machine, "_THERMAL", tmp_path / "thermal")
    found, state = machine.describe(), machine.condition()
    assert (found.board, found.cpu, found.governor) == (
        "Raspberry Pi 4 Model B Rev 1.4",
        "Cortex-A72",
        "ondemand",
    )
    assert state.temperature == pytest.approx(61.234)
    assert state.throttling == (
        "under-voltage now",
        "throttled now",
        "under-voltage since boot",
        "was throttled since boot",
    )


def test_labels_are_not_overwritten_unless_forced(cli, drawn_csv, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("mine\n")
    code, _, err = cli("predict", drawn_csv, "--out", path)
    assert code == 2
    assert "labels.csv: exists already; --force" in err
    assert path.read_text() == "mine\n"
    code, _, _ = cli("predict", drawn_csv, "--out", path, "--force")
    assert code == 0
    assert path.read_text().startswith("emotion\n")
