"""The store as an output: commits, clocks, sessions, failures, a process that is killed."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from results import BEGAN, face, result, tracked

from fer_edge.errors import DataError, OutputError
from fer_edge.outputs.base import Losses, Outputs
from fer_edge.outputs.keeping import TRUST_AFTER
from fer_edge.outputs.store import COMMIT_SECONDS, StoreOutput
from fer_edge.store.reader import StoreReader
from fer_edge.store.writer import locked


class Clock:
    """Both clocks of a machine; ``offset``: seconds by which the one with the date is set."""

    def __init__(self, now=1000.0):
        self.now, self.offset = now, 0.0

    def __call__(self):
        return self.now

    def wall(self):
        return BEGAN.timestamp() + self.now - 1000 + self.offset

    def result(self, *people, camera="door", **options):
        made = result(timestamp=self.now - 1000, **options)
        return replace(
            made,
            faces=tracked(*people),
            camera=camera,
            time=BEGAN + timedelta(seconds=self.now - 1000 + self.offset),
            dropped=0,
        )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shop.db"


@pytest.fixture
def output(path, clock):
    made = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    yield made
    made.close()


def rows(path, table, **conditions):
    with StoreReader(path) as store:
        return list(store.rows(table, **conditions))


def feed(output, clock, seconds, *people, step=0.5, **options):
    for _ in range(round(seconds / step)):
        output.write(clock.result(*people, **options))
        clock.now += step


def finish(output):
    output.end({})
    output.close()


def test_a_run_gives_a_visit_and_minutes(output, clock, path):
    feed(output, clock, 90, face("happy", 0.9, track=4))
    finish(output)
    (visit,) = rows(path, "visits")
    assert visit["camera"] == "door"
    assert (visit["track"], visit["seconds"], visit["cut"]) == (4, 89.5, 0)
    assert visit["began"] == BEGAN
    assert visit["happy"] == pytest.approx(0.9)
    assert visit["monotonic"] == 1000
    # Results begin at 12:30:00.
    minutes = rows(path, "minutes")
    assert [row["began"] for row in minutes] == [BEGAN, BEGAN + timedelta(minutes=1)]
    assert [row["seq"] for row in minutes] == [1, 2]
    assert [row["people_mean"] for row in minutes] == [1, 1]
    (run,) = rows(path, "runs")
    assert (run["began"], run["ended"], run["cut"]) == (BEGAN, BEGAN + timedelta(seconds=89.5), 0)


def test_views_tell_the_same_in_sql(output, clock, path):
    feed(output, clock, 61, face("happy", 0.9))
    finish(output)
    with sqlite3.connect(path) as connection:
        began, ended, seconds = connection.execute("SELECT began, ended, seconds FROM visits").fetchone()
    assert (began, ended, seconds) == ("2026-11-26T12:30:00.000Z", "2026-11-26T12:31:00.500Z", 60.5)


def test_nothing_older_than_five_seconds_waits(output, clock, path):
    for _ in range(200):
        output.write(clock.result(face()))
        with StoreReader(path) as store:
            told = [row["ended"] for row in store.rows("runs")]
        if clock.now > 1000:
            lag = BEGAN + timedelta(seconds=clock.now - 1000) - told[0]
            assert lag <= timedelta(seconds=COMMIT_SECONDS + 0.4)
        clock.now += 0.2


def test_a_commit_waits_for_the_disk(output):
    assert output._writer._opened().execute("PRAGMA synchronous").fetchone() == (2,)
    assert output._writer._opened().execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_readers_see_what_goes_on_while_it_is_written(output, clock, path):
    feed(output, clock, 12, face(track=9))
    with StoreReader(path) as store:
        (visit,) = store.rows("visits", going_on=True)
        (minute,) = store.rows("minutes", going_on=True)
        assert list(store.rows("visits")) == []
    assert (visit["track"], visit["cut"]) == (9, 1)
    assert minute["people"] == 1
    output.flush()
    finish(output)
    assert rows(path, "visits", going_on=True) == []
    assert len(rows(path, "visits")) == 1


def test_numbers_grow_by_one_over_runs_and_deletions(path, clock):
    for _ in range(3):
        output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
        feed(output, clock, 130, face())
        finish(output)
        clock.now += 300
    assert [row["seq"] for row in rows(path, "minutes")] == list(range(1, len(rows(path, "minutes")) + 1))
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM minute")
    last = StoreReader(path).devices()[0].last["minutes"]
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    feed(output, clock, 10)
    finish(output)
    assert [row["seq"] for row in rows(path, "minutes")] == [last + 1]
    assert [row["seq"] for row in rows(path, "minutes", after=last)] == [last + 1]


@pytest.mark.parametrize("hours", [-5, 3, 24 * 200])
def test_a_jump_of_the_clock_corrects_what_was_written_before_it(output, clock, path, caplog, hours):
    feed(output, clock, 100, face(track=1))
    clock.offset = 3600 * hours + 17
    feed(output, clock, 100, face(track=1))
    finish(output)
    assert f"{3600 * hours + 17:+.1f} s" in caplog.text
    right = BEGAN + timedelta(seconds=clock.offset)
    (visit,) = rows(path, "visits")
    assert (visit["began"], visit["seconds"]) == (right, 199.5)
    minutes = rows(path, "minutes")
    assert sum(row["observed"] for row in minutes) == 199.5
    assert minutes[0]["began"] == right
    for before, after in itertools.pairwise(minutes):
        assert before["ended"] == after["began"]
    # After the jump, minutes begin where the right time is a whole one.
    assert [row["began"].second for row in minutes if row["began"] > right + timedelta(seconds=102)] == [0, 0]
    (jump,) = rows(path, "jumps")
    assert jump["seconds"] == pytest.approx(3600 * hours + 17)


def test_a_clock_set_back_and_forth_ends_right(output, clock, path):
    for offset in (0, 3600, -7200, 0):
        clock.offset = offset
        feed(output, clock, 70, face(track=1))
    finish(output)
    minutes = rows(path, "minutes")
    assert minutes[0]["began"] == BEGAN
    assert sum(row["observed"] for row in minutes) == 279.5
    assert len(rows(path, "jumps")) == 3


def test_a_run_after_a_jump_corrects_those_before_it_in_the_same_boot(path, clock):
    for offset in (0, 5000):
        output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
        clock.offset = offset
        feed(output, clock, 10, face())
        finish(output)
    began = [row["began"] for row in rows(path, "visits")]
    assert began == [BEGAN + timedelta(seconds=5000), BEGAN + timedelta(seconds=5010)]


def test_a_result_held_up_between_two_clocks_is_no_jump(output, clock, path):
    feed(output, clock, 10)
    for _ in range(20):
        clock.offset = 8.0
        feed(output, clock, 1)
        clock.offset = 0.0
        feed(output, clock, 1)
    finish(output)
    assert rows(path, "jumps") == []


def test_the_clock_of_another_boot_is_another(path, clock, monkeypatch):
    for boot, offset in (("one", 0), ("two", 86400)):
        monkeypatch.setattr("fer_edge.outputs.store.boot_id", lambda boot=boot: boot)
        clock.now, clock.offset = 1000.0, offset
        output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
        feed(output, clock, 10)
        finish(output)
    assert [(row["boot"], row["began"]) for row in rows(path, "minutes")] == [
        ("one", BEGAN),
        ("two", BEGAN + timedelta(days=1)),
    ]


def test_times_of_a_film_are_positions_in_it(path, clock):
    output = StoreOutput(path, live=False, clock=clock)
    for position in range(0, 7300, 10):
        # The film is read faster than it would be shown.
        clock.now += 0.01
        made = replace(clock.result(face()), timestamp=position / 100, source="party.mp4")
        output.write(made)
    finish(output)
    (visit,) = rows(path, "visits")
    assert (visit["monotonic"], visit["seconds"], visit["film"]) == (0, 72.9, "party.mp4")


def test_each_camera_has_its_minutes(output, clock, path):
    for _ in range(100):
        output.write(clock.result(face(track=1), camera="door"))
        output.write(clock.result(face(track=1), face(track=2), camera="till"))
        clock.now += 0.5
    finish(output)
    assert {(row["camera"], row["people_max"]) for row in rows(path, "minutes")} == {("door", 1), ("till", 2)}
    assert len(rows(path, "visits", camera="till")) == 2


def test_a_session_has_rows_of_seconds_and_events(output, clock, path):
    feed(output, clock, 5, face(track=1))
    output.start_session("trailer evening")
    feed(output, clock, 4, face(track=1))
    output.mark("trailer A", group="A")
    feed(output, clock, 3, face(track=1))
    assert output.session == "trailer evening"
    output.stop_session()
    feed(output, clock, 5, face(track=1))
    finish(output)
    (session,) = rows(path, "sessions")
    assert (session["name"], session["cut"]) == ("trailer evening", 0)
    assert session["ended"] - session["began"] == timedelta(seconds=7)
    (event,) = rows(path, "events")
    assert (event["name"], event["group"]) == ("trailer A", "A")
    assert event["began"] == BEGAN + timedelta(seconds=9)
    seconds = rows(path, "seconds")
    assert sum(row["seen"] for row in seconds) == 7.0
    assert all(row["happy"] == pytest.approx(0.93) for row in seconds)


def test_a_session_ends_with_the_run(output, clock, path):
    output.start_session("evening")
    feed(output, clock, 5, face())
    finish(output)
    (session,) = rows(path, "sessions")
    assert (session["ended"], session["cut"]) == (BEGAN + timedelta(seconds=5), 0)


def test_a_session_that_begins_while_no_frames_come_does_not_end_before_it(output, clock, path):
    feed(output, clock, 10, face())
    clock.now += 2
    output.start_session("evening")
    output.flush()
    (session,) = rows(path, "sessions")
    began = BEGAN + timedelta(seconds=12)
    assert (session["began"], session["ended"], session["cut"]) == (began, began, 1)
    feed(output, clock, 5, face())
    output.flush()
    (session,) = rows(path, "sessions")
    # The last of its frames came half a second ago.
    assert (session["began"], session["ended"]) == (began, began + timedelta(seconds=4.5))


def test_sessions_of_a_run_without_a_frame_are_told_to_be_lost(output, caplog):
    output.start_session("evening")
    output.mark("A")
    output.end({})
    assert "there was no frame: 2 requests about sessions and events not recorded" in caplog.text


def test_a_store_that_has_ended_takes_no_session(output, clock, path):
    feed(output, clock, 2)
    output.end({})
    for ask in (lambda: output.start_session("a"), lambda: output.mark("A"), output.stop_session):
        with pytest.raises(DataError, match="the store is closed"):
            ask()
    assert not rows(path, "sessions")


def test_sessions_that_make_no_sense_are_refused(output):
    with pytest.raises(DataError, match="no session goes on"):
        output.mark("x")
    with pytest.raises(DataError, match="no session goes on"):
        output.stop_session()
    output.start_session("a")
    with pytest.raises(DataError, match="'a' goes on"):
        output.start_session("b")


def test_a_second_writer_is_refused(output, path):
    with pytest.raises(DataError, match=rf"another fer-edge writes it already \(process {os.getpid()}\)"):
        StoreOutput(path, live=True)
    output.close()
    StoreOutput(path, live=True).close()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, where no file can be made")
def test_a_folder_in_which_no_lock_can_be_made_is_told_by_the_store_s_name():
    with pytest.raises(OutputError, match=r"^/proc/x\.db: cannot be written: "):
        locked(Path("/proc/x.db"))


def test_a_second_writer_by_another_name_is_refused(output, path, tmp_path):
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(DataError, match="another fer-edge"):
        StoreOutput(tmp_path / "link.db", live=True)


@pytest.mark.parametrize(
    "content", [b"hello, this is no database" * 50, b"SQLite format 3\0" + bytes(range(256)) * 20]
)
def test_another_file_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a store"):
        StoreOutput(path, live=True)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="a database of another program"):
        StoreOutput(path, live=True)
    assert path.read_bytes() == before


def test_a_folder_that_is_missing_is_reported(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        StoreOutput(tmp_path / "none" / "x.db", live=True)
    with pytest.raises(DataError, match="is a folder"):
        StoreOutput(tmp_path, live=True)
    for name in ("/dev/null", "-"):
        with pytest.raises(DataError, match="no regular file"):
            StoreOutput(name, live=True)


@pytest.mark.parametrize("name", ["keep", "keep_detail"])
@pytest.mark.parametrize("days", [0, -1, float("nan")])
def test_days_out_of_range_are_refused(path, name, days):
    with pytest.raises(ValueError, match=f"{name} must be more than 0 days"):
        StoreOutput(path, live=True, **{name: days})
    assert not path.exists()


def aged(path, days):
    """Make all that is in the store so many days older."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE clock SET origin = origin - ?, boot = 'old' || id", (round(86_400_000 * days),)
        )
    connection.close()


