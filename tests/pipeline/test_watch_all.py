"""Several cameras on one recognizer: fair turns, newest frames, and one that is stuck stops no other."""

from __future__ import annotations

import collections
import itertools
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

from pipeline.several import PATIENCE, Recognizer, Script, watching

import fer_edge
from fer_edge.errors import SourceError, SourceLostError
from fer_edge.pipeline import watch_all
from fer_edge.pipeline.options import SHARED, WatchOptions
from fer_edge.pipeline.state import ENDED, RUNNING, State
from fer_edge.pipeline.watch_all import WatchAll, _States
from fer_edge.sources.base import Frame, Source


def test_results_bear_the_name_and_count_of_their_camera():
    sources = {"door": Script(5, live=False), "till": Script(8, live=False)}
    with watching(sources) as run:
        told = list(run)
    assert collections.Counter(result.camera for result in told) == {"door": 5, "till": 8}
    for name, count in (("door", 5), ("till", 8)):
        own = [result for result in told if result.camera == name]
        assert [result.index for result in own] == list(range(count))
        assert [int(result.image[0, 0, 0]) for result in own] == list(range(count))
        assert [result.faces[0].track for result in own] == [1] * count
        assert run.summaries[name].frames == count
    assert (run.summary.frames, run.summary.faces, run.summary.tracks) == (13, 13, 2)
    assert run.summary.p50_ms <= run.summary.p95_ms


def await_all(run, cameras):
    """Wait until so many cameras have a frame and wait for their turn."""
    deadline = time.monotonic() + PATIENCE
    while len(run._desk._waiting) < cameras:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_turns_go_round_among_cameras_that_have_a_frame():
    sources = {name: Script(live=False) for name in "abc"}
    told = []
    with watching(sources) as run:
        for result in itertools.islice(run, 31):
            told.append(result.camera)
            await_all(run, 3)
    # In the order in which they came first, and then for ever.
    assert sorted(told[1:4]) == ["a", "b", "c"]
    assert told[1:] == told[1:4] * 10


def test_a_recorded_film_loses_no_frame_and_a_fast_camera_takes_no_more_than_its_turn():
    film, camera = Script(live=False), Script(pause=0.001)
    told = []
    with watching({"film": film, "camera": camera}, Recognizer(0.005)) as run:
        for result in itertools.islice(run, 61):
            told.append(result)
            await_all(run, 2)
    frames = [int(result.image[0, 0, 0]) for result in told if result.camera == "film"]
    assert frames == list(range(len(frames)))
    assert run.summaries["film"].dropped == 0
    assert sum(result.camera == "camera" for result in told[1:]) == 30
    assert run.summaries["camera"].dropped > 0


@pytest.mark.heavy
def test_the_frame_looked_at_is_the_newest_one_when_the_turn_comes():
    """While another camera holds the recognizer, a fast one goes on giving frames."""
    slow, fast = Script(live=False), Script(pause=0.002)
    ages = []
    with watching({"slow": slow, "fast": fast}, Recognizer(0.05)) as run:
        for result in itertools.islice(run, 30):
            if result.camera == "fast":
                ages.append(time.monotonic() - result.monotonic)
            await_all(run, 2)
    # Read before the other one's turn of 50 ms, a frame would be twice as old after its own.
    assert min(ages) < 0.095, ages


def test_a_camera_that_is_stuck_slows_no_other():
    hang = threading.Event()
    sources = {"stuck": Script(1, hang=hang), "door": Script()}
    with watching(sources) as run:
        told = list(itertools.islice(run, 100))
        counts = collections.Counter(result.camera for result in told)
    hang.set()
    assert counts["stuck"] <= 1 and counts["door"] >= 99


def test_a_camera_that_fails_is_told_and_the_others_go_on(caplog):
    sources = {"till": Script(3, error=SourceLostError("unplugged")), "door": Script(100)}
    told = []
    with watching(sources) as run, pytest.raises(SourceLostError):
        for result in run:
            told.append(result.camera)
    assert told[-1] == "door"
    assert "till: unplugged; the other cameras go on" in caplog.messages
    assert caplog.records[0].levelno == logging.ERROR


