"""Stores, JSON lines and Parquet, alone and together, give the same report."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from results import tracked
from runs import BEGAN, made_run, person, stored, written

from fer_edge.errors import DataError
from fer_edge.faces.quality import MEAN_FACE, directions, facing, facing_of_many
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.jsonl import start_to_json
from fer_edge.pipeline.result import FrameResult
from fer_edge.report.from_store import read_store
from fer_edge.report.listed import with_events
from fer_edge.report.measures import figures
from fer_edge.report.parts import parts
from fer_edge.report.reading import read
from fer_edge.store.export import write_tables
from fer_edge.store.reader import StoreReader
from fer_edge.store.schema import TABLES

COLUMNS = (
    "track",
    "began",
    "ended",
    "seen",
    "unsure",
    "attention",
    "unclear",
    "shares",
    "smile",
    "size",
    "cut",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("store") / "shop.db", made_run(5, seconds=90))


def same_people(one, other):
    def ordered(material):
        camera = np.array([material.sources[code].camera for code in material.people.source])
        return material.people.take(np.lexsort((material.people.track, material.people.began, camera)))

    ours, theirs = ordered(one), ordered(other)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), name)


def test_columns_of_a_store_are_its_rows(store):
    with StoreReader(store) as reader:
        for table, described in TABLES.items():
            names = [column.name for column in described.columns]
            rows = list(reader.rows(table))
            chunks = list(reader.columns(table, names))
            assert sum(len(chunk[names[0]]) for chunk in chunks) == len(rows)
            for column in described.columns:
                values = [value for chunk in chunks for value in chunk[column.name].tolist()]
                # Two queries may give rows in two orders.
                expected = [row[column.name] for row in rows]
                if column.kind == "time":
                    expected = [None if at is None else round(at.timestamp() * 1000) for at in expected]
                    expected = [float("nan") if at is None else at for at in expected]
                elif column.kind != "text":
                    expected = [float("nan") if value is None else value for value in expected]
                assert sorted(map(str, map(_plain, values))) == sorted(map(str, map(_plain, expected)))


def _plain(value):
    return float(value) if isinstance(value, int | float) else value


def test_visits_that_go_on_count_and_are_marked(tmp_path):
    path = tmp_path / "killed.db"
    from fer_edge.outputs.store import StoreOutput

    results = made_run(1, ("door",), seconds=30, gaps=False)
    now = 0.0
    output = StoreOutput(path, live=True, clock=lambda: now)
    output.open()
    for one in results:
        now = one.monotonic
        output.write(one)
    material = read_store(path)
    output.close()
    assert material.people.cut.any()
    assert material.minutes.observed.sum() > 20
    # From outside, a run that goes on looks as one that was killed.
    assert material.told == (f"{path}: 1 run without an end: it goes on, or was broken off.",)


@pytest.fixture
def going_on(tmp_path):
    """A run that goes on: its output, which writes results at once, and results of people in sight."""
    from fer_edge.outputs.store import StoreOutput

    now = 0.0
    results = made_run(1, ("door",), seconds=30, gaps=False)
    output = StoreOutput(tmp_path / "shop.db", live=True, clock=lambda: now)
    output.open()
    for one in results:
        now = one.monotonic
        output.write(one)
    output.flush()
    yield output
    output.close()


def meanwhile(monkeypatch, name, table, write, **given):
    """Let ``write`` run before ``table`` is read, by the method of that name with the options ``given``."""
    method, waiting = getattr(StoreReader, name), [write]

    def read_then(self, asked, *args, **options):
        if asked == table and given.items() <= options.items() and waiting:
            waiting.pop()()
        return method(self, asked, *args, **options)

    monkeypatch.setattr(StoreReader, name, read_then)
    return waiting


def test_a_visit_that_ends_while_the_store_is_read_counts(going_on, tmp_path, monkeypatch):
    before = read_store(tmp_path / "shop.db")
    assert before.people.cut.any()
    waiting = meanwhile(monkeypatch, "columns", "visits", lambda: going_on.end({}), going_on=True)
    found = read_store(tmp_path / "shop.db")
    assert not waiting
    same_people(found, before)
    assert found.minutes.ended.tolist() == before.minutes.ended.tolist()
    assert found.told == before.told
    # What was written meanwhile is seen by whoever reads later.
    assert not read_store(tmp_path / "shop.db").people.cut.any()


def test_a_session_that_begins_while_the_store_is_read_is_left_out(going_on, tmp_path, monkeypatch):
    def begin():
        going_on.start_session("evening")
        going_on.mark("A")
        going_on.flush()

    waiting = meanwhile(monkeypatch, "rows", "events", begin)
    found = read_store(tmp_path / "shop.db")
    assert not waiting
    assert (found.sessions, found.events) == ((), ())
    later = read_store(tmp_path / "shop.db")
    assert [one.name for one in (*later.sessions, *later.events)] == ["evening", "A"]


def test_a_session_and_its_marks_become_events(tmp_path):
    pytest.importorskip("pyarrow")
    from fer_edge.outputs.store import StoreOutput

    now = 1000.0
    output = StoreOutput(tmp_path / "s.db", live=True, clock=lambda: now)
    output.open()
    for index, one in enumerate(made_run(1, ("door",), seconds=40, gaps=False)):
        now = one.monotonic
        if index == 10:
            output.start_session("evening")
            output.mark("A", "ad")
            first = now
        elif index == 100:
            output.mark("B")
            second = now
        elif index == 200:
            output.stop_session()
            third = now
        output.write(one)
    output.end({})
    output.close()
    material = read_store(tmp_path / "s.db")
    with StoreReader(tmp_path / "s.db") as reader:
        write_tables(reader, tmp_path / "tables", ".parquet", None, None, False)
    assert read([tmp_path / "tables"]).events == material.events
    origin = round(BEGAN.timestamp() * 1000) - 1_000_000
    a, b = material.events
    assert (a.name, a.group, b.name, b.group) == ("A", "ad", "B", "")
    assert (a.began, a.ended) == (origin + round(1000 * first), origin + round(1000 * second))
    assert (b.began, b.ended) == (a.ended, origin + round(1000 * third))
    assert material.sessions[0].name == "evening" and len(material.seconds)


def test_a_session_that_ends_before_it_begins_is_an_empty_one(store, tmp_path):
    pytest.importorskip("pyarrow")
    path = shutil.copy(store, tmp_path / "shop.db")
    began = read_store(path).sessions[0].began
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE session SET ended = began - 2100")
    with StoreReader(path) as reader:
        write_tables(reader, tmp_path / "tables", ".parquet", None, None, False)
    for place in (path, tmp_path / "tables"):
        (session,) = read([place]).sessions
        assert (session.began, session.ended) == (began, began)


def test_parquet_of_a_store_is_read_as_the_store(store, tmp_path):
    pytest.importorskip("pyarrow")
    with StoreReader(store) as reader:
        write_tables(reader, tmp_path / "tables", ".parquet", None, None, False)
    ours, theirs = read([tmp_path / "tables"]), read([store])
    same_people(ours, theirs)
    np.testing.assert_array_equal(np.sort(ours.minutes.shares, 0), np.sort(theirs.minutes.shares, 0))
    np.testing.assert_array_equal(np.sort(ours.seconds.began), np.sort(theirs.seconds.began))
    assert set(ours.sources) == set(theirs.sources)
    assert (ours.sessions, ours.events) == (theirs.sessions, theirs.events)
    assert sorted(ours.gaps.reason) == sorted(theirs.gaps.reason)


def test_seconds_that_a_table_has_for_two_sessions_count_once(store, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    with StoreReader(store) as reader:
        write_tables(reader, tmp_path, ".parquet", None, None, False)
    for name, changed in (("sessions", {"session": 99, "name": "other"}), ("seconds", {"session": 99})):
        rows = parquet.read_table(tmp_path / f"{name}.parquet")
        again = [{**row, **changed} for row in rows.to_pylist()]
        assert again
        both = pyarrow.concat_tables([rows, pyarrow.Table.from_pylist(again, rows.schema)])
        parquet.write_table(both, tmp_path / f"{name}.parquet")
    ours, theirs = read([tmp_path]), read([store])
    assert len(ours.sessions) == 2 * len(theirs.sessions)
    np.testing.assert_array_equal(np.sort(ours.seconds.began), np.sort(theirs.seconds.began))
    assert ours.seconds.seen.sum() == pytest.approx(theirs.seconds.seen.sum())


def test_an_archive_in_partitions_is_read(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with StoreReader(store) as reader:
        write_tables(reader, tmp_path / "tables", ".parquet", None, None, False)
    for view, name in (("visits", "people"), ("minutes", "minutes")):
        table = parquet.read_table(tmp_path / "tables" / f"{view}.parquet")
        for date, part in (("2026-11-26", table.slice(0, 3)), ("2026-11-27", table.slice(3))):
            folder = tmp_path / "archive" / f"{name}.parquet" / f"date={date}" / "source=cam"
            folder.mkdir(parents=True)
            parquet.write_table(part, folder / "film.parquet")
    ours, theirs = read([tmp_path / "archive"]), read([store])
    same_people(ours, theirs)


def test_parquet_that_lacks_columns_says_which(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"device": ["a"]}), tmp_path / "people.parquet")
    with pytest.raises(DataError, match=r"people\.parquet: lacks the columns camera, run"):
        read([tmp_path])


def test_several_sources_count_together(store, tmp_path):
    pytest.importorskip("pyarrow")
    lines = written(tmp_path / "till2.jsonl", made_run(6, ("window",), seconds=30), ("window",))
    both = read([store, lines])
    assert len(both.people) == len(read([store]).people) + len(read([lines]).people)
    assert {"till2"} < {source.device for source in both.sources}


def test_each_camera_of_each_run_has_its_own_settings(tmp_path):
    pytest.importorskip("pyarrow")
    log, path = tmp_path / "log.jsonl", tmp_path / "shop.db"
    runs = [("door", "till"), ("door",)]
    for number, cameras in enumerate(runs):
        results = [
            replace(
                one,
                monotonic=one.monotonic + 1000 * number,
                time=one.time + timedelta(seconds=1000 * number),
            )
            for one in made_run(1, cameras, seconds=20, gaps=False)
        ]
        records = [
            start_to_json("0.2.0", name, name, True, {"name": f"model {number}"}, {"zone": name})
            for name in cameras
        ]
        written(log, results, start=records, mode="append" if number else "new")
        stored(path, results, start=records if len(records) > 1 else records[0])
    for place in (log, path):
        found = {(one.run, one.camera): one.settings for one in read([place]).sources}
        assert {where: (one["model"]["name"], one["options"]["zone"]) for where, one in found.items()} == {
            ("1", "door"): ("model 0", "door"),
            ("1", "till"): ("model 0", "till"),
            ("2", "door"): ("model 1", "door"),
        }


def test_a_source_given_twice_is_refused(store):
    with pytest.raises(DataError, match="given twice"):
        read([store, store.parent / "." / store.name])


def test_filters_keep_what_they_name(store):
    whole = read([store])
    half = BEGAN + timedelta(seconds=45)
    early, late = read([store], until=half), read([store], since=half)
    assert (
        len(early.people) + len(late.people) == len(whole.people) and len(early.people) and len(late.people)
    )
    assert late.people.began.min() >= half.timestamp() * 1000
    door = read([store], cameras=["door"])
    assert [source.camera for source in door.sources] == ["door"]
    assert 0 < len(door.people) < len(whole.people)
    both = read([store], cameras=["till", "door"])
    assert len(both.people) == len(whole.people) and len(both.sources) == 2
    with pytest.raises(DataError, match="--camera dor: there is none of that name; there are: door, till"):
        read([store], cameras=["door", "dor"])
    with pytest.raises(DataError, match="--device x: there is none"):
        read([store], devices=["x"])


def test_a_year_of_filter_leaves_nothing(store):
    assert read([store], since=datetime(2030, 1, 1, tzinfo=UTC)).span is None


def test_what_is_none_of_these_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read([tmp_path / "missing.db"])
    with pytest.raises(DataError, match="neither a folder of Parquet"):
        read([tmp_path])


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "none.db").touch()
    with pytest.raises(DataError, match=r"none\.db: an empty file, neither a store nor JSON lines"):
        read([tmp_path / "none.db"])


def test_a_folder_of_json_lines_is_read(tmp_path):
    pytest.importorskip("pyarrow")
    for seed, name in enumerate(("a", "b")):
        written(tmp_path / f"{name}.jsonl", made_run(seed, ("door",), seconds=20), ("door",))
    assert {source.device for source in read([tmp_path]).sources} == {"a", "b"}


def test_many_faces_are_judged_as_single_ones_are():
    rng = np.random.default_rng(0)
    points = MEAN_FACE[None, :, :2] * rng.uniform(0.3, 1.2, (4000, 1, 2)) + rng.normal(0, 10, (4000, 5, 2))
    points[:5], points[5] = 0.0, np.nan
    sizes = rng.uniform(20, 60, 4000)
    one_by_one = facing(directions(points), sizes)
    assert set(one_by_one.tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(facing_of_many(points, sizes), one_by_one)
    pitch = np.where(rng.random(4000) < 0.7, rng.uniform(-60, 60, 4000), np.nan)
    one_by_one = facing(directions(points, pitch), sizes)
    np.testing.assert_array_equal(facing_of_many(points, sizes, pitch), one_by_one)
    assert (facing_of_many(points, sizes) != one_by_one).any()


def listed(tmp_path, text):
    path = tmp_path / "events.csv"
    path.write_text(text)
    return path


def test_listed_offsets_count_from_the_begin_of_the_session(store, tmp_path):
    material = read([store])
    text = "offset,name,group\n0:10,A,ads\n20,B,ads\n0:30.5,C,\n"
    events = with_events(material, listed(tmp_path, text)).events
    began, ended = material.sessions[0].began, material.sessions[0].ended
    assert [(event.name, event.began - began, event.ended - began, event.group) for event in events] == [
        ("A", 10_000, 20_000, "ads"),
        ("B", 20_000, 30_500, "ads"),
        ("C", 30_500, ended - began, ""),
    ]
    assert {event.session for event in events} == {0}


def test_listed_times_of_day_hold_for_all(store, tmp_path):
    at = (BEGAN + timedelta(seconds=30)).isoformat()
    events = with_events(read([store]), listed(tmp_path, f"time,duration,name\n{at},15,A\n")).events
    assert [(e.name, e.began, e.ended - e.began, e.session) for e in events] == [
        ("A", round(BEGAN.timestamp() * 1000) + 30_000, 15_000, -1)
    ]


def test_an_event_after_the_end_is_told_and_left_out(store, tmp_path):
    material = with_events(read([store]), listed(tmp_path, "offset,name\n10,A\n50000,B\n"))
    assert [event.name for event in material.events] == ["A"]
    assert any("event 2 ('B') lies" in text and "after the end" in text for text in material.told)


def test_a_list_of_another_day_is_refused(store, tmp_path):
    with pytest.raises(DataError, match=r"events\.csv: none of its events lies in the time"):
        with_events(read([store]), listed(tmp_path, "time,name\n2020-01-01T10:00,A\n"))


def test_json_lines_without_a_session_have_events_from_the_first_minute(tmp_path):
    pytest.importorskip("pyarrow")
    lines = written(tmp_path / "log.jsonl", made_run(1, ("door",), seconds=40, gaps=False), ("door",))
    material = read([lines])
    events = with_events(material, listed(tmp_path, "offset,name\n5,A\n")).events
    assert events[0].began == int(material.minutes.began.min()) + 5000


def totals(material):
    found = figures(material)
    return {name: found[name].value for name in ("people", "visits", "dwell", "smile")}


def test_stores_of_one_machine_do_not_mix_their_people(tmp_path):
    # Each store numbers its runs and people from 1 on, and all are called by the same machine.
    one, other = (
        stored(tmp_path / f"{day}.db", made_run(seed, seconds=60)) for day, seed in (("mon", 1), ("tue", 2))
    )
    both = read([one, other])
    apart = [totals(read([path])) for path in (one, other)]
    assert totals(both)["people"] == sum(each["people"] for each in apart)
    mean = sum(each["dwell"] * each["people"] for each in apart) / totals(both)["people"]
    assert totals(both)["dwell"] == pytest.approx(mean)
    device = read([one]).sources[0].device
    assert {source.device for source in both.sources} == {f"{device} (mon)", f"{device} (tue)"}
    assert {session.device for session in both.sessions} == {f"{device} (mon)", f"{device} (tue)"}
    assert any(f"name their device {device}" in text for text in both.told)
    assert len(read([one, other], devices=[f"{device} (tue)"]).people) == len(read([other]).people)


def test_stores_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = []
    for place, seed in (("door", 1), ("till", 2)):
        (tmp_path / place).mkdir()
        paths.append(stored(tmp_path / place / "shop.db", made_run(seed, seconds=20)))
    device = read(paths[:1]).sources[0].device
    assert {source.device for source in read(paths).sources} == {
        f"{device} (door/shop)",
        f"{device} (till/shop)",
    }


def test_a_copy_of_a_store_is_refused(store, tmp_path):
    copy = tmp_path / "copy.db"
    shutil.copy(store, copy)
    with pytest.raises(DataError, match=r"copy\.db: has the same visits as .*shop\.db, so it is a copy"):
        read([store, copy])
    link = tmp_path / "link.db"
    link.hardlink_to(copy)
    with pytest.raises(DataError, match="given twice"):
        read([copy, link])


def test_lines_called_as_the_device_of_a_store_are_others(store, tmp_path):
    pytest.importorskip("pyarrow")
    device = read([store]).sources[0].device
    lines = written(tmp_path / f"{device}.jsonl", made_run(6, seconds=30))
    both = read([store, lines])
    assert totals(both)["people"] == totals(read([store]))["people"] + totals(read([lines]))["people"]


def test_folders_of_json_lines_with_files_of_one_name_are_two_devices(tmp_path):
    pytest.importorskip("pyarrow")
    folders = [tmp_path / "door", tmp_path / "till"]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        written(folder / "log.jsonl", made_run(seed, ("camera 0",), seconds=30), ("camera 0",))
    both = read(folders)
    assert {source.device for source in both.sources} == {"door/log", "till/log"}
    assert totals(both)["people"] == sum(totals(read([folder]))["people"] for folder in folders)
    with pytest.raises(DataError, match="given twice"):
        read([folders[0], folders[0] / "log.jsonl"])


def test_a_store_with_impossible_rows_is_named(store, tmp_path):
    path = tmp_path / "damaged.db"
    shutil.copy(store, path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE second SET happy = 12000")
        connection.commit()
    with pytest.raises(DataError, match=r"damaged\.db: damaged: Seconds, row 0: the shares do not sum to 1"):
        read([path])


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: is neither a file nor a folder"):
        read([tmp_path / "pipe"])


def film(name, began):
    """A film of two minutes, of which the first is happy, watched in six seconds."""
    found = []
    for index in range(600):
        at = index / 5
        share = np.zeros(7, np.float32)
        share[EMOTIONS.index("happy" if at < 60 else "sad")] = 1
        face = replace(person(1, np.random.default_rng(0)), probabilities=share)
        found.append(
            FrameResult(
                index=index,
                source=name,
                camera=name,
                timestamp=at,
                monotonic=1000 + at / 20,
                time=BEGAN + timedelta(seconds=began + at / 20),
                image=np.zeros((1, 1, 3), np.uint8),
                faces=tracked(face),
                latency_ms=1.0,
                dropped=0,
            )
        )
    return found


def test_listed_offsets_hold_for_each_film_alone(tmp_path):
    # Positions are counted from when a film began to be watched: the second begins within the first.
    path = tmp_path / "films.db"
    for name, began in (("one.mp4", 0), ("two.mp4", 30)):
        stored(path, film(name, began), live=False, cameras=(name,))
    material = replace(read([path]), sessions=(), events=())
    told = with_events(material, listed(tmp_path, "offset,name\n0,A\n60,B\n"))
    a, b = parts(told, "event")
    assert figures(told, a)["happy"].value == pytest.approx(1, abs=0.01)
    assert figures(told, b)["happy"].value == pytest.approx(0, abs=0.01)
    assert figures(told, b)["sad"].value == pytest.approx(1, abs=0.01)


def test_events_outside_the_chosen_time_are_refused(store, tmp_path):
    late = read([store], since=BEGAN + timedelta(seconds=40))
    with pytest.raises(DataError, match="none of its events lies in the time"):
        with_events(late, listed(tmp_path, "offset,name,duration\n0,A,10\n"))