def written(path, clock, seconds=10, session=False, **options):
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall, **options)
    if session:
        output.start_session("s")
    feed(output, clock, seconds, face())
    finish(output)


def test_old_rows_are_deleted_and_details_earlier(path, clock):
    written(path, clock, session=True)
    aged(path, 8)
    written(path, clock, keep=90, keep_detail=7)
    assert rows(path, "seconds") == []
    assert (len(rows(path, "visits")), len(rows(path, "sessions"))) == (2, 1)
    aged(path, 83)
    written(path, clock, keep=90)
    assert len(rows(path, "visits")) == len(rows(path, "minutes")) == 2
    # What is told of a run goes with the next step, when nothing of it is left.
    written(path, clock, keep=90)
    assert rows(path, "sessions") == []
    assert len(rows(path, "runs")) == 3


def test_deleting_makes_the_file_smaller_in_small_steps(path, clock):
    written(path, clock)
    with sqlite3.connect(path) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(visit)")]
        others = ", ".join(name for name in names if name != "seq")
        for _ in range(13):
            connection.execute(
                f"INSERT INTO visit (seq, {others}) "
                f"SELECT seq + (SELECT max(seq) FROM visit), {others} FROM visit"
            )
        connection.execute("UPDATE device SET visit_seq = (SELECT max(seq) FROM visit)")
    connection.close()
    assert len(rows(path, "visits")) == 8192
    aged(path, 100)
    before = path.stat().st_size
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    feed(output, clock, TRUST_AFTER - 10)
    assert len(rows(path, "visits")) == 8192
    feed(output, clock, 10)
    steps = []
    while (left := len(rows(path, "visits"))) and len(steps) < 100:
        feed(output, clock, COMMIT_SECONDS)
        steps.append(left - len(rows(path, "visits")))
    finish(output)
    assert max(steps) <= 500
    assert sum(steps) > 7000
    assert path.stat().st_size < before / 2


