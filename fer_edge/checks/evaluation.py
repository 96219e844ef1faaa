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
from .agreement import CrowdFigures, Votes, crowd_figures, read_crowd, top_vote_metrics
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
    rows = _Rows(classifier)
    for piece in pieces:
        if piece.labels is None:
            raise DataError(f"{prefix}there is no emotion column to compare with; use fer-edge predict")
        if usage is not None and piece.usage is None:
            raise DataError(
                f"{prefix}the data has no Usage (a column of a CSV, sub-folders train/ and test/ of a "
                f"folder), so --usage {usage} selects nothing; leave it out"
            )
        chosen = np.ones(len(piece), np.bool_) if usage is None else np.asarray(piece.usage == usage)
        rows.add(piece, piece.labels, chosen)
    if not rows.numbers:
        have = f"; there are {', '.join(sorted(rows.usages))}" if rows.usages else ""
        raise DataError(f"{prefix}no row has Usage {usage!r}{have}" if usage else f"{prefix}has no rows")
    return rows.classified()


class _Rows:
    """What figures need of the rows of a data set, gathered piece by piece."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._outputs: dict[Labels, list[NDArray[np.float32]]] = {head: [] for head in classifier.heads}
        self._labels: list[NDArray[np.int8]] = []
        self._votes: list[NDArray[np.uint8]] = []
        self._bad_rows: list[NDArray[np.int64]] = []
        self._prints: list[NDArray[np.bytes_]] = []
        self._outside: list[NDArray[np.bool_]] = []
        self._training: list[NDArray[np.bytes_]] = []
        self.numbers: list[NDArray[np.int64]] = []
        """Those of the chosen rows."""
        self.usages: set[str] = set()
        """Every Usage of the data, of rows that were not chosen as well."""

    def add(self, piece: FerDataset, labels: NDArray[np.int8], chosen: NDArray[np.bool_]) -> None:
        """Classify the ``chosen`` rows of a piece; ``labels`` are those of all its rows."""
        self._bad_rows.append(np.array(piece.bad_rows, np.int64))
        if piece.usage is not None:
            self.usages.update(piece.usage.tolist())
            self._note_images(piece.pixels, piece.usage == "Training", chosen)
        if not chosen.any():
            return
        for head, answers in self._classifier.distributions(piece.pixels[chosen]).items():
            self._outputs[head].append(answers)
        self._labels.append(labels[chosen])
        self.numbers.append(piece.rows[chosen])
        if piece.votes is not None:
            self._votes.append(piece.votes[chosen])

    def classified(self) -> Classified:
        """All that was gathered; there has to be a row."""
        return Classified(
            {head: np.concatenate(answers) for head, answers in self._outputs.items()},
            np.concatenate(self._labels),
            np.concatenate(self.numbers),
            self._not_in_training(),
            np.concatenate(self._votes) if self._votes else None,
            np.concatenate(self._bad_rows),
        )

    def _note_images(
        self, pixels: NDArray[np.uint8], training: NDArray[np.bool_], chosen: NDArray[np.bool_]
    ) -> None:
        prints = fingerprints(pixels)
        self._training.append(prints[training])
        self._prints.append(prints[chosen])
        self._outside.append(~training[chosen])

    def _not_in_training(self) -> NDArray[np.bool_] | None:
        if "Training" not in self.usages:
            return None
        repeated = np.isin(np.concatenate(self._prints), np.concatenate(self._training))
        outside: NDArray[np.bool_] = np.concatenate(self._outside) & ~repeated
        return outside


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
    answers = {head: _answers(head, output, people) for head, output in classified.outputs.items()}
    crowd = None if classified.votes is None else read_crowd(classified.votes)
    parts = {"all": np.ones(len(classified.labels), np.bool_)}
    if classified.not_in_training is not None and classified.not_in_training.any():
        parts["not_in_training"] = classified.not_in_training
    figures = {
        name: {
            head: _figures(own, classified.outputs[head], classified.labels, people, crowd, rows)
            for head, own in answers.items()
        }
        for name, rows in parts.items()
    }
    groups = groups or {}
    return Evaluation(
        figures,
        group_figures(
            {head: own.emotions for head, own in answers.items()},
            classified.labels,
            {name: values[classified.rows - 1] for name, values in groups.items()},
            skipped or {name: values[:0] for name, values in groups.items()},
        ),
    )


def _answers(head: Labels, output: NDArray[np.float32], people: People | None) -> Answers:
    if head == "fer2013":
        return interpret_labels(output)
    assert people is not None, "a model with the head people says how its votes become answers"
    return interpret(output, people)


def _figures(
    answers: Answers,
    output: NDArray[np.float32],
    labels: NDArray[np.int8],
    people: People | None,
    crowd: Votes | None,
    rows: NDArray[np.bool_],
) -> HeadFigures:
    """The figures of one head on some ``rows``, bool (n,)."""
    emotions, probabilities, labels = answers.emotions[rows], answers.probabilities[rows], labels[rows]
    votes = None if crowd is None else crowd.of(rows)
    confidence = None if answers.labels == "people" else probabilities
    top = None if votes is None else top_vote_metrics(emotions, confidence, votes)
    if people is None or answers.labels == "fer2013":
        return HeadFigures(measure(probabilities, labels), top)
    return HeadFigures(
        # Shares of votes are no confidence in a label, so they have no calibration error there.
        compare(emotions, labels),
        top,
        people.balance,
        float(answers.unsure[rows].mean()),
        None if votes is None else crowd_figures(output[rows], people, votes),
    )
