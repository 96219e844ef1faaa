"""The last line of a run."""

from __future__ import annotations

import math
import re
import time

import pytest

from fer_edge.pipeline.summary import LATENCIES_KEPT, Tally, summed


def test_summary_in_words():
    tally = Tally()
    assert str(tally.summary(0, 0, 0)).startswith("0 frames in 0.0 s, dropped 0, faces 0")
    tally.count(1, 5.0)
    assert str(tally.summary(1, 0, 0)) == (
        "1 frame in 0.0 s, latency p50 5.0 ms, p95 5.0 ms, dropped 0, faces 1 (1 track)"
    )
    tally.count(2, 5.0)
    words = str(tally.summary(2, 3, 1))
    assert re.match(r"2 frames in \d\.\d s, ", words)
    assert words.endswith("dropped 0, skipped 3 unreadable, missing 1 damaged, faces 3 (2 tracks)")
    assert str(tally.summary(2, 0, 0, 0, 1, 42.12)).endswith(
        ", without the camera 42.1 s, faces 3 (2 tracks)"
    )


def test_frames_passed_over_are_told_and_count_as_there():
    tally = Tally()
    for _ in range(10):
        tally.count(0, 1.0)
    summary = tally.summary(0, 0, 10, passed=90)
    assert "dropped 0, passed 90, missing 10 damaged" in str(summary)
    assert not summary.damaged
    assert tally.summary(0, 0, 10, passed=70).damaged
    assert "passed" not in str(tally.summary(0, 0, 0))


def test_cpu_time_is_told_in_percent_of_a_core(monkeypatch):
    monkeypatch.setattr(time, "monotonic", iter([10.0, 12.0, 14.0]).__next__)
    monkeypatch.setattr(time, "process_time", iter([3.0, 3.4, 4.0]).__next__)
    tally = Tally()
    tally.count(0, 5.0)
    assert math.isnan(tally.summary(0, 0, 0).cpu_percent)
    tally.count(0, 5.0)
    tally.count(0, 5.0)
    assert tally.summary(0, 0, 0).cpu_percent == pytest.approx(25)
    assert ", 25 % of a core, " in str(tally.summary(0, 0, 0))


def test_a_tenth_of_a_film_may_be_missing():
    tally = Tally()
    for _ in range(90):
        tally.count(0, 1.0)
    assert not tally.summary(0, 0, 10).damaged
    assert tally.summary(0, 0, 11).damaged


def test_percentiles_of_several_cameras_are_over_the_frames_of_all():
    tallies = [Tally(), Tally(), Tally()]
    for tally, latency in zip(tallies, (30.0, 10.0, 20.0), strict=True):
        for _ in range(LATENCIES_KEPT):
            tally.count(0, latency)
    whole = summed([tally.summary(0, 0, 0) for tally in tallies], tallies)
    assert (whole.p50_ms, whole.p95_ms) == (20.0, 30.0)
