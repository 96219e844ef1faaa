"""The thread that tells a broker: brokers that are away, hang or refuse, and its end."""

from __future__ import annotations

import logging
import threading
import time

import pytest

pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("cv2")
from outputs import mqtt_device
from outputs.mqtt_broker import PLACE, FakeBroker, FakeControl, state
from outputs.mqtt_device import TOPICS, await_true, published, seqs

from fer_edge.outputs.mqtt import publisher as publishing
from fer_edge.outputs.mqtt.link import LinkLost
from fer_edge.outputs.mqtt.publisher import Publisher, Telling

broker, quick, store = mqtt_device.broker, mqtt_device.quick, mqtt_device.store


def test_a_broker_that_is_away_is_told_once_and_its_return_once(broker, store, tmp_path, quick, caplog):
    caplog.set_level(logging.INFO)
    with published(broker, store, tmp_path) as one:
        await_true(lambda: one.online)
        broker.down = LinkLost("connection refused")
        broker.kill()
        await_true(lambda: not one.online)
        time.sleep(0.3)
        store.add(minutes=10)
        broker.down = None
        await_true(lambda: len(seqs(broker)) == 10)
    assert seqs(broker) == [*range(1, 11)]
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("mqtt:")]
    assert len(lines) == 3, lines
    assert lines[0] == "mqtt: connected to broker.lan:1883 as fer-edge/shop"
    assert lines[1].startswith("mqtt: broker.lan:1883: connection ")
    assert lines[2].startswith("mqtt: connected to broker.lan:1883 again after ")


def test_a_broker_that_refuses_is_told_besides(broker, store, tmp_path, quick, caplog):
    broker.down = LinkLost("connection refused")
    with published(broker, store, tmp_path):
        await_true(lambda: "connection refused" in caplog.text)
        broker.down = LinkLost("the broker refuses: not authorized", refused=True)
        await_true(lambda: "not authorized" in caplog.text)


def test_pauses_grow_to_half_a_minute():
    assert publishing.PAUSES == (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


def test_the_end_sends_what_is_left_and_says_stopped(broker, store, tmp_path):
    with published(broker, store, tmp_path) as one:
        await_true(lambda: one.online)
        store.add(minutes=40)
        assert one.stop(5.0)
    assert seqs(broker) == [*range(1, 41)]
    assert broker.texts(TOPICS["availability"]) == ["online", "stopped"]
    with published(broker, store, tmp_path) as one:
        await_true(lambda: one.online)
        store.add(minutes=1)
        await_true(lambda: len(seqs(broker)) == 41)
    assert seqs(broker) == [*range(1, 42)]


def test_the_end_does_not_wait_for_a_broker_that_hangs(store, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    hanging, answers = FakeBroker(), threading.Event()

    def link(*given):
        made = hanging.link(*given)
        connect = made.connect
        made.connect = lambda: (answers.wait(30), connect())
        return made

    telling = Telling(PLACE, "shop", tmp_path, store.path, ("door",))
    publisher = Publisher(telling, state, FakeControl(), link)
    publisher.start()
    began = time.monotonic()
    assert not publisher.stop(0.3)
    assert time.monotonic() - began < 5
    # A broker that answers after all hears and logs nothing of a run that has ended.
    answers.set()
    await_true(lambda: not publisher._thread.is_alive())
    assert "connected" not in caplog.text
    assert not publisher.online
    assert hanging.told(TOPICS["availability"]) == hanging.told(TOPICS["state"]) == []


def test_a_fault_of_our_own_is_told_and_tried_again(broker, store, tmp_path, quick, caplog):
    calls = []

    def snapshot():
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of order")
        return state()

    publisher = Publisher(
        Telling(PLACE, "shop", tmp_path, store.path, ("door",)), snapshot, FakeControl(), broker.link
    )
    publisher.start()
    await_true(lambda: broker.told(TOPICS["state"]))
    publisher.stop(1.0)
    assert "out of order" in caplog.text
