"""A run's budget of time: the course of its rates, and its end."""

from __future__ import annotations

import time

import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from fer_edge.train import epoch, loop
from fer_edge.train.budget import Budget
from fer_edge.train.loop import fit
from fer_edge.train.options import TrainOptions


class _Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return _Clock(monkeypatch)


def test_what_is_prepared_takes_time_but_nothing_of_the_course_of_rates(clock):
    # A report is thought to take 2 s, times 1.3: 97.4 s for steps.
    budget = Budget(100.0)
    clock.now += 47.4
    assert not budget.over()
    budget.begin_steps()
    assert budget.fraction() == 0
    clock.now += 25
    assert budget.fraction() == pytest.approx(0.5)
    clock.now += 24.9
    assert not budget.over()
    clock.now += 0.2
    assert budget.over()
    assert budget.fraction() == 1


def test_a_resumed_run_goes_on_where_the_course_had_come_to(clock):
    budget = Budget(100.0, spent=48.7)
    clock.now += 28.7
    budget.begin_steps()
    assert budget.fraction() == pytest.approx(0.5)
    clock.now += 10
    assert budget.fraction() == pytest.approx(0.75)
    clock.now += 10.1
    assert budget.over()


def test_rates_begin_with_the_warm_up_though_a_bank_took_most_of_the_time(
    drawn, clock, monkeypatch, tmp_path
):
    """Of eight seconds the bank takes six, each step a tenth of one."""
    places = []
    on_device, learning_rate = loop.on_device, epoch.learning_rate

    def slow(*arguments):
        clock.now += 6
        return on_device(*arguments)

    def noted(options, now):
        clock.now += 0.1
        places.append(now / options.epochs)
        return learning_rate(options, now)

    monkeypatch.setattr(loop, "on_device", slow)
    monkeypatch.setattr(epoch, "learning_rate", noted)
    options = TrainOptions(model="tiny", batch=35, ema=0.9, seed=3, minutes=8 / 60)
    history = fit(drawn, options, tmp_path)
    assert places[0] == 0
    assert 17 <= len(places) <= 20
    assert places[-1] > 0.9
    assert sum(row["seconds"] for row in history) <= 8
