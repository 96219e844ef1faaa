"""``fer-edge store`` and ``run --store``."""

from __future__ import annotations

import csv
import io
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from fer_edge.store.reader import StoreReader
from fer_edge.store.schema import TABLES

SAMPLE = Path(__file__).resolve().parents[1] / "store" / "schema-1.sql"


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "shop.db"
    connection = sqlite3.connect(made)
    connection.executescript(SAMPLE.read_text())
    connection.close()
    return made


def test_the_summary_is_the_default(cli, path):
    code, out, err = cli("store", path)
    assert (code, err) == (0, "")
    assert cli("store", path, "--summary") == (0, out, "")
    lines = out.splitlines()
    assert lines[0] == "pi / door"
    assert lines[1] == "  from 2026-11-26 13:30:00 UTC to 2026-11-26 13:31:00 UTC"
    assert "1 gap of 30 s" in lines[2]
    assert "  1 visit of 61.5 s in the mean, at most 1 at a time" in lines
    # 50 of 61.5 seconds.
    assert "  unsure 81 % of the time in sight" in lines
    assert "  not over at 2026-11-26 13:31:38 UTC: observed 8 s, 1 visit of 6.5 s so far" in lines
    assert lines[-1] == "clock put right by +3600.0 s at 2026-11-26 13:30:13 UTC"


def test_the_summary_of_another_time_is_empty(cli, path):
    code, out, _ = cli("store", path, "--until", "2026-11-26T13:00")
    held = "the store holds 2026-11-26 13:30:00 UTC to 2026-11-26 13:31:38 UTC"
    assert (code, out) == (
        0,
        f"no camera was watching until 2026-11-26 13:00:00 UTC; {held}\n",
    )
    out = cli("store", path, "--since", "2026-11-26T15:30+01:00", "--until", "2026-11-26T15")[1]
    asked = "from 2026-11-26 14:30:00 UTC until 2026-11-26 15:00:00 UTC"
    assert out == f"no camera was watching {asked}; {held}\n"


def test_the_help_says_that_times_are_in_utc(cli):
    assert "UTC, unless it ends in a zone" in " ".join(cli("store", "--help")[1].split())


def test_the_summary_tells_what_is_not_over_and_began_in_the_time_asked_for(cli, path):
    """The last minute begins at 13:31:00, the visit that is not over at 13:31:32."""
    with sqlite3.connect(path) as connection:
        names = ", ".join(row[1] for row in connection.execute("PRAGMA table_info(open_visit)"))
        longer = names.replace(" length,", " 4 * length,")
        connection.execute(f"INSERT INTO open_visit ({names}) SELECT {longer} FROM open_visit")
    connection.close()

    def last(*asked):
        return cli("store", path, *asked)[1].splitlines()[-1]

    # Of 6.5 and 26 seconds.
    both = "2 visits of 16.2 s in the mean so far"
    at = "  not over at 2026-11-26 13:31:38 UTC: observed 8 s"
    assert last("--since", "2026-11-26T13:31") == f"{at}, {both}"
    assert last("--since", "2026-11-26T13:31:20") == f"  not over: {both}"
    until = last("--since", "2026-11-26T13:31", "--until", "2026-11-26T13:31:20")
    assert until == at


