"""Direction and size of faces, on made faces whose direction is known."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.faces.quality import (
    ATTENTION_PITCH,
    ATTENTION_YAW,
    CLEAR_SIZE,
    MEAN_FACE,
    Facing,
    directions,
    facing,
    sizes,
)


def turned(yaw, pitch, roll=0.0, face=MEAN_FACE, scale=2.0, at=(300.0, 200.0), distance=None):
    """Landmarks (5, 2) of a face that looks ``yaw`` degrees to the right of the picture and ``pitch`` up.

    ``distance`` in millimetres: of the camera, for perspective; ``None``: from far away. Worked out from the
    angles by three turns, which the code under test does not use: tilt about the nose, nod, then turn.
    """
    a, b, c = np.radians([yaw, pitch, roll])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    points = (face - face.mean(axis=0)) @ (turn @ nod @ tilt).T
    near = 1.0 if distance is None else distance / (distance - points[:, 2:])
    return points[:, :2] * scale * near + at


@pytest.mark.parametrize("yaw", [-70, -30, 0, 10, 45])
@pytest.mark.parametrize("pitch", [-40, 0, 15])
@pytest.mark.parametrize("roll", [-90, -20, 0, 35])
def test_the_direction_of_a_mean_face_is_found(yaw, pitch, roll):
    np.testing.assert_allclose(directions([turned(yaw, pitch, roll)]), [[yaw, pitch]], atol=1e-4)


def test_place_and_size_do_not_matter():
    near, far = turned(20, 10, scale=5, at=(0, 0)), turned(20, 10, scale=0.2, at=(4000, -3))
    np.testing.assert_allclose(directions([near, far]), [[20, 10]] * 2, atol=1e-4)


def test_to_the_right_and_up_are_positive():
    level = turned(0, 0)
    right, up = level.copy(), level.copy()
    right[2] += (10, 0)
    up[2] -= (0, 10)
    (yaw, _), (_, pitch) = directions([right, up])
    assert yaw > 5 and pitch > 5


def test_errors_of_other_faces_near_the_limits_stay_within_what_is_documented():
    """Faces that differ from the mean one, seen from 60 cm, with trembling landmarks: docs/measures.md."""
    rng = np.random.default_rng(1)
    asked, found = [], []
    for _ in range(2000):
        yaw, pitch = rng.uniform(-40, 40), rng.uniform(-25, 25)
        face = MEAN_FACE + rng.normal(0, 2.5, (5, 3))
        points = turned(yaw, pitch, rng.uniform(-15, 15), face, scale=0.6, distance=600)
        asked.append((yaw, pitch))
        found.append(points + rng.normal(0, 0.5, (5, 2)))
    error = directions(found) - asked
    yaw_error, pitch_error = np.sqrt((error**2).mean(axis=0))
    assert yaw_error < 7
    assert pitch_error < 9


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((5, 2)),
        np.ones((5, 2)) * [[1], [2], [3], [4], [5]],
        np.full((5, 2), np.nan),
        turned(0, 0) * np.inf,
    ],
    ids=["a point", "a line", "nan", "inf"],
)
def test_landmarks_of_no_face_have_no_direction(points):
    assert np.isnan(directions([points])).all()
    assert facing(directions([points]), np.array([100.0])).tolist() == [Facing.UNCLEAR]


def test_a_pitch_from_the_picture_goes_before_that_of_the_landmarks():
    points = [turned(10, -5), turned(10, -5), np.zeros((5, 2))]
    found = directions(points, [-30, np.nan, -30])
    np.testing.assert_allclose(found[:2], [[10, -30], [10, -5]], atol=1e-4)
    assert np.isnan(found[2]).all()
    assert facing(found, np.full(3, 100.0)).tolist() == [Facing.AWAY, Facing.CAMERA, Facing.UNCLEAR]


def test_no_faces_have_no_directions():
    assert directions(np.empty((0, 5, 2))).shape == (0, 2)
    assert facing(np.empty((0, 2)), np.empty(0)).shape == (0,)


@pytest.mark.parametrize("shape", [(5, 2), (1, 4, 2), (1, 5, 3)])
def test_landmarks_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(n, 5, 2\), got shape"):
        directions(np.ones(shape))


def test_size_is_the_geometric_mean_of_the_sides():
    assert sizes([[5, 6, 40, 90], [0, 0, 10, 10]]).tolist() == [60.0, 10.0]


@pytest.mark.parametrize(
    ("yaw", "pitch", "size", "expected"),
    [
        (0, 0, 100, Facing.CAMERA),
        (ATTENTION_YAW, -ATTENTION_PITCH, 100, Facing.CAMERA),
        (-ATTENTION_YAW - 1, 0, 100, Facing.AWAY),
        (0, ATTENTION_PITCH + 1, 100, Facing.AWAY),
        (61, 0, 100, Facing.UNCLEAR),
        (0, -46, 100, Facing.UNCLEAR),
        (0, 0, CLEAR_SIZE - 1, Facing.UNCLEAR),
    ],
)
def test_faces_are_turned_to_the_camera_within_limits(yaw, pitch, size, expected):
    assert facing(np.array([[yaw, pitch]], float), np.array([size], float)).tolist() == [expected]
