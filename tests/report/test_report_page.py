"""The page: figures worked out by hand, areas that are right, nothing from elsewhere, nobody's rows."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pytest

from fer_edge.errors import DataError
from fer_edge.labels import EMOTIONS
from fer_edge.report import charts, page
from fer_edge.report.content import content
from fer_edge.report.content_types import MOVING, STACK, Column, Table
from fer_edge.report.material import (
    Event,
    Gaps,
    Material,
    Minutes,
    People,
    Seconds,
    Session,
    Source,
    joined,
)
from fer_edge.report.measures import Options
from fer_edge.report.simulated import simulated_session
from fer_edge.report.visits import visits_of
from fer_edge.report.wording import percent, position, signed_points, spoken

BEGAN = round(datetime(2026, 11, 26, 12, 30, tzinfo=UTC).timestamp() * 1000)


def shares(**given):
    row = [given.get(name, 0.0) for name in EMOTIONS]
    row[EMOTIONS.index("neutral")] += 1 - sum(row)
    return row


def two_people():
    """Ann is there for 8 s: neutral for 4 s, then happy by 0.8. Bob, for 4 s, is sad by 0.6; he looks away.

    By hand: dwell (8 + 4) / 2 = 6 s; happy of Ann 0.4, of Bob 0: 0.2 over people, 0.8 * 4 / 12 = 0.267 over
    time; sad 0.3 and 0.2; attention 8 of 12 s; valence (0.4 - 0.6) / 2 = -0.1; seen to smile (0.8 + 0) / 2.
    """
    rows = [(0, s, 1.0, shares()) for s in range(4)]
    rows += [(0, s, 1.0, shares(happy=0.8)) for s in range(4, 8)]
    rows += [(1, s, 0.0, shares(sad=0.6)) for s in range(4, 8)]
    person, second, attention, told = zip(*rows, strict=True)
    one = np.ones(len(rows))
    seconds = Seconds(
        np.array(person, np.int32),
        BEGAN + 1000 * np.array(second),
        one,
        0 * one,
        np.array(attention),
        0 * one,
        np.array(told),
    )
    people = visits_of(seconds, np.zeros(2, np.int32), np.array([1, 2]), np.array([80.0, 90.0]))
    whole, none = np.array([12.0]), np.zeros(1)
    minute = Minutes(
        source=np.zeros(1, np.int32),
        began=[BEGAN],
        ended=[BEGAN + 8000],
        observed=np.array([8.0]),
        gap=none,
        frames=[200],
        dropped=[3],
        lost=[0],
        people=[2],
        people_max=[2],
        visits_begun=[2],
        visits_ended=[2],
        dwell=whole,
        seen=whole,
        unsure=none,
        attention=np.array([8.0]),
        unclear=none,
        shares=np.array([shares(happy=0.2, sad=0.3)]),
    )
    settings = {"version": "0.2.0", "model": {"name": "edge", "labels": "people"}}
    return Material(
        (Source("pi", "door", "1", settings=settings),),
        people,
        seconds,
        minute,
        sessions=(Session("the evening", BEGAN, BEGAN + 8000, "pi", "1"),),
        events=(
            Event("calm", BEGAN, BEGAN + 4000, session=0),
            Event("joke", BEGAN + 4000, BEGAN + 8000, session=0),
        ),
    )


def html(*given):
    """The page, with plain spaces before percent signs."""
    return page.html(*given).replace("\N{NO-BREAK SPACE}%", " %")


@cache
def demo():
    return content(simulated_session(), zone=UTC, simulated=True)


@cache
def demo_page():
    return html(demo(), "1", "today")


def zone_called(name):
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        pytest.skip("this machine has no time zones")


def page_of(material, **options):
    made = content(material, zone=options.pop("zone", UTC), **options)
    return html(made, "1.2.3", "26 November 2026")


class Page(HTMLParser):
    """What a page has, by elements."""

    EMPTY = frozenset({"meta", "img", "br", "path", "rect", "circle", "image", "link"})

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open)))
        if tag not in self.EMPTY:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open)))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag, f"</{tag}> closes another element"
        elif self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]


def headlines(page):
    return dict(zip(page.texts["dt"][:6], page.texts["dd"][:6], strict=True))


def test_headline_figures_are_those_worked_out_by_hand():
    assert headlines(Page(page_of(two_people()))) == {
        "people, as far as tracking tells": "2",
        "mean dwell time": "6.0 s",
        "of the time in sight facing the camera": "67 %",
        "would be seen to smile": "40 %",
        "valence, from −1 to +1": "−0.10",
        "of the time unsure": "0 %",
    }


def test_the_method_says_how_bent_heads_count():
    method = page_of(two_people()).partition('id="method"')[2]
    assert "at most 25° sideways, as estimated from five points of the face, and 20° up or down" in method
    assert "of heads bent by 30° about nine in ten count as turned away, but a glance down may pass" in method


def test_a_number_and_its_percent_sign_stay_on_one_line():
    text = page.html(content(two_people(), zone=UTC), "1", "today")
    assert "67\N{NO-BREAK SPACE}%" in text
    assert not re.search(r"\d %", text[: text.index("<script")].partition("</style>")[2])


def test_sentences_say_what_the_figures_are():
    lead = next(text for text in Page(page_of(two_people())).texts["p"] if text.startswith("2 people"))
    assert "2 people were there for 6.0 s on average." in lead
    # Neutral: Ann (4 + 4 * 0.2) / 8 = 0.6, Bob 0.4.
    assert "50 % of onlookers would call a face neutral and 30 % sad." in lead
    assert "about 1 of the 2 people smile" in lead


def test_weighting_by_time_changes_shares():
    by_people, by_time = (
        content(two_people(), zone=UTC, options=Options(weight=w)) for w in ("people", "time")
    )
    assert by_people.figures["happy"].value == pytest.approx(0.2)
    assert by_time.figures["happy"].value == pytest.approx(0.8 * 4 / 12)
    text = page_of(two_people(), options=Options(weight="time"))
    assert "averaged over the time in sight" in text
    # Neutral: Ann 4 s + 0.2 * 4 s, Bob 0.4 * 4 s, of 12 s.
    assert (
        "Averaged over their time in sight, 53 % of onlookers would call a face neutral and 27 % happy."
        in text
    )


def paths(text, chart, name, size="wide"):
    drawing = re.search(rf'<svg [^>]*class="{chart} {size}".*?</svg>', text, re.S)[0]
    found = re.findall(rf'<path d="M([^"]*)Z" class="area {name}"', drawing)
    plot = [float(v) for v in re.search(r'data-plot="([^"]*)"', drawing)[1].split(",")]
    return [[tuple(map(float, point.split())) for point in one.split("L")] for one in found], plot


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_areas_are_as_high_as_the_shares(size):
    text = page_of(two_people())
    (left, right, top, bottom) = paths(text, "emotions", "happy", size)[1]

    def height(name, second):
        """Share by the area at the middle of a second."""
        (outline,), _ = paths(text, "emotions", name, size)
        x = left + (second + 0.5) / 8 * (right - left)
        ys = [y for px, y in outline if abs(px - x) < 0.06]
        return (max(ys) - min(ys)) / (bottom - top)

    # Alone, Ann is neutral; then happy is (0.8 + 0) / 2, sad (0 + 0.6) / 2, neutral (0.2 + 0.4) / 2.
    assert height("happy", 1) == pytest.approx(0, abs=0.002)
    assert height("neutral", 1) == pytest.approx(1, abs=0.002)
    assert height("happy", 6) == pytest.approx(0.4, abs=0.002)
    assert height("sad", 6) == pytest.approx(0.3, abs=0.002)
    assert height("neutral", 6) == pytest.approx(0.3, abs=0.002)


def test_figures_beside_the_pointer_are_those_of_the_chart():
    told = json.loads(re.search(r'id="data">(.*?)</script>', page_of(two_people()))[1])
    assert told["times"][0] == "12:30:00" and told["step"] == 1000
    assert told["people"] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert told["shares"][6][told["names"].index("happy")] == pytest.approx(0.4)


def test_events_stand_beside_each_other_with_their_own_figures():
    made = content(two_people(), zone=UTC)
    calm, joke = made.pieces
    assert (calm.name, joke.name) == ("calm", "joke") and made.kind == "event"
    assert joke.figures["happy"].value == pytest.approx(0.4)
    assert calm.figures["happy"].value == pytest.approx(0.0)
    assert (calm.people, joke.people) == (1, 2)
    page = page_of(two_people())
    assert "Fewer than 5 people each: calm, joke. Figures may reveal something about each person." in page
    rows = re.findall(r'<tr><th scope="row" class="text">(calm|joke)</th><td data-v="(\d+)">', page)
    assert rows == [("calm", "1"), ("joke", "2")]


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (90, ["0:00", "0:45", "1:30"]),
        (5400, ["0:00", "45:00", "1:30:00"]),
        (10_800, ["0", "1 h 30 min", "3 h"]),
        (160 * 3600, ["0", "3.3 days", "6.7 days"]),
    ],
)
def test_time_since_the_start_is_told_in_units_where_it_is_long(seconds, ticks):
    one = content(two_people(), zone=UTC).pieces[0]
    drawing = charts.piece(one, 1000 * seconds).markup()
    assert re.findall(r'y="144"[^>]*>([^<]*)</text>', drawing) == ticks


def test_comparisons_have_intervals_sentences_and_a_correction():
    found = demo().comparisons
    assert len(found.differences) == 12 and {one.part for one in found.estimates} == {
        "Opening",
        "The joke",
        "Farewell",
    }
    text = demo_page()
    page = Page(text)
    smile = next(one for one in found.differences if one.measure.name == "smile" and one.b == "The joke")
    assert smile.clear and any(smile.sentence == said for said in page.texts["li"])
    assert "Holm’s correction for 12 comparisons" in text
    drawing = re.search(r'<svg [^>]*class="compared wide".*?</svg>', text, re.S)[0]
    assert drawing.count("<circle") == 6 and drawing.count('class="whisker') == 6
    assert "hollow" in text


def test_every_chart_and_table_can_be_read_without_seeing_it():
    page = Page(demo_page())
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawings = page.all("svg")
    assert len(drawings) > 8
    for drawing in drawings:
        assert drawing["role"] == "img" and set(drawing["aria-labelledby"].split()) <= set(ids)
    assert all(head["scope"] in ("col", "row") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 3
    for section in page.all("section"):
        assert section["aria-labelledby"] in ids
    assert page.all("html")[0]["lang"] == "en"
    assert [tag for tag, _, _ in page.elements if tag == "h1"] == ["h1"]
    described = re.search(r"<desc[^>]*>(Stacked areas: .*?)</desc>", demo_page())[1]
    assert "happy is highest at 19:32:15 with 47 %" in described


def test_emotions_can_be_told_without_colours():
    text = page_of(two_people())
    drawing = re.search(r'<svg [^>]*class="emotions wide".*?</svg>', text, re.S)[0]
    labels = re.findall(r'<text x="[\d.]+" y="([\d.]+)" class="label" data-e="(\w+)">(\w+)', drawing)
    assert [name for _, name, said in sorted(labels, key=lambda label: -float(label[0]))] == list(STACK)
    assert all(name == said for _, name, said in labels)
    places = sorted(float(y) for y, _, _ in labels)
    assert min(np.diff(places)) >= 12


def test_nothing_is_loaded_from_elsewhere():
    text = demo_page()
    assert set(re.findall(r"[a-z]+://[^\s\"'<)]*", text)) <= {"http://www.w3.org/2000/svg"}
    page = Page(text)
    for tag, attributes, _ in page.elements:
        for name in ("src", "href", "srcset", "data"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, attributes)
    assert not page.all("link") and "@import" not in text and "url(" not in text
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_names_cannot_become_markup():
    evil = '</script><script>alert("x")</script>'
    material = two_people()
    material = replace(
        material,
        sources=(Source(evil, evil, "1", settings={"version": evil, "options": {"model": evil}}),),
        sessions=(Session(evil, BEGAN, BEGAN + 8000, evil, "1"),),
        events=tuple(replace(event, name=f"{evil}{event.name}", group=evil) for event in material.events),
        told=(evil,),
    )
    text = page_of(material, title=evil, show_people=True)
    assert "<script>alert" not in text
    assert len(Page(text).all("script")) == 2


def test_rows_of_people_are_shown_only_where_asked_for():
    plain, asked = page_of(two_people()), page_of(two_people(), show_people=True)
    assert "Each visit" not in plain and 'id="people"' not in plain
    assert "Each visit" in asked and "personal data" in asked
    tables = {table.name: table for table in content(two_people(), zone=UTC, show_people=True).tables}
    assert len(tables["people"].rows) == 2
    assert "people" not in {table.name for table in content(two_people(), zone=UTC).tables}


def test_a_gap_breaks_the_charts_and_is_told():
    material = two_people()
    early, late = (
        material.minutes,
        material.minutes.with_columns(began=[BEGAN + 68_000], ended=[BEGAN + 76_000]),
    )
    later = material.seconds.with_columns(
        began=material.seconds.began + 68_000, person=material.seconds.person + 2
    )
    people = material.people.with_columns(
        began=material.people.began + 68_000,
        ended=material.people.ended + 68_000,
        track=material.people.track + 2,
    )
    gap = Gaps(np.zeros(1, np.int32), [BEGAN + 8000], [BEGAN + 68_000], np.array(["unplugged"]))
    material = replace(
        material,
        people=People.joined([material.people, people]),
        seconds=Seconds.joined([material.seconds, later]),
        minutes=Minutes.joined([early, late]),
        gaps=gap,
    )
    made = content(material, zone=UTC)
    assert (made.quality.gaps, made.quality.gap_seconds) == (1, 60.0)
    watched = ~np.isnan(made.curve.people)
    assert watched.sum() == 16 and watched[:8].all() and watched[-8:].all()
    text = html(made, "1", "today")
    outlines, _ = paths(text, "emotions", "happy")
    assert len(outlines) == 2
    assert "no frames" in text and "1 gap of 60 s, 79 % of the time" in text and "unplugged" in text
    assert "More than 10 % of the time is missing" in text


def test_missing_time_without_listed_gaps_is_that_of_the_minutes():
    made = content(watched(100), zone=UTC)
    assert (made.quality.gaps, made.quality.gap_seconds) == (None, 100 * 40.0)
    text = html(made, "1", "today")
    assert "<dd>gaps of at least 1 h 6 min, 67 % of the time</dd>" in text
    assert "In all, gaps of at least 1 h 6 min." in text
    assert "More than 10 % of the time is missing" in text
    # Beside a camera that lists its three gaps of 40 s, one that lists none.
    both = content(joined([watched(3, seconds=True), watched(1, cameras=("till",))]), zone=UTC)
    assert (both.quality.gaps, both.quality.gap_seconds) == (None, 4 * 40.0)
    listed = content(watched(3, seconds=True), zone=UTC)
    assert (listed.quality.gaps, listed.quality.gap_seconds) == (3, 3 * 40.0)
    assert "<dt>Gaps</dt><dd>none</dd>" in page_of(watched(observed=60.0))


def watched(minutes=5, observed=20.0, cameras=("door",), seconds=False, began=0):
    """Each camera has a person in sight while it gives frames: in the first ``observed`` s of each minute."""
    count = minutes * len(cameras)
    starts = np.tile(BEGAN + began + 60_000 * np.arange(minutes), len(cameras))
    source = np.repeat(np.arange(len(cameras)), minutes)
    one, none = np.full(count, observed), np.zeros(count)
    table = Minutes(
        source=source,
        began=starts,
        ended=starts + 60_000,
        observed=one,
        gap=60 - one,
        frames=np.full(count, 100),
        dropped=np.zeros(count, np.int64),
        lost=np.zeros(count, np.int64),
        people=np.ones(count, np.int64),
        people_max=np.ones(count, np.int64),
        visits_begun=np.ones(count, np.int64),
        visits_ended=np.ones(count, np.int64),
        dwell=one,
        seen=one,
        unsure=none,
        attention=none,
        unclear=none,
        shares=np.tile(shares(happy=0.5), (count, 1)),
    )
    material = Material(tuple(Source("pi", name, "1") for name in cameras), minutes=table)
    if not seconds:
        return material
    length = round(observed)
    rows = Seconds(
        np.repeat(np.arange(count), length),
        (starts[:, None] + 1000 * np.arange(length)).ravel(),
        np.ones(count * length),
        np.zeros(count * length),
        np.zeros(count * length),
        np.zeros(count * length),
        np.tile(shares(happy=0.5), (count * length, 1)),
    )
    return replace(
        material,
        seconds=rows,
        people=visits_of(rows, source, np.arange(count), np.full(count, 80.0)),
        gaps=Gaps(source, starts + 1000 * length, starts + 60_000, np.full(count, "no frames")),
    )


@pytest.mark.parametrize("minutes", [5, 300, 20_000])
@pytest.mark.parametrize("observed", [0.25, 20, 60])
def test_one_person_is_one_in_the_chart_of_minutes_with_gaps(minutes, observed):
    made = content(watched(minutes, observed), zone=UTC)
    assert made.figures["present"].value == pytest.approx(1)
    np.testing.assert_allclose(made.curve.people, 1)


def test_gaps_within_a_minute_are_holes_in_the_chart_of_seconds():
    # Two cameras, 20 of each 60 s; the second camera's gaps begin and end 30 s later.
    one = watched(3, seconds=True)
    people = content(one, zone=UTC).curve.people
    assert np.isnan(people.reshape(3, 60)).tolist() == [[False] * 20 + [True] * 40] * 3
    np.testing.assert_allclose(people[~np.isnan(people)], 1)
    both = joined([one, watched(3, cameras=("till",), seconds=True, began=30_000)])
    people = content(both, zone=UTC).curve.people
    np.testing.assert_allclose(people[~np.isnan(people)], 1)
    assert np.isnan(people[:60]).tolist() == [False] * 20 + [True] * 10 + [False] * 20 + [True] * 10


def test_gaps_are_taken_off_steps_that_they_lie_in_only_in_part():
    # Steps of 5 s, of which the fourth is watched for 2 s.
    material = watched(18, 17, seconds=True)
    made = content(material, zone=UTC)
    assert made.curve.step == 5000
    np.testing.assert_allclose(made.curve.people.reshape(18, 12)[:, :4], 1)
    assert np.isnan(made.curve.people.reshape(18, 12)[:, 4:]).all()


@pytest.mark.parametrize("seconds", [False, True])
def test_people_at_a_time_are_per_camera_in_measure_and_chart(seconds):
    made = content(watched(4, 60, ("door", "till"), seconds), zone=UTC)
    assert made.figures["present"].value == pytest.approx(1)
    np.testing.assert_allclose(made.curve.people, 1)
    text = html(made, "1", "today")
    assert "<figcaption>People in sight at a time, per camera</figcaption>" in text
    labels = {table.name: [column.label for column in table.columns] for table in made.tables}
    assert "People at a time, per camera" in labels["timeline"]
    summary = next(table for table in made.tables if table.name == "measures")
    assert ("present", "People at a time, per camera") in [row[:2] for row in summary.rows]
    alone = html(content(watched(4, 60, seconds=seconds), zone=UTC), "1", "today")
    assert "<figcaption>People in sight at a time</figcaption>" in alone and "per camera" not in alone


def drawn_cameras(text):
    drawing = re.search(r'<svg [^>]*class="observed wide".*?</svg>', text, re.S)[0]
    return re.findall(r'class="tick strong">([^<]*)<', drawing)


def test_when_cameras_gave_frames_is_shown_of_all_or_the_rest_is_told():
    names = [f"camera {number}" for number in range(60)]
    # 20 s in each of 2 minutes: 40 s of each camera.
    text = page_of(watched(2, cameras=names[:10]))
    assert drawn_cameras(text) == names[:10] and "are shown; choose" not in text
    assert "<dt>Observed</dt><dd>6 min 40 s over 10 cameras, 2,000 frames" in text
    text = page_of(watched(2, cameras=names))
    assert drawn_cameras(text) == names[:50]
    assert "Of 60 cameras the first 50 are shown; choose others with --camera or --device." in text
    assert "<dt>Observed</dt><dd>40 min over 60 cameras," in text
    assert "<dt>Observed</dt><dd>40 s, 200 frames" in page_of(watched(2))


def test_visits_by_hour_are_per_camera():
    zone = zone_called("Europe/Berlin")
    other = replace(weeks(zone), sources=(Source("pi", "till", "1"),))
    made = content(joined([weeks(zone), other]), zone=zone)
    assert made.heat.people[0, 9] == pytest.approx(180)
    text = html(made, "1", "today")
    assert "<figcaption>Visits per observed hour, per camera</figcaption>" in text
    assert "Visits an hour by weekday and hour, per camera" in text
    hours = next(table for table in made.tables if table.name == "hours")
    assert [column.label for column in hours.columns][2] == "Visits an hour, per camera"


def test_a_film_is_told_by_position():
    material = replace(two_people(), sources=(Source("pi", "film.mp4", "1", "film.mp4"),))
    made = content(material, zone=zone_called("Asia/Tokyo"))
    assert made.film and made.time(BEGAN + 5000) == "0:05"
    assert "film, 0:08 long" in html(made, "1", "today")


def weeks(zone):
    """Two weeks of minutes: 3 visits begin in each minute from 9 to 10 by the clock on the wall."""
    first = datetime(2026, 3, 23, tzinfo=zone)
    rows = []
    for day in range(14):
        for minute in range(0, 1440, 10):
            wall = datetime(2026, 3, 23 + day if day < 9 else day - 8, minute // 60, minute % 60, tzinfo=zone)
            wall = wall if day < 9 else wall.replace(month=4)
            rows.append((round(wall.timestamp() * 1000), wall.hour == 9))
    began = np.array([at for at, _ in rows])
    busy = np.array([one for _, one in rows])
    count = len(rows)
    whole = np.where(busy, 60.0, 0.0)
    assert first.timestamp() * 1000 == began[0]
    return Material(
        (Source("pi", "door", "1"),),
        minutes=Minutes(
            source=np.zeros(count, np.int32),
            began=began,
            ended=began + 60_000,
            observed=np.full(count, 60.0),
            gap=np.zeros(count),
            frames=np.full(count, 600),
            dropped=np.zeros(count, np.int64),
            lost=np.zeros(count, np.int64),
            people=np.where(busy, 3, 0),
            people_max=np.where(busy, 2, 0),
            visits_begun=np.where(busy, 3, 0),
            visits_ended=np.where(busy, 3, 0),
            dwell=whole,
            seen=whole,
            unsure=np.zeros(count),
            attention=whole / 2,
            unclear=np.zeros(count),
            shares=np.where(busy[:, None], [shares(happy=0.25)], np.nan),
        ),
    )


def test_weeks_have_a_map_by_the_clock_on_the_wall_and_a_trend():
    zone = zone_called("Europe/Berlin")  # Summer time begins on the first Sunday.
    made = content(weeks(zone), zone=zone)
    assert np.nanmax(made.heat.people[:, 9]) == np.nanmin(made.heat.people[:, 9]) == pytest.approx(180)
    assert np.nansum(made.heat.people) == pytest.approx(7 * 180)
    assert made.heat.happy[0, 9] == pytest.approx(0.25) and np.isnan(made.heat.happy[0, 8])
    assert len(made.days.rows) == 14 and made.days.rows[0][0] == "2026-03-23"
    text = html(made, "1", "today")
    assert 'class="heat wide"' in text and 'class="trend narrow"' in text
    assert "Monday 9:00: 180" in text
    assert "23 March 2026 00:00 to 5 April 2026 23:51 (CET)" in text


def trends(text):
    """Of each chart by day its dots or middles of bars (x, day), how many dots each line has, its holes."""
    found = []
    for drawing in re.findall(r'<svg [^>]*class="trend wide".*?</svg>', text, re.S):
        dots = re.findall(r'<circle cx="([\d.]+)"[^>]*><title>([\d-]+): ', drawing)
        bars = re.findall(
            r'<rect x="([\d.]+)" [^>]*width="([\d.]+)"[^>]*class="bar"><title>([\d-]+)', drawing
        )
        lines = re.findall(r'<path d="([^"]*)" class="trend-line"', drawing)
        marks = [(float(x), day) for x, day in dots] + [(float(x) + float(w) / 2, day) for x, w, day in bars]
        holes = re.findall(r'<rect x="([\d.]+)" [^>]*width="([\d.]+)"[^>]*class="hole"', drawing)
        found.append((marks, [1 + line.count("L") for line in lines], holes))
    return found


def test_days_on_which_nothing_was_recorded_are_holes_in_the_charts_by_day():
    # Two weeks from 23 March on without Sunday 29 and without 1 to 3 April.
    whole = weeks(UTC)
    day = (whole.minutes.began - whole.minutes.began[0]) // 86_400_000
    open_days = np.isin(day, [0, 1, 2, 3, 4, 5, 7, 8, 12, 13])
    text = page_of(replace(whole, minutes=whole.minutes.take(open_days)))
    people, dwell, happy = trends(text)
    names = ["23", "24", "25", "26", "27", "28", "30", "31"]
    expected = [f"2026-03-{one}" for one in names] + ["2026-04-04", "2026-04-05"]
    for points, _, holes in (people, dwell, happy):
        assert [one for _, one in points] == expected
        # The chart is 856 pixels wide, and 14 days long.
        places = [(x - points[0][0]) / (856 / 14) for x, _ in points]
        assert places == pytest.approx([0, 1, 2, 3, 4, 5, 7, 8, 12, 13], abs=0.01)
        assert [float(wide) / (856 / 14) for _, wide in holes] == pytest.approx([1, 3], abs=0.01)
    assert dwell[1] == happy[1] == [6, 2, 2]


def marks(zone, began, ended, about):
    """Places and labels of an axis from ``began`` to ``ended``; times by UTC."""
    made = replace(content(two_people(), zone=UTC), zone=zone_called(zone))
    span = tuple(datetime.fromisoformat(f"{at}+00:00").timestamp() * 1000 for at in (began, ended))
    found = charts.time_marks(made, span, about)
    return [(f"{datetime.fromtimestamp(at / 1000, UTC):%m-%d %H:%M}", text) for at, text in found]


def test_long_axes_are_marked_at_the_beginnings_of_months_and_years():
    year = ("2026-01-01T08:00", "2026-12-31T22:00")
    assert marks("UTC", *year, 9) == [
        ("03-01 00:00", "Mar"),
        ("05-01 00:00", "May"),
        ("07-01 00:00", "Jul"),
        ("09-01 00:00", "Sep"),
        ("11-01 00:00", "Nov"),
    ]
    # Of half years only July would be within it.
    assert marks("UTC", *year, 3) == [("04-01 00:00", "Apr"), ("07-01 00:00", "Jul"), ("10-01 00:00", "Oct")]
    assert [text for _, text in marks("UTC", "2025-02-10T00:00", "2026-08-01T00:00", 3)] == [
        "Jul",
        "2026",
        "Jul",
    ]
    assert [text for _, text in marks("UTC", "2020-01-31T08:00", "2026-03-20T22:00", 3)] == [
        "2022",
        "2024",
        "2026",
    ]
    # The beginning of a month is midnight by the clock on the wall.
    assert marks("Asia/Tokyo", "2026-01-20T00:00", "2026-03-20T00:00", 3) == [
        ("01-31 15:00", "Feb"),
        ("02-28 15:00", "Mar"),
    ]


@pytest.mark.parametrize("width", [charts.WIDE, charts.NARROW])
@pytest.mark.parametrize("days", [0.44, 1.2, 3.5, 6.6, 13.6, 45, 100, 365, 1000, 5000])
def test_labels_of_a_time_axis_are_several_and_do_not_touch(days, width):
    made = content(two_people(), zone=UTC)
    made = replace(made, span=(BEGAN, BEGAN + round(86_400_000 * days)))
    drawing = charts.presence(made, width).markup()
    found = re.findall(r'<text x="([\d.]+)" y="1[24]1" text-anchor="middle" class="tick">([^<]+)<', drawing)
    assert len(found) > 1
    # Letters of 12 pixels are 6.5 wide on average.
    edges = [(float(x) - 3.25 * len(text), float(x) + 3.25 * len(text)) for x, text in found]
    assert all(right < left for (_, right), (left, _) in itertools.pairwise(edges))


def test_times_that_summer_time_skips_are_not_on_an_axis():
    # In Berlin 02:00 to 03:00 is left out.
    assert marks("Europe/Berlin", "2026-03-29T00:00", "2026-03-29T04:00", 5) == [
        ("03-29 00:00", "01:00"),
        ("03-29 01:00", "03:00"),
        ("03-29 02:00", "04:00"),
        ("03-29 03:00", "05:00"),
        ("03-29 04:00", "06:00"),
    ]
    assert marks("Europe/Berlin", "2026-03-29T00:30", "2026-03-29T01:30", 4) == [
        ("03-29 00:30", "01:30"),
        ("03-29 00:45", "01:45"),
        ("03-29 01:00", "03:00"),
        ("03-29 01:15", "03:15"),
        ("03-29 01:30", "03:30"),
    ]
    # A day of 23 hours is marked as far as its end.
    day = marks("Europe/Berlin", "2026-03-28T22:30", "2026-03-29T22:00", 24)
    assert day[:3] == [("03-28 23:00", "29 Mar"), ("03-29 00:00", "01:00"), ("03-29 01:00", "03:00")]
    assert day[-2:] == [("03-29 21:00", "23:00"), ("03-29 22:00", "30 Mar")] and len(day) == 24
    # In Havana the day begins at 01:00.
    days = marks("America/Havana", "2026-03-06T12:00", "2026-03-10T00:00", 4)
    assert days == [("03-07 05:00", "Sat 7 Mar"), ("03-08 05:00", "Sun 8 Mar"), ("03-09 04:00", "Mon 9 Mar")]
    # With marks of hours the first of them has the date, also where its hour has a mark of its own.
    assert marks("America/Havana", "2026-03-08T00:00", "2026-03-08T17:00", 3) == [
        ("03-08 05:00", "8 Mar"),
        ("03-08 10:00", "06:00"),
        ("03-08 16:00", "12:00"),
    ]
    assert marks("America/Havana", "2026-03-08T04:00", "2026-03-08T07:00", 3) == [
        ("03-08 04:00", "23:00"),
        ("03-08 05:00", "8 Mar"),
        ("03-08 06:00", "02:00"),
        ("03-08 07:00", "03:00"),
    ]
    assert marks("America/Havana", "2026-03-08T04:30", "2026-03-08T05:30", 2) == [
        ("03-08 04:30", "23:30"),
        ("03-08 05:00", "01:00"),
        ("03-08 05:30", "01:30"),
    ]


def test_days_can_stand_side_by_side_and_are_compared():
    material = simulated_session()
    day = 86_400_000
    later = replace(
        material,
        people=material.people.with_columns(
            began=material.people.began + day,
            ended=material.people.ended + day,
            track=material.people.track + 99,
        ),
        seconds=material.seconds.with_columns(began=material.seconds.began + day),
        minutes=material.minutes.with_columns(
            began=material.minutes.began + day, ended=material.minutes.ended + day
        ),
    )
    made = content(joined([material, later]), zone=UTC, by="day")
    assert [one.name for one in made.pieces] == ["2026-11-20", "2026-11-21"] and made.kind == "day"
    assert len(made.comparisons.differences) == 4
    # The same faces on both days do not differ.
    assert [one.difference for one in made.comparisons.differences] == pytest.approx([0] * 4)
    assert "Clear differences (filled dots): 0 of 4. The others may be chance." in html(made, "1", "today")


def test_of_cameras_with_few_people_nobody_is_told_to_have_seen_them():
    door = two_people()
    till = replace(door, sources=(replace(door.sources[0], camera="till"),), sessions=(), events=())
    made = content(joined([door, till]), zone=UTC, by="camera")
    assert [(one.name, one.people) for one in made.pieces] == [("door", 2), ("till", 2)]
    text = html(made, "1", "today")
    assert "Fewer than 5 people each: door, till. Figures may reveal something about each person." in text
    assert "people saw" not in text.partition('id="parts"')[2].partition("</section>")[0]


def test_what_there_is_one_of_cannot_be_compared():
    with pytest.raises(DataError, match=r"--by camera: there are not two of them to compare \(hall\)"):
        content(simulated_session(), zone=UTC, by="camera")


def test_of_many_events_the_first_are_shown_and_the_rest_is_told():
    material = two_people()
    events = tuple(Event(f"e{i:02d}", BEGAN + 500 * i, BEGAN + 500 * i + 500, session=0) for i in range(15))
    made = content(replace(material, events=events), zone=UTC)
    assert len(made.pieces) == 12 and made.more == 3
    assert "3 more are not shown" in html(made, "1", "today")


def test_nothing_recorded_is_an_error_that_helps():
    with pytest.raises(DataError, match="nothing was recorded in that time"):
        content(Material(), zone=UTC)


def test_nobody_seen_is_a_page_all_the_same():
    material = weeks(UTC)
    till = (Source("pi", "till", "1"),)
    empty = material.minutes.take(np.flatnonzero(material.minutes.people == 0)[:10])
    text = page_of(replace(material, minutes=empty))
    assert "Nobody was in sight" in text
    Page(text)
    both = joined([replace(material, minutes=empty), replace(material, minutes=empty, sources=till)])
    assert "Nobody was in sight in the 20 min observed over 2 cameras: there are" in page_of(both)


def in_sight_for(*lengths):
    """People who are in sight for so many seconds, less than one each, in the minute of two others."""
    count = len(lengths)
    none, person = np.zeros(count), np.arange(count)
    seconds = Seconds(
        person, BEGAN + 2000 * person, np.array(lengths), none, none, none, np.array([shares()] * count)
    )
    people = visits_of(seconds, np.zeros(count, np.int32), person + 1, np.full(count, 80.0))
    return replace(two_people(), people=people, seconds=seconds, sessions=(), events=())


def test_people_in_sight_too_briefly_to_count_are_told_of():
    text = page_of(in_sight_for(0.4, 0.8, 0.2))
    assert '<p class="lead">3 people were in sight, each for less than 1 s.' in text
    header = text.partition("<header>")[2].partition("</header>")[0]
    assert "visits" not in header and "0.00" not in header and "<dl" not in header
    assert '<p class="lead">1 person was in sight, for less than 1 s.' in page_of(in_sight_for(0.4))
    assert "for less than" not in page_of(in_sight_for(0.4, 1.0)).partition("</header>")[0]


def test_visits_of_minutes_in_which_nobody_came_are_none():
    # Somebody is in sight who came before.
    minutes = watched(2).minutes.with_columns(visits_begun=[0, 0])
    assert headlines(Page(page_of(replace(watched(2), minutes=minutes))))["visits"] == "0"


def test_simulated_data_says_so():
    assert "Simulated data." in demo_page()
    assert "Simulated data." not in page_of(two_people())


def test_a_baseline_is_said_and_taken_off():
    material = simulated_session()
    made = content(material, zone=UTC, options=Options(baseline=10.0))
    text = html(made, "1", "today")
    assert "first 10 s are their baseline" in text
    assert made.figures["happy"].value < demo().figures["happy"].value


def of_runs(*settings):
    """The same two people in one run after another, an hour apart, with the ``settings`` of each."""

    def run(number, settings):
        one, by = two_people(), 3_600_000 * number
        people, minutes = (
            table.with_columns(began=table.began + by, ended=table.ended + by)
            for table in (one.people, one.minutes)
        )
        source = Source("pi", "door", str(number + 1), settings=settings)
        return Material((source,), people, minutes=minutes)

    return joined(run(number, one) for number, one in enumerate(settings))


def surprised_and_glad(before, after):
    """Two people, of whom Ann has the shares ``before`` for 4 s and ``after`` for 4 s; Bob comes for 4 s."""
    material = two_people()
    return replace(
        material,
        seconds=material.seconds.with_columns(
            shares=np.array([before] * 4 + [after] * 4 + [shares(sad=0.6)] * 4, np.float32)
        ),
    )


def test_changes_from_a_baseline_are_told_as_changes_and_the_chart_by_its_shares():
    # After Ann's baseline neutral is 80 points less, happy 60 more. Bob has nothing but a baseline.
    material = surprised_and_glad(shares(), shares(happy=0.6, surprise=0.2))
    text = page_of(material, options=Options(baseline=4.0))
    page = Page(text)
    assert (
        "the share of neutral was 80.0 percentage points lower and that of happy 60.0 percentage points "
        "higher than in each person’s first 4 s."
    ) in text
    assert "of onlookers would call a face" not in text
    assert headlines(page)["change in valence from each person’s first 4 s"] == "+0.60"
    assert "valence, from" not in text
    # As they are: happy of Ann 0.6 in half of her time, of Bob never; neutral 0.6 and 0.4; sad 0 and 0.6.
    drawing = re.search(r'<svg [^>]*class="emotions wide".*?</svg>', text, re.S)[0]
    labels = dict(re.findall(r'class="label" data-e="\w+">(\w+) ([^<]+)<', drawing))
    assert labels == {
        "happy": "15 %",
        "surprise": "5 %",
        "sad": "30 %",
        "fear": "0 %",
        "disgust": "0 %",
        "angry": "0 %",
        "neutral": "50 %",
    }
    told = re.findall(r"<desc[^>]*>On average happy (\d+ %), surprise (\d+ %)", text)
    assert told == [("0 %", "0 %"), ("30 %", "10 %")]
    # Of the part after the baseline, neutral is -80 points, valence +0.6.
    rows = dict(re.findall(r'<tr><th scope="row" class="text">(calm|joke)</th>(.*?)</tr>', text))
    assert ">−80.0</td>" in rows["joke"] and ">+60.0</td>" in rows["joke"] and ">+0.60</td>" in rows["joke"]
    assert "<dt>Valence, change</dt><dd>+0.60</dd>" in text
    assert "Figures of emotions are changes from each person’s first 4 s" in text


def test_changes_by_day_go_below_zero_within_their_chart():
    later = surprised_and_glad(shares(happy=0.5), shares())
    day = 86_400_000
    later = replace(
        later,
        people=later.people.with_columns(began=later.people.began + day, ended=later.people.ended + day),
        seconds=later.seconds.with_columns(began=later.seconds.began + day),
        minutes=later.minutes.with_columns(began=later.minutes.began + day, ended=later.minutes.ended + day),
        sources=(Source("pi", "till", "1"),),
        sessions=(),
        events=(),
    )
    both = joined([surprised_and_glad(shares(), shares(happy=0.6)), later])
    text = page_of(both, options=Options(baseline=4.0))
    assert "Share of happy by day, in percentage points above each person’s first 4 s" in text
    drawing = re.findall(r'<svg [^>]*class="trend wide".*?</svg>', text, re.S)[2]
    (zero,) = re.findall(r'<path d="M52 ([\d.]+)L[^"]*" class="axis"', drawing)
    dots = re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"[^>]*><title>[^:]*: ([^<]*)<', drawing)
    assert [told for _, told in dots] == ["+60.0", "−50.0"]
    above, below = (float(y) for y, _ in dots)
    # Steps of 60 and 50 points from the axis, inside a drawing that is 130 pixels high with 24 for dates.
    assert (float(zero) - above) / (below - float(zero)) == pytest.approx(60 / 50, rel=0.01)
    assert above > 16 and below < 130 - 24
    assert re.findall(r'text-anchor="end" class="tick">([^<]*)<', drawing) == ["−50.0", "0", "+50.0"]


@pytest.mark.parametrize(
    ("kind", "values", "labels", "told"),
    [
        ("points", (-0.004, 0.003), ["−0.4", "−0.2", "0", "+0.2"], ["−0.4", "+0.3"]),
        # With steps of half a tenth of a point, two marks would be called +0.1.
        ("points", (0.001, 0.0), ["0", "+0.1"], ["+0.1", "0.0"]),
        ("points", (1e-9, 0.0), ["0"], ["0.0", "0.0"]),
        ("share", (0.001, 0.0), ["0", "&lt;1 %"], ["&lt;1 %", "0 %"]),
        ("share", (0.5, 0.1), ["0", "50 %"], ["50 %", "10 %"]),
    ],
)
def test_marks_of_a_chart_by_day_are_told_apart(kind, values, labels, told):
    columns = (Column("day", "Day", "date"), Column("happy", "Happy", kind))
    days = Table("days", "By day", columns, (("2026-01-01", values[0]), ("2026-01-02", values[1])))
    drawing = charts.trend(days, "happy", charts.WIDE).markup()
    assert re.findall(r'text-anchor="end" class="tick">([^<]*)<', drawing) == labels
    assert re.findall(r"<title>[^:<]*: ([^<]*)<", drawing) == told


def test_settings_name_versions_models_and_options():
    settings = {
        "version": "0.1.9",
        "model": {"name": "nano", "precision": "int8", "backend": "onnx", "labels": "fer2013"},
        "options": {"smoothing": 0.4, "mask": None, "fps": 5},
    }
    text = page_of(of_runs(settings))
    assert "nano int8 onnx, labels of fer2013, fer-edge 0.1.9" in text
    assert "pi: smoothing</dt><dd>0.4" in text and "mask" not in text and "fer-edge 1.2.3" in text


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.4, "0.4 s"), (75, "75 s"), (226, "3 min 46 s"), (7200, "2 h"), (200_000, "2.3 days")],
)
def test_lengths_of_time_are_said_in_few_figures(value, said):
    assert spoken(value) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (-0.004, "−0.4"),
        (0.003, "+0.3"),
        (0.1, "+10.0"),
        (-1, "−100.0"),
        (0.0006, "+0.1"),
        (-0.0004, "0.0"),
        (0.0, "0.0"),
        (math.nan, "–"),
    ],
)
def test_changes_of_shares_have_a_decimal_and_a_sign_unless_they_are_0(change, said):
    assert signed_points(change) == said


def test_shares_and_positions_are_said_in_few_figures():
    assert [percent(v) for v in (0, 0.001, 0.474, 1, float("nan"))] == ["0 %", "<1 %", "47 %", "100 %", "–"]
    assert [position(v) for v in (0, 61_000, 3_723_000)] == ["0:00", "1:01", "1:02:03"]


def test_shares_of_a_model_of_2013_are_not_called_those_of_onlookers():
    material = two_people()
    told = "Not on pi: the model there estimates which label FER-2013 would give"
    assert told not in page_of(material)
    assert told in page_of(of_runs({"model": {"labels": "fer2013"}}))
    assert told in page_of(of_runs({"model": {"name": "edge"}}))


def test_runs_with_other_settings_are_told_apart_and_those_with_the_same_told_once():
    edge = {"model": {"name": "edge", "labels": "people"}, "options": {"fps": 5}}
    nano = {"model": {"name": "nano", "labels": "fer2013"}, "options": {"fps": 5}}
    text = page_of(of_runs(edge, nano, edge))
    facts = dict(zip(Page(text).texts["dt"], Page(text).texts["dd"], strict=True))
    assert facts["pi (2 runs from 26 November 2026 12:30)"] == "edge, labels of people"
    assert facts["pi (1 run from 26 November 2026 13:30)"] == "nano, labels of fer2013"
    assert facts["pi: fps"] == "5"
    assert "Not on pi (1 run from 26 November 2026 13:30): the model there estimates" in text
    # A run without a record of its start, and one of which nothing is left, as in a shorter time.
    text = page_of(of_runs(None, nano))
    assert "<dt>pi (1 run from 26 November 2026 13:30)</dt><dd>nano" in text
    later = of_runs(edge, nano).select(since=BEGAN + 3_600_000)
    text = page_of(later)
    assert "<dt>pi</dt><dd>nano" in text and "edge, labels" not in text


def test_cameras_of_a_run_with_other_options_are_told_apart():
    door, till = {"options": {"fps": 5}}, {"options": {"fps": 10}}
    material = of_runs(door)
    other = replace(material, sources=(Source("pi", "till", "1", settings=till),))
    text = page_of(joined([material, other]))
    assert "<dt>pi / door: fps</dt><dd>5</dd>" in text and "<dt>pi / till: fps</dt><dd>10</dd>" in text


def test_emotions_have_the_colours_of_the_live_page():
    package = Path(page.__file__).parents[1]
    report = (package / "report" / "files" / "report.css").read_text()
    live = (package / "outputs" / "page" / "files" / "page.css").read_text()
    for name in MOVING:
        ours = re.findall(rf"--{name}: (#\w+);", report)
        assert len(ours) == 2 and ours == re.findall(rf"\.e-{name} {{ --c: (#\w+) }}", live)


def in_light(**light):
    material = two_people()
    return replace(
        material, minutes=material.minutes.with_columns(**{name: [one] for name, one in light.items()})
    )


def test_light_is_told_and_warned_of_where_much_was_too_dark():
    text = page_of(in_light(brightness=61.4, face_brightness=38.2, dark=6.0, bright=0.0))
    assert (
        "faces have a mean brightness of 38 (0 black to 255 white); too dark for 50 % and too bright for 0 % "
        "of the time in sight; the picture has 61"
    ) in text
    assert "Faces were too dark for 50 % of the time in sight" in text
    assert "Faces were too bright" not in text


def test_light_is_warned_of_where_much_was_too_bright():
    text = page_of(in_light(brightness=190.0, face_brightness=201.0, dark=0.0, bright=3.0))
    assert "Faces were too bright for 25 % of the time in sight" in text
    assert "Faces were too dark" not in text


def test_light_is_told_of_a_picture_without_faces_and_of_part_of_the_time():
    empty = weeks(UTC)
    observed = np.arange(len(empty.minutes)) % 4
    light = np.where(observed == 0, np.nan, 90.0)
    empty = replace(empty, minutes=empty.minutes.with_columns(brightness=light))
    text = page_of(empty)
    assert "the picture has a mean brightness of 90 (0 black to 255 white); known of 75 % of the time" in text


def test_light_that_was_not_measured_is_not_known():
    assert "Lighting</dt><dd>not recorded" in page_of(two_people())
