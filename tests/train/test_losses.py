"""Targets and losses: smoothed labels, mixup, teachers, FER+ votes; averaged weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train.averaging import moving_average
from fer_edge.train.ferplus_votes import label_logits
from fer_edge.train.losses import label_targets, soft_cross_entropy, teacher_targets
from fer_edge.train.mixup import mix
from fer_edge.train.options import TrainOptions


def test_smoothed_targets_give_the_loss_of_the_library():
    logits, labels = torch.randn(9, 7), torch.arange(9) % 7
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(soft_cross_entropy(logits, label_targets(labels, 0.1)), expected)


def test_mixing_blends_images_targets_and_votes_alike():
    inputs = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 48, 48)
    votes = torch.eye(8)
    targets = {"labels": votes[:, :7], "votes": votes}
    mixed, blended = mix(inputs, targets, 0.5, torch.Generator().manual_seed(4))
    soft, ballots = blended["labels"], blended["votes"]
    torch.testing.assert_close(mixed[:, 0, 0, 0], ballots @ torch.arange(8.0))
    torch.testing.assert_close(soft, ballots[:, :7])
    torch.testing.assert_close(ballots.sum(1), torch.ones(8))
    assert not torch.equal(ballots, votes)


def test_targets_are_the_geometric_mean_of_teachers_and_votes():
    answers, votes = torch.randn(5, 7).double(), torch.randn(5, 7).double()
    options = TrainOptions(vote_share=0.25, distill_temperature=2.0)
    expected = answers.softmax(1) ** (0.75 / 2) * votes.softmax(1) ** (0.25 / 2)
    targets = teacher_targets(answers, votes, options)
    torch.testing.assert_close(targets, expected / expected.sum(1, keepdim=True))


def test_votes_tell_how_often_each_label_goes_with_them():
    """Of those who were voted for by column 4, 3 in 4 are labelled 2, the others 5; two have no votes."""
    labels = np.array([2, 2, 2, 5] * 500 + [0, 0], np.int64)
    votes = np.zeros((len(labels), 9), np.float32)
    votes[:-2, 4] = 10
    likely = np.exp(label_logits(votes, labels))
    np.testing.assert_allclose(likely.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(likely[0, [2, 5]], [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(
        likely[-1], [3 / 2009, *[1 / 2009] * 1, 1501 / 2009, *[1 / 2009] * 2, 501 / 2009, 1 / 2009], rtol=1e-4
    )


def test_averaging_follows_fast_at_first_and_slowly_later():
    average = moving_average(0.99)
    for steps, decay in ((1, 2 / 11), (90, 91 / 100), (10_000, 0.99)):
        values = [torch.zeros(3)]
        average(values, [torch.ones(3)], torch.tensor(steps))
        torch.testing.assert_close(values[0], torch.full((3,), 1 - decay))
