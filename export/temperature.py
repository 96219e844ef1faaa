"""Confidence calibration: the temperature that logits are divided by."""

from __future__ import annotations

import math

from torch import Tensor


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature at which logits (n, 7) are on average as sure as they are right, by labels int64 (n,).

    The temperature that minimizes the cross-entropy, the usual choice, leaves distilled networks surer
    than that. Between 0.05 and 20, to a thousandth. A few rows that are all right do not make for
    certainty (rule of succession).
    """
    accuracy = ((logits.argmax(1) == labels).double().sum() + 1) / (len(labels) + 2)
    return matching_temperature(logits, float(accuracy))


def matching_temperature(logits: Tensor, confidence: float) -> float:
    """The temperature, 0.05 to 20, at which the mean of the largest probabilities is ``confidence``."""

    def too_sure(temperature: float) -> bool:
        return bool((logits.double() / temperature).softmax(1).amax(1).mean() > confidence)

    low, high = math.log(0.05), math.log(20.0)
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if too_sure(math.exp(middle)) else (low, middle)
    return math.exp((low + high) / 2)
