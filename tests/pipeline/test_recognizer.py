"""The real detector with a classifier of brightness: crops, batches, threads, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")


from fer_edge.faces.faces import Face, Faces
from fer_edge.kernels.sharpness import sharpness
from fer_edge.pipeline.recognizer import Recognizer


def test_all_faces_of_a_frame_are_one_batch_and_keep_their_places(classifier, astronaut):
    frame = np.concatenate([astronaut[:300, 80:380], astronaut[:300, 80:380] // 3], axis=1)
    faces = Recognizer().recognize(frame)
    assert classifier.batches == [2]
    assert sorted((face.box[0] > 300, face.emotion) for face in faces) == [(False, "happy"), (True, "sad")]
    assert all(isinstance(face, Face) and face.track is None for face in faces)
    assert all(face.probabilities.shape == (7,) and face.landmarks.shape == (5, 2) for face in faces)


def test_each_face_has_the_sharpness_of_what_the_classifier_saw(classifier, astronaut):
    blurred = cv2.GaussianBlur(astronaut, (0, 0), 6)
    frame = np.concatenate([astronaut[:300, 80:380], blurred[:300, 80:380]], axis=1)
    faces = Recognizer().recognize(frame)
    seen = [face.sharpness for face in faces]
    assert seen == pytest.approx(sharpness(classifier._faces).tolist())
    sharp, soft = sorted(faces, key=lambda face: face.box[0])
    assert sharp.sharpness > 0.1 > 0.03 > soft.sharpness


def test_grey_and_colour_give_the_same_faces(classifier, astronaut):
    (colour,) = Recognizer().recognize(astronaut)
    (grey,) = Recognizer().recognize(cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY))
    assert grey.box == pytest.approx(colour.box, abs=6)
    assert grey.emotion == colour.emotion


def test_faces_are_turned_upright_on_request_only(classifier, astronaut):
    found = Recognizer().detect(astronaut)
    ((x, y, width, height),) = found.boxes
    tilt = cv2.getRotationMatrix2D((x + width / 2, y + height / 2), 25, 1)  # counter-clockwise
    tilted = cv2.warpAffine(astronaut, tilt, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    landmarks = (found.landmarks @ tilt[:, :2].T + tilt[:, 2]).astype(np.float32)
    likeness = {}
    for align in (False, True):
        recognizer = Recognizer(align=align)
        recognizer.classify(astronaut, found)
        upright = classifier._faces.ravel()
        recognizer.classify(tilted, replace(found, landmarks=landmarks))
        likeness[align] = np.corrcoef(upright, classifier._faces.ravel())[0, 1]
    assert likeness[True] > 0.98
    assert likeness[False] < 0.7


def test_recognize_hands_the_landmarks_on(classifier, astronaut):
    recognizer = Recognizer(align=True)
    (face,) = recognizer.recognize(astronaut)
    turned = classifier._faces
    found = Faces(np.array([face.box], np.float32), np.ones(1, np.float32), face.landmarks[np.newaxis])
    recognizer.classify(astronaut, found)
    assert np.array_equal(classifier._faces, turned)
    level = np.tile(np.array([[0, 0], [1, 0], [0, 1], [0, 2], [1, 2]], np.float32), (1, 1, 1))
    recognizer.classify(astronaut, replace(found, landmarks=level))
    assert not np.array_equal(classifier._faces, turned)


@pytest.mark.heavy
def test_threads_may_share_a_recognizer(astronaut):
    recognizer = Recognizer()
    group = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    pictures = [astronaut, group, astronaut[:, ::-1], astronaut // 2]
    expected = [recognizer.recognize(picture) for picture in pictures]
    assert [len(faces) for faces in expected] == [1, 2, 1, 1]

    def ask(index):
        for _ in range(10):
            for face, known in zip(
                recognizer.recognize(pictures[index % 4]), expected[index % 4], strict=True
            ):
                assert face.box == known.box
                assert np.array_equal(face.probabilities, known.probabilities)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_frame_without_faces_gives_an_empty_list(classifier):
    assert Recognizer().recognize(np.zeros((100, 100, 3), np.uint8)) == []
    assert classifier.batches == []


def test_recognizer_refuses_what_is_no_frame(classifier):
    recognizer = Recognizer()
    with pytest.raises(TypeError, match="float64"):
        recognizer.recognize(np.zeros((10, 10, 3)))
    with pytest.raises(ValueError, match=r"\(10, 10, 4\)"):
        recognizer.recognize(np.zeros((10, 10, 4), np.uint8))
