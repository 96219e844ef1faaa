"""Devices and a broker for tests of the fleet server, which take no network."""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import UTC, datetime

from outputs.mqtt_broker import PLACE, FakeBroker, FakeLink

from fer_edge.fleet.database import SqliteDatabase
from fer_edge.fleet.server import Fleet, Limits
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.mqtt.feed import to_payload
from fer_edge.outputs.mqtt.link import Message

BEGAN = 1_790_000_000_000
BOOT = 1_000_000
STORE = "00000000-0000-4000-8000-000000000001"


def minute(seq, store=STORE, version=1, origin=BEGAN - BOOT, **changed):
    """A row of minutes as a message has it; ``version`` None leaves out what only messages have."""
    began = BOOT + seq * 60_000
    moment = datetime.fromtimestamp((origin + began) / 1000, UTC)
    row = {
        "device": "raspberrypi", "camera": "door", "seq": seq, "run": 1, "boot": "b1", "film": None,
        "monotonic": began / 1000, "began": moment, "ended": moment, "seconds": 60.0, "observed": 59.5,
        "gap": 0.5, "frames": 600, "dropped": 2, "lost": 0, "people": 3, "people_mean": 1.25, "people_max": 2,
        "visits_begun": 1, "visits_ended": 2, "dwell": 30.125, "seen": 74.375, "unsure": 1.5,
        "attention": 20.25, "unclear": 3.0, **dict.fromkeys(EMOTIONS, 0.1), "neutral": 0.4, "cut": 0,
    }  # fmt: skip
    return {**({} if version is None else {"version": version, "store": store}), **row, **changed}


def visit(seq, store=STORE, version=1, **changed):
    row = {key: value for key, value in minute(seq, store, version).items() if key not in _OF_MINUTES}
    own = {"track": seq, "smile": 0.5, "first_smile": 1.25, "size": 80.5, "yaw": None, "pitch": -3.5}
    return {"event": "went", "late": False, **row, **own, **changed}


_OF_MINUTES = {
    "observed", "gap", "frames", "dropped", "lost", "people", "people_mean", "people_max", "visits_begun",
    "visits_ended", "dwell",
}  # fmt: skip


class SessionBroker(FakeBroker):
    """Keeps what was not confirmed for a client that comes back. ``most``: messages that it keeps of one."""

    def __init__(self, most=1000):
        super().__init__()
        self.most = most
        self.kept: dict[str, deque[Message]] = {}
        self.listening: dict[str, list[str]] = {}
        self.begun_anew = 0

    def session_link(self, broker, client_id, session):
        if session.anew:
            self.kept.pop(client_id, None)
            self.listening.pop(client_id, None)
            self.begun_anew += 1
        return SessionLink(self, client_id)

    def publish(self, message):
        super().publish(message)
        for client_id, filters in self.listening.items():
            if client_id not in self.links and message.qos and matches(filters, message.topic):
                waiting = self.kept[client_id]
                if len(waiting) < self.most:
                    waiting.append(message)


def matches(filters, topic):
    from paho.mqtt.client import topic_matches_sub

    return any(topic_matches_sub(one, topic) for one in filters)


class SessionLink(FakeLink):
    """As ``Link`` with a session: what comes with QoS 1 is confirmed by ``take`` only."""

    def __init__(self, broker, client_id):
        super().__init__(broker, client_id, None)
        self.taken: list[Message] = []

    def connect(self):
        super().connect()
        kept = self.hub.kept.setdefault(self.client_id, deque())
        self._arriving.extend(kept)
        self._unconfirmed = kept
        self.filters = [*self.hub.listening.get(self.client_id, [])]

    def subscribe(self, filters, qos=1):
        number = super().subscribe(filters)
        self.hub.listening[self.client_id] = self.filters
        return number

    def offer(self, message, kept):
        if message.qos and matches(self.filters, message.topic):
            self._unconfirmed.append(message)
        super().offer(message, kept)

    def take(self, message):
        if self.broken is not None:
            raise self.broken
        self.taken.append(message)
        for index, one in enumerate(self._unconfirmed):
            if (one.topic, one.payload) == (message.topic, message.payload):
                del self._unconfirmed[index]
                break

    def turn(self, seconds):
        super().turn(0.0)

    def close(self, seconds=0.0):
        self.hub.links.pop(self.client_id, None)

    def abandon(self):
        if self.hub.links.get(self.client_id) is self:
            del self.hub.links[self.client_id]


class Clock:
    """Goes on only when it is told to, or at a thousand times the pace."""

    def __init__(self, pace=0.0):
        self._began, self._pace, self.at = time.monotonic(), pace, 1000.0

    def __call__(self):
        return self.at + (time.monotonic() - self._began) * self._pace


class Serving:
    """A fleet server in a thread, at a broker without a network."""

    def __init__(self, path, hub, *, pace=50.0, database=None, wall=time.time, **limits):
        self.hub, self.clock = hub, Clock(pace)
        self.fleet = Fleet(
            PLACE,
            database or SqliteDatabase(path),
            Limits(**limits),
            hub.session_link,
            self.clock,
            wall,
        )
        self._thread = threading.Thread(target=self.fleet.run, daemon=True)

    def __enter__(self):
        self._thread.start()
        self.until(lambda: self.fleet.board.broker is None)
        return self

    def __exit__(self, *_):
        self.fleet.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()

    @staticmethod
    def until(condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.005)

    def device(self, name):
        return next(one for one in self.board["devices"] if one["name"] == name)

    @property
    def board(self):
        self.fleet.board._made = None
        return self.fleet.board.snapshot()

    def say(self, name, topic, payload, retain=False, qos=1):
        raw = payload if isinstance(payload, bytes) else to_payload(payload)
        self.hub.publish(Message(f"{PLACE.root}/{name}/{topic}", raw, qos, retain))


class AnsweringDevice:
    """Answers what is asked of it, as docs/mqtt.md has it; ``gone``: rows that it has deleted."""

    def __init__(self, hub, name, last, gone=(), store=STORE, answers=True):
        self.hub, self.name, self.last, self.gone, self.store = hub, name, last, set(gone), store
        self.answers = answers
        self.asked: list[tuple[str, dict]] = []
        self._base = f"{PLACE.root}/{name}"
        hub.links[f"device-{name}"] = self

    broken = None

    def offer(self, message, kept):
        import json

        base, _, rest = message.topic.rpartition(f"{self.name}/")
        if not base or not rest.endswith("/get"):
            return
        table = rest.partition("/")[0]
        asked = json.loads(message.payload)
        self.asked.append((table, asked))
        if self.answers:
            self.hub.publish(
                Message(f"{self._base}/{table}/answer", to_payload(self.answer(table, asked)), 1)
            )

    def answer(self, table, asked):
        given = self.last if table == "minutes" else 0
        after, last = asked["after"], min(asked.get("until") or given, given)
        there = [seq for seq in range(after + 1, last + 1) if seq not in self.gone]
        more, seqs = len(there) > 120, there[:120]
        return {
            "version": 1, "to": f"{table}/get", "ok": True, "id": asked["id"], "store": self.store,
            "after": after, "rows": [minute(seq, version=None) for seq in seqs],
            "next": seqs[-1] if more else max(after, last), "more": more, "last": given,
        }  # fmt: skip

    def come(self):
        self.hub.publish(Message(f"{self._base}/availability", b"online", 1, True))

    def leave_will(self):
        pass
