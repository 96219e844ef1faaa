"""Figures that a run logs every few seconds."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace

import pytest
from results import face, result

from fer_edge import machine
from fer_edge.machine import Condition
from fer_edge.outputs.stats import StatsOutput
from fer_edge.pipeline import heat
from fer_edge.pipeline.summary import Summary


def summary(dropped=0, passed=0):
    return Summary(0, dropped, 0, 0, 0, 0, 0.0, math.nan, math.nan, passed)


@pytest.fixture
def board():
    return {"now": 100.0, "done": summary(), "state": Condition(None, 0.0, None)}


@pytest.fixture
def stats(board, caplog):
    caplog.set_level(logging.INFO, "fer_edge")
    return StatsOutput(lambda: board["done"], lambda: board["state"], lambda: board["now"])


def told(caplog):
    return [record.getMessage() for record in caplog.records]


def test_figures_are_of_the_time_since_the_last_ones(stats, board, caplog):
    for latency in [10.0] * 19 + [50.0]:
        stats.write(replace(result(face(), face()), latency_ms=latency))
    board.update(now=110.0, done=summary(dropped=7, passed=3))
    stats.log()
    board.update(now=120.0, done=summary(dropped=8, passed=3))
    stats.write(result())
    stats.log()
    first, second = told(caplog)
    # The 95th percentile lies 0.05 of the way from the 19th of 20 values to the last.
    assert re.sub(r"\d+ MB", "N MB", first) == (
        "stats: 20 frames in 10.0 s, 2.0 fps, latency p50 10.0 ms, p95 12.0 ms, dropped 7, passed 3, faces 40"
        ", N MB"
    )
    assert second.startswith("stats: 1 frame in 10.0 s, 0.1 fps, latency p50 12.3 ms, p95 12.3 ms, ")
    assert ", dropped 1, passed 0, faces 0, " in second


def test_a_time_without_frames_is_told_as_well(stats, board, caplog):
    board["now"] = 110.0
    stats.log()
    assert told(caplog)[0].startswith("stats: 0 frames in 10.0 s, dropped 0, passed 0, faces 0")


def test_heat_and_throttling_are_told_where_the_board_says_so(stats, board, caplog):
    board["state"] = Condition(81.4, 0.0, ("under-voltage now", "throttled now"))
    stats.log()
    assert told(caplog)[0].endswith(" MB, 81 °C, under-voltage now, throttled now")


def test_a_run_logs_them_and_nothing_without_the_option(cli, astronaut):
    code, _, err = cli("run", "--camera", "demo", "--seconds", "2.5", "--stats", "1")
    assert code == 0
    lines = [line for line in err.splitlines() if "stats: " in line]
    assert lines
    assert re.match(r"\S+ info: stats: \d+ frames? in \d+\.\d s, ", lines[0])
    code, _, err = cli("run", "--camera", "demo", "--frames", "2")
    assert (code, err) == (0, "")


def test_a_level_leaves_them_out(cli, astronaut):
    code, _, err = cli(
        "run", "--camera", "demo", "--seconds", "1.5", "--stats", "1", "--log-level", "warning"
    )
    assert code == 0
    assert "stats" not in err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--stats", "0", "stats must be 1 second or more, got 0"),
        ("--stats", "nan", "stats must be 1 second or more"),
        ("--stats", "1e12", "stats must be at most 31536000 seconds, a year, got 1e+12"),
        ("--max-heat", "8", "max_heat must be from 30 to 120 degrees, or 0, got 8"),
        ("--log-level", "loud", "invalid choice"),
    ],
)
def test_a_value_out_of_range_is_bad_usage(cli, option, value, words):
    code, _, err = cli("run", "--camera", "demo", option, value)
    assert code == 2
    assert words in err


@pytest.mark.heavy
def test_a_hot_board_slows_a_run_down(cli, astronaut, tmp_path, monkeypatch):
    zone = tmp_path / "thermal_zone0"
    zone.mkdir()
    (zone / "temp").write_text("85000\n")
    monkeypatch.setattr(machine, "_THERMAL", tmp_path)
    monkeypatch.setattr(heat, "CHECK_SECONDS", 0.5)
    code, out, err = cli("run", "--camera", "demo", "--seconds", "5", "--max-heat", "80")
    assert code == 0
    assert err.count("warning: the processor has 85 °C: looking at ") == 1
    passed = re.search(r", passed (\d+),", out)
    assert passed is not None
    assert int(passed[1]) > 0
    code, out, err = cli("run", "--camera", "demo", "--seconds", "2", "--max-heat", "0")
    assert (code, err, "passed" in out) == (0, "", False)
