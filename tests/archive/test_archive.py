"""An archive gives what runs over its films give, whatever happens meanwhile."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow")
from made import DRAWN, Inline, command, face_film, iso, rows, settings, started, tables

from fer_edge.archive.archive import TRIES, Archive
from fer_edge.archive.engines import Finished, Ready
from fer_edge.archive.films import find_films
from fer_edge.archive.manifest import Manifest, lines_of
from fer_edge.archive.part import part_from_bytes, part_to_bytes
from fer_edge.archive.work import Failed, JoinTask, PlanTask, SegmentTask, Worker
from fer_edge.errors import DataError, ModelError, OutputError
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS
from fer_edge.models.manifest import WEIGHTS, read_manifest
from fer_edge.sources.video import VideoSource
from fer_edge.store.reader import StoreReader


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return face_film(tmp_path_factory.mktemp("films") / "face.mp4")


@pytest.fixture(scope="module")
def worker():
    return Worker(settings())


def work_off(folder, films, engine=None, of=None, told=None):
    of = of or settings()
    archive = Archive(folder, films, of, (told if told is not None else []).append)
    return archive.run(lambda: engine or Inline(of), {"fer_edge": "test"})


def run_of(path, folder, *options):
    """The store and the lines of ``fer-edge run``."""
    store, lines = folder / "run.db", folder / "run.jsonl"
    from fer_edge.cli import main

    code = main(["run", str(path), "--store", str(store), "--jsonl", str(lines), *options])
    assert code in (0, 1)
    origin = sqlite3.connect(store).execute("SELECT origin FROM clock").fetchone()[0]
    frames = [json.loads(line) for line in lines.read_text().splitlines()]
    return store, [frame for frame in frames if frame["type"] == "frame"], origin


PARTLY = ("device", "camera", "run", "boot")
"""Columns that tell who wrote a row."""


def plain(row):
    return {name: value for name, value in row.items() if name not in PARTLY}


@pytest.mark.parametrize(
    "options", [(), ("--every", "3"), ("--fps", "7", "--min-hits", "2", "--smoothing", "1")]
)
def test_an_archive_equals_a_run(film, tmp_path, options):
    store, frames, origin = run_of(film, tmp_path, *options)
    listed = tmp_path / "list.txt"
    listed.write_text(f"{film}\t{iso(origin)}\tdoor\n")
    out = tmp_path / "out"
    done = command(f"@{listed}", "--out", out, "--segment", "0.9s", "--faces", "--workers", "1", *options)
    assert done.returncode == 0, done.stderr
    segments = next(line for line in lines_of(out) if "segments" in line)["segments"]
    assert len(segments) == 4
    with StoreReader(store) as reader:
        for view, table in (("visits", "people"), ("minutes", "minutes"), ("gaps", "gaps")):
            expected = [plain(row) for row in reader.rows(view)]
            assert [plain(row) for row in rows(out, table)] == expected
        assert len(list(reader.rows("visits"))) >= 2
    faces = rows(out, "faces")
    told = [(index, face) for index, frame in enumerate(frames) for face in frame["faces"]]
    assert len(faces) == len(told) > 0
    for row, (index, face) in zip(faces, told, strict=True):
        assert (row["frame"], row["track"], row["emotion"]) == (index, face.get("track"), face["emotion"])
        assert np.allclose([row[name] for name in ("x", "y", "width", "height")], face["box"], atol=0.06)
        assert np.allclose(
            [row[name] for name in EMOTIONS], [face["probabilities"][name] for name in EMOTIONS], atol=1e-4
        )


def test_masks_hide_the_faces_in_them(film, tmp_path):
    """Of the two faces one is in the left half and one in the right; the second mask hides none."""
    masks = ("--mask", "0.5,0 1,0 1,1 0.5,1", "--mask", "0,0.9 0.1,1 0,1")
    for out, options in (("all", ()), ("left", masks)):
        done = command(film, "--out", tmp_path / out, "--faces", "--workers", "1", *options)
        assert done.returncode == 0, done.stderr
    faces = {name: rows(tmp_path / name, "faces") for name in ("all", "left")}
    left = [row["frame"] for row in faces["all"] if row["x"] + row["width"] / 2 < 160]
    assert 0 < len(left) < len(faces["all"])
    assert [row["frame"] for row in faces["left"]] == left
    assert len(rows(tmp_path / "left", "people")) == 1


@pytest.mark.parametrize("options", [{"every": 40}, {"fps": 0.4}])
def test_frames_leapt_over_change_no_row(tmp_path, monkeypatch, worker, options):
    path = face_film(tmp_path / "long.mp4", 400)
    of = settings(7.5, **options)
    films = find_films([str(path)])
    monkeypatch.setattr("fer_edge.sources.course._GAIN", 1e9)
    monkeypatch.setattr(worker, "_settings", of)
    leaps: list[int] = []
    see = worker._see_stretch

    def counted(source):
        part = see(source)
        leaps.append(part.told["leaps"])
        return part

    with monkeypatch.context() as patched:
        patched.setattr(worker, "_see_stretch", counted)
        work_off(tmp_path / "leaping", films, Inline(of, worker), of)
    with monkeypatch.context() as patched:
        patched.setattr("fer_edge.archive.plan.Plan.course", lambda *_: None)
        work_off(tmp_path / "decoding", films, Inline(of, worker), of)
    assert len(leaps) == 2 and min(leaps) >= 2
    names = sorted(
        file.relative_to(tmp_path / "leaping") for file in tmp_path.glob("leaping/*.parquet/*/*/*")
    )
    assert len(names) == 3
    for name in names:
        assert (tmp_path / "leaping" / name).read_bytes() == (tmp_path / "decoding" / name).read_bytes()
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    _, frames, _ = run_of(path, tmp_path, *arguments)
    boxes = [face["box"] for frame in frames for face in frame["faces"]]
    found = rows(tmp_path / "leaping", "faces")
    assert len(found) == len(boxes) >= 4
    assert np.allclose(
        [[row[name] for name in ("x", "y", "width", "height")] for row in found], boxes, atol=0.06
    )


def test_a_second_command_has_nothing_to_do(film, tmp_path, worker):
    films = find_films([str(film)])
    first = Inline(settings(), worker)
    progress = work_off(tmp_path, films, first)
    assert (progress.done, progress.kept, progress.segments) == (1, 0, 4)
    before = tables(tmp_path)
    assert not (tmp_path / "parts").exists()
    second = Inline(settings(), worker)
    progress = work_off(tmp_path, films, second)
    assert (progress.done, progress.kept, second.done) == (1, 1, [])
    assert tables(tmp_path) == before


def test_a_film_that_changed_is_done_again_and_its_rows_replaced(tmp_path, worker):
    path = face_film(tmp_path / "one.mp4", 60)
    work_off(tmp_path / "out", find_films([str(path)]), Inline(settings(), worker))
    face_film(path, 40)
    os.utime(path, (90_000, 90_000))
    work_off(tmp_path / "out", find_films([str(path)]), Inline(settings(), worker))
    found = rows(tmp_path / "out", "minutes")
    assert sum(row["frames"] for row in found) == 40
    assert [path.parent.parent.name for path in tmp_path.glob("out/minutes.parquet/*/*/*")] == [
        "date=1970-01-02"
    ]


class Broken(Inline):
    """Ends with an error, as a killed process does, after so many segments."""

    def __init__(self, of, worker, after):
        super().__init__(of, worker)
        self.after = after

    def perform(self, task):
        if isinstance(task, SegmentTask):
            self.after -= 1
            if self.after < 0:
                raise KeyboardInterrupt
        return super().perform(task)


def test_what_was_done_is_kept_and_not_done_twice(film, tmp_path, worker):
    films = find_films([str(film)])
    whole = tmp_path / "whole"
    work_off(whole, films, Inline(settings(), worker))
    out = tmp_path / "out"
    broken = Broken(settings(), worker, after=2)
    with pytest.raises(KeyboardInterrupt):
        work_off(out, films, broken)
    assert broken.closed
    rest = Inline(settings(), worker)
    work_off(out, films, rest)
    assert [task.number for task in rest.done if isinstance(task, SegmentTask)] == [2, 3]
    assert not [task for task in rest.done if isinstance(task, PlanTask)]
    assert tables(out) == tables(whole)
    done = [line["segment"] for line in lines_of(out) if line.get("segment") is not None]
    assert done == [0, 1, 2, 3]


def test_a_line_that_was_cut_off_is_forgotten(film, tmp_path, worker):
    films = find_films([str(film)])
    with pytest.raises(KeyboardInterrupt):
        work_off(tmp_path, films, Broken(settings(), worker, after=3))
    manifest = tmp_path / "manifest.jsonl"
    content = manifest.read_bytes()
    manifest.write_bytes(content[:-7])
    rest = Inline(settings(), worker)
    work_off(tmp_path, films, rest)
    assert [task.number for task in rest.done if isinstance(task, SegmentTask)] == [2, 3]


def test_rows_that_were_half_written_are_replaced(film, tmp_path, worker, monkeypatch):
    import fer_edge.archive.archive as module

    films = find_films([str(film)])
    write = module.write_files

    def stopped(folder, files):
        write(folder, files[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_files", stopped)
        with pytest.raises(KeyboardInterrupt):
            work_off(tmp_path / "out", films, Inline(settings(), worker))
    assert len(list((tmp_path / "out").glob("*.parquet/*/*/*"))) == 1
    rest = Inline(settings(), worker)
    work_off(tmp_path / "out", films, rest)
    assert [type(task) for task in rest.done] == [JoinTask]
    work_off(tmp_path / "whole", films, Inline(settings(), worker))
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")


def test_a_part_without_its_line_is_made_again(film, tmp_path, worker, monkeypatch):
    """As where the command is killed between the two."""
    films = find_films([str(film)])
    tell = Manifest.segment

    def stopped(self, of, number, *given):
        if number == 2:
            raise KeyboardInterrupt
        tell(self, of, number, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Manifest, "segment", stopped)
        with pytest.raises(KeyboardInterrupt):
            work_off(tmp_path / "out", films, Inline(settings(), worker))
    assert len(list((tmp_path / "out" / "parts").glob("*/0*"))) == 3
    rest = Inline(settings(), worker)
    work_off(tmp_path / "out", films, rest)
    assert [task.number for task in rest.done if isinstance(task, SegmentTask)] == [2, 3]
    work_off(tmp_path / "whole", films, Inline(settings(), worker))
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")


def test_parts_that_are_of_no_use_are_made_again(film, tmp_path, worker):
    """The first one is of another version of fer-edge, the second one was cut off."""
    films = find_films([str(film)])
    with pytest.raises(KeyboardInterrupt):
        work_off(tmp_path / "out", films, Broken(settings(), worker, after=3))
    first, second, _ = sorted((tmp_path / "out" / "parts").glob("*/0*"))
    other = part_from_bytes(first.read_bytes(), len(PEOPLE_ANSWERS))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fer_edge.archive.part.FORMAT", 2)
        first.write_bytes(part_to_bytes(other))
    second.write_bytes(second.read_bytes()[:-100])
    rest = Inline(settings(), worker)
    progress = work_off(tmp_path / "out", films, rest)
    assert (progress.done, progress.failed) == (1, 0)
    assert [task.number for task in rest.done if isinstance(task, SegmentTask)] == [0, 1, 3]
    work_off(tmp_path / "whole", films, Inline(settings(), worker))
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")


def test_a_part_that_is_damaged_within_is_told_with_its_film(film, tmp_path, worker):
    films = find_films([str(film)])
    with pytest.raises(KeyboardInterrupt):
        work_off(tmp_path, films, Broken(settings(), worker, after=2))
    second = sorted((tmp_path / "parts").glob("*/0*"))[1]
    content = bytearray(second.read_bytes())
    content[4:1000] = bytes(996)
    second.write_bytes(content)
    told = []
    work_off(tmp_path, films, Inline(settings(), worker), told=told)
    assert [line.partition("part: ")[0] for line in told] == [f"failed: {film}: segment 2: a damaged "]
    assert work_off(tmp_path, films, Inline(settings(), worker)).done == 1


def test_what_a_line_tells_of_is_on_the_disk_before_it(film, tmp_path, worker, monkeypatch):
    synced: list[str] = []
    sync = os.fsync

    def watched(descriptor):
        synced.append(os.fspath(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    work_off(tmp_path, find_films([str(film)]), Inline(settings(), worker))
    # The plan, four parts, and three tables.
    assert sum(path.endswith(".parquet") for path in synced) == 8
    # The last line is written when all of these are.
    assert synced[-1].endswith("manifest.jsonl")


class Failing(Inline):
    """Loses what it is given to do so many times."""

    def __init__(self, of, worker, times):
        super().__init__(of, worker)
        self.times = times

    def perform(self, task):
        if isinstance(task, SegmentTask) and task.number == 1 and self.times:
            self.times -= 1
            return Failed("a worker was killed by SIGKILL", again=True)
        return super().perform(task)


def test_a_segment_is_tried_again(film, tmp_path, worker):
    progress = work_off(tmp_path, find_films([str(film)]), Failing(settings(), worker, TRIES - 1))
    assert (progress.done, progress.failed, progress.retries) == (1, 0, TRIES - 1)
    done = [line for line in lines_of(tmp_path) if line.get("segment") == 1]
    assert [line["state"] for line in done] == ["tried"] * (TRIES - 1) + ["done"]
    assert done[-1]["tries"] == TRIES


def test_a_film_is_given_up_after_some_tries_and_tried_again_by_the_next_command(film, tmp_path, worker):
    films = find_films([str(film)])
    progress = work_off(tmp_path, films, Failing(settings(), worker, TRIES))
    assert (progress.done, progress.failed) == (0, 1)
    assert "segment 2: a worker was killed by SIGKILL, 3 times" in progress.failures[films[0].path]
    assert not list(tmp_path.glob("*.parquet"))
    assert not (tmp_path / "parts").exists()
    assert work_off(tmp_path, films, Inline(settings(), worker)).done == 1


def test_joining_while_others_are_at_work_gives_the_same(film, tmp_path, worker, monkeypatch):
    import fer_edge.archive.archive as module

    of = replace(settings(), seconds=True)
    films = find_films([str(film)])
    for at_once, joins in ((1, [1, 1, 1, 1]), (3, [3, 1]), (9, [4])):
        monkeypatch.setattr(module, "JOINED_AT_ONCE", at_once)
        engine = Inline(of, Worker(of))
        work_off(tmp_path / str(at_once), films, engine, of)
        assert [len(task.parts) for task in engine.done if isinstance(task, JoinTask)] == joins
    names = ("people", "minutes", "faces", "seconds")
    expected = tables(tmp_path / "9", names)
    assert all(expected.values())
    assert tables(tmp_path / "1", names) == tables(tmp_path / "3", names) == expected


class Late(Inline):
    """Two workers: the second one's segment fits nothing, and is told before what the first one does."""

    def __init__(self, of, worker):
        super().__init__(of, worker)
        self.held: list = []
        self.unequal = False

    def submit(self, worker, task):
        self.tasks.append((worker, task))

    def wait(self, seconds):
        if not self._told:
            self._told = True
            return [Ready(0), Ready(1)]
        if not self.tasks:
            held, self.held = self.held, []
            return held
        worker, task = self.tasks.popleft()
        self.done.append(task)
        if isinstance(task, SegmentTask) and task.segment.span is not None and not self.unequal:
            if worker == 1:
                self.unequal = True
                return [Finished(1, Failed("times do not grow", again=False, unequal=True))]
            self.held.append(Finished(0, self.perform(task)))
            return []
        return [Finished(worker, self.perform(task))]


