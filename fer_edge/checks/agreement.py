"""How well predicted votes match the votes of FER+, by two protocols, and at which balance of emotions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fer2013.votes import absolute_majorities, majority_votes, vote_shares
from ..labels import EMOTIONS
from ..models.people import BALANCES, People, choose, interpret
from .accuracy import Metrics, calibration_error, compare, confidence_error


@dataclass(frozen=True)
class Votes:
    """The FER+ votes on n faces, as each protocol reads them."""

    top: NDArray[np.int8]
    """(n,): the one top vote, a code of the seven emotions; -1 where there is none."""
    majority: NDArray[np.int8]
    """(n,): what more than half chose, the seven emotions or contempt; -1 where there is none."""
    shares: NDArray[np.float32]
    """(n, 9), in the order of ``PEOPLE_ANSWERS``; rows of zeros where nobody voted."""

    def of(self, rows: NDArray[np.bool_]) -> Votes:
        """The votes on some of the faces; ``rows`` bool (n,)."""
        return Votes(self.top[rows], self.majority[rows], self.shares[rows])


@dataclass(frozen=True)
class Agreement:
    """``agreement``: share of ``rows`` on which an answer is the crowd's; NaN for none."""

    agreement: float
    rows: int


@dataclass(frozen=True)
class AtBalance:
    """Agreement with the one top vote at one ``balance`` T; recall by emotion, None without rows."""

    balance: float
    agreement: float
    mean_recall: float
    recall: dict[str, float | None]


@dataclass(frozen=True)
class CrowdFigures:
    """Predicted votes beside actual ones; rates are fractions from 0 to 1, NaN where no row has votes.

    barsoum: agreement by the protocol of Barsoum et al. 2016, see
    :func:`fer_edge.fer2013.votes.absolute_majorities`; the answer is the largest of eight predicted
    shares. share_difference: mean absolute difference of predicted and actual shares over ``share_rows``
    rows and nine answers; share_error: mean gap, over 15 bins of equal width, between the largest predicted
    share and the actual share of that answer, on the same rows: the calibration error of shares. balances:
    for each of ``BALANCES`` and the T of the answers. sure: agreement with the one top vote of the answers
    that do not count as unsure.
    """

    barsoum: Agreement
    share_difference: float
    share_rows: int
    share_error: float
    balances: tuple[AtBalance, ...]
    sure: Agreement


def read_crowd(votes: NDArray[np.uint8]) -> Votes:
    """Interpret FER+ votes, uint8 (n, 10); see :mod:`fer_edge.fer2013.votes` for the rules."""
    return Votes(majority_votes(votes), absolute_majorities(votes), vote_shares(votes))


def top_vote_metrics(
    answers: NDArray[np.integer[Any]], probabilities: NDArray[np.float32] | None, votes: Votes
) -> Metrics | None:
    """Compare answers (n,) with the one top vote, on the rows that have one; None where none has.

    ``probabilities``, float32 (n, 7), of labels give the calibration error: of the largest, whatever the
    answer. None where they are shares of votes: six of ten make a sure majority, not one of 60 %.
    """
    rows = votes.top >= 0
    if not rows.any():
        return None
    metrics = compare(answers[rows], votes.top[rows])
    if probabilities is None:
        return metrics
    return replace(metrics, ece=calibration_error(probabilities[rows], votes.top[rows]))


def crowd_figures(predicted: NDArray[np.float32], people: People, votes: Votes) -> CrowdFigures:
    """Compare predicted votes, float32 (n, 9), and the answers they mean by ``people``, with actual votes."""
    answers = interpret(predicted, people)
    voted = votes.shares.sum(1) > 0
    eight = predicted[:, : len(EMOTIONS) + 1].argmax(1)
    differences = np.abs(predicted[voted] - votes.shares[voted])
    return CrowdFigures(
        barsoum=agreement(eight, votes.majority),
        share_difference=float(differences.mean()) if voted.any() else float("nan"),
        share_rows=int(voted.sum()),
        share_error=_share_error(predicted[voted], votes.shares[voted]) if voted.any() else float("nan"),
        balances=tuple(
            at_balance(answers.probabilities, people, votes.top, t)
            for t in sorted({*BALANCES, people.balance})
        ),
        sure=agreement(answers.emotions[~answers.unsure], votes.top[~answers.unsure]),
    )


def _share_error(predicted: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    largest = predicted.argmax(1)
    rows = np.arange(len(predicted))
    return confidence_error(
        predicted[rows, largest].astype(np.float64), actual[rows, largest].astype(np.float64)
    )


def agreement(answers: NDArray[np.integer[Any]], crowd: NDArray[np.integer[Any]]) -> Agreement:
    """How often answers (n,) are the crowd's (n,), on the rows where that is not -1."""
    decided = crowd >= 0
    if not decided.any():
        return Agreement(float("nan"), 0)
    return Agreement(float((answers[decided] == crowd[decided]).mean()), int(decided.sum()))


def at_balance(
    probabilities: NDArray[np.float32], people: People, top: NDArray[np.integer[Any]], balance: float
) -> AtBalance:
    """Figures of the answers that shares, float32 (n, 7), give at one ``balance``; ``top`` as in Votes."""
    decided = top >= 0
    if not decided.any():
        return AtBalance(balance, float("nan"), float("nan"), dict.fromkeys(EMOTIONS))
    chosen = choose(probabilities[decided], np.array(people.prior), balance)
    metrics = compare(chosen, top[decided])
    return AtBalance(balance, metrics.accuracy, metrics.mean_recall, metrics.recall)
