"""Outputs in threads of their own: slow, failing and hanging ones hurt nobody."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from results import gap, result

from fer_edge.errors import OutputError
from fer_edge.outputs import base
from fer_edge.outputs.base import Losses, OutputClosed, Outputs, SlowOutput

PATIENCE = 60
"""Seconds until a test that waits for another thread has failed, however busy the machine is."""


class Kept(SlowOutput):
    """Keeps indices of results. ``gate``: while it is not set, writes wait."""

    def __init__(self, name="kept", capacity=8, needs_image=True, tells_end=False):
        self.name, self.capacity = name, capacity
        self.needs_image, self.tells_end = needs_image, tells_end
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.events, self.images = [], []
        self.failing = None
        self.told = None
        self.cancelled = False

    def open(self):
        self.events.append("open")

    def write(self, result):
        self.entered.set()
        while not self.gate.wait(0.05):
            if self.cancelled:
                raise OutputError("cancelled")
        if self.failing:
            raise self.failing
        self.events.append(result.index)
        self.images.append(result.image)

    def gap(self, lost):
        if self.failing:
            raise self.failing
        self.events.append(f"gap {lost}")

    def end(self, told):
        self.told = told

    def cancel(self):
        self.cancelled = True

    def close(self):
        self.events.append("close")

    @property
    def written(self):
        return [event for event in self.events if isinstance(event, int)]


class Direct:
    def __init__(self):
        self.indices, self.closed, self.cancelled = [], 0, False

    def write(self, result):
        self.indices.append(result.index)

    def cancel(self):
        self.cancelled = True

    def close(self):
        self.closed += 1


def wait_until(condition):
    """Wait for another thread; the time that it takes does not matter."""
    done = threading.Event()
    for _ in range(PATIENCE * 100):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("waited in vain")


def test_a_slow_output_does_not_hold_up_a_live_run_and_drops_the_oldest():
    slow, quick, direct = Kept("slow"), Kept("quick", capacity=1000), Direct()
    slow.gate.clear()
    outputs = Outputs([direct], [slow, quick], live=True)
    outputs.write(result(index=0))
    assert slow.entered.wait(PATIENCE)
    for index in range(1, 100):
        outputs.write(result(index=index))
    assert direct.indices == list(range(100))
    wait_until(lambda: len(quick.written) == 100)
    assert slow.written == []
    slow.gate.set()
    outputs.close()
    # One was being written, eight waited; the rest is told before the next that is written.
    assert slow.events == ["open", 0, "gap 91", *range(92, 100), "close"]
    assert outputs.losses == {"slow": Losses(0, 91), "quick": Losses(0, 0)}
    assert not outputs.failed
    assert direct.closed == 1


def test_a_full_queue_holds_up_a_recorded_run_so_that_nothing_is_lost():
    slow = Kept()
    slow.gate.clear()
    outputs = Outputs([], [slow], live=False)
    given = []

    def run():
        for index in range(30):
            outputs.write(result(index=index))
            given.append(index)

    thread = threading.Thread(target=run)
    thread.start()
    assert slow.entered.wait(PATIENCE)
    wait_until(lambda: len(given) == 9)
    assert not thread.join(0.3) and thread.is_alive() and len(given) == 9
    slow.gate.set()
    thread.join(PATIENCE)
    outputs.close()
    assert slow.written == list(range(30))
    assert outputs.losses == {"kept": Losses(0, 0)}


def test_large_pictures_wait_in_smaller_numbers(monkeypatch):
    monkeypatch.setattr(base, "QUEUE_BYTES", 3_000_000)
    slow, light = Kept("slow"), Kept("light", needs_image=False)
    slow.gate.clear()
    light.gate.clear()
    outputs = Outputs([], [slow, light], live=True)
    picture = np.zeros((1000, 1000), np.uint8)
    outputs.write(result(index=0, image=picture))
    assert slow.entered.wait(PATIENCE) and light.entered.wait(PATIENCE)
    for index in range(1, 6):
        outputs.write(result(index=index, image=picture))
    slow.gate.set()
    light.gate.set()
    outputs.close()
    assert slow.written == [0, 3, 4, 5]
    assert light.written == [0, 1, 2, 3, 4, 5]


def test_results_without_pictures_keep_their_size_but_no_pixels():
    output = Kept(needs_image=False)
    outputs = Outputs([], [output], live=False)
    picture = np.full((480, 640, 3), 7, np.uint8)
    outputs.write(result(image=picture))
    outputs.close()
    (image,) = output.images
    assert image.shape == picture.shape
    assert image.base is not picture and np.asarray(image.base).nbytes == 1


def test_a_failed_output_is_told_once_closed_and_tried_again_ever_later(caplog):
    now = [100.0]
    broken, other = Kept("broken", capacity=100), Kept("other", capacity=100)
    outputs = Outputs([], [broken, other], live=True, clock=lambda: now[0])
    broken.failing = OutputError("disk: no space")
    tried = []

    def give(index):
        outputs.write(result(index=index))
        wait_until(lambda: len(other.written) == index + 1)
        wait_until(lambda: outputs.losses["broken"].lost + len(broken.written) == index + 1)

    for index, at in enumerate([0, 0.9, 1.1, 2.9, 3.2, 8.1, 8.3, 18.2, 18.4, 28.3, 28.5]):
        now[0] = 100 + at
        before = broken.events.count("open")
        give(index)
        tried.append(broken.events.count("open") > before)
    # 1, 2, 5, 10 and again 10 seconds after the failure before.
    assert tried == [True, False, True, False, True, False, True, False, True, False, True]
    assert broken.events.count("close") == 6
    broken.failing = None
    now[0] = 200
    give(11)
    outputs.close()
    assert broken.events[-4:] == ["open", "gap 11", 11, "close"]
    assert other.written == list(range(12))
    assert outputs.losses == {"broken": Losses(11, 0, 6), "other": Losses(0, 0)}
    assert outputs.failed
    assert [entry.getMessage() for entry in caplog.records] == [
        "broken: disk: no space; retrying",
        "broken: works again",
    ]


class Gaps(Kept):
    """Keeps the seconds of each result's gap."""

    def write(self, result):
        super().write(result)
        self.events[-1] = (result.index, result.gap and result.gap.seconds)


