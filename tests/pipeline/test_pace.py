"""Which frames are looked at and when, by a clock and a processor that the tests turn themselves."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest

from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.pace import IDLE_AFTER, LONGEST_REST, Pace

PERIOD = 1 / 30


class World:
    """A camera that gives 30 frames a second, and a run that takes ``cost`` CPU seconds for each it looks at.

    ``reading``: CPU seconds for each frame the camera gives. ``face(time)``: whether the frame of that time
    shows one. What was looked at is in ``looked``, by the time when the camera gave it.
    """

    def __init__(self, cost=0.0, reading=0.0, face=lambda time: True, **options):
        self.now = self.used = 0.0
        self.cost, self.reading, self.face = cost, reading, face
        self.pace = Pace(period=PERIOD, clock=lambda: self.now, cpu=lambda: self.used, **options)
        self.looked, self.dropped, self.given = [], 0, 0
        self.waiting = None
        self.busy_until = math.inf

    def run(self, seconds):
        for _ in range(round(seconds / PERIOD)):
            time = self.given * PERIOD
            while self.busy_until <= time:
                self._finish()
            self.given += 1
            self.now = time
            self.used += self.reading
            if not self.pace.wants(time):
                continue
            if math.isinf(self.busy_until):
                self._start(time)
            else:
                self.dropped += self.waiting is not None
                self.waiting = time
        return self

    def _start(self, time):
        self.looked.append(time)
        self.pace.begin()
        self.pace.saw(int(self.face(time)))
        self.busy_until = self.now + self.cost

    def _finish(self):
        self.now = self.busy_until
        self.used += self.cost
        self.busy_until = math.inf
        self.pace.end()
        time, self.waiting = self.waiting, None
        if time is None:
            return
        # As a slot of the newest frame does: what came before a rest is not the newest afterwards.
        if time < self.pace.due:
            self.pace.pass_over()
        else:
            self._start(time)

    def rate(self, start, end):
        return sum(start <= time < end for time in self.looked) / (end - start)


def chosen(pace, times):
    return [index for index, time in enumerate(times) if pace.chooses(time)]


def test_every_nth_frame_is_looked_at_from_the_first_on():
    pace = Pace(every=3)
    assert chosen(pace, [k / 30 for k in range(11)]) == [0, 3, 6, 9]
    assert pace.passed == 7


@pytest.mark.parametrize("options", [{"every": 3}, {"fps": 2.0}, {"fps": 7.0}, {}])
def test_which_frames_will_be_chosen_is_foreseen_and_changes_nothing(options):
    times = [index / 25 + 0.003 * (index % 3) for index in range(100)]
    pace, other = Pace(**options), Pace(**options)
    for begin in (0, 30, 31, 70):
        foreseen = pace.foresees(times[begin:])
        assert foreseen.dtype == np.bool_
        again = pace.foresees(times[begin:])
        end = {0: 30, 30: 31, 31: 70, 70: 100}[begin]
        chosen = [pace.chooses(time) for time in times[begin:end]]
        assert foreseen[: end - begin].tolist() == chosen == [other.chooses(t) for t in times[begin:end]]
        assert foreseen.tolist() == again.tolist()
    assert pace.passed == other.passed


def test_without_options_every_frame_is_looked_at():
    pace = Pace()
    assert chosen(pace, [0.0] * 5) == [0, 1, 2, 3, 4]
    assert pace.passed == 0


@pytest.mark.parametrize(
    ("given", "wanted", "indices"),
    [
        (30, 10, [0, 3, 6, 9]),
        (30, 20, [0, 2, 3, 5, 6, 8, 9, 11]),
        (30, 60, list(range(12))),
        (30, 30, list(range(12))),
        (4, 0.5, [0, 8]),
    ],
)
def test_fps_chooses_frames_by_the_time_of_the_source(given, wanted, indices):
    assert chosen(Pace(fps=wanted), [5 + k / given for k in range(12)]) == indices


@pytest.mark.parametrize(("fps", "times"), [(3, [0.0, math.nan]), (1e308, [0.0, 2.0])])
def test_frames_that_cannot_be_counted_by_time_are_all_looked_at(fps, times):
    assert chosen(Pace(fps=fps), times) == [0, 1]


def test_fps_of_the_film_itself_takes_every_frame_though_its_times_are_whole_milliseconds():
    assert len(chosen(Pace(fps=30), [round(k / 30, 3) for k in range(3000)])) == 3000


def test_fps_is_kept_where_times_tremble_or_go_back():
    rng = np.random.default_rng(1)
    times = [k / 30 + rng.uniform(-0.012, 0.012) for k in range(3000)]
    assert len(chosen(Pace(fps=10), times)) == pytest.approx(1000, abs=5)
    # A clock that begins anew must not make the run blind until it has caught up.
    assert chosen(Pace(fps=10), [100.0, 100.1, 0.0, 0.1]) == [0, 1, 2, 3]


@pytest.mark.parametrize("max_fps", [1, 7, 10, 20, 29])
@pytest.mark.parametrize("cost", [0.0, 0.02])
def test_max_fps_holds_the_rate_and_nothing_is_dropped(max_fps, cost):
    world = World(cost, max_fps=max_fps).run(20)
    assert world.rate(0, 20) == pytest.approx(max_fps, rel=0.04)
    assert max(world.rate(k / 10, k / 10 + 1) for k in range(190)) <= max_fps + 1
    assert world.dropped == 0
    assert len(world.looked) + world.pace.passed == world.given


def test_frames_that_come_while_one_is_processed_are_dropped_not_passed_over():
    world = World(0.1).run(5)
    assert world.pace.passed == 0
    assert world.dropped > 50


@pytest.mark.parametrize(("budget", "cost"), [(5, 0.02), (25, 0.02), (25, 0.12), (50, 0.02), (80, 0.09)])
def test_budget_is_held_within_a_few_percent_over_some_seconds(budget, cost):
    world = World(cost, budget=budget).run(3)
    for _ in range(5):
        before = world.used
        world.run(6)
        assert 100 * (world.used - before) / 6 == pytest.approx(budget, rel=0.08)


def test_budget_is_held_when_frames_begin_to_cost_more():
    world = World(0.01, budget=20).run(10)
    world.cost = 0.07
    world.run(2)
    before = world.used
    world.run(10)
    assert 100 * (world.used - before) / 10 == pytest.approx(20, rel=0.06)


def test_budget_counts_what_other_threads_use():
    world = World(0.02, reading=0.004, budget=20).run(3)
    before = world.used
    world.run(10)
    # Reading alone takes 12 % of a core.
    assert 100 * (world.used - before) / 10 == pytest.approx(20, rel=0.06)


def test_a_slot_that_begins_in_a_rest_is_looked_at_after_it():
    """Slots begin every 0.33 s, rests last 0.5 s: with whole slots passed over it would be every 0.67 s."""
    world = World(0.01, fps=3, max_fps=2).run(60)
    assert world.rate(10, 60) == pytest.approx(2, rel=0.05)
    assert len(world.looked) + world.pace.passed == world.given


def test_a_budget_that_is_enough_passes_no_frame_over():
    world = World(0.005, budget=20).run(30)
    assert len(world.looked) == world.given
    assert world.pace.passed == 0


def test_a_run_with_a_budget_far_too_small_is_never_blind_for_long(caplog):
    world = World(0.05, reading=0.01, budget=1).run(60)
    assert max(np.diff(world.looked)) <= LONGEST_REST + world.cost + PERIOD
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "a budget of 1 % of a core is too small" in caplog.text


def test_the_least_budget_there_is_means_the_longest_rests():
    world = World(0.05, budget=5e-324).run(20)
    assert len(world.looked) == pytest.approx(20 / (LONGEST_REST + 0.05), abs=1)


def test_a_start_that_took_long_is_forgiven():
    world = World(30.0, budget=20).run(31)
    world.cost = 0.02
    world.run(15)
    assert world.rate(42, 46) > 5


def test_frames_are_looked_at_seldom_once_there_was_no_face_for_a_minute():
    world = World(0.01, face=lambda time: time < 5, idle_fps=2).run(120)
    assert world.rate(0, 60) == pytest.approx(30)
    assert world.rate(70, 120) == pytest.approx(2, rel=0.1)
    assert world.dropped == 0
    assert len(world.looked) + world.pace.passed == world.given


@pytest.mark.parametrize("begins", [IDLE_AFTER + 10 + k * 0.07 for k in range(10)])
@pytest.mark.parametrize("idle_fps", [1, 2, 5])
def test_a_face_ends_the_rest_in_time(begins, idle_fps):
    world = World(0.01, face=lambda time: time >= begins, idle_fps=idle_fps).run(begins + 3)
    found = next(time for time in world.looked if time >= begins)
    assert found - begins <= 1 / idle_fps + 1e-9
    # From the next frame on, all of them: three detections make a person within 0.1 s.
    assert world.rate(found, found + 2) == pytest.approx(30, rel=0.02)


def test_a_face_now_and_then_keeps_the_full_rate():
    world = World(face=lambda time: time % 50 < 0.03, idle_fps=2).run(200)
    assert len(world.looked) == world.given


def test_idle_fps_0_never_rests():
    world = World(face=lambda time: False, idle_fps=0).run(100)
    assert len(world.looked) == world.given
    assert not world.pace.idle


def test_idle_fps_does_not_raise_a_lower_limit():
    world = World(face=lambda time: False, idle_fps=2, max_fps=1).run(100)
    assert world.rate(70, 100) == pytest.approx(1, rel=0.05)


def test_an_idle_run_searches_every_frame_whole():
    pace = World(0.01, face=lambda time: False, idle_fps=10).run(70).pace
    assert pace.idle
    assert all(pace.is_sparse(time) for time in (70.0, 70.1, 70.2))


def test_frames_far_apart_are_searched_whole():
    pace = Pace()
    assert [pace.is_sparse(time) for time in (0.0, 0.1, 0.6, 0.7)] == [False, False, True, False]


def told(caplog):
    return [record.getMessage() for record in caplog.records]


def test_the_rate_is_told_once_it_has_settled_and_when_it_changes_much(caplog):
    caplog.set_level(logging.INFO, "fer_edge")
    world = World(0.02, budget=25).run(60)
    (message,) = told(caplog)
    assert message.startswith("keeping 12.5 frames a second with 25")
    world.cost = 0.0225
    world.run(40)
    assert len(told(caplog)) == 1
    world.cost = 0.05
    world.run(40)
    assert told(caplog)[1:] == [told(caplog)[-1]]
    assert told(caplog)[-1].startswith(("keeping 5 frames", "keeping 4.9", "keeping 5.0"))


def test_the_rate_while_nobody_is_there_is_not_told(caplog):
    caplog.set_level(logging.INFO, "fer_edge")
    World(0.02, face=lambda time: time < 20 or 150 < time < 200, idle_fps=2, max_fps=10).run(220)
    assert told(caplog) == ["keeping 10 frames a second"]


def test_without_a_limit_no_rate_is_reported(caplog):
    caplog.set_level(logging.INFO, "fer_edge")
    World(0.02).run(60)
    assert told(caplog) == []


@pytest.mark.parametrize(
    ("options", "live", "pause", "rate", "expected"),
    [
        ({}, True, 0.0, None, 0.5),
        ({"idle_fps": 0}, True, 0.0, 25.0, 0.04),
        ({}, False, 0.0, 25.0, 0.04),
        ({"every": 50}, False, 0.0, 25.0, 2.0),
        ({"every": 3}, True, 10.0, None, 30.0),
        ({"fps": 0.25}, False, 0.0, 25.0, 4.0),
        ({"max_fps": 0.1}, True, 0.0, None, 10.0),
        ({"budget": 20}, True, 0.0, None, LONGEST_REST),
    ],
)
def test_the_longest_pause_that_is_meant(options, live, pause, rate, expected):
    source = SimpleNamespace(live=live, pause=pause, fps=rate)
    assert WatchOptions(**options).longest_pause(source) == pytest.approx(expected)
