"""Tests of simulated sessions: the same again, people as they are meant to be, tables that agree."""

import numpy as np
import pytest

from fer_edge.labels import EMOTIONS
from fer_edge.report.measures import figures, persons
from fer_edge.report.parts import parts
from fer_edge.report.simulated import DEMO, Scene, expected_shares, simulated_material, simulated_session


def test_a_session_of_sixty_people_and_three_scenes():
    session = simulated_session()
    assert len(session.people) == 60 and len(session.events) == 3
    assert [event.name for event in session.events] == [scene.name for scene in DEMO]
    joke = figures(session, parts(session, "event")[1])
    assert joke["happy"].value > 0.2 and joke["smiled"].value > 0.3
    stays = persons(session).dwell
    assert 30 < np.count_nonzero(stays == stays.max()) < 60
    assert "none of these people exist" in session.told[0]


def test_the_same_seed_makes_the_same_session():
    first, again, other = simulated_session(12, 5), simulated_session(12, 5), simulated_session(12, 6)
    assert np.array_equal(first.seconds.shares, again.seconds.shares)
    assert np.array_equal(first.people.ended, again.people.ended)
    assert not np.array_equal(first.people.size, other.people.size)


def test_minutes_and_visits_agree_with_seconds():
    session = simulated_session(30, 2)
    for name in ("seen", "unsure", "attention", "unclear"):
        of_seconds = getattr(session.seconds, name).sum(dtype=float)
        assert getattr(session.people, name).sum() == pytest.approx(of_seconds)
        assert getattr(session.minutes, name).sum() == pytest.approx(of_seconds)
    minutes = session.minutes
    assert minutes.visits_begun.sum() == minutes.visits_ended.sum() == 30
    assert minutes.dwell.sum() == pytest.approx(session.people.dwell.sum())
    assert minutes.people_max.max() <= 30 and (minutes.people >= minutes.people_max).all()
    assert minutes.observed.sum() == pytest.approx((minutes.ended[-1] - minutes.began[0]) / 1000)


@pytest.mark.parametrize("apart", [False, True])
def test_mean_shares_are_the_expected_ones(apart):
    scenes = (Scene("A", 12, {"happy": 0.3, "surprise": 0.1}), Scene("B", 12))
    session = simulated_material(scenes, 3000, np.random.default_rng(1), apart=apart)
    for scene, part in zip(scenes, parts(session, "event"), strict=True):
        people = persons(session, part)
        assert len(people) == (1500 if apart else 3000)
        # Five standard errors.
        error = 5 * people.shares.std(axis=0) / np.sqrt(len(people))
        assert (np.abs(people.shares.mean(axis=0) - expected_shares(scene)) < error + 1e-6).all()
    assert expected_shares(scenes[0])[EMOTIONS.index("happy")] == pytest.approx(0.3 + 0.6 * 0.1)