def test_the_gap_before_a_result_that_is_dropped_is_told_with_the_next():
    output = Gaps(capacity=2)
    outputs = Outputs([], [output], live=True)
    output.gate.clear()
    outputs.write(result(index=0))
    assert output.entered.wait(PATIENCE)
    for index, before in ((1, gap(5.0)), (2, None), (3, gap(2.5)), (4, None), (5, None)):
        outputs.write(result(index=index, gap=before))
    output.gate.set()
    outputs.close()
    assert output.events == ["open", (0, None), "gap 3", (4, 7.5), (5, None), "close"]


def test_the_gap_before_a_result_that_was_lost_is_told_with_the_next():
    clock = [0.0]
    output = Gaps()
    outputs = Outputs([], [output], live=True, clock=lambda: clock[0])
    output.failing = OSError("disk full")
    outputs.write(result(index=0, gap=gap(5.0)))
    wait_until(lambda: outputs.losses["kept"].lost == 1)
    outputs.write(result(index=1, gap=gap(2.0)))
    wait_until(lambda: outputs.losses["kept"].lost == 2)
    output.failing = None
    clock[0] = 100.0
    outputs.write(result(index=2))
    outputs.write(result(index=3))
    outputs.close()
    assert output.events[-3:] == [(2, 7.0), (3, None), "close"]


def test_a_failed_output_does_not_hold_up_a_recorded_run():
    broken = Kept(capacity=2)
    broken.failing = OutputError("disk: no space")
    outputs = Outputs([], [broken], live=False, clock=lambda: 0.0)
    for index in range(50):
        outputs.write(result(index=index))
    outputs.close()
    assert outputs.losses == {"kept": Losses(50, 0, 2)}


