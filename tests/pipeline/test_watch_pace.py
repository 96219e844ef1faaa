"""The loop and the command with options that choose frames, limit the rate, or let it rest."""

from __future__ import annotations

import json
import math
import threading
import time

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from pipeline.scripts import ScriptedRecognizer, ScriptedSource, indices, watch

from fer_edge.errors import SourceError
from fer_edge.pipeline import pace
from fer_edge.pipeline.capture import FrameSlot
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.watch import Watch
from fer_edge.sources.base import Frame


class Slow(ScriptedSource):
    """The same film or camera by its timestamps at another rate."""

    def __init__(self, count, fps, **options):
        super().__init__(count, **options)
        self.fps = fps

    def __iter__(self):
        for index, frame in enumerate(super().__iter__()):
            yield Frame(frame.image, index / self.fps, self.name)


def watch_live(count, pause, recognizer=None, **options):
    """All results of a live source that gives so many frames and then fails, and the run's summary."""
    source = ScriptedSource(count, live=True, pause=pause, error=SourceError("end of the script"))
    results = []
    with Watch(source, WatchOptions(**options), recognizer or ScriptedRecognizer()) as run:
        with pytest.raises(SourceError, match="end of the script"):
            results += iter(lambda: next(run), None)
        return results, run.summary


def test_every_and_fps_choose_frames_of_a_film_and_count_the_others():
    results, summary = watch(ScriptedSource(12), every=5)
    assert indices(results) == [0, 5, 10]
    assert [result.timestamp for result in results] == pytest.approx([0, 0.5, 1.0])
    assert (summary.frames, summary.passed, summary.dropped) == (3, 9, 0)
    results, summary = watch(ScriptedSource(12), fps=2)
    assert indices(results) == [0, 5, 10]
    assert summary.passed == 9


def test_every_chooses_pictures_of_a_folder_but_fps_is_refused():
    results, summary = watch(ScriptedSource(7, related=False), every=3)
    assert indices(results) == [0, 3, 6]
    assert summary.passed == 4
    with pytest.raises(SourceError, match="script: single pictures have no frames a second"):
        watch(ScriptedSource(7, related=False), fps=1)


def test_every_chooses_frames_of_a_live_source_by_what_it_gives():
    """What is passed over is not dropped, although the recognizer is slower than the source."""
    results, summary = watch_live(40, 0.005, ScriptedRecognizer(pause=0.03), every=4)
    assert {index % 4 for index in indices(results)} == {0}
    assert summary.passed == 30
    assert summary.frames + summary.dropped == 10


def test_a_live_source_with_a_limit_gives_the_newest_frame_each_time_and_drops_none():
    results, summary = watch_live(100, 0.01, max_fps=5)
    gaps = np.diff([result.monotonic for result in results])
    # Each is the first after its time; a late one may be followed by one in time.
    assert min(gaps) >= 0.2 - 0.05 - 0.02
    assert summary.frames >= 2
    assert summary.passed > 50
    assert summary.frames + summary.passed + summary.dropped == 100


def test_a_film_with_a_limit_waits_and_passes_nothing_over():
    began = time.monotonic()
    results, summary = watch(ScriptedSource(6), max_fps=20)
    assert time.monotonic() - began >= 5 * 0.05 - 0.05
    assert (indices(results), summary.passed) == ([0, 1, 2, 3, 4, 5], 0)


def test_a_budget_makes_a_film_rest():
    class Busy(ScriptedRecognizer):
        """Uses 20 ms of CPU time for a frame."""

        def detect(self, frame, size=320, chroma=None):
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
            return super().detect(frame)

    results, summary = watch(ScriptedSource(20), Busy(), budget=20)
    assert (len(results), summary.passed) == (20, 0)
    # 19 rests of 80 ms; on a busy machine the process gets less CPU time by itself.
    assert summary.seconds >= 19 * 0.02 / 0.2 * 0.9 - 1
    assert summary.cpu_percent <= 25


def test_a_rest_ends_when_the_run_is_stopped_or_its_time_is_over():
    run = Watch(ScriptedSource(3), WatchOptions(max_fps=0.001), ScriptedRecognizer())
    threading.Timer(0.2, run.stop).start()
    assert len(list(run)) == 1
    results, _ = watch(ScriptedSource(3), max_fps=0.001, seconds=0.3)
    assert len(results) == 1


def test_a_frame_that_was_wanted_before_a_rest_and_decoded_in_it_is_passed_over():
    """Else it would be looked at after the rest, when it is old."""
    decoding, decoded = threading.Event(), threading.Event()

    class Sluggish(ScriptedSource):
        """Asks for a frame and takes its time to decode it."""

        choosy = True

        def __iter__(self):
            for frame in super().__iter__():
                assert self.wants(frame.timestamp)
                decoding.set()
                assert decoded.wait(10)
                yield frame
            time.sleep(1)

    rests = pace.Pace()
    slot = FrameSlot(Sluggish(1, live=True), rests)
    assert decoding.wait(10)
    rests.due = time.monotonic() + 60
    decoded.set()
    assert slot.take(0.5) is None
    assert rests.passed == 1
    slot.close()


@pytest.mark.parametrize("live", [True, False])
def test_reading_ends_during_a_rest_without_a_wanted_frame(live):
    """Else closing takes two seconds, and a source that stays open is read on."""
    source = ScriptedSource(250, live=live, pause=0.04)
    slot = FrameSlot(source, pace.Pace(every=10**9))
    assert slot.take(10) is not None
    slot.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "capture"]


