"""The loop, with scripted sources and a recognizer that finds what the script says; and the command."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from sources.pictures import write_film

import fer_edge.pipeline.recognizer
from fer_edge.commands.signals import stopped_by_signals
from fer_edge.errors import SourceLostError
from fer_edge.faces.faces import Face, Faces
from fer_edge.labels import EMOTIONS, PEOPLE_ANSWERS
from fer_edge.models.people import People, interpret, interpret_labels
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.recognizer import Recognizer, answered
from fer_edge.pipeline.watch import Watch
from fer_edge.sources.base import Frame, Source
from fer_edge.sources.cameras import Camera


class ScriptedSource(Source):
    """Frame k is filled with k and comes at k / 10 seconds; live ones come every ``pause`` seconds."""

    name = "script"

    def __init__(self, count=10, live=False, related=True, pause=0.0, error=None, hang=False, shape=(48, 64)):
        self.count, self.live, self.related, self.shape = count, live, related, shape
        self.pause, self.error, self.hang = pause, error, hang

    def __iter__(self):
        for index in range(self.count):
            time.sleep(self.pause)
            yield Frame(np.full((*self.shape, 3), index, np.uint8), index / 10, self.name)
        if self.hang:
            time.sleep(1.5)
        if self.error:
            raise self.error


EVEN = People((1 / 7,) * 7, 0.0, 0.6)


class ScriptedRecognizer:
    """Finds a face at (10 k, 0) in frame k, but none in the frames ``without``.

    All people say of frame k the answer ``said``[k], by turns; ``people`` None: by the labels of 2013.
    """

    def __init__(self, without=(), pause=0.0, said=(0, 1), people=EVEN):
        self.without, self.pause, self.said, self.people = without, pause, said, people
        self.detected, self.windows, self.classified, self.landmarks = [], [], [], []

    @property
    def detector(self):
        return self

    @property
    def classifier(self):
        return self

    def answers(self, distribution):
        return interpret(distribution, self.people) if self.people else interpret_labels(distribution)

    def detect(self, frame, size=320, chroma=None):
        time.sleep(self.pause)
        index = int(frame.flat[0])
        self.detected.append(index)
        return self.faces(index)

    def detect_in_windows(self, frame, windows, size, chroma=None):
        index = int(frame[0, 0, 0])
        self.windows.append(index)
        return [self.faces(index) for _ in windows]

    def faces(self, index):
        lefts = [] if index in self.without else [10.0 * index]
        count = len(lefts)
        return Faces(
            np.array([[left, 0, 100, 100] for left in lefts], np.float32).reshape(-1, 4),
            np.full(count, 0.9, np.float32),
            np.zeros((count, 5, 2), np.float32),
        )

    def distributions(self, frame, faces):
        self.classified.append(len(faces))
        self.landmarks.append(faces.landmarks)
        answers = np.eye(9 if self.people else 7, dtype=np.float32)
        return answers[[self.said[int(frame.flat[0]) % len(self.said)]] * len(faces)]

    def classify(self, frame, faces):
        return answered(faces, self.answers(self.distributions(frame, faces)))


def indices(results):
    return [int(result.image[0, 0, 0]) for result in results]


def watch(source, recognizer=None, **options):
    """All results of a run, and its summary."""
    options = {"min_hits": 1, **options}
    with Watch(source, WatchOptions(**options), recognizer or ScriptedRecognizer()) as run:
        results = list(run)
    return results, run.summary


def test_recorded_source_is_processed_frame_by_frame():
    results, summary = watch(ScriptedSource(25), ScriptedRecognizer(pause=0.002))
    assert indices(results) == list(range(25))
    assert [result.index for result in results] == list(range(25))
    assert (summary.frames, summary.dropped, summary.faces, summary.tracks) == (25, 0, 25, 1)
    assert 2 <= summary.p50_ms <= summary.p95_ms
    assert all(result.latency_ms >= 2 for result in results)


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


# The real detector with a classifier that tells how bright a face is


class BrightnessClassifier:
    """As :class:`fer_edge.models.classifier.Classifier`; bright faces are happy, dark ones sad.

    Of ten people who see a dark face three cannot tell.
    """

    model, backend, precision, threads, labels = "brightness", "none", "int8", 1, "people"

    def __init__(self):
        self.batches = []

    def answers(self, distribution):
        return interpret(distribution, replace(EVEN, unsure_above=0.2))

    def predict_filled(self, count, fill):
        self._faces = np.zeros((count, 48, 48), np.int8)
        fill(self._faces)
        self.batches.append(count)
        bright = self._faces.mean(axis=(1, 2)) > -28
        votes = np.zeros((count, len(PEOPLE_ANSWERS)), np.float32)
        votes[bright, EMOTIONS.index("happy")] = 1
        votes[~bright, EMOTIONS.index("sad")] = 0.7
        votes[~bright, PEOPLE_ANSWERS.index("unknown")] = 0.3
        return votes


@pytest.fixture
def classifier(monkeypatch):
    one = BrightnessClassifier()
    monkeypatch.setattr(fer_edge.pipeline.recognizer, "load_classifier", lambda *_, **__: one)
    return one


def test_all_faces_of_a_frame_are_one_batch_and_keep_their_places(classifier, astronaut):
    frame = np.concatenate([astronaut[:300, 80:380], astronaut[:300, 80:380] // 3], axis=1)
    faces = Recognizer().recognize(frame)
    assert classifier.batches == [2]
    assert sorted((face.box[0] > 300, face.emotion) for face in faces) == [(False, "happy"), (True, "sad")]
    assert all(isinstance(face, Face) and face.track is None for face in faces)
    assert all(face.probabilities.shape == (7,) and face.landmarks.shape == (5, 2) for face in faces)


def test_grey_and_colour_give_the_same_faces(classifier, astronaut):
    (colour,) = Recognizer().recognize(astronaut)
    (grey,) = Recognizer().recognize(cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY))
    assert grey.box == pytest.approx(colour.box, abs=6)
    assert grey.emotion == colour.emotion


def test_faces_are_turned_upright_on_request_only(classifier, astronaut):
    found = Recognizer().detect(astronaut)
    ((x, y, width, height),) = found.boxes
    tilt = cv2.getRotationMatrix2D((x + width / 2, y + height / 2), 25, 1)  # counter-clockwise
    tilted = cv2.warpAffine(astronaut, tilt, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    landmarks = (found.landmarks @ tilt[:, :2].T + tilt[:, 2]).astype(np.float32)
    likeness = {}
    for align in (False, True):
        recognizer = Recognizer(align=align)
        recognizer.classify(astronaut, found)
        upright = classifier._faces.ravel()
        recognizer.classify(tilted, replace(found, landmarks=landmarks))
        likeness[align] = np.corrcoef(upright, classifier._faces.ravel())[0, 1]
    assert likeness[True] > 0.98
    assert likeness[False] < 0.7


def test_recognize_hands_the_landmarks_on(classifier, astronaut):
    recognizer = Recognizer(align=True)
    (face,) = recognizer.recognize(astronaut)
    turned = classifier._faces
    found = Faces(np.array([face.box], np.float32), np.ones(1, np.float32), face.landmarks[np.newaxis])
    recognizer.classify(astronaut, found)
    assert np.array_equal(classifier._faces, turned)
    level = np.tile(np.array([[0, 0], [1, 0], [0, 1], [0, 2], [1, 2]], np.float32), (1, 1, 1))
    recognizer.classify(astronaut, replace(found, landmarks=level))
    assert not np.array_equal(classifier._faces, turned)


@pytest.mark.heavy
def test_threads_may_share_a_recognizer(astronaut):
    recognizer = Recognizer()
    group = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    pictures = [astronaut, group, astronaut[:, ::-1], astronaut // 2]
    expected = [recognizer.recognize(picture) for picture in pictures]
    assert [len(faces) for faces in expected] == [1, 2, 1, 1]

    def ask(index):
        for _ in range(10):
            for face, known in zip(
                recognizer.recognize(pictures[index % 4]), expected[index % 4], strict=True
            ):
                assert face.box == known.box
                assert np.array_equal(face.probabilities, known.probabilities)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_frame_without_faces_gives_an_empty_list(classifier):
    assert Recognizer().recognize(np.zeros((100, 100, 3), np.uint8)) == []
    assert classifier.batches == []


def test_recognizer_refuses_what_is_no_frame(classifier):
    recognizer = Recognizer()
    with pytest.raises(TypeError, match="float64"):
        recognizer.recognize(np.zeros((10, 10, 3)))
    with pytest.raises(ValueError, match=r"\(10, 10, 4\)"):
        recognizer.recognize(np.zeros((10, 10, 4), np.uint8))


@pytest.fixture
def video(tmp_path, astronaut):
    starts = range(60, 84, 2)
    pictures = (np.ascontiguousarray(astronaut[:300, left : left + 300]) for left in starts)
    return write_film(tmp_path / "film.avi", pictures)


def test_command_writes_json_only_to_stdout(cli, classifier, video):
    code, out, err = cli("run", video, "--jsonl", "-")
    assert code == 0
    start, *written, end = [json.loads(line) for line in out.splitlines()]
    assert (start["type"], start["source"], start["live"]) == ("start", str(video), False)
    assert start["model"] == {
        "name": "brightness",
        "backend": "none",
        "precision": "int8",
        "labels": "people",
    }
    assert start["options"]["detect_every"] == 1
    assert end["summary"]["frames"] == 12
    assert end["outputs"] == {"jsonl": {"lost": 0, "dropped": 0}}
    assert [one["frame"] for one in written] == list(range(12))
    assert [one["timestamp"] for one in written] == pytest.approx([k / 10 for k in range(12)])
    assert [one["faces"][0]["track"] for one in written] == [None, None, *[1] * 10]
    lefts = [one["faces"][0]["box"][0] for one in written]
    assert lefts[0] - lefts[-1] == pytest.approx(22, abs=5)
    assert "12 frames" in err


def test_command_tells_people_what_it_sees(cli, classifier, video):
    code, out, err = cli("run", video)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "frame 0  0.00 s  1 face: 10 of 10 would say happy"
    assert "frame 2  0.20 s  1 face: #1 10 of 10 would say happy" in lines
    assert lines[-1].startswith("12 frames in ")
    assert "faces 12 (1 track)" in lines[-1]


def test_command_on_a_folder_tells_each_image_and_keeps_on_after_a_bad_one(
    cli, classifier, tmp_path, astronaut
):
    cv2.imwrite(str(tmp_path / "a.png"), astronaut)
    cv2.imwrite(str(tmp_path / "c.png"), astronaut // 3)
    (tmp_path / "b.png").write_bytes(b"bad")
    (tmp_path / "out").mkdir()
    code, out, _ = cli("run", tmp_path, "--save-image", tmp_path / "out")
    assert code == 0
    assert out.splitlines()[:2] == [
        f"{tmp_path}/a.png  1 face: 10 of 10 would say happy",
        f"{tmp_path}/c.png  1 face: unsure, 10 of 10 would say sad",
    ]
    assert "skipped 1 unreadable" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png.png", "c.png.png"]


def test_unsure_off_leaves_the_word_out_but_not_the_field(cli, classifier, tmp_path, astronaut):
    cv2.imwrite(str(tmp_path / "dark.png"), astronaut // 3)
    told = {}
    for unsure in ("on", "off"):
        picture = tmp_path / f"{unsure}.png"
        code, out, _ = cli("run", tmp_path / "dark.png", "--unsure", unsure, "--save-image", picture)
        assert code == 0
        told[unsure] = (out.splitlines()[0].partition("1 face: ")[2], cv2.imread(str(picture)))
        code, out, _ = cli("run", tmp_path / "dark.png", "--unsure", unsure, "--jsonl", "-")
        assert code == 0
        face = json.loads(out.splitlines()[1])["faces"][0]
        assert (face["emotion"], face["unsure"], face["uncertainty"]) == ("sad", True, 0.3)
    assert told["on"][0] == "unsure, 10 of 10 would say sad"
    assert told["off"][0] == "10 of 10 would say sad"
    assert not np.array_equal(told["on"][1], told["off"][1])
    code, _, err = cli("run", tmp_path / "dark.png", "--unsure", "maybe")
    assert code == 2
    assert "'maybe' is neither on nor off" in err


@pytest.mark.parametrize(("given", "labels"), [((), "people"), (("--labels", "fer2013"), "fer2013")])
def test_command_asks_whom_it_is_told_to(cli, video, given, labels):
    code, out, err = cli("run", video, "--jsonl", "-", *given)
    assert code == 0, err
    start, *_ = [json.loads(line) for line in out.splitlines()]
    assert start["model"]["labels"] == start["options"]["labels"] == labels
    code, out, err = cli("run", video, *given)
    assert code == 0, err
    words = r"1 face: \d+ of 10 would say happy" if labels == "people" else r"1 face: happy \d+ %"
    assert re.fullmatch(rf"frame 0  0\.00 s  {words}", out.splitlines()[0])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (("--save-image", "a.png"), "is also the input"),
        (("--jsonl", "a.png", "--force"), "is a picture, not a file for JSON lines"),
        (("--save-image", "."), "holds the input"),
        (("--save-image", "out"), "is also the input"),
        (("--jsonl", "x.png", "--save-image", "./x.png"), "two outputs cannot be the same file"),
    ],
)
def test_command_keeps_every_image_of_a_folder_that_it_reads(
    cli, classifier, tmp_path, astronaut, monkeypatch, outputs, message
):
    """`out` holds a link to an input under the name that its annotated picture would get."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", astronaut)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png.png").hardlink_to("a.png")
    before = (tmp_path / "a.png").read_bytes()
    code, _, err = cli("run", ".", *outputs)
    assert code == 2
    assert message in err
    assert (tmp_path / "a.png").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "out"}