def test_what_an_output_held_back_is_lost_with_it():
    class Held(Kept):
        pending = 0

        def write(self, result):
            super().write(result)
            self.pending += 1

        def close(self):
            super().close()
            if self.failing:
                raise self.failing

    output = Held()
    outputs = Outputs([], [output], live=False)
    for index in range(5):
        outputs.write(result(index=index))
    wait_until(lambda: output.pending == 5)
    output.failing = OutputError("disk: no space")
    outputs.close()
    assert outputs.losses == {"kept": Losses(5, 0, 1)}


def test_results_that_are_held_back_are_no_sign_that_an_output_works_again(caplog):
    """A video takes frames while its disk is still full; only a piece that was written is a success."""

    class Pieces(Kept):
        held = 0

        @property
        def pending(self):
            return self.held

        def write(self, result):
            self.held += 1
            if self.held == 3:
                self.held = 0
                super().write(result)

        def gap(self, lost):
            """There is no place for it in a video."""

    output = Pieces("broken")
    output.failing = OutputError("no space")
    caplog.set_level(logging.WARNING)
    now = [0.0]
    outputs = Outputs([], [output], live=False, clock=lambda: now[0])
    for index in range(30):
        outputs.write(result(index=index))
        wait_until(lambda: not outputs._threads[0]._queue and not outputs._threads[0]._busy)
        now[0] += 100
    assert [record.getMessage() for record in caplog.records] == ["broken: no space; retrying"]
    output.failing = None
    for index in range(30, 36):
        outputs.write(result(index=index))
    outputs.close()
    assert caplog.records[-1].getMessage() == "broken: works again"
    assert len(caplog.records) == 2


def test_an_output_without_memory_says_so(caplog):
    broken = Kept("broken")
    broken.failing = MemoryError()
    outputs = Outputs([], [broken], live=False)
    outputs.write(result())
    outputs.close()
    assert caplog.messages == ["broken: not enough memory; retrying"]


def test_the_failure_of_a_required_output_ends_the_run(caplog):
    broken, other = Kept("broken"), Kept("other")
    outputs = Outputs([], [broken, other], live=True, required=["broken"])
    broken.failing = OutputError("disk: no space")
    with pytest.raises(OutputError, match="disk: no space"):
        for index in range(PATIENCE * 100):
            outputs.write(result(index=index))
            threading.Event().wait(0.01)
    with pytest.raises(OutputError, match="disk: no space"):
        outputs.close()
    assert other.events[-1] == "close"
    assert caplog.records == []


def test_a_reader_that_leaves_ends_the_run_and_nothing_failed():
    left = Kept()
    outputs = Outputs([], [left], live=True)
    left.failing = OutputClosed()
    with pytest.raises(OutputClosed):
        for index in range(PATIENCE * 100):
            outputs.write(result(index=index))
            threading.Event().wait(0.01)
    outputs.close()
    assert not outputs.failed


def test_the_last_output_to_end_tells_how_the_others_ended():
    log, video = Kept("log", tells_end=True), Kept("video")
    video.failing = OutputError("disk: no space")
    image = Kept("image")
    outputs = Outputs([], [log, video, image], live=False)
    outputs.write(result())
    outputs.close({"summary": {"frames": 1}})
    assert image.told == {"summary": {"frames": 1}}
    assert log.told == {
        "summary": {"frames": 1},
        "outputs": {
            "log": {"lost": 0, "dropped": 0},
            "video": {"lost": 1, "dropped": 0},
            "image": {"lost": 0, "dropped": 0},
        },
    }


