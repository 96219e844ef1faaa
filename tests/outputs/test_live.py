"""The present figures of a run, of results made by hand."""

from __future__ import annotations

import json
import threading
import timeit
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from results import BEGAN, Clocks, face, result, tracked

from fer_edge.faces.quality import MEAN_FACE
from fer_edge.labels import EMOTIONS
from fer_edge.machine import Condition
from fer_edge.outputs.live import STEPS, Live
from fer_edge.outputs.store import StoreOutput
from fer_edge.pipeline.state import ENDED, RUNNING, State

TO_CAMERA = MEAN_FACE[:, :2].astype(np.float32) + 100
# As the camera sees a head that is turned far to the side: eyes and mouth close in on each other.
AWAY = TO_CAMERA.copy()
AWAY[:, 0] = 100 + MEAN_FACE[:, 0] * np.cos(np.radians(40)) + MEAN_FACE[:, 2] * np.sin(np.radians(40))
LOST = State("waiting", "camera 0: unplugged", 4.0)


@pytest.fixture
def clocks():
    return Clocks()


def live_of(clocks, *cameras, **options):
    options.setdefault("board", lambda: Condition(None, 0.0, None))
    return Live(cameras or ("door",), device="pi", clock=lambda: clocks.now, wall=clocks.wall, **options)


def taken(*faces, camera="door", latency=10.0, dropped=0):
    return replace(result(), camera=camera, faces=tracked(*faces), latency_ms=latency, dropped=dropped)


def test_before_the_first_frame_nothing_is_made_up(clocks):
    told = live_of(clocks, "door", "till").snapshot()
    assert told["time"] == "2026-11-26T12:30:00.000Z"
    assert (told["version"], told["device"], told["uptime"], told["paused"]) == (1, "pi", 0.0, False)
    assert (told["people"], told["people_today"], told["fps"], told["dropped"]) == (0, 0, 0.0, 0)
    assert told["latency_ms"] == {"p50": None, "p95": None}
    for name in ("emotions", "dominant", "unsure_share", "attention", "temperature", "throttled", "session"):
        assert told[name] is None, name
    assert [(one["name"], one["state"], one["reason"]) for one in told["cameras"]] == [
        ("door", "waiting", "no frame yet"),
        ("till", "waiting", "no frame yet"),
    ]
    json.dumps(told, allow_nan=False)


def test_people_of_all_cameras_are_put_together(clocks):
    live = live_of(clocks, "door", "till")
    live.take(taken(face("happy", 0.7, track=1), face("sad", 0.4, track=0)))
    live.take(taken(face("sad", 0.4, track=1, unsure=True), face("happy", 0.64, track=2), camera="till"))
    told = live.snapshot()
    assert told["people"] == 3, "the face that was seen once is nobody yet"
    assert told["people_today"] == 3
    # Of the three people: (0.7 + 0.1 + 0.64) / 3 and (0.05 + 0.4 + 0.06) / 3.
    assert told["emotions"]["happy"] == pytest.approx(0.48, abs=1e-4)
    assert told["emotions"]["sad"] == pytest.approx(0.17, abs=1e-4)
    assert sum(told["emotions"].values()) == pytest.approx(1, abs=1e-3)
    assert (told["dominant"], told["unsure_share"]) == ("happy", 0.3333)
    door, till = told["cameras"]
    assert (door["people"], till["people"], door["size"]) == (1, 2, [160, 120])
    first, second = door["faces"]
    assert (first["track"], first["emotion"], first["unsure"]) == (1, "happy", False)
    assert first["text"] == "7 of 10 would say happy"
    # 10.04 of 160 pixels, 20.06 of 120, 30 and 40.
    assert first["box"] == pytest.approx([0.0628, 0.1672, 0.1875, 0.3333], abs=1e-4)
    assert list(first["probabilities"]) == list(EMOTIONS)
    assert second["track"] is None
    json.dumps(told, allow_nan=False)


def test_who_is_unsure_has_no_say_in_what_dominates(clocks):
    live = live_of(clocks)
    live.take(
        taken(face("sad", track=1, unsure=True), face("sad", track=2, unsure=True), face("fear", track=3))
    )
    assert live.snapshot()["dominant"] == "fear"
    live.take(taken(face("sad", track=1, unsure=True)))
    told = live.snapshot()
    assert (told["dominant"], told["unsure_share"], told["people"]) == (None, 1.0, 1)


