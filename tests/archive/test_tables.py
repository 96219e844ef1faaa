"""The tables of an archive are read by other programs, as docs/archive.md says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
from made import Inline, face_film, rows, settings

from fer_edge.archive.archive import Archive
from fer_edge.archive.films import find_films
from fer_edge.archive.tables import TABLE_OF, TableFile, source_folder, write_files
from fer_edge.store.schema import TABLES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """An archive of films from two sources and on two days, and of one that is none."""
    folder = tmp_path_factory.mktemp("shop")
    lines = []
    for source, day in (("door", 1), ("till", 1), ("door", 2)):
        path = face_film(folder / f"{source}{day}.mp4", 60, day)
        lines.append(f"{path}\t2026-11-0{day}T10:00:00Z\t{source}")
    (folder / "none.mp4").write_text("none")
    lines.append("none.mp4")
    listed = folder / "list.txt"
    listed.write_text("# films\n\n" + "\n".join(lines) + "\n")
    archive = Archive(folder / "scored", find_films([], [str(listed)]), settings(), lambda _: None)
    progress = archive.run(lambda: Inline(settings()), {})
    assert (progress.done, progress.failed) == (3, 1)
    return folder


def test_rows_lie_in_folders_by_date_and_source(scored):
    found = sorted(
        str(path.parent.relative_to(scored)) for path in scored.glob("scored/people.parquet/*/*/*")
    )
    assert found == [
        "scored/people.parquet/date=2026-11-01/source=door",
        "scored/people.parquet/date=2026-11-01/source=till",
        "scored/people.parquet/date=2026-11-02/source=door",
    ]


def test_a_source_of_any_length_has_a_folder_of_its_own(tmp_path):
    """A folder's name has up to 255 bytes, of which 7 are source=; an ü has 2."""
    sources = ["x" * 248, "x" * 249, "x" * 300, "ü" * 200, "ü" * 201]
    write_files(
        tmp_path,
        [TableFile("people", "2026-11-26", source_folder(source), "0" * 16, b"rows") for source in sources],
    )
    found = {path.parent.name.removeprefix("source=") for path in tmp_path.glob("*/*/*/*.parquet")}
    assert len(found) == len(sources)
    assert "x" * 248 in found
    assert sorted(len(name.encode()) for name in found) == [247, 247, 248, 248, 248]
    assert {name[:119] for name in found} == {"x" * 119, "ü" * 119}


@pytest.mark.parametrize("view", ["visits", "minutes"])
def test_tables_have_the_columns_of_a_store(scored, view):
    found = rows(scored / "scored", TABLE_OF[view])
    assert len(found) >= 3
    assert list(found[0]) == [column.name for column in TABLES[view].columns]
    assert {row["camera"] for row in found} == {"door", "till"}
    assert {row["device"] for row in found} == {"test"}


def test_a_person_is_named_by_run_and_track(scored):
    people = {(row["run"], row["track"]) for row in rows(scored / "scored", "people")}
    assert len(people) == len(rows(scored / "scored", "people"))
    faces = {(row["run"], row["track"]) for row in rows(scored / "scored", "faces") if row["track"]}
    assert faces == people


def test_the_queries_of_the_documentation_run(scored, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(scored)
    text = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(queries) == 5
    visits, hours, attention, faces, failed = (duckdb.sql(query).fetchall() for query in queries)
    people = rows(scored / "scored", "people")
    assert [row[:2] for row in visits] == [
        (source, sum(row["camera"] == source for row in people)) for source in ("door", "till")
    ]
    assert [(str(row[0]), row[1]) for row in hours] == [("2026-11-01", 10), ("2026-11-02", 10)]
    assert sum(row[2] for row in hours) == sum(
        row["visits_begun"] for row in rows(scored / "scored", "minutes")
    )
    assert [row[0] for row in attention] == ["door", "till"]
    assert all(0 <= row[1] <= 1 for row in attention)
    assert len(faces) == 10
    assert [row[3] for row in faces] == sorted((row[3] for row in faces), reverse=True)
    assert [(Path(path).name, "neither an image nor a video" in reason) for path, reason in failed] == [
        ("none.mp4", True)
    ]


def test_polars_reads_the_folders_as_one_table(scored):
    polars = pytest.importorskip("polars")
    frame = polars.scan_parquet(scored / "scored" / "people.parquet", hive_partitioning=True).collect()
    assert len(frame) == len(rows(scored / "scored", "people"))
    assert set(frame["source"]) == {"door", "till"}


def test_a_report_counts_who_was_in_sight_for_a_second(tmp_path):
    """As it says on its page; the tables have the others, too."""
    from fer_edge.report.measures import figure
    from fer_edge.report.reading import read

    # The second face is there for 24 frames of 72 at 25 a second.
    path = face_film(tmp_path / "short.mp4", 72)
    archive = Archive(tmp_path / "scored", find_films([str(path)]), settings(), lambda _: None)
    archive.run(lambda: Inline(settings()), {})
    seen = [row["seen"] for row in rows(tmp_path / "scored", "people")]
    assert min(seen) < 1 < max(seen)
    material = read([tmp_path / "scored"])
    assert figure(material, "people").value == sum(one >= 1 for one in seen)


SPARK_TYPES = {"string": "string", "int64": "bigint", "double": "double", "float": "float", "bool": "boolean"}
"""What Spark calls the types of Arrow."""

SPARK = """
import contextlib, io, json, sys
from pyspark.sql import SparkSession

build = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
build = build.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
session = build.config("spark.sql.session.timeZone", "UTC").getOrCreate()
told = {}
for table in ("people", "minutes", "faces"):
    frame = session.read.parquet(f"{sys.argv[1]}/{table}.parquet")
    chosen = frame.where("date = '2026-11-01' AND source = 'door'")
    with contextlib.redirect_stdout(io.StringIO()) as plan:
        chosen.explain()
    told[table] = [dict(frame.dtypes), frame.count(), chosen.count(), plan.getvalue()]
people = session.read.parquet(f"{sys.argv[1]}/people.parquet")
told["times"] = [row["at"] for row in people.selectExpr("unix_millis(began) AS at").collect()]
session.stop()
print(json.dumps(told))
"""
"""In a process of its own, as Spark's own processes stay until that ends."""


@pytest.mark.services
def test_spark_reads_types_and_partitions(scored):
    """With pyspark 4 and Java 17; neither is among the extras."""
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("no Java: apt install default-jre-headless")
    parquet = pytest.importorskip("pyarrow.parquet")
    done = subprocess.run(
        [sys.executable, "-c", SPARK, str(scored / "scored")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for table in ("people", "minutes", "faces"):
        found, count, chosen, plan = told[table]
        assert (found.pop("date"), found.pop("source")) == ("date", "string")
        one = next(scored.glob(f"scored/{table}.parquet/*/*/*.parquet"))
        for field in parquet.read_schema(one):
            kind = getattr(field.type, "value_type", field.type)
            expected = "timestamp" if str(kind).startswith("timestamp") else SPARK_TYPES[str(kind)]
            assert found.pop(field.name) == expected, field
        assert not found
        own = rows(scored / "scored", table)
        assert count == len(own) > 0
        days = [(row["camera"], row.get("began", row.get("time")).day) for row in own]
        assert chosen == days.count(("door", 1))
        # Only the folder of that day and source is opened.
        (filters,) = re.findall(r"PartitionFilters: (.*?\)\])", plan)
        assert "date" in filters and "source" in filters
    begins = sorted(row["began"].timestamp() for row in rows(scored / "scored", "people"))
    assert [at / 1000 for at in sorted(told["times"])] == pytest.approx(begins, abs=1e-6)
