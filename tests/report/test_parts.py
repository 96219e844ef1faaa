"""Tests of what is measured: events, groups, sessions, days and sources, and the times that lie in them."""

from datetime import UTC

import numpy as np
import pytest
from scenes import berlin, face, material

from fer_edge.report.material import Event, Material, Session, Source
from fer_edge.report.parts import Part, Span, Within, parts, whole

HOUR = 3_600_000


def watched(*spans):
    """Where times lie in the spans, of two people, one at each source, from 0 to 20 s."""
    sources = (Source("pi", "a"), Source("pi", "b"))
    of = material([{0: face(), 19: face()}] * 2, sources=sources, source=[0, 1])
    return Within(of, Part("p", tuple(Span(*span) for span in spans)))


def test_overlapping_spans_count_once():
    within = watched((0, 4000), (2000, 6000), (6000, 7000), (10_000, 12_000))
    at = np.array([-1, 0, 3000, 6999, 7000, 9999, 10_000, 12_000])
    source = np.zeros(len(at), np.int64)
    assert within.inside(source, at).tolist() == [False, True, True, True, False, False, True, False]
    assert within.elapsed(source, at).tolist() == [0, 0, 3000, 6999, 7000, 7000, 7000, 9000]


def test_spans_hold_for_their_sources():
    within = watched((0, 4000, frozenset({0})), (3000, 5000, None))
    at = np.array([1000, 4500, 1000, 3500])
    assert within.inside(np.array([0, 0, 1, 1]), at).tolist() == [True, True, False, True]
    assert within.elapsed(np.array([0, 0, 1, 1]), at).tolist() == [1000, 4500, 0, 500]
    none = watched((0, 4000, frozenset({0})))
    assert none.elapsed(np.array([1]), np.array([9000])).tolist() == [0]


def test_spans_beyond_the_material_are_cut_or_dropped():
    always = whole().spans[0]
    within = watched((always.began, always.ended), (2**61, 2**62))
    assert within.inside(np.array([0, 1]), np.array([0, 19_999])).all()
    assert within.elapsed(np.array([0, 0]), np.array([0, 20_000])).tolist() == [1000, 21_000]


def test_events_of_one_name_are_one_part_for_the_sources_of_their_session():
    sources = (Source("pi", "a", "1"), Source("zero", "a", "7"))
    sessions = (Session("s", 0, 100, "pi", "1"), Session("t", 0, 200, "zero"))
    events = (
        Event("B", 50, 90),
        Event("A", 0, 10, "g", 0),
        Event("A", 20, 30, "", 1),
        Event("C", 40, 50, "g"),
    )
    of = Material(sources, sessions=sessions, events=events)
    assert parts(of, "event") == [
        Part("A", (Span(0, 10, frozenset({0})), Span(20, 30, frozenset({1})))),
        Part("C", (Span(40, 50),)),
        Part("B", (Span(50, 90),)),
    ]
    assert parts(of, "group") == [Part("g", (Span(0, 10, frozenset({0})), Span(40, 50)))]
    assert parts(of, "session") == [
        Part("s", (Span(0, 100, frozenset({0})),)),
        Part("t", (Span(0, 200, frozenset({1})),)),
    ]


def test_days_are_those_of_the_clock_on_the_wall():
    # 2026-03-28 22:30 UTC is 23:30 in Berlin, where the 29th has 23 hours.
    at = 1774737000
    of = material([{at: face(), at + 3: face()}, {at + 2400: face()}, {at + 88_000: face()}])
    days = parts(of, "day", berlin())
    assert [part.name for part in days] == ["2026-03-28", "2026-03-29", "2026-03-30"]
    lengths = [(part.spans[0].ended - part.spans[0].began) / HOUR for part in days]
    assert lengths == [24, 23, 24]
    assert [part.name for part in parts(of, "day", UTC)] == ["2026-03-28", "2026-03-29"]


def test_sources_are_parted_by_their_names():
    of = Material(
        (
            Source("pi", "b", "1"),
            Source("pi", "a", "1"),
            Source("zero", "a", "1", "x.mp4"),
            Source("zero", "a", "2", "x.mp4"),
        )
    )
    names = {by: [part.name for part in parts(of, by)] for by in ("device", "camera", "run", "film", "whole")}
    assert names == {
        "device": ["pi", "zero"],
        "camera": ["b", "pi: a", "zero: a"],
        "run": ["2", "pi: 1", "zero: 1"],
        "film": ["x.mp4"],
        "whole": ["all"],
    }
    assert parts(of, "camera")[2].spans[0].sources == frozenset({2, 3})
    with pytest.raises(ValueError, match="by must be one of whole, event, group"):
        parts(of, "weather")
