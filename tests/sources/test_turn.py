"""Pictures turned and mirrored, and the hint that they should be."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from sources.pictures import write_film

from fer_edge.sources import SourceOptions, open_camera
from fer_edge.sources.base import Frame, Source
from fer_edge.sources.turn import Turn

PICTURE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("colour", [False, True])
def test_pictures_are_turned_clockwise_and_then_mirrored(degrees, mirror, colour):
    # Rows of a grey picture may be further apart than it is wide.
    picture = PICTURE if colour else np.ascontiguousarray(PICTURE[:, :, 0])[:, :3]
    expected = np.rot90(picture, -degrees // 90)
    expected = expected[:, ::-1] if mirror else expected
    assert np.array_equal(Turn(degrees, mirror).apply(picture), expected)


@pytest.mark.parametrize("degrees", [45, 360, -90])
def test_other_angles_are_refused(degrees):
    with pytest.raises(ValueError, match="0, 90, 180 or 270 degrees"):
        Turn(degrees)


class Marked(Source):
    """Frames with one white corner."""

    name = "marked"
    related = False

    def __iter__(self):
        for _ in range(2):
            image = np.zeros((6, 8, 3), np.uint8)
            image[0, 0] = 255
            yield Frame(image, 0.0, self.name)


@pytest.mark.parametrize(
    ("options", "corner"),
    [
        ({"rotate": 90}, (0, -1)),
        ({"rotate": 180}, (-1, -1)),
        ({"rotate": 270}, (-1, 0)),
        ({"mirror": True}, (0, -1)),
        ({"rotate": 180, "mirror": True}, (-1, 0)),
    ],
)
def test_watch_turns_the_frames_of_any_source(options, corner):
    import fer_edge

    with fer_edge.watch(Marked(), **options) as results:
        images = [result.image for result in results]
    assert all(image[corner].tolist() == [255] * 3 and image.sum() == 765 for image in images)
    assert images[0].shape == ((8, 6, 3) if options.get("rotate") in (90, 270) else (6, 8, 3))


@pytest.mark.parametrize("options", [{"rotate": 90}, {"rotate": 180}, {"rotate": 270, "mirror": True}])
@pytest.mark.parametrize("pixels", ["yuv420p", "nv12"])
def test_colour_turns_with_its_image(tmp_path, astronaut, monkeypatch, options, pixels):
    import fer_edge
    from fer_edge.faces.detector import FaceDetector

    planes = cv2.cvtColor(astronaut, cv2.COLOR_BGR2YUV_I420)
    if pixels == "nv12":
        planes[512:] = planes[512:].reshape(2, -1).T.reshape(256, 512)
    (tmp_path / "a.raw").write_bytes(planes.tobytes())
    taken = []
    detect = FaceDetector.detect

    def noted(self, frame, size=320, chroma=None):
        taken.append((frame, chroma))
        return detect(self, frame, size, chroma)

    monkeypatch.setattr(FaceDetector, "detect", noted)
    with fer_edge.watch(tmp_path / "a.raw", raw=f"{pixels}:512x512", **options) as results:
        next(results)
    grey, (u, v) = taken[0]
    joined = np.concatenate([grey.ravel(), u.ravel(), v.ravel()]).reshape(768, 512)
    expected = Turn(options["rotate"], options.get("mirror", False)).apply(astronaut)
    differences = cv2.cvtColor(joined, cv2.COLOR_YUV2BGR_I420).astype(int) - expected
    assert np.abs(differences).mean() < 3


def test_watch_refuses_other_angles():
    import fer_edge

    with pytest.raises(ValueError, match="degrees"):
        fer_edge.watch(Marked(), rotate=30)


class Camera:
    """picamera2 that remembers how it was set up."""

    instances: list[Camera] = []  # noqa: RUF012

    def __init__(self):
        Camera.instances.append(self)

    def create_video_configuration(self, **options):
        self.options = options
        return options

    def configure(self, configuration):
        pass

    def stream_configuration(self, name):
        return {"size": (8, 4)}

    def start(self):
        pass

    def capture_array(self, name):
        return np.arange(48, dtype=np.uint8).reshape(6, 8)

    def stop(self):
        pass

    def close(self):
        pass


@pytest.mark.parametrize(
    ("turn", "transform"),
    [
        (Turn(180), {"hflip": True, "vflip": True}),
        (Turn(0, True), {"hflip": True, "vflip": False}),
        (Turn(180, True), {"hflip": False, "vflip": True}),
        (Turn(90), None),
        (Turn(270, True), None),
        (Turn(), None),
    ],
)
def test_the_pi_camera_turns_by_itself_what_it_can(monkeypatch, turn, transform):
    monkeypatch.setitem(sys.modules, "picamera2", types.SimpleNamespace(Picamera2=Camera))
    monkeypatch.setitem(sys.modules, "libcamera", types.SimpleNamespace(Transform=dict))
    with open_camera("picamera2", SourceOptions(turn=turn)) as source:
        assert Camera.instances[-1].options.get("transform") == transform
        assert source.turned == (turn if transform else Turn())


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_one_option_and_the_hint_set_a_turned_photo_right(cli, tmp_path, astronaut, degrees):
    turned = Turn(360 - degrees).apply(astronaut)
    cv2.imwrite(str(tmp_path / "a.png"), turned)
    code, out, err = cli("predict", tmp_path / "a.png")
    assert f"--rotate {degrees} sets it right" in err
    code, out, err = cli("predict", tmp_path / "a.png", "--rotate", degrees)
    assert (code, err) == (0, "")
    assert "1 face: 10 of 10 would say happy" in out
    code, out, err = cli("run", tmp_path / "a.png", "--rotate", degrees)
    assert (code, err) == (0, "")
    assert "1 face: 10 of 10 would say happy" in out


def test_the_hint_counts_on_from_what_is_turned_already(cli, tmp_path, astronaut):
    cv2.imwrite(str(tmp_path / "a.png"), astronaut)
    assert "--rotate 0 sets it right" in cli("run", tmp_path / "a.png", "--rotate", 180)[2]
    for command in ("run", "predict"):
        code, out, err = cli(command, tmp_path / "a.png", "--rotate", 180, "--rotate", 0)
        assert (code, err) == (0, "")
        assert "1 face: 10 of 10 would say happy" in out
    assert "sets it right" not in cli("run", tmp_path / "a.png")[2]
    assert "sets it right" not in cli("run", tmp_path / "a.png", "--mirror")[2]


def test_a_film_that_is_upside_down_is_told_once(cli, tmp_path, astronaut):
    write_film(tmp_path / "a.avi", 60 * [cv2.resize(cv2.rotate(astronaut, cv2.ROTATE_180), (320, 320))])
    err = cli("run", tmp_path / "a.avi")[2]
    assert err.count("--rotate 180 sets it right") == 1
