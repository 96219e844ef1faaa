"""Accuracy, macro-F1, recall and calibration, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.checks.accuracy import calibration_error, measure


def one_hot(codes, confidence=1.0):
    rows = np.full((len(codes), 7), (1 - confidence) / 6, np.float32)
    rows[np.arange(len(codes)), codes] = confidence
    return rows


def test_figures_of_a_worked_example():
    """Labels 3 3 3 0; predictions 3 3 0 0: accuracy 3/4, F1 of happy 4/5, of angry 2/3."""
    metrics = measure(one_hot([3, 3, 0, 0]), np.array([3, 3, 3, 0]))
    assert metrics.rows == 4
    assert metrics.accuracy == 0.75
    assert metrics.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert metrics.recall["happy"] == pytest.approx(2 / 3)
    assert metrics.recall["angry"] == 1
    assert metrics.recall["sad"] is None
    assert metrics.mean_recall == pytest.approx((2 / 3 + 1) / 2)
    assert metrics.confusion[3][0] == 1
    assert np.sum(metrics.confusion) == 4
    assert metrics.ece == pytest.approx(0.25)


def test_calibration_error_of_two_bins():
    """Four answers at 0.9, three right; two at 0.5, one right: (4 * 0.15 + 2 * 0) / 6."""
    probabilities = np.concatenate([one_hot([0, 0, 0, 0], 0.9), one_hot([1, 1], 0.5)])
    labels = np.array([0, 0, 0, 2, 1, 2])
    assert calibration_error(probabilities, labels) == pytest.approx(0.1, abs=1e-6)
