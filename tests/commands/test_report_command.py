"""``fer-edge report``: what it writes, refuses and leaves behind."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from report.runs import person
from results import result, tracked

from fer_edge import chromium
from fer_edge.cli import main
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.store import StoreOutput
from fer_edge.report.content_types import Column, Table
from fer_edge.report.progress import Bar
from fer_edge.report.tables import write_tables
from fer_edge.store.reader import StoreReader
from fer_edge.store.writer import StoreWriter


def report(*arguments):
    return main(["report", *map(str, arguments)])


def test_the_demo_is_a_page_that_says_it_is_simulated(tmp_path, capsys):
    out = tmp_path / "report.html"
    assert report("--demo", "-o", out) == 0
    assert "60 people, 4 min 15 s observed, 3 events" in capsys.readouterr().out
    text = out.read_text()
    assert text.startswith("<!doctype html>") and "Simulated data." in text and "The joke" in text
    assert len(text.encode()) < 400_000


def test_the_same_demo_twice_is_the_same_page(tmp_path):
    pages = []
    for number in range(2):
        assert report("--demo", "-o", tmp_path / f"{number}.html") == 0
        pages.append(re.sub(r"\bt\d+d?\b", "id", (tmp_path / f"{number}.html").read_text()))
    assert pages[0] == pages[1]


def test_a_page_is_not_overwritten_unless_forced(tmp_path, capsys):
    out = tmp_path / "report.html"
    out.write_text("mine")
    assert report("--demo", "-o", out) == 2
    assert "--force overwrites it" in capsys.readouterr().err and out.read_text() == "mine"
    assert report("--demo", "-o", out, "--force") == 0
    assert out.read_text() != "mine"


def test_a_source_is_never_overwritten(tmp_path, capsys):
    store = tmp_path / "shop.db"
    store.write_bytes(b"x")
    assert report(store, "-o", store, "--force") == 2
    assert "is also the input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to report"),
        (("--demo", "a.db"), "takes no source"),
        (("--demo", "--zone", "Nowhere/At-All"), "no such time zone"),
        (("--demo", "--stimulus-begins", "2026-11-26"), "needs --stimulus"),
        (("--demo", "--events", "x.csv"), "has events of its own"),
        (("missing.db",), "no such file"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, capsys, arguments, said):
    assert report(*arguments, "-o", tmp_path / "report.html") == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_is_an_error_that_helps(tmp_path, capsys):
    store = tmp_path / "shop.db"
    writer = StoreWriter(store, "{}")
    writer.open()
    writer.close()
    with StoreReader(store) as reader:
        assert list(reader.rows("visits")) == []
    assert report(store, "-o", tmp_path / "report.html") == 2
    said = capsys.readouterr().err
    assert "nothing was recorded in that time" in said and "Traceback" not in said
    assert not (tmp_path / "report.html").exists()


def test_tables_are_written_with_the_figures_of_the_page(tmp_path):
    tables = tmp_path / "tables"
    assert report("--demo", "-o", tmp_path / "r.html", "--tables", tables) == 0
    with (tables / "parts.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["Opening", "The joke", "Farewell"]
    assert sum(float(rows[1][name]) for name in EMOTIONS) == pytest.approx(1, abs=1e-4)
    with (tables / "events.csv").open() as stream:
        assert next(csv.DictReader(stream))["began"] == "2026-11-20T19:30:00.000Z"
    assert not (tables / "people.csv").exists()
    assert report("--demo", "-o", tmp_path / "r2.html", "--tables", tables) == 2
    assert not (tmp_path / "r2.html").exists()


def test_tables_keep_spreadsheets_from_executing_names(tmp_path):
    columns = [Column("name", "", "text"), Column("valence", "", "number"), Column("began", "", "time")]
    rows = [["=1+1", -0.25, 0], ["+49", -1, None], ["Ann = Bob", 0.5, 0]]
    tables = [Table("parts", "Parts", tuple(columns), tuple(rows))]
    write_tables(tables, tmp_path)
    assert (tmp_path / "parts.csv").read_text().splitlines() == [
        "name,valence,began",
        "'=1+1,-0.25,1970-01-01T00:00:00.000Z",
        "'+49,-1,",
        "Ann = Bob,0.5,1970-01-01T00:00:00.000Z",
    ]
    parquet = pytest.importorskip("pyarrow.parquet")
    names = parquet.read_table(tmp_path / "parts.parquet")["name"].to_pylist()
    assert names == ["=1+1", "+49", "Ann = Bob"]


def test_tables_as_parquet_hold_the_same(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    tables = tmp_path / "tables"
    assert report("--demo", "-o", tmp_path / "r.html", "--tables", tables, "--people") == 0
    people = parquet.read_table(tables / "people.parquet").to_pylist()
    with (tables / "people.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(people) == len(rows) == 60
    assert people[7]["happy"] == pytest.approx(float(rows[7]["happy"]), abs=1e-6)
    assert people[0]["began"].isoformat(timespec="milliseconds").startswith("2026-11-20T19:30:")


def made_film(path, seconds=250, rate=4):
    """A film whose brightness tells the second: 255 * second / seconds."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (64, 48))
    for frame in range(seconds * rate):
        writer.write(np.full((48, 64, 3), round(255 * frame / rate / seconds), np.uint8))
    writer.release()
    return path


