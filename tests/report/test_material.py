"""Tests of the columns in memory that a report is made of."""

from dataclasses import fields
from datetime import UTC

import numpy as np
import pytest
from scenes import berlin

from fer_edge.labels import EMOTIONS
from fer_edge.report.material import (
    Event,
    Gaps,
    Material,
    People,
    Seconds,
    Session,
    Source,
    joined,
    lasting,
    local,
    numbered,
    visit_at,
)

NEUTRAL = np.eye(len(EMOTIONS), dtype=np.float32)[EMOTIONS.index("neutral")]


def people(source, track, began, ended, **columns):
    n = len(source)
    seen = (np.array(ended) - np.array(began)) / 1000
    return People(
        **{
            "source": source,
            "track": track,
            "began": began,
            "ended": ended,
            "seen": seen,
            "unsure": np.zeros(n),
            "attention": seen / 2,
            "unclear": np.zeros(n),
            "shares": np.tile(NEUTRAL, (n, 1)),
            "smile": np.zeros(n),
            "first_smile": np.full(n, np.nan),
            "size": np.full(n, 80.0),
            "cut": np.zeros(n, bool),
            **columns,
        }
    )


def seconds(person, began):
    n = len(person)
    zeros = np.zeros(n)
    return Seconds(person, began, np.ones(n), zeros, zeros, zeros, np.tile(NEUTRAL, (n, 1)))


def two_devices():
    door = Material(
        (Source("pi", "door", settings={"version": "0.2.0"}), Source("pi", "till")),
        people([0, 1, 0], [1, 1, 2], [0, 1000, 5000], [2000, 4000, 9000]),
        seconds([0, 0, 2, 1], [0, 1000, 5000, 1000]),
        gaps=Gaps([1], [4000], [5000], ["no frames"]),
        sessions=(Session("evening", 0, 6000, "pi"),),
        events=(Event("A", 0, 3000, session=0), Event("all", 0, 9000)),
        told=("a gap",),
    )
    hall = Material(
        (Source("hall", "0"),),
        people([0], [1], [100], [1100]),
        seconds([0], [100]),
        sessions=(Session("hall's", 0, 2000, "hall"),),
        events=(Event("B", 0, 1000, session=0),),
        told=("a gap",),
    )
    return door, hall


def test_rows_that_contradict_themselves_are_left_out_and_counted():
    made = people([0] * 6, range(6), [0] * 6, [2000] * 6)
    columns = {one.name: getattr(made, one.name) for one in fields(People)}
    shares = made.shares.copy()
    shares[1] *= 2
    shares[2, 3] = np.nan
    shares[5] = np.nan
    attention, ended = made.attention.copy(), made.ended.copy()
    attention[3], ended[4] = 2.5, -1
    sound, count = People.sound(**{**columns, "shares": shares, "attention": attention, "ended": ended})
    assert sound.track.tolist() == [0, 5] and count == 4
    sound, count = Gaps.sound(source=[0, 0], began=[5, 5], ended=[6, 4], reason=["a", "b"])
    assert sound.reason.tolist() == ["a"] and count == 1


def test_empty_material_has_tables_of_the_right_shape():
    material = Material.empty()
    assert len(material.people) == 0 and material.people.shares.shape == (0, 7)
    assert material.seconds.person.dtype == np.int32
    assert material.span is None
    assert joined([]).sources == ()


def test_columns_are_converted_to_their_types():
    table = people([0], [3], [0], [1500])
    assert (
        table.source.dtype == np.int32 and table.began.dtype == np.int64 and table.shares.dtype == np.float32
    )
    assert table.dwell.tolist() == [1.5]
    assert Gaps([0, 0], [0, 5], [1, 6], ["no frames", "not stored"]).reason.tolist() == [
        "no frames",
        "not stored",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ended": [-1]}, "row 0: it ends before it begins"),
        ({"unsure": [9.0]}, "unsure is more than seen"),
        ({"attention": [-1.0]}, "attention is negative"),
        ({"shares": [[0.5, 0, 0, 0, 0, 0, 0.4]]}, "do not sum to 1"),
        ({"shares": [[1.2, -0.2, 0, 0, 0, 0, 0]]}, "a share is negative"),
        ({"shares": [[np.nan, 0, 0, 0, 0, 0, 1]]}, "some shares are missing"),
        ({"shares": [[1.0, 0, 0]]}, r"must be \(n, 7\); got \(1, 3\)"),
        ({"track": [1, 2]}, "has 2 rows; the columns before it have 1"),
        ({"track": [1.5]}, "must be int64; got float64"),
        ({"source": [-1]}, "the source is negative"),
    ],
)
def test_contradicting_columns_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        people([0], [1], [0], [1000]).with_columns(**change)


