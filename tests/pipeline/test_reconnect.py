"""Sources that are lost and come back: with scripted ones, without their long pauses."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from pipeline.scripts import ScriptedRecognizer, indices

from fer_edge.backoff import Backoff
from fer_edge.errors import SourceError, SourceLostError, WrongSourceError
from fer_edge.pipeline import reconnect
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.pace import Pace
from fer_edge.pipeline.state import Gap, State
from fer_edge.pipeline.watch import Watch
from fer_edge.sources.base import Frame, Source
from fer_edge.sources.reconnect import AbsentSource, lasting, opened_or_awaited

UNPLUGGED = SourceLostError("door: unplugged")
ABSENT = SourceError("door: is not there")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSES", (0.01,))
    monkeypatch.setattr(reconnect, "POLL", 0.05)


class Door(Source):
    """A camera that gives one life's frames: each is filled with its number, and taken before the next.

    Then it raises ``then``, ends (None), or calls it.
    """

    name = "door"
    live = True

    def __init__(self, lives, numbers, then):
        self.lives, self.numbers, self.then = lives, numbers, then
        self.closed = threading.Event()

    def __iter__(self):
        began = time.monotonic()
        for number in self.numbers:
            yield Frame(np.full((240, 320, 3), number % 256, np.uint8), time.monotonic() - began, self.name)
            self.lives.taken.acquire(timeout=self.lives.patience)
        if callable(self.then):
            self.then()
        elif self.then is not None:
            raise self.then

    def close(self):
        self.closed.set()


class Lives:
    """A camera's lives one after the other: what opening it gives or raises; the last one for ever."""

    def __init__(self, *lives):
        self.script, self.sources, self.attempts = list(lives), [], 0
        self.taken, self.patience = threading.Semaphore(0), 30.0
        self.numbers = itertools.count()

    def __call__(self):
        life = self.script[min(self.attempts, len(self.script) - 1)]
        self.attempts += 1
        assert all(source.closed.is_set() for source in self.sources), "opened before the last was closed"
        if isinstance(life, Exception):
            raise life
        count, then = life
        self.sources.append(Door(self, list(itertools.islice(self.numbers, count)), then))
        return self.sources[-1]


def run(lives, recognizer=None, source=None, **options):
    """All results of a run over ``lives``, and the run; a frame comes when the one before was seen."""
    states = []
    options = WatchOptions(**{"min_hits": 1, **options})
    watch = Watch(source or lasting(lives), options, recognizer or ScriptedRecognizer(), states.append)
    watch.states = states
    results = []
    try:
        with watch:
            for result in watch:
                results.append(result)
                lives.taken.release()
    finally:
        # The last frame is taken by nobody, and its thread would wait for that.
        lives.patience = 0.0
        lives.taken.release()
    return results, watch


def gaps(results):
    return [result.index for result in results if result.gap is not None]


@pytest.mark.parametrize("then", [UNPLUGGED, None], ids=["fails", "ends"])
def test_a_lost_source_is_opened_again(then, caplog):
    lives = Lives((3, then), ABSENT, ABSENT, (2, then), (4, then))
    before = datetime.now(UTC)
    with caplog.at_level(logging.WARNING, "fer_edge"):
        results, watch = run(lives, frames=8)
    assert indices(results) == list(range(8))
    assert gaps(results) == [3, 5]
    gap = results[3].gap
    assert gap.reason == ("door: unplugged" if then else "door: ended")
    assert gap.seconds == pytest.approx(results[3].monotonic - results[2].monotonic)
    assert before - timedelta(seconds=1) < gap.began < datetime.now(UTC)
    assert (watch.summary.gaps, watch.summary.frames) == (2, 8)
    assert watch.summary.gap_seconds == pytest.approx(gap.seconds + results[5].gap.seconds)
    # Once at the beginning of each gap and once at its end, whatever the attempts between.
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 4
    assert told[0] == f"{gap.reason}; opening it again"
    assert told[1] == f"door: back after {gap.seconds:.1f} s"
    assert lives.attempts == 5
    assert all(source.closed.is_set() for source in lives.sources[1:])


