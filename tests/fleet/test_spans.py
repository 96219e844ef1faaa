"""Which numbers are missing: compared with a set of all of them."""

from __future__ import annotations

import random

import pytest

from fer_edge.fleet.spans import Spans


def missing_of(spans):
    return [number for first, last in spans.gaps() for number in range(first, last + 1)]


@pytest.mark.parametrize("seed", range(30))
def test_gaps_are_what_a_set_has_not(seed):
    chance = random.Random(seed)
    spans, there = Spans(chance.randrange(5)), set()
    there.update(range(1, spans.settled + 1))
    last = spans.settled
    for _ in range(60):
        first = chance.randrange(1, 200)
        end = first + chance.choice([0, 0, 0, 1, 5, 30])
        if chance.random() < 0.1:
            spans.exists(end)
        else:
            spans.add(first, end)
            there.update(range(first, end + 1))
        last = max(last, end)
        wanted = [number for number in range(1, last + 1) if number not in there]
        assert missing_of(spans) == wanted
        assert spans.missing == len(wanted)
        assert spans.settled == (wanted[0] - 1 if wanted else last)
        low, high = sorted((chance.randrange(220), chance.randrange(220)))
        part = [number for one, other in spans.gaps(low, high) for number in range(one, other + 1)]
        assert part == [number for number in wanted if low <= number <= high]


def test_a_million_numbers_in_order_take_no_memory():
    spans = Spans()
    for number in range(1, 100_001):
        spans.add(number, number)
    assert (spans.settled, spans.missing, spans.first_gap) == (100_000, 0, None)
    assert spans._begins == []
