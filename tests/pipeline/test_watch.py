"""The loop, with scripted sources and a recognizer that finds what the script says."""

from __future__ import annotations

import itertools
import math
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from pipeline.scripts import EVEN, ScriptedRecognizer, ScriptedSource, indices, watch

import fer_edge.pipeline.recognizer
from fer_edge.commands.signals import stopped_by_signals
from fer_edge.errors import SourceLostError
from fer_edge.faces.detector import FaceDetector
from fer_edge.faces.nod import pitches
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS
from fer_edge.models.people import People
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.watch import Watch
from fer_edge.sources.base import Frame


def test_recorded_source_is_processed_frame_by_frame():
    results, summary = watch(ScriptedSource(25), ScriptedRecognizer(pause=0.002))
    assert indices(results) == list(range(25))
    assert [result.index for result in results] == list(range(25))
    assert (summary.frames, summary.dropped, summary.faces, summary.tracks) == (25, 0, 25, 1)
    assert 2 <= summary.p50_ms <= summary.p95_ms
    assert all(result.latency_ms >= 2 for result in results)


def test_light_of_pictures_and_faces_is_measured():
    results, _ = watch(ScriptedSource(4), ScriptedRecognizer(without=(2,)))
    assert [result.brightness for result in results] == [0, 1, 2, 3]
    assert [[face.brightness for face in result.faces] for result in results] == [[0], [1], [], [3]]


@pytest.mark.parametrize("region", [None, (0.125, 0.0, 1.0, 1.0)])
def test_pitch_is_measured_in_the_picture(astronaut, region):
    found = FaceDetector().detect_in_picture(astronaut)
    left = 0 if region is None else round(region[0] * astronaut.shape[1])

    class Shown(ScriptedSource):
        def __iter__(self):
            yield Frame(astronaut, 0.0, self.name)

    class Finding(ScriptedRecognizer):
        def faces(self, index):
            return replace(
                found, boxes=found.boxes - np.float32([left, 0, 0, 0]), landmarks=found.landmarks - [left, 0]
            )

    (result,), _ = watch(Shown(), Finding(), region=region)
    np.testing.assert_allclose(result.faces.pitch, pitches(astronaut, found.landmarks), atol=0.01)
    assert result.faces[0].pitch == result.faces.pitch[0]


@pytest.mark.parametrize(("classify_every", "frames"), [(1, [0, 1, 2, 3, 4, 5, 6]), (2, [0, 6])])
def test_pitch_is_measured_by_turns_and_holds_until_the_next(monkeypatch, classify_every, frames):
    measured = []

    def scripted(image, landmarks):
        measured.extend(image[0, 0, 0] for _ in landmarks)
        return np.full(len(landmarks), image[0, 0, 0], np.float32)

    monkeypatch.setattr("fer_edge.pipeline.watch.pitches", scripted)
    results, _ = watch(ScriptedSource(7), ScriptedRecognizer(), classify_every=classify_every)
    assert measured == frames
    latest = [max(frame for frame in frames if frame <= index) for index in range(7)]
    assert [face.pitch for result in results for face in result.faces] == latest


def test_light_is_that_of_the_region(monkeypatch):
    class Lit(ScriptedSource):
        def __iter__(self):
            image = np.zeros((100, 100, 3), np.uint8)
            image[:, 50:] = 2  # and the face is 20 pixels from the edge
            yield Frame(image, 0.0, self.name)

    (result,), _ = watch(Lit(), region=(0.5, 0.0, 1.0, 1.0))
    assert result.brightness == 2
    assert [face.brightness for face in result.faces] == [2]


def test_live_source_drops_all_but_the_newest_frame():
    busy, all_given = threading.Event(), threading.Event()

    class Burst(ScriptedSource):
        """Gives its first frame, the rest while that is processed, and then falls silent."""

        def __iter__(self):
            for frame in super().__iter__():
                yield frame
                assert busy.wait(10)
            all_given.set()
            time.sleep(1)

    class Slow(ScriptedRecognizer):
        def detect(self, frame, size=320, chroma=None):
            busy.set()
            assert all_given.wait(10)
            return super().detect(frame)

    results, summary = watch(Burst(20, live=True), Slow(), frames=2)
    assert indices(results) == [0, 19]
    assert [result.dropped for result in results] == [0, 18]
    assert (summary.frames, summary.dropped) == (2, 18)