def test_an_output_that_hangs_is_given_up_at_the_end_and_the_rest_counted(monkeypatch, caplog):
    monkeypatch.setattr(base, "FLUSH_SECONDS", 0.7)
    hanging, other = Kept("hanging"), Kept("other")
    hanging.gate.clear()
    outputs = Outputs([], [hanging, other], live=True)
    outputs.write(result(index=0))
    assert hanging.entered.wait(PATIENCE)
    for index in range(1, 4):
        outputs.write(result(index=index))
    outputs.close()
    assert hanging.cancelled
    assert outputs.losses == {"hanging": Losses(4, 0, 1), "other": Losses(0, 0)}
    assert other.events == ["open", 0, 1, 2, 3, "close"]
    assert outputs.failed
    assert caplog.messages == ["hanging: not finished in time"]


def test_an_interruption_ends_waiting_for_a_full_queue_and_at_the_end(monkeypatch):
    monkeypatch.setattr(base, "FLUSH_SECONDS", 0.7)
    hanging, direct = Kept(capacity=2), Direct()
    hanging.gate.clear()
    outputs = Outputs([direct], [hanging], live=False)
    done = threading.Event()

    def run():
        for index in range(10):
            outputs.write(result(index=index))
        outputs.close()
        done.set()

    threading.Thread(target=run, daemon=True).start()
    assert hanging.entered.wait(PATIENCE)
    assert not done.wait(1.0)
    outputs.interrupt()
    assert done.wait(PATIENCE)
    assert direct.cancelled
    assert outputs.losses == {"kept": Losses(10, 0, 1)}


