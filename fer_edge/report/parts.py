"""What is measured and compared: the times and sources of an event, a group, a day, a camera, a film."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..store.clock import DAY
from .material import Bools, Floats, Material, Source, Times, local

By = Literal["whole", "event", "group", "session", "day", "device", "camera", "run", "film"]

_FOREVER = (-(2**62), 2**62)


@dataclass(frozen=True)
class Span:
    """From ``began`` until before ``ended``, in milliseconds, on some sources."""

    began: int
    ended: int
    sources: frozenset[int] | None = None
    """Indices into ``Material.sources``; None for all."""


@dataclass(frozen=True)
class Part:
    """A part of a material: whatever lies in one of its spans, once, also where they overlap."""

    name: str
    spans: tuple[Span, ...]


def whole(name: str = "all") -> Part:
    """Everything."""
    return Part(name, (Span(*_FOREVER),))


def parts(material: Material, by: By, zone: tzinfo = UTC) -> list[Part]:
    """The parts of ``material`` by one of :data:`By`, in the order in which they begin, or of their names.

    ``event`` and ``group`` put everything of one name together, however often it was shown; ``day`` is that
    of the clock on the wall in ``zone``; ``film`` leaves live sources out.
    """
    if by == "whole":
        return [whole()]
    if by in ("event", "group"):
        ordered = sorted(material.events, key=lambda event: event.began)
        return _by_name(
            (
                event.name if by == "event" else event.group,
                Span(event.began, event.ended, _indices(material.sources_of(event))),
            )
            for event in ordered
        )
    if by == "session":
        return _by_name(
            (
                one.name,
                Span(
                    one.began,
                    one.ended,
                    _indices(material.sources_where(device=one.device or None, run=one.run or None)),
                ),
            )
            for one in sorted(material.sessions, key=lambda session: session.began)
        )
    if by == "day":
        return _days(material, zone)
    if by in ("device", "camera", "run", "film"):
        names = _names(material.sources, by)
        return [
            Part(name, (Span(*_FOREVER, frozenset(i for i, n in enumerate(names) if n == name)),))
            for name in sorted(set(names))
            if name
        ]
    raise ValueError(f"by must be one of {', '.join(By.__args__)}; got {by!r}")  # type: ignore[attr-defined]


def _names(sources: Sequence[Source], by: By) -> list[str]:
    """Of each source its name; cameras and runs of one name on two devices are told apart."""
    names = [str(getattr(source, by)) for source in sources]
    if by not in ("camera", "run"):
        return names
    devices: dict[str, set[str]] = {}
    for name, source in zip(names, sources, strict=True):
        devices.setdefault(name, set()).add(source.device)
    return [
        f"{source.device}: {name}" if name and len(devices[name]) > 1 else name
        for name, source in zip(names, sources, strict=True)
    ]


def _by_name(spans: Iterable[tuple[str, Span]]) -> list[Part]:
    found: dict[str, list[Span]] = {}
    for name, span in spans:
        if name:
            found.setdefault(name, []).append(span)
    return [Part(name, tuple(several)) for name, several in found.items()]


def _days(material: Material, zone: tzinfo) -> list[Part]:
    began = np.concatenate([material.people.began, material.minutes.began])
    # A visit that goes on at midnight is in sight on the next day, too.
    ended = np.concatenate([material.people.ended, material.minutes.ended - 1])
    numbers = np.union1d(local(began, zone) // DAY, local(ended, zone) // DAY)
    days = [date(1970, 1, 1) + timedelta(days=int(number)) for number in numbers]
    return [
        Part(day.isoformat(), (Span(_midnight(day, zone), _midnight(day + timedelta(days=1), zone)),))
        for day in days
    ]


def _midnight(day: date, zone: tzinfo) -> int:
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def _indices(mask: Bools) -> frozenset[int] | None:
    return None if mask.all() else frozenset(np.flatnonzero(mask).tolist())


class Within:
    """Where times of a material's sources lie in a part."""

    def __init__(self, material: Material, part: Part) -> None:
        self._group: NDArray[np.int64] = np.zeros(len(material.sources), np.int64)
        self._edges: list[Floats] = []
        """Of each group of sources the begins and ends of its spans, in turn, none touching another."""
        self._passed: list[Floats] = []
        """Milliseconds of the part before each edge."""
        first, last = material.span or (0, 0)
        known: dict[tuple[int, ...], int] = {}
        for source in range(len(material.sources)):
            here = tuple(i for i, s in enumerate(part.spans) if s.sources is None or source in s.sources)
            if here not in known:
                known[here] = len(self._edges)
                # A second begins up to 999 ms before the person that is seen in it, and may end as late.
                spans = (
                    (max(part.spans[i].began, first - 1000), min(part.spans[i].ended, last + 1000))
                    for i in here
                )
                edges = _merged(spans)
                self._edges.append(edges)
                self._passed.append(np.repeat(np.cumsum(np.append(0.0, edges[1::2] - edges[::2])), 2)[1:-1])
            self._group[source] = known[here]

    def inside(self, source: NDArray[np.integer[Any]], at: Times) -> Bools:
        """(n,): whether ``at`` (n,) of ``source`` (n,) lies in a span."""
        return (
            self._of_each(source, at, lambda g, t: np.searchsorted(self._edges[g], t, "right") % 2 == 1) > 0
        )

    def elapsed(self, source: NDArray[np.integer[Any]], at: Times) -> Floats:
        """(n,): milliseconds of the part that have passed before ``at`` (n,) on ``source`` (n,)."""
        return self._of_each(source, at, lambda g, t: np.interp(t, self._edges[g], self._passed[g]))

    def _of_each(
        self, source: NDArray[np.integer[Any]], at: Times, value: Callable[[int, Times], NDArray[Any]]
    ) -> Floats:
        found = np.zeros(len(at))
        group = self._group[source]
        for number, edges in enumerate(self._edges):
            rows = np.flatnonzero(group == number) if len(self._edges) > 1 else slice(None)
            if len(edges):
                found[rows] = value(number, at[rows])
        return found


def _merged(spans: Iterable[tuple[int, int]]) -> Floats:
    """Begins and ends in turn, where spans that overlap or touch have become one."""
    edges: list[int] = []
    for began, ended in sorted(spans):
        if ended <= began:
            continue
        if edges and began <= edges[-1]:
            edges[-1] = max(edges[-1], ended)
        else:
            edges += [began, ended]
    return np.array(edges, np.float64)
