"""Differences between parts of a material, with intervals from resampling people.

A person is drawn with all of their seconds, since seconds of one person are correlated: a cluster bootstrap.
The interval is the studentized one (bootstrap-t; Efron and Tibshirani 1993, "An Introduction to the
Bootstrap", chapter 12.5): plain percentiles cover too little with few people. Standard errors of quotients
are linearized (Cochran 1977, "Sampling Techniques", chapter 6). docs/measures.md says how often intervals are
right.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS
from .material import Counts, Floats, Material
from .measures import Basis, Measure, Options, Persons, Values, persons, values
from .parts import Part, Within
from .wording import people_counted

Design = Literal["paired", "unpaired", "partly paired"]

HEADLINES = ("smile", "valence", "expressiveness", "attraction")
"""What is compared where nothing else is asked for."""

FEW = 20
"""People of a part from which on the intervals cover what they promise."""

SKEWED = 10.0
"""People that it takes for each square of the skewness of their values, or the intervals are too narrow."""

RARE = 0.05
"""Mean share below which an emotion is so rare that intervals need more people."""

MANY = 100
"""How many they need then."""

UNSURE = 0.3
"""Share of the time in sight from which on too much is unsure."""

UNSURE_APART = 0.15
"""Difference of those shares from which on parts may differ in light rather than in faces."""

SIZES_APART = 1.5
"""Quotient of the median sizes of faces, or of times in sight, from which on parts are hardly alike."""

GAPS = 0.1
"""Share of a part without frames from which on it is told."""

MOST = 200
"""Comparisons that are made in one call: more leave nothing clear after their correction, and take long."""

_BLOCK = 4_000_000
"""Weights that are held at a time."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are made. The same material and ``seed`` give the same figures."""

    draws: int = 2000
    """More are drawn where Holm's correction of many comparisons needs smaller p-values."""
    level: float = 0.95
    seed: int = 0
    pairing: Literal["auto", "never"] = "auto"
    """``auto``: where at least half of the people were in both parts, only they count, each against
    themselves. ``never``: everybody counts; that some were in both is still allowed for."""

    def __post_init__(self) -> None:
        if self.draws < 200:
            raise ValueError(f"draws must be at least 200; got {self.draws}")
        if not 0.5 <= self.level < 1:
            raise ValueError(f"level must be at least 0.5 and below 1; got {self.level}")
        if self.pairing not in ("auto", "never"):
            raise ValueError(f"pairing must be auto or never; got {self.pairing!r}")


@dataclass(frozen=True)
class Estimate:
    """A measure of a part, with its interval; NaN where there are too few people for one."""

    part: str
    measure: Measure
    value: float
    low: float
    high: float
    people: int
    basis: Basis


@dataclass(frozen=True)
class Comparison:
    """How much more of a measure ``b`` has than ``a``. NaN: cannot be told."""

    a: str
    b: str
    measure: Measure
    design: Design
    people: int
    """Different people in it."""
    people_a: int
    people_b: int
    value_a: float
    """Of the people who count here: of ``paired``, only those in both parts."""
    value_b: float
    difference: float
    """``value_b - value_a``, with ``low`` and ``high``."""
    low: float
    high: float
    more: float
    """``value_b / value_a - 1``, with ``more_low`` and ``more_high``; NaN where values may be negative."""
    more_low: float
    more_high: float
    p: float
    """Below 0.05 exactly where 0 lies outside ``low`` to ``high`` of level 0.95."""
    holm: float
    """``p`` corrected for all comparisons that were made together."""
    effect: float
    """Cliff's delta, -1 to 1: of two people, one from each part, how much more often the one of ``b`` has
    more than less. Of ``paired``, of the same person in both."""
    level: float
    warnings: tuple[str, ...]

    @property
    def clear(self) -> bool:
        """Whether ``holm`` is at most 1 - ``level``: significant after the correction."""
        return self.holm <= 1 - self.level + 1e-12

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        return _sentence(self)


