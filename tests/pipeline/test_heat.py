"""A lower rate while the board is hot or short of power, on boards whose files are written here."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from fer_edge import machine
from fer_edge.pipeline import heat
from fer_edge.pipeline.heat import CALM_SECONDS, CHECK_SECONDS, PATIENCE, Guard
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.pace import Pace
from fer_edge.pipeline.watch import Watch
from fer_edge.sources.base import Frame, Source


class Board:
    """A Raspberry Pi below a folder, a clock, and a run of so many frames a second as it is limited to."""

    def __init__(self, folder, hottest=80.0, rate=30.0, cameras=1):
        self.temperature = folder / "thermal" / "thermal_zone0" / "temp"
        self.throttled = folder / "platform" / "soc" / "soc:firmware" / "get_throttled"
        for file in (self.temperature, self.throttled):
            file.parent.mkdir(parents=True)
        self.now, self.frames, self.rate, self.limits = 1000.0, 0.0, rate, []
        self.at(50)
        self.guard = Guard(
            lambda: int(self.frames), self.limits.append, hottest, clock=lambda: self.now, cameras=cameras
        )

    def at(self, degrees, word="0"):
        self.temperature.write_text(f"{degrees * 1000:.0f}\n")
        self.throttled.write_text(f"{word}\n")

    @property
    def limit(self):
        return self.limits[-1] if self.limits else None

    def passes(self, seconds):
        for _ in range(int(seconds / CHECK_SECONDS)):
            self.now += CHECK_SECONDS
            self.frames += CHECK_SECONDS * min(self.rate, self.limit or self.rate)
            self.guard.check()


@pytest.fixture
def pi(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(machine, "_THERMAL", tmp_path / "thermal")
    monkeypatch.setattr(machine, "_PLATFORM", tmp_path / "platform")
    monkeypatch.setattr(machine, "_HWMON", tmp_path / "hwmon")
    monkeypatch.setenv("PATH", str(tmp_path))
    caplog.set_level(logging.INFO, "fer_edge")
    return lambda **options: Board(tmp_path, **options)


def test_heat_halves_the_rate_and_is_warned_of_once(pi, caplog):
    board = pi()
    board.passes(60)
    assert board.limits == []
    board.at(80)
    board.passes(60)
    assert board.limits == [15]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "the processor has 80 °C: looking at 15 frames a second instead of 30 until it has been below 75 °C "
        "for a while; a heat sink or fan helps"
    )


def test_the_rate_is_lowered_on_where_that_does_not_help_but_never_below_one(pi, caplog):
    board = pi()
    board.passes(10)
    board.at(84)
    board.passes(8 * PATIENCE)
    assert board.limits == [15, 7.5, 3.75, 1.875, 1.0]
    assert [record.levelname for record in caplog.records] == ["WARNING", *4 * ["INFO"]]


def test_the_rate_of_each_of_several_cameras_is_never_lowered_below_one(pi):
    board = pi(cameras=4)
    board.passes(10)
    board.at(84)
    board.passes(8 * PATIENCE)
    assert board.limits == [15, 7.5, 4.0]


def test_the_rate_comes_back_by_steps_once_the_board_has_cooled(pi, caplog):
    board = pi()
    board.passes(10)
    board.at(84)
    board.passes(PATIENCE + 2 * CHECK_SECONDS)
    assert board.limits == [15, 7.5]
    board.at(74)
    board.passes(CALM_SECONDS - CHECK_SECONDS)
    assert board.limits == [15, 7.5]
    board.passes(2 * CHECK_SECONDS)
    assert board.limits == [15, 7.5, 15]
    board.passes(CALM_SECONDS + CHECK_SECONDS)
    assert board.limits == [15, 7.5, 15, None]
    assert [record.getMessage() for record in caplog.records][-2:] == [
        "the board is better at 74 °C: looking at 15 frames a second",
        "the board is well again at 74 °C: looking at as many frames as before",
    ]


def test_between_hot_and_cool_nothing_changes(pi):
    board = pi()
    board.passes(10)
    board.at(81)
    board.passes(10)
    board.at(76)
    board.passes(10 * CALM_SECONDS)
    assert board.limits == [15]


def test_a_board_that_gets_hot_again_is_no_second_warning(pi, caplog):
    board = pi()
    board.passes(10)
    for _ in range(3):
        board.at(81)
        board.passes(10)
        board.at(60)
        board.passes(CALM_SECONDS + 2 * CHECK_SECONDS)
    assert board.limits == [15, None] * 3
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_under_voltage_lowers_the_rate_and_what_was_before_does_not(pi, caplog):
    board = pi()
    board.at(50, "50000")
    board.passes(60)
    assert board.limits == []
    board.at(50, "50005")
    board.passes(10)
    assert board.limits == [15]
    assert caplog.text.count("under-voltage: looking at 15 frames a second instead of 30") == 1
    board.at(50, "50000")
    board.passes(CALM_SECONDS + 2 * CHECK_SECONDS)
    assert board.limits == [15, None]


def test_a_run_that_waits_for_its_camera_is_warned_and_not_limited(pi, caplog):
    board = pi(rate=0.0)
    board.passes(10)
    board.at(90)
    board.passes(10 * PATIENCE)
    assert board.limits == []
    assert [record.getMessage() for record in caplog.records] == [
        "the processor has 90 °C; a heat sink or fan helps"
    ]


def test_no_limit_means_that_the_board_is_left_alone(pi):
    board = pi(hottest=0.0)
    board.at(99, "1")
    board.passes(600)
    assert board.limits == []


@pytest.mark.parametrize(
    ("model", "limit"), [("Raspberry Pi 5 Model B Rev 1.0\0", 80), ("Some Board", 0), (None, 0)]
)
def test_80_degrees_are_the_limit_of_a_raspberry_pi_only(tmp_path, monkeypatch, model, limit):
    monkeypatch.setattr(machine, "_DEVICE_TREE", tmp_path / "model")
    if model:
        (tmp_path / "model").write_text(model)
    assert heat.usual_limit() == limit


@pytest.mark.parametrize(("max_fps", "limit", "period"), [(None, 5, 0.2), (2.0, 5, 0.5), (20.0, None, 0.05)])
def test_a_limit_comes_on_top_of_the_options(max_fps, limit, period):
    now = 0.0
    pace = Pace(max_fps=max_fps, clock=lambda: now)
    pace.limit(1.0)
    pace.limit(limit)
    for _ in range(20):
        now = max(now, pace.due)
        pace.begin()
        pace.end()
    assert pace.due - now == pytest.approx(period, abs=0.01)


class Still(Source):
    """Frames of a live camera, 100 a second by the clock that the test winds."""

    live, choosy, name, fps = True, True, "still", 100.0

    def __init__(self):
        self.over = threading.Event()

    def __iter__(self):
        index = 0
        while not self.over.wait(0.002):
            index += 1
            if self.wants(index / 100):
                yield Frame(np.zeros((48, 64, 3), np.uint8), index / 100, self.name)


def test_a_watch_that_is_limited_passes_frames_over():
    source = Still()
    with Watch(source, WatchOptions(seconds=30)) as results:
        next(results)
        results.limit(2.0)
        next(results)
        passed = results.summary.passed
        next(results)
        source.over.set()
    # Half a second lies between two, in which dozens come.
    assert results.summary.passed - passed >= 3
