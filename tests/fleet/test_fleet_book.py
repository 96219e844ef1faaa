"""The book of rows: doubles, order, restarts, clocks, and what devices have deleted."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("paho.mqtt.enums")
from fleet.fleet_devices import BEGAN, BOOT, STORE, minute, visit
from outputs.mqtt_broker import WrittenStore
from results import face, result, tracked

from fer_edge.cli import main
from fer_edge.errors import DataError, OutputError
from fer_edge.faces.quality import MEAN_FACE
from fer_edge.fleet.book import DELETE, OUTDATED, Book
from fer_edge.fleet.database import SqliteDatabase, database_of
from fer_edge.fleet.payloads import row_of
from fer_edge.fleet.schema import tables
from fer_edge.outputs.mqtt.feed import to_payload
from fer_edge.report.from_store import read_store
from fer_edge.store.clock import at
from fer_edge.store.postgresql import open_store
from fer_edge.store.reader import StoreReader
from fer_edge.store.schema import TABLES, VERSION
from fer_edge.store.tally import CameraTally
from fer_edge.store.writer import Batch, ClockState, StoreWriter


def row(told, table="minutes"):
    return row_of(table, json.loads(to_payload(told)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fleet.db"


class Opened:
    def __init__(self, path, history=10_000):
        self.database = database_of(str(path))
        self.database.open()
        self.now = BEGAN / 1000
        self.book = Book(self.database, history, lambda: self.now)
        self.book.load()

    def tell(self, name, *seqs, store=STORE, table="minutes", commit=True, **changed):
        source = self.book.source(name, store)
        for seq in seqs:
            made = (minute if table == "minutes" else visit)(seq, store, **changed)
            self.book.take(source, table, row(made, table))
        if commit:
            self.book.commit()
        return source

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.database.close()


def seqs(path, device=None, table="minutes"):
    with StoreReader(path) as store:
        return [one["seq"] for one in store.rows(table, device=device)]


def test_rows_may_come_twice_and_in_any_order(path):
    with Opened(path) as opened:
        source = opened.tell("shop", 3, 1, 3, 2, 1)
        opened.tell("shop", 2, 4, 4)
        assert (opened.book.written, opened.book.doubles) == (4, 4)
        assert source.missing == 0 and source.spans["minutes"].settled == 4
    assert seqs(path) == [1, 2, 3, 4]


def test_a_device_whose_store_is_begun_anew_counts_from_one_again(path):
    with Opened(path) as opened:
        opened.tell("shop", 1, 2)
        opened.tell("shop", 1, store="another")
        opened.tell("bar", 1, store="third")
    assert seqs(path, "shop") == [1, 2, 1] and seqs(path, "bar") == [1]


def test_after_a_restart_it_is_known_what_is_missing(path):
    with Opened(path) as opened:
        opened.tell("shop", 1, 2, 5, 9)
    with Opened(path) as opened:
        source = opened.book.current["shop"]
        assert [*source.spans["minutes"].gaps()] == [(3, 4), (6, 8)]
        assert source.missing == 5
        opened.tell("shop", 3, 4, 6, 7, 8)
        assert source.missing == 0
    with Opened(path) as opened:
        assert opened.book.current["shop"].missing == 0


def test_of_a_new_device_only_so_much_history_is_missing(path):
    with Opened(path, history=3) as opened:
        source = opened.tell("shop", 100)
        assert [*source.spans["minutes"].gaps()] == [(97, 99)]


def test_what_a_device_has_deleted_is_lost_only_since_it_is_known(path):
    with Opened(path) as opened:
        source = opened.tell("shop", 10)
        assert opened.book.settle(source, "minutes", 1, 9) == 0
        opened.tell("shop", 15)
        assert opened.book.settle(source, "minutes", 1, 14) == 4
        opened.book.commit()
    with Opened(path) as opened:
        assert opened.book.current["shop"].lost == {"minutes": 4, "visits": 0}
        assert opened.book.current["shop"].missing == 0


def test_what_was_given_up_is_taken_all_the_same_when_it_comes(path):
    with Opened(path) as opened:
        source = opened.tell("shop", 1, 5)
        opened.book.settle(source, "minutes", 2, 4)
        opened.tell("shop", 3)
    assert seqs(path) == [1, 3, 5]


def test_a_clock_that_is_put_right_corrects_what_came_before(path):
    with Opened(path) as opened:
        opened.tell("shop", 1, 2)
        opened.tell("shop", 3, origin=BEGAN - BOOT + 3_600_000)
        # An older row that comes once more knows no better.
        opened.tell("shop", 2)
        opened.tell("shop", 4, boot="b2")
    with StoreReader(path) as store:
        began = [one["began"] for one in store.rows("minutes")]
    zero = datetime.fromtimestamp(BEGAN / 1000, UTC)
    hour = timedelta(hours=1)
    assert began == [zero + timedelta(minutes=n) + (hour if n < 4 else timedelta(0)) for n in (1, 2, 3, 4)]


def test_each_run_of_a_film_has_a_clock_of_its_own(path):
    with Opened(path) as opened:
        opened.tell("pc", 1, film="a.mp4")
        opened.tell("pc", 2, film="a.mp4", run=2, origin=BEGAN)
        opened.tell("pc", 3, film="a.mp4", run=2, origin=BEGAN)
    with Opened(path) as opened:
        opened.tell("pc", 4, film="a.mp4", run=1)
    with StoreReader(path) as store:
        found = [
            (one["film"], one["run"], (one["began"].timestamp() * 1000)) for one in store.rows("minutes")
        ]
    starts = [BEGAN - BOOT, BEGAN, BEGAN, BEGAN - BOOT]
    assert [one[2] for one in found] == [
        start + BOOT + seq * 60_000 for seq, start in enumerate(starts, start=1)
    ]
    assert [one[1] for one in found] == [1, 2, 2, 1]


def test_runs_of_two_devices_are_told_apart(path):
    with Opened(path) as opened:
        opened.tell("shop", 1)
        opened.tell("bar", 1, store="other")
    with StoreReader(path) as store:
        assert [(one["device"], one["run"]) for one in store.rows("minutes")] == [("shop", 1), ("bar", 2)]
        assert [one["device"] for one in store.rows("runs")] == ["shop", "bar"]


def test_a_renamed_device_is_not_asked_for_what_is_there_already(path):
    with Opened(path) as opened:
        opened.tell("old", 1, 2, 3)
        source = opened.tell("new", 6)
        assert opened.book.known_elsewhere(source) == "old"
        assert [*source.spans["minutes"].gaps()] == [(4, 5)]
    with Opened(path) as opened:
        assert [*opened.book.current["new"].spans["minutes"].gaps()] == [(4, 5)]
    assert seqs(path, "old") == [1, 2, 3] and seqs(path, "new") == [6]


def test_a_copied_card_loses_no_row_of_either_device(path):
    with Opened(path) as opened:
        opened.tell("one", 1, 2)
        opened.tell("two", 2, 3)
        opened.tell("one", 3)
    assert seqs(path, "one") == [1, 2, 3] and seqs(path, "two") == [2, 3]


def test_the_views_hold_what_the_store_of_a_device_holds(path, tmp_path):
    device = WrittenStore(tmp_path / "device.db")
    device.add(minutes=3, visits=4)
    device.close()
    with Opened(path) as opened, StoreReader(tmp_path / "device.db") as there:
        source = opened.book.source("shop", there.devices()[0].uuid)
        for table in ("minutes", "visits"):
            for one in there.rows(table):
                opened.book.take(source, table, row({**one, "version": 1}, table))
        opened.book.commit()
        with StoreReader(path) as here:
            for table in ("minutes", "visits"):
                made = [{**one, "device": "shop"} for one in there.rows(table)]
                assert [*here.rows(table)] == made and made
    columns = sqlite3.connect(path)
    for name, table in TABLES.items():
        found = [one[0] for one in columns.execute(f"SELECT * FROM {name}").description]
        assert found == [column.name for column in table.columns]
    columns.close()


def test_whatever_a_device_writes_passes(path, tmp_path):
    random = np.random.default_rng(5)
    tally, now = CameraTally(BEGAN, longest_step=5000), 0
    for _ in range(3000):
        now += int(random.integers(1, 1500))
        # Mostly one or two of some people, each of another mind, some looking away.
        faces = [
            replace(
                face(track=int(track), box=(0, 0, 60, 60), unsure=bool(random.integers(2))),
                probabilities=random.dirichlet(np.full(7, 0.3)).astype(np.float32),
                landmarks=(MEAN_FACE[:, :2] * random.uniform(0.8, 1.3, (5, 1)) + 100).astype(np.float32),
            )
            for track in random.choice(np.arange(1, 40), random.integers(0, 4), replace=False)
        ]
        tally.take(replace(result(), faces=tracked(*faces)), now)
    tally.end()
    rows = [("door", one) for one in tally.rows]
    writer = StoreWriter(tmp_path / "device.db", "{}")
    writer.write(Batch(ClockState("boot", None, BEGAN), rows, [], 0, now))
    writer.close()
    with StoreReader(tmp_path / "device.db") as store, Opened(path) as opened:
        source = opened.book.source("shop", "a store")
        for table in ("minutes", "visits"):
            made = [*store.rows(table)]
            assert len(made) > 30
            for one in made:
                opened.book.take(source, table, row(one, table))
        opened.book.commit()
    assert len(read_store(path).people) == len(made)


def test_the_commands_for_stores_take_it(path, tmp_path, capsys):
    with Opened(path) as opened:
        opened.tell("shop", 1, 2)
        opened.tell("bar", 1, store="other")
        opened.tell("shop", 1, 2, table="visits")
    assert main(["store", str(path)]) == 0
    told = capsys.readouterr().out
    assert "shop / door" in told and "bar / door" in told and "2 visits" in told
    assert main(["store", str(path), "--csv", str(tmp_path / "minutes.csv"), "--table", "minutes"]) == 0
    assert (tmp_path / "minutes.csv").read_text().count("\n") == 4


def test_missing_time_of_a_fleet_is_told_without_a_number_of_gaps(path, tmp_path, capsys):
    with Opened(path) as opened:
        opened.tell("shop", 1, 2, 3, observed=20.0, gap=40.0, seen=20.0, attention=5.0)
        opened.tell("bar", 1, store="other", observed=60.0, gap=0.0)
    assert main(["store", str(path)]) == 0
    told = capsys.readouterr().out
    assert "  observed 1 min 0 s, gaps of at least 2 min 0 s\n" in told
    assert "  observed 1 min 0 s, no gaps\n" in told
    assert main(["report", str(path), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text().replace("\N{NO-BREAK SPACE}%", " %")
    # 120 s of 240 s.
    assert "gaps of at least 2 min, 50 % of the time" in page


def test_a_report_is_made_of_one_device_some_or_all(path, tmp_path, capsys):
    pytest.importorskip("scipy")
    with Opened(path) as opened:
        opened.tell("shop", 1, 2)
        opened.tell("shop", *range(1, 6), table="visits")
        opened.tell("bar", *range(1, 4), store="other", table="visits")
    out = tmp_path / "report.html"
    assert main(["report", str(path), "--device", "shop", "-o", str(out)]) == 0
    assert "5 people" in capsys.readouterr().out
    assert ">bar<" not in out.read_text()
    with Opened(path) as opened:
        opened.tell("till", *range(1, 3), store="third", table="visits")
    some = ["report", str(path), "--device", "till", "--device", "bar", "-o", str(out), "--force"]
    assert main(some) == 0
    assert "5 people" in capsys.readouterr().out
    assert ">shop<" not in out.read_text()
    assert main(["report", str(path), "-o", str(out), "--force"]) == 0
    assert "10 people" in capsys.readouterr().out
    assert main(["report", str(path), "--device", "nowhere", "-o", str(tmp_path / "no.html")]) == 2
    assert "bar, shop" in capsys.readouterr().err


def test_a_report_leaves_out_rows_that_contradict_themselves(path, tmp_path, capsys, monkeypatch):
    check_rows_that_contradict_themselves(path, tmp_path, capsys, monkeypatch)


def check_rows_that_contradict_themselves(place, folder, capsys, monkeypatch):
    """``place``: a file, or the URL of a database; for PostgreSQL, too."""
    pytest.importorskip("scipy")
    with Opened(place) as opened:
        # As a server stored them that did not refuse them yet.
        with monkeypatch.context() as context:
            context.setattr("fer_edge.fleet.payloads._refuse_contradictions", lambda values: None)
            opened.tell("shop", 2, happy=1.0)
            opened.tell("shop", 3, attention=80.0)
            opened.tell("shop", 2, table="visits", happy=None)
        opened.tell("shop", 1, 4)
        opened.tell("shop", 1, 3, 4, table="visits")
    left_out = "2 minutes with figures that contradict each other; left out."
    out = folder / "report.html"
    assert main(["report", str(place), "-o", str(out), "--zone", "UTC"]) == 0
    captured = capsys.readouterr()
    assert "3 people, 1 min 59 s observed" in captured.out
    assert captured.err.count(left_out) == 1
    assert captured.err.count("1 visit with figures that contradict each other; left out.") == 1
    page = out.read_text()
    assert left_out in page and "1 visit with figures that contradict each other" in page
    # As Parquet, such a store is the same.
    pytest.importorskip("pyarrow")
    assert main(["store", str(place), "--parquet", str(folder / "tables")]) == 0
    again = ["report", str(folder / "tables"), "-o", str(folder / "again.html"), "--zone", "UTC"]
    capsys.readouterr()
    assert main(again) == 0
    captured = capsys.readouterr()
    assert "3 people, 1 min 59 s observed" in captured.out and left_out in captured.err


class Failing:
    """A database of which the next transactions fail at their end."""

    def __init__(self, inner, fails):
        self.inner, self.fails, self.place = inner, fails, inner.place

    def transaction(self):
        import contextlib

        @contextlib.contextmanager
        def failing():
            with self.inner.transaction() as work:
                yield work
                if self.fails:
                    self.fails -= 1
                    raise OutputError("the disk is full")

        return failing()


def test_a_transaction_that_fails_loses_nothing_and_ids_of_it_are_void(path):
    with Opened(path) as opened:
        opened.tell("first", 1, store="0")
        book = Book(Failing(opened.database, 2), 100)
        book._sources, book.current = {}, {}
        source = book.source("shop", STORE)
        book.take(source, "minutes", row(minute(1)))
        for _ in range(2):
            with pytest.raises(OutputError):
                book.commit()
            assert seqs(path, "shop") == [] and book.pending == 1
        book.take(source, "minutes", row(minute(2)))
        book.commit()
        assert book.written == 2
    assert seqs(path, "shop") == [1, 2]


def test_the_store_of_a_device_is_no_store_of_a_fleet(tmp_path):
    WrittenStore(tmp_path / "device.db").close()
    with pytest.raises(DataError, match="single device"):
        SqliteDatabase(tmp_path / "device.db").open()
    # And the other way round: fer-edge run would count on its own numbers.
    made = SqliteDatabase(tmp_path / "fleet.db")
    made.open()
    with pytest.raises(DataError, match="another fer-edge writes it already"):
        SqliteDatabase(tmp_path / "fleet.db").open()
    made.close()


def test_a_store_of_a_later_version_is_left_alone(path):
    with Opened(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("UPDATE fleet SET version = 2")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match="this fer-edge knows up to"):
        SqliteDatabase(path).open()


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + b"x" * 4096, b"text"])
def test_a_file_that_is_no_store_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises((DataError, OutputError)):
        SqliteDatabase(path).open()
    assert path.read_bytes() == content


def test_rows_that_are_too_old_are_deleted_and_do_not_come_back_as_missing(path):
    with Opened(path) as opened:
        opened.tell("shop", *range(1, 101))
        opened.tell("shop", *range(1, 6), table="visits")
        opened.tell("bar", 1, 2, 3, store="other", origin=BEGAN + 86_400_000)
        opened.now += 98 * 60 + 30 * 86_400
        assert not opened.book.delete(30)
    assert seqs(path, "shop") == [98, 99, 100] and seqs(path, "bar") == [1, 2, 3]
    assert seqs(path, "shop", "visits") == []
    with Opened(path) as opened:
        assert opened.book.current["shop"].missing == 0
        assert opened.book.current["shop"].lost == {"minutes": 0, "visits": 0}


def test_rows_of_a_clock_that_is_not_set_yet_are_kept_until_its_boot_is_over(path):
    check_rows_of_a_clock_that_is_not_set(path)


def check_rows_of_a_clock_that_is_not_set(place):
    """``place``: a file, or the URL of a database; for PostgreSQL, too."""
    behind = BEGAN - BOOT - 40 * 86_400_000

    def there():
        with open_store(str(place)) as store:
            rows = {(one["device"], one["boot"], one["seq"]) for one in store.rows("minutes")}
            return sorted(rows), [one["seq"] for one in store.rows("visits")]

    def telling(opened, *rows, **changed):
        opened.tell("shop", *rows, **changed)
        opened.now += 60

    with Opened(place) as opened:
        opened.tell("bar", 1, store="other", origin=behind, boot="over")
        opened.now += 86_400
        # A visit may come before the first minute of its boot.
        telling(opened, 1, table="visits", began=minute(1, origin=behind)["began"])
        assert not opened.book.delete(30)
        telling(opened, 1, 2, origin=behind)
        assert not opened.book.delete(30)
    kept = [("shop", "b1", 1), ("shop", "b1", 2)]
    assert there() == (kept, [1])
    with Opened(place) as opened:
        opened.now += 2 * 86_400
        # Of a boot that goes on, too, what is older than its newest minute by so much is deleted.
        telling(opened, 2 + 30 * 24 * 60, origin=behind)
        assert not opened.book.delete(30)
        assert there() == ([kept[1], ("shop", "b1", 2 + 30 * 24 * 60)], [])
        # The device sets its clock.
        telling(opened, 4 + 30 * 24 * 60)
        opened.now = BEGAN / 1000 + 32 * 86_400
        assert not opened.book.delete(30)
    assert there() == ([("shop", "b1", 2 + 30 * 24 * 60), ("shop", "b1", 4 + 30 * 24 * 60)], [])
    with Opened(place) as opened:
        # No row, of whatever time, makes others of its boot older than their dates.
        opened.tell("till", 1, store="third")
        opened.tell("till", 2, store="third", monotonic=1e9, began=at(BEGAN - BOOT + 10**12))
        opened.now += 60
        assert not opened.book.delete(30)
        assert [one[2] for one in there()[0] if one[0] == "till"] == [1, 2]
    with Opened(place) as opened:
        telling(opened, 50_000, origin=behind - 40 * 86_400_000, boot="never set")
        opened.now += 86_000
        assert not opened.book.delete(30)
        assert ("shop", "never set", 50_000) in there()[0]
        opened.now += 600
        assert not opened.book.delete(30)
    assert ("shop", "never set", 50_000) not in there()[0]


def test_a_store_without_what_was_heard_of_clocks_goes_on(path):
    with Opened(path) as opened:
        opened.tell("shop", 1)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE fleet_clock")
    connection.commit()
    connection.close()
    with Opened(path) as opened:
        opened.tell("shop", 2)
        assert opened.database._connection.execute("SELECT * FROM fleet_clock").fetchall() == [(1, BEGAN)]
        opened.now += 3 * 86_400
        assert not opened.book.delete(2)
    assert seqs(path) == []


def test_deleting_reads_only_rows_that_are_too_old(path):
    with Opened(path) as opened:
        told = [
            one[3]
            for statement, values in ((OUTDATED, (0, 0, 0, 0, 1)), (DELETE, (1, 0, 1)))
            for one in opened.database._connection.execute(
                f"EXPLAIN QUERY PLAN {statement.format(row='visit')}", values
            )
        ]
    assert any("visit_time (clock=? AND began<?)" in one for one in told), told
    assert any("minute_time (clock=?)" in one for one in told), told
    assert not any(one.startswith(("SCAN t", "SCAN minute", "SCAN visit")) for one in told), told


def test_a_step_deletes_so_many_rows_and_gives_their_room_back(path, monkeypatch):
    monkeypatch.setattr("fer_edge.fleet.book.DELETED_AT_ONCE", 700)
    with Opened(path) as opened:
        opened.tell("shop", *range(1, 2001))
        opened.database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        opened.now *= 2
        assert [opened.book.delete(1) for _ in range(3)] == [True, True, False]
        opened.database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < size / 2
    assert seqs(path, "shop") == []


def test_a_step_deletes_no_more_than_that_of_several_clocks_together(path, monkeypatch):
    monkeypatch.setattr("fer_edge.fleet.book.DELETED_AT_ONCE", 70)
    with Opened(path) as opened:
        for number in range(4):
            opened.tell("shop", *range(40 * number + 1, 40 * number + 41), boot=f"b{number}")
        opened.now *= 2
        left = []
        while seqs(path, "shop"):
            left.append((opened.book.delete(1), len(seqs(path, "shop"))))
    assert left == [(True, 90), (True, 20), (False, 0)]


def test_a_run_does_not_write_into_a_fleet_s_store(path):
    with Opened(path) as opened:
        opened.tell("bar", 1)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"fleet\.db: belongs to fer-edge fleet; name a file of its own"):
        StoreWriter(path, "{}")
    assert path.read_bytes() == before


def test_devices_that_tell_nothing_of_light_stand_beside_those_that_do(path):
    with Opened(path) as opened:
        opened.tell("old", 1)
        known = {"brightness": 93.4, "face_brightness": None, "dark": 0.5, "bright": 0}
        opened.tell("new", 1, store=STORE[:-1] + "2", **known)
        with StoreReader(path) as store:
            (old,), (new,) = (list(store.rows("minutes", device=name)) for name in ("old", "new"))
    assert [old[name] for name in known] == [None] * 4
    assert {name: new[name] for name in known} == known


def test_a_store_of_an_earlier_version_goes_on(path):
    made = Path(__file__).parents[1] / "store" / "schema-2.sql"
    connection = sqlite3.connect(path)
    connection.executescript(made.read_text())
    for statement in tables():
        connection.execute(statement)
    connection.execute("INSERT INTO fleet VALUES (1, 2, 'a store')")
    connection.commit()
    connection.close()
    for _ in range(2):
        with Opened(path) as opened:
            opened.tell("new", 1, brightness=93.4, face_brightness=80, dark=0.5, bright=0)
    with StoreReader(path) as store:
        assert store.version == VERSION
        told = [(one["device"], one["brightness"]) for one in store.rows("minutes")]
    assert told == [("pi", None), ("pi", None), ("new", 93.4)]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT store FROM fleet").fetchone() == (VERSION,)
    assert connection.execute("SELECT dark FROM minutes ORDER BY dark").fetchall() == [(None,)] * 2 + [(0.5,)]
    connection.close()
