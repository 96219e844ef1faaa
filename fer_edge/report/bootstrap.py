"""Intervals and p-values of measures and of their differences, by resampling people.

A person is drawn with all of their seconds, since seconds of one person are correlated: a cluster bootstrap.
The interval is the studentized one (bootstrap-t; Efron and Tibshirani 1993, "An Introduction to the
Bootstrap", chapter 12.5): plain percentiles cover too little with few people. That of a difference is
symmetric (Hall 1988, "On Symmetric Bootstrap Confidence Intervals"): with equal tails it covers too little
where a few people account for most of a measure. Standard errors of quotients are linearized (Cochran 1977,
"Sampling Techniques", chapter 6). docs/measures.md says how often intervals are right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .material import Counts, Floats
from .measures import Values

Design = Literal["paired", "unpaired", "partly paired"]

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


def holm(p: Sequence[float]) -> list[float]:
    """Holm's corrected p-values (Holm 1979), in the order given; NaN stays NaN and counts as a comparison."""
    order = sorted((i for i in range(len(p)) if not math.isnan(p[i])), key=lambda i: p[i])
    corrected, largest = list(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


@dataclass(frozen=True, eq=False)
class Task:
    """Sums of people (n, 4): numerator and denominator of a, then of b; 0 where a person does not count."""

    sums: Floats
    design: Design


@dataclass(frozen=True)
class Result:
    """Interval of a difference, of the relative one, and p-value of 0; NaN: cannot be told."""

    low: float = math.nan
    high: float = math.nan
    more_low: float = math.nan
    more_high: float = math.nan
    p: float = math.nan


def one_part(of: Values) -> Task:
    """The task of one measure by itself: ``b``, with nothing to subtract."""
    nothing = np.zeros(len(of.who))
    return Task(np.stack([nothing, nothing, of.numerator, of.denominator], axis=1), "unpaired")


def two_parts(who: Counts, a: Values, b: Values, resampling: Resampling) -> Task:
    """The task of ``b`` minus ``a``, over ``who``: the numbers of the people of either part, ascending."""
    sums = np.zeros((len(who), 4))
    for column, of in ((0, a), (2, b)):
        rows = np.searchsorted(who, of.who)
        sums[rows, column], sums[rows, column + 1] = of.numerator, of.denominator
    in_a, in_b = sums[:, 1] > 0, sums[:, 3] > 0
    both = in_a & in_b
    if resampling.pairing == "auto" and 2 * both.sum() >= (in_a | in_b).sum() > 0:
        sums[~both] = 0
        return Task(sums, "paired")
    return Task(sums, "partly paired" if both.any() else "unpaired")


def intervals(
    tasks: Sequence[Task], strata: Sequence[NDArray[np.int64]], resampling: Resampling, draws: int
) -> list[Result]:
    """Intervals and p-values of tasks of the same people, who are resampled within each of ``strata``.

    ``strata``: rows of the tasks' sums. All results are NaN where a stratum has fewer than two people.
    """
    if not tasks or min((len(rows) for rows in strata), default=0) < 2:
        return [Result()] * len(tasks)
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


def _studentized(once: Floats, drawn: Floats, task: Task, level: float) -> Result:
    in_a, in_b = int((task.sums[:, 1] > 0).sum()), int((task.sums[:, 3] > 0).sum())
    value, error = _difference(once, task, in_a, in_b)
    drawn_difference = _difference(drawn, task, in_a, in_b)
    low, high, p = _bounds(value, error, *drawn_difference, level, symmetric=bool(in_a and in_b))
    more_low = more_high = math.nan
    if in_a and in_b and (once[0, [0, 2]] > 0).all() and (task.sums >= 0).all():
        value, error = _log_quotient(once, task, in_a, in_b)
        log_low, log_high, _ = _bounds(value, error, *_log_quotient(drawn, task, in_a, in_b), level)
        # Draws of people who are all alike have no error: bounds may be endless, even both at one side.
        if log_low <= value[0] <= log_high and not (math.isinf(log_low) and math.isinf(log_high)):
            more_low, more_high = (_exp(log_low) - 1, _exp(log_high) - 1)
    return Result(low, high, more_low, more_high, p)


def _exp(power: float) -> float:
    return math.exp(power) if power < 700 else math.inf


def _bounds(
    value: Floats, error: Floats, drawn: Floats, errors: Floats, level: float, symmetric: bool = False
) -> tuple[float, float, float]:
    """Interval of ``value`` (1,) with standard ``error`` (1,) and p-value of 0, by draws (b,) of both.

    ``symmetric``: as far to both sides; else both tails are equally probable.
    """
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
    observed = value[0] / error[0]
    if symmetric:
        sizes = np.sort(np.abs(t))
        place = max(1, math.floor((count + 1) * (1 - level) + 1e-9))
        far = float(sizes[count - place] * error[0])
        beyond = count - int(np.searchsorted(sizes, abs(observed), "left"))
        return float(value[0]) - far, float(value[0]) + far, (beyond + 1) / (count + 1)
    place = max(1, math.floor((count + 1) * (1 - level) / 2 + 1e-9))
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


def _error(task: Task, in_a: int, in_b: int, a: Floats, b: Floats, together: Floats) -> Floats:
    if task.design == "unpaired":
        return np.sqrt(a * _unbiased(in_a) + b * _unbiased(in_b))
    squared = (a + b - 2 * together) * _unbiased(int((task.sums[:, [1, 3]] > 0).any(axis=1).sum()))
    return np.sqrt(np.where(squared < 1e-13 * (a + b), 0.0, squared))


def _unbiased(count: int) -> float:
    return count / (count - 1) if count > 1 else 0.0


def _difference(sums: Floats, task: Task, in_a: int, in_b: int) -> tuple[Floats, Floats]:
    first, second, of_first, of_second, together = _parts_of(sums)
    if not in_a:
        return second, np.sqrt(of_second * _unbiased(in_b))
    return second - first, _error(task, in_a, in_b, of_first, of_second, together)


def _log_quotient(sums: Floats, task: Task, in_a: int, in_b: int) -> tuple[Floats, Floats]:
    first, second, of_first, of_second, together = _parts_of(sums)
    with np.errstate(all="ignore"):
        value = np.log(second / first)
        error = _error(
            task, in_a, in_b, of_first / first**2, of_second / second**2, together / (first * second)
        )
    return value, error


def cliffs_delta(task: Task) -> float:
    """Cliff's delta, -1 to 1; of a paired task, over the pairs; NaN where a part has nobody."""
    numerator_a, denominator_a, numerator_b, denominator_b = task.sums.T
    in_a, in_b = denominator_a > 0, denominator_b > 0
    if not (in_a.any() and in_b.any()):
        return math.nan
    of_a, of_b = numerator_a[in_a] / denominator_a[in_a], numerator_b[in_b] / denominator_b[in_b]
    if task.design == "paired":
        return float(np.sign(of_b - of_a).mean())
    of_a = np.sort(of_a)
    less = np.searchsorted(of_a, of_b, "left").sum()
    more = len(of_a) * len(of_b) - np.searchsorted(of_a, of_b, "right").sum()
    return float(less - more) / (len(of_a) * len(of_b))


def values_of(task: Task) -> tuple[float, float]:
    """The measure in both parts, of the people who count; NaN where a part has nobody."""
    numerator_a, denominator_a, numerator_b, denominator_b = task.sums.sum(axis=0).tolist()
    return (
        numerator_a / denominator_a if denominator_a else math.nan,
        numerator_b / denominator_b if denominator_b else math.nan,
    )
