"""Means of probabilities, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fer_edge.pipeline.smoothing import Smoother

HAPPY, SAD = [1.0, 0.0], [0.0, 1.0]


def update(smoother, keys, rows, timestamp):
    return smoother.update(np.array(keys), np.array(rows, np.float32), timestamp)


def test_smoothing_is_exponential_in_seconds():
    smoother = Smoother(0.5)
    assert update(smoother, [1], [HAPPY], 0.0).tolist() == [HAPPY]
    second = update(smoother, [1], [SAD], 0.25)
    assert second[0, 0] == pytest.approx(math.exp(-0.5))
    assert second.sum() == pytest.approx(1)


def test_smoothing_depends_on_time_not_on_frame_rate():
    means = []
    for steps in (1, 10):
        smoother = Smoother(0.5)
        update(smoother, [1], [HAPPY], 0.0)
        for step in range(steps):
            mean = update(smoother, [1], [SAD], (step + 1) / steps)
        means.append(mean[0, 0])
    assert means == pytest.approx([math.exp(-2)] * 2, rel=1e-5)


def test_smoothing_is_never_shared_between_faces():
    smoother = Smoother(10.0)
    for step in range(5):
        assert update(smoother, [1, 2], [HAPPY, SAD], 0.1 * step).tolist() == [HAPPY, SAD]
    # The same two in the other order, and a third who has just come.
    assert update(smoother, [3, 2, 1], [SAD, SAD, HAPPY], 0.5).tolist() == [SAD, SAD, HAPPY]


def test_without_smoothing_probabilities_pass_unchanged():
    smoother = Smoother(0.0)
    update(smoother, [1], [HAPPY], 0.0)
    assert update(smoother, [1], [[0.25, 0.75]], 0.1).tolist() == [[0.25, 0.75]]


def test_changing_the_result_does_not_change_the_mean():
    smoother = Smoother(1.0)
    update(smoother, [1], [HAPPY], 0.0)[:] = 99
    assert update(smoother, [1], [HAPPY], 0.1) == pytest.approx(np.array([HAPPY]))


def test_tracks_that_are_not_kept_are_forgotten():
    smoother = Smoother(10.0)
    update(smoother, [1, 2], [HAPPY, HAPPY], 0.0)
    smoother.keep(np.array([2]))
    assert update(smoother, [1, 2], [SAD, SAD], 0.001)[:, 1] == pytest.approx([1.0, 0.0], abs=1e-3)


@pytest.mark.parametrize("seconds", [-0.1, math.nan, math.inf])
def test_smoothing_must_be_a_time(seconds):
    with pytest.raises(ValueError, match="smoothing"):
        Smoother(seconds)


def test_a_clock_that_goes_back_keeps_the_mean():
    smoother = Smoother(0.4)
    update(smoother, [1], [HAPPY], 1e6)
    assert update(smoother, [1], [SAD], 0.0).tolist() == [HAPPY]