def estimate(
    material: Material,
    part: Part,
    measures: Sequence[str] = HEADLINES,
    options: Options | None = None,
    resampling: Resampling | None = None,
    people: Persons | None = None,
) -> list[Estimate]:
    """Measures of a part with their intervals; ``people`` are its persons, where they are at hand.

    Raises ValueError for measures that are no means over people.
    """
    options, resampling = options or Options(), resampling or Resampling()
    people = persons(material, part, options) if people is None else people
    taken = [values(people, name, options) for name in measures]
    tasks = [_Task(_one(each), "unpaired") for each in taken]
    found = _intervals(tasks, [np.arange(len(people))], resampling, resampling.draws)
    return [
        Estimate(
            part.name,
            each.measure,
            each.value,
            *_clipped(result.low, result.high, each.measure.low, each.measure.high),
            each.people,
            people.basis,
        )
        for each, result in zip(taken, found, strict=True)
    ]


def compare(
    material: Material,
    parts: Sequence[Part],
    measures: Sequence[str] = HEADLINES,
    options: Options | None = None,
    resampling: Resampling | None = None,
    against: Literal["all", "first"] = "all",
    people: Sequence[Persons] | None = None,
) -> list[Comparison]:
    """Compare parts with each other, or with the first; Holm's correction is over all that is returned.

    ``people``: of each part its persons by the same ``options``, where they are at hand. Raises ValueError
    where there are fewer than two parts, two of one name, a measure that is no mean over people, or more than
    :data:`MOST` comparisons; :class:`~fer_edge.errors.DataError` where ``options`` need seconds that are not
    there.
    """
    options, resampling = options or Options(), resampling or Resampling()
    if len({part.name for part in parts}) < max(len(parts), 2):
        raise ValueError(f"two parts of different names are needed; got {[part.name for part in parts]}")
    pairs = list(itertools.combinations(range(len(parts)), 2))
    if against == "first":
        pairs = [pair for pair in pairs if pair[0] == 0]
    count = len(pairs) * len(measures)
    if count > MOST:
        raise ValueError(
            f"{count} comparisons; at most {MOST} are made together: name fewer parts or measures, or "
            "compare with the first part only"
        )
    people = [persons(material, part, options) for part in parts] if people is None else people
    # The smallest p-value that draws can give is 2 / (draws + 1): half of what the correction asks for.
    draws = max(resampling.draws, math.ceil(4 * count / (1 - resampling.level)))
    tasks: list[_Task] = []
    found: list[_Result] = []
    for i, j in pairs:
        who = np.union1d(people[i].who, people[j].who)
        in_i, in_j = np.isin(who, people[i].who), np.isin(who, people[j].who)
        together = bool((in_i & in_j).any())
        strata = [np.arange(len(who))] if together else [np.flatnonzero(in_i), np.flatnonzero(in_j)]
        own = [
            _two(who, values(people[i], name, options), values(people[j], name, options), resampling)
            for name in measures
        ]
        tasks += own
        found += _intervals(own, strata, resampling, draws)
    holms = holm([one.p for one in found])
    notes = [_quality(material, part, one) for part, one in zip(parts, people, strict=True)]
    results = []
    described = [values(people[0], name, options).measure for name in measures]
    asked = [(measure, i, j) for i, j in pairs for measure in described]
    for task, (measure, i, j), result, corrected in zip(tasks, asked, found, holms, strict=True):
        in_a, in_b = task.sums[:, 1] > 0, task.sums[:, 3] > 0
        value_a, value_b = _values_of(task)
        width = measure.high - measure.low
        low, high = _clipped(result.low, result.high, -width, width)
        more = value_b / value_a - 1 if measure.ratio and value_a > 0 else math.nan
        results.append(
            Comparison(
                a=parts[i].name,
                b=parts[j].name,
                measure=measure,
                design=task.design,
                people=int((in_a | in_b).sum()),
                people_a=int(in_a.sum()),
                people_b=int(in_b.sum()),
                value_a=value_a,
                value_b=value_b,
                difference=value_b - value_a,
                low=low,
                high=high,
                more=more,
                more_low=result.more_low if measure.ratio else math.nan,
                more_high=result.more_high if measure.ratio else math.nan,
                p=result.p,
                holm=corrected,
                effect=_effect(task),
                level=resampling.level,
                warnings=_warnings(measure, task, notes[i], notes[j], result),
            )
        )
    return results


