"""Sources of frames, with files written here, a server of our own, and a stand-in for picamera2."""

from __future__ import annotations

import http.server
import itertools
import os
import socket
import struct
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from sources.pictures import grey, write_film

from fer_edge.errors import MissingExtraError, SourceError, SourceLostError
from fer_edge.sources import SourceOptions, cameras, open_any, open_camera, open_source, place_name, v4l2
from fer_edge.sources.demo import DemoSource
from fer_edge.sources.images import read_image
from fer_edge.sources.picamera import PiCameraSource
from fer_edge.sources.stream import StreamSource
from fer_edge.sources.v4l2 import CameraSource
from fer_edge.sources.video import VideoSource


def take(source, count):
    return list(itertools.islice(source, count))


def write_video(path, levels, codec="MJPG", fps=10.0, size=(64, 48)):
    """A video whose frame k is one level of grey."""
    return write_film(path, (grey(level, size) for level in levels), codec, fps)


# Files


def test_image_is_one_unrelated_frame(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), picture)
    with open_source(path) as source:
        (frame,) = source
        assert (source.live, source.related) == (False, False)
    assert np.array_equal(frame.image, picture)
    assert frame.name == str(path)


def test_grey_image_becomes_bgr(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4), 77, np.uint8))
    assert np.array_equal(read_image(tmp_path / "a.png"), np.full((4, 4, 3), 77, np.uint8))


def test_image_is_known_by_its_content(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 77, np.uint8))
    (tmp_path / "a.png").rename(tmp_path / "photo")
    assert len(list(open_source(tmp_path / "photo"))) == 1


def test_folder_gives_its_images_by_name_and_skips_bad_ones(tmp_path, caplog):
    for level, name in ((30, "c.png"), (10, "a.png"), (20, "B.PNG")):
        (tmp_path / name).write_bytes(cv2.imencode(".png", np.full((4, 4, 3), level, np.uint8))[1].tobytes())
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    (tmp_path / "folder.png").mkdir()
    source = open_source(tmp_path)
    assert [int(frame.image[0, 0, 0]) for frame in source] == [20, 10, 30]
    assert source.skipped == 1
    assert "b.jpg" in caplog.text


