"""The FER-2013 label that the FER+ votes on an image predict."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fer_edge.labels import EMOTIONS

_DECAY = 1e-4


def label_logits(votes: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Log-probabilities, float32 (n, 7), of the labels given the votes alone.

    ``votes`` float32 (n, k) are counts, ``labels`` int64 (n,) what these rows are labelled in FER-2013.
    A logistic regression on shares of the votes and logarithms of their counts, whose few weights
    cannot learn single rows by heart. A row without votes gets the labels' frequencies.
    """
    counts = torch.from_numpy(votes).double()
    total = counts.sum(1, keepdim=True)
    voted = total[:, 0] > 0
    inputs = torch.cat([counts / total.clamp(min=1), (counts + 0.5).log() / 3], 1)
    targets = torch.from_numpy(labels)
    frequencies = (torch.bincount(targets, minlength=len(EMOTIONS)).double() + 1).log()
    logits = frequencies.repeat(len(targets), 1)
    if voted.any():
        weights, offsets = _regression(inputs[voted], targets[voted])
        logits[voted] = inputs[voted] @ weights + offsets
    result: NDArray[np.float32] = F.log_softmax(logits, 1).float().numpy()
    return result


def _regression(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    weights = inputs.new_zeros(inputs.shape[1], len(EMOTIONS), requires_grad=True)
    offsets = inputs.new_zeros(len(EMOTIONS), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, offsets], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = F.cross_entropy(inputs @ weights + offsets, targets) + _DECAY * weights.square().sum()
        value.backward()
        return value.item()

    optimizer.step(loss)
    return weights.detach(), offsets.detach()
