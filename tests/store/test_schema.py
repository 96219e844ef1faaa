"""Stores of every version are opened, later ones refused, and the documents name every column."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fer_edge.errors import DataError
from fer_edge.outputs.store import StoreOutput
from fer_edge.store.clock import EPOCH
from fer_edge.store.reader import StoreReader
from fer_edge.store.schema import APPLICATION, OPEN, TABLES, VERSION, statements
from fer_edge.store.writer import StoreWriter

SAMPLES = sorted(Path(__file__).parent.glob("schema-*.sql"))
LIGHT = ("brightness", "face_brightness", "dark", "bright")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "store.md"


def made(sample, path):
    connection = sqlite3.connect(path)
    connection.executescript(sample.read_text())
    connection.close()
    return path


def described(connection):
    return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))


def test_there_is_a_sample_of_every_version():
    assert [path.name for path in SAMPLES] == [f"schema-{version}.sql" for version in range(1, VERSION + 1)]


def test_the_schema_is_that_of_its_version(tmp_path):
    """A change of any table or view needs a new version, and a sample of it."""
    new = sqlite3.connect(":memory:")
    for statement in statements():
        new.execute(statement)
    sample = sqlite3.connect(made(SAMPLES[-1], tmp_path / "sample.db"))
    assert described(new) == described(sample)
    assert new.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert new.execute("PRAGMA application_id").fetchone() == (APPLICATION,)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_store_of_every_version_is_read(sample, tmp_path):
    with StoreReader(made(sample, tmp_path / "old.db")) as store:
        counts = {table: len(list(store.rows(table))) for table in TABLES}
        (gap,) = store.rows("gaps")
        (event,) = store.rows("events")
        (visit,) = store.rows("visits")
        light = [[row[name] for name in LIGHT] for row in store.rows("minutes")]
        (going_on,) = store.rows("minutes", going_on=True)
    assert counts == {
        "visits": 1,
        "minutes": 2,
        "gaps": 1,
        "seconds": 3,
        "sessions": 1,
        "events": 1,
        "runs": 1,
        "jumps": 1,
    }
    # The clock was put forward by an hour after it had begun at 12:30.
    assert visit["began"] == datetime(2026, 11, 26, 13, 30, tzinfo=UTC)
    assert (visit["seconds"], visit["device"], visit["camera"]) == (61.5, "pi", "door")
    assert visit["unsure"] == 50
    assert (gap["seconds"], gap["reason"]) == (30.5, "no frames")
    assert (event["name"], event["group"]) == ("A", "g")
    if sample.stem == "schema-1":
        assert event["ended"] is None
    else:
        assert event["ended"] - event["began"] == timedelta(seconds=0.5)
    if sample.stem in ("schema-1", "schema-2"):
        assert light == [[None] * 4] * 2
        assert going_on["brightness"] is None
    else:
        assert light == [[93.4, 120.7, 0, 0], [61.0, 38.1, 20.5, 0]]
        assert (going_on["face_brightness"], going_on["bright"]) == (201.2, 6.5)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_store_of_every_version_is_written_further(sample, tmp_path):
    path = made(sample, tmp_path / "old.db")
    with StoreReader(path) as store:
        (before,) = store.rows("events")
        minutes = [*store.rows("minutes"), *store.rows("minutes", going_on=True)]
    StoreOutput(path, live=True).close()
    # Views are for other programs, which ask for columns by name.
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name, ended IS NULL FROM events").fetchall() == [
            ("A", int(before["ended"] is None))
        ]
        known = connection.execute("SELECT brightness, face_brightness, dark, bright FROM minutes").fetchall()
        assert known == [tuple(row[name] for name in LIGHT) for row in minutes]
        assert connection.execute("SELECT brightness FROM open_minutes").fetchall() == []
    connection.close()
    with StoreReader(path) as store:
        assert store.version == VERSION
        assert [*store.rows("events")] == [before]
        # What went on when the process was killed has its place now.
        assert [row["seq"] for row in store.rows("visits")] == [1, 2]
        assert [row["cut"] for row in store.rows("visits")] == [0, 1]
        assert [row["seq"] for row in store.rows("minutes")] == [1, 2, 3]
        assert list(store.rows("visits", going_on=True)) == []


@pytest.mark.parametrize(
    "open_it", [StoreReader, lambda path: StoreWriter(path, "{}")], ids=["read", "write"]
)
def test_a_store_of_a_later_version_is_refused_and_left_alone(open_it, tmp_path):
    path = made(SAMPLES[-1], tmp_path / "later.db")
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(
        DataError, match=f"a store of version {VERSION + 1}; this fer-edge knows up to {VERSION}"
    ):
        open_it(path)
    assert path.read_bytes() == before
    assert not Path(f"{path}-wal").exists()


@pytest.mark.parametrize("command", [["run", "--camera", "demo", "--frames", "1", "--store"], ["store"]])
def test_commands_after_a_roll_back_refuse_a_store_and_leave_it_alone(cli, command, tmp_path):
    pytest.importorskip("skimage")
    path = made(SAMPLES[-1], tmp_path / "later.db")
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    code, _, err = cli(*command, path)
    assert code == 2
    assert f"later.db: a store of version {VERSION + 1}" in err
    assert path.read_bytes() == before


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="no docs/ beside the tests")
@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented(table):
    sections = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)
    (section,) = (text for text in sections if text.startswith(f"`{table}`"))
    named = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE))))
    (shared,) = (text for text in sections if text.startswith("Columns"))
    common = set(re.findall(r"^\| `(\w+)` \|", shared, re.MULTILINE))
    columns = {column.name for column in TABLES[table].columns}
    assert columns - common - named == set()
    assert named - columns == set()


def test_views_have_the_columns_that_readers_get(tmp_path):
    connection = sqlite3.connect(made(SAMPLES[-1], tmp_path / "x.db"))
    for name, table in TABLES.items():
        for view in [name, *([f"open_{name}"] if name in OPEN else [])]:
            told = [column[0] for column in connection.execute(f"SELECT * FROM {view}").description]
            assert told == [column.name for column in table.columns]


@pytest.mark.parametrize("table", ["visits", "minutes", "gaps"])
@pytest.mark.parametrize("conditions", [{"since": EPOCH}, {"until": EPOCH}, {"after": 5}], ids=str)
def test_rows_are_searched_and_not_all_read(table, conditions, tmp_path):
    with StoreReader(made(SAMPLES[-1], tmp_path / "x.db")) as store:
        plans = []
        asked = store._connection.execute

        class Explaining:
            def execute(self, query, values):
                plans.append([row[3] for row in asked(f"EXPLAIN QUERY PLAN {query}", values)])
                return asked(query, values)

        connection, store._connection = store._connection, Explaining()
        list(store.rows(table, **conditions))
        store._connection = connection
    (plan,) = plans
    assert any(step.startswith("SEARCH t USING") for step in plan), plan
    assert not any(step.startswith("SCAN t") for step in plan), plan


def test_a_sample_is_read_by_time(tmp_path):
    with StoreReader(made(SAMPLES[-1], tmp_path / "x.db")) as store:
        began = datetime(2026, 11, 26, 13, 30, tzinfo=UTC)
        assert len(list(store.rows("minutes", since=began, until=began + timedelta(seconds=1)))) == 1
        assert len(list(store.rows("minutes", since=began + timedelta(milliseconds=1)))) == 1
        assert list(store.rows("minutes", until=began)) == []
