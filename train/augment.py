"""Batched augmentation of grey faces: one grid_sample a batch, no work per image.

All randomness comes from the generator that is passed in, so an epoch can be repeated exactly. Nothing is
read back from the device, and constants are moved there once, so that a GPU never waits.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from .options import Augmentation


def augment(faces: Tensor, options: Augmentation, generator: torch.Generator) -> Tensor:
    """Vary uint8 faces (n, 48, 48); returns float32 (n, 48, 48) in grey levels 0 to 255."""
    count, height, width = faces.shape

    def symmetric(limit: float) -> Tensor:
        return (torch.rand(count, generator=generator, device=faces.device) * 2 - 1) * limit

    def chance(probability: float) -> Tensor:
        return torch.rand(count, generator=generator, device=faces.device) < probability

    angle = symmetric(math.radians(options.rotation))
    scale, aspect = torch.exp(symmetric(options.scale)), torch.exp(symmetric(options.aspect))
    mirror = 1.0 - 2.0 * chance(0.5).float()
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = (
        torch.stack([mirror * scale * aspect * cos, -scale * sin, symmetric(2 * options.shift)], 1),
        torch.stack([mirror * scale * sin, scale / aspect * cos, symmetric(2 * options.shift)], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), [count, 1, height, width], align_corners=False)
    images = F.grid_sample(
        faces.unsqueeze(1).float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )

    blurred = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), _binomial(faces.device))
    images = torch.where(chance(options.blur).view(-1, 1, 1, 1), blurred, images)[:, 0]
    if options.coarse > 0:
        coarse = _coarse(images, generator)
        images = torch.where(chance(options.coarse).view(-1, 1, 1), coarse, images)

    def spread(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1)

    mean = images.mean(dim=(1, 2), keepdim=True)
    images = (images - mean) * spread(torch.exp(symmetric(options.contrast))) + mean
    images = images + spread(symmetric(options.brightness))
    if options.exposure > 0:
        images = images * spread(torch.exp2(symmetric(options.exposure)))
    if options.local_contrast > 0:
        images = _uneven(images, options.local_contrast, generator)
    if options.gamma > 0:
        images = 255 * (images.clamp(0, 255) / 255) ** spread(torch.exp(symmetric(options.gamma)))
    deviation = torch.rand(count, generator=generator, device=faces.device) * options.noise
    normal = torch.randn(count, height, width, generator=generator, device=faces.device)
    images = (images + spread(deviation) * normal).clamp(0, 255)
    if options.jpeg > 0:
        images = torch.where(spread(chance(options.jpeg)), _jpeg(images, generator), images)

    mask = _rectangles(count, height, width, generator, faces.device) & spread(chance(options.erase))
    fill = spread(torch.rand(count, generator=generator, device=faces.device) * 255)
    return torch.where(mask, fill, images)


@cache
def _binomial(device: torch.device) -> Tensor:
    """The 3x3 binomial kernel, float32 (1, 1, 3, 3)."""
    binomial = torch.tensor([1.0, 2.0, 1.0])
    return (binomial[:, None] * binomial[None, :] / 16).view(1, 1, 3, 3).to(device)


_COARSE_SIDES = range(20, 41)


def _coarse(images: Tensor, generator: torch.Generator) -> Tensor:
    """Square images (n, h, h), each shrunk to a random side of 20 to 40 pixels and enlarged again.

    Both are linear and act on rows and columns alike, so that each side is one matrix.
    """
    matrices = _coarse_matrices(images.shape[1], images.device)
    side = torch.randint(len(matrices), (len(images),), generator=generator, device=images.device)
    chosen = matrices[side]
    return chosen @ images @ chosen.transpose(1, 2)


@cache
def _coarse_matrices(height: int, device: torch.device) -> Tensor:
    """What shrinking to each of the sides and enlarging does to a column, float32 (sides, h, h)."""
    columns = torch.eye(height).view(1, 1, height, height)
    made = []
    for side in _COARSE_SIDES:
        small = F.interpolate(columns, (side, height), mode="bilinear", antialias=True, align_corners=False)
        made.append(F.interpolate(small, (height, height), mode="bilinear", align_corners=False)[0, 0])
    return torch.stack(made).to(device)


def _uneven(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Images (n, h, w) under uneven light: times a smooth random field, 2 to the power of +-``strength``.

    Of the field 3x3 values are random and those between are interpolated.
    """
    field = torch.rand(len(images), 1, 3, 3, generator=generator, device=images.device) * 2 - 1
    smooth = F.interpolate(field, images.shape[1:], mode="bilinear", align_corners=True)[:, 0]
    return images * torch.exp2(strength * smooth)


# Luminance quantization of ITU-T T.81 (JPEG), annex K.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def _jpeg(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (n, h, w), sides multiples of 8, after JPEG compression with a quality of 20 to 70 each."""
    count, height, width = images.shape
    quality = 20 + 50 * torch.rand(count, generator=generator, device=images.device)
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    table, cosines = _jpeg_tables(images.device)
    steps = (table * factor.view(-1, 1, 1)).round().clamp(1, 255).view(-1, 1, 8, 1, 8)
    blocks = (images - 128).view(count, height // 8, 8, width // 8, 8)
    spectrum = torch.einsum("ui,nyixj,vj->nyuxv", cosines, blocks, cosines)
    kept = (spectrum / steps).round() * steps
    restored = torch.einsum("ui,nyuxv,vj->nyixj", cosines, kept, cosines)
    return (restored.reshape(count, height, width) + 128).clamp(0, 255)


@cache
def _jpeg_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Luminance quantization and the discrete cosine transform, float32 (8, 8) each."""
    index = torch.arange(8, dtype=torch.float32)
    cosines = torch.cos(math.pi / 8 * (index + 0.5) * index[:, None]) / 2
    cosines[0] /= math.sqrt(2)
    return torch.tensor(_LUMINANCE, dtype=torch.float32).to(device), cosines.to(device)


def _rectangles(
    count: int, height: int, width: int, generator: torch.Generator, device: torch.device
) -> Tensor:
    """One random rectangle an image, bool (n, height, width); area 2 % to 20 %, aspect 1:2 to 2:1."""
    area, ratio, top, left = torch.rand(4, count, generator=generator, device=device)
    side = torch.sqrt(0.02 + 0.18 * area)
    ratio = torch.exp((ratio - 0.5) * math.log(4.0) / 2)
    tall, wide = side * ratio * height, side / ratio * width
    top, left = top * height - tall / 2, left * width - wide / 2
    y = torch.arange(height, device=device).view(1, -1, 1)
    x = torch.arange(width, device=device).view(1, 1, -1)

    def between(values: Tensor, start: Tensor, size: Tensor) -> Tensor:
        return (values >= start.view(-1, 1, 1)) & (values < (start + size).view(-1, 1, 1))

    return between(y, top, tall) & between(x, left, wide)
