"""A run's budget of time: the course of its rates, and its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from fer_edge.train import checkpoint, epoch, loop
from fer_edge.train.budget import Budget
from fer_edge.train.loop import fit
from fer_edge.train.options import TrainOptions

OPTIONS = TrainOptions(model="tiny", batch=35, warmup=0.5, ema=0.9, seed=3, learning_rate=0.1, minutes=4 / 60)


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


@pytest.fixture
def steady(clock):
    """Each step takes a hundredth of a second, each validation five hundredths."""
    clock.takes(epoch, "learning_rate", 0.01)
    clock.takes(loop, "validate", 0.05)


def test_a_budget_decides_the_length_and_the_schedule(drawn, clock, steady, tmp_path):
    """Of four seconds: rates fall to next to nothing, the last report ends in time."""
    history = fit(drawn, OPTIONS, tmp_path)
    assert 3.5 < clock.passed <= 4
    assert sum(row["seconds"] for row in history) == pytest.approx(clock.passed)
    assert 3 <= len(history) <= 21
    assert history[-1]["epoch"] > 3
    assert history[-1]["learning_rate"] < 0.01
    assert max(row["learning_rate"] for row in history) > 0.05
    assert checkpoint.load(tmp_path / "last.pt")["epoch"] == history[-1]["epoch"]
    assert fit(drawn, OPTIONS, tmp_path, resume=True) == history


@pytest.mark.parametrize(("after", "seconds"), [(0.0, 0.4), (3.0, 0.8)])
def test_a_run_that_has_ended_is_not_resumed(drawn, clock, steady, tmp_path, after, seconds):
    """However slowly its reports were saved: a resumed run does not know that, and would find time left."""

    def slow(history):
        if sum(row["seconds"] for row in history) > after:
            clock.now += seconds

    history = fit(drawn, OPTIONS, tmp_path, on_epoch=slow)
    assert clock.passed < 4 + seconds
    before = (tmp_path / "last.pt").read_bytes()
    assert fit(drawn, OPTIONS, tmp_path, resume=True) == history
    assert (tmp_path / "last.pt").read_bytes() == before


def test_a_budget_that_is_too_small_gives_one_report(drawn, tmp_path):
    history = fit(drawn, replace(OPTIONS, minutes=1e-6), tmp_path)
    assert [row["epoch"] for row in history] == [1]
    assert checkpoint.load(tmp_path / "last.pt")["epoch"] == 1


def test_a_run_that_was_killed_has_the_rest_of_its_time(drawn, clock, steady, tmp_path):
    def stop(history):
        if sum(row["seconds"] for row in history) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(drawn, OPTIONS, tmp_path, on_epoch=stop)
    before = checkpoint.load(tmp_path / "last.pt")["history"]
    begun = clock.now
    history = fit(drawn, OPTIONS, tmp_path, resume=True)
    assert 1.4 < clock.now - begun <= 4 - sum(row["seconds"] for row in before)
    assert history[: len(before)] == before
    assert history[-1]["epoch"] > before[-1]["epoch"]


def test_rates_begin_with_the_warm_up_though_a_bank_took_most_of_the_time(
    drawn, clock, monkeypatch, tmp_path
):
    """Of eight seconds the bank takes six, each step a tenth of one."""
    places = []
    learning_rate = epoch.learning_rate

    def noted(options, now):
        places.append(now / options.epochs)
        return learning_rate(options, now)

    monkeypatch.setattr(epoch, "learning_rate", noted)
    clock.takes(epoch, "learning_rate", 0.1)
    clock.takes(loop, "on_device", 6)
    options = TrainOptions(model="tiny", batch=35, ema=0.9, seed=3, minutes=8 / 60)
    history = fit(drawn, options, tmp_path)
    assert places[0] == 0
    assert 17 <= len(places) <= 20
    assert places[-1] > 0.9
    assert sum(row["seconds"] for row in history) <= 8
