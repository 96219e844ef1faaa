"""Augmentation: each kind of change, its limits, and repeatability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train.augment import _coarse, augment
from fer_edge.train.options import Augmentation


def test_augmentation_without_strength_only_mirrors():
    faces = torch.randint(0, 256, (64, 48, 48), dtype=torch.uint8)
    varied = augment(faces, Augmentation().scaled(0), torch.Generator().manual_seed(1))
    straight = (varied - faces.float()).abs().amax((1, 2)) < 1e-2
    mirrored = (varied - faces.flip(2).float()).abs().amax((1, 2)) < 1e-2
    assert (straight ^ mirrored).all()
    assert 10 < straight.sum() < 54


def test_augmentation_stays_in_range_and_repeats_with_its_generator():
    faces = torch.randint(0, 256, (32, 48, 48), dtype=torch.uint8)
    first, again = (augment(faces, Augmentation(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.min() >= 0
    assert first.max() <= 255
    assert (first - faces.float()).abs().mean() > 5


def test_augmentation_shifts_by_at_most_its_limit():
    faces = torch.zeros(200, 48, 48, dtype=torch.uint8)
    faces[:, 24, 24] = 255
    only_shift = replace(Augmentation().scaled(0), shift=0.1)
    varied = augment(faces, only_shift, torch.Generator().manual_seed(2))
    weights = varied / varied.sum((1, 2), keepdim=True)
    rows = (weights.sum(2) * torch.arange(48)).sum(1)
    assert (rows - 24).abs().max() <= 0.1 * 48 + 1e-3
    assert (rows - 24).abs().max() > 3


def _only(**changes):
    return replace(Augmentation().scaled(0), **changes)


def _unmirrored(varied, faces):
    """The varied faces, each turned back if that brings it closer to its original."""
    turned = varied.flip(2)
    closer = (turned - faces).abs().mean((1, 2)) < (varied - faces).abs().mean((1, 2))
    return torch.where(closer.view(-1, 1, 1), turned, varied)


def test_jpeg_augmentation_is_what_a_jpeg_encoder_does(drawn):
    """The error lies between those of OpenCV's encoder at the two ends of the range of qualities."""
    import cv2

    faces = torch.from_numpy(drawn.faces[:60]).float()
    varied = augment(faces.byte(), _only(jpeg=1.0), torch.Generator().manual_seed(0))
    error = (_unmirrored(varied, faces) - faces).square().mean().item()

    def encoded(quality):
        pictures = [
            cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)
            for face in drawn.faces[:60]
        ]
        return (torch.from_numpy(np.stack(pictures)).float() - faces).square().mean().item()

    assert encoded(70) < error < encoded(20)


def test_coarse_augmentation_removes_detail_and_keeps_means():
    faces = torch.randint(0, 256, (40, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    varied = augment(faces, _only(coarse=1.0), torch.Generator().manual_seed(0))
    assert varied.std((1, 2)).max() < 0.7 * faces.float().std((1, 2)).min()
    assert (varied.mean((1, 2)) - faces.float().mean((1, 2))).abs().max() < 4


def test_gamma_augmentation_keeps_black_and_white_and_moves_the_middle():
    faces = torch.full((50, 48, 48), 64, dtype=torch.uint8)
    faces[:, :16], faces[:, 32:] = 0, 255
    varied = augment(faces, _only(gamma=0.5), torch.Generator().manual_seed(0))
    assert varied[:, :15].abs().max() < 1e-3
    assert (varied[:, 33:] - 255).abs().max() < 1e-2
    middle = varied[:, 24, 24]
    assert middle.min() < 45
    assert middle.max() > 90


def test_exposure_is_in_stops():
    faces = torch.full((300, 48, 48), 60, dtype=torch.uint8)
    varied = augment(faces, _only(exposure=1.0), torch.Generator().manual_seed(0))[:, 20, 20]
    assert varied.min() >= 30 - 1e-3
    assert varied.max() <= 120 + 1e-3
    assert (varied < 45).sum() > 60
    assert (varied > 80).sum() > 60


def test_local_contrast_lights_one_side_more_than_the_other_and_smoothly():
    faces = torch.full((100, 48, 48), 100, dtype=torch.uint8)
    varied = augment(faces, _only(local_contrast=0.7), torch.Generator().manual_seed(0))
    assert varied.min() >= 100 * 2**-0.7 - 1e-3
    assert varied.max() <= 100 * 2**0.7 + 1e-3
    sides = varied[:, :, :8].mean((1, 2)) / varied[:, :, 40:].mean((1, 2))
    assert sides.log2().abs().max() > 0.5
    assert sides.log2().mean().abs() < 0.15
    assert (varied[:, :, 1:] - varied[:, :, :-1]).abs().max() < 10


def test_coarse_faces_are_those_of_the_library_at_their_side():
    """One of the sides from 20 to 40 gives each face, shrunk and enlarged by PyTorch itself."""
    from torch.nn.functional import interpolate

    images = torch.rand(30, 48, 48, generator=torch.Generator().manual_seed(3)) * 255
    found = _coarse(images, torch.Generator().manual_seed(0))
    sides = set()
    for image, coarse in zip(images, found, strict=True):
        errors = {}
        for side in range(20, 41):
            small = interpolate(
                image[None, None], (side, side), mode="bilinear", antialias=True, align_corners=False
            )
            again = interpolate(small, (48, 48), mode="bilinear", align_corners=False)[0, 0]
            errors[side] = (again - coarse).abs().max().item()
        sides.add(min(errors, key=errors.__getitem__))
        assert min(errors.values()) < 0.01
    assert len(sides) > 8


def test_rotation_is_in_degrees():
    faces = torch.zeros(300, 48, 48, dtype=torch.uint8)
    faces[:, 23:25, 40:42] = 255
    varied = augment(
        faces, replace(Augmentation().scaled(0), rotation=20.0), torch.Generator().manual_seed(2)
    )
    weights = varied / varied.sum((1, 2), keepdim=True)
    y = (weights.sum(2) * torch.arange(48)).sum(1) - 23.5
    x = (weights.sum(1) * torch.arange(48)).sum(1) - 23.5
    angles = torch.rad2deg(torch.atan2(y, x.abs()))
    assert 17 < angles.abs().max() <= 20.5