def test_frames_passed_over_are_signs_of_life():
    """A camera of which a frame is wanted every ten seconds is not silent meanwhile."""
    results, summary = watch_live(60, 0.04, max_fps=0.1, silence=2)
    assert (len(results), summary.passed) == (1, 59)


def test_a_live_source_without_faces_is_looked_at_seldom(monkeypatch):
    monkeypatch.setattr(pace, "IDLE_AFTER", 0.0)
    _, summary = watch_live(100, 0.01, ScriptedRecognizer(without=set(range(256))), idle_fps=0.1)
    assert summary.frames <= 3
    assert summary.frames + summary.passed + summary.dropped == 100
    assert summary.passed > 50


def test_a_film_without_faces_is_looked_at_all_the_same(monkeypatch):
    monkeypatch.setattr(pace, "IDLE_AFTER", 0.0)
    _, summary = watch(ScriptedSource(30), ScriptedRecognizer(without=set(range(256))), idle_fps=0.1)
    assert (summary.frames, summary.passed) == (30, 0)


def test_an_idle_run_finds_a_face_in_the_first_frame_whatever_detect_every_is(monkeypatch):
    monkeypatch.setattr(pace, "IDLE_AFTER", 0.0)
    recognizer = ScriptedRecognizer(without=set(range(256)))
    results, _ = watch_live(60, 0.01, recognizer, idle_fps=10, detect_every=50)
    assert len(results) >= 2
    assert set(indices(results)) == set(recognizer.detected)


def test_two_frames_a_second_are_searched_smoothed_and_counted_as_they_should():
    recognizer = ScriptedRecognizer()
    results, summary = watch(Slow(6, 2.0), recognizer, min_hits=3, smoothing=0.4, detect_every=10)
    assert recognizer.detected == [0, 1, 2, 3, 4, 5]
    assert [result.faces[0].track for result in results] == [None, None, 1, 1, 1, 1]
    assert results[2].timestamp == 1.0
    assert results[1].faces[0].probabilities[0] == pytest.approx(math.exp(-0.5 / 0.4))
    assert summary.tracks == 1


def test_unpaced_gives_every_frame_of_the_demo_at_its_own_times():
    pytest.importorskip("skimage")
    began = time.monotonic()
    with Watch("demo", WatchOptions(unpaced=True, frames=300, every=10), ScriptedDetector()) as run:
        times = [result.timestamp for result in run if result.index < 5]
        summary = run.summary
    assert times == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3])
    assert (summary.frames, summary.dropped, summary.passed) == (300, 0, 9 * 299)
    # That was 100 seconds of the demo camera's time.
    assert time.monotonic() - began < 90


class ScriptedDetector(ScriptedRecognizer):
    """Finds nothing."""

    def detect(self, frame, size=320, chroma=None):
        return super().detect(np.zeros_like(frame))


def test_unpaced_refuses_what_is_live():
    with pytest.raises(SourceError, match="script: is live, its frames come in their own time"):
        watch(ScriptedSource(3, live=True), unpaced=True)
    assert len(watch(ScriptedSource(3), unpaced=True)[0]) == 3


def test_a_source_that_stays_open_is_not_left_with_the_choice_of_a_run():
    source = ScriptedSource(9)
    assert len(watch(source, every=4)[0]) == 3
    assert len(list(source.chosen())) == 9


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0},
        {"every": 1.5},
        {"fps": 0.0},
        {"fps": math.nan},
        {"max_fps": -1.0},
        {"max_fps": math.inf},
        {"budget": 0.0},
        {"idle_fps": -1.0},
        {"idle_fps": math.nan},
    ],
)
def test_options_of_the_pace_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} "):
        WatchOptions(**options)
    with pytest.raises(ValueError, match="give one of them"):
        WatchOptions(every=2, fps=3)


def test_command_takes_chosen_frames_of_the_demo_camera(cli):
    pytest.importorskip("skimage")
    code, out, err = cli("run", "--camera", "demo", "--unpaced", "--every", 15, "--frames", 4, "--jsonl", "-")
    assert code == 0, err
    start, *frames, end = [json.loads(line) for line in out.splitlines()]
    assert (start["live"], start["options"]["every"]) == (False, 15)
    assert [frame["timestamp"] for frame in frames] == [0, 0.5, 1, 1.5]
    assert [frame["faces"][0]["track"] for frame in frames] == [None, None, 1, 1]
    assert (end["summary"]["passed"], end["summary"]["dropped"]) == (42, 0)
    assert "passed 42" in err


def test_command_refuses_a_camera_that_is_to_be_unpaced(cli, monkeypatch):
    source = ScriptedSource(3, live=True)
    monkeypatch.setattr("fer_edge.sources.open_camera", lambda spec, options: source)
    code, out, err = cli("run", "--camera", "0", "--unpaced")
    assert (code, out) == (2, "")
    assert "script: is live" in err


def test_command_tells_the_rate_that_it_keeps(cli, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr(pace, "_WINDOW", 0.3)
    # On a busy machine windows as short as these never agree.
    monkeypatch.setattr(pace, "_STEADY", math.inf)
    code, _, err = cli(
        "run", "--camera", "demo", "--unpaced", "--max-fps", 10, "--frames", 25, "--jsonl", "-"
    )
    assert code == 0
    assert "keeping " in err
    assert "frames a second" in err
