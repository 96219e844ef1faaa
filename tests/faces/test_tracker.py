"""Tracks and smoothing, on boxes and probabilities worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.faces.faces import Faces
from fer_edge.faces.tracker import MAX_MISSED, MIN_HITS, Tracker, iou, match


def found(*lefts, y=0.0, size=100.0):
    """Faces whose boxes begin at ``lefts``."""
    points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    return Faces(
        np.array([[x, y, size, size] for x in lefts], np.float32).reshape(-1, 4),
        np.full(len(lefts), 0.9, np.float32),
        np.array([[[x + size * u, y + size * v] for u, v in points] for x in lefts], np.float32).reshape(
            -1, 5, 2
        ),
    )


def ids(faces):
    return faces.ids.tolist()


def one_iou(a, b):
    return iou(np.array([a]), np.array([b]))[0, 0]


def pairs(boxes, others, min_iou):
    first, second = match(np.array(boxes, float), np.array(others, float), min_iou)
    return dict(zip(first.tolist(), second.tolist(), strict=True))


def test_iou_of_known_rectangles():
    assert one_iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert one_iou((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert one_iou((0, 0, 10, 10), (5, 5, 10, 10)) == pytest.approx(25 / 175)
    assert one_iou((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    assert one_iou((0, 0, 4, 4), (1, 1, 2, 2)) == pytest.approx(4 / 16)


def test_largest_overlap_is_paired_first_and_each_box_once():
    boxes = [(0, 0, 10, 10), (3, 0, 10, 10)]
    # The one other box overlaps both; the second more.
    assert pairs(boxes, [(4, 0, 10, 10)], 0.2) == {1: 0}
    assert pairs(boxes, [(4, 0, 10, 10), (-2, 0, 10, 10)], 0.2) == {1: 0, 0: 1}
    assert pairs(boxes, [(100, 0, 10, 10)], 0.2) == {}


def test_faces_keep_their_numbers_when_the_detector_changes_their_order():
    tracker = Tracker(min_hits=1)
    assert ids(tracker.update(found(0, 300), 0.0)) == [1, 2]
    assert ids(tracker.update(found(305, 4), 0.1)) == [2, 1]


@pytest.mark.parametrize("fps", [5, 10, 30, 120])
def test_person_hidden_for_less_than_a_second_keeps_the_number_at_any_frame_rate(fps):
    tracker = Tracker(min_hits=1)
    tracker.update(found(0), 0.0)
    for step in range(1, round(0.9 * fps)):
        assert ids(tracker.update(found(), step / fps)) == []
        assert tracker.lost or step > MAX_MISSED
    assert ids(tracker.update(found(2), 0.9)) == [1]
    assert not tracker.lost


def test_whoever_is_missed_is_looked_for_at_once_and_then_in_every_third_pass():
    tracker = Tracker(min_hits=1)
    tracker.update(found(0, 300), 0.0)
    asked = []
    for step in range(1, 33):
        tracker.update(found(300), step / 30)
        asked += [step] if tracker.lost else []
    # Missed 30 times, and dropped at more than a second.
    assert asked == [1, 2, 3, 4, 5, *range(6, 31, 3)]


@pytest.mark.parametrize("fps", [5, 10, 30, 120])
def test_person_hidden_for_longer_gets_a_number_never_used_before_at_any_frame_rate(fps):
    tracker = Tracker(min_hits=1)
    tracker.update(found(0), 0.0)
    for step in range(1, round(1.2 * fps) + 1):
        assert ids(tracker.update(found(), step / fps)) == []
    assert not tracker.lost
    assert ids(tracker.update(found(0), 1.3)) == [2]
    assert tracker.count == 2


def test_what_is_no_person_yet_is_forgotten_after_a_few_passes():
    """A pattern on a wall that looks like a face now and then must not add up to a person."""
    tracker = Tracker(min_hits=2)
    tracker.update(found(0), 0.0)
    for step in range(1, MAX_MISSED + 1):
        tracker.update(found(), step / 30)
        assert tracker.kept_keys.tolist() == [1]
    tracker.update(found(), 0.2)
    assert tracker.kept_keys.tolist() == []
    assert ids(tracker.update(found(0), 0.3)) == [0]
    assert tracker.count == 0


def test_missed_track_ends_after_a_second_however_few_frames_there_are():
    tracker = Tracker(min_hits=1)
    tracker.update(found(0), 0.0)
    tracker.update(found(), 0.6)
    tracker.update(found(), 1.2)
    assert ids(tracker.update(found(0), 1.8)) == [2]


def test_face_seen_every_two_seconds_is_still_one_track():
    tracker = Tracker(min_hits=1)
    for step in range(5):
        assert ids(tracker.update(found(0), 2.0 * step)) == [1]


def test_face_that_moves_by_its_own_width_is_one_person_at_two_frames_a_second():
    """Its boxes do not overlap, and it turns back as soon as its velocity is known."""
    tracker = Tracker()
    found_at = [0, 130, 20, 150, 10]
    seen = [ids(tracker.update(found(left), 0.5 * step)) for step, left in enumerate(found_at)]
    assert seen == [[0], [0], [1], [1], [1]]


def test_each_of_two_faces_goes_to_the_nearest_track_that_is_left():
    tracker = Tracker(min_hits=1)
    assert ids(tracker.update(found(0, 400), 0.0)) == [1, 2]
    assert ids(tracker.update(found(290, 130), 0.5)) == [2, 1]
    # They stop. Track 1 was going to where 2 is now, and the third face has no track left.
    assert ids(tracker.update(found(290, 130, 470), 1.0)) == [2, 1, 3]


def test_face_beyond_reach_or_of_another_size_is_somebody_else():
    for far in (found(230), found(110, size=50.0), found(110, size=190.0)):
        tracker = Tracker(min_hits=1)
        tracker.update(found(0), 0.0)
        assert ids(tracker.update(far, 0.5)) == [2]


def test_frames_in_quick_succession_ask_for_overlap():
    tracker = Tracker(min_hits=1)
    tracker.update(found(0), 0.0)
    assert ids(tracker.update(found(90), 0.1)) == [2]


def test_after_a_long_pause_nobody_is_matched_without_overlap():
    tracker = Tracker(min_hits=1)
    tracker.update(found(0), 0.0)
    assert ids(tracker.update(found(110), 5.0)) == [2]


def test_a_single_miss_at_a_frame_a_second_ends_no_track():
    for step in (1.0, 1.05, 1.9):
        tracker = Tracker(min_hits=1)
        tracker.update(found(0), 0.0)
        tracker.update(found(), step)
        assert tracker.lost
        assert ids(tracker.update(found(0), 2 * step)) == [1]
    tracker.update(found(), 10.0)
    assert not tracker.lost


def test_box_is_expected_further_on_at_constant_velocity():
    tracker = Tracker(min_hits=1)
    tracker.update(found(0), 0.0)
    tracker.update(found(10, y=-5), 0.1)
    keys, boxes = tracker.expected(0.15)
    assert keys.tolist() == [1]
    assert boxes[0] == pytest.approx((15, -7.5, 100, 100))
    assert tracker.expected(0.2)[1][0, :2] == pytest.approx((20, -10))


@pytest.mark.parametrize("burst", [2, 3, 5])
def test_frames_that_arrive_in_bursts_keep_a_walking_face_one_person(burst):
    """Taken every 40 ms, they arrive together, 2 ms apart; the face moves by 0.16 of its width a frame."""
    tracker = Tracker()
    for number in range(100):
        arrived = 0.04 * (number - number % burst) + 0.002 * (number % burst)
        left = 16 * (number if number < 50 else 100 - number)
        assert len(ids(tracker.update(found(left), arrived))) == 1
    assert (tracker.count, tracker.kept_keys.tolist()) == (1, [1])


def test_velocity_is_measured_from_a_detection_that_lies_back_far_enough():
    tracker = Tracker()
    tracker.update(found(0), 0.0)
    tracker.update(found(10), 0.002)
    assert tracker.expected(0.102)[1][0, 0] == 10, "not known yet"
    tracker.update(found(20), 0.04)
    assert tracker.expected(0.14)[1][0, 0] == pytest.approx(20 + 500 * 0.1)
    tracker.update(found(90), 0.05)
    tracker.update(found(60), 0.08)
    # 40 pixels in 40 ms, and half of the velocity before.
    assert tracker.expected(0.18)[1][0, 0] == pytest.approx(60 + 750 * 0.1)


@pytest.mark.parametrize("fps", [15, 30, 60, 120])
def test_people_who_cross_keep_their_numbers_at_any_frame_rate(fps):
    """Two and three widths a second, from both sides; the second one is hidden behind the first."""
    tracker = Tracker(min_hits=1)
    for number in range(-2 * fps, 2 * fps + 1):
        first, second = 200 * number / fps, -300 * number / fps
        shown = [first, second] if abs(first - second) > 70 else [first]
        seen = ids(tracker.update(found(*shown), 2 + number / fps))
        assert seen == [1, 2][: len(shown)]
    assert tracker.count == 2


@pytest.mark.parametrize("fps", [3.9, 4.5, 5, 6, 8, 10, 30])
def test_who_walks_stops_and_turns_back_is_one_person_at_any_frame_rate(fps):
    """Two seconds of 3.5 widths a second, a second of standing, and back."""
    tracker = Tracker()
    for number in range(int(24 * fps)):
        second = number / fps % 6
        widths = min(3.5 * second, 7, 7 - 3.5 * (second - 3)) if second < 5 else 0
        tracker.update(found(100 * widths), number / fps)
    assert (tracker.count, tracker.kept_keys.tolist()) == (1, [1])


def test_who_was_lost_for_a_while_is_looked_for_by_overlap_only():
    tracker = Tracker(min_hits=1)
    tracker.update(found(0), 0.0)
    for step in range(1, 10):
        tracker.update(found(), step / 30)
    assert ids(tracker.update(found(90), 10 / 30)) == [2], "a whole width away, after a third of a second"
    assert ids(tracker.update(found(90, 30), 11 / 30)) == [2, 1]


def test_velocity_is_not_trusted_for_long():
    tracker = Tracker(min_hits=1)
    tracker.update(found(0), 0.0)
    tracker.update(found(10), 0.1)
    assert tracker.expected(60.0)[1][0, 0] == pytest.approx(10 + 100 * 0.5)


def test_fast_face_is_followed_by_its_velocity():
    tracker = Tracker(min_hits=1)
    # 70 pixels a frame: a box of 100 overlaps its last place by 30/170, its predicted one fully.
    assert ids(tracker.update(found(0), 0.0)) == [1]
    assert ids(tracker.update(found(60), 0.1)) == [1]
    assert ids(tracker.update(found(130), 0.2)) == [1]
    assert ids(tracker.update(found(200), 0.3)) == [1]


def test_missed_track_is_not_expected():
    tracker = Tracker(min_hits=1)
    tracker.update(found(0, 300), 0.0)
    tracker.update(found(300), 0.1)
    assert tracker.expected(0.15)[0].tolist() == [2]


def test_flicker_of_one_frame_is_no_person():
    tracker = Tracker()
    assert ids(tracker.update(found(0), 0.0)) == [0]
    assert ids(tracker.update(found(0, 500), 0.1)) == [0, 0]
    assert ids(tracker.update(found(0), 0.2)) == [1]
    assert ids(tracker.update(found(0), 0.3)) == [1]
    assert tracker.count == 1


def test_persons_are_numbered_in_the_order_in_which_they_came_to_count():
    tracker = Tracker(min_hits=2)
    assert ids(tracker.update(found(0), 0.0)) == [0]
    assert ids(tracker.update(found(300, 0), 0.1)) == [0, 1]
    assert ids(tracker.update(found(300, 0), 0.2)) == [2, 1]


def test_track_has_one_key_before_and_after_it_counts_as_a_person():
    tracker = Tracker()
    keys = set()
    for step in range(MIN_HITS + 1):
        tracker.update(found(0), 0.1 * step)
        keys.add(tuple(tracker.keys.tolist()))
    assert keys == {(1,)}
    tracker.update(found(300, 0), 1.0)
    assert tracker.keys.tolist() == [2, 1]
    assert sorted(tracker.kept_keys.tolist()) == [1, 2]


def test_two_detections_at_the_same_time_give_no_velocity():
    tracker = Tracker()
    tracker.update(found(0), 0.0)
    tracker.update(found(10), 0.0)
    assert tracker.expected(1.0)[1][0].tolist() == [10, 0, 100, 100]


@pytest.mark.parametrize("min_hits", [0, -1])
def test_a_person_needs_a_detection(min_hits):
    with pytest.raises(ValueError, match="min_hits"):
        Tracker(min_hits)


def test_box_that_is_no_box_takes_over_no_track():
    tracker = Tracker(min_hits=1)
    tracker.update(found(10), 0.0)
    assert ids(tracker.update(found(np.nan, 12), 0.1)) == [2, 1]


def test_what_is_forgotten_comes_back_under_a_new_number():
    tracker = Tracker(min_hits=1)
    assert ids(tracker.update(found(0), 0.0)) == [1]
    tracker.forget()
    assert not tracker.lost
    assert len(tracker.expected(0.1)[0]) == len(tracker.kept_keys) == 0
    assert ids(tracker.update(found(0), 0.1)) == [2]
    assert tracker.count == 2
