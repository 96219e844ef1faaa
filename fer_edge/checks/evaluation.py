"""A model's figures on labelled faces: of both its outputs, beside labels, votes and groups of people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..fer2013.duplicates import in_training
from ..fer2013.reader import FerDataset
from ..labels import ANSWERS, Labels
from ..models.classifier import Classifier
from ..models.people import Answers, People, interpret, interpret_labels
from .accuracy import Metrics, compare, measure
from .agreement import CrowdFigures, crowd_figures, read_crowd, top_vote_metrics
from .groups import Groups, group_figures

_BLOCK = 1024
"""Rows whose pixels are copied at a time."""


@dataclass(frozen=True)
class HeadFigures:
    """Figures of one output of a model, on some rows.

    labels: the chosen emotions beside the labels; one_top_vote: beside what most of the crowd chose, None
    without votes. For ``people`` alone, balance: the T with which emotions are chosen; unsure: share of
    the rows whose answer counts as unsure; crowd: the predicted votes beside the actual ones, None without.
    """

    labels: Metrics
    one_top_vote: Metrics | None = None
    balance: float | None = None
    unsure: float | None = None
    crowd: CrowdFigures | None = None


@dataclass(frozen=True)
class Evaluation:
    """``parts``: by name of some rows and by head; ``groups``: see :data:`~.groups.Groups`."""

    parts: dict[str, dict[Labels, HeadFigures]]
    groups: Groups = field(default_factory=dict)


def evaluate(
    classifier: Classifier,
    dataset: FerDataset,
    usage: str | None = None,
    votes: NDArray[np.uint8] | None = None,
    groups: Mapping[str, NDArray[np.str_]] | None = None,
    skipped: Mapping[str, NDArray[np.str_]] | None = None,
) -> Evaluation:
    """Evaluate ``classifier`` on the rows of ``dataset`` that have this ``usage``, or on all.

    ``votes``: uint8 (n, 10), FER+ votes for each row of the data set; ``groups``: by name, to which group
    each row belongs, (n,); ``skipped``: the same of pictures that gave no face, (m,). The parts are
    ``all``, and ``not_in_training`` for the rows outside Training whose image is not in it, if the data
    set holds the Training rows too; without them that is unknown. Raises
    :class:`~fer_edge.errors.DataError` where the data set has no labels or no row of this usage.
    """
    if dataset.labels is None:
        raise DataError("there is no emotion column to compare with; use fer-edge predict")
    chosen = _rows_of(dataset, usage)
    labels = dataset.labels[chosen]
    outputs = _classify(classifier, dataset.pixels, np.flatnonzero(chosen))
    people = classifier.people
    answers = {head: _answers(head, output, people) for head, output in outputs.items()}
    crowd = None if votes is None else read_crowd(votes[chosen])

    def figures(head: Labels, rows: NDArray[np.bool_]) -> HeadFigures:
        said = answers[head]
        emotions, probabilities = said.emotions[rows], said.probabilities[rows]
        votes_of_rows = None if crowd is None else crowd.of(rows)
        confidence = None if head == "people" else probabilities
        top = None if votes_of_rows is None else top_vote_metrics(emotions, confidence, votes_of_rows)
        if people is None or head == "fer2013":
            return HeadFigures(measure(probabilities, labels[rows]), top)
        return HeadFigures(
            # Shares of votes are no confidence in a label, so they have no calibration error there.
            compare(emotions, labels[rows]),
            top,
            people.balance,
            float(said.unsure[rows].mean()),
            None if votes_of_rows is None else crowd_figures(outputs[head][rows], people, votes_of_rows),
        )

    parts = {"all": np.ones(len(labels), np.bool_)}
    if dataset.usage is not None and (dataset.usage == "Training").any():
        clean = ((dataset.usage != "Training") & ~in_training(dataset))[chosen]
        if clean.any():
            parts["not_in_training"] = clean
    return Evaluation(
        {name: {head: figures(head, rows) for head in outputs} for name, rows in parts.items()},
        group_figures(
            {head: said.emotions for head, said in answers.items()},
            labels,
            {name: values[chosen] for name, values in (groups or {}).items()},
            skipped or {name: values[:0] for name, values in (groups or {}).items()},
        ),
    )


def _classify(
    classifier: Classifier, pixels: NDArray[np.uint8], rows: NDArray[np.integer[Any]]
) -> dict[Labels, NDArray[np.float32]]:
    """What each head of ``classifier`` answers to these rows of ``pixels``, float32 (n, 9) or (n, 7)."""
    outputs: dict[Labels, NDArray[np.float32]] = {
        head: np.empty((len(rows), len(ANSWERS[head])), np.float32) for head in classifier.heads
    }
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        for head, answers in classifier.distributions(pixels[block]).items():
            outputs[head][start : start + len(block)] = answers
    return outputs


def _answers(head: Labels, output: NDArray[np.float32], people: People | None) -> Answers:
    if head == "fer2013":
        return interpret_labels(output)
    assert people is not None, "a model with the head people says how its votes become answers"
    return interpret(output, people)


def _rows_of(dataset: FerDataset, usage: str | None) -> NDArray[np.bool_]:
    if usage is None:
        return np.ones(len(dataset), np.bool_)
    if dataset.usage is None:
        raise DataError(
            f"the data has no Usage (a column of a CSV, sub-folders train/ and test/ of a folder), so "
            f"--usage {usage} selects nothing; leave it out"
        )
    chosen: NDArray[np.bool_] = dataset.usage == usage
    if not chosen.any():
        have = ", ".join(sorted(set(dataset.usage.tolist())))
        raise DataError(f"no row has Usage {usage!r}; there are {have}")
    return chosen
