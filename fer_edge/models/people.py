"""What predicted votes mean: shares of ten people, a chosen emotion, and how unsure it is."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS, PEOPLE_ANSWERS, Labels

_TINY = np.float32(1e-30)
_ENTROPY = np.float32(-1 / math.log(len(EMOTIONS)))
"""What the sum of shares times their logarithms has to be multiplied by to be 1 at most."""

BALANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The T of :func:`choose` among which an export chooses, and for which figures are given."""


MOST_BALANCE = 2.0
"""With more, only the rarest emotions would be chosen."""

LEAST_FREQUENCY = 0.01
"""An emotion that is rarer among the votes counts as one of this frequency, or it would win everywhere."""


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
    votes = np.asarray(votes, np.float32)
    return _shares(votes, _total(votes))


def choose(
    probabilities: NDArray[np.floating[Any]], prior: Iterable[float], balance: float
) -> NDArray[np.int64]:
    """The code of the emotion, int64 (n,), with the largest log(share) - ``balance`` * log(``prior``).

    Logit adjustment (Menon et al. 2021, arXiv:2007.07314): with 0 the largest share wins, and an emotion
    that is rare in the training data next to never; with 1 its rarity counts no longer. ``probabilities``
    are shares (n, 7), ``prior`` (7,), of which each counts as at least :data:`LEAST_FREQUENCY`.
    """
    return _choose(np.log(probabilities + _TINY), _offsets(tuple(prior), balance))


def uncertainty(votes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """How far from unanimous people would be, float32 (n,), 0 to 1, by predicted votes (n, 9).

    The share of "contempt" and "unknown", for which no emotion can be right, and for the rest the
    entropy of the seven shares, as a fraction of its largest value.
    """
    votes = np.asarray(votes, np.float32)
    total = _total(votes)
    among = _shares(votes, total)
    return _uncertainty(total, among, np.log(among))


def interpret(votes: NDArray[np.float32], people: People) -> Answers:
    """The answers for predicted votes, float32 (n, 9), by the settings of the model."""
    total = _total(votes)
    among = _shares(votes, total)
    logarithms = np.log(among)
    doubt = _uncertainty(total, among, logarithms)
    chosen = _choose(logarithms, _offsets(people.prior, people.balance))
    return Answers(among, chosen, doubt, doubt > people.unsure_above, "people")


@functools.lru_cache(maxsize=64)
def _offsets(prior: tuple[float, ...], balance: float) -> NDArray[np.float32]:
    return (balance * np.log(np.maximum(prior, LEAST_FREQUENCY))).astype(np.float32)


def _choose(logarithms: NDArray[np.floating[Any]], offsets: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray((logarithms - offsets).argmax(1), np.int64)


def _total(votes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The share (n,) of votes (n, 9) that the seven emotions get."""
    # A matrix product would round a row differently by how many there are.
    total: NDArray[np.float32] = np.add.reduce(votes[:, : len(EMOTIONS)], axis=1)
    return total


def _shares(votes: NDArray[np.float32], total: NDArray[np.float32]) -> NDArray[np.float32]:
    whole = (total + len(EMOTIONS) * _TINY)[:, np.newaxis]
    among: NDArray[np.float32] = (votes[:, : len(EMOTIONS)] + _TINY) / whole
    return among


def _uncertainty(
    total: NDArray[np.float32], among: NDArray[np.float32], logarithms: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Of shares (n, 7), whose emotions have the share ``total`` (n,) of all votes."""
    entropy = np.add.reduce(among * logarithms, axis=1) * _ENTROPY
    doubt: NDArray[np.float32] = np.maximum(1 - total * (1 - entropy), 0)
    return doubt


def interpret_labels(probabilities: NDArray[np.float32]) -> Answers:
    """The answers for probabilities of the labels of 2013, float32 (n, 7): the largest, never unsure.

    Nobody was asked twice in 2013, so uncertainty is only their entropy, as a fraction of its largest.
    """
    doubt = uncertainty(np.pad(probabilities, ((0, 0), (0, len(PEOPLE_ANSWERS) - len(EMOTIONS)))))
    count = len(probabilities)
    chosen = probabilities.argmax(1).astype(np.int64)
    return Answers(probabilities, chosen, doubt, np.zeros(count, np.bool_), "fer2013")