def test_what_is_under_way_of_a_film_that_is_begun_anew_is_not_taken(film, tmp_path, worker):
    films = find_films([str(film)])
    engine = Late(settings(), worker)
    told: list[str] = []
    progress = work_off(tmp_path / "late", films, engine, told=told)
    assert engine.unequal and (progress.done, progress.failed) == (1, 0)
    assert "times do not grow; the film is read as a whole" in told
    work_off(tmp_path / "whole", films, Inline(settings(), worker))
    assert tables(tmp_path / "late") == tables(tmp_path / "whole")


def test_segments_that_do_not_fit_are_read_as_a_whole(film, tmp_path, worker):
    class Unequal(Inline):
        def perform(self, task):
            if isinstance(task, JoinTask) and len(task.parts) > 1:
                return Failed("segment 2: begins with other pictures", again=False, unequal=True)
            return super().perform(task)

    told = []
    work_off(tmp_path / "out", find_films([str(film)]), Unequal(settings(), worker), told=told)
    assert "read as a whole" in told[0]
    work_off(tmp_path / "cut", find_films([str(film)]), Inline(settings(), worker))
    assert tables(tmp_path / "out") == tables(tmp_path / "cut")
    planned = [line for line in lines_of(tmp_path / "out") if line.get("state") == "planned"]
    assert [len(line["segments"]) for line in planned] == [4, 1]


