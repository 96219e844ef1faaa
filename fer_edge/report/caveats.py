"""What speaks against a comparison: few people, skewed values, and parts that differ in other respects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS
from .bootstrap import Result, Task, values_of
from .material import Floats, Material
from .measures import Basis, Measure, Persons
from .parts import Part, Within

FEW = 20
"""People of a part from which on the intervals have their nominal coverage."""

SKEWED = 10.0
"""People needed per squared skewness of their values; with fewer, intervals are too narrow."""

RARE = 0.05
"""Mean share below which an emotion is so rare that intervals need more people."""

MANY = 100
"""How many they need then."""

UNSURE = 0.3
"""Share of the time in sight from which on too much is unsure."""

UNSURE_APART = 0.15
"""Difference of those shares from which on parts may differ in light rather than in faces."""

POOR_LIGHT = 0.2
"""Share of the time in sight from which on too much is too dark, or too bright."""

SIZES_APART = 1.5
"""Quotient of the median sizes of faces, or of times in sight, from which on parts are hardly alike."""

GAPS = 0.1
"""Share of a part without frames from which on there is a warning."""


@dataclass(frozen=True)
class Quality:
    """What a comparison has to know of a part besides its people; shares 0 to 1, times in seconds."""

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
    dark: float = math.nan
    """Share of the time in sight in which faces were too dark; NaN where no light was measured."""
    bright: float = math.nan


def quality_of(material: Material, part: Part, people: Persons) -> Quality:
    """How good the data of a part are, whose persons are ``people``."""
    visits = material.people
    rows = np.flatnonzero(np.isin(visits.who, people.who))
    minutes = material.minutes
    inside = Within(material, part).inside(minutes.source, (minutes.began + minutes.ended) // 2)
    observed, gap = float(minutes.observed[inside].sum()), float(minutes.gap[inside].sum())
    known = inside & ~np.isnan(minutes.dark)
    in_light = float(minutes.seen[known].sum())
    sources = np.unique(visits.source[rows])
    return Quality(
        part.name,
        people.basis,
        len(people),
        people.unsure_share,
        _median(visits.size[rows]),
        _median(people.seen),
        gap / (observed + gap) if observed + gap else 0.0,
        _crossed(material, rows, sources.tolist()),
        frozenset(_model(material.sources[source].settings) for source in sources.tolist()) - {""},
        float(minutes.dark[known].sum()) / in_light if in_light else math.nan,
        float(minutes.bright[known].sum()) / in_light if in_light else math.nan,
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


def warnings_of(measure: Measure, task: Task, a: Quality, b: Quality, result: Result) -> tuple[str, ...]:
    """Warnings for the reader of a comparison, as sentences."""
    found = []
    in_a, in_b = task.sums[:, 1] > 0, task.sums[:, 3] > 0
    for part, count in ((a, int(in_a.sum())), (b, int(in_b.sum()))):
        if count < FEW:
            found.append(f"Too few people: {count} in {part.part}; intervals are reliable from {FEW} on.")
    if math.isnan(result.low) and min(in_a.sum(), in_b.sum()) >= 2:
        found.append("No interval: all people of a part have the same value, or too few have one.")
    rare = measure.name in EMOTIONS and measure.ratio and max(values_of(task)) < RARE
    if rare and min(in_a.sum(), in_b.sum()) < MANY:
        found.append(
            f"{measure.label} is rare here: with fewer than {MANY} people the interval may be too narrow."
        )
    elif not math.isnan(result.low) and _is_skewed(task):
        found.append("A few people account for most of this measure: the interval may be too narrow.")
    if measure.emotion:
        for part in (a, b):
            if part.unsure > UNSURE:
                found.append(f"{part.part}: {100 * part.unsure:.0f} % of the time in sight was unsure.")
            for share, what in ((part.dark, "dark"), (part.bright, "bright")):
                if share > POOR_LIGHT:
                    found.append(f"{part.part}: faces were too {what} for {100 * share:.0f} % of the time.")
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
            "recognized less well."
        )
    if measure.name in ("peak", "peak_end", "smile", "smiled") and _quotient_of(a.seen, b.seen) > SIZES_APART:
        found.append(
            f"People were in sight for {a.seen:.0f} s in {a.part} and {b.seen:.0f} s in {b.part}: longer "
            "stays reach higher maxima."
        )
    if a.basis != b.basis:
        found.append(f"{a.part} is measured by {a.basis}, {b.part} by {b.basis}.")
    if a.models and b.models and a.models != b.models:
        found.append(f"Models differ: {', '.join(sorted(a.models))} and {', '.join(sorted(b.models))}.")
    return tuple(dict.fromkeys(found))


def _is_skewed(task: Task) -> bool:
    numerator_a, denominator_a, numerator_b, denominator_b = task.sums.T
    in_a, in_b = denominator_a > 0, denominator_b > 0
    of_a, of_b = numerator_a[in_a] / denominator_a[in_a], numerator_b[in_b] / denominator_b[in_b]
    columns = [of_b - of_a] if task.design == "paired" else [of_a, of_b]
    for column in columns:
        away = column - column.mean()
        spread = float(np.mean(away**2))
        if spread > 0 and len(column) < SKEWED * float(np.mean(away**3)) ** 2 / spread**3:
            return True
    return False


def _quotient_of(a: float, b: float) -> float:
    return max(a, b) / min(a, b) if min(a, b) > 0 else 1.0