def test_a_camera_with_the_name_of_its_source_is_named_once(caplog):
    lost = SourceLostError("http://cam/video: unplugged")
    sources = {"http://cam/video": Script(3, error=lost), "door": Script(100)}
    with watching(sources) as run, pytest.raises(SourceLostError):
        collections.deque(run, 0)
    assert "http://cam/video: unplugged; the other cameras go on" in caplog.messages


def test_what_is_no_fault_of_a_source_ends_all_at_once():
    class Broken(Recognizer):
        def detect(self, frame, size=320, chroma=None):
            if frame[0, 0, 0] == 7:
                raise MemoryError("no more")
            return super().detect(frame, size)

    sources = {"door": Script(live=False), "till": Script(5, live=False)}
    with watching(sources, Broken()) as run, pytest.raises(MemoryError, match="no more"):
        for _ in run:
            pass


def test_a_limit_of_frames_is_for_all_together():
    with watching({"door": Script(live=False), "till": Script(live=False)}, frames=7) as run:
        assert len(list(run)) == 7
        assert list(run) == []
    assert run.summary.frames == 7
    assert run.stopped


def test_a_limit_of_seconds_ends_all():
    began = time.monotonic()
    with watching({"door": Script(), "till": Script()}, seconds=0.3) as run:
        assert len(list(run)) >= 2
    assert 0.3 <= time.monotonic() - began < PATIENCE


def test_stopping_ends_it_and_leaves_no_thread():
    before = set(threading.enumerate())
    sources = {"door": Script(), "till": Script(live=False)}
    run = watching(sources)
    told = 0
    for _ in run:
        told += 1
        if told == 10:
            run.stop()
    assert 10 <= told <= 12
    run.close()
    run.close()
    deadline = time.monotonic() + PATIENCE
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_sources_that_it_did_not_open_stay_open_and_its_own_are_closed(monkeypatch):
    own, given = Script(live=False), Script(live=False)
    monkeypatch.setattr("fer_edge.pipeline.watch_all.open_any", lambda source, options: own)
    with watching({"own": "demo", "given": given}) as run:
        next(run)
    assert own.closed and not given.closed
    own = Script()
    watching({"own": "demo"}).close()
    assert own.closed


def test_a_camera_that_cannot_be_opened_is_named():
    opened = Script()
    with pytest.raises(SourceError, match=r"^till: nowhere\.mp4: No such file"):
        watching({"door": opened, "till": "nowhere.mp4"})
    with pytest.raises(SourceError, match=r"^nowhere\.mp4: No such file"):
        watching({"door": opened, "nowhere.mp4": "nowhere.mp4"})


def test_each_camera_has_its_own_thresholds():
    recognizer = Recognizer(scores=(0.95, 0.8, 0.6))
    sources = {name: Script(4, live=False) for name in ("strict", "usual", "lax")}
    own = {"strict": {"min_score": 0.9}, "lax": {"min_score": 0.5, "min_hits": 2}}
    with watching(sources, recognizer, own) as run:
        told = list(run)
    found = collections.defaultdict(set)
    for result in told:
        found[result.camera].add(len(result.faces))
    assert found == {"strict": {1}, "usual": {2}, "lax": {3}}
    assert run.summaries["lax"].tracks == 3


def test_a_shared_detector_finds_what_any_camera_asks_for(astronaut):
    class Photo(Source):
        name = "photo"

        def __iter__(self):
            for index in range(3):
                yield Frame(astronaut, index / 10, self.name)

    sources = {"none": Photo(), "all": Photo()}
    own = {"none": {"min_score": 1.0}, "all": {"min_score": 0.3}}
    with fer_edge.watch_all(sources, own=own, min_hits=1) as run:
        found = {result.camera: len(result.faces) for result in run}
    assert found == {"none": 0, "all": 1}
    assert run.watches["all"].recognizer is run.watches["none"].recognizer
    assert run.watches["all"].recognizer.detector.min_score == pytest.approx(0.3)