def test_other_pictures_at_a_border_are_noticed(film, worker):
    films = find_films([str(film)])
    plan = worker.perform(PlanTask(films[0])).value
    parts = [
        worker.perform(SegmentTask(films[0], number, segment, plan.head)).value
        for number, segment in enumerate(plan.segments)
    ]
    assert not isinstance(worker.perform(JoinTask(films[0], plan, tuple(parts))), Failed)
    swapped = worker.perform(JoinTask(films[0], plan, (parts[0], parts[2], parts[1], parts[3])))
    assert isinstance(swapped, Failed)
    assert swapped.unequal
    assert "its first frames differ from those that follow the segment before" in swapped.reason


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("jump.mkv", "its clock jumps"),
        ("mpeg2.mpg", ""),
        ("mpeg4_b.avi", ""),
        ("vfr.mkv", ""),
        ("h264_open.ts", ""),
    ],
)
def test_odd_films_count_the_frames_of_a_run(tmp_path, worker, name, why):
    _, frames, _ = run_of(DRAWN / name, tmp_path)
    films = find_films([str(DRAWN / name)])
    progress = work_off(tmp_path / "out", films, Inline(settings(), worker))
    assert progress.failed == 0
    assert sum(row["frames"] for row in rows(tmp_path / "out", "minutes")) == len(frames)
    planned = [line for line in lines_of(tmp_path / "out") if line.get("state") == "planned"]
    assert why in planned[0]["whole"]
    if name == "vfr.mkv":
        assert [line["messages"] for line in lines_of(tmp_path / "out") if "messages" in line] == [[]]
    assert (len(planned[-1]["segments"]) > 1) == (name in ("vfr.mkv", "h264_open.ts"))


