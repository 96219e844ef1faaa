"""Reports of marked sessions count what lies in them, by hand-calculated values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fer_edge.errors import DataError
from fer_edge.labels import EMOTIONS
from fer_edge.report.content import content
from fer_edge.report.material import Event, Gaps, Material, Minutes, People, Seconds, Session, Source, joined
from fer_edge.report.measures import figures
from fer_edge.report.page import html
from fer_edge.report.parts import parts, whole
from fer_edge.report.sessions import in_sessions
from fer_edge.report.visits import visits_of
from fer_edge.report.zone import zone_named

BEGAN = 1_800_000_000_000
MINUTE = 60_000
HAPPY = EMOTIONS.index("happy")


def at(second):
    return BEGAN + round(1000 * second)


def shop(device="pi", seconds=True):
    """Ten minutes of a camera. Ann is there from 0 to 100 s, Bob from 130 to 150 s, Eve from 400 to 420 s.

    All of them are neutral, but Ann is happy by 0.6 from 90 s on, Bob by 0.2 all the time, Eve by 1.
    """
    rows = [(0, s, 0.6 if s >= 90 else 0.0) for s in range(100)]
    rows += [(1, s, 0.2) for s in range(130, 150)] + [(2, s, 1.0) for s in range(400, 420)]
    person, second, happy = zip(*rows, strict=True)
    told = np.zeros((len(rows), len(EMOTIONS)))
    told[:, HAPPY] = happy
    told[:, -1] = 1 - told[:, HAPPY]
    one = np.ones(len(rows))
    all_seconds = Seconds(np.array(person), BEGAN + 1000 * np.array(second), one, 0 * one, one, 0 * one, told)
    people = visits_of(all_seconds, np.zeros(3, np.int32), np.array([1, 2, 3]), np.full(3, 90.0))
    ten = np.ones(10)
    minutes = Minutes(
        source=np.zeros(10, np.int32),
        began=[BEGAN + MINUTE * n for n in range(10)],
        ended=[BEGAN + MINUTE * (n + 1) for n in range(10)],
        observed=60 * ten,
        gap=0 * ten,
        frames=np.full(10, 600),
        dropped=np.zeros(10, np.int64),
        lost=np.zeros(10, np.int64),
        people=[1, 1, 1, 0, 0, 0, 1, 0, 0, 0],
        people_max=[1, 1, 1, 0, 0, 0, 1, 0, 0, 0],
        visits_begun=[1, 0, 1, 0, 0, 0, 1, 0, 0, 0],
        visits_ended=[0, 1, 1, 0, 0, 0, 0, 1, 0, 0],
        dwell=[0, 100, 20, 0, 0, 0, 0, 20, 0, 0],
        seen=[60, 40, 20, 0, 0, 0, 20, 0, 0, 0],
        unsure=0 * ten,
        attention=[60, 40, 20, 0, 0, 0, 20, 0, 0, 0],
        unclear=0 * ten,
        shares=np.full((10, 7), np.nan),
        brightness=100 * ten,
        face_brightness=120 * ten,
        dark=[0, 0, 0, 0, 0, 0, 20, 0, 0, 0],
        bright=0 * ten,
    )
    return Material(
        (Source(device, "door", "1"),),
        people,
        all_seconds if seconds else Seconds.empty(),
        minutes,
        gaps=Gaps([0], [at(100)], [at(400)], ["unplugged"]),
    )


def marked(material, *sessions, events=()):
    return replace(
        material,
        sessions=tuple(Session(name, at(a), at(b), "pi", "1") for name, a, b in sessions),
        events=tuple(Event(name, at(a), at(b), session=n) for name, a, b, n in events),
    )


def test_a_visit_is_cut_where_the_session_begins_and_ends():
    found = in_sessions(marked(shop(), ("evening", 80, 140))).material
    ann, bob = sorted(zip(found.people.track, found.people.began, found.people.ended, strict=True))
    assert ann == (1, at(80), at(100))
    assert bob == (2, at(130), at(140))
    people = found.people.take(np.argsort(found.people.track))
    # Ann for 20 s, happy in the latter half: 0.3 on average, from 10 s after the session's begin on.
    np.testing.assert_allclose(people.seen, [20, 10])
    np.testing.assert_allclose(people.attention, [20, 10])
    np.testing.assert_allclose(people.shares[:, HAPPY], [0.3, 0.2], atol=1e-6)
    np.testing.assert_allclose(people.smile, [0.6, 0.2], atol=1e-6)
    np.testing.assert_allclose(people.first_smile, [10, np.nan])
    assert len(found.seconds) == 30
    measured = figures(found, whole())
    assert measured["people"].value == 2
    assert measured["dwell"].value == 15
    assert measured["happy"].value == pytest.approx(0.25)
    assert measured["happy"].basis == "seconds"


@pytest.mark.parametrize(
    ("first", "last"), [(10, 50), (10.4, 50.4), (10.5, 50.5), (10.6, 50.6), (10.4, 50.6)]
)
def test_one_person_is_one_in_the_chart_from_the_first_second_to_the_last(first, last):
    found = in_sessions(marked(shop(), ("evening", first, last))).material
    people = content(found, zone=zone_named("UTC")).curve.people
    counted = people[~np.isnan(people)]
    np.testing.assert_allclose(counted, 1)
    # Seconds count whose middle lies in the session: from 10.6 on that is not the one that began at 10.
    assert len(counted) == math.ceil(last - 0.5) - math.ceil(first - 0.5)


def test_minutes_and_gaps_count_in_proportion():
    found = in_sessions(marked(shop(), ("evening", 90, 150))).material
    minutes = found.minutes
    assert minutes.began.tolist() == [at(90), at(120)]
    assert minutes.ended.tolist() == [at(120), at(150)]
    assert (minutes.observed.tolist(), minutes.frames.tolist()) == ([30, 30], [300, 300])
    assert minutes.seen.tolist() == [20, 10]
    assert minutes.brightness.tolist() == [100, 100]
    assert (found.gaps.began.tolist(), found.gaps.ended.tolist()) == ([at(100)], [at(150)])
    assert found.span == (at(90), at(150))


@pytest.mark.parametrize(
    ("session", "gap", "listed", "unlisted", "told"),
    [
        # Listed from 10 to 30 s, and 420 to 450 s.
        ((40, 180), 0, (0, 0), (None, 20 / 3), "none"),
        ((20, 180), 10, (1, 10), (None, 40 / 3), "1 gap of 10 s, 6 % of the time"),
        ((0, 600), 50, (2, 50), (None, 50), "2 gaps of 50 s, 8 % of the time"),
    ],
)
def test_a_gap_before_the_session_is_none_of_its_gaps(session, gap, listed, unlisted, told):
    minutes = shop().minutes.with_columns(
        gap=[20, 0, 0, 0, 0, 0, 0, 30, 0, 0], observed=[40, 60, 60, 60, 60, 60, 60, 30, 60, 60]
    )
    gaps = Gaps([0, 0], [at(10), at(420)], [at(30), at(450)], ["unplugged"] * 2)
    material = marked(replace(shop(), minutes=minutes, gaps=gaps), ("evening", *session))
    found = in_sessions(material).material
    made = content(found, zone=zone_named("UTC"))
    assert found.minutes.gap.sum() == pytest.approx(gap)
    assert (made.quality.gaps, made.quality.gap_seconds) == listed
    page = html(made, "1", "today").replace("\N{NO-BREAK SPACE}", " ")
    assert f"<dt>Gaps</dt><dd>{told}</dd>" in page
    # Where none are listed, a minute's missing time may lie anywhere in it: 20 s of 60 are 6.7 of 20.
    fleet = in_sessions(replace(material, gaps=Gaps.empty())).material
    quality = content(fleet, zone=zone_named("UTC")).quality
    assert (quality.gaps, quality.gap_seconds) == (unlisted[0], pytest.approx(unlisted[1]))
    assert fleet.minutes.gap.sum() == pytest.approx(unlisted[1])


def test_without_seconds_a_visit_counts_as_a_whole_if_more_than_half_lies_in_it():
    found = in_sessions(marked(shop(seconds=False), ("evening", 80, 141))).material
    assert found.people.track.tolist() == [2]
    assert (found.people.began[0], found.people.ended[0]) == (at(130), at(150))
    assert in_sessions(marked(shop(seconds=False), ("evening", 40, 140))).material.people.track.tolist() == [
        1
    ]


def test_of_several_sessions_those_that_are_named_count():
    material = marked(
        shop(), ("one", 0, 50), ("two", 120, 160), ("three", 390, 430),
        events=[("A", 10, 20, 0), ("A", 130, 140, 1), ("B", 400, 410, 2)],
    )  # fmt: skip
    assert in_sessions(material).material.people.track.tolist() == [1, 2, 3]
    found = in_sessions(material, ["one", "three"])
    assert found.material.people.track.tolist() == [1, 3]
    assert [one.name for one in found.material.sessions] == ["one", "three"]
    assert [(one.name, one.session) for one in found.material.events] == [("A", 0), ("B", 1)]
    assert found.told == (
        "Only the marked sessions count: “one” and “three”. The other 8 min of 10 min observed are left out."
    ).replace("8 min", "8 min 30 s")


def test_what_is_left_out_is_told():
    found = in_sessions(marked(shop(), ("evening", 0, 240)))
    assert found.told == (
        "Only the marked session “evening” counts. The other 6 min of 10 min observed are left out; "
        "--session all includes them."
    )
    everything = in_sessions(marked(shop(), ("evening", 0, 600)))
    assert everything.told == "Only the marked session “evening” counts."
    np.testing.assert_array_equal(everything.material.people.began, shop().people.began)


def test_a_device_without_a_session_is_told():
    material = joined([marked(shop(), ("evening", 0, 240)), shop("till")])
    found = in_sessions(material)
    assert found.told.endswith("No session was marked on till / door.")
    assert "The other 16 min of 20 min observed over 2 cameras are left out" in found.told
    assert len(found.material.people) == 2


def test_films_are_called_films_in_what_is_left_out_and_on_the_page():
    one, other = marked(shop(), ("evening", 0, 240)), shop("till")
    films = joined(
        [replace(each, sources=(replace(each.sources[0], film="a.mp4"),)) for each in (one, other)]
    )
    limited = in_sessions(films)
    assert "The other 16 min of 20 min observed over 2 films are left out" in limited.told
    page = html(content(films, zone=zone_named("UTC"), scope=limited.told), "1", "today")
    assert "<dd>20 min over 2 films," in page and "2 cameras" not in page


def test_a_device_with_other_sessions_than_the_ones_asked_for_is_not_called_one_without():
    till = replace(shop("till"), sessions=(Session("morning", at(0), at(240), "till", "1"),))
    material = joined([marked(shop(), ("evening", 0, 240)), till])
    found = in_sessions(material, ["evening"])
    assert found.told.endswith("are left out. It was not marked on till / door.")


def test_the_session_of_another_device_limits_nothing():
    assert in_sessions(replace(shop("till"), sessions=(Session("evening", at(0), at(9), "pi", "1"),))) is None


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="--session late: no such session; there are one and two"):
        in_sessions(marked(shop(), ("one", 0, 50), ("two", 120, 160)), ["late"])
    with pytest.raises(DataError, match="--session late: no such session; no session was marked"):
        in_sessions(shop(), ["late"])
    with pytest.raises(DataError, match="--session late: no such session; there is one in the time chosen"):
        in_sessions(marked(shop(), ("one", 0, 50)), ["late"], " in the time chosen")
    with pytest.raises(DataError, match="no session was marked in the time chosen"):
        in_sessions(shop(), ["late"], " in the time chosen")
    assert in_sessions(shop()) is None


def test_sessions_of_two_devices_are_named_in_the_order_of_their_time():
    later, earlier = marked(shop(), ("late", 120, 160)), marked(shop("till"), ("early", 0, 50))
    earlier = replace(earlier, sessions=(replace(earlier.sessions[0], device="till"),))
    found = in_sessions(joined([later, earlier]))
    assert found.told.startswith("Only the marked sessions count: “early” and “late”.")
    assert [one.name for one in found.material.sessions] == ["early", "late"]


def test_somebody_who_stays_over_two_sessions_is_one_person_with_a_visit_in_each():
    found = in_sessions(marked(shop(), ("one", 0, 30), ("two", 60, 90))).material
    assert found.people.began.tolist() == [at(0), at(60)]
    assert found.people.ended.tolist() == [at(30), at(90)]
    measured = figures(found, whole())
    assert (measured["people"].value, measured["visits"].value) == (1, 2)


def test_what_lies_in_two_sessions_counts_once_and_that_is_told():
    overlap = marked(shop(), ("one", 0, 60), ("two", 40, 140), ("three", 400, 430))
    found = in_sessions(overlap)
    joint = in_sessions(marked(shop(), ("one", 0, 140), ("three", 400, 430)))
    for table in ("people", "seconds", "minutes", "gaps"):
        ours, theirs = getattr(found.material, table), getattr(joint.material, table)
        for name in vars(theirs):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    # Ann 100 s, Bob 10 s, Eve 20 s; Ann counts with 60 of her seconds in one session, and 60 in the other.
    measured = figures(found.material, whole())
    assert (measured["visits"].value, measured["seen"].value) == (3, pytest.approx(130 / 3))
    by_session = {part.name: part for part in parts(found.material, "session")}
    seen = {name: figures(found.material, part)["seen"].value for name, part in by_session.items()}
    assert seen == {"one": 60, "two": (60 + 10) / 2, "three": 20}
    assert "Sessions overlap (“one” and “two”): what lies in several counts once." in found.told
    assert "overlap" not in joint.told
    # Sessions of two devices at the same time are no such case.
    till = replace(shop("till"), sessions=(Session("two", at(0), at(140), "till", "1"),))
    assert "overlap" not in in_sessions(joined([marked(shop(), ("one", 0, 140)), till])).told


def test_several_sessions_are_side_by_side_before_their_events():
    material = marked(
        shop(), ("one", 0, 50), ("two", 120, 160), events=[("A", 10, 20, 0), ("B", 130, 140, 1)]
    )
    limited = in_sessions(material)
    made = content(limited.material, zone=zone_named("UTC"), scope=limited.told)
    assert (made.kind, [one.name for one in made.pieces]) == ("session", ["one", "two"])
    page = html(made, "1", "today")
    assert '<p class="scope">Only the marked sessions count: “one” and “two”.' in page
    one = in_sessions(material, ["one"])
    assert content(one.material, zone=zone_named("UTC")).kind == "event"
    by_event = content(limited.material, zone=zone_named("UTC"), by="event")
    assert [piece.name for piece in by_event.pieces] == ["A", "B"]


def test_a_session_without_anybody_is_empty():
    found = in_sessions(marked(shop(), ("evening", 200, 300)))
    assert len(found.material.people) == 0
    assert found.material.minutes.observed.sum() == 100
    page = html(content(found.material, zone=zone_named("UTC")), "1", "today")
    assert "Nobody was in sight in the 1 min 40 s observed: there are no figures of people." in page
    assert "Moment by moment" not in page
    assert "How good the data are" in page


def test_people_of_nothing_are_none():
    empty = replace(shop(), people=People.empty(), seconds=Seconds.empty())
    found = in_sessions(marked(empty, ("evening", 0, 60))).material
    assert len(found.people) == 0 and found.minutes.observed.tolist() == [60]
