"""The course of the learning rate and of the strength of augmentation."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train.options import TrainOptions
from fer_edge.train.schedule import augmentation_strength, learning_rate


def test_learning_rate_ramps_then_falls_to_zero():
    options = TrainOptions(epochs=10, warmup=2, learning_rate=0.4)
    assert learning_rate(options, 1) == pytest.approx(0.2)
    assert learning_rate(options, 2) == pytest.approx(0.4)
    assert learning_rate(options, 6) == pytest.approx(0.2)
    assert learning_rate(options, 10) == pytest.approx(0.0)


def test_augmentation_decays_at_the_end():
    options = TrainOptions(epochs=101, augmentation_decay_start=0.5, augmentation_floor=0.2)
    assert augmentation_strength(options, 50) == 1
    assert augmentation_strength(options, 100) == pytest.approx(0.2)
    assert 0.2 < augmentation_strength(options, 75) < 1