def test_command_refuses_a_folder_for_the_pictures_of_a_film(cli, classifier, video, tmp_path):
    for folder in (tmp_path, f"{tmp_path}/new/"):
        code, _, err = cli("run", video, "--save-image", folder)
        assert code == 2
        assert "is a folder, which is for images" in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ("run", option, "")
            for option in ("--camera", "--jsonl", "--save-video", "--save-image", "--model")
        ),
        ("run", ""),
        ("predict", ""),
        ("evaluate", "x.csv", "--votes", ""),
        ("bench", "--image", ""),
    ],
)
def test_an_unset_shell_variable_is_refused(cli, arguments):
    code, _, err = cli(*arguments)
    assert code == 2
    assert "must not be empty" in err


def test_command_writes_video_image_and_log_at_once(cli, classifier, video, tmp_path):
    code, _, _ = cli(
        *("run", video, "--save-video", tmp_path / "o.mp4"),
        *("--save-image", tmp_path / "o.png", "--jsonl", tmp_path / "o.jsonl"),
    )
    assert code == 0
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 1 + 12 + 1
    assert cv2.imread(str(tmp_path / "o.png")).shape == (600, 600, 3)
    capture = cv2.VideoCapture(str(tmp_path / "o.mp4"), cv2.CAP_FFMPEG)
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (12, pytest.approx(10))


