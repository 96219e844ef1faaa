"""What changes over a run: the learning rate, and the strength of augmentation."""

from __future__ import annotations

import math

from .options import TrainOptions


def learning_rate(options: TrainOptions, epoch: float) -> float:
    """Linear ramp over ``warmup`` epochs, fewer than ``epochs``, then half a cosine to zero at ``epochs``."""
    if epoch < options.warmup:
        return options.learning_rate * max(epoch, 1e-3) / options.warmup
    progress = (epoch - options.warmup) / max(options.epochs - options.warmup, 1e-9)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def augmentation_strength(options: TrainOptions, epoch: float) -> float:
    """1 until ``augmentation_decay_start`` of the run, then falling linearly to ``augmentation_floor``."""
    start = options.augmentation_decay_start * options.epochs
    if epoch < start or options.augmentation_decay_start >= 1:
        return 1.0
    progress = (epoch - start) / max(options.epochs - 1 - start, 1)
    return 1.0 + (options.augmentation_floor - 1.0) * min(progress, 1.0)