def test_folder_of_bad_images_is_an_error(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(SourceError, match="none of the 2 images"):
        list(open_source(tmp_path))


def test_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no image in this folder"):
        open_source(tmp_path)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.mkv", "mp4v")])
def test_video_gives_each_frame_once_in_order(tmp_path, name, codec):
    levels = list(range(20, 220, 10))
    with open_source(write_video(tmp_path / name, levels, codec)) as source:
        frames = list(source)
        assert (source.live, source.related) == (False, True)
        assert source.fps == pytest.approx(10)
    assert [frame.image.mean() for frame in frames] == pytest.approx(levels, abs=4)
    assert [frame.timestamp for frame in frames] == pytest.approx([0.1 * k for k in range(20)])


def test_frames_of_a_film_with_a_varying_rate_have_their_own_times(tmp_path):
    """As a telephone films: here eight frames come every 0.05 s, then four every 0.2 s."""
    path = write_video(tmp_path / "phone.mp4", range(0, 240, 20), codec="mp4v")
    film = bytearray(path.read_bytes())
    table = film.index(b"stts")
    assert struct.unpack_from(">III", film, table + 8)[:2] == (1, 12)
    (tenth,) = struct.unpack_from(">I", film, table + 16)
    film[table + 8 : table + 20] = struct.pack(">IIIII", 2, 8, tenth // 2, 4, 2 * tenth)
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        (size,) = struct.unpack_from(">I", film, film.index(box) - 4)
        struct.pack_into(">I", film, film.index(box) - 4, size + 8)
    path.write_bytes(film)
    with open_source(path) as source:
        times = [frame.timestamp for frame in source]
    assert times == pytest.approx([*(0.05 * k for k in range(8)), 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    ("name", "words"),
    [("a.jpg", "no picture or frame"), ("a.mp4", "neither an image nor a video"), ("a", "neither")],
)
def test_file_that_is_no_picture_is_an_error(tmp_path, name, words):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(SourceError, match=words):
        list(open_source(tmp_path / name))


def test_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match=r"party\.jpg: No such file"):
        open_source(tmp_path / "party.jpg")


def test_video_cut_short_gives_what_can_be_decoded(tmp_path):
    path = write_video(tmp_path / "a.avi", range(20, 220, 10), size=(640, 480))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert 0 < len(list(VideoSource(path))) < 20


# Demo camera


@pytest.mark.parametrize("command", ["run", "predict"])
def test_a_name_that_is_too_long_is_bad_input(cli, command):
    code, _, err = cli(command, "x" * 300)
    assert code == 2
    assert f"{'x' * 300}: File name too long" in err


def test_demo_frames_are_the_same_on_every_run():
    pytest.importorskip("skimage")
    first, again = (take(DemoSource(paced=False), 40) for _ in range(2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert first[0].image.shape == (480, 640, 3)
    assert not np.array_equal(first[0].image, first[1].image)
    assert [frame.timestamp for frame in first[:3]] == pytest.approx([0, 1 / 30, 2 / 30])


def test_demo_face_stays_in_view():
    pytest.importorskip("skimage")
    from fer_edge.faces.detector import FaceDetector

    detector = FaceDetector()
    for frame in itertools.islice(DemoSource(paced=False), 0, 900, 60):
        ((x, y, width, height),) = detector.detect(frame.image).boxes
        assert x > 0
        assert y > 0
        assert x + width < 640
        assert y + height < 480


def test_paced_demo_is_live_and_keeps_to_30_a_second():
    pytest.importorskip("skimage")
    source = DemoSource()
    assert source.live
    began = time.monotonic()
    frames = take(source, 10)
    assert time.monotonic() - began >= 9 / 30 - 0.01
    assert frames[-1].timestamp >= 9 / 30


def test_demo_without_its_photo_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match=r"scikit-image.*fer-edge\[demo\]"):
        open_camera("demo")


# Cameras


def test_the_name_of_a_source_is_known_before_it_is_open(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    write_film("film.avi", [grey(90)] * 3)
    for spec, name in (("demo", "demo camera"), ("./film.avi", "film.avi")):
        assert place_name(spec) == name
        with open_any(spec) as source:
            assert source.name == name


def test_missing_camera_is_an_error_that_lists_those_there_are(monkeypatch):
    monkeypatch.setattr(cameras, "list_cameras", lambda: [cameras.Camera(2, "UVC Camera", "uvcvideo", True)])
    with pytest.raises(SourceError, match=r"/dev/video97.*2 \(UVC Camera\)"):
        open_camera("97")


def test_camera_name_must_be_known():
    with pytest.raises(SourceError, match="picamera2 or demo"):
        open_camera("webcam")


class FakeCapture:
    """``cv2.VideoCapture`` of a camera that gives some frames and then none."""

    def __init__(self, index, backend):
        assert (index, backend) == (0, cv2.CAP_V4L2)
        self.settings = {}
        self.frames = 3
        self.released = False

    def isOpened(self):
        return True

    def set(self, key, value):
        self.settings[key] = value
        return True

    def get(self, key):
        return 30.0 if key == cv2.CAP_PROP_FPS else 0.0

    def grab(self):
        self.frames -= 1
        return self.frames >= 0

    def retrieve(self):
        return True, np.full((48, 64, 3), 9, np.uint8)

    def release(self):
        self.released = True


@pytest.fixture
def device(monkeypatch, tmp_path):
    """A file in place of /dev/video0, and a capture in place of OpenCV's."""
    node = tmp_path / "video0"
    node.touch()
    monkeypatch.setattr(v4l2, "DEV", tmp_path)
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    return node


def test_camera_is_asked_for_small_compressed_pictures(device):
    source = CameraSource(0)
    settings = source._capture._capture.settings
    assert source.live
    assert settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert (settings[cv2.CAP_PROP_FRAME_WIDTH], settings[cv2.CAP_PROP_FRAME_HEIGHT]) == (640, 480)
    # The pixel format is chosen before the size, or the driver clips the size to the old format's.
    assert next(iter(settings)) == cv2.CAP_PROP_FOURCC


def test_driver_has_a_buffer_to_fill_while_a_picture_is_decoded(device):
    with CameraSource(0) as source:
        assert source._capture._capture.settings[cv2.CAP_PROP_BUFFERSIZE] == 2


def test_unplugged_camera_is_a_lost_source(device):
    with CameraSource(0) as source:
        frames = iter(source)
        assert len([next(frames) for _ in range(3)]) == 3
        device.unlink()
        with pytest.raises(SourceLostError, match="unplugged"):
            next(frames)


def test_camera_that_goes_silent_is_a_lost_source(device):
    with CameraSource(0) as source, pytest.raises(SourceLostError, match="no more frames"):
        list(source)


def test_a_picture_whose_header_is_damaged_does_not_end_a_camera(device, monkeypatch):
    """The driver's buffers are decoded as pictures are; this one claims 65500x65500 pixels."""
    good = cv2.imencode(".jpg", np.full((48, 64, 3), 9, np.uint8))[1].tobytes()
    size = good.index(b"\xff\xc0") + 5
    buffers = iter([good, good[:size] + b"\xff\xdc\xff\xdc" + good[size + 4 :], good])

    def retrieve(self):
        image = cv2.imdecode(np.frombuffer(next(buffers), np.uint8), cv2.IMREAD_COLOR)
        return image is not None, image

    monkeypatch.setattr(FakeCapture, "retrieve", retrieve)
    frames = []
    with CameraSource(0) as source, pytest.raises(SourceLostError, match="no more frames"):
        for frame in source:
            frames.append(frame)
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 2


def test_a_lack_of_memory_for_a_picture_ends_a_camera(device, monkeypatch):
    def retrieve(self):
        error = cv2.error("Failed to allocate 12869550000 bytes")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(FakeCapture, "retrieve", retrieve)
    with CameraSource(0) as source, pytest.raises(cv2.error, match="Failed to allocate"):
        list(source)


def test_busy_camera_names_who_has_it(device, monkeypatch):
    monkeypatch.setattr(FakeCapture, "isOpened", lambda self: False)
    # "sleep" inherits the device as an open file, as a program that uses the camera would have it.
    handle = os.open(device, os.O_RDONLY)
    pid = os.posix_spawn(
        "/bin/sleep", ["sleep", "30"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, handle, 7)]
    )
    try:
        os.close(handle)
        # An emulator takes the name of what it runs only some time after the start.
        deadline = time.monotonic() + 20
        while Path(f"/proc/{pid}/comm").read_text() != "sleep\n" and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(SourceError, match=rf"busy, in use by sleep \(process {pid}\)"):
            CameraSource(0)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_forbidden_camera_says_how_to_be_allowed(device, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SourceError, match=r"no permission.*-aG video"):
        CameraSource(0)


# picamera2


class FakePicamera2:
    """The calls of picamera2 that are used, with rows of 64 bytes for a picture 48 wide."""

    size, stride = (48, 32), 64
    fail = ""
    instances: list[FakePicamera2] = []  # noqa: RUF012

    def __init__(self):
        if self.fail == "init":
            raise IndexError("list index out of range")
        self.calls = []
        FakePicamera2.instances.append(self)

    def create_video_configuration(self, main, lores):
        assert lores["format"] == "YUV420"
        assert main["size"] >= lores["size"]
        return {"main": main, "lores": lores}

    def configure(self, configuration):
        self.calls.append("configure")
        self.configuration = configuration

    def stream_configuration(self, name):
        assert name == "lores"
        return {"format": "YUV420", "size": self.size, "stride": self.stride}

    def start(self):
        if self.fail == "start":
            raise RuntimeError("Failed to acquire camera")
        self.calls.append("start")

    def capture_array(self, name):
        assert name == "lores"
        if self.fail == "capture":
            raise RuntimeError("Camera stopped")
        width, height = self.size
        planes = np.full((height * 3 // 2, self.stride), 255, np.uint8)  # padding is white
        planes[:height, :width] = np.arange(height)[:, None] + np.arange(width)
        chroma = planes[height:].reshape(2, height // 2, self.stride // 2)
        chroma[:, :, : width // 2] = np.array([128, 129])[:, np.newaxis, np.newaxis]
        return planes

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


@pytest.fixture
def picamera2(monkeypatch):
    module = types.ModuleType("picamera2")
    module.Picamera2 = FakePicamera2
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(FakePicamera2, "fail", "")
    monkeypatch.setattr(FakePicamera2, "instances", [])
    return FakePicamera2


def test_picamera2_gives_the_y_plane_without_its_padding(picamera2):
    with open_camera("picamera2") as source:
        (frame,) = take(source, 1)
    assert source.live
    assert frame.image.shape == (32, 48)
    assert frame.image.strides == (64, 1)  # no copy
    assert frame.image[31, 47] == 31 + 47
    assert frame.image.max() == 31 + 47
    assert [plane.shape for plane in frame.chroma] == [(16, 24), (16, 24)]
    assert all(plane.strides == (32, 1) for plane in frame.chroma)
    assert [np.unique(plane).tolist() for plane in frame.chroma] == [[128], [129]]
    assert picamera2.instances[0].calls == ["configure", "start", "stop", "close"]


def test_picamera2_in_colour_is_the_same_picture(picamera2):
    with open_camera("picamera2", SourceOptions(colour=True)) as source:
        (frame,) = take(source, 1)
    assert frame.image.shape == (32, 48, 3)
    assert frame.chroma is None
    # Neutral chroma: all three channels are equal, from limited-range luma as OpenCV converts it.
    assert np.ptp(frame.image.astype(int), axis=2).max() <= 3
    assert frame.image[31, 47, 0] == pytest.approx((78 - 16) * 255 / 219, abs=2)


@pytest.mark.parametrize(("fail", "words"), [("init", "ribbon cable"), ("start", "does not start.*acquire")])
def test_picamera2_that_does_not_open_is_an_error(picamera2, monkeypatch, fail, words):
    monkeypatch.setattr(picamera2, "fail", fail)
    with pytest.raises(SourceError, match=words):
        PiCameraSource()
    assert all(camera.calls[-1] == "close" for camera in picamera2.instances)


@pytest.mark.parametrize("failing", ["cancel_all_and_flush", "stop"])
def test_picamera2_is_closed_whatever_fails_before(picamera2, monkeypatch, failing):
    """As of a camera that is gone; held, it could not be opened again."""

    def fail(self):
        raise RuntimeError("Failed to stop camera: No such device")

    monkeypatch.setattr(picamera2, failing, fail, raising=False)
    source = open_camera("picamera2")
    with pytest.raises(RuntimeError, match="No such device"):
        source.close()
    assert picamera2.instances[0].calls[-1] == "close"


def test_picamera2_that_stops_is_a_lost_source(picamera2, monkeypatch):
    with PiCameraSource() as source:
        monkeypatch.setattr(picamera2, "fail", "capture")
        with pytest.raises(SourceLostError, match="stopped"):
            take(source, 1)


def test_missing_picamera2_names_the_apt_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(SourceError, match="apt install python3-picamera2"):
        open_camera("picamera2")


# Network streams


class _Handler(http.server.BaseHTTPRequestHandler):
    """MJPEG over HTTP as cheap cameras speak it; ``/short`` ends after five pictures, ``/stall`` waits."""

    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for index in itertools.count():
                if index >= 5 and self.path == "/short":
                    return
                if index >= 5 and self.path == "/stall":
                    self.server.stopping.wait(20)
                    return
                jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 40, np.uint8))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                if self.server.stopping.wait(0.02):
                    return
        except (BrokenPipeError, ConnectionResetError):
            return

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.stopping = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.stopping.set()
        server.shutdown()
        thread.join()


def test_http_stream_gives_frames_and_hides_its_password(server):
    with open_source(f"http://user:secret@{server}/video") as source:
        frames = take(source, 3)
        assert source.live
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.mean() == pytest.approx(40, abs=2)
    assert frames[0].name == f"http://{server}/video"


def test_stream_that_ends_is_a_lost_source(server):
    with open_source(f"http://{server}/short") as source, pytest.raises(SourceLostError, match="stopped"):
        take(source, 100)


def test_stream_that_stalls_is_a_lost_source(server):
    began = time.monotonic()
    with (
        StreamSource(f"http://{server}/stall", read_timeout=1.0) as source,
        pytest.raises(SourceLostError, match="stopped"),
    ):
        take(source, 100)
    assert time.monotonic() - began < 10


def test_stream_that_is_not_there_is_an_error(server):
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(f"http://{server}/missing")
    with pytest.raises(SourceError, match="cannot be opened: refused"):
        open_source("rtsp://127.0.0.1:9/x")


def test_stream_that_does_not_answer_is_an_error_after_the_timeout():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(SourceError, match="no answer within 1 s"):
            StreamSource(f"http://127.0.0.1:{silent.getsockname()[1]}/x", open_timeout=1.0)
        assert time.monotonic() - began < 8