def test_nothing_is_deleted_soon_after_the_clock_jumped(path, clock):
    written(path, clock, 100)
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    feed(output, clock, TRUST_AFTER - 5)
    clock.offset = 86400 * 365
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE clock SET boot = 'old'")
    feed(output, clock, TRUST_AFTER - 20)
    assert len(rows(path, "minutes")) > 10
    output.close()


@pytest.mark.parametrize("frames", [0, 10])
def test_old_rows_are_deleted_while_no_frame_comes(path, clock, frames):
    written(path, clock, session=True)
    aged(path, 6)
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall, keep=30, keep_detail=7)
    feed(output, clock, frames)
    clock.now += TRUST_AFTER - 20
    output.flush()
    assert len(rows(path, "seconds")) == 10
    clock.now += 86_400
    output.flush()
    assert (len(rows(path, "seconds")), len(rows(path, "visits"))) == (0, 1)
    clock.now += 86_400 * 24
    output.flush()
    assert rows(path, "visits") == []
    output.close()


@pytest.mark.parametrize("frames", [0, 10])
def test_a_clock_that_is_set_while_no_frame_comes_makes_nothing_old_for_a_while(path, clock, frames):
    written(path, clock)
    aged(path, 1)
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    feed(output, clock, frames)
    clock.now += TRUST_AFTER - 30
    clock.offset = 86_400 * 365
    for _ in range(60):
        clock.now += 1
        output.flush()
    assert len(rows(path, "visits")) == 1
    clock.offset = 0
    for _ in range(round(TRUST_AFTER)):
        clock.now += 1
        output.flush()
    assert len(rows(path, "visits")) == 1
    clock.offset = 86_400 * 365
    for _ in range(round(TRUST_AFTER) + 10):
        clock.now += 1
        output.flush()
    assert rows(path, "visits") == []
    output.close()