def test_command_does_not_overwrite_a_film_that_a_url_names(cli, classifier, video):
    before = video.read_bytes()
    for option in ("--jsonl", "--save-video"):
        code, _, err = cli("run", f"file://{video}", option, video, "--force")
        assert code == 2
        assert "is also the input" in err
    assert video.read_bytes() == before


def test_command_without_camera_says_what_could_be_given(cli, classifier, monkeypatch):
    monkeypatch.setattr("fer_edge.sources.list_cameras", list)
    monkeypatch.setattr("fer_edge.sources.has_picamera", lambda: False)
    code, out, err = cli("run", "--frames", "2")
    assert (code, out) == (2, "")
    for choice in ("film", "image", "folder", "URL", "--camera", "picamera2", "demo"):
        assert choice in err


@pytest.mark.parametrize(("v4l2", "opened"), [(True, "3"), (False, "picamera2")])
def test_command_takes_the_first_camera_there_is(cli, classifier, monkeypatch, v4l2, opened):
    monkeypatch.setattr("fer_edge.sources.list_cameras", lambda: [Camera(3, "", "", True)] * v4l2)
    monkeypatch.setattr("fer_edge.sources.has_picamera", lambda: True)
    asked = []

    def opens(name):
        return lambda *_, **__: asked.append(name) or ScriptedSource(2, live=True, hang=True)

    monkeypatch.setattr("fer_edge.sources.open_camera", lambda spec, colour: opens(spec)())
    monkeypatch.setattr("fer_edge.sources.PiCameraSource", opens("picamera2"))
    code, _, err = cli("run", "--frames", "1")
    assert (code, asked) == (0, [opened])
    assert "script (choose with --camera)" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jpg"], "missing.jpg: No such file"),
        (["film.avi", "--camera", "0"], "not both"),
        (["film.avi", "--frames", "0"], "frames must be 1 or more"),
        (["film.avi", "--save-video", "o.gif"], "must end in .mp4"),
        (["film.avi", "--detector-model", "missing.onnx"], "missing.onnx"),
        (["film.avi", "--min-score", "7"], "min_score must be from 0 to 1"),
        (["--camera", "99"], "/dev/video99"),
    ],
)
def test_command_refuses_bad_input_with_exit_code_2(cli, classifier, video, monkeypatch, arguments, words):
    monkeypatch.chdir(video.parent)
    code, out, err = cli("run", *arguments)
    assert code == 2
    assert words in err
    assert out == ""
    assert "Traceback" not in err