@pytest.mark.parametrize(
    "camera, begin", [("door", "door: "), ("till", "till: door: ")], ids=["as its source", "otherwise"]
)
def test_messages_name_a_camera_and_its_source_but_no_name_twice(camera, begin, caplog):
    with caplog.at_level(logging.WARNING, "fer_edge"):
        run(Lives((2, UNPLUGGED), (2, None)), frames=4, camera=camera)
    lost, back = caplog.messages
    assert lost == f"{begin}unplugged; opening it again"
    assert back.startswith(f"{begin}back after ")


def test_times_go_on_across_a_gap():
    results, _ = run(Lives((3, UNPLUGGED), ABSENT, (3, UNPLUGGED), (3, None)), frames=8)
    for earlier, later in itertools.pairwise(results):
        passed = later.monotonic - earlier.monotonic
        assert later.timestamp - earlier.timestamp == pytest.approx(passed, abs=0.05)
        assert later.timestamp >= earlier.timestamp


def test_times_never_go_back_though_the_machine_was_slow(monkeypatch):
    """The first frame after a gap may have waited for its reader, so that those after it seem early."""
    results, _ = run(Lives((2, UNPLUGGED), (2, None)), frames=4)
    feed = reconnect.Feed(Door(None, [], None), WatchOptions(), Pace(), bool, bool, print)
    feed._slot = type("Slot", (), {"source": feed.source})()
    first = feed._received(Frame(results[0].image, 10.0, "door", 100.0))[0]
    feed._loss = reconnect._Loss("gone", 100.0, Gap(results[0].time, 0.0, "gone"))
    second, gap = feed._received(Frame(results[0].image, 0.0, "door", 105.0))
    third, none = feed._received(Frame(results[0].image, -0.5, "door", 105.1))
    assert [first.timestamp, second.timestamp, third.timestamp] == [10.0, 15.0, 15.0]
    assert (gap.seconds, none) == (5.0, None)


def test_tracks_and_means_end_at_a_gap():
    """The same face at the same place gets a new number, and nothing of the mean before."""
    lives = Lives((2, UNPLUGGED), (2, None))
    recognizer = ScriptedRecognizer(said=(0, 0, 1, 1))
    recognizer.detect = lambda frame, size, chroma=None: replace(
        ScriptedRecognizer().detect(frame * 0), boxes=np.array([[0, 0, 100, 100]], np.float32)
    )
    results, watch = run(lives, recognizer, frames=4, smoothing=1000.0)
    assert [result.faces[0].track for result in results] == [1, 1, 2, 2]
    first = [float(result.faces[0].probabilities[0]) for result in results]
    assert first == pytest.approx([1, 1, 0, 0], abs=1e-3)
    assert watch.summary.tracks == 2


def test_a_source_that_falls_silent_is_closed_and_opened_again():
    forever = threading.Event()
    lives = Lives((2, forever.wait), (2, None))
    results, watch = run(lives, frames=4, silence=0.3)
    assert gaps(results) == [2]
    assert results[2].gap.reason == "door: no frame for 0.3 s"
    assert results[2].gap.seconds >= 0.3
    assert lives.sources[0].closed.is_set()
    # The thread that hangs is left behind, and when it wakes up it ends.
    hanging = watch._feed._hanging[0].threads
    assert [thread.is_alive() for thread in hanging] == [True]
    forever.set()
    hanging[0].join(30)
    assert not hanging[0].is_alive()


@pytest.mark.parametrize("most", [1, 3])
def test_a_driver_that_hangs_for_good_ends_the_run(monkeypatch, most):
    monkeypatch.setattr(reconnect, "HANGS_AFTER", 0.0)
    monkeypatch.setattr(reconnect, "MOST_HANGING", most)
    monkeypatch.setattr(reconnect, "CLOSE_PATIENCE", 0.05)
    forever = threading.Event()
    lives = Lives((1, forever.wait))
    with pytest.raises(
        SourceLostError, match=rf"no frame for 0\.1 s; its driver hangs \({most} times"
    ) as raised:
        run(lives, silence=0.1)
    assert raised.value.exit_code == 1
    assert "only a new process" in str(raised.value)
    assert lives.attempts == most
    forever.set()