def test_the_summary_of_a_first_minute_says_that_it_goes_on(cli, path):
    with sqlite3.connect(path) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(open_minute)")]
        names = ", ".join(columns)
        connection.execute("DELETE FROM open_minute")
        connection.execute(f"INSERT INTO open_minute ({names}) SELECT {names} FROM minute LIMIT 1")
        for table in ("minute", "visit", "open_visit", "gap", "jump"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    told = "pi / door\n  not over at 2026-11-26 13:30:12 UTC: observed 12 s\n"
    assert cli("store", path) == (0, told, "")
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM open_minute")
    connection.close()
    for asked in ((), ("--since", "2026-11-26")):
        assert cli("store", path, *asked) == (0, "nothing was written yet\n", "")


def test_one_table_goes_to_standard_output(cli, path):
    code, out, _ = cli("store", path, "--csv", "-", "--table", "minutes")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == [column.name for column in TABLES["minutes"].columns]
    assert rows[0]["began"] == "2026-11-26T13:30:00.000Z"
    assert rows[0]["camera"] == "door"
    assert rows[0]["film"] == ""
    assert [row["seq"] for row in rows] == ["1", "2"]


def test_names_that_spreadsheets_would_execute_get_an_apostrophe(cli, path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE session SET name = '=HYPERLINK(\"http://x\")'")
        connection.execute("UPDATE event SET name = '@SUM(A1)', kind = '-5'")
        connection.execute("UPDATE jump SET length = -3600000")
    connection.close()

    def cells(table):
        return next(csv.DictReader(io.StringIO(cli("store", path, "--csv", "-", "--table", table)[1])))

    assert cells("sessions")["name"] == """'=HYPERLINK("http://x")"""
    assert (cells("events")["name"], cells("events")["group"]) == ("'@SUM(A1)", "'-5")
    assert float(cells("jumps")["seconds"]) == -3600


def test_all_tables_go_into_a_folder(cli, path, tmp_path):
    code, out, _ = cli("store", path, "--csv", tmp_path / "out")
    assert code == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{table}.csv" for table in TABLES}
    assert "visits.csv: 1 row\n" in out and "minutes.csv: 2 rows\n" in out
    for table, described in TABLES.items():
        with (tmp_path / "out" / f"{table}.csv").open(newline="") as stream:
            assert next(csv.reader(stream)) == [column.name for column in described.columns]
    code, _, err = cli("store", path, "--csv", tmp_path / "out")
    assert code == 2
    assert "--force overwrites it" in err
    assert cli("store", path, "--csv", tmp_path / "out", "--force")[0] == 0


def test_one_table_goes_into_a_file_by_time(cli, path, tmp_path):
    target = tmp_path / "gaps.csv"
    assert cli("store", path, "--csv", target, "--table", "gaps", "--since", "2026-11-26")[:2] == (
        0,
        f"{target}: 1 row\n",
    )
    assert cli("store", path, "--csv", target, "--table", "gaps", "--since", "2027-01-01", "--force")[:2] == (
        0,
        f"{target}: 0 rows\n",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--table", "gaps"], "--table is for a single file"),
        (["--force"], "--force is for the files of --csv and --parquet"),
        (["--parquet", "-"], "a Parquet file cannot be a stream"),
        (["--since", "yesterday"], "'yesterday' is not a time such as 2026-11-26"),
        (["--csv", "none/visits.csv"], "does not exist"),
        (["--csv", "-", "--summary"], "not allowed with"),
    ],
)
def test_options_that_make_no_sense_are_refused(cli, path, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("store", path, *arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_the_store_itself_is_not_overwritten(cli, path):
    store = path.rename(path.with_suffix(".csv"))
    code, _, err = cli("store", store, "--csv", store, "--force")
    assert code == 2
    assert "is also the input" in err


def test_what_is_no_store_is_reported(cli, tmp_path):
    assert cli("store", tmp_path / "none.db")[0] == 2
    (tmp_path / "x.db").write_text("hello" * 1000)
    code, _, err = cli("store", tmp_path / "x.db")
    assert code == 2
    assert "cannot be read as a store" in err


def test_without_pyarrow_the_extra_is_named(cli, path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = cli("store", path, "--parquet", tmp_path / "out")
    assert code == 2
    assert err == "fer-edge store: Parquet needs pyarrow: pip install 'fer-edge[parquet]'\n"


def test_parquet_has_the_same_rows_with_types(cli, path, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    assert cli("store", path, "--parquet", tmp_path / "out")[0] == 0
    with StoreReader(path) as store:
        for table in TABLES:
            assert parquet.read_table(tmp_path / "out" / f"{table}.parquet").to_pylist() == [
                {name: bool(value) if name == "cut" else value for name, value in row.items()}
                for row in store.rows(table)
            ]
    schema = parquet.read_schema(tmp_path / "out" / "visits.parquet")
    assert schema.field("began").type == pyarrow.timestamp("ms", "UTC")
    assert schema.field("seq").type == pyarrow.int64()


@pytest.fixture
def film(tmp_path):
    """Five seconds without faces."""
    pytest.importorskip("cv2")
    from sources.pictures import grey, write_film

    return write_film(tmp_path / "film.avi", (grey(60 + level, (160, 120)) for level in range(50)))


def test_run_stores_a_film_by_its_positions(cli, film, tmp_path):
    store = tmp_path / "x.db"
    code, _, err = cli("run", film, "--store", store)
    assert (code, err) == (0, "")
    with StoreReader(store) as opened:
        minutes = list(opened.rows("minutes"))
        (run,) = opened.rows("runs")
    assert sum(row["frames"] for row in minutes) == 50
    assert sum(row["observed"] for row in minutes) == pytest.approx(4.9)
    assert run["film"] == str(film)
    assert '"version":' in run["start"]
    # A second run adds to it.
    assert cli("run", film, "--store", store)[0] == 0
    with StoreReader(store) as opened:
        assert len(list(opened.rows("runs"))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--store", "x.db", "--keep", "0"], "'0' is not a number of days, more than 0"),
        (["--store", "x.db", "--jsonl", "x.db"], "two outputs cannot be the same file"),
        (["--store", "film.avi"], "is also the input"),
        (["--require", "store"], "there is no such output; give --store"),
    ],
)
def test_run_refuses_options_that_make_no_sense(cli, film, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("run", film, *arguments)
    assert code == 2
    assert words in err
    assert {path.name for path in tmp_path.iterdir()} == {"film.avi"}


def test_run_has_no_store_of_pictures(cli, tmp_path):
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 48, 3), 90, np.uint8))
    code, _, err = cli("run", tmp_path / "a.png", "--store", tmp_path / "x.db")
    assert code == 2
    assert "has no times, so nobody can be tracked" in err
    assert not (tmp_path / "x.db").exists()


def test_a_reader_that_leaves_is_no_error(path):
    with sqlite3.connect(path) as connection:
        others = ", ".join(
            row[1] for row in connection.execute("PRAGMA table_info(minute)") if row[1] != "seq"
        )
        for _ in range(11):
            connection.execute(
                f"INSERT INTO minute (seq, {others}) "
                f"SELECT seq + (SELECT max(seq) FROM minute), {others} FROM minute"
            )
    connection.close()
    command = [sys.executable, "-m", "fer_edge", "store", path, "--csv", "-", "--table", "minutes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")


def test_a_run_without_a_store_does_not_load_sqlite(film):
    code = (
        "import sys; from fer_edge.cli import main; "
        f"assert main(['run', {str(film)!r}]) == 0; print('sqlite3' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "False"


def test_a_run_that_looks_seldom_has_no_gaps(cli, film, tmp_path):
    store = tmp_path / "x.db"
    assert cli("run", film, "--store", store, "--every", "24")[0] == 0
    with StoreReader(store) as opened:
        assert list(opened.rows("gaps")) == []
        assert sum(row["observed"] for row in opened.rows("minutes")) == pytest.approx(4.8)


def test_a_snapshot_that_was_waited_for_is_one_visit_as_if_it_had_been_there(monkeypatch, tmp_path):
    pytest.importorskip("cv2")
    from pipeline.scripts import ScriptedRecognizer
    from sources.web import jpeg, serving, whole

    from fer_edge.commands._outputs import Watched, open_outputs
    from fer_edge.config import load
    from fer_edge.pipeline.watch import Watch
    from fer_edge.sources import await_any
    from fer_edge.sources.reconnect import AbsentSource

    monkeypatch.setattr("fer_edge.pipeline.reconnect.PAUSES", (0.1,))
    store = tmp_path / "s.db"
    with serving() as running:
        running.answers["/snap.jpg"] = lambda _: (
            404 if len(running.asked) == 1 else whole("image/jpeg", jpeg(20))
        )
        given = {
            "source": running.url + "/snap.jpg",
            "wait_for_camera": True,
            "poll": 3.0,
            "min_hits": 1,
            "store": str(store),
        }
        config = load(given, {}).config
        source = await_any(given["source"], config.watch.source_options)
        assert isinstance(source, AbsentSource)
        with Watch(source, config.watch, ScriptedRecognizer()) as watch:
            (output,) = open_outputs(config, [Watched(config, watch)]).slow.values()
            first = next(watch)
    # Six pictures with one face, as they would come.
    for seconds in range(0, 18, 3):
        time = first.time + timedelta(seconds=seconds)
        output.write(replace(first, monotonic=first.monotonic + seconds, time=time))
    output.end({})
    output.close()
    with StoreReader(store) as opened:
        assert [visit["seconds"] for visit in opened.rows("visits")] == [15]
        assert list(opened.rows("gaps")) == []
