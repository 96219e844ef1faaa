"""Figures of both heads, counted by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from two_heads import TwoHeads, face, shares, sure_of_each

from fer_edge.checks.evaluation import Evaluation, classify, evaluate
from fer_edge.errors import DataError
from fer_edge.fer2013.reader import FerDataset
from fer_edge.models.people import People

PREDICTED = [
    shares(happy=0.62, neutral=0.38),
    shares(happy=0.5, neutral=0.3, contempt=0.2),
    shares(sad=0.38, neutral=0.62),
    shares(contempt=0.5, angry=0.3, neutral=0.2),
]
# In the order of VOTE_COLUMNS: neutral, happiness, surprise, sadness, anger, disgust, fear, contempt,
# unknown, NF.
VOTES = np.array(
    [
        [8, 2, 0, 0, 0, 0, 0, 0, 0, 0],  # one top vote and a majority: neutral
        [3, 6, 0, 1, 0, 0, 0, 0, 0, 0],  # sadness is a slip; happy has 6 of 9
        [5, 0, 0, 5, 0, 0, 0, 0, 0, 0],  # neither
        [0, 0, 0, 0, 4, 0, 0, 6, 0, 0],  # no top vote among the seven, but a majority: contempt
        [3, 0, 0, 0, 0, 0, 0, 0, 0, 7],  # no face
        [4, 0, 0, 3, 0, 0, 3, 0, 0, 0],  # a top vote, but no majority
    ],
    np.uint8,
)
ANSWERED = [0, 1, 2, 3, 0, 2]
LABELS = np.array([6, 3, 4, 0, 6, 6], np.int8)
PRIOR = (0.06, 0.06, 0.06, 0.6, 0.06, 0.06, 0.1)


def one_hot(*codes: int) -> list[list[float]]:
    return np.eye(7)[list(codes)].tolist()


def dataset(usage=None) -> FerDataset:
    return FerDataset(np.stack([face(answer) for answer in ANSWERED]), LABELS, usage)


def evaluated(subject, faces, usage=None, votes=None, groups=None) -> Evaluation:
    """All steps, with the data in two pieces."""
    halves = (slice(0, 2), slice(2, None))
    pieces = [
        FerDataset(
            faces.pixels[half],
            faces.labels[half],
            None if faces.usage is None else faces.usage[half],
            first_row=half.start + 1,
            votes=None if votes is None else votes[half],
        )
        for half in halves
    ]
    return evaluate(classify(subject, iter(pieces), usage), subject.people, groups)


def classifier(balance: float = 0.0) -> TwoHeads:
    # By the labels: happy, happy, sad, sad.
    return TwoHeads(one_hot(3, 3, 4, 4), PREDICTED, People(PRIOR, balance, 0.4))


def test_the_label_head_is_compared_with_labels_and_with_the_one_top_vote():
    figures = evaluated(classifier(), dataset(), votes=VOTES).parts["all"]["fer2013"]
    # Answers 3 3 4 4 3 4, labels 6 3 4 0 6 6.
    assert figures.labels.rows == 6
    assert figures.labels.accuracy == pytest.approx(2 / 6)
    assert figures.labels.recall["neutral"] == 0
    assert figures.labels.recall["fear"] is None
    # neutral 0 of 3, happy and sad 1 of 1, angry 0 of 1
    assert figures.labels.mean_recall == pytest.approx(2 / 4)
    assert figures.labels.ece == pytest.approx(4 / 6)
    assert figures.one_top_vote.rows == 3
    assert figures.one_top_vote.accuracy == pytest.approx(1 / 3)
    assert (figures.balance, figures.unsure, figures.crowd) == (None, None, None)


def test_the_people_head_is_compared_with_votes_by_both_rules():
    figures = evaluated(classifier(), dataset(), votes=VOTES).parts["all"]["people"]
    # Answers happy, happy, neutral, angry, happy, neutral; top votes neutral, happy, -, -, -, neutral.
    top = figures.one_top_vote
    assert top.rows == 3
    assert top.accuracy == pytest.approx(2 / 3)
    assert top.mean_recall == pytest.approx((1 / 2 + 1) / 2)
    assert top.macro_f1 == pytest.approx(2 / 3)
    assert top.ece is None
    # Of eight: happy for neutral, happy for happy, contempt for contempt.
    assert figures.crowd.barsoum.rows == 3
    assert figures.crowd.barsoum.agreement == pytest.approx(2 / 3)
    # Absolute differences: 0.42 twice; 1/6, 1/30 and 0.2; 0.12 twice; 0.1, 0.1 and 0.2; 0.08, 0.22 and 0.3.
    assert figures.crowd.share_rows == 5
    assert figures.crowd.share_difference == pytest.approx((0.84 + 0.4 + 0.24 + 0.4 + 0.6) / 45, abs=1e-6)
    # Largest shares 0.62 that get 0.2, 0.5 and 0.4 in one bin; 0.5 that get 2/3 and 0.6 in another.
    assert figures.crowd.share_error == pytest.approx((0.42 + 0.12 + 0.22 + 1 / 6 + 0.1) / 5, abs=1e-6)


def test_the_people_head_is_compared_with_labels_too():
    figures = evaluated(classifier(), dataset()).parts["all"]["people"]
    assert figures.labels.accuracy == pytest.approx(3 / 6)
    assert figures.labels.recall["angry"] == 1
    assert figures.labels.recall["neutral"] == pytest.approx(1 / 3)
    assert figures.labels.ece is None
    assert (figures.one_top_vote, figures.crowd) == (None, None)


def test_the_table_shows_what_the_balance_does():
    """At T = 1 shares count by how much they exceed the prior: happy never wins, sad does for the last."""
    figures = evaluated(classifier(0.4), dataset(), votes=VOTES).parts["all"]["people"]
    assert [row.balance for row in figures.crowd.balances] == [0, 0.25, 0.4, 0.5, 0.75, 1]
    first, last = figures.crowd.balances[0], figures.crowd.balances[-1]
    assert (first.agreement, first.mean_recall) == (pytest.approx(2 / 3), 0.75)
    assert (last.agreement, last.mean_recall) == (pytest.approx(1 / 3), 0.25)
    assert (last.recall["neutral"], last.recall["happy"], last.recall["sad"]) == (0.5, 0, None)


def test_answers_are_chosen_with_the_models_own_balance():
    figures = evaluated(classifier(1.0), dataset(), votes=VOTES).parts["all"]["people"]
    assert figures.balance == 1
    assert figures.one_top_vote.accuracy == pytest.approx(1 / 3)
    # The error of shares is that of the largest one still.
    assert figures.crowd.share_error == pytest.approx((0.42 + 0.12 + 0.22 + 1 / 6 + 0.1) / 5, abs=1e-6)


def test_unsure_answers_are_counted_and_left_out():
    """Faces 1 and 3 have an uncertainty above 0.4; of the others two have a top vote, one is right."""
    figures = evaluated(classifier(), dataset(), votes=VOTES).parts["all"]["people"]
    assert figures.unsure == pytest.approx(2 / 6)
    assert figures.crowd.sure.rows == 2
    assert figures.crowd.sure.agreement == 0.5


def test_votes_without_any_agreement_give_no_figures_and_no_error():
    votes = np.repeat(VOTES[4:5], 6, axis=0)
    heads = evaluated(classifier(), dataset(), votes=votes).parts["all"]
    assert heads["fer2013"].one_top_vote is None
    crowd = heads["people"].crowd
    assert (crowd.barsoum.rows, crowd.share_rows, crowd.sure.rows) == (0, 0, 0)
    assert np.isnan([crowd.barsoum.agreement, crowd.share_difference, crowd.balances[0].agreement]).all()


def test_an_older_export_has_figures_of_its_one_head():
    older = TwoHeads(one_hot(3, 3, 4, 4))
    assert list(evaluated(older, dataset(), votes=VOTES).parts["all"]) == ["fer2013"]


def test_rows_that_repeat_a_training_image_are_a_part_of_their_own():
    usage = np.array(["Training", "Training", "Training", "PublicTest", "PublicTest", "PublicTest"])
    # The faces answered with 0 and 2 are in Training: of the last three only the one with 3 is left.
    parts = evaluated(classifier(), dataset(usage), "PublicTest", VOTES).parts
    assert {name: heads["people"].labels.rows for name, heads in parts.items()} == {
        "all": 3,
        "not_in_training": 1,
    }
    assert parts["not_in_training"]["people"].labels.accuracy == 1
    # Votes go with their rows: of the last three only the last has a top vote.
    assert parts["all"]["people"].one_top_vote.rows == 1
    assert parts["not_in_training"]["people"].one_top_vote is None
    assert parts["not_in_training"]["people"].crowd.barsoum.agreement == 1


def test_memory_does_not_grow_with_the_pixels():
    """40,000 faces have 92 MB of pixels; 100 bytes of each are kept, and a few copies of these made."""
    faces = np.stack([face(code) for code in range(7)])
    codes = np.arange(800) % 7

    def pieces():
        for start in range(0, 40_000, 800):
            usage = np.array(["Training", "PublicTest"])[np.arange(800) // 400]
            yield FerDataset(faces[codes], codes.astype(np.int8), usage, first_row=start + 1)

    subject = sure_of_each()
    tracemalloc.start()
    classified = classify(subject, pieces())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25_000_000
    assert classified.rows.tolist() == list(range(1, 40_001))
    # All seven images are in Training.
    assert not classified.not_in_training.any()
    heads = evaluate(classified, subject.people).parts["all"]
    assert [(figures.labels.rows, figures.labels.accuracy) for figures in heads.values()] == [(40_000, 1)] * 2


def test_groups_are_those_of_the_chosen_rows():
    usage = np.array(["Training", "Training", "PublicTest", "PublicTest", "PublicTest", "PublicTest"])
    kinds = {"kind": np.array(["a", "a", "a", "b", "b", "b"])}
    groups = evaluated(classifier(), dataset(usage), "PublicTest", groups=kinds).groups
    # People's answers neutral, angry, happy, neutral to faces labelled sad, angry, neutral, neutral.
    assert groups["kind"]["a"].heads["people"].right.rows == 1
    assert groups["kind"]["a"].heads["people"].right.right == 0
    assert (
        groups["kind"]["b"].heads["people"].right.right,
        groups["kind"]["b"].heads["people"].right.rows,
    ) == (2, 3)
    assert groups["kind"]["b"].heads["people"].recall["neutral"].share == 0.5
    assert set(groups["kind"]["b"].heads["people"].recall) == {"angry", "neutral"}


def test_a_usage_that_nothing_tells_is_refused():
    with pytest.raises(DataError, match=r"the data has no Usage.*leave it out"):
        evaluated(classifier(), dataset(), "PublicTest")


def test_data_without_rows_or_labels_is_refused_by_name():
    none = FerDataset(np.empty((0, 48, 48), np.uint8), np.empty(0, np.int8), np.empty(0, "U1"))
    with pytest.raises(DataError, match=r"^faces\.npz: has no rows$"):
        classify(classifier(), [none], name="faces.npz")
    with pytest.raises(DataError, match=r"^faces\.npz: no row has Usage 'PublicTest'$"):
        classify(classifier(), [none], "PublicTest", name="faces.npz")
    with pytest.raises(DataError, match=r"^test\.csv: there is no emotion column"):
        classify(classifier(), [FerDataset(dataset().pixels, None, None)], name="test.csv")


def test_rows_that_repeat_an_image_of_training_further_down_are_found():
    """Training may come last, and in another piece."""
    faces = dataset()
    parts = [(slice(0, 3), "PublicTest"), (slice(3, 6), "Training")]
    pieces = [
        FerDataset(faces.pixels[part], LABELS[part], np.full(3, usage), first_row=part.start + 1)
        for part, usage in parts
    ]
    # Faces 0 and 2 are answered, and look, as the last two do.
    assert classify(classifier(), pieces).not_in_training.tolist() == [False, True, False] + [False] * 3
