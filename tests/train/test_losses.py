"""Targets and losses: smoothed labels, mixup, teachers, FER+ votes; averaged weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train.architectures import Architecture, Stage
from fer_edge.train.averaging import AveragedNet, ramped_decay
from fer_edge.train.losses import (
    distillation_loss,
    label_targets,
    rare_weights,
    soft_cross_entropy,
    vote_loss,
    vote_shares,
)
from fer_edge.train.mixup import mix
from fer_edge.train.model import EmotionNet


def test_smoothed_targets_give_the_loss_of_the_library():
    logits, labels = torch.randn(9, 7), torch.arange(9) % 7
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(soft_cross_entropy(logits, label_targets(labels, 0.1)), expected)


_VOTES = torch.tensor(
    [[0.0, 0, 0, 6, 0, 0, 3, 0, 1], [0, 1, 0, 0, 3, 0, 4, 2, 0], [1, 0, 0, 1, 0, 0, 8, 0, 0]]
)


def test_rare_emotions_weigh_by_a_power_of_their_frequency():
    """Shares among the seven: disgust 1 of 8 in one row, neutral 1/3, 1/2 and 4/5, surprise and fear none."""
    weights = rare_weights(_VOTES, 1)
    frequencies = torch.tensor([0.1, 0.125, 0, 2 / 3 + 0.1, 0.375, 0, 1 / 3 + 0.5 + 0.8]) / 3
    expected = torch.cat([frequencies.clamp(min=0.01) ** -1, frequencies[[6, 6]] ** -1])
    # 1 / f times f is 1 for each of the five emotions that are voted for, so 1 / f is 5 on average.
    torch.testing.assert_close(weights, expected / 5, rtol=1e-3, atol=0)
    assert weights[2] == weights[5] == pytest.approx(20, rel=1e-3)
    half = rare_weights(_VOTES, 0.5)
    torch.testing.assert_close(half[1] / half[6], (frequencies[6] / frequencies[1]) ** 0.5)
    torch.testing.assert_close((half[:7] * frequencies).sum(), torch.tensor(1.0))
    torch.testing.assert_close(rare_weights(_VOTES, 0), torch.ones(9))


def test_where_nobody_votes_for_an_emotion_all_weigh_alike():
    contempt = torch.zeros(4, 9)
    contempt[:, 7] = 10
    torch.testing.assert_close(rare_weights(contempt, 0.5), torch.ones(9))


def test_weights_of_answers_change_what_counts_but_not_what_is_best():
    weights = rare_weights(_VOTES, 0.5)
    rows = torch.tensor([[0.1, 0.05, 0.05, 0.4, 0.1, 0.05, 0.2, 0.03, 0.02]])
    best = rows.log().requires_grad_()
    softened = (rows.log() / 2).softmax(1)
    for loss in (vote_loss(best, rows, weights), distillation_loss(best, softened, 2, weights)):
        (slope,) = torch.autograd.grad(loss, best)
        torch.testing.assert_close(slope, torch.zeros_like(slope))

    def cost(answer: int, weights: torch.Tensor | None) -> float:
        wrong = rows.clone()
        wrong[0, answer] *= 2
        return (vote_loss(wrong.log(), rows, weights) - vote_loss(rows.log(), rows, weights)).item()

    # A wrong share of disgust costs more than an equally wrong one of neutral.
    assert cost(1, weights) / cost(6, weights) > 1.5 * cost(1, None) / cost(6, None)


def test_equal_weights_are_none():
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(vote_loss(logits, _VOTES, torch.ones(9)), vote_loss(logits, _VOTES))


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


def test_mixing_blends_shares_of_votes_however_many_a_face_has():
    votes = torch.zeros(8, 9)
    numbers = torch.tensor([10.0, 4, 7, 10, 2, 9, 5, 8])
    votes[torch.arange(8), torch.arange(8)] = numbers
    images = torch.eye(8)[:, :, None, None]
    mixed, blended = mix(images, {"votes": votes}, 0.25, torch.Generator().manual_seed(4))
    # Each image is one channel, and all its votes one answer.
    torch.testing.assert_close(blended["votes"][:, :8], mixed[:, :, 0, 0])
    torch.testing.assert_close(blended["votes"].sum(1), torch.ones(8))
    assert votes.sum(1).tolist() == numbers.tolist()


def test_rows_without_votes_cost_nothing_and_the_loss_takes_shares_as_counts():
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(2))
    counts = torch.cat([_VOTES, torch.zeros(1, 9)])
    torch.testing.assert_close(vote_loss(logits, counts), vote_loss(logits[:3], _VOTES))
    torch.testing.assert_close(vote_loss(logits, vote_shares(counts)), vote_loss(logits, counts))


def test_averaging_follows_fast_at_first_and_slowly_later():
    for steps, decay in ((1, 2 / 11), (90, 91 / 100), (10_000, 0.99)):
        assert ramped_decay(0.99, steps) == decay


def test_averaged_weights_and_states_are_those_of_the_library():
    """The library's, with the same ramp, on a network with batch norms, over four steps."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    torch.manual_seed(1)
    architecture = Architecture(stem=4, stages=(Stage("fused", 1, 4, 1, 2),), head=0)
    net = EmotionNet(architecture)
    own = AveragedNet(net, 0.5)
    theirs = AveragedModel(
        net,
        multi_avg_fn=lambda a, v, n: get_ema_multi_avg_fn(min(0.5, (1 + int(n)) / (10 + int(n))))(a, v, n),
        use_buffers=True,
    )
    for _ in range(4):
        with torch.no_grad():
            for value in (*net.parameters(), *net.buffers()):
                value.add_(
                    torch.ones_like(value) if not value.is_floating_point() else torch.rand_like(value)
                )
        own.update(net)
        theirs.update_parameters(net)
    expected, found = theirs.state_dict(), own.state_dict()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        if "num_batches" not in name:
            torch.testing.assert_close(found[name], value)
    again = AveragedNet(EmotionNet(architecture), 0.5)
    again.load_state_dict(expected)
    assert again.steps == 4
    assert torch.equal(again.module.classifier.weight, theirs.module.classifier.weight)