def test_peaks_show_what_the_film_showed_then(tmp_path):
    film = made_film(tmp_path / "film.avi")
    out = tmp_path / "r.html"
    assert report("--demo", "-o", out, "--stimulus", film) == 0
    found = re.findall(
        r'<img src="data:image/jpeg;base64,([^"]+)" alt="What was shown at 19:(\d\d):(\d\d)">',
        out.read_text(),
    )
    assert len(found) == 3
    for data, minute, second in found:
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE)
        shown = (int(minute) - 30) * 60 + int(second)
        assert picture.mean() * 250 / 255 == pytest.approx(shown, abs=4)


def test_a_film_that_began_later_shows_what_it_showed_by_then(tmp_path):
    film = made_film(tmp_path / "film.avi")
    out = tmp_path / "r.html"
    begins = ("--stimulus-begins", "2026-11-20T19:31:00", "--zone", "UTC")
    assert report("--demo", "-o", out, "--stimulus", film, *begins) == 0
    found = re.findall(r'base64,([^"]+)" alt="What was shown at 19:(\d\d):(\d\d)"', out.read_text())
    assert len(found) == 2, "the first peak lies before the film"
    data, minute, second = found[0]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture.mean() * 250 / 255 == pytest.approx((int(minute) - 31) * 60 + int(second), abs=4)


def test_a_stimulus_that_is_no_film_is_refused(tmp_path, capsys):
    other = tmp_path / "film.mp4"
    other.write_text("no film")
    assert report("--demo", "-o", tmp_path / "r.html", "--stimulus", other) == 2
    assert "cannot be read as a film" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_without_a_browser_pdf_says_what_to_install_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    assert report("--demo", "-o", tmp_path / "r.html", "--pdf", tmp_path / "r.pdf") == 2
    assert "needs Chromium or Chrome" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_browser_that_fails_leaves_no_pdf(tmp_path, capsys, monkeypatch):
    broken = tmp_path / "bin" / "chromium"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(chromium, "browser", lambda: str(broken))
    assert report("--demo", "-o", tmp_path / "r.html", "--pdf", tmp_path / "r.pdf") == 1
    assert "made no PDF (exit code 3): it is broken" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "r.html"]


