"""How often the report's 95 % intervals are right, and how often it finds differences that are not there.

python benchmarks/report_coverage.py [--sessions 1000] [--people 8 12 20 50] [--draws 1000]
python benchmarks/report_coverage.py --emotions [--sessions 1000] [--people 20 50 100]
python benchmarks/report_coverage.py --day

Sessions are simulated (fer_edge/report/simulated.py): people as clusters of autocorrelated seconds, usual
faces from a Dirichlet distribution, unequal stays, each person responding with a strength of their own. The
truth is that of all possible people: exact for emotions, else the mean of --population people. "percentile"
is the plain percentile bootstrap of `happy` on the same people; "warned" is the share of intervals of
`disgust`, which few faces show much of, at which the report says that they may be too narrow. With
--emotions, the people of each session are drawn of --population simulated ones, which is quick: coverage
for each of the seven emotions, of the symmetric intervals and of ones with equal tails. With
--day, times a comparison of a busy day instead: two adverts in turn, 30 s each, ten people at a time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fer_edge.labels import EMOTIONS
from fer_edge.report.bootstrap import Resampling, Task, intervals
from fer_edge.report.compare import HEADLINES, compare
from fer_edge.report.material import Event, Material, Seconds, Source
from fer_edge.report.measures import COUNTS, NEGATIVE, POSITIVE, Values, persons, values
from fer_edge.report.measures import MEASURES as ALL
from fer_edge.report.parts import parts
from fer_edge.report.simulated import USUAL, Scene, expected_shares, simulated_material
from fer_edge.report.visits import visits_of

MEASURES = (*EMOTIONS, "valence", "smile", "smiled", "attention", "attraction")
COLUMNS = (*MEASURES, "more smile", "percentile", "warned")
UNLIKE = (Scene("A", 20, {"happy": 0.25}, 0.6), Scene("B", 20, {"happy": 0.40}, 0.75))
ALIKE = tuple(Scene(name, 20, {"happy": 0.3}, 0.7) for name in "ABC")


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Print the tables; return each figure, a share, by ``"design n measure"``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--people", type=int, nargs="+", default=[8, 12, 20, 50], help="of each part")
    parser.add_argument("--population", type=int, default=40_000)
    parser.add_argument(
        "--draws", type=int, default=1000, help="of the intervals; alarms have the usual 2000"
    )
    parser.add_argument("--emotions", action="store_true")
    parser.add_argument("--day", action="store_true")
    options = parser.parse_args(arguments)
    if options.day:
        return {"day": _day()}
    began = time.perf_counter()
    if options.emotions:
        found = _print_emotions(options)
    else:
        found = _print_coverage(options) | _print_false_alarms(options)
    print(f"{time.perf_counter() - began:.0f} s")
    return found


def _print_coverage(options: argparse.Namespace) -> dict[str, float]:
    found: dict[str, float] = {}
    resampling = Resampling(draws=options.draws)
    print(f"{options.sessions} sessions a row: % of the 95 % intervals that hold the true difference")
    print(f"{'':10s}{'people':>8s}" + "".join(f"{name:>12s}" for name in COLUMNS))
    for apart in (False, True):
        design = "unpaired" if apart else "paired"
        truth, more = _truth(options.population, apart)
        for people in options.people:
            rng = np.random.default_rng([people, apart])
            hits: dict[str, list[bool]] = {name: [] for name in COLUMNS}
            for _ in range(options.sessions):
                material = _session(UNLIKE, people, rng, apart)
                for one in compare(material, parts(material, "event"), MEASURES, None, resampling):
                    name = one.measure.name
                    hits[name].append(one.low <= truth[name] <= one.high)
                    if name == "disgust":
                        hits["warned"].append(any("too narrow" in warning for warning in one.warnings))
                    if name == "smile":
                        hits["more smile"].append(one.more_low <= more <= one.more_high)
                low, high = _percentile(material, apart, rng)
                hits["percentile"].append(low <= truth["happy"] <= high)
            row = {name: float(np.mean(each)) for name, each in hits.items()}
            found |= {f"{design} {people} {name}": share for name, share in row.items()}
            print(
                f"{design:10s}{people:8d}" + "".join(f"{100 * share:12.1f}" for share in row.values()),
                flush=True,
            )
    return found


def _print_emotions(options: argparse.Namespace) -> dict[str, float]:
    found: dict[str, float] = {}
    print(f"{options.sessions} sessions a row: % of the 95 % intervals that hold the true difference")
    print(f"{'':10s}{'people':>8s}{'tails':>12s}" + "".join(f"{name:>10s}" for name in EMOTIONS))
    for apart in (False, True):
        design = "unpaired" if apart else "paired"
        everyone = _everyone(options.population, apart)
        truth = everyone[:, 1].mean(axis=0) - everyone[:, 0].mean(axis=0)
        for people in options.people:
            hits: dict[str, list[NDArray[np.bool_]]] = {"symmetric": [], "equal": []}
            rng = np.random.default_rng([people, apart, 2])
            for _ in range(options.sessions):
                drawn = everyone[rng.choice(len(everyone), 2 * people, replace=False)]
                tasks = [_task(drawn[..., code], apart) for code in range(len(EMOTIONS))]
                rows = np.arange(2 * people if apart else people)
                strata = [rows[:people], rows[people:]] if apart else [rows]
                resampling = Resampling(draws=options.draws, seed=int(rng.integers(2**31)))
                bounds = [(one.low, one.high) for one in intervals(tasks, strata, resampling, options.draws)]
                others = [_equal_tails(task, strata, resampling) for task in tasks]
                for name, each in (("symmetric", bounds), ("equal", others)):
                    low, high = np.array(each).T
                    hits[name].append((low <= truth) & (truth <= high))
            for name, each in hits.items():
                shares = np.mean(each, axis=0).tolist()
                found |= {
                    f"{design} {people} {name} {emotion}": share
                    for emotion, share in zip(EMOTIONS, shares, strict=True)
                }
                figures = "".join(f"{100 * share:10.1f}" for share in shares)
                print(f"{design:10s}{people:8d}{name:>12s}{figures}", flush=True)
    return found


def _everyone(count: int, apart: bool) -> NDArray[np.float64]:
    """(n, 2, 7): of each person the shares in both parts; if ``apart``, of two people, one in each."""
    rng = np.random.default_rng([9, apart])
    found = []
    for _ in range(max(1, count // 2000)):
        material = _session(UNLIKE, 2000, rng, apart)
        a, b = (persons(material, part) for part in parts(material, "event"))
        of_a, of_b = (
            np.stack([each.numerator / each.denominator for each in (values(one, name) for name in EMOTIONS)])
            for one in (a, b)
        )
        if apart:
            size = min(of_a.shape[1], of_b.shape[1])
            of_a, of_b = of_a[:, :size], of_b[:, :size]
        else:
            of_a, of_b = of_a[:, np.isin(a.who, b.who)], of_b[:, np.isin(b.who, a.who)]
        found.append(np.stack([of_a.T, of_b.T], axis=1))
    return np.concatenate(found)


def _task(drawn: NDArray[np.float64], apart: bool) -> Task:
    """Of people (2 n, 2): the first half in both parts or, if ``apart``, in a, and the other half in b."""
    half = len(drawn) // 2
    one, none = np.ones(half), np.zeros(half)
    if not apart:
        return Task(np.stack([drawn[:half, 0], one, drawn[:half, 1], one], axis=1), "paired")
    in_a = np.stack([drawn[:half, 0], one, none, none], axis=1)
    in_b = np.stack([none, none, drawn[half:, 1], one], axis=1)
    return Task(np.concatenate([in_a, in_b]), "unpaired")


def _equal_tails(
    task: Task, strata: Sequence[NDArray[np.int64]], resampling: Resampling
) -> tuple[float, float]:
    """The studentized interval with equal tails, by the same draws for each task of a session."""
    rng = np.random.default_rng(resampling.seed)
    a, b = task.sums[:, 0], task.sums[:, 2]
    columns = [b - a] if task.design == "paired" else [a[strata[0]], b[strata[1]]]
    drawn = [column[rng.integers(0, len(column), (resampling.draws, len(column)))] for column in columns]

    def moments(several: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        means = [each.mean(axis=-1) for each in several]
        squared = sum(each.var(axis=-1, ddof=1) / each.shape[-1] for each in several)
        return np.asarray(means[-1] - (means[0] if len(means) > 1 else 0.0)), np.sqrt(squared)

    value, error = moments(columns)
    values_drawn, errors = moments(drawn)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (values_drawn - value) / errors
    low, high = np.nanquantile(t, [0.975, 0.025])
    return float(value - low * error), float(value - high * error)


def _print_false_alarms(options: argparse.Namespace) -> dict[str, float]:
    found: dict[str, float] = {}
    print("\nNo difference: % of sessions in which one is told, of 3 parts and 4 measures, 12 comparisons")
    print(f"{'':10s}{'people':>8s}{'any, Holm':>12s}{'any':>12s}{'each':>12s}")
    for apart in (False, True):
        design = "unpaired" if apart else "paired"
        for people in options.people:
            rng = np.random.default_rng([people, apart, 1])
            corrected, plain = [], []
            for _ in range(options.sessions):
                material = _session(ALIKE, people, rng, apart)
                results = compare(material, parts(material, "event"))
                corrected.append(any(one.holm <= 0.05 for one in results))
                plain.append([one.p <= 0.05 for one in results])
            row = {
                "alarm": float(np.mean(corrected)),
                "any": float(np.mean(np.any(plain, axis=1))),
                "each": float(np.mean(plain)),
            }
            found |= {f"{design} {people} {name}": share for name, share in row.items()}
            print(
                f"{design:10s}{people:8d}" + "".join(f"{100 * share:12.1f}" for share in row.values()),
                flush=True,
            )
    return found


def _day(people: int = 8000, stay: int = 108) -> float:
    """Print and return the seconds of processor time that comparing a day's two adverts takes."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(people, dtype=np.int32), stay)
    began = (np.arange(people) * 86_400_000 // people // 1000 * 1000)[:, None] + np.arange(stay) * 1000
    one = np.ones(len(person), np.float32)
    shares = rng.dirichlet(USUAL, len(person)).astype(np.float32)
    seconds = Seconds(person, began.ravel(), one, 0 * one, one / 2, 0 * one, shares)
    visits = visits_of(seconds, np.zeros(people, np.int32), np.arange(people), np.full(people, 80.0))
    adverts = tuple(Event("AB"[i % 2], i * 30_000, (i + 1) * 30_000) for i in range(2880))
    material = Material((Source("pi", "shop"),), visits, seconds, events=adverts)
    both = parts(material, "event")
    for names in (HEADLINES, tuple(name for name in ALL if name not in COUNTS)):
        started = time.process_time()
        found = compare(material, both, names)
        took = time.process_time() - started
        print(
            f"{len(seconds)} seconds of {people} people, {len(adverts)} showings: {len(names)} measures with "
            f"{Resampling().draws} draws in {took:.2f} s of processor time ({found[0].design})"
        )
    return took


def _session(scenes: Sequence[Scene], people: int, rng: np.random.Generator, apart: bool) -> Material:
    count = people * len(scenes) if apart else people
    return simulated_material(scenes, count, rng, stay=0.9, apart=apart)


def _truth(population: int, apart: bool) -> tuple[dict[str, float], float]:
    """The differences of all measures, and how much more smiling there is."""
    rng = np.random.default_rng(0)
    sums = np.zeros((2, len(MEASURES), 2))
    at_once = min(population, 2000)
    for _ in range(max(1, population // at_once)):
        material = _session(UNLIKE, at_once, rng, apart)
        for place, part in enumerate(parts(material, "event")):
            people = persons(material, part)
            for number, name in enumerate(MEASURES):
                each = values(people, name)
                sums[place, number] += each.numerator.sum(), each.denominator.sum()
    means = sums[..., 0] / sums[..., 1]
    truth = dict(zip(MEASURES, (means[1] - means[0]).tolist(), strict=True))
    shares = dict(zip(EMOTIONS, expected_shares(UNLIKE[1]) - expected_shares(UNLIKE[0]), strict=True))
    exact = {
        **shares,
        "valence": sum(shares[name] for name in POSITIVE) - sum(shares[name] for name in NEGATIVE),
    }
    for name, value in exact.items():
        print(f"{name}: {value:.4f} exactly, {truth[name]:.4f} of {population} people")
    smile = MEASURES.index("smile")
    return truth | exact, float(means[1, smile] / means[0, smile] - 1)


def _percentile(
    material: Material, apart: bool, rng: np.random.Generator, draws: int = 1000
) -> tuple[float, float]:
    a, b = (values(persons(material, part), "happy") for part in parts(material, "event"))
    if apart:
        drawn = _means(b.numerator, rng, draws) - _means(a.numerator, rng, draws)
    else:
        both = np.intersect1d(a.who, b.who)
        drawn = _means(_of(b, both) - _of(a, both), rng, draws)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _of(each: Values, who: NDArray[np.int64]) -> NDArray[np.float64]:
    return each.numerator[np.isin(each.who, who)]


def _means(column: NDArray[np.float64], rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    return np.asarray(column[rng.integers(0, len(column), (draws, len(column)))].mean(axis=1))


if __name__ == "__main__":
    main()