def test_thresholds_change_while_it_runs():
    sources = {"door": Script(live=False), "till": Script(live=False)}
    with watching(sources, Recognizer(scores=(0.95, 0.8))) as run:
        assert {len(result.faces) for result in itertools.islice(run, 6)} == {2}
        strict = WatchOptions(min_score=0.9, min_hits=1)
        run.adjust({"door": strict, "till": WatchOptions(min_hits=1)})
        after = list(itertools.islice(run, 6))
    assert {len(result.faces) for result in after if result.camera == "door"} == {1}
    assert {len(result.faces) for result in after if result.camera == "till"} == {2}


@pytest.mark.parametrize("name", sorted(SHARED))
def test_what_all_share_cannot_differ(name):
    values = {
        "labels": "fer2013",
        "align": True,
        "frames": 3,
        "seconds": 1.0,
        "balance": 0.5,
        "threads": 2,
        "budget": 50.0,
    }
    own = {"till": {name: values.get(name, "other")}}
    with pytest.raises(ValueError, match=f"^{name} must be the same for all cameras"):
        fer_edge.watch_all({"door": Script(), "till": Script()}, own=own)


def seen_with(scores, **options):
    """How many faces each camera shows, with a recognizer whose threshold is 0.5."""
    recognizer = Recognizer(scores=scores)
    recognizer.min_score = 0.5
    sources = {"door": Script(3, live=False), "till": Script(3, live=False)}
    with fer_edge.watch_all(sources, recognizer=recognizer, min_hits=1, **options) as run:
        faces = {name: set() for name in sources}
        for result in run:
            faces[result.camera].add(len(result.faces))
    return faces


def test_a_given_recognizer_keeps_its_threshold_unless_a_camera_asks_for_a_higher_one():
    scores = (0.55, 0.65, 0.9)
    assert seen_with(scores) == {"door": {3}, "till": {3}}
    assert seen_with(scores, min_score=0.6) == {"door": {2}, "till": {2}}
    assert seen_with(scores, own={"till": {"min_score": 0.7}}) == {"door": {3}, "till": {1}}


@pytest.mark.parametrize("options", [{"min_score": 0.4}, {"own": {"till": {"min_score": 0.4}}}])
def test_a_threshold_below_that_of_a_given_recognizer_is_refused(options):
    with pytest.raises(
        ValueError, match=r"^min_score: 0.4 of '(door|till)' is below the recognizer's own, 0.5$"
    ):
        seen_with((0.9,), **options)


def test_options_that_a_given_recognizer_has_itself_are_refused():
    with pytest.raises(ValueError, match=r"^align: the given recognizer has its own"):
        seen_with((0.9,), own={"till": {"align": True}})


def lasting(*lives):
    """A camera with these lives: each a source, or the error of opening it; the last one for ever."""
    left = list(lives)

    def again():
        life = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(life, Exception):
            raise life
        life.reopen = again
        return life

    return again()


@pytest.fixture
def _no_pauses(monkeypatch):
    monkeypatch.setattr("fer_edge.pipeline.reconnect.PAUSES", (0.01,))
    monkeypatch.setattr("fer_edge.pipeline.reconnect.POLL", 0.02)


UNPLUGGED, ABSENT = SourceLostError("script: unplugged"), SourceError("script: is not there")


