"""Equal exposure and contrast of a batch of faces, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from fer_edge.kernels.fallback.normalize import (
    CONTRAST_CENTRE,
    CONTRAST_DEVIATION,
    CONTRAST_MEAN,
    CONTRAST_PIXELS,
    CONTRAST_RADII,
    GAIN_BITS,
    GAIN_LIMIT,
    LEVEL_BITS,
)


def normalize_contrast(faces: Tensor) -> Tensor:
    """Uint8 faces (n, 48, 48) as :func:`fer_edge.kernels.contrast.normalize_contrast` makes them: same bytes.

    A new tensor on the same device, for which nothing is copied from or to the host.
    """
    levels = faces.int()
    part = (levels * _part(faces)).flatten(1)
    sums, squares = part.sum(1), part.square().sum(1)
    deviations = _roots(CONTRAST_PIXELS * squares - sums.square())
    wanted = (CONTRAST_DEVIATION * CONTRAST_PIXELS) << GAIN_BITS
    exact = _quotients(wanted + _quotients(deviations, 2), deviations.clamp(min=1))
    gains = exact.clamp(max=GAIN_LIMIT).masked_fill(deviations == 0, GAIN_LIMIT)
    multiplied = _quotients(sums * gains, CONTRAST_PIXELS) >> (GAIN_BITS - LEVEL_BITS)
    black = multiplied - ((CONTRAST_MEAN << LEVEL_BITS) + (1 << (LEVEL_BITS - 1)))
    products = levels * gains.int()[:, None, None] >> (GAIN_BITS - LEVEL_BITS)
    return ((products - black.int()[:, None, None]) >> LEVEL_BITS).clamp(0, 255).to(torch.uint8)


def _part(faces: Tensor) -> Tensor:
    """1 for the pixels of faces (n, h, w) that are measured, else 0: int32 (h, w)."""
    # Made on the device: a copy to it would wait, and cannot be part of a CUDA graph.
    centres = 2 * torch.arange(faces.shape[1], device=faces.device) + 1
    across, down = (centres - 2 * centre for centre in CONTRAST_CENTRE)
    width, height = CONTRAST_RADII
    inside = (across * height) ** 2 + (down[:, None] * width) ** 2 <= (2 * width * height) ** 2
    return inside.int()


def _quotients(dividends: Tensor, divisors: Tensor | int) -> Tensor:
    return torch.div(dividends, divisors, rounding_mode="floor")


def _roots(squares: Tensor) -> Tensor:
    """The largest whole numbers whose squares are not above these, int64 below 2^36."""
    # Off by less than one, whatever the device makes of a square root.
    roots = squares.float().sqrt().long()
    roots = roots - (roots.square() > squares).long()
    return roots + ((roots + 1).square() <= squares).long()