def test_what_is_held_back_is_flushed_when_no_result_comes():
    flushed = threading.Event()

    class Flushing(Kept):
        def flush(self):
            flushed.set()

    outputs = Outputs([], [Flushing()], live=True)
    assert not flushed.wait(1.5)
    outputs.write(result())
    assert flushed.wait(PATIENCE)
    outputs.close()


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_whose_reader_hangs_ends_on_a_signal(live, number):
    """With a real pipe that is full and that nobody reads."""
    program = (
        "import itertools, signal, sys\n"
        "from fer_edge.outputs.base import Outputs\n"
        "from fer_edge.outputs.jsonl import JsonLinesOutput\n"
        "from results import face, result\n"
        "stopped = []\n"
        "outputs = Outputs([], [JsonLinesOutput('-')], live=sys.argv[1] == 'True')\n"
        "def handle(*_): stopped.append(1); outputs.interrupt()\n"
        "for one in (signal.SIGTERM, signal.SIGINT): signal.signal(one, handle)\n"
        "for index in itertools.count():\n"
        "    if stopped: break\n"
        "    if index == 60: print('full', file=sys.stderr, flush=True)\n"
        "    outputs.write(result(face(), index=index))\n"
        "outputs.close()\n"
        "print(outputs.losses['jsonl'].lost > 0, outputs.failed, file=sys.stderr)\n"
    )
    read, write = os.pipe()
    os.write(write, bytes(fcntl.fcntl(write, fcntl.F_GETPIPE_SZ)))
    with subprocess.Popen(
        [sys.executable, "-c", program, str(live)],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        os.close(write)
        try:
            assert process.stderr.readline() == "full\n"
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            os.close(read)
    assert process.returncode == 0
    assert errors.splitlines()[-1] == "True True"


def test_the_logger_is_quiet_where_nothing_fails(caplog):
    caplog.set_level(logging.DEBUG)
    outputs = Outputs([], [Kept()], live=True)
    outputs.write(result())
    outputs.close()
    assert caplog.records == []


class Idling(Kept):
    idles = True

    def __init__(self):
        super().__init__()
        self.flushes = threading.Semaphore(0)

    def flush(self):
        self.events.append("flush")
        self.flushes.release()


def test_an_output_that_idles_is_flushed_again_and_again(monkeypatch):
    monkeypatch.setattr(base, "_IDLE_SECONDS", 0.01)
    idling = Idling()
    outputs = Outputs([], [idling], live=True)
    outputs.write(result(index=0))
    # On a busy machine it may be flushed before the result as well.
    while 0 not in idling.events or idling.events.index(0) + 3 >= len(idling.events):
        assert idling.flushes.acquire(timeout=PATIENCE)
    outputs.close()
    written = idling.events.index(0)
    assert set(idling.events[1:written]) <= {"flush"}
    assert idling.events[written : written + 4] == [0, "flush", "flush", "flush"]
    assert (idling.events[0], idling.events[-1]) == ("open", "close")


def test_an_output_that_idles_is_flushed_before_any_result(monkeypatch):
    monkeypatch.setattr(base, "_IDLE_SECONDS", 0.01)
    idling = Idling()
    outputs = Outputs([], [idling], live=True)
    for _ in range(2):
        assert idling.flushes.acquire(timeout=PATIENCE)
    outputs.close()
    assert idling.events[:3] == ["open", "flush", "flush"]


def test_an_output_that_idles_and_fails_is_tried_again_later_without_a_result(monkeypatch):
    monkeypatch.setattr(base, "_IDLE_SECONDS", 0.01)
    idling, now = Idling(), [0.0]
    opened = idling.open

    def fail():
        opened()
        raise OutputError("no")

    idling.open = fail
    idling.close = idling.flushes.release
    outputs = Outputs([], [idling], live=True, clock=lambda: now[0])
    for tries in (1, 2):
        assert idling.flushes.acquire(timeout=PATIENCE)
        assert not idling.flushes.acquire(timeout=0.1)
        assert idling.events == ["open"] * tries
        now[0] += 2.0
    idling.open = opened
    outputs.close()


def test_another_output_is_flushed_once_where_no_result_comes(monkeypatch):
    monkeypatch.setattr(base, "_IDLE_SECONDS", 0.01)
    idling = Idling()
    idling.idles = False
    outputs = Outputs([], [idling], live=True)
    outputs.write(result(index=0))
    assert idling.flushes.acquire(timeout=PATIENCE)
    assert not idling.flushes.acquire(timeout=0.2)
    outputs.close()
    assert idling.events == ["open", 0, "flush", "close"]


def test_outputs_are_exchanged_while_the_run_goes_on():
    staying, leaving, coming = Kept("staying"), Kept("leaving"), Kept("coming", tells_end=True)
    failing = Kept("failing")
    failing.failing = OutputError("no")
    outputs = Outputs([], [staying, leaving, failing], live=False)
    outputs.write(result(index=0))
    outputs.exchange([], [coming, staying], record={"frames": 1})
    assert leaving.events == ["open", 0, "close"] and leaving.told == {"frames": 1}
    outputs.write(result(index=1))
    outputs.close({"frames": 2})
    assert staying.events == ["open", 0, 1, "close"]
    assert coming.events == ["open", 1, "close"]
    # What was lost before is not forgotten.
    assert outputs.failed
    assert outputs.losses["leaving"] == Losses(lost=0, dropped=0)
    assert outputs.losses["failing"] == Losses(lost=1, dropped=0, failures=2)
    assert coming.told["outputs"]["failing"] == {"lost": 1, "dropped": 0}


def test_losses_never_count_an_output_twice_while_it_is_exchanged(monkeypatch):
    leaving = Kept("jsonl")
    leaving.failing = OutputError("no")
    outputs = Outputs([], [leaving], live=False)
    for index in range(3):
        outputs.write(result(index=index))
    begin, told = outputs._begun, []

    def looked_at(*given):
        told.append(outputs.losses["jsonl"].lost)
        return begin(*given)

    monkeypatch.setattr(outputs, "_begun", looked_at)
    outputs.exchange([], [Kept("jsonl")])
    told.append(outputs.losses["jsonl"].lost)
    outputs.close()
    assert told == [3, 3]


def test_an_output_that_stays_can_become_required():
    output = Kept()
    outputs = Outputs([], [output], live=False)
    outputs.write(result(index=0))
    wait_until(lambda: output.written == [0])
    outputs.exchange([], [output], required=["kept"])
    output.failing = OutputError("the disk is gone")
    outputs.write(result(index=1))
    with pytest.raises(OutputError, match="the disk is gone"):
        outputs.close()
