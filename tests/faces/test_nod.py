"""Pitch from the picture: on a face that is laid on a head's shape and nods by known angles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fer_edge.faces.detector import FaceDetector
from fer_edge.faces.faces import Faces
from fer_edge.faces.nod import pitches, with_pitch
from fer_edge.faces.quality import directions

CENTRE = 200.0
SCALE = 60 / 63
"""Pixels of a millimetre: eyes are 63 mm apart."""


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


def nodding(image, landmarks, pitch):
    """A picture (400, 400, 3) of the face, bent over an ellipsoid and nodding upwards by ``pitch`` degrees.

    Each pixel is looked up where the ray through it, from far away, meets the ellipsoid.
    """
    right, left = landmarks[:2].astype(float)
    unit, middle = (left - right) / np.hypot(*(left - right)), (left + right) / 2
    size = np.hypot(*(left - right)) / 63
    x, y = (np.indices((400, 400))[::-1] - CENTRE) / SCALE
    c, s = np.cos(np.radians(pitch)), np.sin(np.radians(pitch))
    # On the ray (x, y, z) -> in the head (x, c*y + s*z, -s*y + c*z), which solves a quadratic equation for z.
    a, b = (s / 110) ** 2 + (c / 95) ** 2, c * s * y * (1 / 110**2 - 1 / 95**2)
    rest = (x / 75) ** 2 + (c * y / 110) ** 2 + (s * y / 95) ** 2 - 1
    z = (-b + np.sqrt(np.maximum(b * b - a * rest, 0))) / a
    down = c * y + s * z
    places = middle + size * (x[..., None] * unit + down[..., None] * np.array([-unit[1], unit[0]]))
    made = cv2.remap(
        image,
        places.astype(np.float32),
        None,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    made[b * b < a * rest] = np.median(image.reshape(-1, 3), axis=0)
    return made


@pytest.fixture(scope="module")
def nods(astronaut, detector):
    """By pitch: the picture and what the detector finds in it."""
    landmarks = detector.detect_in_picture(astronaut).landmarks[0]
    pictures = {pitch: nodding(astronaut, landmarks, pitch) for pitch in (-40, -30, -15, 0, 15, 30)}
    return {pitch: (image, detector.detect_in_picture(image)) for pitch, image in pictures.items()}


def test_a_nod_is_followed_where_landmarks_follow_by_a_third(nods):
    found = {pitch: with_pitch(*nod).pitch[0] for pitch, nod in nods.items()}
    by_landmarks = {pitch: directions(nod[1].landmarks)[0, 1] for pitch, nod in nods.items()}
    assert list(found.values()) == sorted(found.values())
    assert found[0] - found[-30] > 20
    assert found[30] - found[0] > 12
    assert by_landmarks[0] - by_landmarks[-30] < 20


def test_a_face_and_its_mirror_image_have_one_pitch(nods):
    for image, faces in nods.values():
        mirrored = faces.landmarks[:, [1, 0, 2, 4, 3]] * [-1, 1] + [image.shape[1], 0]
        flipped = pitches(np.ascontiguousarray(image[:, ::-1]), mirrored)
        np.testing.assert_allclose(flipped, pitches(image, faces.landmarks), atol=1.0)


def test_light_size_and_tilt_hardly_matter(nods):
    for image, faces in nods.values():
        level = pitches(image, faces.landmarks)
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        np.testing.assert_allclose(pitches(grey, faces.landmarks), level, atol=0.1)
        np.testing.assert_allclose(pitches(image // 2 + 60, faces.landmarks), level, atol=2)
        half = cv2.resize(image, (200, 200), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(pitches(half, faces.landmarks / 2), level, atol=4)
        turn = cv2.getRotationMatrix2D((CENTRE, CENTRE), 20, 1)
        tilted = cv2.warpAffine(image, turn, (400, 400), borderMode=cv2.BORDER_REPLICATE)
        points = faces.landmarks @ turn[:, :2].T + turn[:, 2]
        np.testing.assert_allclose(pitches(tilted, points), level, atol=4)


def test_each_face_is_measured_by_itself(nods):
    (up, above), (down, below) = nods[15], nods[-30]
    both = np.concatenate([up, down], axis=1)
    points = np.concatenate([above.landmarks[:1], below.landmarks[:1] + np.float32([400, 0])])
    alone = [pitches(up, above.landmarks[:1])[0], pitches(down, below.landmarks[:1])[0]]
    np.testing.assert_allclose(pitches(both, points), alone, atol=0.2)


@pytest.mark.parametrize(
    "points",
    [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), np.inf)],
    ids=["a point", "nan", "inf"],
)
def test_landmarks_of_no_face_have_no_pitch(nods, points):
    image, faces = nods[0]
    found = pitches(image, np.stack([points, faces.landmarks[0]]))
    assert np.isnan(found).tolist() == [True, False]


def test_where_the_picture_shows_nothing_there_is_no_pitch(nods):
    _, faces = nods[0]
    assert np.isnan(pitches(np.full((400, 400), 90, np.uint8), faces.landmarks)).all()
    empty = Faces(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
    assert with_pitch(np.zeros((4, 4), np.uint8), empty).pitch.shape == (0,)