def test_equal_votes_are_decided_by_the_shares(clocks):
    live = live_of(clocks)
    live.take(taken(face("angry", 0.5, track=1), face("surprise", 0.8, track=2)))
    assert live.snapshot()["dominant"] == "surprise"


@pytest.mark.parametrize(
    ("heads", "pixels", "share"),
    [
        ([TO_CAMERA, AWAY], 60.0, 0.5),
        ([TO_CAMERA], 60.0, 1.0),
        ([AWAY], 60.0, 0.0),
        ([TO_CAMERA], 20.0, None),
    ],
)
def test_attention_is_the_share_of_those_turned_to_the_camera(clocks, heads, pixels, share):
    live = live_of(clocks)
    people = [
        replace(face(track=track, box=(0.0, 0.0, pixels, pixels)), landmarks=head)
        for track, head in enumerate(heads, 1)
    ]
    live.take(taken(*people))
    assert live.snapshot()["attention"] == share


def test_rate_and_latency_are_of_the_last_ten_seconds(clocks):
    live = live_of(clocks, "door", "till")
    for _ in range(5):
        live.take(taken(latency=500.0, dropped=3))
    for moment in range(20):
        clocks.now = 1010 + moment / 2
        live.take(taken(latency=50.0 if moment == 19 else 10.0, dropped=5))
    live.take(taken(camera="till", latency=10.0, dropped=7))
    told = live.snapshot()
    # The 95th percentile of 21 values is the 20th.
    assert told["latency_ms"] == {"p50": 10.0, "p95": 10.0}
    assert told["cameras"][0]["fps"] == 2.0
    assert told["cameras"][1]["fps"] == 1.0
    assert (told["fps"], told["dropped"]) == (3.0, 12)
    clocks.now += 11
    told = live.snapshot()
    assert (told["fps"], told["latency_ms"]["p50"]) == (0.0, None)


def test_a_lost_camera_shows_nobody_and_says_why_and_since_when(clocks):
    live = live_of(clocks, "door", "till")
    live.take(taken(face(track=1)))
    live.take(taken(face(track=1), camera="till"))
    clocks.now += 60
    live.on_state(LOST, "door")
    told = live.snapshot()
    door, till = told["cameras"]
    assert (door["state"], door["reason"], door["since"]) == ("waiting", "camera 0: unplugged", 4.0)
    assert (door["people"], door["faces"], told["people"]) == (0, [], 1)
    assert (till["state"], till["reason"], till["since"]) == ("running", "", 60.0)
    clocks.now += 1
    live.on_state(RUNNING, "door")
    assert live.snapshot()["cameras"][0]["state"] == "waiting", "no frame has come"
    live.take(taken(face(track=2)))
    clocks.now += 2
    told = live.snapshot()
    assert (told["cameras"][0]["state"], told["cameras"][0]["since"], told["people"]) == ("running", 2.0, 2)
    live.on_state(ENDED, "till")
    told = live.snapshot()
    assert (told["cameras"][1]["state"], told["people"]) == ("ended", 1)


def test_the_state_of_a_run_is_that_of_its_only_camera(clocks):
    live = live_of(clocks)
    live.on_state(LOST)
    assert live.snapshot()["cameras"][0]["reason"] == "camera 0: unplugged"


def test_a_camera_that_was_plugged_in_elsewhere_is_the_same(clocks):
    live = live_of(clocks, "camera 0")
    live.take(taken(face(track=1), camera="camera 0", dropped=3))
    live.on_state(LOST)
    live.take(taken(face(track=2), camera="camera 2", dropped=4))
    told = live.snapshot()
    assert [one["name"] for one in told["cameras"]] == ["camera 2"]
    assert (told["people_today"], told["dropped"]) == (2, 4)


def test_a_paused_run_shows_nobody(clocks):
    asked = {"paused": False, "session": None}
    live = live_of(clocks, told=lambda: asked)
    live.take(taken(face(track=1)))
    asked.update(paused=True, session="ad test")
    told = live.snapshot()
    assert (told["paused"], told["session"], told["people"], told["emotions"]) == (True, "ad test", 0, None)
    assert told["cameras"][0]["state"] == "paused"
    # It was paused before this run began.
    live.on_state(State("paused", seconds=30.0))
    asked.update(paused=False)
    assert (live.snapshot()["cameras"][0]["state"], live.snapshot()["cameras"][0]["since"]) == (
        "paused",
        30.0,
    )