def test_command_fails_with_1_when_the_camera_is_lost_but_keeps_what_it_has(
    cli, classifier, monkeypatch, tmp_path
):
    source = ScriptedSource(5, live=True, pause=0.05, error=SourceLostError("camera 0: unplugged"))
    monkeypatch.setattr("fer_edge.sources.open_camera", lambda spec, colour: source)
    code, out, err = cli("run", "--camera", "--save-video", tmp_path / "o.avi")
    assert code == 1
    *privacy, told = err.splitlines()
    assert told == "fer-edge run: camera 0: unplugged"
    assert [re.sub(r"^\S+ (\w+: .{20}).*", r"\1", line) for line in privacy] == [
        "info: leaves this device: ",
        "warning: in the EU it is forb",
    ]
    frames, dropped = re.search(r"(\d+) frames in .* dropped (\d+)", out).groups()
    assert int(frames) + int(dropped) == 5
    (written,) = tmp_path.glob("o-*Z.avi")
    assert written.stat().st_size > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_stopped_by_a_signal_finishes_its_files(number, tmp_path):
    pytest.importorskip("skimage")
    program = (
        "import sys, fer_edge.pipeline.recognizer, test_watch\n"
        "fer_edge.pipeline.recognizer.load_classifier = lambda *_, **__: test_watch.BrightnessClassifier()\n"
        "from fer_edge.cli import main\n"
        f"sys.exit(main(['run', '--camera', 'demo', '--save-video', '{tmp_path}/o.avi']))\n"
    )
    here = os.path.dirname(__file__)  # noqa: PTH120
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=here,
    ) as process:
        with contextlib.ExitStack() as stack:
            stack.callback(process.kill)
            assert process.stdout.readline().startswith("frame 0")
            process.send_signal(number)
            rest, errors = process.communicate(timeout=60)
            stack.pop_all()
        assert (process.returncode, errors) == (0, "")
        assert re.search(r"\d frames? in ", rest.splitlines()[-1])
    (written,) = tmp_path.glob("o-*Z.avi")
    capture = cv2.VideoCapture(str(written), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 1
