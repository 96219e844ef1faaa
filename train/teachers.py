"""What teachers answer: the mean over teachers, mirror images, and crops or shifts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .accelerate import autocast
from .architectures import Architecture
from .model import EmotionNet, Heads, combine_heads

Shifts = tuple[tuple[int, int], ...]
"""Offsets in pixels (x, y)."""

UNMOVED: Shifts = ((0, 0),)

SHIFTS: Shifts = ((-1, 0), (1, 0))
"""Those over which a teacher's answers to faces as they are are averaged, each also mirrored."""


@torch.no_grad()
def mean_answers(
    teachers: Sequence[EmotionNet],
    faces: Tensor,
    bfloat16: bool = False,
    shifts: Shifts = SHIFTS,
    stored: Sequence[Heads] = (),
) -> Heads:
    """Mean logits, float32 (n, 7) and (n, 9), of uint8 faces (n, 48, 48), over teachers and :func:`views`.

    Of the teachers, in evaluation mode, those with a people head answer for people; None where none has.
    ``stored`` logits for the same faces count as one teacher each.
    """
    answers = [
        mean_heads([_answer(teacher, view, bfloat16) for view in views(faces, teacher.architecture, shifts)])
        for teacher in teachers
    ]
    return mean_heads([*answers, *stored])


def live_answers(teachers: Sequence[EmotionNet], inputs: Sequence[Tensor]) -> Heads:
    """Mean logits of the teachers for the same faces as each wants them, (n, 1, 48, 48), each seen once."""
    with torch.no_grad():
        return mean_heads([teacher(own) for teacher, own in zip(teachers, inputs, strict=True)])


def mean_heads(answers: Sequence[Heads]) -> Heads:
    """The mean of several logits, in float32; of people's where there are any."""
    return combine_heads(answers, lambda logits: torch.stack([one.float() for one in logits]).mean(0))


def views(faces: Tensor, architecture: Architecture, shifts: Shifts = SHIFTS) -> Iterator[Tensor]:
    """The faces (n, 48, 48) moved by the ``shifts``, and each also mirrored.

    For a network that looks at a centred crop the shifts are, instead, such that it sees the four corners
    and the centre: ten crops in all.
    """
    height, width = faces.shape[1:]
    margin = (width - architecture.crop) // 2 if architecture.crop else 0
    corners = tuple((x, y) for x in (-margin, margin) for y in (-margin, margin))
    if margin:
        shifts = (*UNMOVED, *corners)
    border = max(max(abs(x), abs(y)) for x, y in shifts)
    padded = F.pad(faces.unsqueeze(1).float(), [border] * 4, mode="replicate")[:, 0].to(faces.dtype)
    for x, y in shifts:
        view = padded[:, border + y : border + y + height, border + x : border + x + width]
        yield view
        yield view.flip(2)


def _answer(teacher: EmotionNet, faces: Tensor, bfloat16: bool) -> Heads:
    with autocast(faces.device, bfloat16):
        inputs = teacher.inputs(faces).contiguous(memory_format=torch.channels_last)
        output: Heads = teacher(inputs)
    return output
