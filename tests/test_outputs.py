"""What outputs write, and when they refuse to."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fer_edge.errors import DataError, FerEdgeError, OutputError
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.base import OutputClosed
from fer_edge.outputs.console import ConsoleOutput, describe_faces
from fer_edge.outputs.jsonl import JsonLinesOutput
from fer_edge.pipeline.result import Face, FrameResult


def face(emotion="happy", probability=0.93, track=1, box=(10.04, 20.06, 30.0, 40.0)):
    probabilities = np.full(7, (1 - probability) / 6, np.float32)
    probabilities[EMOTIONS.index(emotion)] = probability
    landmarks = np.arange(10, dtype=np.float32).reshape(5, 2)
    return Face(box, 0.87654321, landmarks, probabilities, track)


def result(*faces, index=0, timestamp=0.0, name="camera 0", image=None):
    picture = np.full((120, 160, 3), 60, np.uint8) if image is None else image
    return FrameResult(index, timestamp, name, picture, faces, latency_ms=12.3456)


# JSON lines


def test_json_line_holds_the_frame_and_its_faces(capsys):
    output = JsonLinesOutput("-")
    output.write(result(face(), index=31, timestamp=0.98))
    output.close()
    (line,) = capsys.readouterr().out.splitlines()
    written = json.loads(line)
    assert written.pop("time").endswith("Z")
    assert written == {
        "frame": 31,
        "timestamp": 0.98,
        "source": "camera 0",
        "size": [160, 120],
        "latency_ms": 12.35,
        "faces": [
            {
                "track": 1,
                "box": [10.0, 20.1, 30.0, 40.0],
                "score": 0.8765,
                "landmarks": [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]],
                "emotion": "happy",
                "probabilities": {
                    name: 0.93 if name == "happy" else pytest.approx(0.07 / 6, abs=5e-5) for name in EMOTIONS
                },
            }
        ],
    }


def test_json_file_can_be_read_while_it_grows(tmp_path):
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path)
    for index in range(3):
        output.write(result(index=index))
        assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == list(range(index + 1))
    output.close()


def test_json_file_with_content_is_refused_appended_or_overwritten(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"frame":7}\n')
    with pytest.raises(DataError, match=r"log\.jsonl: has content.*--append.*--force"):
        JsonLinesOutput(path)
    for mode, frames in (("append", [7, 0]), ("overwrite", [0])):
        output = JsonLinesOutput(path, mode)
        output.write(result())
        output.close()
        assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == frames


def test_a_log_that_is_moved_away_is_begun_anew(tmp_path, monkeypatch):
    """As logrotate does, while the run goes on."""
    now = [100.0]
    monkeypatch.setattr("fer_edge.outputs.jsonl.time.monotonic", lambda: now[0])
    path = tmp_path / "log.jsonl"
    output = JsonLinesOutput(path)
    output.write(result(index=0))
    path.rename(tmp_path / "log.1")
    output.write(result(index=1))
    now[0] += 1.5
    output.write(result(index=2))
    kept = path.read_text()
    path.unlink()
    now[0] += 1.5
    output.write(result(index=3))
    output.close()
    frames = [
        [json.loads(line)["frame"] for line in text.splitlines()]
        for text in ((tmp_path / "log.1").read_text(), kept, path.read_text())
    ]
    assert frames == [[0, 1], [2], [3]]


def test_json_file_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        JsonLinesOutput(tmp_path / "missing" / "log.jsonl")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_full_disk_is_an_error_that_names_the_file():
    output = JsonLinesOutput("/dev/full", "append")
    with pytest.raises(FerEdgeError, match="/dev/full: cannot be written: No space"):
        output.write(result())
    output.close()


def test_reader_that_leaves_ends_the_run_without_noise():
    program = (
        "from test_outputs import *\n"
        "output = JsonLinesOutput('-')\n"
        "try:\n"
        "    for index in range(100_000): output.write(result(index=index))\n"
        "except OutputClosed: sys.exit(7)\n"
    )
    here = os.path.dirname(__file__)  # noqa: PTH120
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=here
    ) as process:
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 7


# Terminal


def lines(output_arguments, results):
    stream = io.StringIO()
    output = ConsoleOutput(stream=stream, **output_arguments)
    for one in results:
        output.write(one)
    return stream.getvalue().splitlines()


def test_terminal_line_in_words():
    assert lines({}, [result(face(), index=31, timestamp=0.98)]) == [
        "frame 31  0.98 s  1 face: #1 happy 93 %"
    ]
    assert describe_faces(()) == "no face"
    assert describe_faces((face("sad", 0.5, track=4), face(track=2))) == "2 faces: #2 happy 93 %, #4 sad 50 %"


def test_terminal_tells_changes_at_once_and_the_rest_every_second():
    results = [result(face(probability=0.9), index=k, timestamp=k / 10) for k in range(25)]
    results[13] = result(face("sad"), index=13, timestamp=1.3)
    assert [int(line.split()[1]) for line in lines({}, results)] == [0, 10, 13, 14, 24]


def test_terminal_gives_a_line_to_every_image():
    results = [result(face(track=None), name="a.jpg"), result(face(track=None), name="b.jpg")]
    assert lines({"every_frame": True}, results) == ["a.jpg  1 face: happy 93 %", "b.jpg  1 face: happy 93 %"]


# Pictures

cv2 = pytest.importorskip("cv2")

from fer_edge.outputs.draw import COLOURS, annotate
from fer_edge.outputs.image import ImageOutput
from fer_edge.outputs.video import VideoOutput
from fer_edge.outputs.window import WindowOutput


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
    one = Face((100.0, 100.0, 100.0, 120.0), 0.9, np.zeros((5, 2), np.float32), probabilities)
    beside = annotate(image, [one])[:, 205:]
    longest = {
        name: int((beside == COLOURS[name]).all(axis=2).sum(axis=1).max())
        for name in ("angry", "fear", "disgust")
    }
    assert longest["angry"] == pytest.approx(2 * longest["fear"], abs=2)
    assert longest["disgust"] == 0


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


def count_frames(path):
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.read()[0]:
        count += 1
    return count, capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_of_a_recording_has_every_frame_once(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    output = VideoOutput(path, fps=12.0)
    for index in range(9):
        output.write(result(face(), index=index))
        assert not path.exists()
    output.close()
    assert count_frames(path) == (9, pytest.approx(12))
    assert list(tmp_path.iterdir()) == [path]


def test_video_of_a_live_source_keeps_real_time(tmp_path):
    output = VideoOutput(tmp_path / "out.avi")
    # 2 s at 60 a second, then one frame after a gap of a second.
    for index in range(121):
        output.write(result(index=index, timestamp=5 + index / 60))
    output.write(result(index=121, timestamp=8.0))
    output.close()
    frames, fps = count_frames(tmp_path / "out.avi")
    assert fps == pytest.approx(15)
    assert frames == pytest.approx(3 * 15, abs=2)


def test_video_scales_frames_of_another_size(tmp_path):
    output = VideoOutput(tmp_path / "out.avi", fps=10)
    for shape in ((480, 640, 3), (600, 800, 3)):
        output.write(result(image=np.full(shape, 60, np.uint8)))
    output.close()
    assert count_frames(tmp_path / "out.avi")[0] == 2


def test_video_without_frames_is_no_file(tmp_path):
    VideoOutput(tmp_path / "out.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_video_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    with pytest.raises(DataError, match=r"\.mp4, \.avi, \.mkv"):
        VideoOutput(tmp_path / "out.gif")
    with pytest.raises(DataError, match="does not exist"):
        VideoOutput(tmp_path / "missing" / "out.mp4")


def test_codec_that_is_missing_leaves_no_file(tmp_path, monkeypatch):
    class Closed:
        def __init__(self, *_):
            pass

        def isOpened(self):
            return False

    monkeypatch.setattr(cv2, "VideoWriter", type("Closed", (Closed,), {"fourcc": lambda *_: 0}))
    output = VideoOutput(tmp_path / "out.mp4")
    with pytest.raises(FerEdgeError, match=r"cannot encode mp4v at 480x360"):
        output.write(result())
    output.close()
    assert list(tmp_path.iterdir()) == []


def test_image_file_gets_the_last_frame(tmp_path):
    path = tmp_path / "last.png"
    output = ImageOutput(path)
    for level in (10, 200):
        output.write(result(image=np.full((480, 640, 3), level, np.uint8)))
        assert not path.exists()
    output.close()
    assert cv2.imread(str(path)).mean() == 200


def test_image_folder_gets_every_image_under_its_name(tmp_path):
    output = ImageOutput(tmp_path)
    output.write(result(name="photos/a.jpg"))
    output.write(result(name="photos/a.png"))
    output.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg.png", "a.png.png"]


def test_image_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    with pytest.raises(DataError, match=r"must end in \.png"):
        ImageOutput(tmp_path / "out.gif")
    with pytest.raises(DataError, match="does not exist"):
        ImageOutput(tmp_path / "missing" / "out.png")


def test_window_needs_an_opencv_with_windows(monkeypatch):
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    with pytest.raises(FerEdgeError, match=r"opencv-python-headless.*--save-video"):
        WindowOutput()


def test_window_needs_a_display(monkeypatch):
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT5")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(FerEdgeError, match="DISPLAY"):
        WindowOutput()


@pytest.fixture
def display(monkeypatch):
    """OpenCV with a window in which nobody presses a key, until told otherwise."""
    state = {"key": -1, "visible": 1.0, "shown": 0, "delays": []}
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT5")
    monkeypatch.setattr(cv2, "imshow", lambda title, image: state.update(shown=state["shown"] + 1))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: state["delays"].append(delay) or state["key"])
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, key: state["visible"])
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: state.update(shown=0))
    return state


@pytest.mark.parametrize("change", [{"key": ord("q")}, {"key": 27}, {"visible": 0.0}])
def test_window_ends_the_run_when_it_is_closed(display, change):
    output = WindowOutput()
    output.write(result())
    output.write(result())
    assert display["shown"] == 2
    display.update(change)
    with pytest.raises(OutputClosed):
        output.write(result())
    output.close()
    assert display["shown"] == 0


def test_window_waits_for_a_key_at_each_image(display):
    WindowOutput(wait=True).write(result())
    WindowOutput().write(result())
    assert display["delays"] == [0, 1]


def test_half_a_line_at_the_end_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"frame":0}\n{"fra')
    output = JsonLinesOutput(path, "append")
    output.write(result())
    output.close()
    lines = path.read_text().splitlines()
    assert lines[1] == '{"fra'
    assert json.loads(lines[2])["frame"] == 0


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_ends_whole_before_the_disk_is_full(tmp_path, monkeypatch, suffix):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / f"out{suffix}"
    output = VideoOutput(path, fps=10)
    free, now = [10**9], [100.0]
    monkeypatch.setattr(
        "fer_edge.outputs.video.shutil.disk_usage", lambda folder: SimpleNamespace(free=free[0])
    )
    monkeypatch.setattr("fer_edge.outputs.video.time.monotonic", lambda: now[0])
    output.write(result())
    free[0] = 15_000_000
    output.write(result())
    now[0] += 1.5
    with pytest.raises(OutputError, match="ends here, because the disk has but 15 MB left"):
        output.write(result())
    assert not path.exists()
    output.close()
    film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 3


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_that_was_cut_off_does_not_get_its_name(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    output = VideoOutput(path, fps=10)
    noise = np.random.default_rng(0)
    for index in range(30):
        output.write(result(index=index, image=noise.integers(0, 256, (120, 160, 3), dtype=np.uint8)))
    output._writer.release()
    os.truncate(output._temporary, output._temporary.stat().st_size // 2)
    with pytest.raises(OutputError, match="could not be written whole"):
        output.close()
    assert list(tmp_path.iterdir()) == []