def test_one_driver_that_hangs_for_long_ends_the_run(monkeypatch):
    """It holds the camera, so that every attempt finds it busy."""
    monkeypatch.setattr(reconnect, "HANGS_AFTER", 0.0)
    monkeypatch.setattr(reconnect, "LONGEST_HANGING", 0.3)
    monkeypatch.setattr(reconnect, "CLOSE_PATIENCE", 0.05)
    forever = threading.Event()
    with pytest.raises(SourceLostError, match=r"its driver hangs \(1 times"):
        run(Lives((1, forever.wait), SourceError("door: is busy")), silence=0.1)
    forever.set()


def test_opening_that_hangs_is_abandoned_and_what_it_opens_late_is_closed(monkeypatch):
    monkeypatch.setattr(reconnect, "OPEN_PATIENCE", 0.2)
    released = threading.Event()
    lives = Lives((1, UNPLUGGED), (1, None), (2, None))
    late = []

    def again():
        if not late:
            late.append(Door(lives, [], None))
            released.wait(30)
            return late[0]
        return lives()

    results, _ = run(lives, source=lasting(lives, again), frames=2)
    assert gaps(results) == [1]
    assert not late[0].closed.is_set()
    released.set()
    assert late[0].closed.wait(30)


@pytest.mark.parametrize("ends", ["stopped", "given up"])
def test_a_camera_that_is_open_only_after_the_end_is_closed_unread(ends, monkeypatch):
    """One that chooses its frames itself reads on where none is wanted, until it is closed."""
    opening, released, asked = threading.Event(), threading.Event(), []
    lives = Lives((1, UNPLUGGED))
    late = Door(lives, [], None)
    late.choosy = True

    def read_on():
        while not late.closed.is_set():
            asked.append(late.wants(0.0))
            time.sleep(0.01)

    late.then = read_on

    def again():
        opening.set()
        released.wait(30)
        return late

    watch = Watch(
        lasting(lives, again),
        WatchOptions(reconnect=0.3 if ends == "given up" else math.inf),
        ScriptedRecognizer(),
        lambda _: ends == "stopped" and opening.is_set() and watch.stop(),
    )
    with watch, contextlib.suppress(SourceLostError):
        for _ in watch:
            lives.taken.release()
    assert opening.is_set()
    released.set()
    closed = late.closed.wait(5)
    late.close()
    assert closed
    assert asked == []


def test_closing_that_hangs_is_abandoned(monkeypatch):
    monkeypatch.setattr(reconnect, "CLOSE_PATIENCE", 0.05)
    forever = threading.Event()
    lives = Lives((1, UNPLUGGED), (2, None))
    source = lasting(lives)

    def close():
        source.closed.set()
        forever.wait(30)

    source.close = close
    results, _ = run(lives, source=source, frames=2)
    assert gaps(results) == [1]
    forever.set()


def test_many_losses_leave_no_threads_behind():
    before = set(threading.enumerate())
    _, watch = run(Lives((1, UNPLUGGED)), frames=30)
    assert watch.summary.gaps == 29
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(30)
    assert [thread for thread in left if thread.is_alive()] == []


def test_without_reconnecting_a_lost_source_ends_the_run():
    lives = Lives((2, UNPLUGGED))
    with pytest.raises(SourceLostError, match=r"^door: unplugged$"):
        run(lives, reconnect=0)
    assert lives.attempts == 1


def test_a_limit_ends_the_wait_with_what_was_wrong():
    lives = Lives((2, UNPLUGGED), ABSENT)
    with pytest.raises(SourceLostError, match=r"^door: unplugged; not there again within 0\.3 s$") as error:
        run(lives, reconnect=0.3)
    assert error.value.exit_code == 1
    assert lives.attempts > 2


