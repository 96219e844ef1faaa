"""The crop geometry against squares worked out by hand from the measured figures."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.faces.geometry import eye_angles, training_squares
from fer_edge.kernels.crop import crop_faces


def test_square_has_the_measured_side_and_position():
    # Geometric mean of 64 and 100 is 80; side 1.14 * 80 = 91.2; the box's centre is (42, 70).
    (square,) = training_squares([[10, 20, 64, 100]])
    assert square == pytest.approx([42 - 0.5 * 91.2, 70 - 0.495 * 91.2, 91.2])


def test_moving_and_scaling_the_box_moves_and_scales_the_square():
    box = np.array([10.0, 20.0, 64.0, 100.0])
    (square,) = training_squares([box])
    (moved,) = training_squares([box + np.array([7, -300, 0, 0])])
    (doubled,) = training_squares([2 * box])
    assert moved - square == pytest.approx([7, -300, 0])
    assert doubled == pytest.approx(2 * square)


def test_typical_yunet_box_gives_back_the_fer2013_image_it_was_found_in():
    # The medians of the measurement: side = 1.01 box heights = 1.29 box widths, centre (0.5, 0.495).
    side = 200.0
    width, height = side / 1.29, side / 1.01
    x, y = 0.5 * side - width / 2, 0.495 * side - height / 2
    (square,) = training_squares([[x, y, width, height]])
    assert square == pytest.approx([0, 0, side], abs=0.01 * side)


def test_one_row_per_box_and_none_for_no_box():
    assert training_squares([[0, 0, 10, 10], [5, 5, 20, 20]])[:, 2] == pytest.approx([11.4, 22.8])
    assert training_squares([]).shape == (0, 3)
    assert training_squares(np.empty((0, 4))).shape == (0, 3)


@pytest.mark.parametrize("boxes", [[1, 2, 3, 4], [[1, 2, 3]], np.ones((2, 5))])
def test_other_shapes_are_refused(boxes):
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        training_squares(boxes)


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (float("nan"), 10)])
def test_boxes_without_area_are_refused(size):
    with pytest.raises(ValueError, match="positive"):
        training_squares([[0, 0, *size]])


def with_eyes(right, left):
    return [right, left, (0, 30), (-10, 40), (10, 40)]


def test_the_angle_is_that_of_the_line_from_the_right_to_the_left_eye():
    level = with_eyes((100, 50), (140, 50))
    lower_left_eye = with_eyes((100, 50), (140, 90))
    higher_left_eye = with_eyes((100, 50), (100 + 3**0.5, 49))
    upside_down = with_eyes((140, 50), (100, 50))
    angles = eye_angles([level, lower_left_eye, higher_left_eye, upside_down])
    assert np.degrees(angles) == pytest.approx([0, 45, -30, 180])


def test_eyes_in_one_place_and_no_faces_have_no_angle_to_speak_of():
    assert eye_angles([with_eyes((7, 7), (7, 7))]).tolist() == [0]
    assert eye_angles(np.empty((0, 5, 2))).shape == (0,)
    assert eye_angles([]).shape == (0,)


def test_a_square_turned_by_the_angle_of_the_eyes_has_them_level():
    frame = np.zeros((200, 200), np.uint8)
    frame[70:77, 60:67] = 255  # right eye, around (63.5, 73.5)
    frame[98:105, 116:123] = 255  # left eye, around (119.5, 101.5)
    face = crop_faces(frame, [[20, 20, 160]], angles=eye_angles([with_eyes((63.5, 73.5), (119.5, 101.5))]))[0]
    rows, columns = np.nonzero(face > 60)
    right, left = rows[columns < 24], rows[columns >= 24]
    assert right.mean() == pytest.approx(left.mean(), abs=0.3)


@pytest.mark.parametrize("landmarks", [[[1, 2]], np.ones((1, 5, 3)), np.ones((1, 1, 2)), np.ones(10)])
def test_landmarks_of_another_shape_are_refused(landmarks):
    with pytest.raises(ValueError, match=r"\(n, 5, 2\)"):
        eye_angles(landmarks)


def test_landmarks_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        eye_angles([with_eyes((1, 2), (float("nan"), 2))])
