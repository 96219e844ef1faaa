"""Listed events in a store: recorded when their time comes, by the clock of the rows."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from outputs.test_store import Clock, feed, finish, rows
from results import BEGAN, face

from fer_edge.errors import DataError
from fer_edge.outputs.store import StoreOutput
from fer_edge.store.events import ListedEvent


def event(number, began, ended=None):
    return ListedEvent(number, number + 1, "ABCDE"[number - 1], "g", began, ended)


@pytest.fixture
def clock():
    return Clock()


def output(path, clock, *events, live=True):
    return StoreOutput(path, live=live, clock=clock, events=events, title="trailers")


def told(path):
    def since(moment):
        return None if moment is None else (moment - BEGAN).total_seconds()

    return [(row["name"], since(row["began"]), since(row["ended"])) for row in rows(path, "events")]


def test_events_by_offset_are_in_a_session_from_the_beginning(clock, tmp_path, caplog):
    path = tmp_path / "shop.db"
    store = output(path, clock, event(1, 5.25, 6.0), event(2, 1.1), event(3, 90.0))
    assert store.session == "trailers"
    with pytest.raises(DataError, match="session 'trailers' goes on"):
        store.start_session("x")
    feed(store, clock, 10, face())
    finish(store)
    assert told(path) == [("B", 1.1, None), ("A", 5.25, 6.0)]
    (session,) = rows(path, "sessions")
    assert (session["name"], session["began"]) == ("trailers", BEGAN)
    assert len(rows(path, "seconds")) == 10
    assert caplog.messages == ["store: event 3 ('C') lies after the end, and is not recorded"]


def test_events_by_the_clock_lie_where_it_says(clock, tmp_path, caplog):
    path = tmp_path / "shop.db"
    times = [BEGAN + timedelta(seconds=seconds) for seconds in (-60, 2.5, 7)]
    store = output(path, clock, *(event(number, at) for number, at in enumerate(times, 1)))
    feed(store, clock, 10, face())
    finish(store)
    assert told(path) == [("B", 2.5, None), ("C", 7.0, None)]
    assert caplog.messages == ["store: event 1 ('A') lies 60.0 s before the beginning"]


def test_events_by_the_clock_follow_it_when_it_is_put_right(clock, tmp_path):
    path = tmp_path / "shop.db"
    store = output(
        path, clock, event(1, BEGAN + timedelta(seconds=2)), event(2, BEGAN + timedelta(hours=1, seconds=9))
    )
    feed(store, clock, 5, face())
    clock.offset = 3600
    feed(store, clock, 10, face())
    finish(store)
    # The first was recorded by the clock as it was, which is corrected with all other rows.
    assert told(path) == [("A", 3602.0, None), ("B", 3609.0, None)]


def test_events_come_also_while_no_frames_do(clock, tmp_path):
    path = tmp_path / "shop.db"
    store = output(path, clock, event(1, 5.0), event(2, 20.0))
    feed(store, clock, 2, face())
    clock.now += 10
    store.flush()
    assert told(path) == [("A", 5.0, None)]
    clock.now += 10
    finish(store)
    assert told(path) == [("A", 5.0, None), ("B", 20.0, None)]


def test_events_after_the_operator_ended_the_session_are_reported(clock, tmp_path, caplog):
    path = tmp_path / "shop.db"
    store = output(path, clock, event(1, 1.0), event(2, 6.0))
    feed(store, clock, 4, face())
    store.stop_session()
    feed(store, clock, 4, face())
    finish(store)
    assert told(path) == [("A", 1.0, None)]
    assert caplog.messages == ["store: event 2 ('B') came when no session went on, and is not recorded"]


def test_a_session_that_is_stopped_before_the_first_frame_ends_where_it_begins(clock, tmp_path):
    path = tmp_path / "shop.db"
    store = output(path, clock, event(1, 5.0))
    store.stop_session()
    store.start_session("another")
    clock.now += 4
    feed(store, clock, 10, face())
    finish(store)
    first, other = rows(path, "sessions")
    began, ended = BEGAN + timedelta(seconds=4), BEGAN + timedelta(seconds=14)
    assert (first["name"], first["began"], first["ended"]) == ("trailers", began, began)
    assert (other["name"], other["began"], other["ended"]) == ("another", BEGAN, ended)
    # Five seconds after the first frame.
    assert told(path) == [("A", 9.0, None)]


def test_offsets_in_a_film_are_positions_in_it(clock, tmp_path):
    path = tmp_path / "film.db"
    store = output(path, clock, event(1, 2.2), event(2, 4.0, 5.0), live=False)
    clock.now = 1001.0
    feed(store, clock, 6, face())
    finish(store)
    assert [(row["name"], row["monotonic"]) for row in rows(path, "events")] == [("A", 2.2), ("B", 4.0)]


def test_odd_events_are_told_at_the_beginning(clock, tmp_path, caplog):
    store = output(tmp_path / "shop.db", clock, event(1, 1.0, 4.0), event(2, 3.0))
    with caplog.at_level(logging.WARNING, "fer_edge"):
        feed(store, clock, 0.5, face())
    assert caplog.messages == ["store: event 1 ('A') and event 2 ('B') overlap by 1.0 s"]
    store.close()
