"""What predicted votes mean: shares of ten people, a chosen emotion, and how unsure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS, PEOPLE_ANSWERS, Labels

BALANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The T of :func:`choose` among which an export chooses, and for which figures are given."""


@dataclass(frozen=True)
class People:
    """How a model's predicted votes become an answer; chosen where it was exported.

    prior: mean share of votes of each emotion among the training faces, (7,), sum 1; balance: the T of
    :func:`choose`; unsure_above: uncertainty above which a face counts as unsure.
    """

    prior: tuple[float, ...]
    balance: float
    unsure_above: float


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier says of n faces."""

    probabilities: NDArray[np.float32]
    """(n, 7): for ``people`` the expected shares of votes among the seven emotions; rows sum to 1."""
    emotions: NDArray[np.int64]
    """(n,): the chosen emotion's code."""
    uncertainty: NDArray[np.float32]
    """(n,): 0 to 1, see :func:`uncertainty`."""
    unsure: NDArray[np.bool_]
    """(n,): whether people would disagree too much for the chosen emotion to be relied on."""
    labels: Labels
    """Whose answers they are."""


def shares(votes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The distribution among the seven emotions, float32 (n, 7), of predicted votes (n, 9).

    Contempt and unknown are left out, the rest scaled to sum 1.
    """
    emotions = votes[:, : len(EMOTIONS)]
    total = emotions.sum(1, keepdims=True, dtype=np.float32)
    return np.asarray(emotions / np.maximum(total, np.finfo(np.float32).tiny), np.float32)


def choose(
    probabilities: NDArray[np.floating[Any]], prior: NDArray[np.floating[Any]], balance: float
) -> NDArray[np.int64]:
    """The code of the emotion, int64 (n,), with the largest log(share) - ``balance`` * log(``prior``).

    Logit adjustment (Menon et al. 2021, arXiv:2007.07314): with 0 the largest share wins, and an emotion
    that is rare in the training data next to never; with 1 its rarity counts no longer. ``probabilities``
    are shares (n, 7), ``prior`` (7,).
    """
    tiny = np.finfo(np.float32).tiny
    adjusted = np.log(np.maximum(probabilities, tiny)) - balance * np.log(np.maximum(prior, tiny))
    return np.asarray(adjusted.argmax(1), np.int64)


def uncertainty(votes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """How far from unanimous people would be, float32 (n,), 0 to 1, by predicted votes (n, 9).

    The share of "contempt" and "unknown", for which no emotion can be right, and for the rest the
    entropy of the seven shares, as a fraction of its largest value.
    """
    among = shares(votes)
    entropy = -(among * np.log(np.maximum(among, np.finfo(np.float32).tiny))).sum(1) / np.log(len(EMOTIONS))
    other = votes[:, len(EMOTIONS) :].sum(1)
    return np.asarray(np.clip(other + (1 - other) * entropy, 0, 1), np.float32)


def interpret(votes: NDArray[np.float32], people: People) -> Answers:
    """The answers for predicted votes, float32 (n, 9), by the settings of the model."""
    among, doubt = shares(votes), uncertainty(votes)
    chosen = choose(among, np.array(people.prior), people.balance)
    return Answers(among, chosen, doubt, doubt > people.unsure_above, "people")


def interpret_labels(probabilities: NDArray[np.float32]) -> Answers:
    """The answers for probabilities of the labels of 2013, float32 (n, 7): the largest, never unsure.

    Nobody was asked twice in 2013, so uncertainty is only their entropy, as a fraction of its largest.
    """
    doubt = uncertainty(np.pad(probabilities, ((0, 0), (0, len(PEOPLE_ANSWERS) - len(EMOTIONS)))))
    count = len(probabilities)
    chosen = probabilities.argmax(1).astype(np.int64)
    return Answers(probabilities, chosen, doubt, np.zeros(count, np.bool_), "fer2013")
