"""The networks: size, gradients, normalization, precision."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train.architectures import ARCHITECTURES
from fer_edge.train.model import EmotionNet, FloatDepthwise, normalize


@pytest.mark.parametrize(("model", "macs", "parameters"), [("edge", 31e6, 600_000), ("nano", 5e6, 110_000)])
def test_bundled_architectures_stay_within_their_budget(model, macs, parameters):
    from torch.utils.flop_counter import FlopCounterMode

    net = EmotionNet(ARCHITECTURES[model]).eval()
    with FlopCounterMode(display=False) as counter:
        heads = net(torch.zeros(1, 1, 48, 48))
    assert heads.fer2013.shape == (1, 7)
    assert heads.people.shape == (1, 9)
    assert counter.get_total_flops() / 2 <= macs
    assert sum(parameter.numel() for parameter in net.parameters()) <= parameters


def test_every_parameter_gets_a_gradient():
    net = EmotionNet(ARCHITECTURES["edge"])
    emotions, votes = net(torch.randn(4, 1, 48, 48))
    (emotions.square().sum() + votes.square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_an_architecture_knows_how_many_images_its_batch_norms_need(model):
    architecture = ARCHITECTURES[model]
    net, least = EmotionNet(architecture).train(), architecture.least_batch
    assert least == (2 if model == "face-teacher" else 1)
    net(torch.randn(least, 1, 48, 48))
    if least > 1:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            net(torch.randn(least - 1, 1, 48, 48))


def test_normalization_makes_grey_minus_128_of_steps_of_a_64th():
    grey = torch.arange(256, dtype=torch.uint8).repeat(9).reshape(1, 48, 48)
    assert torch.equal(normalize(grey)[0, 0] * 64, grey[0].float() - 128)


def test_depthwise_layers_that_are_slow_in_bfloat16_compute_in_float32_beside_it():
    layer = FloatDepthwise(8, 8, 3, 2, 1, groups=8, bias=False)
    inputs = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(inputs)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, layer(inputs.float()))

    def slow(model):
        modules = EmotionNet(ARCHITECTURES[model]).modules()
        return sorted((m.stride[0], m.kernel_size[0]) for m in modules if type(m) is FloatDepthwise)

    assert slow("edge") == [(2, 3)]
    # Those with a stride or a 5x5 kernel.
    assert slow("efficientnet") == [*[(1, 5)] * 7, *[(2, 3)] * 2, *[(2, 5)] * 2]
