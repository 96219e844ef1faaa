"""What predicted votes mean."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS, VOTE_COLUMNS, VOTE_OF_ANSWER
from fer_edge.models.people import People, choose, interpret, shares, uncertainty

PRIOR = np.array([0.1, 0.01, 0.02, 0.3, 0.12, 0.15, 0.3])


def votes(**given: float) -> np.ndarray:
    return np.array([[given.get(name, 0.0) for name in PEOPLE_ANSWERS]], np.float32)


def test_answers_are_the_votes_columns_but_for_no_face():
    names = {"happiness": "happy", "sadness": "sad", "anger": "angry"}
    assert [names.get(VOTE_COLUMNS[i], VOTE_COLUMNS[i]) for i in VOTE_OF_ANSWER] == list(PEOPLE_ANSWERS)


def test_shares_are_among_the_seven_emotions():
    assert shares(votes(happy=0.3, neutral=0.3, unknown=0.4))[0].tolist() == pytest.approx(
        [0, 0, 0, 0.5, 0, 0, 0.5]
    )
    nothing = shares(votes(unknown=1.0))
    np.testing.assert_allclose(nothing, np.full((1, 7), 1 / 7), rtol=1e-5)


def test_balance_lets_a_rare_emotion_win():
    among = shares(votes(fear=0.3, surprise=0.5, neutral=0.2))
    assert EMOTIONS[choose(among, PRIOR, 0.0)[0]] == "surprise"
    assert EMOTIONS[choose(among, PRIOR, 0.5)[0]] == "fear"


def test_an_emotion_that_nobody_voted_for_in_training_does_not_win_everywhere():
    """At T = 1 happy's 0.9 is divided by 0.5, disgust's 0.001 and 0.02 by 0.01: 1.8 beside 0.1 and 2."""
    frequencies = [
        0.0 if emotion == "disgust" else 0.5 if emotion == "happy" else 0.1 for emotion in EMOTIONS
    ]
    rows = np.zeros((2, 7), np.float32)
    rows[:, EMOTIONS.index("happy")] = 0.9
    rows[:, EMOTIONS.index("disgust")] = 0.001, 0.02
    assert [EMOTIONS[code] for code in choose(rows, frequencies, 1.0)] == ["happy", "disgust"]
    assert [EMOTIONS[code] for code in choose(rows, frequencies, 0.5)] == ["happy", "happy"]


def test_uncertainty_grows_with_disagreement_and_with_answers_that_are_no_emotion():
    levels = [
        uncertainty(one)[0]
        for one in (
            votes(happy=1.0),
            votes(happy=0.8, neutral=0.2),
            votes(happy=0.5, neutral=0.5),
            votes(happy=0.5, neutral=0.1, unknown=0.4),
            votes(contempt=0.5, unknown=0.5),
        )
    ]
    assert levels == sorted(levels)
    assert levels[0] == pytest.approx(0, abs=1e-6)
    assert levels[-1] == 1


def test_interpretation_follows_the_models_settings():
    given = np.concatenate([votes(happy=0.9, neutral=0.1), votes(happy=0.4, sad=0.3, neutral=0.3)])
    answers = interpret(given, People(tuple(PRIOR), 0.0, 0.4))
    assert answers.unsure.tolist() == [False, True]
    assert [EMOTIONS[code] for code in answers.emotions] == ["happy", "happy"]


def test_an_answer_does_not_depend_on_how_many_faces_there_are():
    rng = np.random.default_rng(4)
    for count in (2, 3, 17):
        given = rng.dirichlet(np.ones(9), count).astype(np.float32)
        together = interpret(given, People(tuple(PRIOR), 0.5, 0.4))
        for index in range(count):
            alone = interpret(given[index : index + 1], People(tuple(PRIOR), 0.5, 0.4))
            assert np.array_equal(alone.probabilities[0], together.probabilities[index])
            assert alone.uncertainty[0] == together.uncertainty[index]
