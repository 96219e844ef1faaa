"""Simulated sessions for the demo, for tests, and for checks of the statistics; nothing was measured.

Each person has a usual face, drawn from a Dirichlet distribution, around which the face wanders from second
to second; a scene pulls it towards an emotion, by a strength drawn for each person. All of it is linear, so
that the mean over all possible people is known exactly (:func:`expected_shares`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..labels import EMOTIONS
from ..store.clock import MINUTE
from .material import (
    Event,
    Floats,
    Material,
    Minutes,
    People,
    Seconds,
    Session,
    Source,
    numbered,
)
from .visits import totals, visits_of

BEGAN = 1_795_203_000_000
"""2026-11-20 19:30 UTC, in milliseconds."""

USUAL = np.array([0.12, 0.03, 0.05, 0.30, 0.30, 0.15, 2.05])
"""Parameters of the Dirichlet distribution of faces that nothing moves: two thirds neutral on average."""


@dataclass(frozen=True)
class Scene:
    """Something that is shown for ``seconds``."""

    name: str
    seconds: int
    pull: Mapping[str, float] = field(default_factory=dict)
    """Mean strength, 0 to 1 in sum, with which it pulls faces towards emotions."""
    attention: float = 0.7
    """Mean share of the time in which faces are turned to it."""
    group: str = ""
    peak: float | None = None
    """Where in the scene, 0 to 1, the pull is strongest; None: the same all the time."""


DEMO = (
    Scene("Opening", 75, {"surprise": 0.08}, 0.72, "film"),
    Scene("The joke", 90, {"happy": 0.42, "surprise": 0.06}, 0.86, "film", peak=0.6),
    Scene("Farewell", 75, {"sad": 0.26, "happy": 0.05}, 0.80, "film", peak=0.8),
)
"""The scenes of :func:`simulated_session`."""


def simulated_session(people: int = 60, seed: int = 0) -> Material:
    """An evening in a small cinema with three scenes; most people see all of them, some come late or leave.

    The same ``people`` and ``seed`` give the same material.
    """
    return simulated_material(DEMO, people, np.random.default_rng(seed), stay=0.75)


def simulated_material(
    scenes: Sequence[Scene],
    people: int,
    rng: np.random.Generator,
    *,
    stay: float = 1.0,
    apart: bool = False,
    pause: int = 5,
    spread: float = 12.0,
    wander: float = 0.4,
    device: str = "demo",
    camera: str = "hall",
    began: int = BEGAN,
) -> Material:
    """Simulate a session in which ``scenes`` are shown one after the other, ``pause`` seconds apart.

    ``stay``: share of people who are there from the first scene to the last; others come late, leave early or
    both. ``apart``: each person sees one scene only, for part of its time. ``spread``: how alike people
    respond, the sum of a Beta distribution's parameters. ``wander``: weight of what changes from second to
    second, 0 to 1; the rest is the person's usual face.
    """
    starts = np.cumsum([0, *(scene.seconds + pause for scene in scenes)])
    length = int(starts[-1])
    first, last = _stays(scenes, starts, people, rng, stay, apart)
    time = np.arange(length)
    there = (time >= first[:, None]) & (time < last[:, None])

    usual = rng.dirichlet(USUAL, people)
    shares = (1 - wander) * usual[:, None, :] + wander * _wandering(people, length, rng)
    turned = np.full((people, length), 0.5)
    own = rng.uniform(0.7, 1.3, people)
    for scene, start in zip(scenes, starts, strict=False):
        rows = slice(int(start), int(start) + scene.seconds)
        strength = _shape(scene)
        total = sum(scene.pull.values())
        if total:
            response = rng.beta(total * spread, (1 - total) * spread, people)
            pulled = response[:, None, None] * strength[:, None]
            towards = np.array([scene.pull.get(name, 0.0) for name in EMOTIONS]) / total
            shares[:, rows] = (1 - pulled) * shares[:, rows] + pulled * towards
        turned[:, rows] = np.clip(scene.attention * own, 0.02, 0.98)[:, None]

    attentive = _spells(turned, rng)
    seen = np.where(rng.random((people, length)) < 0.05, 0.4, 1.0)
    person, second = np.nonzero(there)
    rows_seen = seen[person, second]
    rows_shares = shares[person, second]
    facing = attentive[person, second]
    unclear = ~facing & (rng.random(len(person)) < 0.1)
    seconds = Seconds(
        person.astype(np.int32),
        began + second * 1000,
        rows_seen,
        rows_seen * (rows_shares.max(1) < 0.5),
        rows_seen * facing,
        rows_seen * unclear,
        rows_shares.astype(np.float32),
    )
    visits = visits_of(
        seconds,
        source=np.zeros(people, np.int32),
        track=np.arange(1, people + 1, dtype=np.int64),
        size=np.exp(rng.normal(np.log(90), 0.25, people)),
    )
    ended = began + length * 1000
    return Material(
        (Source(device, camera, "1", settings={"model": {"name": "edge", "labels": "people"}}),),
        visits,
        seconds,
        _minutes(visits, seconds, began, ended),
        sessions=(Session("simulated session", began, ended, device, "1"),),
        events=tuple(
            Event(
                scene.name,
                began + int(start) * 1000,
                began + (int(start) + scene.seconds) * 1000,
                scene.group,
                0,
            )
            for scene, start in zip(scenes, starts, strict=False)
        ),
        told=("Simulated data: none of these people exist.",),
    )


def expected_shares(scene: Scene) -> Floats:
    """(7,): mean shares over all possible people in a scene without ``peak``."""
    total = sum(scene.pull.values())
    pull = np.array([scene.pull.get(name, 0.0) for name in EMOTIONS])
    return np.asarray((1 - total) * USUAL / USUAL.sum() + pull, np.float64)


def _stays(
    scenes: Sequence[Scene],
    starts: NDArray[np.int64],
    people: int,
    rng: np.random.Generator,
    stay: float,
    apart: bool,
) -> tuple[Floats, Floats]:
    """First second of each person, and the one after the last."""
    if apart:
        scene = np.arange(people) % len(scenes)
        length = np.array([one.seconds for one in scenes])[scene]
        there = np.ceil(length * rng.uniform(0.2, 1.0, people))
        came = starts[scene] + np.floor(rng.random(people) * (length - there + 1))
        return came, came + there
    length = starts[-1]
    late = (rng.random(people) >= stay) & (rng.random(people) < 0.7)
    early = (rng.random(people) >= stay) & (rng.random(people) < 0.7)
    first = np.where(late, np.floor(rng.uniform(0.05, 0.45, people) * length), 0.0)
    return first, np.where(early, np.floor(rng.uniform(0.55, 0.95, people) * length), float(length))


def _wandering(people: int, length: int, rng: np.random.Generator, memory: float = 0.8) -> Floats:
    """(people, length, 7): faces that change slowly, each second's mean that of ``USUAL``."""
    drawn = rng.standard_gamma(USUAL, (people, length, len(EMOTIONS))) + 1e-12
    drawn /= drawn.sum(2, keepdims=True)
    for second in range(1, length):
        drawn[:, second] = memory * drawn[:, second - 1] + (1 - memory) * drawn[:, second]
    return drawn


