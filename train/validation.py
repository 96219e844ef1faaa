"""A network's logits, and how they compare with labels and votes on the validation rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fer_edge.checks.agreement import agreement
from fer_edge.fer2013.votes import top_votes
from fer_edge.labels import EMOTIONS

from .accelerate import autocast
from .model import EmotionNet, Heads, combine_heads


def predict_heads(net: EmotionNet, faces: Tensor, batch: int = 256, bfloat16: bool = False) -> Heads:
    """Logits of both heads, float32, of uint8 faces (n, 48, 48) in evaluation mode."""
    training = net.training
    net.eval()
    with torch.no_grad(), autocast(faces.device, bfloat16):
        parts = [net(net.inputs(part)) for part in faces.split(batch)]
    net.train(training)
    return combine_heads(parts, torch.cat).map(Tensor.float)


def validate(
    net: EmotionNet, faces: Tensor, labels: Tensor, bfloat16: bool = False, votes: Tensor | None = None
) -> dict[str, float]:
    """Mean cross-entropy and accuracy of ``net`` on uint8 faces (n, 48, 48), labels int64 (n,).

    With ``votes`` (n, 9), and a head for them, also :func:`people_agreement`, as ``val_people``.
    """
    output = predict_heads(net, faces, bfloat16=bfloat16)
    row = {
        "val_loss": F.cross_entropy(output.fer2013, labels).item(),
        "val_accuracy": (output.fer2013.argmax(1) == labels).float().mean().item(),
    }
    if votes is not None and output.people is not None:
        agreed = people_agreement(output.people, votes)
        if agreed is not None:
            row["val_people"] = agreed
    return row


def people_agreement(logits: Tensor, votes: Tensor) -> float | None:
    """How often the crowd's choice is that of ``logits`` (n, 9), among the seven emotions.

    Counted are the rows of ``votes`` (n, 9) whose one top vote (:func:`~fer_edge.fer2013.votes.top_votes`)
    is for one of the seven; None where there are no such rows.
    """
    emotions = len(EMOTIONS)
    top = top_votes(votes.cpu().numpy())
    answers = logits[:, :emotions].argmax(1).cpu().numpy()
    found = agreement(answers, np.where(top < emotions, top, -1))
    return found.agreement if found.rows else None