def test_latency_leaves_out_the_wait_for_the_camera():
    class Slow(ScriptedSource):
        """The second frame comes long after the first."""

        def __iter__(self):
            for frame in super().__iter__():
                yield frame
                time.sleep(0.5)

    results, summary = watch(Slow(2))
    assert results[1].monotonic - results[0].monotonic >= 0.5
    assert min(result.latency_ms for result in results) < 400
    assert summary.seconds >= 0.5


def test_frames_limit():
    assert indices(watch(ScriptedSource(10), frames=4)[0]) == [0, 1, 2, 3]
    assert len(watch(ScriptedSource(10, live=True, pause=0.01, hang=True), frames=4)[0]) == 4


def test_seconds_limit_holds_even_without_frames():
    began = time.monotonic()
    _, summary = watch(ScriptedSource(0, live=True, hang=True), seconds=0.3)
    assert summary.frames == 0
    assert math.isnan(summary.p50_ms)
    assert time.monotonic() - began >= 0.3


def test_whole_frames_every_nth_and_windows_between():
    recognizer = ScriptedRecognizer()
    results, summary = watch(ScriptedSource(9, shape=(240, 320)), recognizer, detect_every=4)
    assert recognizer.detected == [0, 4, 8]
    assert recognizer.windows == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [result.faces[0].box[0] for result in results] == [10.0 * index for index in range(9)]
    assert {(result.faces[0].track, result.faces[0].detected) for result in results} == {(1, True)}
    assert summary.tracks == 1


def test_whole_frame_at_once_after_a_face_was_lost():
    recognizer = ScriptedRecognizer(without={2, 3})
    results, _ = watch(ScriptedSource(9, shape=(240, 320)), recognizer, detect_every=10)
    assert recognizer.detected == [0, 2, 3, 4]
    assert [len(result.faces) for result in results] == [1, 1, 0, 0, 1, 1, 1, 1, 1]
    assert results[4].faces[0].track == 1


