"""A network's logits, and its loss and accuracy on the validation rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_edge.labels import Labels

from .model import EmotionNet, normalize


def predict_heads(
    net: EmotionNet, faces: Tensor, batch: int = 256, bfloat16: bool = False
) -> dict[Labels, Tensor]:
    """Logits float32 (n, k), by head, of uint8 faces (n, 48, 48) in evaluation mode."""
    training = net.training
    net.eval()
    with torch.no_grad(), torch.autocast(faces.device.type, torch.bfloat16, enabled=bfloat16):
        parts = [net(normalize(part)) for part in faces.split(batch)]
    net.train(training)
    heads: dict[Labels, Tensor] = {"fer2013": torch.cat([part.fer2013 for part in parts]).float()}
    if net.people is not None:
        heads["people"] = torch.cat([part.people for part in parts]).float()
    return heads


def predict_logits(net: EmotionNet, faces: Tensor, batch: int = 256, bfloat16: bool = False) -> Tensor:
    """Logits of the labels of 2013, float32 (n, 7), of uint8 faces (n, 48, 48) in evaluation mode."""
    return predict_heads(net, faces, batch, bfloat16)["fer2013"]


def validate(net: EmotionNet, faces: Tensor, labels: Tensor, bfloat16: bool = False) -> dict[str, float]:
    """Mean cross-entropy and accuracy of ``net`` on uint8 faces (n, 48, 48), labels int64 (n,)."""
    logits = predict_logits(net, faces, bfloat16=bfloat16)
    return {
        "val_loss": F.cross_entropy(logits, labels).item(),
        "val_accuracy": (logits.argmax(1) == labels).float().mean().item(),
    }
