"""How predicted votes become answers: temperature, prior, balance and the limit of what is unsure."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fer_edge.fer2013.votes import top_votes
from fer_edge.labels import EMOTIONS
from fer_edge.models.classifier import softmax
from fer_edge.models.people import BALANCES, People, choose, shares, uncertainty

from .temperature import matching_temperature

SURE_ACCURACY = 0.92
"""Of the faces called sure, how many have to be answered as most people do."""


def prior(votes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean share of votes of each emotion among the seven, (7,), over rows of votes (n, 9)."""
    given = votes[:, : len(EMOTIONS)].astype(np.float64)
    given = given[given.any(1)]
    mean: NDArray[np.float64] = (given / given.sum(1, keepdims=True)).mean(0)
    return mean


def fit_people_temperature(logits: NDArray[np.float32], votes: NDArray[np.float32]) -> float:
    """The temperature at which the largest share predicted is on average the share it really gets.

    ``logits`` and ``votes``, (n, 9); rows without votes count nothing. A few rows on which all agree do not
    make for certainty, as in :func:`.temperature.fit_temperature`.
    """
    voted = votes.any(1)
    given = votes[voted] / votes[voted].sum(1, keepdims=True)
    chosen = logits[voted].argmax(1)
    reached = (float(given[np.arange(len(chosen)), chosen].sum()) + 1) / (len(chosen) + 2)
    return matching_temperature(torch.from_numpy(logits[voted]), reached)


def choose_balance(
    logits: NDArray[np.float32], votes: NDArray[np.float32], frequencies: NDArray[np.float64]
) -> float:
    """The T of :data:`BALANCES` with the largest sum of agreement and mean recall; 0 without any votes.

    Over the rows of calibrated ``logits`` (n, 9) whose one top vote is among the seven emotions.
    ``frequencies`` is the prior, (7,).
    """
    top = top_votes(votes)
    rows = (top >= 0) & (top < len(EMOTIONS))
    if not rows.any():
        return 0.0
    among, top = shares(softmax(logits[rows])), top[rows]
    present = np.unique(top)

    def merit(balance: float) -> float:
        right = choose(among, frequencies, balance) == top
        return float(right.mean() + np.mean([right[top == code].mean() for code in present]))

    return max(BALANCES, key=merit)


def fit_unsure(
    logits: NDArray[np.float32], votes: NDArray[np.float32], frequencies: NDArray[np.float64], balance: float
) -> float:
    """The largest uncertainty up to which :data:`SURE_ACCURACY` of the answers are the top vote.

    Rows with one top vote count, also where that is contempt or unknown: there no emotion is right. 1
    where all may be called sure, 0 where none.
    """
    top = top_votes(votes)
    rows = top >= 0
    if not rows.any():
        return 1.0
    predicted = softmax(logits[rows])
    doubt = uncertainty(predicted)
    right = choose(shares(predicted), frequencies, balance) == top[rows]
    order = np.argsort(doubt, kind="stable")
    reached = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(reached >= SURE_ACCURACY)
    if not len(enough):
        return 0.0
    last = int(enough[-1])
    return 1.0 if last == len(order) - 1 else float(doubt[order[last]])


def fit_people(
    fitting: tuple[NDArray[np.float32], NDArray[np.float32]],
    selection: tuple[NDArray[np.float32], NDArray[np.float32]],
    frequencies: NDArray[np.float64],
    balance: float | None = None,
) -> People:
    """The settings of a model.

    ``fitting`` and ``selection``: calibrated logits and votes, (n, 9) each, of the rows that give the limit
    of what is unsure, and of those by which :func:`choose_balance` chooses the balance where ``balance`` is
    None. ``frequencies``: the prior, (7,).
    """
    if balance is None:
        balance = choose_balance(*selection, frequencies)
    limit = fit_unsure(*fitting, frequencies, balance)
    return People(tuple(round(float(value), 6) for value in frequencies), balance, round(limit, 4))
