"""What tests of MQTT share: a device at a broker that stands in for one, and its thread."""

from __future__ import annotations

import contextlib
import time

import pytest

pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("cv2")
from outputs.mqtt_broker import PLACE, FakeBroker, FakeControl, WrittenStore, state

from fer_edge.outputs.mqtt import publisher as publishing
from fer_edge.outputs.mqtt.feed import Stock
from fer_edge.outputs.mqtt.identity import Identity
from fer_edge.outputs.mqtt.link import Message
from fer_edge.outputs.mqtt.presence import Outbox, Presence, Speaker
from fer_edge.outputs.mqtt.progress import Progress
from fer_edge.outputs.mqtt.publisher import Publisher, Telling
from fer_edge.outputs.mqtt.topics import Topics

TOPICS = Topics.of(PLACE, "shop")
OWN = Identity("ab" * 16, "first", "2026-11-26T12:00:00.000+00:00")


@pytest.fixture
def store(tmp_path):
    made = WrittenStore(tmp_path / "shop.db")
    yield made
    made.close()


@pytest.fixture
def broker():
    return FakeBroker()


@pytest.fixture
def control():
    return FakeControl()


class Device:
    """A device at a broker, whose time is told by hand."""

    def __init__(self, broker, store, control, folder, **options):
        self.broker, self.store, self.control, self.folder = broker, store, control, folder
        self.options = {"cameras": ("door",), **options}
        self.now = 0.0
        self.people = 0
        self.outbox = Outbox()
        self.stock = Stock(store.path)
        self.progress = self._remembered()
        self.connect()

    def _remembered(self):
        progress = Progress(self.folder, PLACE, "shop")
        device = self.stock.device()
        for table in ("minutes", "visits"):
            progress.after(device.uuid, table, device.last[table])
        progress.save()
        return progress

    def connect(self):
        self.link = self.broker.link(PLACE, "device", Message(TOPICS["availability"], b"offline", 1, True))
        self.link.connect()
        speaker = Speaker("shop", OWN, TOPICS, **self.options)
        snapshot = lambda: state(self.control, self.people)  # noqa: E731
        self.presence = Presence(
            self.link, speaker, snapshot, self.control, self.stock, self.progress, self.outbox, self.now
        )

    def restart(self):
        """End as a process that is killed, and start again with what lies on the disk."""
        self.link.close()
        self.progress = self._remembered()
        self.connect()

    def run(self, seconds, step=0.5):
        for _ in range(round(seconds / step)):
            self.presence.step(self.now)
            self.link.turn(0)
            self.now += step


@pytest.fixture
def device(broker, store, control, tmp_path):
    return Device(broker, store, control, tmp_path)


def seqs(broker, topic="minutes"):
    return [row["seq"] for row in broker.told(TOPICS[topic])]


@contextlib.contextmanager
def published(broker, store, folder, name="shop", **options):
    telling = Telling(PLACE, name, folder, store.path, ("door",), **options)
    publisher = Publisher(telling, lambda: state(), FakeControl(), broker.link)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop(1.0)


def await_true(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(publishing, "PAUSES", (0.02,))
    monkeypatch.setattr(publishing, "TAKEN_SECONDS", 0.05)


def folder(tmp_path, name):
    made = tmp_path / name
    made.mkdir()
    return made
