"""Following faces: which parts of which frames are searched, and what is found there."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from fer_edge.faces.detector import FaceDetector
from fer_edge.faces.engines import available_engines
from fer_edge.faces.faces import Faces
from fer_edge.faces.tracker import Tracker, iou
from fer_edge.faces.windows import MOST, SIZE, Follower, Window, window_around
from fer_edge.kernels.planes import split_planes

FRAME = np.zeros((480, 640, 3), np.uint8)


def faces_at(boxes):
    count = len(boxes)
    return Faces(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.8, count, dtype=np.float32),
        np.zeros((count, 5, 2), np.float32),
    )


class World:
    """Stands for the detector: finds ``boxes`` in a whole frame, in windows those with their centres there.

    Windows see them ``shift`` pixels further right.
    """

    def __init__(self, *boxes):
        self.boxes = list(boxes)
        self.whole = 0
        self.windows = []
        self.shift = 0

    def detect(self, frame, size, chroma=None):
        self.whole += 1
        return faces_at(self.boxes)

    def detect_in_windows(self, frame, windows, size, chroma=None):
        self.windows.append(windows)
        shown = []
        for left, top, right, bottom in windows:
            shown.append(
                faces_at(
                    [
                        (x + self.shift, y, w, h)
                        for x, y, w, h in self.boxes
                        if left <= x + w / 2 < right and top <= y + h / 2 < bottom
                    ]
                )
            )
        return shown


class Run:
    """A follower in a world, at ten frames a second."""

    def __init__(self, world, every=10, size=320, beside=False):
        self.world, self.tracker, self.frames = world, Tracker(min_hits=1), 0
        self.follower = Follower(world, self.tracker, every, size, beside=beside)

    def step(self, *boxes, sparse=False):
        """The faces of the next frame; ``boxes``: where they have moved to."""
        if boxes:
            self.world.boxes = list(boxes)
        faces = self.follower.follow(FRAME, self.frames / 10, sparse)
        self.frames += 1
        return faces


def test_whole_frames_every_nth_and_windows_between():
    world = World((100, 100, 80, 100))
    run = Run(world, every=4)
    whole = []
    for _ in range(9):
        before = world.whole
        faces = run.step()
        assert (faces.ids.tolist(), faces.detected.tolist()) == ([1], [True])
        assert faces.boxes.tolist() == [[100, 100, 80, 100]]
        whole.append(world.whole - before)
    assert whole == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    # Twice the longer side, around the centre at (140, 150).
    assert world.windows == [[(40, 50, 240, 250)]] * 8


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("beside", [True, False])
def test_faces_that_do_not_count_are_found_neither_in_windows_nor_whole_frames(every, beside):
    run = Run(World((100, 100, 80, 100), (170, 120, 60, 80)), every, beside=beside)
    shown = []
    for frame in range(9):
        shown.append(
            run.follower.follow(
                FRAME, frame / 10, seen=lambda faces: faces.at(faces.boxes[:, 0] < 150)
            ).boxes.tolist()
        )
    run.follower.close()
    assert shown == [[[100, 100, 80, 100]]] * 9
    assert bool(run.world.windows) == (every > 1)


def test_how_often_whole_frames_are_searched_may_change():
    world = World((100, 100, 80, 100))
    run = Run(world, every=100)
    for _ in range(3):
        run.step()
    run.follower.every = 1
    for _ in range(3):
        run.step()
    assert world.whole == 4


def test_without_faces_every_frame_is_searched_whole():
    world = World()
    run = Run(world, every=4)
    for _ in range(8):
        assert len(run.step()) == 0
    assert (world.whole, world.windows) == (8, [])


def test_whole_frames_alone_need_no_windows():
    world = World((100, 100, 80, 100))
    run = Run(world, every=1)
    for _ in range(5):
        run.step()
    assert (world.whole, world.windows) == (5, [])


def test_frames_that_are_few_a_second_are_searched_whole():
    run = Run(World((100, 100, 80, 100)))
    for _ in range(5):
        run.step(sparse=True)
    assert (run.world.whole, run.world.windows) == (5, [])


def test_window_stays_put_while_the_face_trembles():
    world = World((200, 200, 100, 100))
    run = Run(world, every=100)
    for shift in (0, 3, -4, 5, 0, -3, 2):
        faces = run.step((200 + shift, 200 - shift, 100 + shift, 100))
        assert faces.boxes[0, 0] == 200 + shift
    assert len({tuple(windows) for windows in world.windows}) == 1


def test_window_follows_a_face_that_leaves_its_middle():
    run = Run(World((100, 200, 100, 100)), every=100)
    for step in range(20):
        faces = run.step((100 + 12 * step, 200, 100, 100))
        assert faces.ids.tolist() == [1]
    ((left, _, right, _),) = run.world.windows[-1]
    # The face's centre is at 378, and no more than 0.08 of 200 pixels from the window's.
    assert abs((left + right) / 2 - 378) <= 16 + 12
    assert run.world.whole == 1
    assert 4 < len({tuple(windows) for windows in run.world.windows}) < 19


def test_window_follows_a_face_that_comes_near():
    run = Run(World((300, 200, 80, 80)), every=100)
    for size in range(80, 160, 4):
        run.step((340 - size / 2, 240 - size / 2, size, size))
    sides = [right - left for ((left, _, right, _),) in run.world.windows]
    assert sides[0] == 160
    assert sides == sorted(sides)
    assert 2 * 156 * 0.84 < sides[-1] <= 2 * 156
    assert len(set(sides)) < 10


def test_more_faces_than_pay_are_found_in_whole_frames():
    world = World(*((150 * i, 100, 80, 80) for i in range(MOST + 1)))
    run = Run(world)
    for _ in range(3):
        assert len(run.step()) == MOST + 1
    assert (world.whole, world.windows) == (3, [])
    assert len(run.step(*world.boxes[:MOST])) == MOST
    # One is lost: whole frames until it is given up, then windows.
    for _ in range(12):
        assert len(run.step()) == MOST
    before = world.whole
    run.step()
    assert world.whole == before
    assert len(world.windows[-1]) == MOST


@pytest.mark.parametrize(("size", "pays"), [(320, 3), (200, 1), (160, 1), (100, 0)])
def test_windows_pay_while_they_have_fewer_pixels_than_the_frame_that_is_searched(size, pays):
    """200x150 pixels are less than two windows of 128x128, 160x120 are one."""
    for faces in range(1, MOST + 1):
        run = Run(World(*((150 * i, 100, 80, 80) for i in range(faces))), size=size)
        run.step()
        run.step()
        assert len(run.world.windows) == (faces <= pays)


def test_whole_frame_at_once_where_a_window_lost_its_face():
    world = World((100, 100, 80, 80), (400, 100, 80, 80))
    run = Run(world)
    run.step()
    faces = run.step((100, 100, 80, 80), (400, 320, 80, 80))
    assert world.whole == 2
    # The one that jumped is another as far as tracking tells.
    assert sorted(faces.ids.tolist()) == [1, 3]
    assert sorted(faces.boxes[:, 1].tolist()) == [100, 320]


def test_whole_frame_only_adds_faces_that_no_window_found():
    world = World((100, 100, 80, 80))
    run = Run(world, every=2)
    run.step()
    run.step()
    world.shift = 5
    faces = run.step((100, 100, 80, 80), (400, 100, 80, 80))
    assert world.whole == 2
    assert sorted(faces.boxes[:, 0].tolist()) == [105, 400]
    assert sorted(faces.ids.tolist()) == [1, 2]


@pytest.fixture
def beside():
    """A run in a world with a thread for whole frames; each but the first waits until it is allowed."""

    class Slow(World):
        def detect(self, frame, size, chroma=None):
            assert self.allowed.acquire(timeout=30)
            self.threads.append(threading.current_thread())
            return super().detect(frame, size)

    world = Slow((100, 100, 80, 80))
    world.allowed, world.threads = threading.Semaphore(1), []
    run = Run(world, every=2, beside=True)
    yield run
    world.allowed.release(9)
    run.follower.close()


def arrived(run):
    """Let the thread search its frame, and wait until it has."""
    run.world.allowed.release()
    run.follower._search.result(30)


def test_whole_frames_do_not_hold_up_windows(beside):
    world = beside.world
    beside.step()
    for _ in range(5):
        assert beside.step().boxes.tolist() == [[100, 100, 80, 80]]
    assert (world.whole, len(world.windows)) == (1, 5)
    arrived(beside)
    beside.step()
    assert world.whole == 2
    assert world.threads[0] is threading.current_thread() is not world.threads[1]


def test_what_the_thread_found_is_where_it_is_by_then(beside):
    for boxes in ((), (), ((100, 100, 80, 80), (400, 100, 80, 80))):
        beside.step(*boxes)
    arrived(beside)
    # Meanwhile it has moved.
    faces = beside.step((100, 100, 80, 80), (415, 110, 80, 80))
    assert sorted(faces.boxes.tolist()) == [[100, 100, 80, 80], [415, 110, 80, 80]]
    assert faces.detected.all()
    assert len(beside.world.windows[-1]) == 1
    assert len(beside.step()) == 2
    assert len(beside.world.windows[-1]) == 2


def test_faces_that_left_before_the_thread_was_done_are_not_found(beside):
    for boxes in ((), (), ((100, 100, 80, 80), (400, 100, 80, 80))):
        beside.step(*boxes)
    arrived(beside)
    assert len(beside.step((100, 100, 80, 80))) == 1


def test_a_lost_face_does_not_wait_for_the_thread(beside):
    for _ in range(4):
        beside.step()
    beside.world.allowed.release(2)
    faces = beside.step((400, 100, 80, 80))
    assert faces.boxes.tolist() == [[400, 100, 80, 80]]


def test_errors_of_the_thread_reach_the_caller(beside):
    def fail(frame, size, chroma):
        raise MemoryError("no room")

    beside.step()
    beside.world.detect = fail
    with pytest.raises(MemoryError, match="no room"):
        for _ in range(3000):
            beside.step()
            time.sleep(0.01)


def test_faces_come_best_score_first():
    world = World((100, 100, 80, 80))
    run = Run(world, every=2)
    run.step()
    run.step()
    faces = run.step((400, 100, 80, 80), (100, 100, 80, 80))
    assert faces.scores.tolist() == sorted(faces.scores.tolist(), reverse=True)


def test_a_face_in_two_windows_is_one_persons():
    """Two faces side by side, then only the right one: it is not taken for both."""
    left, right = (200, 200, 80, 80), (262, 200, 80, 80)
    world = World(left, right)
    run = Run(world)
    before = dict(zip(run.step().boxes[:, 0].tolist(), run.tracker.keys.tolist(), strict=True))
    faces = run.step(right)
    assert faces.boxes.tolist() == [list(right)]
    assert run.tracker.keys.tolist() == [before[262]]
    assert world.whole == 2


def test_two_tracks_that_came_upon_one_face_part_again():
    """Boxes that are equal to the last bit must not keep both tracks on the same face."""
    world = World((200, 200, 80, 80), (262, 200, 80, 80))
    run = Run(world)
    run.step()
    for _ in range(3):
        assert len(run.step((231, 200, 80, 80))) == 1


def test_a_new_face_in_a_window_is_found_without_a_whole_frame():
    world = World((200, 200, 80, 80))
    run = Run(world)
    run.step()
    # The window reaches from 160 to 320: the new face is whole in it, then cut.
    faces = run.step((200, 200, 80, 80), (255, 240, 60, 60))
    assert sorted(faces.boxes[:, 0].tolist()) == [200, 255]
    assert world.whole == 1
    run = Run(World((200, 200, 80, 80)))
    run.step()
    assert len(run.step((200, 200, 80, 80), (270, 240, 60, 60))) == 1


def test_another_face_in_a_window_is_not_taken_for_the_tracked_one():
    world = World((200, 200, 80, 80))
    run = Run(world)
    run.step()
    faces = run.step((200, 270, 80, 80), (204, 200, 80, 80))
    assert faces.boxes.tolist() == [[204, 200, 80, 80]]
    assert faces.ids.tolist() == [1]


@pytest.mark.parametrize(
    ("window", "edges"),
    [
        (Window(320, 240, 200), (220, 140, 420, 340)),
        (Window(40, 470, 200), (0, 280, 200, 480)),
        (Window(-500, 9000, 200), (0, 280, 200, 480)),
        (Window(320, 240, 600), (20, 0, 620, 480)),
        (Window(0, 0, 1000), (0, 0, 640, 480)),
    ],
)
def test_windows_are_moved_into_the_frame_and_cut_where_they_are_larger(window, edges):
    assert window.edges(640, 480) == edges


def test_window_is_twice_the_face_and_never_enlarged():
    assert window_around(np.array([10, 20, 80, 101], np.float32)) == Window(50, 70.5, 202)
    assert window_around(np.array([10, 20, 20, 30], np.float32)) == Window(20, 35, SIZE)


@pytest.fixture(scope="module", params=available_engines())
def detector(request):
    return FaceDetector(engine=request.param)


@pytest.mark.parametrize("grey", [False, True])
def test_windows_find_what_their_pixels_show(astronaut, detector, grey):
    frame = astronaut[:, :, 1] if grey else astronaut
    windows = [(100, 0, 356, 256), (0, 300, 200, 500), (120, 20, 320, 220)]
    found = detector.detect_in_windows(frame, windows, SIZE)
    assert [len(faces) for faces in found] == [1, 0, 1]
    for faces, (left, top, right, bottom) in zip(found, windows, strict=True):
        alone = detector.detect(np.ascontiguousarray(frame[top:bottom, left:right]), SIZE)
        offset = np.array([left, top], np.float32)
        np.testing.assert_allclose(faces.boxes[:, :2], alone.boxes[:, :2] + offset, atol=1e-3)
        np.testing.assert_allclose(faces.boxes[:, 2:], alone.boxes[:, 2:], atol=1e-3)
        np.testing.assert_allclose(faces.landmarks, alone.landmarks + offset, atol=1e-3)
    whole = detector.detect(frame)
    assert iou(found[0].boxes, whole.boxes)[0, 0] > 0.8


def test_windows_of_yuv_frames_are_seen_in_their_colours(astronaut):
    detector = FaceDetector()
    planes = cv2.cvtColor(astronaut, cv2.COLOR_BGR2YUV_I420)
    grey, chroma = split_planes(planes, "yuv420")
    window = [(100, 0, 356, 256)]
    ((score,), (colourless,), (expected,)) = (
        found[0].scores
        for found in (
            detector.detect_in_windows(grey, window, SIZE, chroma),
            detector.detect_in_windows(grey, window, SIZE),
            detector.detect_in_windows(astronaut, window, SIZE),
        )
    )
    assert 2 * abs(score - expected) < abs(colourless - expected)


def test_frames_and_windows_do_not_take_each_others_engine(astronaut, monkeypatch):
    """An engine plans its memory anew for each other size, which takes as long as a window."""
    detector = FaceDetector()
    detector.detect_in_windows(astronaut, [(0, 0, 128, 128)], SIZE)
    sizes = {"whole": set(), "windows": set()}
    for name, engine in (("whole", detector._engine), ("windows", detector._window_engine)):
        original = engine.find

        def find(height, width, fill, original=original, seen=sizes[name]):
            seen.add((height, width))
            return original(height, width, fill)

        monkeypatch.setattr(engine, "find", find)
    follower = Follower(detector, Tracker(), 3, 320)
    for index in range(7):
        assert len(follower.follow(astronaut, index / 30)) == 1
    assert sizes == {"whole": {(320, 320)}, "windows": {(SIZE, SIZE)}}


def test_demo_camera_is_followed_as_well_as_by_whole_frames():
    pytest.importorskip("skimage")
    from fer_edge.sources.demo import DemoSource

    detector = FaceDetector()
    whole, windows = (Follower(detector, Tracker(), every, 320) for every in (1, 10))
    for frame in itertools.islice(DemoSource(paced=False), 0, 120, 2):
        expected = whole.follow(frame.image, frame.timestamp)
        found = windows.follow(frame.image, frame.timestamp)
        assert len(found) == len(expected) == 1
        assert iou(found.boxes, expected.boxes)[0, 0] > 0.8
        assert found.ids.tolist() == expected.ids.tolist()