def _shape(scene: Scene) -> Floats:
    """(seconds,): how strong the pull is: 1 all the time, or at the peak."""
    if scene.peak is None:
        return np.ones(scene.seconds)
    time = np.arange(scene.seconds) / max(scene.seconds - 1, 1)
    return np.asarray(0.25 + 0.75 * np.exp(-(((time - scene.peak) / 0.18) ** 2)))


def _spells(share: Floats, rng: np.random.Generator, change: float = 0.15) -> NDArray[np.bool_]:
    """(people, length): whether somebody is turned to the screen, in spells of several seconds."""
    people, length = share.shape
    state = rng.random(people) < share[:, 0]
    found = np.empty((people, length), np.bool_)
    for second in range(length):
        again = rng.random(people) < change
        state = np.where(again, rng.random(people) < share[:, second], state)
        found[:, second] = state
    return found


def _minutes(people: People, seconds: Seconds, began: int, ended: int) -> Minutes:
    first, last = began // MINUTE, (ended - 1) // MINUTE
    edges = np.arange(first, last + 1) * MINUTE
    count = len(edges)
    minute = seconds.began // MINUTE - first
    pair = numbered(minute, seconds.person)
    seen = totals(pair, seconds.seen)
    of_pair = np.zeros(len(seen), np.int64)
    of_pair[pair] = minute
    shares = np.stack(
        [
            totals(of_pair, np.bincount(pair, seconds.seen * seconds.shares[:, i]) / seen, count)
            for i in range(7)
        ],
        axis=1,
    )
    there = np.bincount(of_pair, minlength=count)
    at = np.bincount((seconds.began - began) // 1000)
    length = np.minimum(edges + MINUTE, ended) - np.maximum(edges, began)
    visits_ended = (people.ended - 1) // MINUTE - first
    return Minutes(
        source=np.zeros(count, np.int32),
        began=np.maximum(edges, began),
        ended=np.minimum(edges + MINUTE, ended),
        observed=length / 1000,
        gap=np.zeros(count),
        frames=length * 15 // 1000,
        dropped=np.zeros(count, np.int64),
        lost=np.zeros(count, np.int64),
        people=there,
        people_max=np.array(
            [
                at[max(0, t - began) // 1000 : (t + MINUTE - began) // 1000].max(initial=0)
                for t in edges.tolist()
            ]
        ),
        visits_begun=np.bincount(people.began // MINUTE - first, minlength=count),
        visits_ended=np.bincount(visits_ended, minlength=count),
        dwell=totals(visits_ended, people.dwell, count),
        seen=totals(minute, seconds.seen, count),
        unsure=totals(minute, seconds.unsure, count),
        attention=totals(minute, seconds.attention, count),
        unclear=totals(minute, seconds.unclear, count),
        shares=np.divide(shares, there[:, None], out=np.full_like(shares, np.nan), where=there[:, None] > 0),
    )