def test_people_are_counted_once(clocks):
    live = live_of(clocks, "door", "till")
    live.take(taken(face(track=1), face(track=2)))
    live.take(taken(face(track=2)))
    live.take(taken(face(track=3), face(track=1)))
    live.take(taken(face(track=1), camera="till"))
    told = live.snapshot()
    assert told["people_today"] == 4
    assert told["people_today_since"] == "2026-11-26T12:30:00.000Z", "before, nobody looked"


@pytest.fixture
def _in_kathmandu(local_zone):
    # Midnight there is at 18:15 UTC.
    local_zone("Asia/Kathmandu")


@pytest.mark.usefixtures("_in_kathmandu")
def test_today_begins_at_local_midnight(clocks):
    live = live_of(clocks)
    live.take(taken(face(track=1)))
    clocks.now += timedelta(hours=5, minutes=44).total_seconds()
    live.take(taken(face(track=2)))
    assert live.snapshot()["people_today"] == 2
    clocks.now += 120
    told = live.snapshot()
    assert (told["people_today"], told["people_today_since"]) == (0, "2026-11-26T18:15:00.000Z")
    live.take(taken(face(track=3)))
    assert live.snapshot()["people_today"] == 1
    clocks.now += timedelta(days=3).total_seconds()
    assert live.snapshot()["people_today"] == 0


@pytest.mark.usefixtures("_in_kathmandu")
def test_a_clock_that_is_set_dates_people_anew(clocks):
    # A Pi without a battery starts at the time it was stopped, days ago.
    clocks.offset -= timedelta(days=3)
    live = live_of(clocks)
    live.take(taken(face(track=1), face(track=2)))
    clocks.now += 60
    clocks.offset += timedelta(days=3)
    live.take(taken(face(track=3)))
    told = live.snapshot()
    assert (told["people_today"], told["people_today_since"]) == (3, "2026-11-26T12:30:00.000Z")
    assert told["uptime"] == 60.0
    assert live.timeline()[-1]["time"].startswith("2026-11-26T12:31:0")


@pytest.mark.usefixtures("_in_kathmandu")
def test_the_store_knows_who_came_before_a_restart(clocks, tmp_path):
    path = tmp_path / "store.db"
    store = StoreOutput(path, live=True)
    store.open()
    # Two came yesterday by local time, 17:00 UTC is 22:45, and three today, 18:30 UTC being 00:15.
    for track, (day, hour, minute) in enumerate(
        [(25, 17, 0), (25, 18, 0), (25, 18, 30), (26, 6, 0), (26, 12, 0)], 1
    ):
        moment = datetime(2026, 11, day, hour, minute, tzinfo=UTC)
        for second in range(3):
            at = (moment - BEGAN).total_seconds() + second + 100_000
            seen = replace(
                taken(face(track=track)), monotonic=at, timestamp=at, time=moment + timedelta(seconds=second)
            )
            store.write(seen)
    store.end({})
    store.close()

    live = live_of(clocks, store=path)
    live.take(taken(face(track=1)))
    told = live.snapshot()
    assert (told["people_today"], told["people_today_since"]) == (4, "2026-11-25T18:15:00.000Z")
    # The clock is found to be a day behind: of that day the store knows nothing.
    clocks.offset += timedelta(days=1)
    assert live.snapshot()["people_today"] == 1


@pytest.mark.usefixtures("_in_kathmandu")
def test_in_a_store_that_was_begun_today_counting_began_with_it(clocks, tmp_path):
    path = tmp_path / "store.db"
    store = StoreOutput(path, live=True)
    store.open()
    live = live_of(clocks, store=path)
    live.take(taken(face(track=1)))
    told = live.snapshot()
    assert (told["people_today"], told["people_today_since"]) == (1, "2026-11-26T12:30:00.000Z")

    # This run's first frame, and 40 minutes later the next run, on the same store.
    store.write(replace(taken(face(track=1)), monotonic=clocks.now, timestamp=clocks.now, time=clocks.wall()))
    store.end({})
    store.close()
    clocks.now += timedelta(minutes=40).total_seconds()
    told = live_of(clocks, store=path).snapshot()
    assert (told["people_today"], told["people_today_since"]) == (1, "2026-11-26T12:30:00.000Z")
    # The next day.
    clocks.now += timedelta(hours=12).total_seconds()
    told = live_of(clocks, store=path).snapshot()
    assert (told["people_today"], told["people_today_since"]) == (0, "2026-11-26T18:15:00.000Z")


