"""Whose turn it is, worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fer_edge.pipeline.turns import Latest, Turns


def take(turns, *keys, sparse=False):
    """The keys of those that are due."""
    keys = np.array(keys, np.int64)
    return keys[turns.take(keys, sparse)].tolist()


def test_one_person_is_due_in_each_third_frame():
    turns = Turns(3)
    assert [take(turns, 1) for _ in range(7)] == [[1], [], [], [1], [], [], [1]]


def test_everyone_is_due_in_each_frame_of_one():
    turns = Turns(1)
    assert [take(turns, 1, 2) for _ in range(3)] == [[1, 2]] * 3


def test_new_faces_are_due_at_once_and_then_spread_over_frames():
    turns = Turns(3)
    everyone = range(1, 16)
    assert len(take(turns, *everyone)) == 15
    for _ in range(10):
        three = [take(turns, *everyone) for _ in range(3)]
        assert [len(due) for due in three] == [5, 5, 5]
        assert sorted(itertools.chain(*three)) == list(everyone)


def test_one_who_comes_later_takes_the_place_of_fewest():
    turns = Turns(3)
    assert take(turns, 1, 2) == [1, 2]
    assert take(turns, 1, 2) == []
    # 2 has its turn in frame 2, 1 in frame 3; frame 4 is free.
    assert take(turns, 1, 2, 3) == [2, 3]
    assert [take(turns, 1, 2, 3) for _ in range(3)] == [[1], [3], [2]]


def test_any_number_of_frames_may_be_between():
    turns = Turns(10**18)
    assert take(turns, 1, 2, 3) == [1, 2, 3]
    assert take(turns, 1, 2, 3, 4) == [4]
    assert take(turns, 1, 2, 3, 4) == []


def test_one_who_was_away_at_their_turn_is_due_at_once():
    turns = Turns(3)
    take(turns, 1)
    for _ in range(4):
        assert take(turns) == []
    assert take(turns, 1) == [1]
    assert take(turns, 1) == []


def test_one_who_was_forgotten_is_new():
    turns = Turns(3)
    take(turns, 1, 2)
    turns.keep(np.array([2]))
    assert 1 in take(turns, 1, 2)


def test_everyone_is_due_where_frames_are_few_a_second():
    turns = Turns(3)
    assert [take(turns, 1, 2, sparse=True) for _ in range(4)] == [[1, 2]] * 4
    # Back at full rate, they are spread as before.
    assert [take(turns, 1, 2) for _ in range(6)] == [[], [2], [1]] * 2


@pytest.mark.parametrize("every", [2, 3, 5])
def test_nobody_waits_longer_than_asked(every):
    turns = Turns(every)
    rng = np.random.default_rng(0)
    since = {}
    for frame in range(200):
        keys = [key for key in range(20) if key <= frame // 10 + 1 and (key % 4 or rng.random() < 0.7)]
        due = take(turns, *keys)
        for key in keys:
            # Absent ones are due as soon as they are back.
            assert key in due or frame - since[key] < every
        since.update(dict.fromkeys(due, frame))


def test_what_was_measured_last_is_known_until_the_track_is_forgotten():
    latest = Latest()

    def told(keys, due, measured):
        found = latest.update(np.array(keys), np.array(due, np.bool_), np.array(measured, np.float32))
        assert found.dtype == np.float32
        return found.tolist()

    assert told([4, 7], [True, True], [1.5, -2]) == [1.5, -2]
    assert told([7, 4], [True, False], [3]) == [3, 1.5]
    assert told([7], [False], []) == [3]
    latest.keep(np.array([4]))
    found = told([4, 7], [False, False], [])
    assert found[0] == 1.5 and np.isnan(found[1])