def turned(film, path):
    """A copy of an MP4 film whose track header says that it is shown turned by 90 degrees."""
    content = bytearray(film.read_bytes())
    # ISO/IEC 14496-12, 8.3.2: the matrix is 40 bytes behind the version of the track header.
    at = content.index(b"tkhd") + 4 + 40
    assert content[at : at + 4] == (1 << 16).to_bytes(4, "big")
    width = int.from_bytes(content[at + 36 : at + 38], "big")
    numbers = (0, 1 << 16, 0, -(1 << 16), 0, 0, width << 16, 0, 1 << 30)
    content[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(content)
    os.utime(path, (1_000_000_030, 1_000_000_030))
    return path


def rows_of_run(path, folder):
    """Visits and minutes of ``fer-edge run``, and the boxes of its faces."""
    folder.mkdir()
    store, frames, _ = run_of(path, folder)
    with StoreReader(store) as reader:
        counts = [row["frames"] for row in reader.rows("minutes")]
        visits = [(row["seconds"], row["seen"], row["happy"]) for row in reader.rows("visits")]
    return sum(counts), visits, [face["box"] for frame in frames for face in frame["faces"]]


def test_films_of_other_sizes_and_rotations_lie_in_one_archive(film, tmp_path, worker):
    folder = tmp_path / "films"
    folder.mkdir()
    os.link(film, folder / "plain.mp4")
    turned(film, folder / "turned.mp4")
    face_film(folder / "large.mp4", 60, size=(480, 360))
    work_off(tmp_path / "out", find_films([str(folder)]), Inline(settings(), worker))
    faces = rows(tmp_path / "out", "faces")
    for name in ("plain.mp4", "turned.mp4", "large.mp4"):
        path = folder / name
        frames, visits, boxes = rows_of_run(path, tmp_path / name)
        own = {
            table: [row for row in rows(tmp_path / "out", table) if row["film"] == str(path)]
            for table in ("people", "minutes")
        }
        assert sum(row["frames"] for row in own["minutes"]) == frames == (60 if name == "large.mp4" else 100)
        assert [(row["seconds"], row["seen"], row["happy"]) for row in own["people"]] == visits
        found = [
            [row[at] for at in ("x", "y", "width", "height")] for row in faces if row["film"] == str(path)
        ]
        assert np.allclose(found, boxes, atol=0.06) if boxes else not found
    planned = [line for line in lines_of(tmp_path / "out") if line.get("state") == "planned"]
    assert all(len(line["segments"]) > 1 for line in planned)


@pytest.mark.parametrize(
    ("options", "looked"), [({}, range(11)), ({"every": 8}, (0, 8)), ({"fps": 4}, (0, 6))]
)
def test_a_film_that_is_read_as_a_whole_ends_when_its_file_was_changed(tmp_path, options, looked):
    """Eleven frames at 25 a second end 0.4 s after the first; the file was changed at ...30."""
    of = settings(**options)
    films = find_films([str(face_film(tmp_path / "short.mp4", 11))])
    work_off(tmp_path / "out", films, Inline(of), of)
    (planned,) = (line for line in lines_of(tmp_path / "out") if line.get("state") == "planned")
    assert planned["whole"] == "it has no second key frame"
    times = {row["frame"]: row["time"].timestamp() for row in rows(tmp_path / "out", "faces")}
    assert list(times) == list(range(len(looked)))
    assert list(times.values()) == pytest.approx([1_000_000_029.6 + frame / 25 for frame in looked], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "segments", "why"),
    [
        ("size.ts", 4, ""),
        ("one_key.mkv", 1, "no second key frame"),
        ("one_frame.mp4", 1, "no second key frame"),
    ],
)
def test_films_that_change_or_have_one_key_or_frame_give_what_a_run_gives(
    tmp_path, worker, monkeypatch, name, segments, why
):
    """size.ts: 60 frames of 64x48 pixels, then 60 of 96x64, in one stream."""
    path = DRAWN / name
    _, frames, _ = run_of(path, tmp_path)
    pictures: list[int] = []
    see = worker._look.see

    def watched(frame):
        pictures.append(zlib.crc32(np.ascontiguousarray(frame.image)))
        return see(frame)

    monkeypatch.setattr(worker._look, "see", watched)
    progress = work_off(tmp_path / "out", find_films([str(path)]), Inline(settings(), worker))
    assert (progress.done, progress.failed, progress.damaged) == (1, 0, [])
    assert sum(row["frames"] for row in rows(tmp_path / "out", "minutes")) == len(frames)
    assert len(frames) == (1 if name == "one_frame.mp4" else 120)
    planned = [line for line in lines_of(tmp_path / "out") if line.get("state") == "planned"]
    # After a seek in size.ts, OpenCV 4.11 gives other pictures (4.14 does not): the film is read as a whole.
    again = name == "size.ts" and tuple(map(int, cv2.__version__.split(".")[:2])) <= (4, 11)
    assert [len(line["segments"]) for line in planned] == ([segments, 1] if again else [segments])
    assert why in planned[0]["whole"]
    if name == "vfr.mkv":
        assert [line["messages"] for line in lines_of(tmp_path / "out") if "messages" in line] == [[]]
    with VideoSource(path) as source:
        wanted = [zlib.crc32(np.ascontiguousarray(frame.image)) for frame in source]
    assert (pictures[-len(wanted) :] if again else pictures) == wanted


