"""When the hint comes that a camera hangs upside down, with a detector that is told what to find."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from fer_edge.faces.faces import Faces
from fer_edge.pipeline.orientation import LONGEST_PAUSE, PAUSE, UprightCheck
from fer_edge.sources.turn import Turn

NOBODY, UPSIDE_DOWN = 0, 255
"""Grey of a picture's first pixel; that of the last one is the other."""


def scored(*scores):
    count = len(scores)
    return Faces(
        np.tile(np.float32([10, 10, 50, 50]), (count, 1)),
        np.array(scores, np.float32),
        np.zeros((count, 5, 2), np.float32),
    )


class Detector:
    """Finds a face where the marked corner of a picture is the last pixel."""

    def __init__(self):
        self.asked = 0

    def detect(self, image, size):
        self.asked += 1
        return scored(0.95) if image[-1, -1] == UPSIDE_DOWN else scored()


def picture(marked):
    image = np.zeros((48, 64), np.uint8)
    image[0, 0] = marked
    return image


def looked(check, count, marked, faces=None):
    for _ in range(count):
        check.look(picture(marked), scored() if faces is None else faces)


@pytest.mark.parametrize("empty", [0, 190, 250, 5000])
def test_the_hint_comes_however_long_nobody_was_in_sight(empty, caplog):
    check = UprightCheck(Detector(), Turn(), PAUSE)
    with caplog.at_level(logging.WARNING):
        looked(check, empty, NOBODY)
        assert caplog.messages == []
        looked(check, LONGEST_PAUSE + 5 * PAUSE, UPSIDE_DOWN)
    assert len(caplog.messages) == 1
    assert "turned by 180 degrees" in caplog.text and "--rotate 180" in caplog.text


def test_an_empty_scene_is_turned_more_and_more_seldom():
    detector = Detector()
    looked(UprightCheck(detector, Turn(), PAUSE), 32_000, NOBODY)
    # Frames 1, 11, ... 191; 211, 251, 331, 491, 811; and then each 320th up to 32,000.
    assert detector.asked == 3 * (20 + 5 + (32_000 - 811) // LONGEST_PAUSE)


@pytest.mark.parametrize(
    ("pause", "empty", "turned"), [(PAUSE, 150, 150), (PAUSE, 180, 110), (1, 1, 1), (1, 15, 15), (1, 19, 11)]
)
def test_short_films_and_few_pictures_are_looked_at_without_a_longer_pause(pause, empty, turned, caplog):
    check = UprightCheck(Detector(), Turn(), pause)
    with caplog.at_level(logging.WARNING):
        looked(check, empty, NOBODY)
        looked(check, turned, UPSIDE_DOWN)
        check.close()
    assert len(caplog.messages) == 1


def test_whoever_is_found_after_a_long_time_is_looked_at_soon():
    detector = Detector()
    check = UprightCheck(detector, Turn(), PAUSE)
    looked(check, 1131, NOBODY)
    asked = detector.asked
    looked(check, PAUSE + 1, UPSIDE_DOWN, scored(0.72))
    # The last empty picture that was turned was the 1131st.
    assert detector.asked == asked + 3


def test_faces_that_are_upright_settle_it(caplog):
    detector = Detector()
    check = UprightCheck(detector, Turn(), PAUSE)
    looked(check, 41, NOBODY, scored(0.9))
    looked(check, 10_000, UPSIDE_DOWN)
    assert detector.asked == 0 and caplog.messages == []


def test_weak_faces_that_no_turn_makes_clearer_are_given_up(caplog):
    detector = Detector()
    looked(UprightCheck(detector, Turn(), PAUSE), 10_000, NOBODY, scored(0.72))
    assert detector.asked == 3 * 20 and caplog.messages == []
