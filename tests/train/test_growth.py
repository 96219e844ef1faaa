"""Networks that begin at the weights of smaller ones."""

from dataclasses import replace

import numpy as np
import pytest

pytestmark = pytest.mark.toolchain
torch = pytest.importorskip("torch")

from fer_edge.train import pretrained
from fer_edge.train.architectures import ARCHITECTURES, Architecture, Stage
from fer_edge.train.growth import grown
from fer_edge.train.model import EmotionNet

SMALL = Architecture(
    stem=8,
    stages=(
        Stage("fused", expansion=1, channels=8, repeats=1, stride=1),
        Stage("fused", expansion=2, channels=16, repeats=1, stride=2),
        Stage("inverted", expansion=2, channels=24, repeats=1, stride=2),
    ),
    head=32,
    dropout=0.0,
)
LARGE = replace(
    SMALL,
    stages=(
        SMALL.stages[0],
        replace(SMALL.stages[1], repeats=2),
        Stage("inverted", expansion=3, channels=16, repeats=2, stride=1),
        replace(SMALL.stages[2], repeats=3),
    ),
)


def _answers(net, faces):
    net.eval()
    with torch.no_grad():
        return torch.cat([*net(net.inputs(faces))], dim=1)


@pytest.fixture
def faces():
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (6, 48, 48), dtype=np.uint8))


def _without_new_blocks(net):
    """What a grown network computes where its new blocks add nothing."""
    for number in (3, 4, 5, 7, 8):
        torch.nn.init.zeros_(net.features[number].block[-1].norm.weight)
    return net


def test_without_its_new_blocks_a_grown_network_computes_what_the_smaller_one_does(faces):
    torch.manual_seed(5)
    small = EmotionNet(SMALL)
    large = grown(small, LARGE, 1)
    assert large.architecture == LARGE
    changed = _answers(large, faces)
    expected = _answers(small, faces)
    assert not torch.equal(changed, expected)
    torch.testing.assert_close(_answers(_without_new_blocks(large), faces), expected)


def test_every_layer_of_a_new_block_learns_from_the_first_step(faces):
    large = grown(EmotionNet(SMALL), LARGE, 1)
    large.train()
    large(large.inputs(faces)).people.square().sum().backward()
    assert all(bool(parameter.grad.any()) for parameter in large.features[3].parameters())


def test_the_seed_decides_the_new_weights(faces):
    small = EmotionNet(SMALL)
    one, same, other = (_answers(grown(small, LARGE, seed), faces) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_network_without_votes_grows_without_them():
    assert grown(EmotionNet(SMALL, people=False), LARGE, 1).people is None


def test_a_network_of_the_architecture_is_taken_as_it_is():
    net = EmotionNet(SMALL)
    assert grown(net, SMALL, 1) is net


@pytest.mark.parametrize(
    "wanted",
    [
        replace(LARGE, head=48),
        replace(LARGE, side=96),
        replace(LARGE, stages=LARGE.stages[:2]),
        replace(LARGE, stages=(*LARGE.stages, Stage("inverted", 2, channels=48, repeats=1, stride=1))),
        replace(LARGE, stages=(*LARGE.stages, Stage("inverted", 2, channels=24, repeats=1, stride=2))),
        replace(LARGE, stages=(*LARGE.stages, Stage("plain", 1, channels=24, repeats=1, stride=1))),
        replace(SMALL, stages=(*SMALL.stages[:2], replace(SMALL.stages[2], expansion=4))),
    ],
    ids=["head", "side", "fewer stages", "other channels", "stride", "not residual", "expansion"],
)
def test_what_does_not_fit_is_told(wanted):
    assert grown(EmotionNet(SMALL), wanted, 1) is None


def test_fewer_blocks_do_not_fit():
    assert grown(EmotionNet(LARGE), SMALL, 1) is None


def test_an_exported_model_grows_before_it_is_trained(monkeypatch, faces):
    larger = replace(
        ARCHITECTURES["nano"],
        stages=(*ARCHITECTURES["nano"].stages, Stage("inverted", 2, channels=56, repeats=1, stride=1)),
    )
    monkeypatch.setitem(pretrained.ARCHITECTURES, "nano", larger)
    net = pretrained.initial_net("nano", faces.numpy(), 1, "nano")
    assert net.architecture == larger
    torch.nn.init.zeros_(net.features[-2].block[-1].norm.weight)
    bundled = pretrained.pretrained_net("nano")
    torch.testing.assert_close(_answers(net, faces), _answers(bundled, faces), atol=1e-3, rtol=1e-3)