def test_json_lines_without_pyarrow_name_the_extra(tmp_path):
    lines = tmp_path / "log.jsonl"
    lines.write_text('{"schema":1,"type":"frame"}\n')
    code = (
        "import sys; sys.modules['pyarrow'] = None; from fer_edge.cli import main; "
        f"sys.exit(main(['report', {str(lines)!r}, '-o', {str(tmp_path / 'r.html')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'fer-edge[report]'" in done.stderr and "Traceback" not in done.stderr


def test_a_store_and_the_demo_need_no_extra(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None; from fer_edge.cli import main; "
        f"sys.exit(main(['report', '--demo', '-o', {str(tmp_path / 'r.html')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_progress_is_a_line_that_leaves_nothing_behind(monkeypatch):
    now = iter([0.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr("fer_edge.report.progress.time.monotonic", lambda: next(now))
    stream = io.StringIO()
    bar = Bar(stream)
    bar.begin("day.jsonl", 100)
    bar.step(25)
    bar.step(25)
    bar.end()
    shown = stream.getvalue()
    assert "day.jsonl" in shown and " 25 %, 3 s left" in shown and " 50 %, 2 s left" in shown
    assert shown.endswith("\r\x1b[K") and "\n" not in shown


@pytest.mark.services
def test_pdf_has_pages_of_a4(tmp_path):
    assert shutil.which("chromium"), "install chromium"
    assert report("--demo", "-o", tmp_path / "r.html", "--pdf", tmp_path / "r.pdf") == 0
    data = (tmp_path / "r.pdf").read_bytes()
    assert data.startswith(b"%PDF") and 3 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 8
    sizes = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert sizes
    for width, height in sizes:
        assert (float(width), float(height)) == (pytest.approx(595, abs=1), pytest.approx(842, abs=1))


@pytest.mark.services
@pytest.mark.parametrize(("width", "shown"), [(390, "narrow"), (1100, "wide")])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page_without_errors_or_sideways_scrolling(
    tmp_path, browser, width, shown, scheme
):
    out = tmp_path / "r.html"
    assert report("--demo", "-o", out) == 0
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    errors, asked = [], []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(out.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(f"svg.emotions.{shown}").is_visible()
    assert page.locator("svg.emotions:visible").count() == 1
    red, *_ = map(
        int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    )
    assert (red < 60) == (scheme == "dark")
    assert asked == [out.as_uri()] and errors == []


@pytest.mark.services
def test_the_pointer_shows_figures_and_tables_are_sorted(tmp_path, browser):
    out = tmp_path / "r.html"
    assert report("--demo", "-o", out) == 0
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto(out.as_uri())
    box = page.locator("svg.emotions.wide").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    tip = page.locator(".tip:visible").inner_text()
    assert re.search(r"19:3\d:\d\d\n[\d.]+ in sight\nneutral \d+ %", tip)
    page.locator("#parts th button", has_text="Happy").click()
    assert page.locator("#parts tbody th").all_inner_texts() == ["The joke", "Farewell", "Opening"]
    page.locator('svg.emotions.wide text[data-e="sad"]').click()
    assert page.locator('svg.emotions.wide[data-lit="sad"]').count() == 1
    area = page.locator("svg.emotions.wide .area.happy").first
    faded = area.evaluate(
        "area => Promise.all(area.getAnimations().map(one => one.finished))"
        ".then(() => getComputedStyle(area).opacity)"
    )
    assert float(faded) < 0.2


def lasting(path, seconds, people=1, marks=(), marked=((0, None, "all"),)):
    """A store in which so many people are in sight all the time; ``marked``: sessions, in whole seconds."""
    rng = np.random.default_rng(0)
    faces = tracked(*(person(track + 1, rng) for track in range(people)))
    now = 1000.0
    output = StoreOutput(path, live=True, clock=lambda: now)
    output.open()
    marks = list(marks)
    for index in range(seconds * 5):
        now = 1000 + index / 5
        for began, ended, name in marked:
            if index == 5 * began:
                output.start_session(name)
            if ended is not None and index == 5 * ended:
                output.stop_session()
        while marks and index / 5 >= marks[0][0]:
            output.mark(marks.pop(0)[1])
        output.write(
            replace(result(index=index, timestamp=index / 5), monotonic=now, camera="door", faces=faces)
        )
    output.end({})
    output.close()
    return path


def test_all_events_are_counted_and_not_only_those_that_are_shown(tmp_path, capsys):
    store = lasting(tmp_path / "many.db", 40, marks=[(2 * n, f"event {n}") for n in range(15)])
    assert report(store, "-o", tmp_path / "report.html") == 0
    assert "1 person, 40 s observed, 15 events" in capsys.readouterr().out


def test_time_observed_is_told_to_be_that_of_several_cameras(tmp_path, capsys):
    stores = [lasting(tmp_path / f"{name}.db", 20) for name in ("door", "till")]
    assert report(*stores, "-o", tmp_path / "report.html") == 0
    assert "2 people, 40 s observed over 2 cameras, 2 devices\n" in capsys.readouterr().out


def test_listed_times_are_in_the_zone_of_the_report(tmp_path, local_zone):
    local_zone("UTC")
    store = lasting(tmp_path / "shop.db", 60)  # From 12:30 on, UTC.
    (tmp_path / "scenes.csv").write_text("time,name\n2026-11-26T13:30:10,A\n2026-11-26 12:30:30Z,B\n")
    arguments = ("--events", tmp_path / "scenes.csv", "--tables", tmp_path / "tables")
    assert report(store, "-o", tmp_path / "r.html", "--zone", "Europe/Berlin", *arguments) == 0
    with (tmp_path / "tables" / "events.csv").open(newline="") as stream:
        rows = [(row["name"], row["began"]) for row in csv.DictReader(stream)]
    assert rows == [("A", "2026-11-26T12:30:10.000Z"), ("B", "2026-11-26T12:30:30.000Z")]


def test_the_report_is_about_the_marked_session(tmp_path, capsys):
    store = lasting(tmp_path / "day.db", 60, marked=[(20, 30, "evening")])
    page = tmp_path / "report.html"
    assert report(store, "-o", page) == 0
    told = capsys.readouterr()
    assert "1 person, 10 s observed" in told.out
    said = "Only the marked session “evening” counts. The other 50 s of 60 s observed are left out"
    assert f"note: {said}; --session all includes them." in told.err
    assert said in page.read_text() and "evening" in page.read_text().split("</h1>")[0]
    assert report(store, "-o", page, "--force", "--session", "all") == 0
    told = capsys.readouterr()
    assert "1 person, 60 s observed" in told.out and "note" not in told.err
    assert "Only the marked" not in page.read_text()
    assert report(store, "-o", page, "--force", "--from", "2020-01-01") == 0
    assert "60 s observed" in capsys.readouterr().out


def test_sessions_are_side_by_side_and_may_be_chosen(tmp_path, capsys):
    sessions = [(5, 15, "one"), (20, 30, "two"), (40, 45, "three")]
    store = lasting(tmp_path / "cinema.db", 50, people=2, marked=sessions)
    assert report(store, "-o", tmp_path / "all.html") == 0
    assert "2 people, 25 s observed, 3 sessions" in capsys.readouterr().out
    assert "Session by session" in (tmp_path / "all.html").read_text()
    arguments = ("--session", "one", "--session", "three")
    assert report(store, "-o", tmp_path / "two.html", *arguments) == 0
    assert "2 people, 15 s observed, 2 sessions" in capsys.readouterr().out
    assert report(store, "-o", tmp_path / "none.html", "--session", "four") == 2
    assert "--session four: no such session; there are one, two and three" in capsys.readouterr().err
    assert report(store, "-o", tmp_path / "none.html", "--session", "all", "--session", "one") == 2
    assert "--session all includes everything" in capsys.readouterr().err


def test_a_session_that_was_stopped_at_once_is_named_with_the_way_out(tmp_path, capsys):
    store = lasting(tmp_path / "day.db", 60, marked=[(20, 20, "oops")])
    assert report(store, "-o", tmp_path / "report.html") == 2
    told = capsys.readouterr().err
    assert "nothing was recorded in that time" in told
    assert "“oops” counts. The other 60 s of 60 s observed are left out; --session all includes them." in told


def test_a_session_outside_the_chosen_time_is_told_from_one_that_is_not_there(tmp_path, capsys):
    store = lasting(tmp_path / "day.db", 60, marked=[(20, 30, "evening")])
    page = tmp_path / "report.html"
    assert report(store, "-o", page, "--session", "evening", "--to", "2020-01-01") == 2
    told = capsys.readouterr().err
    assert "--session evening: no such session; no session was marked in the time of --from and --to" in told


def test_listed_events_outside_the_session_name_the_way_out(tmp_path, capsys):
    store = lasting(tmp_path / "day.db", 60, marked=[(20, 30, "evening")])
    (tmp_path / "events.csv").write_text("time,duration,name\n2026-11-26T12:30:50Z,5,A\n")
    arguments = (store, "-o", tmp_path / "report.html", "--events", tmp_path / "events.csv")
    assert report(*arguments) == 2
    assert "--session all includes them" in capsys.readouterr().err
    assert report(*arguments, "--session", "all") == 0


def test_nobody_in_sight_is_said_by_page_and_command(tmp_path, capsys):
    store = lasting(tmp_path / "empty.db", 30, people=0, marked=())
    assert report(store, "-o", tmp_path / "report.html") == 0
    told = capsys.readouterr()
    assert "0 people, 30 s observed" in told.out
    said = "Nobody was in sight in the 30 s observed: there are no figures of people."
    assert f"note: {said} If people were there, their faces may be too small" in told.err
    page = (tmp_path / "report.html").read_text()
    assert said in page and "Moment by moment" not in page and "How good the data are" in page


def test_a_baseline_that_nobody_stays_for_is_reported(tmp_path, capsys):
    store = lasting(tmp_path / "short.db", 40, people=2)
    assert report(store, "-o", tmp_path / "report.html", "--baseline", 100) == 0
    told = "2 people without a baseline: seen for less than half of 100 s."
    assert f"note: {told}" in capsys.readouterr().err
    assert told in (tmp_path / "report.html").read_text()


def test_a_time_that_ends_before_it_begins_is_refused(tmp_path, capsys):
    store = lasting(tmp_path / "short.db", 5)
    arguments = ("--from", "2026-12-02", "--to", "2026-12-01T08:00", "--zone", "UTC")
    assert report(store, "-o", tmp_path / "report.html", *arguments) == 2
    assert "--from 2026-12-02 00:00 is not before --to 2026-12-01 08:00" in capsys.readouterr().err


def test_a_pipe_is_no_place_for_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report("--demo", "-o", "-") == 2
    assert "--out -: the page is no text for a pipe; name a file" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_no_page_is_written_where_the_tables_cannot_be(tmp_path, capsys):
    (tmp_path / "taken").write_text("something")
    assert report("--demo", "-o", tmp_path / "report.html", "--tables", tmp_path / "taken") == 2
    assert "taken: no folder for tables can be made there: File exists" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
