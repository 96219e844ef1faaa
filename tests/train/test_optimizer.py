"""The optimizer: SGD, Muon, and going on from a saved state."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train.architectures import ARCHITECTURES
from fer_edge.train.model import EmotionNet
from fer_edge.train.optimizer import Optimizer


def _optimizers(kind, *, seed=1):
    """A small network with gradients, and what moves it."""
    torch.manual_seed(seed)
    net = EmotionNet(ARCHITECTURES["nano"]).to(memory_format=torch.channels_last)
    optimizer = Optimizer(net, kind, learning_rate=0.1, weight_decay=1e-3)
    torch.cat(net(torch.randn(8, 1, 48, 48)), 1).square().sum().backward()
    return net, optimizer


def test_sgd_is_that_of_torch_and_spares_norms_and_biases():
    net, optimizer = _optimizers("sgd")
    twin, _ = _optimizers("sgd")
    groups = [
        {"params": [p for p in twin.parameters() if p.ndim > 1], "weight_decay": 1e-3},
        {"params": [p for p in twin.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(2):
        optimizer.step()
        sgd.step()
    for one, two in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)


def test_muon_moves_what_mixes_channels_by_orthogonal_matrices_and_the_rest_by_sgd():
    net, optimizer = _optimizers("muon")
    twin, sgd = _optimizers("sgd")
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimizer.learning_rate = sgd.learning_rate = 0.04
    optimizer.step()
    sgd.step()
    mixing = []
    for (name, parameter), other in zip(net.named_parameters(), twin.parameters(), strict=True):
        if parameter.ndim < 4 or parameter.shape[1] == 1:
            assert torch.equal(parameter, other), name
            continue
        mixing.append(name)
        # A rate of 0.25 * 0.04, a decay of 50 * 0.001; five steps of Newton and Schulz reach 1 but roughly.
        rate = 0.01 * max(1, len(parameter) / parameter[0].numel()) ** 0.5
        moved = (before[name] * (1 - 0.01 * 0.05) - parameter.detach()) / rate
        values = torch.linalg.svdvals(moved.flatten(1))
        assert 0.5 < float(values.median()) < 1.3, name
        assert float(values.max()) < 1.4, name
        assert (moved * parameter.grad).sum() > 0, name
    assert len(mixing) == 15


def test_an_optimizer_goes_on_from_its_state():
    net, optimizer = _optimizers("muon")
    other, resumed = _optimizers("muon", seed=2)
    optimizer.step()
    other.load_state_dict(net.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        two.grad = one.grad.clone()
    for part in (optimizer, resumed):
        part.step()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
