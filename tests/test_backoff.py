"""Pauses between attempts."""

from __future__ import annotations

import pytest

from fer_edge.backoff import Backoff, varied


def test_the_last_pause_repeats_until_it_is_reset():
    backoff = Backoff((1.0, 2.0, 7.0), jitter=0.0)
    assert [backoff.pause() for _ in range(5)] == [1.0, 2.0, 7.0, 7.0, 7.0]
    backoff.reset()
    assert backoff.pause() == 1.0


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 48.0), (0.5, 60.0), (0.75, 66.0)])
def test_a_pause_differs_by_up_to_a_fifth(chance, seconds):
    assert varied(60.0, lambda: chance) == pytest.approx(seconds)
