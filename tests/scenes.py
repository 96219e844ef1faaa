"""Materials of a few people, second by second, for hand-calculated tests."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pytest

from fer_edge.labels import EMOTIONS
from fer_edge.report.material import Material, Seconds, Source
from fer_edge.report.visits import visits_of


def face(**shares):
    """(7,) shares; what is left is neutral."""
    row = np.zeros(len(EMOTIONS))
    for name, share in shares.items():
        row[EMOTIONS.index(name)] = share
    row[EMOTIONS.index("neutral")] += 1 - row.sum()
    return row


HALL = Source("pi", "hall")


def material(people, events=(), *, sources=(HALL,), source=None, size=80.0):
    """Make a material of people, dicts of second to face or to (face, attention, unsure, unclear)."""
    rows = []
    for number, seconds in enumerate(people):
        for at, what in sorted(seconds.items()):
            shares, attention, unsure, unclear = what if isinstance(what, tuple) else (what, 0.0, 0.0, 0.0)
            rows.append((number, round(at * 1000), 1.0, unsure, attention, unclear, shares))
    person, began, seen, unsure, attention, unclear, shares = zip(*rows, strict=True)
    seconds = Seconds(person, began, seen, unsure, attention, unclear, np.array(shares))
    visits = visits_of(
        seconds,
        np.zeros(len(people), np.int32) if source is None else np.array(source, np.int32),
        np.arange(1, len(people) + 1),
        np.broadcast_to(np.asarray(size, np.float64), len(people)),
    )
    return Material(sources, visits, seconds, events=tuple(events))


def berlin():
    """Central European time, where the system knows of it."""
    try:
        return ZoneInfo("Europe/Berlin")
    except ZoneInfoNotFoundError:
        pytest.skip("no time zones are installed")
