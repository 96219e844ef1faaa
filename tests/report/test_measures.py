"""Tests of measures: three scenes whose values were worked out by hand, and what is used where data lack."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenes import face, material

from fer_edge.errors import DataError
from fer_edge.labels import EMOTIONS
from fer_edge.report.material import Event, Material, Minutes, People, Seconds, Source
from fer_edge.report.measures import (
    COUNTS,
    MEASURES,
    NEGATIVE,
    Options,
    figure,
    figures,
    persons,
    timeline,
    values,
)
from fer_edge.report.parts import parts, whole
from fer_edge.report.visits import visits_of

ROOT = Path(__file__).parents[2]

# A shop: advert A from 0 to 10 s and from 20 to 30 s, B from 10 to 20 s.
# Ann is there from 0 to 12 s, at 4 and 5 s eight of ten people would say happy; she watches for 8 s.
# Ben is there from 6 to 26 s, happy from 10 to 14, sad from 14 to 16; he watches from 10 to 16 and 20 to 22.
# Cat is there from 15 to 18 s, neutral, and does not watch.
ANN = {s: (face(happy=0.8 if s in (4, 5) else 0), float(s < 8), 0.0, 0.0) for s in range(12)}
BEN = {
    s: (
        face(happy=float(10 <= s < 14), sad=float(14 <= s < 16)),
        float(10 <= s < 16 or 20 <= s < 22),
        float(s == 19),
        float(s in (23, 24)),
    )
    for s in range(6, 26)
}
CAT = {s: face() for s in range(15, 18)}
ADVERTS = (Event("A", 0, 10_000), Event("B", 10_000, 20_000), Event("A", 20_000, 30_000))


@pytest.fixture
def shop():
    return material([ANN, BEN, CAT], ADVERTS)


def measured(of, part, options=None):
    return {name: one.value for name, one in figures(of, part, options).items()}


# In A: Ann 10 s (0 to 10), Ben 10 s (6 to 10 and 20 to 26).
SHOP_A = {
    "people": 2,
    "visits": 2,
    "dwell": 10,
    "seen": 10,
    "watchers": 1,
    "attention": (8 + 2) / 2,
    "attention_share": 10 / 20,
    "attraction": 10 / 20,
    "happy": (1.6 / 10 + 0) / 2,
    "sad": 0,
    "neutral": (8.4 / 10 + 1) / 2,
    "valence": 0.08,
    "expressiveness": 0.08,
    "smile": (0.8 + 0) / 2,
    "smiled": 1 / 2,
    "smiles": 0.8,
    "first_smile": 4.0,
    "peak": (0.8 + 0) / 2,
    "end": (0.8 / 5 + 0) / 2,
    "peak_end": (0.48 + 0) / 2,
    "unsure": 0,
}
# In B: Ann 2 s (10 to 12), Ben 10 s, Cat 3 s. Ben's peak is 1, then -1; his last 5 s have a sad one.
SHOP_B = {
    "people": 3,
    "visits": 3,
    "dwell": 5,
    "seen": 5,
    "watchers": 1 / 3,
    "attention": 6,
    "attention_share": 6 / 15,
    "attraction": 6 / 10,
    "happy": 0.4 / 3,
    "sad": 0.2 / 3,
    "neutral": (1 + 0.4 + 1) / 3,
    "valence": (0.4 - 0.2) / 3,
    "expressiveness": 0.6 / 3,
    "smile": 1 / 3,
    "smiled": 1 / 3,
    "smiles": 1,
    "first_smile": 0,
    "peak": 1 / 3,
    "end": -0.2 / 3,
    "peak_end": (1 - 0.2) / 2 / 3,
    "unsure": 1 / 15,
}


@pytest.mark.parametrize(("number", "expected"), [(0, SHOP_A), (1, SHOP_B)])
def test_two_adverts_in_a_shop(shop, number, expected):
    found = measured(shop, parts(shop, "event")[number])
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert persons(shop, parts(shop, "event")[number]).basis == "seconds"


def test_an_advert_shown_twice_counts_once_and_time_between_does_not(shop):
    first = parts(shop, "event")[0]
    assert [part.name for part in parts(shop, "event")] == ["A", "B"]
    ben = persons(shop, first)
    assert ben.dwell[1] == pytest.approx(10.0)
    # The time to a smile in the second showing is that of A: Ben came 4 s before the end of the first.
    later = material([ANN, BEN | {22: face(happy=0.9)}], ADVERTS)
    assert persons(later, first).first_smile.tolist() == pytest.approx([4.0, 6.0])


def test_weighting_by_time_counts_who_stays_longer_more(shop):
    advert = parts(shop, "event")[1]
    assert figure(shop, "happy", advert, Options(weight="time")).value == pytest.approx(4 / 15)
    assert figure(shop, "happy", advert).value == pytest.approx(0.4 / 3)
    # Quotients of time are what they are.
    assert figure(shop, "attraction", advert, Options(weight="time")).value == pytest.approx(0.6)


def test_attraction_is_at_most_one_where_a_part_ends_within_a_second():
    # Dan watches for all of 20 s; the part has 3.2 s of them, with the middles of the seconds 1 to 4.
    dan = {s: (face(), 1.0, 0.0, 0.0) for s in range(20)}
    of = material([dan], (Event("A", 1400, 4600),))
    part = parts(of, "event")[0]
    assert figure(of, "dwell", part).value == pytest.approx(3.2)
    assert figure(of, "seen", part).value == pytest.approx(4)
    assert figure(of, "attraction", part).value == pytest.approx(1)


def test_people_who_were_there_too_shortly_are_left_out_and_told(shop):
    found = persons(shop, parts(shop, "event")[1], Options(min_seconds=3))
    assert found.who.tolist() == [1, 2]
    assert found.told == ("1 person left out: in sight for less than 3 s",)


def test_unsure_seconds_may_be_left_out_of_emotions_only(shop):
    advert = parts(shop, "event")[1]
    found = persons(shop, advert, Options(unsure="left out"))
    # Ben without second 19: 4 happy and 2 sad of 9.
    assert found.valence[1] == pytest.approx(2 / 9) and found.weight[1] == 9
    assert found.seen[1] == 10 and found.attention[1] == 6
    assert found.told == ("7 % of the seconds unsure and left out",)


def test_unclear_time_may_be_left_out_of_attention(shop):
    advert = parts(shop, "event")[0]
    assert figure(shop, "attention_share", advert, Options(unclear="left out")).value == pytest.approx(
        10 / 18
    )
    assert figure(shop, "attraction", advert, Options(unclear="left out")).value == pytest.approx(10 / 18)


def test_only_watchers_have_attention_time(shop):
    whole_day = figures(shop, None, Options(watch_seconds=8.5))
    assert whole_day["watchers"].value == 0
    assert np.isnan(whole_day["attention"].value) and whole_day["attention"].people == 0
    assert figure(shop, "watchers").value == pytest.approx(2 / 3)


# A clinic: the first 4 s of each patient are the baseline.
# Pat (0 to 10 s): half sad, half neutral; from 4 s on half sad, a quarter happy, a quarter neutral.
# Quinn (2 to 12 s): neutral; half fear from 6 to 9 s.
# Rae (20 to 30 s) is hidden from 21 to 24 s: one second of four is no baseline.
PAT = {s: face(sad=0.5, happy=0.25 if s >= 4 else 0) for s in range(10)}
QUINN = {s: face(fear=0.5 if 6 <= s < 9 else 0) for s in range(2, 12)}
RAE = {s: face() for s in (20, *range(24, 30))}


def test_a_clinic_with_a_baseline():
    clinic = material([PAT, QUINN, RAE])
    options = Options(baseline=4)
    found = persons(clinic, None, options)
    assert found.shares[0].tolist() == pytest.approx([0, 0, 0, 0.25, 0, 0, -0.25])
    assert found.shares[1].tolist() == pytest.approx([0, 0, 0.25, 0, 0, 0, -0.25])
    assert np.isnan(found.shares[2]).all()
    assert found.told == ("1 person without a baseline: seen for less than half of 4 s",)
    assert found.weight.tolist() == [6, 6, 0]
    expected = {
        "happy": (0.25 + 0) / 2,
        "fear": (0 + 0.25) / 2,
        "sad": 0,
        "valence": (0.25 - 0.25) / 2,
        "expressiveness": (0.25 + 0.25) / 2,
        "peak": (0.25 - 0.5) / 2,
        # Quinn's last 5 s are 7 to 12: two of fear.
        "end": (0.25 - 0.2) / 2,
        "peak_end": (0.25 - 0.35) / 2,
        # The baseline is seconds in sight all the same, and smiles are what people would say.
        "people": 3,
        "seen": (10 + 10 + 7) / 3,
        "smile": 0.25 / 3,
    }
    got = measured(clinic, None, options)
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert figure(clinic, "valence", None, options).people == 2


def test_a_baseline_widens_the_range():
    clinic = material([PAT, QUINN])
    found = {
        name: values(persons(clinic), name, Options(baseline=4)).measure
        for name in ("happy", "peak", "smile")
    }
    assert (found["happy"].low, found["happy"].high, found["happy"].ratio) == (-1, 1, False)
    assert (found["peak"].low, found["peak"].high) == (-2, 2)
    assert (found["smile"].low, found["smile"].high, found["smile"].ratio) == (0, 1, True)


def test_figures_after_a_baseline_are_called_changes():
    clinic = material([PAT, QUINN])
    found = figures(clinic, None, Options(baseline=4))
    assert found["happy"].measure.label == "Happy, change" and found["happy"].measure.points
    assert found["valence"].measure.noun == "the change in valence" and not found["valence"].measure.points
    assert found["smile"].measure.label == "Seen to smile" and not found["smile"].measure.points
    assert not figures(clinic)["happy"].measure.points


def test_a_baseline_belongs_to_the_person_not_to_the_event():
    clinic = material([PAT, QUINN], [Event("treatment", 6_000, 12_000)])
    found = persons(clinic, parts(clinic, "event")[0], Options(baseline=4))
    assert found.valence.tolist() == pytest.approx([0.25, -0.25])
    assert found.seen.tolist() == [4, 6]


# A cinema: trailers X, Y, Z of 5 s each; the fourth viewer leaves after Y.
VIEWERS = [
    {s: face(happy=(x, y, 0.05)[s // 5]) for s in range(15 if n < 3 else 10)}
    for n, (x, y) in enumerate([(0.1, 0.2), (0.2, 0.4), (0.3, 0.4), (0.4, 0.6)])
]
TRAILERS = tuple(Event(name, 5000 * i, 5000 * (i + 1), group="film") for i, name in enumerate("XYZ"))


def test_three_trailers_in_a_cinema():
    cinema = material(VIEWERS, TRAILERS)
    shown = [figures(cinema, part) for part in parts(cinema, "event")]
    assert [one["happy"].value for one in shown] == pytest.approx([0.25, 0.4, 0.05])
    assert [one["smile"].value for one in shown] == pytest.approx([0.25, 0.4, 0.05])
    assert [one["smiles"].value for one in shown] == pytest.approx([1.0, 1.6, 0.15])
    # Y began when the fourth viewer had seen none of it.
    assert shown[1]["first_smile"].value == 0 and shown[1]["first_smile"].people == 1
    assert [one["people"].value for one in shown] == [4, 4, 3]
    whole_film = figures(cinema, parts(cinema, "group")[0])
    assert whole_film["happy"].value == pytest.approx(((0.35 + 0.65 + 0.75) / 3 + 1.0 / 2) / 4)


def test_a_second_belongs_to_where_its_middle_lies():
    cinema = material(VIEWERS, [Event("early", 0, 2499), Event("late", 2500, 5000)])
    early, late = (persons(cinema, part) for part in parts(cinema, "event"))
    assert early.seen.tolist() == [2, 2, 2, 2] and late.seen.tolist() == [3, 3, 3, 3]
    assert late.dwell.tolist() == [2.5, 2.5, 2.5, 2.5]


def test_without_seconds_whole_visits_are_used(shop):
    bare = replace(shop, seconds=Seconds.empty())
    advert = parts(bare, "event")[1]
    found = persons(bare, advert)
    # Ben is in B for 10 of his 20 s, which is not more than half; Ann for 2 of 12; Cat for all.
    assert found.basis == "visits" and found.who.tolist() == [2]
    assert found.told == ("2 visits left out: not more than half of each lies in B",)
    everything = figures(bare)
    assert everything["happy"].value == pytest.approx((1.6 / 12 + 4 / 20) / 3)
    assert everything["smile"].value == pytest.approx((0.8 + 1) / 3)
    assert everything["first_smile"].value == pytest.approx((4 + 4) / 2)
    assert everything["dwell"].value == pytest.approx((12 + 20 + 3) / 3)
    assert np.isnan(everything["peak_end"].value)
    with pytest.raises(DataError, match="a baseline needs seconds"):
        persons(bare, None, Options(baseline=5))


def test_seconds_of_a_part_of_the_time_are_not_taken_for_all_of_it(shop):
    session = replace(shop, seconds=shop.seconds.take(shop.seconds.began < 10_000))
    assert persons(session, whole()).basis == "visits"
    assert persons(session, parts(session, "event")[0]).basis == "visits"
    early = replace(session, events=(Event("early", 0, 10_000),))
    assert persons(early, parts(early, "event")[0]).basis == "seconds"
    assert persons(session, whole(), Options(basis="seconds")).seen.tolist() == [10, 4]


def test_without_people_minutes_are_used():
    happy, sad = face(happy=0.5), face(sad=1.0)
    minutes = Minutes(
        [0, 0, 0], [0, 60_000, 120_000], [60_000, 120_000, 180_000], [60, 60, 30], [0, 0, 30],
        [900, 900, 450], [0, 0, 0], [0, 0, 0], [3, 1, 0], [2, 1, 0], [3, 0, 0],
        [2, 2, 0], [20, 60, 0], [60, 30, 0], [6, 3, 0],
        [30, 15, 0], [10, 0, 0], [happy, sad, np.full(7, np.nan)],
    )  # fmt: skip
    found = measured(Material((Source("pi", "hall"),), minutes=minutes), None)
    expected = {
        "visits": 3,
        "present": 90 / 150,
        "dwell": 80 / 4,
        "attention_share": 45 / 90,
        "unsure": 9 / 90,
        "happy": 3 * 0.5 / 4,
        "sad": 1 / 4,
        "valence": (1.5 - 1) / 4,
        "expressiveness": 1 - 1.5 / 4,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert np.isnan(found["smile"]) and np.isnan(found["people"])
    material = Material((Source("pi", "hall"),), minutes=minutes)
    by_time = figures(material, None, Options(weight="time", unclear="left out"))
    assert by_time["happy"].value == pytest.approx(60 * 0.5 / 90)
    assert by_time["attention_share"].value == pytest.approx(45 / 80)
    assert by_time["happy"].basis == "minutes"


def test_minutes_alone_have_no_baseline():
    seen = Minutes(
        [0], [0], [60_000], [60], [0], [900], [0], [0], [3], [2], [3], [2], [20], [60], [6], [30], [10],
        [face(happy=0.5)],
    )  # fmt: skip
    of = Material((Source("pi", "hall"),), minutes=seen)
    with pytest.raises(DataError, match=r"all: a baseline needs seconds, .* here are minutes only"):
        figures(of, None, Options(baseline=5))
    # Where nobody was in sight, nothing is wrong.
    nobody = {name: [0] for name in ("people", "seen", "unsure", "attention", "unclear")}
    empty = replace(of, minutes=seen.with_columns(**nobody, shares=[np.full(7, np.nan)]))
    assert np.isnan(figures(empty, None, Options(baseline=5))["happy"].value)


def test_a_timeline_counts_each_person_the_same(shop):
    line = timeline(shop, 10)
    assert line.basis == "seconds"
    assert line.began.tolist() == [0, 10_000, 20_000] and line.people.tolist() == [2, 3, 1]
    assert line.shares[:, EMOTIONS.index("happy")].tolist() == pytest.approx([0.16 / 2, 0.4 / 3, 0])
    assert line.present.tolist() == pytest.approx([1.4, 1.5, 0.6])
    assert line.attention.tolist() == pytest.approx([8 / 14, 6 / 15, 2 / 6])
    assert line.valence.tolist() == pytest.approx([0.08, 0.2 / 3, 0], abs=1e-7)
    assert timeline(Material.empty(), 10).began.tolist() == []


def test_a_track_that_came_back_is_one_person_of_two_visits():
    twice = material([{0: face(happy=1.0), 1: face()}, {30: face(), 31: face(), 32: face()}])
    people = twice.people.with_columns(track=[1, 1])
    found = figures(replace(twice, people=people))
    assert found["people"].value == 1 and found["visits"].value == 2
    assert found["dwell"].value == 5 and found["happy"].value == pytest.approx(1 / 5)


def test_nobody_has_no_measures():
    found = figures(Material.empty())
    assert found["people"].value == 0
    assert all(np.isnan(one.value) for name, one in found.items() if name not in COUNTS)
    empty_event = material([CAT], [Event("before", -5000, -1000)])
    assert figures(empty_event, parts(empty_event, "event")[0])["people"].value == 0


def test_faces_seen_for_less_than_half_a_second_do_not_make_a_smile():
    one = material([{0: face(), 1: face(happy=1.0), 2: face()}])
    one = replace(one, seconds=one.seconds.with_columns(seen=[1, 0.4, 1]))
    found = persons(one)
    assert found.smile.tolist() == [0] and np.isnan(found.first_smile[0]) and found.peak.tolist() == [0]
    assert found.shares[0, EMOTIONS.index("happy")] == pytest.approx(0.4 / 2.4)


def test_measures_that_are_not_there_are_refused(shop):
    with pytest.raises(ValueError, match="measure must be one of people, visits"):
        values(persons(shop), "joy")
    with pytest.raises(ValueError, match="smiles is not a mean over people"):
        values(persons(shop), "smiles")
    with pytest.raises(ValueError, match="weight must be one of people, time; got 'frames'"):
        Options(weight="frames")
    with pytest.raises(ValueError, match="baseline must be at least 0"):
        Options(baseline=-1)
    with pytest.raises(ValueError, match="step must be at least 1 second"):
        timeline(shop, 0.5)


def test_each_measure_is_defined_in_the_documentation():
    text = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
    for name in MEASURES:
        assert f"`{name}`" in text, name
    assert f"happy - ({' + '.join(NEGATIVE)})" in text


def test_the_example_in_the_documentation_runs(capsys):
    text = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
    example = text.partition("## From Python")[2].partition("```python\n")[2].partition("```")[0]
    exec(compile(example, "measures.md", "exec"), {})
    assert "The share of people seen to smile was 211 % higher in The joke (" in capsys.readouterr().out


def test_visits_made_of_seconds_are_those_of_the_store():
    seconds = Seconds([0, 0, 0], [5000, 6000, 7000], [1, 1, 0.4], [0, 0, 0], [1, 0, 0], [0, 0, 0],
                      [face(happy=0.4), face(happy=0.7), face(happy=1.0)])  # fmt: skip
    visit = visits_of(seconds, np.zeros(1, np.int32), np.array([9]), np.array([50.0]))
    assert isinstance(visit, People)
    assert visit.smile[0] == pytest.approx(0.7) and visit.first_smile.tolist() == [1.0]
    assert visit.dwell.tolist() == [3.0] and visit.seen[0] == pytest.approx(2.4)
