"""How predicted votes become answers: what an export fits, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = pytest.mark.toolchain

from fer_edge.export.people import (
    choose_balance,
    fit_people,
    fit_people_temperature,
    fit_unsure,
    prior,
)
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS
from fer_edge.models.classifier import softmax

EVEN = np.full(7, 1 / 7)
COMMON = np.array([0.01, 0.01, 0.01, 0.5, 0.01, 0.01, 0.45])


def votes(*rows: dict[str, float]) -> np.ndarray:
    return np.array([[row.get(name, 0) for name in PEOPLE_ANSWERS] for row in rows], np.float32)


def logits(*rows: dict[str, float]) -> np.ndarray:
    """Those whose distribution the shares are; what is not named is next to impossible."""
    return np.log(np.maximum(votes(*rows), 1e-6)).astype(np.float32)


def test_the_prior_is_the_mean_share_among_the_seven():
    """Rows count alike, however many of the ten are left; those without any emotion do not count."""
    found = prior(votes({"happy": 8, "unknown": 2}, {"happy": 2, "sad": 6}, {"contempt": 10}, {}))
    assert found[EMOTIONS.index("happy")] == pytest.approx((1 + 0.25) / 2)
    assert found[EMOTIONS.index("sad")] == pytest.approx(0.75 / 2)
    assert found.sum() == pytest.approx(1)


def test_the_temperature_of_people_undoes_a_factor():
    """The crowd splits exactly as predicted before the logits were made three times as large."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1, (5000, 9)).astype(np.float32)
    given = softmax(true) * 10
    given[:1000] = 0  # rows without votes count nothing
    assert fit_people_temperature(3 * true, given) == pytest.approx(3, rel=0.03)


def test_a_few_rows_on_which_all_agree_do_not_make_for_certainty():
    """As sure as (18 + 1) / (18 + 2)."""
    given = votes(*[{"happy": 10}] * 18)
    predicted = logits(*[{"happy": 0.6, "sad": 0.4}] * 18)
    temperature = fit_people_temperature(predicted, given)
    assert softmax(predicted / temperature).max(1).mean() == pytest.approx(0.95, abs=1e-3)


def test_balance_is_chosen_by_agreement_and_mean_recall():
    """Fear is predicted as 0.3 against 0.6 of happy: only a balance finds it, and it costs no happy face."""
    happy, fear = {"happy": 0.9, "fear": 0.05, "neutral": 0.05}, {"happy": 0.6, "fear": 0.3, "neutral": 0.1}
    predicted = logits(*[happy] * 6, *[fear] * 2)
    given = votes(*[{"happy": 10}] * 6, *[{"fear": 10}] * 2)
    # log(0.6 / 0.3) < T * log(0.5 / 0.01) from T = 0.18 on; log(0.9 / 0.05) > T * log(50) up to 0.74.
    assert choose_balance(predicted, given, COMMON) == 0.25
    assert choose_balance(predicted, np.zeros_like(given), COMMON) == 0
    # Where all votes are for what is predicted anyway, nothing is gained.
    assert choose_balance(predicted, votes(*[{"happy": 10}] * 8), COMMON) == 0


def test_as_many_are_called_sure_as_are_right_in_92_percent():
    """In the order of doubt the 21st answer is wrong, and all from the 26th on."""
    rows = [{"happy": share, "sad": 1 - share} for share in np.linspace(0.99, 0.6, 30)]
    right, wrong = {"happy": 10}, {"sad": 10}
    given = votes(*[right] * 20, wrong, *[right] * 4, *[wrong] * 5)
    limit = fit_unsure(logits(*rows), given, EVEN, 0.0)
    doubts = [-(s * np.log(s) + (1 - s) * np.log(1 - s)) / np.log(7) for s in np.linspace(0.99, 0.6, 30)]
    # 24 of 25 are right, 24 of 26 are 92.3 %, 24 of 27 are 88.9 %.
    assert doubts[25] <= limit + 1e-5 < doubts[26]


def test_all_sure_and_none_sure():
    predicted = logits(*[{"happy": 0.8, "sad": 0.2}] * 10)
    assert fit_unsure(predicted, votes(*[{"happy": 10}] * 10), EVEN, 0.0) == 1
    assert fit_unsure(predicted, votes(*[{"sad": 10}] * 10), EVEN, 0.0) == 0
    # No emotion is right where most say "unknown".
    assert fit_unsure(predicted, votes(*[{"unknown": 10}] * 10), EVEN, 0.0) == 0
    assert fit_unsure(predicted, np.zeros((10, 9), np.float32), EVEN, 0.0) == 1


def test_settings_come_from_the_rows_that_are_for_them():
    """The balance from those of selection, the limit from those of fitting."""
    happy, fear = {"happy": 0.9, "fear": 0.05, "neutral": 0.05}, {"happy": 0.6, "fear": 0.3, "neutral": 0.1}
    selection = (logits(*[happy] * 6, *[fear] * 2), votes(*[{"happy": 10}] * 6, *[{"fear": 10}] * 2))
    fitting = (logits(*[fear] * 10), votes(*[{"fear": 10}] * 10))
    people = fit_people(fitting, selection, COMMON)
    assert (people.prior, people.balance, people.unsure_above) == (tuple(COMMON.tolist()), 0.25, 1.0)
    fitting = (logits(*[fear] * 10), votes(*[{"happy": 10}] * 10))
    assert fit_people(fitting, selection, COMMON).unsure_above == 0


def test_a_balance_that_is_given_is_what_the_limit_is_found_for():
    """At T = 0 the faces of fear are called happy, from 0.25 on fear."""
    fear = {"happy": 0.6, "fear": 0.3, "neutral": 0.1}
    rows = (logits(*[fear] * 10), votes(*[{"fear": 10}] * 10))
    assert fit_people(rows, rows, COMMON).unsure_above == 1
    people = fit_people(rows, rows, COMMON, 0.0)
    assert (people.balance, people.unsure_above) == (0.0, 0.0)
