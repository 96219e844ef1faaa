"""Faces in bad light: equal exposure and contrast before the network."""

from __future__ import annotations

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

import fer_edge
from fer_edge.faces.geometry import training_squares
from fer_edge.kernels.constants import FACE_SIZE
from fer_edge.kernels.crop import crop_faces
from fer_edge.models.backends import available_backends

pytestmark = pytest.mark.skipif(not available_backends(), reason="no runtime for models is installed")


@pytest.mark.parametrize("model", ["edge", "nano"])
@pytest.mark.parametrize("brightness", [1.0, 0.25, 0.08])
def test_a_smile_stays_happy_in_the_dark(astronaut, model, brightness):
    found = fer_edge.Recognizer(model).detect(astronaut)
    dark = np.rint(astronaut * brightness).astype(np.uint8)
    face = np.empty((1, FACE_SIZE, FACE_SIZE), np.uint8)
    crop_faces(dark, training_squares(found.boxes[:1]), face)
    classifier = fer_edge.load_classifier(model)
    (shares,) = classifier.predict(face)
    assert fer_edge.EMOTIONS[int(shares.argmax())] == "happy"
    assert shares.max() > 0.9


def test_classification_of_frames_and_of_faces_normalizes_alike(astronaut):
    """What the loop writes into the model's own input and what a caller hands over give the same bytes."""
    dark = np.rint(astronaut * 0.1).astype(np.uint8)
    recognizer = fer_edge.Recognizer()
    faces = recognizer.detect(astronaut)
    told = recognizer.distributions(dark, faces)
    cut = np.empty((len(faces), FACE_SIZE, FACE_SIZE), np.uint8)
    crop_faces(dark, training_squares(faces.boxes), cut)
    np.testing.assert_array_equal(told, recognizer.classifier.distributions(cut)["people"])
