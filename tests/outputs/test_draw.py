"""Faces drawn into frames."""

from __future__ import annotations

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from results import face

from fer_edge.faces.faces import Face
from fer_edge.outputs.draw import COLOURS, annotate


def test_drawing_leaves_the_frame_alone_and_marks_the_box_in_the_emotions_colour():
    image = np.full((480, 640, 3), 60, np.uint8)
    drawn = annotate(image, [face("angry", box=(200.0, 150.0, 100.0, 120.0))])
    assert (image == 60).all()
    assert drawn.shape == (480, 640, 3)
    for x, y in ((200, 200), (300, 200), (250, 150), (250, 270)):
        assert drawn[y, x].tolist() == list(COLOURS["angry"])
    assert (drawn[210, 250] == 60).all()


def test_drawn_bars_are_as_long_as_the_probabilities():
    image = np.full((480, 640, 3), 60, np.uint8)
    probabilities = np.array([0.5, 0.0, 0.25, 0.0, 0.0, 0.125, 0.125], np.float32)
    one = Face((100.0, 100.0, 100.0, 120.0), 0.9, np.zeros((5, 2), np.float32), probabilities, "angry")
    beside = annotate(image, [one])[:, 205:]
    longest = {
        name: int((beside == COLOURS[name]).all(axis=2).sum(axis=1).max())
        for name in ("angry", "fear", "disgust")
    }
    assert longest["angry"] == pytest.approx(2 * longest["fear"], abs=2)
    assert longest["disgust"] == 0


@pytest.fixture
def written(monkeypatch):
    """The labels that are drawn, without the names beside the bars."""
    texts = []
    original = cv2.putText
    monkeypatch.setattr(
        cv2, "putText", lambda picture, text, *rest: texts.append(text) or original(picture, text, *rest)
    )
    return lambda: [text for text in texts if text not in COLOURS]


@pytest.mark.parametrize(
    ("told", "unsure", "label"),
    [
        ({}, True, "#1 happy 9/10"),
        ({"track": None, "probability": 0.84}, True, "happy 8/10"),
        ({"probability": 0.84, "labels": "fer2013"}, True, "#1 happy 84 %"),
        ({"unsure": True}, True, "#1 unsure"),
        ({"unsure": True}, False, "#1 happy 9/10"),
    ],
)
def test_the_label_tells_of_ten_people_or_that_it_is_unsure(written, told, unsure, label):
    one = face(box=(200.0, 150.0, 100.0, 120.0), **told)
    drawn = annotate(np.full((480, 640, 3), 60, np.uint8), [one], unsure)
    assert written() == [label]
    in_colour = drawn[200, 200].tolist() == list(COLOURS["happy"])
    assert in_colour == ("unsure" not in label)


def test_small_and_grey_frames_are_enlarged_to_be_readable():
    drawn = annotate(np.full((120, 160), 60, np.uint8), [face()])
    assert drawn.shape == (360, 480, 3)
    assert annotate(np.full((1, 1, 3), 60, np.uint8), []).shape == (480, 480, 3)


@pytest.mark.parametrize(
    "box", [(-50.0, -50.0, 60.0, 60.0), (600.0, 440.0, 90.0, 90.0), (0.0, 0.0, 640.0, 480.0)]
)
def test_faces_at_the_edge_can_be_drawn(box):
    drawn = annotate(np.full((480, 640, 3), 60, np.uint8), [face(box=box), face(track=2)])
    assert drawn.shape == (480, 640, 3)