def test_an_empty_file_and_a_film_without_frames_fail_with_a_reason(tmp_path, worker):
    empty, header = tmp_path / "empty.mp4", tmp_path / "header.mkv"
    empty.touch()
    content = (DRAWN / "vfr.mkv").read_bytes()
    header.write_bytes(content[: content.index(b"\x1f\x43\xb6\x75")])
    films = find_films([str(empty), str(header)])
    progress = work_off(tmp_path / "out", films, Inline(settings(), worker))
    assert progress.failed == 2
    told = {
        line["path"]: line["reason"] for line in lines_of(tmp_path / "out") if line.get("state") == "failed"
    }
    reason = "neither an image nor a video that OpenCV can read"
    assert told == {str(path): f"{path}: {reason}" for path in (empty, header)}
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_damaged_film_is_told_and_its_rows_are_those_of_a_run(film, tmp_path, worker):
    content = bytearray(film.read_bytes())
    at = len(content) // 2
    content[at : at + 6000] = bytes(6000)
    hurt = tmp_path / "hurt.mp4"
    hurt.write_bytes(content)
    # Ten seconds into a minute: the archive's minutes are those of the film's own time.
    os.utime(hurt, (1_000_000_030, 1_000_000_030))
    store, frames, _ = run_of(hurt, tmp_path)
    progress = work_off(tmp_path / "out", find_films([str(hurt)]), Inline(settings(), worker))
    with StoreReader(store) as reader:
        # A run begins when it is started, which may be at the end of a minute.
        expected = sum(row["frames"] for row in reader.rows("minutes"))
    assert [row["frames"] for row in rows(tmp_path / "out", "minutes")] == [expected] == [len(frames)]
    done = [line for line in lines_of(tmp_path / "out") if line.get("state") == "done" and "frames" in line]
    assert done[0]["missing"] == 100 - len(frames) > 0
    assert progress.failed == 0


