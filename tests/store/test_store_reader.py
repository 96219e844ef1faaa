"""Reading a store: conditions, files that are none, folders that cannot be written to."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from fer_edge.errors import DataError
from fer_edge.store.reader import StoreReader

SAMPLE = Path(__file__).with_name("schema-1.sql")


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "shop.db"
    connection = sqlite3.connect(made)
    connection.executescript(SAMPLE.read_text())
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return made


def test_devices_are_told_with_their_last_numbers(path):
    with StoreReader(path) as store:
        (device,) = store.devices()
    assert (device.id, device.name) == (1, "pi")
    assert device.last == {"visits": 1, "minutes": 2, "gaps": 1}
    assert len(device.uuid) == 36


def test_conditions(path):
    with StoreReader(path) as store:
        assert [row["seq"] for row in store.rows("minutes", after=1)] == [2]
        assert [row["seq"] for row in store.rows("minutes", limit=1)] == [1]
        assert list(store.rows("minutes", camera="window")) == []
        assert len(list(store.rows("minutes", camera="door", device="pi"))) == 2
        (visit,) = store.rows("visits", going_on=True)
        assert visit["track"] == 2


@pytest.mark.parametrize(
    ("table", "conditions", "words"),
    [
        ("faces", {}, "table must be one of visits, minutes"),
        ("gaps", {"going_on": True}, "of gaps none goes on"),
        ("seconds", {"after": 3}, "seconds has no seq"),
        ("runs", {"camera": "door"}, "runs has no camera"),
        ("visits", {"since": datetime(2026, 1, 1)}, "has no time zone"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(path, table, conditions, words):
    with StoreReader(path) as store, pytest.raises(ValueError, match=words):
        list(store.rows(table, **conditions))


def test_totals_are_by_device_and_camera(path):
    with StoreReader(path) as store:
        found = store.totals("minutes", {"count": "count(*)", "frames": "sum(frames)"})
        rows = list(store.rows("minutes"))
    assert found == {("pi", "door"): {"count": 2, "frames": sum(row["frames"] for row in rows)}}


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 5000])
def test_files_that_are_no_store_are_told(tmp_path, content):
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as a store|an empty file, not a store"):
        StoreReader(path)
    assert path.read_bytes() == content


def test_what_is_no_file_is_told(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        StoreReader(tmp_path / "none.db")
    with pytest.raises(DataError, match="is no file"):
        StoreReader(tmp_path)


def test_a_damaged_store_is_told(path):
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"), StoreReader(path) as store:
        list(store.rows("visits"))


def test_a_reader_cannot_change_a_store(path):
    with StoreReader(path) as store, pytest.raises(sqlite3.OperationalError, match="readonly"):
        store._connection.execute("DELETE FROM visit")


def test_names_with_odd_characters_are_opened(path):
    odd = path.rename(path.with_name("50% ?#&mode=rw ü.db"))
    with StoreReader(odd) as store:
        assert len(list(store.rows("visits"))) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_in_a_folder_that_cannot_be_written_to_is_read(path):
    path.parent.chmod(0o555)
    try:
        with StoreReader(path) as store:
            assert len(list(store.rows("visits"))) == 1
    finally:
        path.parent.chmod(0o755)


def test_what_is_read_at_one_moment_does_not_hold_up_the_writer_afterwards(path):
    with StoreReader(path) as store, contextlib.closing(sqlite3.connect(path, timeout=0)) as writer:

        def blocked():
            return writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

        with store.at_one_moment():
            assert len(list(store.rows("visits"))) == 1
            writer.execute("UPDATE visit SET track = 77")
            writer.commit()
            assert [row["track"] for row in store.rows("visits")] != [77]
            assert blocked()
        assert [row["track"] for row in store.rows("visits")] == [77]
        assert not blocked()


def test_reading_loads_neither_numpy_nor_opencv(path):
    code = (
        "import sys; from fer_edge.store.reader import StoreReader; "
        f"print(len(list(StoreReader({str(path)!r}).rows('visits'))), *{{'numpy', 'cv2'}} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["1"]