def test_time_that_is_up_while_the_source_is_lost_is_a_failure():
    with pytest.raises(SourceLostError, match="door: unplugged; not there again when the time was up"):
        run(Lives((1, UNPLUGGED), ABSENT), seconds=0.4)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_stop_ends_the_wait_at_once(hangs, monkeypatch):
    forever = threading.Event()
    monkeypatch.setattr(reconnect, "PAUSES", (0.01 if hangs else 3600.0,))
    lives = Lives((1, UNPLUGGED), ABSENT)
    watch = Watch(
        lasting(lives, (lambda: forever.wait(60)) if hangs else None),
        WatchOptions(),
        ScriptedRecognizer(),
        lambda state: state.name == "waiting" and state.seconds > 0.1 and watch.stop(),
    )
    began = time.monotonic()
    with watch:
        for _ in watch:
            lives.taken.release()
    forever.set()
    assert watch.summary.frames == 1
    assert watch.summary.gaps == 0
    assert watch.summary.gap_seconds > 0.1
    assert watch.summary == watch.summary
    assert time.monotonic() - began < 30


def test_states_tell_of_frames_and_of_waiting():
    lives = Lives((2, UNPLUGGED), ABSENT, ABSENT, (1, None))
    _, watch = run(lives, frames=3)
    names = [state.name for state in watch.states]
    assert names.count("running") == 3
    assert [name for name, _ in itertools.groupby(names)] == ["running", "waiting", "running"]
    waiting = [state for state in watch.states if state.name == "waiting"]
    assert waiting[0].reason == "door: unplugged"
    assert waiting[-1].reason == "door: is not there"
    assert State("running") in watch.states