def holm(p: Sequence[float]) -> list[float]:
    """Holm's corrected p-values (Holm 1979), in the order given; NaN stays NaN and counts as a comparison."""
    order = sorted((i for i in range(len(p)) if not math.isnan(p[i])), key=lambda i: p[i])
    corrected, largest = list(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


@dataclass(frozen=True, eq=False)
class _Task:
    """Sums of people (n, 4): numerator and denominator of a, then of b; 0 where a person does not count."""

    sums: Floats
    design: Design


@dataclass(frozen=True)
class _Result:
    low: float = math.nan
    high: float = math.nan
    more_low: float = math.nan
    more_high: float = math.nan
    p: float = math.nan


def _one(of: Values) -> Floats:
    nothing = np.zeros(len(of.who))
    return np.stack([nothing, nothing, of.numerator, of.denominator], axis=1)


def _two(who: Counts, a: Values, b: Values, resampling: Resampling) -> _Task:
    """The sums of everybody in ``who``, the people of both parts in ascending order."""
    sums = np.zeros((len(who), 4))
    for column, of in ((0, a), (2, b)):
        rows = np.searchsorted(who, of.who)
        sums[rows, column], sums[rows, column + 1] = of.numerator, of.denominator
    in_a, in_b = sums[:, 1] > 0, sums[:, 3] > 0
    both = in_a & in_b
    if resampling.pairing == "auto" and 2 * both.sum() >= (in_a | in_b).sum() > 0:
        sums[~both] = 0
        return _Task(sums, "paired")
    return _Task(sums, "partly paired" if both.any() else "unpaired")


def _intervals(
    tasks: Sequence[_Task], strata: Sequence[NDArray[np.int64]], resampling: Resampling, draws: int
) -> list[_Result]:
    """Intervals and p-values of tasks of the same people, who are drawn from each of ``strata`` by itself."""
    if not tasks or min((len(rows) for rows in strata), default=0) < 2:
        return [_Result()] * len(tasks)
    columns = np.stack([_moments(task.sums) for task in tasks], axis=1)
    people, width = len(columns), columns.shape[2]
    flat = columns.reshape(people, -1)
    rng = np.random.default_rng(resampling.seed)
    drawn = np.concatenate([weights @ flat for weights in _weights(strata, people, draws, rng)])
    drawn = drawn.reshape(draws, len(tasks), width)
    once = columns.sum(axis=0)
    return [
        _studentized(once[None, number], drawn[:, number], task, resampling.level)
        for number, task in enumerate(tasks)
    ]


def _weights(
    strata: Sequence[NDArray[np.int64]], people: int, draws: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """Blocks (b, people) of how often each person is drawn; each stratum keeps its number of people."""
    block = max(1, _BLOCK // people)
    for first in range(0, draws, block):
        count = min(block, draws - first)
        weights = np.zeros((count, people))
        for rows in strata:
            size = len(rows)
            picked = rng.integers(0, size, (count, size), np.int32)
            picked += np.arange(count, dtype=np.int32)[:, None] * np.int32(size)
            weights[:, rows] = np.bincount(picked.ravel(), minlength=count * size).reshape(count, size)
        yield weights


def _moments(sums: Floats) -> Floats:
    """(n, 14): columns whose sums give both quotients and their variances and covariance."""
    a, m, b, n = sums.T
    return np.stack(
        [a, m, b, n, a * a, a * m, m * m, b * b, b * n, n * n, a * b, a * n, m * b, m * n], axis=1
    )


def _studentized(once: Floats, drawn: Floats, task: _Task, level: float) -> _Result:
    in_a, in_b = int((task.sums[:, 1] > 0).sum()), int((task.sums[:, 3] > 0).sum())
    value, error = _difference(once, task, in_a, in_b)
    low, high, p = _bounds(value, error, *_difference(drawn, task, in_a, in_b), level)
    more_low = more_high = math.nan
    if in_a and in_b and (once[0, [0, 2]] > 0).all() and (task.sums >= 0).all():
        value, error = _log_quotient(once, task, in_a, in_b)
        log_low, log_high, _ = _bounds(value, error, *_log_quotient(drawn, task, in_a, in_b), level)
        more_low, more_high = (_exp(log_low) - 1, _exp(log_high) - 1)
    return _Result(low, high, more_low, more_high, p)


def _exp(power: float) -> float:
    return math.exp(power) if power < 700 else math.inf


def _bounds(
    value: Floats, error: Floats, drawn: Floats, errors: Floats, level: float
) -> tuple[float, float, float]:
    """Interval of ``value`` (1,) with standard ``error`` (1,) and p-value of 0, by draws (b,) of both."""
    if not (np.isfinite(value[0]) and error[0] > 0):
        return math.nan, math.nan, math.nan
    with np.errstate(all="ignore"):
        t = (drawn - value) / errors
    # A draw of people who are all alike differs without any error: infinitely many of them.
    t[(drawn == value) & (errors == 0)] = 0.0
    t = np.sort(t[~np.isnan(t)])
    count = len(t)
    if count < 0.95 * len(drawn):
        return math.nan, math.nan, math.nan
    place = max(1, math.floor((count + 1) * (1 - level) / 2 + 1e-9))
    observed = value[0] / error[0]
    above = count - int(np.searchsorted(t, observed, "left"))
    below = int(np.searchsorted(t, observed, "right"))
    p = min(1.0, 2 * (min(above, below) + 1) / (count + 1))
    return float(value[0] - t[count - place] * error[0]), float(value[0] - t[place - 1] * error[0]), p


def _parts_of(sums: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Both quotients, their variances but for a factor of n / (n - 1), and their covariance; all (b,)."""
    a, m, b, n, aa, am, mm, bb, bn, nn, ab, an, mb, mn = sums.T
    with np.errstate(all="ignore"):
        first, second = a / m, b / n
        of_first = (aa - 2 * first * am + first**2 * mm) / m**2
        of_second = (bb - 2 * second * bn + second**2 * nn) / n**2
        together = (ab - second * an - first * mb + first * second * mn) / (m * n)
    # Rounding must not make a variance of equal people negative, nor leave it a little above 0.
    for variance, squares, below in ((of_first, aa, m), (of_second, bb, n)):
        with np.errstate(all="ignore"):
            variance[variance < 1e-13 * squares / below**2] = 0.0
    return first, second, of_first, of_second, together


def _error(task: _Task, in_a: int, in_b: int, a: Floats, b: Floats, together: Floats) -> Floats:
    if task.design == "unpaired":
        return np.sqrt(a * _unbiased(in_a) + b * _unbiased(in_b))
    squared = (a + b - 2 * together) * _unbiased(int((task.sums[:, [1, 3]] > 0).any(axis=1).sum()))
    return np.sqrt(np.where(squared < 1e-13 * (a + b), 0.0, squared))


def _unbiased(count: int) -> float:
    return count / (count - 1) if count > 1 else 0.0


def _difference(sums: Floats, task: _Task, in_a: int, in_b: int) -> tuple[Floats, Floats]:
    first, second, of_first, of_second, together = _parts_of(sums)
    if not in_a:
        return second, np.sqrt(of_second * _unbiased(in_b))
    return second - first, _error(task, in_a, in_b, of_first, of_second, together)


def _log_quotient(sums: Floats, task: _Task, in_a: int, in_b: int) -> tuple[Floats, Floats]:
    first, second, of_first, of_second, together = _parts_of(sums)
    with np.errstate(all="ignore"):
        value = np.log(second / first)
        error = _error(
            task, in_a, in_b, of_first / first**2, of_second / second**2, together / (first * second)
        )
    return value, error


def _effect(task: _Task) -> float:
    above_a, below_a, above_b, below_b = task.sums.T
    in_a, in_b = below_a > 0, below_b > 0
    if not (in_a.any() and in_b.any()):
        return math.nan
    of_a, of_b = above_a[in_a] / below_a[in_a], above_b[in_b] / below_b[in_b]
    if task.design == "paired":
        return float(np.sign(of_b - of_a).mean())
    of_a = np.sort(of_a)
    less = np.searchsorted(of_a, of_b, "left").sum()
    more = len(of_a) * len(of_b) - np.searchsorted(of_a, of_b, "right").sum()
    return float(less - more) / (len(of_a) * len(of_b))


@dataclass(frozen=True)
class _Quality:
    part: str
    basis: Basis
    people: int
    unsure: float
    size: float
    seen: float
    gap: float
    crossed: tuple[str, ...]
    """Cameras of one device that saw people at the same time."""
    models: frozenset[str]


def _quality(material: Material, part: Part, people: Persons) -> _Quality:
    visits = material.people
    rows = np.flatnonzero(np.isin(visits.who, people.who))
    minutes = material.minutes
    inside = Within(material, part).inside(minutes.source, (minutes.began + minutes.ended) // 2)
    observed, gap = float(minutes.observed[inside].sum()), float(minutes.gap[inside].sum())
    sources = np.unique(visits.source[rows])
    devices = {material.sources[source].device for source in sources.tolist()}
    return _Quality(
        part.name,
        people.basis,
        len(people),
        people.unsure_share,
        _median(visits.size[rows]),
        _median(people.seen),
        gap / (observed + gap) if observed + gap else 0.0,
        _crossed(material, rows, sources.tolist()),
        frozenset(_model(material.settings.get(device)) for device in devices) - {""},
    )


def _crossed(material: Material, rows: NDArray[np.int64], sources: Sequence[int]) -> tuple[str, ...]:
    visits = material.people
    live = [source for source in sources if not material.sources[source].film]
    spans = {}
    for source in live:
        own = rows[visits.source[rows] == source]
        spans[source] = (int(visits.began[own].min()), int(visits.ended[own].max()))
    names: set[str] = set()
    for i, j in itertools.combinations(live, 2):
        one, other = material.sources[i], material.sources[j]
        together = spans[i][0] < spans[j][1] and spans[j][0] < spans[i][1]
        if one.device == other.device and one.camera != other.camera and together:
            names |= {one.camera, other.camera}
    return tuple(sorted(names))


def _model(start: Any) -> str:
    model = start.get("model") if isinstance(start, dict) else None
    if not isinstance(model, dict):
        return ""
    return f"{model.get('name', '')} ({model.get('labels', 'fer2013')})"


def _median(column: Floats) -> float:
    known = column[~np.isnan(column)]
    return float(np.median(known)) if len(known) else math.nan


def _warnings(measure: Measure, task: _Task, a: _Quality, b: _Quality, result: _Result) -> tuple[str, ...]:
    found = []
    in_a, in_b = task.sums[:, 1] > 0, task.sums[:, 3] > 0
    for part, count in ((a, int(in_a.sum())), (b, int(in_b.sum()))):
        if count < FEW:
            found.append(f"Too few people: {count} in {part.part}; intervals are reliable from {FEW} on.")
    if math.isnan(result.low) and min(in_a.sum(), in_b.sum()) >= 2:
        found.append("No interval: all people of a part have the same value, or too few have one.")
    rare = measure.name in EMOTIONS and measure.ratio and max(_values_of(task)) < RARE
    if rare and min(in_a.sum(), in_b.sum()) < MANY:
        found.append(
            f"{measure.label} is rare here: with fewer than {MANY} people the interval may be too narrow."
        )
    elif not math.isnan(result.low) and _is_skewed(task):
        found.append("A few people make most of this measure: the interval may be too narrow.")
    if measure.emotion:
        for part in (a, b):
            if part.unsure > UNSURE:
                found.append(f"{part.part}: {100 * part.unsure:.0f} % of the time in sight was unsure.")
        if abs(a.unsure - b.unsure) > UNSURE_APART:
            found.append(
                f"Unsure for {100 * a.unsure:.0f} % of the time in {a.part} and {100 * b.unsure:.0f} % in "
                f"{b.part}: light or distance may differ rather than faces."
            )
    if task.design == "partly paired":
        found.append(f"{int((in_a & in_b).sum())} of {int((in_a | in_b).sum())} people were in both parts.")
    for part in (a, b):
        if part.crossed:
            found.append(
                f"{part.part}: cameras {', '.join(part.crossed)} saw people at the same time; the same "
                "person may be counted twice."
            )
        if part.gap > GAPS:
            found.append(f"{part.part}: no frames for {100 * part.gap:.0f} % of the time.")
    if _quotient_of(a.size, b.size) > SIZES_APART:
        found.append(
            f"Faces are {a.size:.0f} pixels wide in {a.part} and {b.size:.0f} in {b.part}: small ones are "
            "read worse."
        )
    if measure.name in ("peak", "peak_end", "smile", "smiled") and _quotient_of(a.seen, b.seen) > SIZES_APART:
        found.append(
            f"People were in sight for {a.seen:.0f} s in {a.part} and {b.seen:.0f} s in {b.part}: the longer "
            "they are, the larger is what was reached at most."
        )
    if a.basis != b.basis:
        found.append(f"{a.part} is measured by {a.basis}, {b.part} by {b.basis}.")
    if a.models and b.models and a.models != b.models:
        found.append(f"Models differ: {', '.join(sorted(a.models))} and {', '.join(sorted(b.models))}.")
    return tuple(dict.fromkeys(found))


def _is_skewed(task: _Task) -> bool:
    above_a, below_a, above_b, below_b = task.sums.T
    in_a, in_b = below_a > 0, below_b > 0
    of_a, of_b = above_a[in_a] / below_a[in_a], above_b[in_b] / below_b[in_b]
    columns = [of_b - of_a] if task.design == "paired" else [of_a, of_b]
    for column in columns:
        away = column - column.mean()
        spread = float(np.mean(away**2))
        if spread > 0 and len(column) < SKEWED * float(np.mean(away**3)) ** 2 / spread**3:
            return True
    return False


def _values_of(task: _Task) -> tuple[float, float]:
    above_a, below_a, above_b, below_b = task.sums.sum(axis=0).tolist()
    return (above_a / below_a if below_a else math.nan, above_b / below_b if below_b else math.nan)


def _quotient_of(a: float, b: float) -> float:
    return max(a, b) / min(a, b) if min(a, b) > 0 else 1.0


def _clipped(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    return max(low, least) if low == low else low, min(high, most) if high == high else high


def _sentence(one: Comparison) -> str:
    noun = one.measure.noun[0].upper() + one.measure.noun[1:]
    if math.isnan(one.difference):
        return f"{noun} in {one.a} and {one.b} cannot be compared: nobody has it in one of them."
    if one.measure.ratio and not math.isnan(one.more):
        value, low, high = 100 * one.more, 100 * one.more_low, 100 * one.more_high
        unit, digits = " %", 0
    else:
        value, low, high = one.difference, one.low, one.high
        unit, digits = " s" if one.measure.unit == "s" else "", 2
    words = ("shorter", "longer") if one.measure.unit == "s" else ("lower", "higher")

    def told(number: float) -> str:
        return f"{abs(number):.{digits}f}{unit}"

    found = f"{noun} was {told(value)} {words[value >= 0]} in {one.b} than in {one.a}"
    people = f"{people_counted(one.people)}."
    if math.isnan(low):
        return f"{found}; no interval can be given; {people}"
    if (low >= 0) == (high >= 0):
        near, far = sorted((abs(low), abs(high)))
        interval = f"{near:.{digits}f} to {told(far)} {words[high >= 0]}"
    else:
        interval = f"{told(low)} {words[0]} to {told(high)} {words[1]}"
    end = "" if one.clear else ", which may be chance"
    return f"{found} ({100 * one.level:g} % interval {interval}){end}; {people}"
