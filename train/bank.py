"""A bank of varied views of all training faces, with the teachers' answers to each, on the device.

Teachers that answer every image a student sees teach best (Beyer et al. 2021, arXiv:2106.05237), but cost
more than the student itself. Here they answer to some views of each face once; the student draws from those.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .augment import augment
from .model import EmotionNet, Heads, combine_heads
from .options import Augmentation
from .teachers import UNMOVED, mean_answers

_BATCH = {"cuda": 2048}
_CPU_BATCH = 64
"""Fits a core's cache: ``efficientnet`` answers in two thirds of the time that batches of 256 take."""
_GOLDEN = 0.6180339887498949
_SHIFT = 2
"""Pixels by which a view is shifted at most when it is drawn."""


@dataclass(frozen=True)
class Bank:
    """``views`` uint8 (k, n, 48, 48) of n faces, the most varied ones first, and the teachers' logits.

    ``answers`` have the shapes (k, n, 7) and (k, n, 9). Each is the mean over mirroring (and the teacher's
    crops), so that it holds for the mirrored view as well.
    """

    views: Tensor
    answers: Heads

    def draw(self, index: Tensor, calm: float, generator: torch.Generator) -> tuple[Tensor, Heads]:
        """A view of each face of ``index`` int64 (m,), mirrored and shifted by chance: uint8 (m, 48, 48).

        And the answers to it. As ``calm`` goes from 0 to 1, the more varied half is drawn less and less, in
        the end never.
        """
        count = len(self.views)
        first = int(calm * (count // 2))
        view = torch.randint(first, count, index.shape, generator=generator, device=index.device)
        return (
            _moved(self.views[view, index], generator),
            self.answers.map(lambda logits: logits[view, index]),
        )


def make_bank(
    teachers: Sequence[EmotionNet],
    faces: Tensor,
    views: int,
    augmentation: Augmentation,
    generator: torch.Generator,
    *,
    bfloat16: bool = False,
    seconds: float | None = None,
) -> Bank:
    """Up to ``views`` views of uint8 ``faces`` (n, 48, 48), varied from not at all to ``augmentation``.

    The teachers are in evaluation mode, on the device of the faces. After ``seconds`` no further view is
    begun, so that there may be fewer of them, but at least one; any number spans the whole range evenly. The
    one that is not varied is the last, since it teaches the least, and none is where one is all there is.
    """
    started = time.perf_counter()
    batch = _BATCH.get(faces.device.type, _CPU_BATCH)
    made: list[tuple[float, Tensor, Heads]] = []
    for number in range(views):
        strength = (number + 1) % max(views, 2) * _GOLDEN % 1
        varied = [
            augment(part, augmentation.scaled(strength), generator).round().to(torch.uint8)
            for part in faces.split(batch)
        ]
        # The student shifts what it draws; to shift for the teachers too would double their work.
        parts = [mean_answers(teachers, part, bfloat16, UNMOVED) for part in varied]
        answers = combine_heads(parts, torch.cat)
        made.append((strength, torch.cat(varied), answers))
        _wait_for(answers.fer2013)
        spent = time.perf_counter() - started
        if seconds is not None and spent * (number + 2) / (number + 1) > seconds:
            break
    made.sort(key=lambda view: -view[0])
    return Bank(
        torch.stack([view for _, view, _ in made]),
        combine_heads([answers for _, _, answers in made], torch.stack),
    )


def _wait_for(answers: Tensor) -> None:
    """Until a GPU has computed them, instead of having them in its queue."""
    answers[-1, 0].item()


def _moved(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Faces (m, 48, 48), each mirrored in half the cases and shifted by whole pixels, edges repeated."""
    count, height, width = faces.shape
    device = faces.device

    def places(size: int) -> Tensor:
        shift = torch.randint(-_SHIFT, _SHIFT + 1, (count, 1), generator=generator, device=device)
        return (torch.arange(size, device=device) + shift).clamp(0, size - 1)

    rows, columns = places(height), places(width)
    mirrored = torch.rand(count, 1, generator=generator, device=device) < 0.5
    columns = torch.where(mirrored, width - 1 - columns, columns)
    index = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    return faces.flatten(1).gather(1, index).view(count, height, width)