def test_waiting_is_told_at_least_once_a_second(monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSES", (3600.0,))
    told = []
    lives = Lives((1, UNPLUGGED))
    watch = Watch(
        lasting(lives), WatchOptions(seconds=2.5), ScriptedRecognizer(), lambda state: told.append(state)
    )
    with pytest.raises(SourceLostError, match="time was up"):
        for _ in watch:
            lives.taken.release()
    waiting = [state.seconds for state in told if state.name == "waiting"]
    assert len(waiting) >= 3


def test_a_source_that_gives_pictures_seldom_runs_while_none_is_due():
    class Seldom(Door):
        pause = 1.5

        def __iter__(self):
            for frame in super().__iter__():
                yield frame
                time.sleep(1.5)

    lives = Lives()
    _, watch = run(lives, source=Seldom(lives, [0, 1], None), frames=2)
    assert [state.name for state in watch.states].count("running") > 2


def test_a_run_that_rests_for_long_is_running():
    """Whoever supervises it must not take the rest between two frames for a hang."""
    lives = Lives((10_000, None))
    lives.patience = 0.01
    _, watch = run(lives, frames=2, max_fps=2.0)
    assert [state.name for state in watch.states].count("running") > 3


def test_frames_go_on_being_chosen_after_a_gap():
    for options in ({"every": 2}, {"fps": 50.0}):
        lives = Lives((6, UNPLUGGED))
        lives.patience = 0.02  # nobody takes the frames that are passed over
        results, watch = run(lives, frames=8, **options)
        assert len(results) == 8
        assert watch.summary.gaps >= 1


def test_what_is_no_loss_is_raised():
    """An error of ours would come back for ever."""
    with pytest.raises(ZeroDivisionError):
        run(Lives((1, ZeroDivisionError()), (1, None)))


def test_a_source_that_nobody_can_open_again_ends_the_run():
    lives = Lives()
    with pytest.raises(SourceLostError, match="unplugged"):
        run(lives, source=Door(lives, [0, 1], UNPLUGGED))


# A source that is not there at the start


def awaited(lives):
    return opened_or_awaited("door", lambda: lasting(lives))


def test_a_source_that_is_not_there_yet_is_waited_for(caplog):
    lives = Lives(ABSENT, ABSENT, ABSENT, (2, UNPLUGGED), (1, None))
    with caplog.at_level(logging.WARNING, "fer_edge"):
        results, watch = run(lives, source=awaited(lives), frames=3)
    assert indices(results) == [0, 1, 2]
    assert gaps(results) == [2]
    assert results[0].timestamp == pytest.approx(0, abs=0.05)
    assert watch.states[0].name == "waiting"
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "door: is not there; waiting for it"
    assert told[1].startswith("door: there after ")
    assert told[2] == "door: unplugged; opening it again"
    assert watch.source is lives.sources[-1]


def test_a_source_that_never_gave_a_frame_is_missing_and_not_lost():
    with pytest.raises(SourceLostError, match=r"^door: unplugged$"):
        run(Lives((0, UNPLUGGED), (1, None)))
    results, watch = run(Lives((0, UNPLUGGED), (1, None)), frames=1, wait_for_camera=True)
    assert gaps(results) == []
    assert watch.summary.gaps == 0


def test_waiting_at_the_start_is_not_reconnecting():
    lives = Lives(ABSENT, ABSENT, (1, UNPLUGGED), (1, None))
    with pytest.raises(SourceLostError, match=r"unplugged$"):
        run(lives, source=awaited(lives), reconnect=0)
    assert lives.attempts == 3


def test_what_no_waiting_mends_ends_the_wait():
    with pytest.raises(WrongSourceError, match="two of them") as error:
        awaited(Lives(WrongSourceError("two of them")))
    assert error.value.exit_code == 2
    lives = Lives(ABSENT, WrongSourceError("two of them"))
    with pytest.raises(WrongSourceError, match="two of them"):
        run(lives, source=awaited(lives))


def test_a_name_that_is_ambiguous_only_now_is_tried_again():
    """Somebody plugged in a second camera of the kind, and takes it away."""
    lives = Lives((1, UNPLUGGED), WrongSourceError("two of them"), (1, None))
    assert gaps(run(lives, frames=2)[0]) == [1]


def test_a_film_is_not_waited_for():
    class Film(Door):
        live = False

    film = Film(Lives(), [0], None)
    with pytest.raises(WrongSourceError, match="door: is no camera or live stream"):
        opened_or_awaited("door", lambda: film)
    assert film.closed.is_set()


def test_what_is_there_is_not_replaced():
    lives = Lives((1, None))
    assert awaited(lives) is lives.sources[0]
    assert isinstance(awaited(Lives(ABSENT)), AbsentSource)


# Pauses


def test_pauses_grow_to_ten_seconds(monkeypatch):
    monkeypatch.undo()
    backoff = Backoff(reconnect.PAUSES, lambda: 0.5)
    assert [backoff.pause() for _ in range(13)] == [1.0] * 5 + [5.0] * 5 + [10.0] * 3
    backoff.reset()
    assert backoff.pause() == 1.0


def test_pauses_differ_by_a_fifth(monkeypatch):
    monkeypatch.undo()
    assert Backoff(reconnect.PAUSES, lambda: 0.0).pause() == pytest.approx(0.8)
    assert Backoff(reconnect.PAUSES, lambda: 0.999).pause() == pytest.approx(1.2, abs=0.001)
    pauses = [Backoff(reconnect.PAUSES).pause() for _ in range(50)]
    assert len(set(pauses)) > 10
    assert 0.8 <= min(pauses) <= max(pauses) <= 1.2


@pytest.mark.parametrize(("settled", "expected"), [(math.inf, [1, 2, 3, 4]), (-1.0, [1, 1, 1, 1])])
def test_pauses_begin_anew_after_a_source_was_well_for_a_while(monkeypatch, settled, expected):
    """A source that comes and goes is opened ever more seldom; after a good hour the first is tried soon."""
    asked, attempts = [], itertools.count(1)

    class Counting(Backoff):
        def pause(self):
            asked.append(next(attempts))
            return 0.0

        def reset(self):
            nonlocal attempts
            attempts = itertools.count(1)

    monkeypatch.setattr(reconnect, "Backoff", Counting)
    monkeypatch.setattr(reconnect, "SETTLED", settled)
    run(Lives((1, UNPLUGGED)), frames=5)
    assert asked == expected


def test_gaps_add_up():
    first = Gap(datetime(2026, 11, 26, tzinfo=UTC), 5.0, "unplugged")
    assert first.followed_by(None) == first
    later = Gap(datetime(2026, 11, 27, tzinfo=UTC), 2.5, "silent")
    assert first.followed_by(later) == Gap(first.began, 7.5, "unplugged")
    assert first.followed_by(replace(later, paused=2.0)) == Gap(first.began, 7.5, "unplugged", 2.0)


@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_limit_below_zero_is_refused(value):
    with pytest.raises(ValueError, match="reconnect"):
        WatchOptions(reconnect=value)