def test_seconds_need_sight_and_shares():
    with pytest.raises(ValueError, match="seen is not above 0"):
        seconds([0], [0]).with_columns(seen=[0.0])
    with pytest.raises(ValueError, match="shares are missing"):
        seconds([0], [0]).with_columns(shares=np.full((1, 7), np.nan))


def test_rows_of_unknown_sources_people_and_sessions_are_refused():
    with pytest.raises(ValueError, match=r"People.source is 1; there are 1 sources"):
        Material((Source("pi", "0"),), people([1], [1], [0], [1]))
    with pytest.raises(ValueError, match=r"Seconds.person is 0; there are 0 people"):
        Material(seconds=seconds([0], [0]))
    with pytest.raises(ValueError, match="session 0 of 0"):
        Material(events=(Event("A", 0, 1, session=0),))
    with pytest.raises(ValueError, match="twice"):
        Material((Source("pi", "0"), Source("pi", "0")))
    with pytest.raises(ValueError, match="event A ends before it begins"):
        Material(events=(Event("A", 1, 0),))


def test_materials_of_two_devices_are_joined():
    door, hall = two_devices()
    both = joined([door, hall, door.with_people(np.array([2]))])
    assert both.sources == (*door.sources, *hall.sources)
    assert [one.settings for one in both.sources] == [{"version": "0.2.0"}, None, None]
    assert both.people.source.tolist() == [0, 1, 0, 2, 0]
    assert both.seconds.person.tolist() == [0, 0, 2, 1, 3, 4]
    assert both.gaps.source.tolist() == [1, 1]
    assert [event.session for event in both.events] == [0, -1, 1, 2, -1]
    assert both.told == ("a gap",)
    assert both.span == (0, 9000)


def test_a_selection_keeps_the_seconds_of_its_people():
    door, _ = two_devices()
    late = door.select(since=4500)
    assert late.people.track.tolist() == [2]
    assert late.seconds.person.tolist() == [0] and late.seconds.began.tolist() == [5000]
    assert [event.name for event in late.events] == ["all"]
    assert late.sessions == door.sessions
    assert late.events[0].session == -1
    till = door.select(cameras=["till"])
    assert till.people.began.tolist() == [1000] and len(till.gaps) == 1
    assert len(door.select(until=0).people) == 0
    assert [event.session for event in joined(two_devices()).select(since=500).events] == [0, -1, 1]


def test_an_event_holds_for_the_sources_of_its_session():
    both = joined(two_devices())
    assert both.sources_of(both.events[0]).tolist() == [True, True, False]
    assert both.sources_of(both.events[1]).tolist() == [True, True, True]
    assert both.sources_of(both.events[2]).tolist() == [False, False, True]


def test_a_track_that_came_back_is_one_person():
    table = people([0, 0, 1, 0], [7, 8, 7, 7], [0, 0, 0, 5000], [1, 1, 1, 5001])
    assert table.who.tolist() == [0, 1, 2, 0]
    assert numbered(np.array(["b", "a", "b"]), np.array([1, 1, 1])).tolist() == [1, 0, 1]


def test_seconds_find_the_visit_they_belong_to():
    table = people([0, 0, 1, 0], [7, 7, 7, 9], [500, 60_000, 0, 90_000], [9_000, 70_000, 1, 91_000])
    found = visit_at(
        table,
        np.array([0, 0, 0, 0, 1, 1, 0, 0, 2]),
        np.array([7, 7, 7, 7, 7, 8, 9, 9, 7]),
        np.array([0, 8_000, 59_000, 65_000, 4_000, 0, 90_000, 80_000, 0]),
    )
    # The second that begins at 0 has the begin of the visit at 500; 59,000 is over before 60,000.
    assert found.tolist() == [0, 0, 0, 1, 2, -1, 3, 3, -1]
    assert visit_at(People.empty(), np.array([0]), np.array([1]), np.array([5])).tolist() == [-1]


def test_marks_last_until_the_next_of_their_session():
    sessions = (Session("a", 0, 100), Session("b", 200, 300))
    marks = [Event("3", 250, 0, session=1), Event("1", 10, 0, session=0), Event("2", 40, 0, session=0)]
    assert [(e.name, e.began, e.ended) for e in lasting(marks, sessions)] == [
        ("1", 10, 40),
        ("2", 40, 100),
        ("3", 250, 300),
    ]


def test_local_time_follows_summer_time():
    # 2026-03-29 00:59:59 and 01:00:00 UTC: Berlin goes from 01:59:59 to 03:00:00.
    at = np.array([1774745999000, 1774746000000])
    assert (local(at, berlin()) - at).tolist() == [3_600_000, 7_200_000]
    assert local(at, UTC).tolist() == at.tolist()