@pytest.mark.usefixtures("_no_pauses")
def test_a_camera_that_is_lost_comes_back_and_slows_no_other(caplog):
    back = threading.Event()

    class Late(Script):
        def __iter__(self):
            back.wait(PATIENCE)
            return super().__iter__()

    door = lasting(Script(5, error=UNPLUGGED), ABSENT, Late())
    states, told = [], []
    cameras = {"door": (door, WatchOptions(min_hits=1)), "till": (Script(), WatchOptions(min_hits=1))}
    with WatchAll(cameras, Recognizer(), states.append) as run:
        for result in run:
            told.append(result)
            lost = run.watches["door"]._feed._loss
            if sum(one.camera == "till" for one in told) > 100 and lost:
                back.set()
            if result.gap is not None:
                break
        summary = run.summary
    meanwhile = [one.camera for one in told[:-1]]
    # All of them are the other's from when the door was lost, as fast as it gives them.
    assert meanwhile[-80:] == ["till"] * 80
    assert told[-1].camera == "door" and told[-1].gap.reason == "script: unplugged"
    tills = [one for one in told if one.camera == "till"]
    steps = np.diff([one.monotonic for one in tills[-80:]])
    assert np.median(steps) < 0.1
    assert {state.name for state in states} == {"running"}
    assert (summary.gaps, run.summaries["door"].gaps, run.summaries["till"].gaps) == (1, 1, 0)
    assert summary.gap_seconds == pytest.approx(told[-1].gap.seconds)
    lost, *_, back_again = [record.getMessage() for record in caplog.records]
    assert lost == "door: script: unplugged; opening it again"
    assert back_again.startswith("door: script: back after")


def test_hints_say_of_which_camera_they_are(caplog):
    class Sideways(Recognizer):
        def detect(self, frame, size=320, chroma=None):
            found = super().detect(frame, size, chroma)
            upright = frame.shape[0] > frame.shape[1]
            return replace(found, scores=np.full_like(found.scores, 0.95 if upright else 0.4))

    with watching({"door": Script(60, live=False), "till": Script(60, live=False)}, Sideways()) as run:
        collections.deque(run, maxlen=0)
    hints = [record.getMessage() for record in caplog.records]
    assert sorted(hint.partition(": faces are clearer")[0] for hint in hints) == ["door", "till"]


@pytest.mark.usefixtures("_no_pauses")
def test_waiting_is_told_only_while_all_are_lost():
    states = []
    lasts = threading.Event()

    def on_state(state):
        states.append(state)
        if state.name == "waiting":
            run.stop()

    options = WatchOptions(min_hits=1)
    door = lasting(Script(3, error=UNPLUGGED), ABSENT)
    till = lasting(Script(3, hang=lasts, error=UNPLUGGED), ABSENT)
    with WatchAll({"door": (door, options), "till": (till, options)}, Recognizer(), on_state) as run:
        assert next(run) is not None
        threading.Timer(0.5, lasts.set).start()
        began = time.monotonic()
        rest = list(run)
    assert len(rest) < 6 and all(state.name == "running" for state in states[:-1])
    assert states[-1].name == "waiting"
    # What is told of the second one is its loss, or already that it is not there again.
    told = states[-1].reason.split("; ")
    assert [one.partition(": script: ")[0] for one in told] == ["door", "till"]
    assert states[-1].seconds < time.monotonic() - began


def test_the_state_of_all_is_made_of_what_is_new():
    told = []
    states = _States(["door", "till"], lambda *one: told.append(one))
    lost = State("waiting", "gone", 5.0)
    assert states.news() is None
    states.take_note("door", lost)
    assert states.news() is None, "of the other nothing is known"
    states.take_note("till", RUNNING)
    assert states.news() == RUNNING
    assert states.news() is None
    # One that told nothing more may hang: that the door waits does not make it run.
    states.take_note("door", lost)
    assert states.news() is None
    states.take_note("till", State("waiting", "off", 2.0))
    assert states.news() == State("waiting", "door: gone; till: off", 2.0)
    states.forget("till")
    states.take_note("door", lost)
    assert states.news() == State("waiting", "door: gone", 5.0)
    assert told == [
        ("door", lost),
        ("till", RUNNING),
        ("door", lost),
        ("till", State("waiting", "off", 2.0)),
        ("till", ENDED),
        ("door", lost),
    ]


