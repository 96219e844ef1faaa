"""Exposure and contrast on tensors: the bytes of the kernel."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.kernels import contrast
from fer_edge.train.contrast import normalize_contrast


def test_tensors_get_the_bytes_of_the_kernel():
    rng = np.random.default_rng(0)
    gains, offsets = rng.random((600, 1, 1)), rng.integers(0, 256, (600, 1, 1))
    noise = (gains * rng.integers(0, 256, (600, 48, 48)) + offsets / 2).clip(0, 255)
    two = (rng.random((300, 48, 48)) < gains[:300]) * offsets[:300]
    uniform = np.arange(256)[:, None, None] + np.zeros((48, 48))
    single = uniform.copy()
    single[:, 27, 24] = 128
    faces = np.concatenate([noise, two, uniform, single]).astype(np.uint8)
    tensor = torch.from_numpy(faces.copy())
    normalized = normalize_contrast(tensor)
    assert normalized.dtype == torch.uint8
    np.testing.assert_array_equal(tensor.numpy(), faces)
    np.testing.assert_array_equal(normalized.numpy(), contrast.normalize_contrast(faces))


def test_no_faces_give_none():
    assert normalize_contrast(torch.empty(0, 48, 48, dtype=torch.uint8)).shape == (0, 48, 48)