def full(connection, pages=0):
    used = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {used + pages}")


def test_a_full_disk_is_told_once_and_costs_only_what_came_meanwhile(path, clock, caplog):
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    outputs = Outputs([], [output], live=False, clock=clock)
    with caplog.at_level(logging.WARNING):
        _write_through_a_full_disk(output, outputs, clock)
        outputs.close()
    assert [message.split(";")[0].split("disk")[-1] for message in caplog.messages[:1]] == [" is full"]
    assert caplog.messages[1] == "store: works again"
    assert len(caplog.messages) == 2
    assert outputs.failed
    losses = outputs.losses["store"]
    (gap,) = rows(path, "gaps")
    assert gap["reason"] == "not stored"
    minutes = rows(path, "minutes")
    assert sum(row["lost"] for row in minutes) == losses.lost > 0
    assert sum(row["frames"] for row in minutes) + losses.lost == _GIVEN
    # All that was counted before the disk was full is there.
    assert minutes[0]["began"] == BEGAN


_GIVEN = 400


def _write_through_a_full_disk(output, outputs, clock):
    broken = output._writer.write
    failing = False

    def write(batch):
        if failing:
            raise OutputError(f"{output._writer.path}: cannot be written: database or disk is full")
        broken(batch)

    output._writer.write = write
    thread = outputs._threads[0]
    for index in range(_GIVEN):
        failing = 100 <= index < 200
        outputs.write(clock.result(face(track=1 if index < 150 else 2)))
        with thread._changed:
            assert thread._changed.wait_for(lambda: not thread._queue and not thread._busy, 60)
        clock.now += 0.5