@pytest.mark.usefixtures("_no_pauses")
def test_a_camera_that_does_not_answer_delays_no_other_and_comes_later(monkeypatch):
    monkeypatch.setattr(watch_all, "OPEN_SECONDS", 0.05)
    answers, late = threading.Event(), Script()
    asked = []

    def open_late(source, options):
        asked.append(source)
        answers.wait(PATIENCE)
        return late

    monkeypatch.setattr(watch_all, "await_any", open_late)
    states = []
    options = WatchOptions(min_hits=1)
    cameras = {
        "dead": ("rtsp://u:secret@host/stream", replace(options, wait_for_camera=True)),
        "till": (Script(), options),
    }
    with WatchAll(cameras, Recognizer(), states.append) as run:
        assert [result.camera for result in itertools.islice(run, 20)] == ["till"] * 20
        assert run.watches["dead"].source.name == "rtsp://host/stream"
        answers.set()
        assert any(result.camera == "dead" for result in itertools.islice(run, 5000))
        assert {state.name for state in states} == {"running"}
    assert asked == ["rtsp://u:secret@host/stream"]


def test_what_is_opened_after_the_end_is_closed(monkeypatch):
    monkeypatch.setattr(watch_all, "OPEN_SECONDS", 0.01)
    answers, closed = threading.Event(), threading.Event()
    late = Script()
    late.close = closed.set

    def open_late(source, options):
        answers.wait(PATIENCE)
        return late

    monkeypatch.setattr(watch_all, "await_any", open_late)
    watching({"dead": "rtsp://host/stream"}, wait_for_camera=True).close()
    answers.set()
    assert closed.wait(PATIENCE)


def test_cameras_are_opened_beside_each_other(monkeypatch):
    both = threading.Barrier(2)

    def opened(source, options):
        both.wait(PATIENCE)
        return Script(1, live=False)

    monkeypatch.setattr(watch_all, "open_any", opened)
    with watching({"door": "a", "till": "b"}) as run:
        assert len(list(run)) == 2


@pytest.mark.usefixtures("_no_pauses")
def test_the_newest_frame_has_the_time_of_the_run_after_a_gap():
    door = lasting(Script(4, error=UNPLUGGED), Script())
    told = []
    with watching({"door": door}) as run:
        for result in run:
            told.append(result)
            if result.gap is None:
                # While nobody asks for a result, newer frames come.
                time.sleep(0.03)
            if told[-1].index > 20:
                break
    assert sum(result.gap is not None for result in told) == 1
    times = [result.timestamp for result in told]
    assert times == sorted(times)
    assert run.summary.dropped > 0


def test_a_limit_is_for_all_cameras_together():
    with watching({"door": Script(live=False), "till": Script(live=False)}) as run:
        run.limit(20.0)
        began = time.monotonic()
        told = list(itertools.islice(run, 10))
        assert time.monotonic() - began >= 0.35
        run.limit(None)
    assert min(collections.Counter(result.camera for result in told).values()) >= 4


def test_options_of_no_camera_and_no_camera_are_refused():
    with pytest.raises(ValueError, match="there is no source 'dor' among 'door'"):
        fer_edge.watch_all({"door": Script()}, own={"dor": {}})
    with pytest.raises(ValueError, match="no camera to watch"):
        fer_edge.watch_all({})


MEASURE = """
import itertools, sys
import fer_edge
names = sys.argv[1].split(",")
def rss():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096
with fer_edge.watch_all({name: "demo" for name in names}) as run:
    for result in itertools.islice(run, 150 * len(names)):
        pass
    print(rss())
"""


@pytest.mark.heavy
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_a_second_camera_takes_15_mb_at_most():
    pytest.importorskip("skimage")

    def rss(names):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, names], check=True, capture_output=True, text=True, timeout=300
        )
        return int(done.stdout)

    assert rss("door,till") - rss("door") <= 15e6
