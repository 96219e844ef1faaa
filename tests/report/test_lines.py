"""JSON lines give the visits, minutes and gaps that the store of the same run has, and say what was wrong."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from runs import made_run, starts, stored, written

from fer_edge.errors import DataError
from fer_edge.outputs.jsonl import to_json, to_line
from fer_edge.report import lines_pieces, lines_runs
from fer_edge.report.from_store import read_store
from fer_edge.report.lines import devices_of, read_lines


def same_tables(ours, theirs, names, sort, ours_sources, theirs_sources):
    """Whether two tables agree to what the store rounds."""

    def ordered(table, sources):
        camera = np.array([sources[code].camera for code in table.source])
        return table.take(np.lexsort([*(getattr(table, name) for name in sort), camera]))

    ours, theirs = ordered(ours, ours_sources), ordered(theirs, theirs_sources)
    assert len(ours) == len(theirs)
    for name in names:
        rounded = {"shares": 2e-4, "smile": 2e-4, "size": 0.06, "brightness": 0.06, "face_brightness": 0.06}
        tolerance = rounded.get(name, 0.0011)
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=0, atol=tolerance, err_msg=name
        )


PEOPLE = ("track", "began", "ended", "seen", "unsure", "attention", "unclear", "shares", "smile",
          "first_smile", "size")  # fmt: skip
MINUTES = ("began", "ended", "observed", "gap", "frames", "dropped", "lost", "people", "people_max",
           "visits_begun", "visits_ended", "dwell", "seen", "unsure", "attention", "unclear",
           "shares", "brightness", "face_brightness", "dark", "bright")  # fmt: skip


@pytest.mark.parametrize("seed", (0, 1, 2, 4, 19, 29))
@pytest.mark.parametrize("piece", [16 << 20, 30_000])
def test_json_lines_count_what_the_store_of_the_run_counts(tmp_path, monkeypatch, seed, piece):
    monkeypatch.setattr(lines_pieces, "_PIECE", piece)
    # Of several cameras the store follows one clock, JSON lines one for each.
    cameras = ("door",) if seed % 2 else ("door", "till")
    results = made_run(seed, cameras, jump_at=101.3 if seed % 2 else None)
    ours = read_lines([written(tmp_path / "log.jsonl", results, cameras)])
    theirs = read_store(stored(tmp_path / "store.db", results, cameras=cameras))
    assert {one.camera for one in ours.sources} == set(cameras)
    same_tables(ours.people, theirs.people, PEOPLE, ("track", "began"), ours.sources, theirs.sources)
    same_tables(ours.gaps, theirs.gaps, ("began", "ended"), ("began",), ours.sources, theirs.sources)
    assert sorted(ours.gaps.reason) == sorted(theirs.gaps.reason)
    same_tables(ours.minutes, theirs.minutes, MINUTES, ("began",), ours.sources, theirs.sources)


def test_seconds_are_those_of_the_store_of_a_session(tmp_path):
    results = made_run(3, ("door",))
    ours = read_lines([written(tmp_path / "log.jsonl", results, ("door",))])
    theirs = read_store(stored(tmp_path / "store.db", results, cameras=("door",)))

    def keyed(material):
        seconds, people = material.seconds, material.people
        return {
            (int(people.track[person]), int(began)): (*row, *shares)
            for person, began, *row, shares in zip(
                seconds.person, seconds.began, seconds.seen, seconds.unsure, seconds.attention,
                seconds.unclear, seconds.shares, strict=True,
            )
        }  # fmt: skip

    ours, theirs = keyed(ours), keyed(theirs)
    assert ours.keys() == theirs.keys() and len(ours) > 200
    for key, row in theirs.items():
        np.testing.assert_allclose(ours[key], row, rtol=0, atol=6e-4)


def text_of(results, camera="door"):
    return [to_line(record) for record in starts((camera,))] + [to_line(to_json(one)) for one in results]


def test_a_half_written_last_line_is_left_out_and_told(tmp_path):
    told = text_of(made_run(1, ("door",), seconds=20))
    whole = tmp_path / "whole.jsonl"
    whole.write_text("\n".join(told[:-1]) + "\n")
    half = tmp_path / "half.jsonl"
    half.write_text("\n".join(told)[:-40])
    material = read_lines([half])
    assert any("half.jsonl: the last line is incomplete" in text for text in material.told)
    np.testing.assert_array_equal(material.people.seen, read_lines([whole]).people.seen)


def test_damaged_lines_are_left_out_and_counted(tmp_path):
    told = text_of(made_run(1, ("door",), seconds=20))
    clean = tmp_path / "clean.jsonl"
    clean.write_text("\n".join(told) + "\n")
    torn = [*told[:40], told[40][:50], '{"schema":1,"type":"frame","time":7}', "\x00\x00", *told[40:]]
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text("\n".join(torn) + "\n")
    material = read_lines([damaged])
    assert any("damaged.jsonl: 3 lines damaged; left out." in text for text in material.told)
    np.testing.assert_array_equal(material.people.seen, read_lines([clean]).people.seen)


def test_a_file_of_something_else_is_refused(tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text("name,age\nA,3\n")
    with pytest.raises(DataError, match="no JSON lines of fer-edge run"):
        read_lines([other])


def test_records_of_a_later_version_are_left_out_and_told(tmp_path):
    told = text_of(made_run(1, ("door",), seconds=20))
    later = [line.replace('"schema":1', '"schema":2') for line in told[30:50]]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([*told[:30], *later, *told[50:]]) + "\n")
    material = read_lines([path])
    assert any("20 records of a later version than 1 left out" in text for text in material.told)
    assert int(material.minutes.frames.sum()) == len(told) - 1 - 20


def test_records_of_an_earlier_version_are_read_and_told(tmp_path):
    told = [json.loads(line) for line in text_of(made_run(1, ("door",), seconds=20))]
    new = tmp_path / "new.jsonl"
    new.write_text("\n".join(map(json.dumps, told)) + "\n")
    del told[0]["model"]["labels"]
    for record in told:
        del record["schema"], record["camera"]
    old = tmp_path / "old.jsonl"
    old.write_text("\n".join(map(json.dumps, told)) + "\n")
    material = read_lines([old])
    assert any("name no labels; they are those of 2013" in text for text in material.told)
    assert any("without a version, read as version 1" in text for text in material.told)
    np.testing.assert_array_equal(material.people.seen, read_lines([new]).people.seen)


def test_rotated_and_packed_files_are_one_device_and_go_on(tmp_path):
    told = text_of(made_run(2, ("door",), seconds=60, gaps=False))
    one = tmp_path / "one" / "log.jsonl"
    one.parent.mkdir()
    one.write_text("\n".join(told) + "\n")
    names = ("log-20261126T000000Z.jsonl.gz", "log-20261127T000000Z.jsonl", "log.jsonl")
    for name, part in zip(names, (told[:100], told[100:250], told[250:]), strict=True):
        data = ("\n".join(part) + "\n").encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    paths = [tmp_path / name for name in reversed(names)]
    assert list(devices_of(paths)) == ["log"]
    rotated, whole = read_lines(paths), read_lines([one])
    for name in ("seen", "began"):
        np.testing.assert_array_equal(
            np.sort(getattr(rotated.people, name)), np.sort(getattr(whole.people, name))
        )
    assert rotated.sources == whole.sources


def test_files_of_two_devices_are_told_apart_by_folder(tmp_path):
    for folder, seed in (("pi1", 1), ("pi2", 2)):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder / "log.jsonl", made_run(seed, ("door",), seconds=20), ("door",))
    material = read_lines([tmp_path / "pi1" / "log.jsonl", tmp_path / "pi2" / "log.jsonl"])
    assert {source.device for source in material.sources} == {"pi1/log", "pi2/log"}
    alone = read_lines([tmp_path / "pi1" / "log.jsonl"])
    mine = material.sources_where(device="pi1/log")[material.people.source]
    np.testing.assert_array_equal(material.people.seen[mine], alone.people.seen)


def test_lines_of_two_devices_mixed_in_one_file_are_told_apart_by_their_clocks(tmp_path):
    one, other = (made_run(seed, ("door",), seconds=30, gaps=False) for seed in (1, 2))
    records = [json.loads(line) for line in text_of(one)]
    others = [json.loads(line) for line in text_of(other)]
    for record in others:
        record["monotonic"] = round(record["monotonic"] + 5000, 3)
    both = [record for pair in zip(records, others, strict=False) for record in pair]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, both)) + "\n")
    material = read_lines([path])
    assert any("lines of several devices are mixed under the name door" in text for text in material.told)
    assert len({source.device for source in material.sources}) == 2
    count = min(len(records), len(others))
    seen = []
    for number, part in enumerate((records[:count], others[:count])):
        alone = tmp_path / f"alone{number}.jsonl"
        alone.write_text("\n".join(map(json.dumps, part)) + "\n")
        seen += read_lines([alone]).people.seen.tolist()
    np.testing.assert_allclose(sorted(material.people.seen), sorted(seen))


def test_a_jump_of_the_clock_is_told_and_earlier_times_are_corrected(tmp_path):
    material = read_lines([written(tmp_path / "log.jsonl", made_run(1, ("door",), jump_at=100), ("door",))])
    assert any("was corrected by +3600.5 s" in text for text in material.told)
    first, last = material.span
    assert last - first < 300_000


def test_a_film_has_positions(tmp_path):
    results = made_run(4, ("film",), seconds=30, gaps=False)
    path = written(tmp_path / "log.jsonl", results, ("film",), live=False)
    theirs = read_store(stored(tmp_path / "store.db", results, live=False, cameras=("film",)))
    ours = read_lines([path])
    assert ours.sources[0].film == "film" and theirs.sources[0].film == "film"
    np.testing.assert_array_equal(np.sort(ours.people.began), np.sort(theirs.people.began))


def test_a_run_that_was_killed_is_told(tmp_path):
    results = made_run(1, ("door",), seconds=20)
    path = written(tmp_path / "log.jsonl", results, ("door",), end=False)
    alone = shutil.copy(path, tmp_path / "alone.jsonl")
    assert any("1 run without an end" in text for text in read_lines([path]).told)
    written(path, results, ("door",), mode="append")
    material = read_lines([path])
    assert any("1 run without an end" in text for text in material.told)
    assert {source.run for source in material.sources} == {"1", "2"}
    assert len(material.people) == 2 * len(read_lines([alone]).people)


def test_memory_for_seconds_is_bounded_and_told(tmp_path, monkeypatch):
    path = written(tmp_path / "log.jsonl", made_run(1, ("door",), seconds=60, gaps=False), ("door",))
    whole = read_lines([path])
    monkeypatch.setattr(lines_runs, "_KEPT_SECONDS", 10)
    monkeypatch.setattr(lines_pieces, "_PIECE", 30_000)
    material = read_lines([path])
    assert any("more than 10 seconds of people" in text for text in material.told)
    assert 10 < len(material.seconds) < len(whole.seconds) / 2
    assert material.people.seen.sum() == pytest.approx(whole.people.seen.sum())


def test_lines_of_single_pictures_are_refused(tmp_path):
    path = tmp_path / "pictures.jsonl"
    path.write_text('{"schema":1,"type":"frame","source":"a.jpg","size":[1,1],"faces":[]}\n')
    with pytest.raises(DataError, match="records of single pictures, which have no time"):
        read_lines([path])


def test_a_clock_that_begins_anew_is_another_run(tmp_path):
    records = [json.loads(line) for line in text_of(made_run(1, ("door",), seconds=30, gaps=False))]
    again = [dict(record) for record in records[1:]]
    for record in again:
        record["monotonic"] = round(record["monotonic"] - 900, 3)
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, [*records, *again])) + "\n")
    material = read_lines([path])
    assert any("the machine's clock restarts without a record of a start" in text for text in material.told)
    assert {source.run for source in material.sources} == {"1", "2"}
    alone = tmp_path / "alone.jsonl"
    alone.write_text("\n".join(map(json.dumps, records)) + "\n")
    assert material.people.seen.sum() == pytest.approx(2 * read_lines([alone]).people.seen.sum())


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    folder = tmp_path / "log.jsonl"
    folder.mkdir()
    with pytest.raises(DataError, match=r"log\.jsonl: cannot be read"):
        read_lines([folder])


def edited(told, places, change):
    """Lines of which some have been changed as records."""
    found = list(told)
    for place in places:
        record = json.loads(found[place])
        change(record)
        found[place] = json.dumps(record)
    return "\n".join(found) + "\n"


@pytest.mark.parametrize("line", ["null", " null", '{"a":1}null', "[null]", '{"a": [null]} null'])
def test_a_null_between_records_is_a_damaged_line(tmp_path, line):
    told = text_of(made_run(1, ("door",), seconds=20))
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([*told[:30], line, *told[30:], ""]))
    code = "import sys; from fer_edge.report.lines import read_lines; print(read_lines(sys.argv[1:]).told)"
    # It used to end the process.
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "log.jsonl: 1 line damaged; left out." in done.stdout


@pytest.mark.parametrize("where", [-100, -9])
def test_packed_lines_that_break_off_count_until_there(tmp_path, where):
    told = text_of(made_run(1, ("door",), seconds=120))
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(told).encode())[:where])
    material = read_lines([path])
    assert any("log.jsonl.gz: the compressed data are cut off or damaged" in text for text in material.told)
    assert int(material.minutes.frames.sum()) > len(told) * 0.9


def test_packed_lines_that_are_damaged_are_told(tmp_path):
    told = text_of(made_run(1, ("door",), seconds=120))
    packed = bytearray(gzip.compress("\n".join(told).encode()))
    middle = len(packed) // 2
    packed[middle : middle + 20] = bytes(20)
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(packed)
    material = read_lines([path])
    assert 0 < int(material.minutes.frames.sum()) < len(told)
    assert any("the compressed data are cut off or damaged" in text for text in material.told)


@pytest.mark.parametrize(
    "change",
    [
        lambda face: face.update(probabilities=dict.fromkeys(face["probabilities"], float("nan"))),
        lambda face: face.update(probabilities=None),
        lambda face: face.update(probabilities=dict.fromkeys(face["probabilities"], 0.0)),
        lambda face: face["probabilities"].update(happy=1e300),
        lambda face: face["probabilities"].update(happy=-0.5),
        lambda face: face.update(box=[1e308] * 4),
    ],
)
def test_faces_with_impossible_values_are_left_out_and_counted(tmp_path, change):
    told = text_of(made_run(1, ("door",), seconds=20))
    places = [place for place, line in enumerate(told) if '"track"' in line][::3]
    count = sum(len(json.loads(told[place])["faces"]) for place in places)
    damaged, without = tmp_path / "log.jsonl", tmp_path / "without.jsonl"
    damaged.write_text(edited(told, places, lambda record: [change(face) for face in record["faces"]]))
    without.write_text(edited(told, places, lambda record: record.update(faces=[])))
    ours, theirs = read_lines([damaged]), read_lines([without])
    assert f"{damaged}: {count} faces with impossible values; left out." in ours.told
    np.testing.assert_array_equal(ours.people.seen, theirs.people.seen)
    np.testing.assert_array_equal(ours.people.shares, theirs.people.shares)


def test_a_track_that_is_twice_in_a_frame_counts_once(tmp_path):
    told = text_of(made_run(1, ("door",), seconds=20))
    places = [place for place, line in enumerate(told) if '"track"' in line][::3]
    count = sum(len(json.loads(told[place])["faces"]) for place in places)
    clean, double = tmp_path / "clean.jsonl", tmp_path / "double.jsonl"
    clean.write_text("\n".join(told) + "\n")
    double.write_text(edited(told, places, lambda record: record.update(faces=record["faces"] * 2)))
    ours, theirs = read_lines([double]), read_lines([clean])
    assert f"{double}: {count} faces with impossible values; left out." in ours.told
    np.testing.assert_array_equal(ours.seconds.seen, theirs.seconds.seen)


@pytest.mark.parametrize(
    "values",
    [
        {"time": None},
        {"time": "9999-12-31T23:59:59Z"},
        {"time": "1500-01-01T00:00:00Z"},
        {"monotonic": 1e300},
        {"monotonic": -5.0},
        {"timestamp": float("inf")},
    ],
)
def test_times_that_no_clock_shows_are_damaged_lines(tmp_path, values):
    told = text_of(made_run(1, ("door",), seconds=20))
    places = range(5, len(told), 7)
    damaged, without = tmp_path / "log.jsonl", tmp_path / "without.jsonl"
    damaged.write_text(edited(told, places, lambda record: record.update(values)))
    without.write_text("\n".join(line for place, line in enumerate(told) if place not in places) + "\n")
    ours, theirs = read_lines([damaged]), read_lines([without])
    assert f"{damaged}: {len(places)} lines damaged; left out." in ours.told
    np.testing.assert_array_equal(ours.people.seen, theirs.people.seen)
    np.testing.assert_array_equal(ours.minutes.began, theirs.minutes.began)


def test_records_that_contradict_each_other_name_their_file(tmp_path, monkeypatch):
    path = written(tmp_path / "log.jsonl", made_run(1, ("door",), seconds=20), ("door",))

    def contradicting(*_):
        raise ValueError("Minutes, row 1: it ends before it begins")

    monkeypatch.setattr(lines_runs, "as_material", contradicting)
    with pytest.raises(DataError, match=r"log\.jsonl: its records contradict each other"):
        read_lines([path])


def test_a_run_that_is_in_two_files_is_refused(tmp_path):
    results = made_run(1, ("door",), seconds=20)
    path = written(tmp_path / "log.jsonl", results, ("door",))
    for copy in (tmp_path / "log.jsonl.gz", tmp_path / "copy.jsonl.gz"):
        copy.write_bytes(gzip.compress(path.read_bytes()))
        with pytest.raises(DataError, match=r"the run that began at .* is in .*, too"):
            read_lines([path, copy])
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(DataError, match="would count twice"):
        read_lines([path])


def test_files_of_one_name_in_folders_of_one_name_are_two_devices(tmp_path):
    paths = [tmp_path / place / "logs" / "log.jsonl" for place in ("door", "till")]
    assert devices_of(paths) == {"door/logs/log": [paths[0]], "till/logs/log": [paths[1]]}


def test_lines_of_an_earlier_version_have_no_light(tmp_path):
    results = made_run(1, ("door",), seconds=20)
    path = written(tmp_path / "log.jsonl", results, ("door",))
    path.write_text(re.sub(r',"brightness":[\d.]+', "", path.read_text()))
    minutes = read_lines([path]).minutes
    assert len(minutes)
    for name in ("brightness", "face_brightness", "dark", "bright"):
        assert np.isnan(getattr(minutes, name)).all()
