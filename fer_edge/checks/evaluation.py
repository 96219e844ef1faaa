"""A model's figures on labelled faces: of both its outputs, beside labels, votes and groups of people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..fer2013.duplicates import fingerprints
from ..fer2013.reader import FerDataset
from ..labels import Labels
from ..models.classifier import Classifier
from ..models.people import Answers, People, interpret, interpret_labels
from .accuracy import Metrics, compare, measure
from .agreement import CrowdFigures, crowd_figures, read_crowd, top_vote_metrics
from .groups import Groups, group_figures


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


@dataclass(frozen=True)
class Classified:
    """What figures need of n classified rows; their pixels are gone."""

    outputs: dict[Labels, NDArray[np.float32]]
    """By head, float32 (n, 9) or (n, 7): the distributions."""
    labels: NDArray[np.int8]
    """(n,)"""
    rows: NDArray[np.int64]
    """(n,): their numbers in the data, from 1."""
    not_in_training: NDArray[np.bool_] | None
    """(n,): rows outside Training whose image is not in it; None where the data has no Training rows."""
    votes: NDArray[np.uint8] | None
    """(n, 10), FER+ votes."""
    bad_rows: NDArray[np.int64]
    """(m,): numbers of the rows of any Usage that could not be read, or of pictures without a face."""


def classify(
    classifier: Classifier, pieces: Iterable[FerDataset], usage: str | None = None, name: str = ""
) -> Classified:
    """Classify the rows of a data set that have this ``usage``, or all; its ``pieces`` are not kept.

    Takes some 100 bytes a row. Raises :class:`~fer_edge.errors.DataError`, with the data's ``name`` in
    front, where the data set has no labels or no row of this usage; and whatever ``pieces`` raises.
    """
    prefix = f"{name}: " if name else ""
    outputs: dict[Labels, list[NDArray[np.float32]]] = {head: [] for head in classifier.heads}
    labels, rows, votes, outside, prints, training = [], [], [], [], [], []
    bad_rows: list[NDArray[np.int64]] = []
    usages: set[str] = set()
    for piece in pieces:
        if piece.labels is None:
            raise DataError(f"{prefix}there is no emotion column to compare with; use fer-edge predict")
        if usage is not None and piece.usage is None:
            raise DataError(
                f"{prefix}the data has no Usage (a column of a CSV, sub-folders train/ and test/ of a "
                f"folder), so --usage {usage} selects nothing; leave it out"
            )
        chosen = np.ones(len(piece), np.bool_)
        if usage is not None:
            chosen = np.asarray(piece.usage == usage)
        bad_rows.append(np.array(piece.bad_rows, np.int64))
        if piece.usage is not None:
            usages.update(piece.usage.tolist())
            own = piece.usage == "Training"
            every = fingerprints(piece.pixels)
            training.append(every[own])
            prints.append(every[chosen])
            outside.append(~own[chosen])
        if not chosen.any():
            continue
        for head, answers in classifier.distributions(piece.pixels[chosen]).items():
            outputs[head].append(answers)
        labels.append(piece.labels[chosen])
        rows.append(piece.rows[chosen])
        if piece.votes is not None:
            votes.append(piece.votes[chosen])
    if not rows:
        have = f"; there are {', '.join(sorted(usages))}" if usages else ""
        raise DataError(f"{prefix}no row has Usage {usage!r}{have}" if usage else f"{prefix}has no rows")
    not_in_training = None
    if "Training" in usages:
        repeated = np.isin(np.concatenate(prints), np.concatenate(training))
        not_in_training = np.concatenate(outside) & ~repeated
    return Classified(
        {head: np.concatenate(answers) for head, answers in outputs.items()},
        np.concatenate(labels),
        np.concatenate(rows),
        not_in_training,
        np.concatenate(votes) if votes else None,
        np.concatenate(bad_rows),
    )


def evaluate(
    classified: Classified,
    people: People | None,
    groups: Mapping[str, NDArray[np.str_]] | None = None,
    skipped: Mapping[str, NDArray[np.str_]] | None = None,
) -> Evaluation:
    """Evaluate answers of :func:`classify`; ``people``: that attribute of the classifier.

    ``groups``: by name, to which group each row of the data belongs, bad ones included; ``skipped``: the
    same of pictures that gave no face, (m,). The parts are ``all``, and ``not_in_training`` for the rows
    outside Training whose image is not in it, if the data holds the Training rows too; without them that
    is unknown.
    """
    labels, outputs = classified.labels, classified.outputs
    answers = {head: _answers(head, output, people) for head, output in outputs.items()}
    crowd = None if classified.votes is None else read_crowd(classified.votes)

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
    if classified.not_in_training is not None and classified.not_in_training.any():
        parts["not_in_training"] = classified.not_in_training
    return Evaluation(
        {name: {head: figures(head, rows) for head in outputs} for name, rows in parts.items()},
        group_figures(
            {head: said.emotions for head, said in answers.items()},
            labels,
            {name: values[classified.rows - 1] for name, values in (groups or {}).items()},
            skipped or {name: values[:0] for name, values in (groups or {}).items()},
        ),
    )


def _answers(head: Labels, output: NDArray[np.float32], people: People | None) -> Answers:
    if head == "fer2013":
        return interpret_labels(output)
    assert people is not None, "a model with the head people says how its votes become answers"
    return interpret(output, people)