@pytest.mark.parametrize("cores", [1, 2])
def test_live_sources_have_whole_frames_searched_in_a_thread_where_there_is_a_core(cores, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    threads = set()

    class Noting(ScriptedRecognizer):
        def detect(self, frame, size=320, chroma=None):
            threads.add(threading.current_thread().name)
            return super().detect(frame)

    source = ScriptedSource(200, live=True, pause=0.005, shape=(240, 320))
    watch(source, Noting(), detect_every=2, frames=20)
    beside = {name for name in threads if name.startswith("whole frames")}
    assert len(beside) == cores - 1
    assert not beside & {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("live", "options", "settled"),
    [
        (True, {}, (10, 3)),
        (False, {}, (1, 1)),
        (True, {"detect_every": 2, "classify_every": 1}, (2, 1)),
        (False, {"detect_every": 10, "classify_every": 3}, (10, 3)),
    ],
)
def test_only_live_sources_save_work_by_default(live, options, settled):
    run = Watch(ScriptedSource(3, live=live), WatchOptions(**options), ScriptedRecognizer())
    assert (run.options.detect_every, run.options.classify_every) == settled
    run.close()


def test_how_often_is_searched_and_classified_may_change_while_it_runs():
    recognizer = ScriptedRecognizer(said=(0,))
    options = WatchOptions(min_hits=1, detect_every=100, classify_every=100)
    with Watch(ScriptedSource(20, shape=(240, 320)), options, recognizer) as run:
        list(itertools.islice(run, 10))
        seldom = len(recognizer.detected), sum(recognizer.classified)
        run.adjust(WatchOptions(min_hits=1))
        # As options say that are not given: of a film each frame.
        assert (run.options.detect_every, run.options.classify_every) == (1, 1)
        list(run)
    assert seldom == (1, 1)
    assert (len(recognizer.detected), sum(recognizer.classified)) == (11, 11)


def test_each_person_is_classified_by_turns_and_keeps_the_answer_between():
    said = (0, 1, 1, 2, 2, 2, 3)
    recognizer = ScriptedRecognizer(said=said)
    results, _ = watch(ScriptedSource(7), recognizer, classify_every=3, smoothing=0.0)
    assert recognizer.classified == [1, 0, 0, 1, 0, 0, 1]
    assert [result.faces[0].emotion for result in results] == [EMOTIONS[i] for i in (0, 0, 0, 2, 2, 2, 3)]


def test_answers_by_turns_are_smoothed_by_the_time_between_them():
    results, _ = watch(ScriptedSource(6), ScriptedRecognizer(), classify_every=3, smoothing=0.4)
    expected = np.zeros(7)
    expected[0] = math.exp(-0.3 / 0.4)
    expected[1] = 1 - expected[0]
    for result in results[:3]:
        assert result.faces[0].probabilities[0] == pytest.approx(1)
    for result in results[3:]:
        assert result.faces[0].probabilities == pytest.approx(expected)


def test_no_face_is_not_classified():
    recognizer = ScriptedRecognizer(without=set(range(5)))
    _, summary = watch(ScriptedSource(5), recognizer)
    assert sum(recognizer.classified) == 0
    assert summary.faces == 0


@pytest.mark.parametrize("people", [EVEN, None])
def test_probabilities_are_smoothed_over_time(people):
    results, _ = watch(ScriptedSource(2), ScriptedRecognizer(people=people), smoothing=0.4)
    expected = np.zeros(7)
    expected[0] = math.exp(-0.1 / 0.4)
    expected[1] = 1 - expected[0]
    assert results[1].faces[0].probabilities == pytest.approx(expected)
    assert {face.labels for result in results for face in result.faces} == {"people" if people else "fer2013"}


def test_sharpness_is_smoothed_as_the_probabilities_are():
    results, _ = watch(ScriptedSource(4), ScriptedRecognizer(), classify_every=3, smoothing=0.4)
    assert [result.faces[0].sharpness for result in results[:3]] == [0, 0, 0]
    assert results[3].faces[0].sharpness == pytest.approx(1 - math.exp(-0.3 / 0.4))


def test_votes_are_smoothed_before_they_are_interpreted():
    """Of a face that nobody can tell, the shares among the emotions weigh nothing in the mean."""
    happy, unknown = EMOTIONS.index("happy"), PEOPLE_ANSWERS.index("unknown")
    results, _ = watch(ScriptedSource(3), ScriptedRecognizer(said=(happy, unknown, 0)), smoothing=0.4)
    first, second, third = (result.faces[0] for result in results)
    kept = math.exp(-0.1 / 0.4)
    assert (first.emotion, first.uncertainty, first.unsure) == ("happy", pytest.approx(0, abs=1e-6), False)
    # Of the votes 1 - kept are for "unknown", and all others for happy.
    assert second.probabilities[happy] == pytest.approx(1)
    assert (second.uncertainty, second.unsure) == (pytest.approx(1 - kept), False)
    assert third.probabilities[happy] == pytest.approx(kept**2 / (kept**2 + 1 - kept))
    assert third.emotion == "happy"


def test_the_balance_chooses_among_smoothed_votes():
    """With a prior of 0.9 angry against 0.05 disgust, T = 1 turns to disgust from 5.3 % of the votes on."""
    people = People((0.9, 0.05, 0.01, 0.01, 0.01, 0.01, 0.01), 1.0, 0.9)
    results, _ = watch(ScriptedSource(2), ScriptedRecognizer(people=people), smoothing=0.4)
    assert [result.faces[0].emotion for result in results] == ["angry", "disgust"]
    assert results[1].faces[0].probabilities.argmax() == EMOTIONS.index("angry")


def test_a_face_becomes_unsure_while_people_disagree():
    people = replace(EVEN, unsure_above=0.3)
    results, _ = watch(ScriptedSource(3), ScriptedRecognizer(said=(0, 1, 1), people=people), smoothing=0.1)
    # 0.1 s later 63 % say the other: entropy 0.34 of its largest; after 0.2 s 86 %: 0.20.
    assert [result.faces[0].unsure for result in results] == [False, True, False]
    results, _ = watch(ScriptedSource(3), ScriptedRecognizer(said=(0, 1, 1), people=None), smoothing=0.1)
    assert [result.faces[0].unsure for result in results] == [False] * 3


@pytest.mark.parametrize("labels", ["people", "fer2013"])
def test_labels_choose_the_answer_of_the_bundled_model(labels, monkeypatch):
    asked = []
    original = fer_edge.pipeline.recognizer.load_classifier
    monkeypatch.setattr(
        fer_edge.pipeline.recognizer,
        "load_classifier",
        lambda *given: asked.append(original(*given)) or asked[0],
    )
    with Watch(ScriptedSource(1), WatchOptions(labels=labels)) as run:
        (result,) = run
    assert asked[0].labels == labels
    assert (result.faces.labels, len(result.faces)) == (labels, 0)


def test_unrelated_images_are_neither_tracked_nor_smoothed():
    results, summary = watch(ScriptedSource(4, related=False), smoothing=10.0, detect_every=3)
    assert [result.faces[0].emotion for result in results] == [EMOTIONS[0], EMOTIONS[1]] * 2
    assert [result.faces[0].track for result in results] == [None] * 4
    assert summary.tracks == 0


@pytest.mark.parametrize("live", [True, False])
def test_source_that_is_lost_ends_the_run(live):
    source = ScriptedSource(3, live=live, pause=0.02, error=SourceLostError("unplugged"))
    run = Watch(source, recognizer=ScriptedRecognizer())
    results = []
    with pytest.raises(SourceLostError, match="unplugged"):
        for result in run:
            results.append(result)
    assert run.summary.frames == len(results)
    assert run.summary.frames + run.summary.dropped == 3


def test_source_is_closed_where_it_was_opened_here_only(monkeypatch):
    closed = []

    class Closing(ScriptedSource):
        def close(self):
            closed.append(self.count)

    monkeypatch.setattr("fer_edge.pipeline.watch.open_any", lambda spec, colour: Closing(int(spec)))
    for leave in ("end", "close", "with", "break"):
        run = fer_edge.watch("3", recognizer=ScriptedRecognizer())
        if leave == "end":
            assert len(list(run)) == 3
        elif leave == "close":
            run.close()
            assert list(run) == []
        elif leave == "with":
            with run:
                pass
        else:
            with run:
                for _ in run:
                    break
        assert closed == [3], leave
        run.close()
        closed.clear()
    with Watch(Closing(2), recognizer=ScriptedRecognizer()) as run:
        assert len(list(run)) == 2
    assert closed == []


def test_source_is_closed_where_the_model_cannot_be_loaded(monkeypatch):
    closed = []

    class Closing(ScriptedSource):
        def close(self):
            closed.append(self.count)

    monkeypatch.setattr("fer_edge.pipeline.watch.open_any", lambda spec, colour: Closing(3))
    with pytest.raises(fer_edge.ModelError, match="no model 'missing'"):
        fer_edge.watch("film.mp4", model="missing")
    assert closed == [3]


def test_results_tell_when_and_where():
    before = (time.monotonic(), datetime.now(UTC))
    results, _ = watch(ScriptedSource(3), camera="door")
    after = (time.monotonic(), datetime.now(UTC))
    for result in results:
        assert (result.source, result.camera) == ("script", "door")
        assert before[0] <= result.monotonic <= after[0]
        assert result.time.tzinfo is UTC
        # The wall clock is read after the monotonic one.
        assert before[1] - timedelta(seconds=0.1) <= result.time <= after[1]
        assert result.size == (64, 48)
    assert [result.timestamp for result in results] == pytest.approx([0, 0.1, 0.2])
    assert watch(ScriptedSource(1))[0][0].camera == "script"


def test_face_becomes_a_person_after_some_detections():
    results, summary = watch(ScriptedSource(5), min_hits=3)
    assert [result.faces[0].track for result in results] == [None, None, 1, 1, 1]
    assert summary.tracks == 1


def test_empty_name_is_no_source():
    with pytest.raises(fer_edge.SourceError, match="empty name"):
        fer_edge.watch("", recognizer=ScriptedRecognizer())


def test_unknown_option_is_refused():
    with pytest.raises(TypeError, match="detect_evry"):
        fer_edge.watch("demo", detect_evry=3)


def test_silent_camera_is_a_lost_source():
    with pytest.raises(SourceLostError, match=r"script: no frame for 0\.3 s"):
        watch(ScriptedSource(1, live=True, hang=True), silence=0.3)


@pytest.mark.parametrize("live", [False, True])
def test_close_from_another_thread_ends_the_run(live):
    source = ScriptedSource(1_000_000, live=live, pause=0.001)
    results = Watch(source, recognizer=ScriptedRecognizer())
    assert next(results).index == 0
    with ThreadPoolExecutor() as pool:
        rest = pool.submit(lambda: sum(1 for _ in results))
        time.sleep(0.05)
        results.close()
        rest.result(60)
    assert next(results, None) is None


def test_threads_may_share_the_results():
    results = Watch(ScriptedSource(200), recognizer=ScriptedRecognizer())
    with ThreadPoolExecutor(4) as pool:
        shares = pool.map(lambda _: [result.index for result in results], range(4))
        assert sorted(index for share in shares for index in share) == list(range(200))


def test_stop_from_another_thread():
    run = Watch(ScriptedSource(10_000, live=True, pause=0.01), recognizer=ScriptedRecognizer())
    threading.Timer(0.2, run.stop).start()
    count = len(list(run))
    assert count == run.summary.frames < 10_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_after_the_current_frame_and_handlers_are_put_back(number):
    before = signal.getsignal(number)
    run = Watch(ScriptedSource(250), recognizer=ScriptedRecognizer())
    with stopped_by_signals(run):
        assert len([os.kill(os.getpid(), number) for result in run if result.index == 20]) == 1
    assert run.summary.frames == 21
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_stays_ignored(number):
    """nohup ignores SIGHUP, and a shell Ctrl-C for its background jobs."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        run = Watch(ScriptedSource(30), recognizer=ScriptedRecognizer())
        with stopped_by_signals(run):
            assert len([os.kill(os.getpid(), number) for result in run if result.index == 20]) == 1
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
    assert run.summary.frames == 30


@pytest.mark.parametrize(
    "options",
    [
        {"detect_every": 0},
        {"classify_every": 0},
        {"classify_every": 1.5},
        {"smoothing": -1.0},
        {"smoothing": math.nan},
        {"frames": 0},
        {"seconds": 0.0},
        {"min_hits": 0},
        {"frames": 2.5},
        {"detect_every": 2.5},
        {"silence": -1.0},
        {"silence": math.nan},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        WatchOptions(**options)


def test_the_landmarks_of_tracks_go_along_with_their_boxes():
    recognizer = ScriptedRecognizer()
    watch(ScriptedSource(6), recognizer, detect_every=3)
    assert [np.shape(landmarks) for landmarks in recognizer.landmarks] == [(1, 5, 2)] * 6


@pytest.mark.heavy
def test_memory_for_latencies_is_bounded():
    class Endless(ScriptedSource):
        def __iter__(self):
            frame = Frame(np.zeros((1, 1, 3), np.uint8), 0.0, self.name)
            for _ in range(10_500):
                yield frame

    run = Watch(Endless(), recognizer=ScriptedRecognizer(without=set(range(256))))
    assert sum(1 for _ in run) == 10_500
    assert len(run._tally._latencies) == 10_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_score", 0.9),
        ("align", True),
        ("model", "nano"),
        ("threads", 2),
        ("labels", "fer2013"),
        ("balance", 1.0),
    ],
)
def test_an_option_that_a_given_recognizer_has_itself_is_refused(name, value):
    message = rf"^{name}: the given recognizer has its own; say Recognizer\({name}=...\) instead$"
    with pytest.raises(ValueError, match=message):
        fer_edge.watch(ScriptedSource(1), recognizer=ScriptedRecognizer(), **{name: value})


def test_a_given_recognizer_keeps_its_threshold_when_other_options_are_reloaded():
    recognizer = ScriptedRecognizer()
    recognizer.min_score = 0.5
    with fer_edge.watch(ScriptedSource(2), recognizer=recognizer) as run:
        run.adjust(replace(run.options, smoothing=1.0))
    assert recognizer.min_score == 0.5


def test_options_of_a_run_go_with_a_given_recognizer():
    with fer_edge.watch(
        ScriptedSource(2), recognizer=ScriptedRecognizer(), min_hits=1, detect_size=320
    ) as run:
        assert [len(result.faces) for result in run] == [1, 1]