def test_a_database_that_is_full_loses_nothing_that_was_counted(path, clock):
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    feed(output, clock, 10, face(track=1))
    full(output._writer._opened())
    with pytest.raises(OutputError, match="database or disk is full"):
        for track in range(2, 2000):
            feed(output, clock, 0.5, face(track=track))
    output.close()
    output.open()
    feed(output, clock, 10, face(track=3000))
    finish(output)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    tracks = [row["track"] for row in rows(path, "visits")]
    assert tracks == [*range(1, len(tracks)), 3000]


def test_rows_that_wait_for_a_full_disk_are_bounded(path, clock, monkeypatch):
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    feed(output, clock, 1)
    monkeypatch.setattr(output._writer, "write", lambda batch: (_ for _ in ()).throw(OutputError("full")))
    for track in range(1, 400):
        try:
            feed(output, clock, 3, face(track=track), step=1)
        except OutputError:
            clock.now += 1
        assert len(output._waiting) < 20
    output.close()


@pytest.mark.heavy
def test_kill_9_at_any_moment_loses_at_most_five_seconds(tmp_path):
    """Twenty processes write to a clock of their own, which runs as fast as they can, and are killed."""
    script = Path(__file__).with_name("killed_store.py")
    random.seed(19)
    path = tmp_path / "killed.db"
    written_before = 0
    for round_ in range(20):
        with subprocess.Popen(
            [sys.executable, script, str(path), str(1000 + 100_000 * round_)], stdout=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout.readline() == b"began\n"
                for _ in range(random.randrange(1, 400)):
                    process.stdout.readline()
            finally:
                process.send_signal(signal.SIGKILL)
                last = process.stdout.read().splitlines()
        handed_over = float(last[-1]) if last else None
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        with StoreReader(path) as store:
            *_, run = store.rows("runs")
            told = run["monotonic"] + (run["ended"] - run["began"]) / timedelta(seconds=1)
            if handed_over is not None:
                assert told >= handed_over - 5
            going_on = [*store.rows("visits", going_on=True), *store.rows("minutes", going_on=True)]
            finished = len(list(store.rows("minutes")))
            assert finished >= written_before
            assert going_on
        written_before = finished
    StoreOutput(path, live=True).close()
    minutes = rows(path, "minutes")
    assert [row["seq"] for row in minutes] == list(range(1, len(minutes) + 1))
    # What went on when a process was killed is kept, and marked.
    assert sum(row["cut"] for row in minutes) == 20
    assert rows(path, "minutes", going_on=True) == []


def test_a_process_that_is_stopped_for_long_makes_a_gap(output, clock, path):
    feed(output, clock, 10, face(track=1))
    clock.now += 60
    feed(output, clock, 10, face(track=2))
    finish(output)
    (gap,) = rows(path, "gaps")
    assert gap["seconds"] == 60.5
    assert [row["seconds"] for row in rows(path, "visits")] == [9.5, 9.5]


def test_an_idle_source_ends_visits_and_the_minute(output, clock, path):
    feed(output, clock, 50, face())
    clock.now += 20
    output.flush()
    assert len(rows(path, "visits")) == len(rows(path, "minutes")) == 1
    finish(output)
    assert len(rows(path, "minutes")) == 1


def test_a_run_without_frames_leaves_an_empty_store(output, path):
    output.flush()
    finish(output)
    assert rows(path, "runs") == rows(path, "minutes") == []


def test_the_start_of_a_run_is_reported(path, clock):
    written(path, clock, start={"version": "9.9", "source": "camera 0"})
    (run,) = rows(path, "runs")
    assert json.loads(run["start"]) == {"version": "9.9", "source": "camera 0"}


def test_no_picture_waits(path, clock):
    output = StoreOutput(path, live=True, clock=clock, wall=clock.wall)
    assert not output.needs_image
    outputs = Outputs([], [output], live=False, clock=clock)
    outputs.write(clock.result(face()))
    outputs.close()
    assert outputs.losses == {"store": Losses(0, 0)}
