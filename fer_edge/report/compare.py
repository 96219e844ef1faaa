"""Differences between parts of a material, each with its interval, in figures and in a sentence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .bootstrap import (
    Design,
    Resampling,
    Result,
    Task,
    cliffs_delta,
    holm,
    intervals,
    one_part,
    two_parts,
    values_of,
)
from .caveats import quality_of, warnings_of
from .material import Material
from .measures import Basis, Measure, Options, Persons, persons, values
from .parts import Part
from .wording import number, people_counted, percent, signed, signed_points, spoken

HEADLINES = ("smile", "valence", "expressiveness", "attraction")
"""What is compared where nothing else is asked for."""

MOST = 200
"""Comparisons that are made in one call: more leave nothing clear after their correction, and take long."""


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
    tasks = [one_part(each) for each in taken]
    found = intervals(tasks, [np.arange(len(people))], resampling, resampling.draws)
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
    # The smallest p-value that draws can give is 1 / (draws + 1): a quarter of what the correction asks for.
    draws = max(resampling.draws, math.ceil(4 * count / (1 - resampling.level)))
    tasks: list[Task] = []
    found: list[Result] = []
    for i, j in pairs:
        who = np.union1d(people[i].who, people[j].who)
        in_i, in_j = np.isin(who, people[i].who), np.isin(who, people[j].who)
        together = bool((in_i & in_j).any())
        strata = [np.arange(len(who))] if together else [np.flatnonzero(in_i), np.flatnonzero(in_j)]
        own = [
            two_parts(who, values(people[i], name, options), values(people[j], name, options), resampling)
            for name in measures
        ]
        tasks += own
        found += intervals(own, strata, resampling, draws)
    holms = holm([one.p for one in found])
    notes = [quality_of(material, part, one) for part, one in zip(parts, people, strict=True)]
    results = []
    described = [values(people[0], name, options).measure for name in measures]
    asked = [(measure, i, j) for i, j in pairs for measure in described]
    for task, (measure, i, j), result, corrected in zip(tasks, asked, found, holms, strict=True):
        in_a, in_b = task.sums[:, 1] > 0, task.sums[:, 3] > 0
        value_a, value_b = values_of(task)
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
                effect=cliffs_delta(task),
                level=resampling.level,
                warnings=warnings_of(measure, task, notes[i], notes[j], result),
            )
        )
    return results


def _clipped(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    return max(low, least) if low == low else low, min(high, most) if high == high else high


_UNITS = {"share": (100, 1, " percentage points"), "s": (1, 2, " s")}
"""How differences are told: factor, decimals, unit."""


def _tells_percent(one: Comparison) -> bool:
    """Whether percent say the same as the difference, by which chance is judged; near 0 they need not."""
    if not one.measure.ratio or math.isnan(one.more):
        return False
    if math.isnan(one.more_low):
        return math.isnan(one.low)
    return (one.more_low <= 0 <= one.more_high) == (one.low <= 0 <= one.high)


def _value(measure: Measure, value: float) -> str:
    """A value of ``measure`` as a sentence gives it."""
    if measure.points:
        return f"{signed_points(value)} points"
    if measure.unit == "share":
        return percent(value)
    if measure.unit == "s":
        return spoken(value)
    return signed(value) if measure.low < 0 else number(value)


def _sentence(one: Comparison) -> str:
    noun = one.measure.noun[0].upper() + one.measure.noun[1:]
    if math.isnan(one.difference):
        return f"{noun} in {one.a} and {one.b} cannot be compared: one of them has no value."
    if _tells_percent(one):
        value, low, high = 100 * one.more, 100 * one.more_low, 100 * one.more_high
        unit, digits = " %", 0
    else:
        factor, digits, unit = _UNITS.get(one.measure.unit, (1, 2, ""))
        value, low, high = factor * one.difference, factor * one.low, factor * one.high
    words = ("shorter", "longer") if one.measure.unit == "s" else ("lower", "higher")

    def told(number: float) -> str:
        return f"{abs(number):,.{digits}f}{unit}"

    value_a, value_b = (_value(one.measure, each) for each in (one.value_a, one.value_b))
    same = float(f"{value:.{digits}f}") == 0
    found = (
        f"{noun} was about the same in {one.b} ({value_b}) as in {one.a} ({value_a})"
        if same
        else f"{noun} was {told(value)} {words[value >= 0]} in {one.b} ({value_b}) "
        f"than in {one.a} ({value_a})"
    )
    people = f"{people_counted(one.people)}."
    if not (math.isfinite(low) or math.isfinite(high)):
        return f"{found}; no interval can be given; {people}"
    if math.isinf(high):
        interval = f"at {'least' if low >= 0 else 'most'} {told(low)} {words[low >= 0]}"
    elif math.isinf(low):
        interval = f"at {'least' if high < 0 else 'most'} {told(high)} {words[high >= 0]}"
    elif (low >= 0) == (high >= 0):
        near, far = sorted((abs(low), abs(high)))
        interval = f"{near:,.{digits}f} to {told(far)} {words[high >= 0]}"
    else:
        interval = f"{told(low)} {words[0]} to {told(high)} {words[1]}"
    end = "" if one.clear or same else ", which may be chance"
    return f"{found}; {100 * one.level:g} % interval {interval}{end}; {people}"
