"""Brightness of pictures and faces, against levels that the pictures were made of."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.faces.faces import Faces
from fer_edge.faces.light import brightness, with_brightness


def faces_at(*boxes):
    count = len(boxes)
    return Faces(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.ones(count, np.float32),
        np.zeros((count, 5, 2), np.float32),
    )


@pytest.mark.parametrize("shape", [(480, 640), (480, 640, 3), (1, 1, 3), (7, 5), (1080, 1920, 3)])
def test_a_picture_of_one_level_has_that_brightness(shape):
    assert brightness(np.full(shape, 77, np.uint8)) == 77


def test_of_colours_it_is_the_mean_of_the_channels():
    image = np.zeros((100, 100, 3), np.uint8)
    image[...] = (30, 90, 210)
    assert brightness(image) == 110


def test_samples_lie_all_over_the_picture():
    image = np.zeros((480, 640), np.uint8)
    image[:, 320:] = 200
    assert brightness(image) == 100
    image[...] = 0
    image[360:] = 200
    assert brightness(image) == 50


def test_a_face_in_front_of_a_window_is_as_dark_as_its_middle():
    image = np.full((480, 640, 3), 250, np.uint8)
    image[125:175, 225:275] = 20
    found = with_brightness(image, faces_at((200, 100, 100, 100), (400, 100, 60, 80)))
    np.testing.assert_array_equal(found.brightness, [20, 250])
    assert brightness(image) > 230


def test_faces_at_the_edge_count_as_far_as_they_are_in_the_picture():
    image = np.full((100, 100), 60, np.uint8)
    found = with_brightness(image, faces_at((-30, -30, 80, 80), (-90, 10, 60, 60), (130, 10, 60, 60)))
    np.testing.assert_array_equal(found.brightness, [60, np.nan, np.nan])
    assert with_brightness(image, faces_at()).brightness.shape == (0,)


def test_a_region_of_the_picture_is_measured_where_faces_of_it_are():
    image = np.zeros((100, 100, 3), np.uint8)
    view = image[20:, 50:]
    view[...] = 140
    assert brightness(view) == 140
    assert with_brightness(view, faces_at((0, 0, 40, 40))).brightness.tolist() == [140]
