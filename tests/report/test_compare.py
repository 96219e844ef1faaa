"""Tests of comparisons: hand-calculated differences, exact intervals, coverage, and what is warned of."""

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import repository_module
from scenes import face, material

from fer_edge.report.bootstrap import Resampling, holm
from fer_edge.report.compare import compare, estimate
from fer_edge.report.material import Event, Minutes, Seconds, Source
from fer_edge.report.measures import COUNTS, MEASURES, Options, persons
from fer_edge.report.parts import parts, whole
from fer_edge.report.simulated import Scene, simulated_material, simulated_session

ROOT = Path(__file__).parents[2]

A_THEN_B = (Event("A", 0, 5000), Event("B", 5000, 10_000))


def pairs(happy_a, happy_b):
    """People who see A for 5 s and then B, with these shares of happy."""
    return material(
        [{s: face(happy=(a, b)[s // 5]) for s in range(10)} for a, b in zip(happy_a, happy_b, strict=True)],
        A_THEN_B,
    )


def strangers(happy_a, happy_b):
    """People of whom some see A and others see B."""
    seen_a = [{s: face(happy=a) for s in range(5)} for a in happy_a]
    return material([*seen_a, *({s: face(happy=b) for s in range(5, 10)} for b in happy_b)], A_THEN_B)


def only(of, measure="happy", **options):
    return compare(of, parts(of, "event"), [measure], resampling=Resampling(**options))[0]


def test_trailers_that_the_same_people_saw():
    # Differences 0.1, 0.2, 0.1, 0.2; of one who left and one who came late nothing counts.
    of = pairs([0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.4, 0.6])
    one = only(of)
    assert one.design == "paired" and (one.people, one.people_a, one.people_b) == (4, 4, 4)
    assert (one.value_a, one.value_b) == pytest.approx((0.25, 0.4))
    assert one.difference == pytest.approx(0.15) and one.more == pytest.approx(0.6)
    assert one.effect == 1
    assert one.low < 0.15 < one.high and one.more_low < 0.6 < one.more_high
    assert "Too few people: 4 in A; intervals are reliable from 20 on." in one.warnings


def test_who_saw_only_one_of_two_does_not_count_where_most_saw_both():
    people = [{s: face(happy=0.1 + 0.2 * (s >= 5)) for s in range(10)} for _ in range(3)]
    of = material([*people, {s: face(happy=0.9) for s in range(5)}], A_THEN_B)
    assert only(of).value_a == pytest.approx(0.1) and only(of).people == 3
    everybody = only(of, pairing="never")
    assert everybody.design == "partly paired"
    assert everybody.value_a == pytest.approx((0.3 + 0.9) / 4)
    assert "3 of 4 people were in both parts." in everybody.warnings


def test_adverts_that_different_people_saw():
    of = strangers([0.1, 0.2, 0.3], [0.2, 0.4])
    one = only(of)
    assert one.design == "unpaired" and (one.people, one.people_a, one.people_b) == (5, 3, 2)
    assert one.difference == pytest.approx(0.3 - 0.2)
    # Of six pairs B has more in 0.2 > 0.1 and three of 0.4, less in 0.2 < 0.3, the same in 0.2.
    assert one.effect == pytest.approx((4 - 1) / 6)


def test_intervals_are_those_of_all_possible_draws():
    values = np.array([0.1, 0.15, 0.3, 0.35, 0.5])
    of = material([{s: face(happy=v) for s in range(3)} for v in values])
    drawn = np.array(list(itertools.product(values, repeat=5)))
    mean, error = values.mean(), values.std(ddof=1) / math.sqrt(5)
    same = drawn.std(axis=1) < 1e-12
    errors = np.where(same, 0, drawn.std(axis=1)) * math.sqrt(5 / 4) / math.sqrt(5)
    with np.errstate(all="ignore"):
        t = np.sort((drawn.mean(axis=1) - mean) / errors)
    expected = [mean - np.quantile(t, q, method="nearest") * error for q in (0.9, 0.1)]
    one = estimate(of, whole(), ["happy"], resampling=Resampling(draws=40_000, level=0.8))[0]
    assert [one.low, one.high] == pytest.approx(expected, abs=0.01)


def test_large_samples_agree_with_students_interval():
    rng = np.random.default_rng(3)
    a, b = rng.beta(2, 5, 150), rng.beta(2, 4, 200)
    one = only(strangers(a, b), draws=20_000)
    error = math.sqrt(a.var(ddof=1) / 150 + b.var(ddof=1) / 200)
    assert one.difference == pytest.approx(b.mean() - a.mean(), abs=1e-6)
    assert one.low == pytest.approx(one.difference - 1.967 * error, abs=0.06 * error)
    assert one.high == pytest.approx(one.difference + 1.967 * error, abs=0.06 * error)


def test_a_quotient_has_the_interval_of_its_logarithm():
    rng = np.random.default_rng(4)
    a = rng.beta(2, 5, 200)
    b = np.clip(a * rng.uniform(1.1, 1.4, 200), 0, 1)
    one = only(pairs(a, b), draws=20_000)
    # The delta method: variance of log(mean b / mean a) is that of b / mean b - a / mean a, over n.
    error = (b / b.mean() - a / a.mean()).std(ddof=1) / math.sqrt(200)
    middle = math.log(b.mean() / a.mean())
    assert math.log1p(one.more) == pytest.approx(middle, abs=1e-6)
    assert math.log1p(one.more_low) == pytest.approx(middle - 1.972 * error, abs=0.1 * error)
    assert math.log1p(one.more_high) == pytest.approx(middle + 1.972 * error, abs=0.1 * error)


def test_more_seconds_of_the_same_people_do_not_narrow_an_interval():
    rng = np.random.default_rng(5)
    shares = rng.beta(2, 5, 30)
    short = material([{s: face(happy=v) for s in range(3)} for v in shares])
    long = material([{s: face(happy=v) for s in range(60)} for v in shares])
    one, other = (estimate(of, whole(), ["happy"])[0] for of in (short, long))
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-5)


def test_the_same_people_and_seed_give_the_same_figures():
    of = simulated_session(20, 3)
    first, again, other = (
        compare(of, parts(of, "event"), resampling=Resampling(seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first[0].low != other[0].low and first[0].low == pytest.approx(other[0].low, rel=0.2)


def test_p_values_agree_with_intervals():
    rng = np.random.default_rng(6)
    clear = 0
    for number in range(40):
        a = rng.beta(2, 5, 15)
        of = (
            pairs(a, np.clip(a + rng.normal(0.03, 0.06, 15), 0, 1))
            if number % 2
            else strangers(a, a[::-1] * 0.6)
        )
        one = only(of)
        clear += one.p <= 0.05
        assert (one.p <= 0.05) == (one.low > 0 or one.high < 0)
    assert 5 < clear < 35


def test_holms_correction():
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.5 * 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    corrected = holm([0.01, math.nan])
    assert corrected[0] == pytest.approx(0.02) and math.isnan(corrected[1])


def test_many_comparisons_draw_enough_for_their_correction():
    of = simulated_session(40, 1)
    names = [name for name in MEASURES if name not in COUNTS]
    results = compare(of, parts(of, "event"), names)
    assert len(results) == 3 * len(names)
    valence = next(one for one in results if one.measure.name == "valence")
    assert valence.clear and valence.holm < 0.05
    against = compare(of, parts(of, "event"), ["valence"], against="first")
    assert [(one.a, one.b) for one in against] == [("Opening", "The joke"), ("Opening", "Farewell")]


def test_persons_at_hand_are_used():
    of = simulated_session(20, 3)
    found = parts(of, "event")
    strict = [persons(of, part, Options(min_seconds=60)) for part in found]
    assert compare(of, found, people=strict) == compare(of, found, options=Options(min_seconds=60))
    assert compare(of, found, people=strict) != compare(of, found)


def test_more_comparisons_than_can_be_told_apart_are_refused():
    many = material(
        [{s: face(happy=0.1 + p / 100) for s in range(30)} for p in range(5)],
        [Event(str(i), 1000 * i, 1000 * i + 1000) for i in range(30)],
    )
    with pytest.raises(ValueError, match="435 comparisons; at most 200 are made together"):
        compare(many, parts(many, "event"), ["happy"])
    assert len(compare(many, parts(many, "event"), ["happy"], against="first")) == 29


def test_sentences():
    of = pairs([0.2, 0.3, 0.4, 0.5] * 5, [0.3, 0.38, 0.52, 0.58] * 5)
    one, valence = compare(of, parts(of, "event"), ["smile", "valence"])
    bounds = f"{100 * one.more_low:.0f} to {100 * one.more_high:.0f} % higher"
    start = "The share of people seen to smile was 27 % higher in B (44 %) than in A (35 %)"
    assert one.sentence == f"{start}; 95 % interval {bounds}; 20 people."
    span = f"{valence.low:.2f} to {valence.high:.2f} higher"
    # (0.3 + 0.38 + 0.52 + 0.58) / 4 - 0.35 = 0.095.
    told = (
        rf"Valence was 0\.(09|10) higher in B \(\+0\.4[45]\) than in A \(\+0\.35\); 95 % interval {span}; 20 "
    )
    assert re.fullmatch(told + r"people\.", valence.sentence)
    back = only(strangers([0.4, 0.5] * 10, [0.2, 0.3] * 10), "smile")
    lower = "The share of people seen to smile was 44 % lower in B (25 %) than in A (45 %); 95 % interval "
    assert back.sentence.startswith(lower)
    low, high = sorted((-100 * back.more_low, -100 * back.more_high))
    assert f"interval {low:.0f} to {high:.0f} % lower; 40 people." in back.sentence
    around_zero = replace(one, low=-0.01, more_low=-0.09, more_high=0.2).sentence
    assert "; 95 % interval 9 % lower to 20 % higher; 20 people." in around_zero
    chance = only(strangers([0.1, 0.5] * 10, [0.12, 0.5] * 10), "smile")
    assert chance.sentence.endswith("higher, which may be chance; 40 people.") and not chance.clear
    dwell = replace(one, measure=MEASURES["dwell"], more=-0.2, more_low=-0.3, more_high=-0.1).sentence
    assert dwell.startswith("Dwell time was 20 % shorter in B (0.4 s) than in A (0.4 s); 95 % interval 10 to")
    same = replace(one, more=0.004, more_low=-0.2, more_high=0.2, low=-0.1, holm=1.0).sentence
    assert same == (
        "The share of people seen to smile was about the same in B (44 %) as in A (35 %); 95 % interval "
        "20 % lower to 20 % higher; 20 people."
    )
    many = replace(one, more=29.0, more_low=11.0, more_high=60.0).sentence
    assert "was 2,900 % higher in B (44 %) than in A (35 %); 95 % interval 1,100 to 6,000 % higher;" in many


def test_a_sentence_tells_the_difference_where_percent_would_contradict_it():
    one = only(pairs([0.2, 0.3, 0.4, 0.5] * 5, [0.3, 0.38, 0.52, 0.58] * 5), "smile")
    low, high = (f"{100 * bound:.1f}" for bound in (one.low, one.high))
    start = "The share of people seen to smile was 9.5 percentage points higher in B (44 %) than in A (35 %)"
    told = f"{start}; 95 % interval {low} to {high} percentage points higher; 20 people."
    assert one.clear and one.low > 0
    assert replace(one, more_low=-0.07).sentence == told
    assert replace(one, more_low=math.nan, more_high=math.nan).sentence == told


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.1, math.inf, "at least 10 % higher"),
        (-0.1, math.inf, "at most 10 % lower"),
        (-math.inf, -0.1, "at least 10 % lower"),
        (-math.inf, 0.1, "at most 10 % higher"),
    ],
)
def test_an_interval_without_an_end_is_told_as_a_bound(low, high, told):
    one = only(pairs([0.2, 0.3, 0.4, 0.5] * 5, [0.3, 0.38, 0.52, 0.58] * 5), "smile")
    sign = -1.0 if high < 0 else 1.0
    other = replace(one, more=0.2 * sign, more_low=low, more_high=high, low=low, high=high)
    assert f"; 95 % interval {told}; 20 people." in other.sentence


def test_no_interval_is_endless_at_both_sides_or_leaves_its_own_value_out():
    for seed in range(3):
        made = simulated_session(people=6, seed=seed)
        for one in compare(made, parts(made, "event"), ["smiled", "watchers", "unsure", "dwell", "smile"]):
            assert not (math.isinf(one.more_low) and math.isinf(one.more_high))
            assert math.isnan(one.more_low) or one.more_low <= one.more <= one.more_high
            assert "inf " not in one.sentence and "nan" not in one.sentence


def test_without_differences_among_people_there_is_no_interval():
    one = only(strangers([0.0] * 15, [1.0] * 15), "smiled")
    assert one.difference == 1 and math.isnan(one.low) and math.isnan(one.p) and not one.clear
    assert "no interval can be given" in one.sentence
    assert any("same value" in warning for warning in one.warnings)


def test_what_nobody_has_cannot_be_compared():
    one = only(strangers([0.1] * 5, [0.2] * 5), "first_smile")
    assert math.isnan(one.difference)
    assert (
        one.sentence == "The time to the first smile in A and B cannot be compared: one of them has no value."
    )


def test_intervals_stay_within_what_is_possible():
    of = strangers([0.9] + [0.1] * 4, [0.9] * 4 + [0.1])
    one = only(of, "smiled")
    assert one.low >= -1 and one.high <= 1
    share = estimate(of, whole(), ["smiled"])[0]
    assert share.low >= 0 and share.high <= 1


def test_light_distance_cameras_and_models_that_differ_are_warned_of():
    unsure = [{s: (face(happy=0.2 + n / 100), 0.0, 1.0, 0.0) for s in range(5)} for n in range(20)]
    sure = [{s: (face(happy=0.3 + n / 100), 0.0, 0.0, 0.0) for s in range(5, 10)} for n in range(20)]
    of = material([*unsure, *sure], A_THEN_B, size=[40.0] * 20 + [90.0] * 20)
    warnings = only(of).warnings
    assert "A: 100 % of the time in sight was unsure." in warnings
    assert any("light or distance may differ" in one for one in warnings)
    assert "Faces are 40 pixels wide in A and 90 in B: small ones are recognized less well." in warnings
    assert not any("unsure" in one for one in only(of, "dwell").warnings)

    edge = {"model": {"name": "edge"}}
    two = material(
        [*unsure, *sure],
        sources=(
            Source("pi", "left", settings=edge),
            Source("pi", "right", settings=edge),
            Source("zero", "0", settings={"model": {"name": "nano"}}),
        ),
        source=[0] * 9 + [1] * 11 + [2] * 20,
    )
    warnings = compare(two, parts(two, "device"), ["happy"])[0].warnings
    assert any("cameras left, right saw people at the same time" in one for one in warnings)
    assert "Models differ: edge (fer2013) and nano (fer2013)." in warnings


def test_runs_of_one_device_with_other_models_are_warned_of():
    faces = [{s: face(happy=0.2 + n / 100) for s in range(5)} for n in range(40)]
    models = [{"model": {"name": "edge", "labels": labels}} for labels in ("people", "people", "fer2013")]
    sources = tuple(Source("pi", "0", str(run), settings=one) for run, one in enumerate(models, 1))
    three = material(faces, sources=sources, source=[0] * 15 + [1] * 15 + [2] * 10)
    same, other, another = compare(three, parts(three, "run"), ["happy"])
    assert not any("Models differ" in one for one in same.warnings)
    for one in (other, another):
        assert "Models differ: edge (people) and edge (fer2013)." in one.warnings


def test_gaps_unlike_lengths_and_unlike_data_are_warned_of():
    of = strangers([0.1 + n / 100 for n in range(20)], [0.2 + n / 100 for n in range(20)])
    nothing, nobody = [0], np.full((1, 7), np.nan)
    minute = Minutes([0], [5000], [10_000], [4.0], [1.0], [60], *[nothing] * 6, *[[0.0]] * 5, nobody)
    assert "B: no frames for 20 % of the time." in only(replace(of, minutes=minute)).warnings
    seen = minute.with_columns(seen=[4.0], dark=[1.0], bright=[0.0])
    assert "B: faces were too dark for 25 % of the time." in only(replace(of, minutes=seen)).warnings
    seen = minute.with_columns(seen=[4.0], dark=[0.0], bright=[3.0])
    assert "B: faces were too bright for 75 % of the time." in only(replace(of, minutes=seen)).warnings
    assert not any("faces were" in one for one in only(replace(of, minutes=seen), "dwell").warnings)
    long = replace(of, events=(Event("A", 0, 2000), Event("B", 5000, 10_000)))
    assert any("in sight for 2 s in A and 5 s in B" in one for one in only(long, "smile").warnings)
    half = replace(of, seconds=of.seconds.take(of.seconds.began < 5000))
    assert "A is measured by seconds, B by visits." in only(half).warnings
    assert not only(of).warnings


def test_visits_alone_can_be_compared():
    of = replace(strangers([0.1, 0.2] * 10, [0.3, 0.4] * 10), seconds=Seconds.empty())
    one = only(of)
    assert one.difference == pytest.approx(0.2) and one.clear and one.people == 40


def test_wrong_questions_are_refused():
    of = pairs([0.1] * 3, [0.2] * 3)
    with pytest.raises(ValueError, match="two parts of different names are needed"):
        compare(of, parts(of, "event")[:1])
    with pytest.raises(ValueError, match="people is not a mean over people"):
        compare(of, parts(of, "event"), ["people"])
    with pytest.raises(ValueError, match="draws must be at least 200"):
        Resampling(draws=10)
    with pytest.raises(ValueError, match="level must be"):
        Resampling(level=95)


def test_a_baseline_is_taken_off_before_comparing():
    sad = [{s: face(sad=0.3 + n / 100, happy=(0.0, 0.1, 0.25)[s // 5]) for s in range(15)} for n in range(12)]
    of = material(sad, (Event("A", 5000, 10_000), Event("B", 10_000, 15_000)))
    one = compare(of, parts(of, "event"), ["valence", "happy"], Options(baseline=5))
    assert (one[0].value_a, one[0].value_b) == pytest.approx((0.1, 0.25))
    assert math.isnan(one[1].more) and one[1].difference == pytest.approx(0.15)
    assert one[0].sentence.startswith("The change in valence was 0.15 higher in B (+0.25) than in A (+0.10)")
    assert one[1].sentence.startswith(
        "The change in the share of “happy” answers was 15.0 percentage points higher in B (+25.0 points) "
        "than in A (+10.0 points)"
    )


def test_intervals_of_simulated_sessions_hold_the_truth_and_find_nothing_where_nothing_is():
    """A small run of the benchmark whose figures are in docs/measures.md."""
    benchmark = repository_module("benchmarks/report_coverage.py")
    found = benchmark.main(["--sessions", "60", "--people", "14", "--population", "2000", "--draws", "400"])
    for design in ("paired", "unpaired"):
        for name in ("happy", "valence"):
            # Of 60 intervals of 95 %, 52 or fewer would hold the truth in one of 150 such runs.
            assert found[f"{design} 14 {name}"] > 52 / 60, (design, name)
        # Of 60 sessions with 5 % of false alarms, 8 or more would have one in one of 100 such runs.
        assert found[f"{design} 14 alarm"] < 8 / 60
    assert found["paired 14 any"] > found["paired 14 alarm"]


def test_people_respond_as_they_are_made():
    scenes = (Scene("A", 10, {"happy": 0.4}), Scene("B", 10, {"sad": 0.3}))
    of = simulated_material(scenes, 800, np.random.default_rng(0))
    one = compare(of, parts(of, "event"), ["happy", "sad"])
    # Usual shares are 0.1 each: 0.3 / 3 and 0.3 / 3; pulled 0.4 + 0.6 * 0.1 and 0.7 * 0.1.
    assert one[0].low < 0.07 - 0.46 < one[0].high
    assert one[1].low < 0.37 - 0.06 < one[1].high


def test_rare_emotions_and_few_people_who_make_most_of_a_measure_are_warned_of():
    rare = strangers([0.02, 0.03] * 10, [0.03, 0.04] * 10)
    assert only(rare).warnings == (
        "Happy is rare here: with fewer than 100 people the interval may be too narrow.",
    )
    assert only(strangers([0.02, 0.03] * 50, [0.03, 0.04] * 50)).warnings == ()
    few = strangers([0.9, *[0.01] * 19], [0.3 + n / 100 for n in range(20)])
    assert any("A few people account for most of this measure" in one for one in only(few).warnings)
    # Skewness of 0, 0, 0, 1 in turn: (3/4 - 1/4) / sqrt(3/16) = 1.15, squared 4/3: 10 * 4/3 is below 20.
    some = strangers([0.2, 0.1, 0.1, 0.1] * 5, [0.3 + n / 100 for n in range(20)])
    assert only(some).warnings == ()


def test_the_interval_of_a_difference_is_symmetric_and_agrees_with_its_p_value():
    few = [0.0] * 17 + [0.3, 0.5, 0.9]
    for shift in (0.0, 0.1, 0.2, 0.3):
        one = only(strangers([0.1 + n / 200 for n in range(20)], [min(v + shift, 1.0) for v in few]))
        assert one.difference - one.low == pytest.approx(one.high - one.difference)
        assert (one.p <= 0.05) == (not one.low <= 0 <= one.high)