def test_without_its_store_the_run_says_since_when_it_counts(clocks, tmp_path):
    live = live_of(clocks, store=tmp_path / "missing.db")
    live.take(taken(face(track=1)))
    clocks.now += 10
    told = live.snapshot()
    assert (told["people_today"], told["people_today_since"]) == (1, "2026-11-26T12:30:00.000Z")


def test_the_timeline_has_steps_of_five_seconds(clocks):
    live = live_of(clocks, "door", "till")
    # The first step: one person on average at the door, two at the till, of more frames.
    live.take(taken(face("happy", 0.7, track=1), face("happy", 0.7, track=2)))
    live.take(taken())
    for _ in range(8):
        live.take(taken(face("sad", 0.4, track=1), face("sad", 0.4, track=2), camera="till"))
    clocks.now += 12
    live.take(taken())
    first, missed, nobody = live.timeline()
    assert [one["time"][11:19] for one in (first, missed, nobody)] == ["12:30:00", "12:30:05", "12:30:10"]
    assert first["people"] == 3.0
    # 0.7 of one, and 0.1 of each of two; 0.05 of one and 0.4 of each of two.
    assert first["shares"]["happy"] == pytest.approx(0.9 / 3, abs=1e-4)
    assert first["shares"]["sad"] == pytest.approx(0.85 / 3, abs=1e-4)
    assert (missed["people"], missed["shares"]) == (None, None)
    assert (nobody["people"], nobody["shares"]) == (0.0, None)


def test_the_timeline_goes_back_ten_minutes(clocks):
    live = live_of(clocks)
    live.take(taken(face(track=1)))
    clocks.now += 5 * (STEPS - 1)
    assert (len(live.timeline()), live.timeline()[0]["people"]) == (STEPS, 1.0)
    clocks.now += 5
    assert (len(live.timeline()), live.timeline()[0]["people"]) == (STEPS, None)
    clocks.now += 1e6
    assert len(live.timeline()) == STEPS


def test_the_board_is_looked_at_every_five_seconds(clocks):
    looks = []

    def board():
        looks.append(clocks.now)
        return Condition(61.5, 0.0, ("throttled now", "was throttled since boot"))

    live = live_of(clocks, board=board)
    told = live.snapshot()
    assert (told["temperature"], told["throttled"]) == (61.5, True)
    assert told["throttling"] == ["throttled now", "was throttled since boot"]
    clocks.now += 4
    live.snapshot()
    clocks.now += 1
    live.snapshot()
    assert looks == [1000.0, 1005.0]


def test_what_is_over_does_not_throttle(clocks):
    live = live_of(clocks, board=lambda: Condition(50.0, 0.0, ("was throttled since boot",)))
    assert live.snapshot()["throttled"] is False


def test_faces_of_a_single_picture_are_people(clocks):
    live = live_of(clocks)
    live.take(replace(taken(face(), face()), faces=replace(tracked(face(), face()), ids=None)))
    told = live.snapshot()
    assert (told["people"], told["people_today"]) == (2, 0)


def test_threads_may_ask_while_results_come():
    live = Live(["door"], board=lambda: Condition(None, 0.0, None))
    errors, over = [], threading.Event()

    def ask():
        try:
            while not over.is_set():
                json.dumps([live.snapshot(), live.timeline()], allow_nan=False)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    seen = taken(*(face(track=track) for track in range(1, 6)))
    for index in range(2000):
        live.take(seen)
        live.on_state(LOST if index % 100 == 0 else RUNNING)
    over.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert live.snapshot()["people"] == 5


def test_a_result_costs_next_to_nothing():
    live = Live(["door"])
    seen = taken(*(face(track=track) for track in range(1, 6)))
    # 20 to 30 microseconds on x86-64; ten times as many for machines that are slow or busy.
    assert min(timeit.repeat(lambda: live.take(seen), number=200, repeat=5)) / 200 < 500e-6
