"""The course of the learning rate and of the strength of augmentation."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train.options import FINE_TUNING, TrainOptions, make_options
from fer_edge.train.schedule import augmentation_strength, learning_rate


def test_learning_rate_ramps_then_falls_to_zero():
    options = TrainOptions(epochs=10, warmup=2, learning_rate=0.4)
    assert learning_rate(options, 1) == pytest.approx(0.2)
    assert learning_rate(options, 2) == pytest.approx(0.4)
    assert learning_rate(options, 6) == pytest.approx(0.2)
    assert learning_rate(options, 10) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("fine_tuning", "epochs", "warmup"),
    [(False, 1, 0.2), (False, 3, 0.6), (False, 14, 2.8), (False, 15, 3), (True, 3, 0.6), (True, 5, 1)],
)
def test_a_warm_up_that_is_not_given_leaves_most_of_a_short_run_for_the_rate_to_fall(
    fine_tuning, epochs, warmup
):
    options = make_options({"epochs": epochs}, fine_tuning=fine_tuning)
    assert options.warmup == pytest.approx(warmup)
    rates = [learning_rate(options, step * epochs / 100) for step in range(101)]
    assert rates[20] >= 0.9 * options.learning_rate
    assert rates[100] == pytest.approx(0)


def test_runs_of_usual_length_keep_their_warm_up():
    assert make_options({}) == TrainOptions()
    assert make_options({}, fine_tuning=True) == FINE_TUNING
    assert make_options({"minutes": 1.0}).warmup == 3
    assert make_options({"epochs": 3, "warmup": 2.5}).warmup == 2.5


def test_augmentation_decays_at_the_end():
    options = TrainOptions(epochs=101, augmentation_decay_start=0.5, augmentation_floor=0.2)
    assert augmentation_strength(options, 50) == 1
    assert augmentation_strength(options, 100) == pytest.approx(0.2)
    assert 0.2 < augmentation_strength(options, 75) < 1
