"""A network's logits, and how they compare with labels and votes on the validation rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_edge.labels import EMOTIONS

from .accelerate import autocast
from .model import EmotionNet, Heads


def predict_heads(net: EmotionNet, faces: Tensor, batch: int = 256, bfloat16: bool = False) -> Heads:
    """Logits of both heads, float32, of uint8 faces (n, 48, 48) in evaluation mode."""
    training = net.training
    net.eval()
    with torch.no_grad(), autocast(faces.device, bfloat16):
        parts = [net(net.inputs(part)) for part in faces.split(batch)]
    net.train(training)
    people = [part.people for part in parts if part.people is not None]
    return Heads(
        torch.cat([part.fer2013 for part in parts]).float(), torch.cat(people).float() if people else None
    )


def predict_logits(net: EmotionNet, faces: Tensor, batch: int = 256, bfloat16: bool = False) -> Tensor:
    """Logits of the labels of 2013, float32 (n, 7), of uint8 faces (n, 48, 48) in evaluation mode."""
    return predict_heads(net, faces, batch, bfloat16).fer2013


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
        agreement = people_agreement(output.people, votes)
        if agreement is not None:
            row["val_people"] = agreement
    return row


def people_agreement(logits: Tensor, votes: Tensor) -> float | None:
    """How often the crowd's choice is that of ``logits`` (n, 9), among the seven emotions.

    Counted are the rows of ``votes`` (n, 9), outliers left out already
    (:func:`fer_edge.fer2013.votes.people_votes`), with one top vote, for one of the seven; None where
    there are no such rows.
    """
    emotions = len(EMOTIONS)
    most = votes.amax(1, keepdim=True)
    counted = ((votes == most).sum(1) == 1) & (votes.argmax(1) < emotions)
    if not bool(counted.any()):
        return None
    return (logits[:, :emotions].argmax(1) == votes.argmax(1))[counted].float().mean().item()