def test_films_that_are_none_fail_with_a_reason_and_the_others_are_done(film, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    os.link(film, folder / "good.mp4")
    (folder / "text.mp4").write_text("no film at all")
    (folder / "cut.mp4").write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    done = command(folder, "--out", tmp_path / "out", "--workers", "1")
    assert done.returncode == 1
    assert "text.mp4: neither an image nor a video" in done.stderr
    assert "cut.mp4: neither an image nor a video" in done.stderr
    for name in ("text.mp4", "cut.mp4"):
        assert done.stderr.count(f"{name}: ") == 1, done.stderr
    assert "1 film of 3 done, 2 failed" in done.stdout
    assert "Traceback" not in done.stderr
    assert {Path(row["film"]).name for row in rows(tmp_path / "out", "people")} == {"good.mp4"}


def test_a_full_disk_ends_the_command_in_words_and_costs_nothing(film, tmp_path, worker, monkeypatch):
    import fer_edge.archive.tables as module

    atomic = module.atomic_path
    left = [3]

    @contextlib.contextmanager
    def full(path):
        with atomic(path) as temporary:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            yield temporary

    films = find_films([str(film)])
    with monkeypatch.context() as patched:
        patched.setattr(module, "atomic_path", full)
        with pytest.raises(OutputError, match="No space left on device; free some space"):
            work_off(tmp_path / "out", films, Inline(settings(), worker))
    rest = Inline(settings(), worker)
    work_off(tmp_path / "out", films, rest)
    # The plan and two segments had fitted.
    assert [task.number for task in rest.done if isinstance(task, SegmentTask)] == [2, 3]
    assert len(rows(tmp_path / "out", "minutes")) == 1


def test_other_options_need_another_folder(film, tmp_path, worker):
    work_off(tmp_path, find_films([str(film)]), Inline(settings(), worker))
    with pytest.raises(DataError, match=r"begun with min-score 0\.7, not with 0\.9"):
        work_off(tmp_path, find_films([str(film)]), of=settings(min_score=0.9))
    with pytest.raises(DataError, match=r"begun without fps, not with 3\.0; give the same options"):
        work_off(tmp_path, find_films([str(film)]), of=settings(fps=3.0))


def edge_of(folder, balance):
    """A copy of the bundled model edge, as an export that chose ``balance`` would write it."""
    shutil.copytree(
        WEIGHTS, folder, ignore=shutil.ignore_patterns("nano*", "manifest.json"), dirs_exist_ok=True
    )
    manifest = read_manifest(WEIGHTS)
    del manifest["models"]["nano"]
    manifest["models"]["edge"]["people"]["balance"] = balance
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_another_model_of_the_same_name_needs_another_folder(tmp_path):
    model, detector, out = tmp_path / "edge", tmp_path / "yunet.onnx", tmp_path / "out"
    edge_of(model, 0.5)
    detector.write_bytes(b"one")
    of = settings(model=str(model), detector_model=str(detector))
    for _ in range(2):
        work_off(out, [], of=of)
    edge_of(model, 0.75)
    with pytest.raises(DataError, match=r"was begun with another classifier .*; use the former one, or ano"):
        work_off(out, [], of=of)
    edge_of(model, 0.5)
    detector.write_bytes(b"two")
    told = "another face detector (SHA-256 7692c3ad3540bb80…, now 3fc4ccfe745870e2…)"
    with pytest.raises(DataError, match=re.escape(told)):
        work_off(out, [], of=of)
    detector.write_bytes(b"one")
    work_off(out, [], of=of)


def test_an_archive_that_does_not_say_which_models_it_was_begun_with_goes_on(tmp_path):
    work_off(tmp_path, [])
    (line,) = lines_of(tmp_path)
    for name in ("model_sha256", "detector_sha256"):
        del line["options"][name]
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    work_off(tmp_path, [])
    assert [len(line["options"].get("model_sha256", "")) for line in lines_of(tmp_path)] == [0, 64]


def test_a_film_that_a_former_version_recorded_by_a_path_with_dots_is_known(film, tmp_path):
    """Its id was of that path, and its files have it in their names."""
    dotted = f"{film.parent}/../{film.parent.name}/{film.name}"
    films = find_films([str(film)])
    out = tmp_path / "out"
    work_off(out, films)
    of_dots = hashlib.sha256(dotted.encode()).hexdigest()[:16]
    manifest = out / "manifest.jsonl"
    before = manifest.read_text().replace(films[0].id, of_dots)
    manifest.write_text(before.replace(f'"{film}"', f'"{dotted}"'))
    assert f'"path": "{dotted}"' in manifest.read_text()
    progress = work_off(out, films)
    assert (progress.done, progress.kept) == (1, 1)


def test_a_model_that_does_not_exist_begins_no_archive(tmp_path):
    with pytest.raises(ModelError, match="no model 'egde': bundled are edge"):
        work_off(tmp_path / "out", [], of=settings(model="egde"))
    assert not (tmp_path / "out").exists()


def test_one_command_at_a_time_writes_an_archive(tmp_path):
    with (
        Manifest(tmp_path, {}, {}),
        pytest.raises(DataError, match="another fer-edge archive is writing to it"),
        Manifest(tmp_path, {}, {}),
    ):
        pass


def workers_of(process: subprocess.Popen) -> list[int]:
    """The worker processes of a command."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def waited(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def segments_done(out: Path) -> int:
    return (
        (out / "manifest.jsonl").read_bytes().count(b'"segment": ')
        if (out / "manifest.jsonl").exists()
        else 0
    )


@pytest.mark.heavy
def test_killed_workers_are_replaced(tmp_path, worker):
    films = tmp_path / "films"
    films.mkdir()
    for seed in range(2):
        face_film(films / f"{seed}.mp4", 150, seed)
    out = tmp_path / "out"
    arguments = started(
        films, "--out", out, "--segment", "0.9s", "--faces", "--workers", "2", "--device", "test"
    )
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        killed = 0
        for after in (1, 3):
            waited(lambda after=after: segments_done(out) >= after or process.poll() is not None)
            for pid in workers_of(process)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert killed == 2
    assert "workers lost" in stdout or "worker lost" in stdout
    work_off(tmp_path / "whole", find_films([str(films)]), Inline(settings(), worker))
    assert tables(out) == tables(tmp_path / "whole")


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_was_ended_goes_on(tmp_path, worker, number):
    path = face_film(tmp_path / "one.mp4", 200)
    out = tmp_path / "out"
    arguments = started(
        path, "--out", out, "--segment", "0.9s", "--faces", "--workers", "2", "--device", "test"
    )
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        waited(lambda: segments_done(out) >= 2 or process.poll() is not None)
        workers = workers_of(process)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), stderr
    if number == signal.SIGINT:
        assert "run the same command again to continue" in stderr
        assert "Traceback" not in stderr
    # Workers do not outlive the command.
    waited(lambda: not any(Path(f"/proc/{pid}/fd").exists() for pid in workers))
    before = segments_done(out)
    done = command(path, "--out", out, "--segment", "0.9s", "--faces", "--device", "test", "--workers", "1")
    assert done.returncode == 0, done.stderr
    (planned,) = (line for line in lines_of(out) if line.get("state") == "planned")
    assert len(planned["segments"]) >= 8
    finished = [line["segment"] for line in lines_of(out) if "segment" in line and line["state"] == "done"]
    assert sorted(finished) == list(range(len(planned["segments"])))
    assert before >= 2
    work_off(tmp_path / "whole", find_films([str(path)]), Inline(settings(), worker))
    assert tables(out) == tables(tmp_path / "whole")
