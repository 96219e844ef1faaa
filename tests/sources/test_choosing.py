"""Frames that are not wanted: passed over, and where that saves time before they are decoded."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from sources.pictures import grey, write_film

from fer_edge.sources import mjpeg, open_source
from fer_edge.sources.base import Frame, Source
from fer_edge.sources.demo import DemoSource
from fer_edge.sources.opencv_capture import Capture, live_frames
from fer_edge.sources.raw import RawFormat, RawSource


class Counted(Source):
    """Ten frames, the k-th filled with k."""

    name = "counted"

    def __iter__(self):
        for index in range(10):
            yield Frame(np.full((4, 4), index, np.uint8), index / 10, self.name)


def third(source):
    """Let ``source`` give every third frame; returns the times that it asks for."""
    asked = []

    def wanted(timestamp):
        asked.append(timestamp)
        return len(asked) % 3 == 1

    source.chooser = wanted
    return asked


def levels(source):
    return [round(float(frame.image.mean())) for frame in source.chosen()]


@pytest.fixture
def retrieved(monkeypatch):
    """Counts the frames that OpenCV's captures decode."""
    counted = []
    retrieve = Capture.retrieve
    monkeypatch.setattr(Capture, "retrieve", lambda self: counted.append(1) or retrieve(self))
    return counted


def test_any_source_gives_only_wanted_frames():
    source = Counted()
    assert levels(source) == list(range(10))
    assert third(source) == []
    assert levels(source) == [0, 3, 6, 9]


def test_a_film_decodes_only_wanted_frames_and_asks_by_their_times(tmp_path, retrieved):
    path = write_film(tmp_path / "a.avi", (grey(level, (64, 48)) for level in range(20, 220, 20)))
    with open_source(path) as source:
        asked = third(source)
        frames = list(source.chosen())
    assert [round(float(frame.image.mean())) for frame in frames] == pytest.approx([20, 80, 140, 200], abs=3)
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.3, 0.6, 0.9])
    assert asked == pytest.approx([k / 10 for k in range(10)])
    assert len(retrieved) == 4
    assert source.missing == 0


def test_a_camera_decodes_only_wanted_frames(retrieved):
    class Device:
        left = 10

        def grab(self):
            self.left -= 1
            return self.left >= 0

        def retrieve(self):
            return True, np.full((4, 4), 9 - self.left, np.uint8)

    source = Counted()
    asked = third(source)
    frames = list(live_frames(Capture(Device()), source, gone=lambda: True))
    assert [int(frame.image[0, 0]) for frame in frames] == [0, 3, 6, 9]
    assert len(asked) == 10
    assert len(retrieved) == 4


def test_raw_mjpeg_decodes_only_wanted_pictures(monkeypatch):
    decoded = []
    decode = mjpeg.decode
    monkeypatch.setattr(mjpeg, "decode", lambda *given: decoded.append(1) or decode(*given))
    parts = [cv2.imencode(".jpg", np.full((16, 16), 20 * k, np.uint8))[1].tobytes() for k in range(10)]
    source = mjpeg.MjpegSource(iter(parts), "pipe", 1000, io.BytesIO())
    third(source)
    assert levels(source) == pytest.approx([0, 60, 120, 180], abs=2)
    assert len(decoded) == 4


def test_the_demo_camera_draws_only_wanted_frames(monkeypatch):
    pytest.importorskip("skimage")
    source = DemoSource((64, 48), paced=False)
    drawn = []
    draw = source._frame
    monkeypatch.setattr(source, "_frame", lambda index: drawn.append(index) or draw(index))
    third(source)
    times = [frame.timestamp for frame in itertools.islice(source.chosen(), 4)]
    assert times == pytest.approx([0, 0.1, 0.2, 0.3])
    assert drawn == [0, 3, 6, 9]


def test_raw_frames_are_read_but_not_converted_unless_wanted(monkeypatch):
    converted = []
    picture = RawSource._picture
    monkeypatch.setattr(
        RawSource, "_picture", lambda self, content: converted.append(1) or picture(self, content)
    )
    content = b"".join(bytes([k] * 12) for k in range(10))
    source = RawSource(io.BytesIO(content), "pipe", RawFormat("bgr24", 2, 2), colour=True)
    third(source)
    assert levels(source) == [0, 3, 6, 9]
    assert len(converted) == 4
