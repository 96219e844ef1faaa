"""Tracks and smoothing, on boxes and probabilities worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fer_edge.faces.detector import Detection
from fer_edge.faces.tracker import MAX_MISSED, Tracker, iou, match


def found(x, y=0.0, size=100.0, score=0.9):
    landmarks = np.array(
        [[x + 30, y + 40], [x + 70, y + 40], [x + 50, y + 60], [x + 35, y + 80], [x + 65, y + 80]]
    )
    return Detection((x, y, size, size), score, landmarks.astype(np.float32))


def ids(tracks):
    return [track.id for track in tracks]


def test_iou_of_known_rectangles():
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert iou((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert iou((0, 0, 10, 10), (5, 5, 10, 10)) == pytest.approx(25 / 175)
    assert iou((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    assert iou((0, 0, 4, 4), (1, 1, 2, 2)) == pytest.approx(4 / 16)


def test_largest_overlap_is_paired_first_and_each_box_once():
    boxes = [(0, 0, 10, 10), (3, 0, 10, 10)]
    # The one other box overlaps both; the second more.
    assert match(boxes, [(4, 0, 10, 10)], 0.2) == {1: 0}
    assert match(boxes, [(4, 0, 10, 10), (-2, 0, 10, 10)], 0.2) == {1: 0, 0: 1}
    assert match(boxes, [(100, 0, 10, 10)], 0.2) == {}


def test_faces_keep_their_numbers_when_the_detector_changes_their_order():
    tracker = Tracker()
    assert ids(tracker.update([found(0), found(300)], 0.0)) == [1, 2]
    assert ids(tracker.update([found(305), found(4)], 0.1)) == [2, 1]


def test_new_face_gets_a_number_never_used_before():
    tracker = Tracker()
    tracker.update([found(0)], 0.0)
    for step in range(MAX_MISSED + 1):
        assert tracker.update([], 0.1 * (step + 1)) == []
    assert ids(tracker.update([found(0)], 1.0)) == [2]
    assert tracker.count == 2


def test_track_survives_a_few_missed_passes():
    tracker = Tracker()
    tracker.update([found(0)], 0.0)
    for step in range(MAX_MISSED):
        tracker.update([], 0.1 * (step + 1))
        assert tracker.lost
    (track,) = tracker.update([found(2)], 0.7)
    assert track.id == 1
    assert not tracker.lost


def test_missed_track_ends_after_a_second_however_few_frames_there_are():
    tracker = Tracker()
    tracker.update([found(0)], 0.0)
    tracker.update([], 0.6)
    tracker.update([], 1.2)
    assert ids(tracker.update([found(0)], 1.8)) == [2]


def test_face_seen_every_two_seconds_is_still_one_track():
    tracker = Tracker()
    for step in range(5):
        assert ids(tracker.update([found(0)], 2.0 * step)) == [1]


def test_box_moves_on_at_constant_velocity_between_detections():
    tracker = Tracker()
    tracker.update([found(0, 0)], 0.0)
    tracker.update([found(10, -5)], 0.1)
    (track,) = tracker.predict(0.15)
    assert track.box == pytest.approx((15, -7.5, 100, 100))
    assert track.landmarks[0] == pytest.approx([15 + 30, -7.5 + 40])
    (track,) = tracker.predict(0.2)
    assert track.box[:2] == pytest.approx((20, -10))


def test_velocity_is_not_trusted_for_long():
    tracker = Tracker()
    tracker.update([found(0)], 0.0)
    tracker.update([found(10)], 0.1)
    (track,) = tracker.predict(60.0)
    assert track.box[0] == pytest.approx(10 + 100 * 0.5)


def test_fast_face_is_followed_by_its_velocity():
    tracker = Tracker()
    # 70 pixels a frame: a box of 100 overlaps its last place by 30/170, its predicted one fully.
    assert ids(tracker.update([found(0)], 0.0)) == [1]
    assert ids(tracker.update([found(60)], 0.1)) == [1]
    assert ids(tracker.update([found(130)], 0.2)) == [1]
    assert ids(tracker.update([found(200)], 0.3)) == [1]


def test_missed_track_is_not_predicted():
    tracker = Tracker()
    tracker.update([found(0), found(300)], 0.0)
    tracker.update([found(300)], 0.1)
    assert ids(tracker.predict(0.15)) == [2]


def test_smoothing_is_exponential_in_seconds():
    tracker = Tracker(smoothing=0.5)
    tracks = tracker.update([found(0)], 0.0)
    first = tracker.smooth(tracks, np.array([[1.0, 0.0]], np.float32), 0.0)
    assert first == pytest.approx(np.array([[1.0, 0.0]]))
    second = tracker.smooth(tracks, np.array([[0.0, 1.0]], np.float32), 0.25)
    assert second[0, 0] == pytest.approx(math.exp(-0.5))
    assert second.sum() == pytest.approx(1)


def test_smoothing_depends_on_time_not_on_frame_rate():
    means = []
    for steps in (1, 10):
        tracker = Tracker(smoothing=0.5)
        tracks = tracker.update([found(0)], 0.0)
        tracker.smooth(tracks, np.array([[1.0, 0.0]], np.float32), 0.0)
        for step in range(steps):
            mean = tracker.smooth(tracks, np.array([[0.0, 1.0]], np.float32), (step + 1) / steps)
        means.append(mean[0, 0])
    assert means == pytest.approx([math.exp(-2)] * 2, rel=1e-5)


def test_smoothing_is_never_shared_between_faces():
    tracker = Tracker(smoothing=10.0)
    happy, sad = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    for step in range(5):
        tracks = tracker.update([found(0), found(300)], 0.1 * step)
        means = tracker.smooth(tracks, np.stack([happy, sad]), 0.1 * step)
        assert means.tolist() == [[1, 0], [0, 1]]
    # The same two in the other order, and a third who has just come.
    tracks = tracker.update([found(600), found(300), found(0)], 0.5)
    means = tracker.smooth(tracks, np.stack([sad, sad, happy]), 0.5)
    assert means.tolist() == [[0, 1], [0, 1], [1, 0]]


def test_without_smoothing_probabilities_pass_unchanged():
    tracker = Tracker(smoothing=0.0)
    tracks = tracker.update([found(0)], 0.0)
    tracker.smooth(tracks, np.array([[1.0, 0.0]], np.float32), 0.0)
    assert tracker.smooth(tracks, np.array([[0.25, 0.75]], np.float32), 0.1).tolist() == [[0.25, 0.75]]


def test_changing_the_result_does_not_change_the_mean():
    tracker = Tracker(smoothing=1.0)
    tracks = tracker.update([found(0)], 0.0)
    tracker.smooth(tracks, np.array([[1.0, 0.0]], np.float32), 0.0)[:] = 99
    assert tracker.smooth(tracks, np.array([[1.0, 0.0]], np.float32), 0.1) == pytest.approx(
        np.array([[1, 0]])
    )


@pytest.mark.parametrize("smoothing", [-0.1, math.nan, math.inf])
def test_smoothing_must_be_a_time(smoothing):
    with pytest.raises(ValueError, match="smoothing"):
        Tracker(smoothing)
