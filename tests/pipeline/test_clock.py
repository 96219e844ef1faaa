"""Clocks that are set while a run goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import fer_edge
from fer_edge.pipeline import watch as module
from fer_edge.sources.base import Frame, Source


class Ticking(Source):
    """Ten frames, a tenth of a second apart by the clock that does not jump."""

    name = "ticking"
    related = True

    def __iter__(self):
        for index in range(10):
            yield Frame(np.full((64, 64), 90, np.uint8), index / 10, self.name, monotonic=100 + index / 10)

    def close(self):
        pass


def test_a_jump_of_the_clock_moves_the_time_of_day_alone(monkeypatch):
    """Five frames before it is set back by a day, five after."""
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)
    asked = iter([noon] * 5 + [noon - timedelta(days=1)] * 5)

    class Clock:
        @staticmethod
        def now(zone):
            assert zone is UTC
            return next(asked)

    monkeypatch.setattr(module, "datetime", Clock)
    monkeypatch.setattr(module.time, "monotonic", lambda: 101.0)
    with fer_edge.watch(Ticking()) as results:
        found = list(results)
    assert [result.timestamp for result in found] == pytest.approx([index / 10 for index in range(10)])
    assert [result.monotonic for result in found] == pytest.approx([100 + index / 10 for index in range(10)])
    moments = [noon - timedelta(days=index // 5) - timedelta(seconds=1 - index / 10) for index in range(10)]
    for result, moment in zip(found, moments, strict=True):
        assert abs(result.time - moment) < timedelta(milliseconds=1)
