"""A pause: no frame is recognized meanwhile, the gap is told, tracks end at it, and films wait."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

pytest.importorskip("cv2")

from pipeline.scripts import ScriptedRecognizer
from pipeline.several import Recognizer, Script, watching
from pipeline.test_reconnect import UNPLUGGED, Door, Lives

from fer_edge.pipeline import reconnect
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.pace import Pace
from fer_edge.pipeline.state import PAUSED, Gap, State
from fer_edge.pipeline.watch import Watch
from fer_edge.pipeline.watch_all import _States
from fer_edge.sources.base import Frame
from fer_edge.sources.reconnect import lasting

PATIENCE = 30.0
LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSES", (0.01,))
    monkeypatch.setattr(reconnect, "POLL", 0.02)
    monkeypatch.setattr(reconnect, "TELL_EVERY", 0.01)


class Resuming:
    """Lets a run go on once it has told so often that it is paused; keeps all it told."""

    def __init__(self, times=3):
        self.times, self.told, self.run, self.during = times, [], None, lambda: None

    def __call__(self, state):
        self.told.append(state)
        if state.name == "paused" and [one.name for one in self.told].count("paused") == self.times:
            self.during()
            self.run.resume()


def watched(source, states, recognizer=None, **options):
    run = Watch(source, WatchOptions(min_hits=1, **options), recognizer or Recognizer(), states)
    states.run = run
    return run


def test_frames_of_a_camera_are_dropped_and_the_next_has_the_gap():
    source, states = Script(), Resuming()
    states.during = lambda: marks.append((source.given, run.summary))
    marks, results = [], []
    with watched(source, states) as run:
        for result in run:
            results.append(result)
            if result.index == 2:
                began = source.given
                run.pause()
                assert run.paused
            elif result.index == 4:
                break
    assert not run.paused
    ((given, during),) = marks
    # The camera went on giving frames, and none of them was looked at.
    assert given > began
    assert (during.frames, during.paused_seconds > 0) == (3, True)
    assert [result.index for result in results] == [0, 1, 2, 3, 4]
    gap = results[3].gap
    assert gap.reason == PAUSED
    assert gap.seconds == pytest.approx(results[3].monotonic - results[2].monotonic, abs=0.05)
    assert [result.gap for result in results[:3] + results[4:]] == [None] * 4
    assert results[3].image[0, 0, 0] != results[2].image[0, 0, 0] + 1
    assert gap.lost == 0
    # Nobody knows who came and went meanwhile.
    assert [result.faces[0].track for result in results] == [1, 1, 1, 2, 2]
    assert run.summary.paused_seconds == pytest.approx(gap.seconds, abs=0.5)
    assert run.summary.gaps == 0
    assert "paused " in str(run.summary)
    paused = [state for state in states.told if state.name == "paused"]
    assert paused[0].seconds < paused[-1].seconds


def test_a_run_that_begins_paused_recognizes_nothing_and_tells_no_gap():
    states = Resuming()
    with watched(Script(), states) as run:
        run.pause()
        first = next(run)
    assert [state.name for state in states.told] == ["paused"] * 3 + ["running"]
    assert (first.index, first.gap) == (0, None)


def test_a_film_waits_and_none_of_its_frames_is_lost():
    states = Resuming()
    results = []
    with watched(Script(6, live=False), states) as run:
        for result in run:
            results.append(result)
            if result.index == 2:
                run.pause()
    assert [int(result.image[0, 0, 0]) for result in results] == list(range(6))
    assert [result.gap for result in results] == [None] * 6
    assert {result.faces[0].track for result in results} == {1}
    assert [state.name for state in states.told].count("paused") == 3


@pytest.mark.parametrize("stop", [Watch.stop, Watch.close])
def test_a_paused_run_can_be_ended(stop):
    with watched(Script(), Resuming(10**9)) as run:
        next(run)
        run.pause()
        threading.Timer(0.1, stop, [run]).start()
        assert list(run) == []


def test_the_time_of_a_run_passes_while_it_is_paused():
    with watched(Script(), Resuming(10**9), seconds=0.3) as run:
        run.pause()
        assert list(run) == []


def test_a_camera_lost_and_back_during_a_pause_is_one_gap():
    lives = Lives((2, UNPLUGGED), (10_000, None))
    # Frames come whether or not they are looked at.
    lives.patience = 0.01
    states = Resuming()
    results = []
    run = Watch(lasting(lives), WatchOptions(min_hits=1), ScriptedRecognizer(), states)
    states.run, states.times = run, 10**9

    def resume_when_back():
        deadline = time.monotonic() + PATIENCE
        while len(lives.sources) < 2 or run._feed._loss is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.resume()

    helper = threading.Thread(target=resume_when_back)
    with run:
        for result in run:
            results.append(result)
            if result.index == 1:
                run.pause()
                helper.start()
            elif result.index == 3:
                break
    helper.join()
    assert [result.gap and result.gap.reason for result in results] == [None, None, PAUSED, None]
    assert results[2].gap.seconds == pytest.approx(results[2].monotonic - results[1].monotonic, abs=0.1)
    # Counted as a loss of the camera, which it was as well.
    assert run.summary.gaps == 1
    assert 0 < results[2].gap.lost == pytest.approx(run.summary.gap_seconds)
    assert results[2].timestamp >= results[1].timestamp


def test_a_gap_tells_a_loss_from_the_pause_around_it():
    feed = reconnect.Feed(Door(None, [], None), WatchOptions(), Pace(), bool, bool, print)
    feed._slot = type("Slot", (), {"source": feed.source})()
    image = np.zeros((48, 64, 3), np.uint8)

    def back(at):
        """A frame after a loss."""
        feed._loss = reconnect._Loss("gone", at, Gap(datetime.now(UTC), 0.0, "gone"))
        return feed._received(Frame(image, at, "door", at))

    def resumed(at):
        """Reason, length and loss of the gap before a frame with which a pause has ended."""
        gap = feed._after_pause(*feed._received(Frame(image, at, "door", at)))[1]
        return gap.reason, gap.seconds, gap.lost

    feed._received(Frame(image, 100.0, "door", 100.0))
    # Back with a frame that nobody looked at, since a pause began.
    feed.drop(*back(105.0))
    assert resumed(130.0) == ("gone", 30.0, 5.0)
    feed._miss(130.0, None)
    assert resumed(150.0) == (PAUSED, 20.0, 0.0)
    # Lost and back within a pause.
    feed._miss(150.0, None)
    back(160.0)
    back(163.0)
    assert resumed(200.0) == (PAUSED, 50.0, 13.0)
    assert feed.gap_seconds == 18.0


def test_all_of_several_cameras_pause():
    states = Resuming()
    counts, gaps = [], {}
    states.during = lambda: counts.append(run.summary.frames)
    with watching({"door": Script(), "till": Script()}) as run:
        run._on_state, states.run = states, run
        for count, result in enumerate(run):
            if count == 6:
                run.pause()
                counts.append(run.summary.frames)
            if result.gap is not None:
                gaps[result.camera] = result.gap.reason
            if len(gaps) == 2:
                break
    assert gaps == {"door": PAUSED, "till": PAUSED}
    # Together, and not one after the other.
    assert run.summary.paused_seconds == max(one.paused_seconds for one in run.summaries.values())
    before, during = counts
    # One may have been at its turn.
    assert during - before <= 1
    assert "paused" in [state.name for state in states.told]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"a": State("paused", "", 2.0), "b": State("paused", "", 3.0)}, State("paused", "", 3.0)),
        (
            {"a": State("paused", "gone", 2.0), "b": State("waiting", "x", 3.0)},
            State("paused", "a: gone; b: x", 2.0),
        ),
        ({"a": State("paused"), "b": State("running")}, State("running")),
    ],
)
def test_the_state_of_several_cameras_is_paused_where_none_runs(told, expected):
    passed_on = []
    states = _States(told, lambda name, state: passed_on.append((name, state)))
    for name, state in told.items():
        states.take_note(name, state)
    assert states.news() == expected
    assert passed_on == [*told.items()]


def test_masks_hold_from_the_next_frame_on():
    with Watch(Script(pause=0.001), WatchOptions(min_hits=1), Recognizer(scores=(0.9, 0.8))) as run:
        before = next(run)
        # The faces lie at x 0 to 15 and 20 to 35 of 64 pixels: only the second one's centre is in the mask.
        run.cover([((0.35, 0.0), (1.0, 0.0), (1.0, 1.0), (0.35, 1.0))])
        after = next(run)
        run.cover([])
        again = next(run)
    assert [len(result.faces) for result in (before, after, again)] == [2, 1, 2]
    assert after.faces[0].box[0] == 0
    assert not after.image[:, 30:].any()
    assert np.array_equal(after.image[:, :20], np.full((48, 20, 3), after.image[0, 0, 0]))


def test_drawn_masks_come_besides_those_of_the_options():
    options = WatchOptions(min_hits=1, mask=(LEFT,))
    with Watch(Script(pause=0.001), options, Recognizer()) as run:
        run.cover([((0.5, 0.0), (1.0, 0.0), (1.0, 0.5))])
        next(run)
        result = next(run)
    assert not result.image[:, :30].any()
    assert not result.image[0, 40:].any()
    assert len(result.faces) == 0
    assert run.options.mask == (LEFT,)


def test_drawn_masks_outlast_what_is_changed_meanwhile():
    with Watch(Script(pause=0.001), WatchOptions(min_hits=1), Recognizer()) as run:
        next(run)
        run.cover([LEFT])
        next(run)
        run.adjust(WatchOptions(min_hits=2, smoothing=0.0))
        result = next(run)
    assert run.options.min_hits == 2
    assert not result.image[:, :30].any()
