"""Measures of people, attention and emotions over any part of a material; docs/measures.md defines each.

Each is a quotient of two sums over people (:class:`Values`), so that people can be drawn again for an
interval. They are worked out from seconds where those cover the part, else from whole visits, else from
minutes; ``basis`` tells which.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, counted
from ..labels import EMOTIONS
from ..store.clock import MINUTE, SECOND
from ..store.tally import SMILE, SMILE_SEEN
from .material import Bools, Counts, Floats, Material, Times
from .parts import Part, Within, whole
from .wording import people_counted, percent

Basis = Literal["seconds", "visits", "minutes"]

POSITIVE = ("happy",)
NEGATIVE = ("angry", "disgust", "fear", "sad")
"""Valence is the positive minus these; surprise and neutral count for neither."""

COVERED = 0.8
"""Part of the time in sight that seconds have to cover to be used rather than visits."""

_VALENCE = np.array([(name in POSITIVE) - float(name in NEGATIVE) for name in EMOTIONS])
_HAPPY, _NEUTRAL = EMOTIONS.index("happy"), EMOTIONS.index("neutral")


@dataclass(frozen=True)
class Options:
    """How measures are taken."""

    weight: Literal["people", "time"] = "people"
    """Emotions averaged over people, each counting the same, or over the time in sight."""
    unsure: Literal["counted", "left out"] = "counted"
    """Whether emotions of seconds (or visits) that are unsure for more than half of their time count."""
    unclear: Literal["counted", "left out"] = "counted"
    """Whether time of unclear direction counts as time without attention, or as none."""
    baseline: float = 0.0
    """Seconds from a person's first sight whose mean shares are subtracted from later ones; 0 for none."""
    min_seconds: float = 1.0
    """Seconds in sight from which on a person counts for a part."""
    watch_seconds: float = 1.0
    """Seconds of attention from which on a person is a watcher."""
    end_seconds: float = 5.0
    """Length of the end, for peak-end values."""
    basis: Literal["auto", "seconds", "visits"] = "auto"

    def __post_init__(self) -> None:
        for name, low in (("baseline", 0), ("min_seconds", 0), ("watch_seconds", 0), ("end_seconds", 0.001)):
            if not getattr(self, name) >= low:
                raise ValueError(f"{name} must be at least {low}; got {getattr(self, name)}")
        for name, known in (
            ("weight", ("people", "time")),
            ("unsure", ("counted", "left out")),
            ("unclear", ("counted", "left out")),
            ("basis", ("auto", "seconds", "visits")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Measure:
    """What a measure is; ``docs/measures.md`` says more."""

    name: str
    label: str
    """For headings."""
    noun: str
    """For sentences: "{noun} was 23 % higher"."""
    unit: Literal["", "share", "s", "people", "visits"]
    low: float = 0.0
    high: float = float("inf")
    emotion: bool = False
    """Whether it is about emotions, so that ``unsure`` bears on it."""

    @property
    def points(self) -> bool:
        """Whether it is the change in a share, which percentage points tell."""
        return self.unit == "share" and self.low < 0

    @property
    def ratio(self) -> bool:
        """Whether "twice as much" means something: its zero is a natural one."""
        return self.low == 0


def _measures() -> dict[str, Measure]:
    share: Any = {"unit": "share", "high": 1.0}
    signed: Any = {"unit": "", "low": -1.0, "high": 1.0, "emotion": True}
    found = [
        Measure("people", "People", "the number of people", "people"),
        Measure("visits", "Visits", "the number of visits", "visits"),
        Measure("present", "People at a time", "the number of people at a time", "people"),
        Measure("dwell", "Dwell time", "dwell time", "s"),
        Measure("seen", "Time in sight", "time in sight", "s"),
        Measure("watchers", "Watchers", "the share of watchers", **share),
        Measure("attention", "Attention time", "the attention time of a watcher", "s"),
        Measure(
            "attention_share", "Attention", "the share of the time in sight spent facing the camera", **share
        ),
        Measure("attraction", "Attraction", "attraction", **share),
        *(
            Measure(name, name.capitalize(), f"the share of “{name}” answers", emotion=True, **share)
            for name in EMOTIONS
        ),
        Measure("valence", "Valence", "valence", **signed),
        Measure("expressiveness", "Expressiveness", "expressiveness", emotion=True, **share),
        Measure("smile", "Seen to smile", "the share of people seen to smile", emotion=True, **share),
        Measure("smiled", "Smiled clearly", "the share of people who smiled clearly", emotion=True, **share),
        Measure("smiles", "Expected smiles", "the number of expected smiles", "people", emotion=True),
        Measure("first_smile", "Time to first smile", "the time to the first smile", "s", emotion=True),
        Measure("peak", "Peak valence", "peak valence", **signed),
        Measure("end", "Valence at the end", "valence at the end", **signed),
        Measure("peak_end", "Peak-end valence", "peak-end valence", **signed),
        Measure("unsure", "Unsure", "the unsure share of the time in sight", **share),
    ]
    return {one.name: one for one in found}


MEASURES: dict[str, Measure] = _measures()
"""All measures by their names, in the order in which a table shows them."""

_SMILES = ("smile", "smiled", "smiles", "first_smile")
"""They are about how many people would say happy, from which no baseline is subtracted."""

COUNTS = ("people", "visits", "present", "smiles")
"""Measures that are no mean over people: how long the part lasted bears on them, so they are not compared."""


@dataclass(frozen=True, eq=False)
class Persons:
    """Each person with what was seen of them in a part; all columns (n,). NaN: not known."""

    part: str
    basis: Basis
    who: Counts
    """Numbers of :attr:`~.material.People.who` in the whole material: the same person has the same number."""
    visits: Counts
    dwell: Floats
    """Seconds from first to last sight that lie in the part."""
    seen: Floats
    unsure: Floats
    attention: Floats
    unclear: Floats
    weight: Floats
    """Seconds that the emotions are of: ``seen`` without what was left out and the baseline."""
    shares: Floats
    """(n, 7); with a baseline, differences from it."""
    valence: Floats
    expressiveness: Floats
    smile: Floats
    first_smile: Floats
    """Seconds of the part from the person's first sight in it; NaN where there was no smile."""
    peak: Floats
    end: Floats
    told: tuple[str, ...] = field(default=())
    """What was left out, as sentences."""

    def __len__(self) -> int:
        return len(self.who)

    @property
    def peak_end(self) -> Floats:
        """(n,): mean of ``peak`` and ``end``."""
        return (self.peak + self.end) / 2

    @property
    def unsure_share(self) -> float:
        """Share of the time in sight that was unsure; NaN where nobody was seen."""
        return _quotient(self.unsure.sum(), self.seen.sum())


@dataclass(frozen=True, eq=False)
class Values:
    """A measure as ``sum(numerator) / sum(denominator)`` over people, both (n,).

    The denominator of a person without this measure is 0.
    """

    measure: Measure
    """With the names and the range that it has after a baseline."""
    who: Counts
    numerator: Floats
    denominator: Floats

    @property
    def value(self) -> float:
        """The measure; NaN where nobody has it."""
        return _quotient(self.numerator.sum(), self.denominator.sum())

    @property
    def people(self) -> int:
        """How many people it is of."""
        return int(np.count_nonzero(self.denominator))


@dataclass(frozen=True)
class Figure:
    """A measure of a part."""

    measure: Measure
    value: float
    """NaN where it cannot be told."""
    people: int
    """How many people it is of; of minutes, those seen in each: a stay of two minutes counts twice."""
    basis: Basis


def persons(material: Material, part: Part | None = None, options: Options | None = None) -> Persons:
    """Each person's measures in a part (default: everything).

    Raises :class:`~fer_edge.errors.DataError` where ``options`` need seconds that are not there.
    """
    part, options = part or whole(), options or Options()
    within = Within(material, part)
    overlap, rows = _in_part(material, within)
    basis: Basis
    if options.basis != "auto":
        basis = options.basis
    else:
        basis = "seconds" if _are_covered(material, overlap, rows) else "visits"
    if basis == "visits" and options.baseline:
        raise DataError(_no_baseline(part, "visits"))
    if basis == "seconds":
        return _by_seconds(material, part, options, within, overlap, rows)
    return _by_visits(material, part, options, within, overlap)


def values(people: Persons, measure: str, options: Options | None = None) -> Values:
    """A measure of each person, by its name in :data:`MEASURES`, as two sums.

    Raises ValueError for a measure that is none of people: see :func:`figure`.
    """
    options = options or Options()
    described = _described(measure)
    one = np.ones(len(people))
    watching = (people.attention > 0) & (people.attention >= options.watch_seconds)
    clear = people.unclear if options.unclear == "left out" else np.zeros(len(people))
    # Seconds count in full or not at all as time in sight, but dwell time ends with the part.
    there = np.maximum(people.dwell, people.seen)
    pairs: dict[str, tuple[Floats, Floats]] = {
        "dwell": (people.dwell, one),
        "seen": (people.seen, one),
        "watchers": (watching.astype(np.float64), one),
        "attention": (people.attention * watching, watching.astype(np.float64)),
        "attention_share": (people.attention, people.seen - clear),
        "attraction": (people.attention * watching, np.maximum(there - clear, 0) * watching),
        "unsure": (people.unsure, people.seen),
    }
    if measure in pairs:
        numerator, denominator = pairs[measure]
    elif described.emotion and measure not in COUNTS:
        each = _of_each(people, measure)
        known = ~np.isnan(each)
        by_time = options.weight == "time" and measure in (*EMOTIONS, "valence", "expressiveness")
        denominator = np.where(known, people.weight if by_time else one, 0.0)
        numerator = np.where(known, each, 0.0) * denominator
    else:
        raise ValueError(f"{measure} is not a mean over people; take its figure")
    if options.baseline and described.emotion and measure not in _SMILES:
        described = replace(
            described,
            label=f"{described.label}, change",
            noun=f"the change in {described.noun}",
            low=described.low - 1,
            high=described.high + (described.low < 0),
        )
    return Values(described, people.who, numerator, denominator)


def figure(
    material: Material,
    measure: str,
    part: Part | None = None,
    options: Options | None = None,
    people: Persons | None = None,
) -> Figure:
    """One measure of a part; ``people`` are what :func:`persons` gave for the same part and options."""
    return figures(material, part, options, [measure], people)[measure]


def figures(
    material: Material,
    part: Part | None = None,
    options: Options | None = None,
    measures: Iterable[str] = MEASURES,
    people: Persons | None = None,
) -> dict[str, Figure]:
    """Measures of a part by their names: of seconds or visits, and where there are no people, of minutes.

    Raises :class:`~fer_edge.errors.DataError` where ``options`` need seconds that are not there.
    """
    part, options = part or whole(), options or Options()
    if not len(material.people) and len(material.minutes):
        return _of_minutes(material, part, options, measures)
    people = persons(material, part, options) if people is None else people
    found = {}
    for name in measures:
        described = _described(name)
        count = len(people)
        if name in COUNTS:
            smile = people.smile[~np.isnan(people.smile)]
            if name == "present":
                value = _present(material, part)
            elif name == "smiles":
                value, count = float(smile.sum()), len(smile)
            else:
                value = float(people.visits.sum()) if name == "visits" else float(count)
        else:
            each = values(people, name, options)
            described, value, count = each.measure, each.value, each.people
        found[name] = Figure(described, value, count, people.basis)
    return found


@dataclass(frozen=True, eq=False)
class Timeline:
    """How a part went, in steps of equal length; all columns (t,) but ``shares``."""

    basis: Basis
    began: Times
    """Milliseconds: steps in which nobody was seen are missing."""
    people: Counts
    """Different people seen in the step."""
    present: Floats
    """People at a time, of seconds: time in sight over the length of the step."""
    shares: Floats
    """(t, 7): of each person, then averaged over people."""
    attention: Floats
    """Share of the time in sight."""

    @property
    def valence(self) -> Floats:
        """(t,): positive minus negative shares."""
        return np.asarray(self.shares @ _VALENCE, np.float64)


def timeline(
    material: Material, step: float, part: Part | None = None, options: Options | None = None
) -> Timeline:
    """Emotions and people over time, in steps of ``step`` seconds from 1970 on; a baseline is not taken off.

    Of seconds where they cover the part, else of minutes, whose steps are no shorter than a minute. A minute
    counts for the step that has its middle.
    """
    if step < 1:
        raise ValueError(f"step must be at least 1 second; got {step}")
    part, options = part or whole(), options or Options()
    within = Within(material, part)
    length = round(step * 1000)
    overlap, rows = _in_part(material, within)
    covered = len(rows) > 0 and (options.basis == "seconds" or _are_covered(material, overlap, rows))
    if covered or not len(material.minutes):
        return _timeline_of_seconds(material, length, rows, options)
    return _timeline_of_minutes(material, max(length, MINUTE), within)


def _timeline_of_seconds(material: Material, length: int, rows: NDArray[Any], options: Options) -> Timeline:
    people, seconds = material.people, material.seconds
    if options.unsure == "left out":
        rows = rows[seconds.unsure[rows] <= seconds.seen[rows] / 2]
    at = seconds.began[rows] // length
    who = people.who[seconds.person[rows]]
    order = np.lexsort((who, at))
    rows, at, who = rows[order], at[order], who[order]
    starts = _starts(at, who)
    seen = seconds.seen[rows].astype(np.float64)
    weighted = _sums(seconds.shares[rows] * seen[:, None], starts) / _sums(seen, starts)[:, None]
    steps = _starts(at[starts]) if len(starts) else starts
    count = np.diff(np.append(steps, len(starts)))
    first = starts[steps] if len(starts) else starts
    total = _sums(seen, first)
    return Timeline(
        "seconds",
        at[first] * length,
        count,
        total * 1000 / length,
        _sums(weighted, steps) / count[:, None],
        _sums(seconds.attention[rows].astype(np.float64), first) / total,
    )


def _timeline_of_minutes(material: Material, length: int, within: Within) -> Timeline:
    minutes = material.minutes
    middle = (minutes.began + minutes.ended) // 2
    chosen = np.flatnonzero(within.inside(minutes.source, middle) & (minutes.people > 0) & (minutes.seen > 0))
    chosen = chosen[np.argsort(middle[chosen] // length, kind="stable")]
    at = middle[chosen] // length
    starts = _starts(at)
    count = minutes.people[chosen]
    total = _sums(minutes.seen[chosen], starts)
    people_of = _sums(count, starts)
    return Timeline(
        "minutes",
        at[starts] * length,
        people_of,
        total * 1000 / length,
        _sums(minutes.shares[chosen].astype(np.float64) * count[:, None], starts) / people_of[:, None],
        _sums(minutes.attention[chosen], starts) / total,
    )


def _in_part(material: Material, within: Within) -> tuple[Floats, NDArray[np.int64]]:
    """Of each visit the seconds (n,) in a part, and the rows of the seconds whose middle is in it."""
    people, seconds = material.people, material.seconds
    passed = within.elapsed(people.source, people.ended) - within.elapsed(people.source, people.began)
    middle = seconds.began + SECOND // 2
    return passed / SECOND, np.flatnonzero(within.inside(people.source[seconds.person], middle))


def _no_baseline(part: Part, basis: Basis) -> str:
    return (
        f"{part.name}: a baseline needs seconds, which are kept while a session is marked; here are {basis} "
        "only"
    )


def _described(name: str) -> Measure:
    if name not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}; got {name!r}")
    return MEASURES[name]


def _of_each(people: Persons, measure: str) -> Floats:
    if measure in EMOTIONS:
        return people.shares[:, EMOTIONS.index(measure)]
    if measure == "smiled":
        return np.where(np.isnan(people.smile), np.nan, ~np.isnan(people.first_smile))
    return np.asarray(getattr(people, measure), np.float64)


def _are_covered(material: Material, overlap: Floats, rows: NDArray[Any]) -> bool:
    """Whether ``rows`` of seconds hold what the visits lead one to expect in the part."""
    people = material.people
    expected = people.seen * np.divide(
        overlap, people.dwell, out=(overlap > 0).astype(np.float64), where=people.dwell > 0
    )
    return (
        len(rows) > 0 and float(material.seconds.seen[rows].sum(dtype=np.float64)) >= COVERED * expected.sum()
    )


def _by_seconds(
    material: Material, part: Part, options: Options, within: Within, overlap: Floats, rows: NDArray[Any]
) -> Persons:
    seconds, visits = material.seconds, material.people
    who = visits.who
    order = np.lexsort((seconds.began[rows], who[seconds.person[rows]]))
    rows = rows[order]
    person = who[seconds.person[rows]]
    starts = _starts(person)
    found = person[starts]
    seen, unsure, attention, unclear = (
        _sums(getattr(seconds, name)[rows].astype(np.float64), starts)
        for name in ("seen", "unsure", "attention", "unclear")
    )
    enough = (seen >= options.min_seconds) & (seen > 0)
    told = []
    if not enough.all():
        told.append(_too_short(enough, options))
    count = int(who.max()) + 1 if len(who) else 0
    dwell = np.bincount(who, overlap, count)[found]
    in_part = np.bincount(who, overlap > 0, count).astype(np.int64)[found]
    emotions = _emotions(material, options, within, rows, person, found, told)
    columns = {
        "who": found,
        # A person may be seen in a part only in the second in which it ends.
        "visits": np.maximum(in_part, 1),
        "dwell": dwell,
        "seen": seen,
        "unsure": unsure,
        "attention": attention,
        "unclear": unclear,
        **emotions,
    }
    kept = {name: column[enough] for name, column in columns.items()}
    return Persons(part.name, "seconds", **kept, told=tuple(told))


def _emotions(
    material: Material,
    options: Options,
    within: Within,
    rows: NDArray[Any],
    person: Counts,
    found: Counts,
    told: list[str],
) -> dict[str, Floats]:
    """Emotional columns of ``found``, ascending numbers of persons, from ``rows`` of seconds, so sorted."""
    seconds, visits = material.seconds, material.people
    if options.unsure == "left out":
        sure = seconds.unsure[rows] <= seconds.seen[rows] / 2
        rows, person = rows[sure], person[sure]
        told.append(
            f"{percent(1 - float(sure.mean()) if len(sure) else 0.0)} of the seconds unsure and left out"
        )
    smile, first_smile = _smiles(material, within, rows, person, found)
    shares = seconds.shares[rows].astype(np.float64)
    if options.baseline:
        base, until = _baselines(material, options)
        later = (seconds.began[rows] >= until[person]) & ~np.isnan(base[person, 0])
        without = np.isnan(base[found, 0])
        if without.any():
            told.append(
                f"{people_counted(int(without.sum()))} without a baseline: seen for less than half of "
                f"{options.baseline:g} s"
            )
        shares = (shares - base[person])[later]
        rows, person = rows[later], person[later]
    starts = _starts(person)
    have = np.searchsorted(found, person[starts]) if len(starts) else np.zeros(0, np.int64)

    def column(given: Floats) -> Floats:
        full = np.full((len(found), *given.shape[1:]), np.nan)
        full[have] = given
        return full

    seen = seconds.seen[rows].astype(np.float64)
    weight = _sums(seen, starts)
    mean = _sums(shares * seen[:, None], starts) / weight[:, None]
    valence = shares @ _VALENCE
    judged = seen >= SMILE_SEEN / 1000
    highest = _extremes(np.maximum, np.where(judged, valence, -np.inf), starts)
    lowest = _extremes(np.minimum, np.where(judged, valence, np.inf), starts)
    peak = np.where(highest >= -lowest, highest, lowest)
    peak = np.where(np.isinf(peak), mean @ _VALENCE, peak)
    last = np.append(starts[1:], len(rows))[
        np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
    ]
    passed = within.elapsed(visits.source[seconds.person[rows]], seconds.began[rows] + 500)
    at_end = passed > passed[last - 1] - options.end_seconds * 1000
    end = _sums(valence * seen * at_end, starts) / _sums(seen * at_end, starts)
    return {
        "weight": np.nan_to_num(column(weight)),
        "shares": column(mean),
        "valence": column(mean @ _VALENCE),
        "expressiveness": column(-mean[:, _NEUTRAL] if options.baseline else 1 - mean[:, _NEUTRAL]),
        "smile": smile,
        "first_smile": first_smile,
        "peak": column(peak),
        "end": column(end),
    }


def _smiles(
    material: Material, within: Within, rows: NDArray[Any], person: Counts, found: Counts
) -> tuple[Floats, Floats]:
    """Of ``found``: largest share of happy over a second, and seconds of the part until the first smile."""
    seconds, visits = material.seconds, material.people
    smile, first_smile = np.full(len(found), np.nan), np.full(len(found), np.nan)
    if not len(rows):
        return smile, first_smile
    starts = _starts(person)
    have = np.searchsorted(found, person[starts])
    seen = seconds.seen[rows].astype(np.float64)
    happy = seconds.shares[rows, _HAPPY].astype(np.float64)
    judged = seen >= SMILE_SEEN / 1000
    largest = _extremes(np.maximum, np.where(judged, happy, -np.inf), starts)
    mean = _sums(happy * seen, starts) / _sums(seen, starts)
    smile[have] = np.where(np.isinf(largest), mean, largest)
    source = visits.source[seconds.person[rows]]
    passed = within.elapsed(source, seconds.began[rows])
    # A visit that began before the part began in it when the part did.
    came = within.elapsed(source, visits.began[seconds.person[rows]])
    smiling = np.where(judged & (happy >= SMILE), passed, np.inf)
    first = (_extremes(np.minimum, smiling, starts) - _extremes(np.minimum, came, starts)) / 1000
    first_smile[have] = np.where(np.isinf(first), np.nan, np.maximum(first, 0))
    return smile, first_smile


def _baselines(material: Material, options: Options) -> tuple[Floats, Times]:
    """Of each person the mean shares (p, 7) of the first seconds, NaN where too few, and their end (p,)."""
    seconds, visits = material.seconds, material.people
    who = visits.who
    count = int(who.max()) + 1
    until = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(until, who, visits.began)
    until += round(options.baseline * 1000)
    person = who[seconds.person]
    rows = np.flatnonzero(seconds.began < until[person])
    seen = seconds.seen[rows].astype(np.float64)
    total = np.bincount(person[rows], seen, count)
    base = np.full((count, len(EMOTIONS)), np.nan)
    enough = total >= options.baseline / 2
    for code in range(len(EMOTIONS)):
        sums = np.bincount(person[rows], seconds.shares[rows, code] * seen, count)
        base[enough, code] = sums[enough] / total[enough]
    return base, until


def _by_visits(material: Material, part: Part, options: Options, within: Within, overlap: Floats) -> Persons:
    """Whole visits, more than half of which lie in the part."""
    visits = material.people
    dwell = visits.dwell
    inside = np.where(dwell > 0, overlap > dwell / 2, within.inside(visits.source, visits.began))
    rows = np.flatnonzero(inside & (visits.seen > 0))
    who = visits.who[rows]
    rows = rows[np.lexsort((visits.began[rows], who))]
    who = visits.who[rows]
    starts = _starts(who)
    seen = _sums(visits.seen[rows], starts)
    told = []
    enough = seen >= options.min_seconds
    if not enough.all():
        told.append(_too_short(enough, options))
    partly = int(np.count_nonzero((overlap > 0) & ~inside))
    if partly:
        told.append(f"{counted(partly, 'visit')} left out: not more than half of each lies in {part.name}")
    sure = ~np.isnan(visits.shares[rows, 0])
    if options.unsure == "left out":
        unsure = visits.unsure[rows] > visits.seen[rows] / 2
        told.append(
            f"{int(unsure.sum())} visits unsure for more than half of their time left out of emotions"
        )
        sure &= ~unsure
    weight = np.where(sure, visits.seen[rows], 0.0)
    total = _sums(weight, starts)
    shares = np.where(sure[:, None], visits.shares[rows].astype(np.float64), 0.0)
    mean = _sums(shares * weight[:, None], starts) / np.where(total > 0, total, np.nan)[:, None]
    smile = _extremes(np.fmax, np.where(sure, visits.smile[rows], np.nan), starts)
    came = visits.began[rows].astype(np.float64)
    smiled = np.where(sure, came + visits.first_smile[rows] * 1000, np.nan)
    first_smile = (_extremes(np.fmin, smiled, starts) - came[starts]) / 1000
    unknown = np.full(len(starts), np.nan)
    columns = {
        "who": who[starts],
        "visits": np.diff(np.append(starts, len(rows))),
        "dwell": _sums(dwell[rows], starts),
        "seen": seen,
        "unsure": _sums(visits.unsure[rows], starts),
        "attention": _sums(visits.attention[rows], starts),
        "unclear": _sums(visits.unclear[rows], starts),
        "weight": total,
        "shares": mean,
        "valence": mean @ _VALENCE,
        "expressiveness": 1 - mean[:, _NEUTRAL],
        "smile": smile,
        "first_smile": first_smile,
        "peak": unknown,
        "end": unknown,
    }
    return Persons(
        part.name, "visits", **{name: column[enough] for name, column in columns.items()}, told=tuple(told)
    )


def _of_minutes(
    material: Material, part: Part, options: Options, measures: Iterable[str]
) -> dict[str, Figure]:
    minutes = material.minutes
    within = Within(material, part)
    rows = minutes.take(within.inside(minutes.source, (minutes.began + minutes.ended) // 2))
    by_time = options.weight == "time"
    weight = np.where(rows.people > 0, rows.seen if by_time else rows.people, 0.0)
    shares = np.nan_to_num(rows.shares.astype(np.float64)).T @ weight / (weight.sum() or np.nan)
    clear = rows.unclear.sum() if options.unclear == "left out" else 0.0
    people = int(rows.people.sum())
    if options.baseline and people:
        raise DataError(_no_baseline(part, "minutes"))
    known = {
        "visits": float(rows.visits_begun.sum()),
        "present": _quotient(rows.seen.sum(), rows.observed.sum()),
        "dwell": _quotient(rows.dwell.sum(), rows.visits_ended.sum()),
        "attention_share": _quotient(rows.attention.sum(), rows.seen.sum() - clear),
        "unsure": _quotient(rows.unsure.sum(), rows.seen.sum()),
        **dict(zip(EMOTIONS, shares.tolist(), strict=True)),
        "valence": float(shares @ _VALENCE),
        "expressiveness": float(1 - shares[_NEUTRAL]),
    }
    return {
        name: Figure(
            _described(name), known.get(name, float("nan")), people if name in known else 0, "minutes"
        )
        for name in measures
    }


def _present(material: Material, part: Part) -> float:
    """People at a time: what minutes saw in sight, over the time they observed."""
    minutes = material.minutes
    rows = Within(material, part).inside(minutes.source, (minutes.began + minutes.ended) // 2)
    return _quotient(minutes.seen[rows].sum(), minutes.observed[rows].sum())


def _starts(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Where each run of equal rows of sorted ``keys`` (n,) begins."""
    changed = np.zeros(len(keys[0]), np.bool_)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def _sums(column: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    return np.add.reduceat(column, starts, axis=0) if len(starts) else column[:0]


def _extremes(ufunc: np.ufunc, column: Floats, starts: NDArray[np.int64]) -> Floats:
    return np.asarray(ufunc.reduceat(column, starts), np.float64) if len(starts) else column[:0]


def _quotient(numerator: float, denominator: float) -> float:
    return float(numerator) / float(denominator) if denominator else float("nan")


def _too_short(enough: Bools, options: Options) -> str:
    left_out = people_counted(int(np.count_nonzero(~enough)))
    return f"{left_out} left out: in sight for less than {options.min_seconds:g} s"
