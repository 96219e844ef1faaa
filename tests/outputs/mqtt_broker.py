"""A broker for tests: retained messages, wills, acknowledgements; links to it take no network."""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from datetime import datetime, timedelta

from paho.mqtt.client import topic_matches_sub

from fer_edge.control.broker import Broker
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.mqtt.link import WINDOW, LinkLost, Message
from fer_edge.store.rows import MinuteRow, VisitRow
from fer_edge.store.writer import Batch, ClockState, StoreWriter

PLACE = Broker("broker.lan", 1883)


class FakeBroker:
    """Delivers at once what links publish. ``down``: why nobody is let in; ``confirms``: sends PUBACK."""

    def __init__(self):
        self.retained: dict[str, Message] = {}
        self.log: list[Message] = []
        self.links: dict[str, FakeLink] = {}
        self.down: LinkLost | None = None
        self.confirms = True
        self.refuses: tuple[str, ...] = ()
        self.held: list[tuple[FakeLink, int]] = []

    def link(self, broker, client_id, will=None):
        return FakeLink(self, client_id, will)

    def publish(self, message):
        self.log.append(message)
        if message.retain:
            if message.payload:
                self.retained[message.topic] = message
            else:
                self.retained.pop(message.topic, None)
        for link in [*self.links.values()]:
            link.offer(message, kept=False)

    def say(self, topic, payload, retain=False):
        """Publish as somebody else does."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.publish(Message(topic, raw, 1, retain))

    def kill(self, lose_retained=True):
        """End as a process that is killed: connections break, and what was kept in memory is gone."""
        for link in self.links.values():
            link.broken = LinkLost("connection lost")
        self.links.clear()
        self.held.clear()
        if lose_retained:
            self.retained.clear()

    def confirm_held(self):
        held, self.held = self.held, []
        for link, number in held:
            link.acknowledged.append((number, None))

    def told(self, topic):
        """What was published under ``topic``, from JSON."""
        return [json.loads(message.payload) for message in self.log if message.topic == topic]

    def texts(self, topic):
        return [message.payload.decode() for message in self.log if message.topic == topic]


class FakeLink:
    def __init__(self, broker, client_id, will):
        self.hub, self.client_id, self.will = broker, client_id, will
        self.received, self.acknowledged, self.subscribed = deque(), deque(), deque()
        # What others publish, in their threads.
        self._arriving = deque()
        self.window, self.protocol, self.congested = WINDOW, "5.0", False
        self.filters: list[str] = []
        self.broken: LinkLost | None = None
        self.most_waiting = self.waiting = 0
        self._numbers = itertools.count(1)

    def connect(self):
        if self.hub.down is not None:
            raise self.hub.down
        before = self.hub.links.get(self.client_id)
        self.hub.links[self.client_id] = self
        if before is not None:
            before.broken = LinkLost("the broker ended the connection: session taken over", taken_over=True)
            before.leave_will()

    def turn(self, seconds):
        if self.broken is not None:
            raise self.broken
        time.sleep(min(seconds, 0.005))
        while self._arriving:
            self.received.append(self._arriving.popleft())

    def publish(self, message):
        if self.broken is not None:
            raise self.broken
        number = next(self._numbers)
        refused = message.topic.endswith(self.hub.refuses) if self.hub.refuses else False
        if not refused:
            self.hub.publish(message)
        if message.qos and (self.hub.confirms or refused):
            self.acknowledged.append((number, "Not authorized" if refused else None))
        elif message.qos:
            self.hub.held.append((self, number))
        return number

    def subscribe(self, filters):
        number = next(self._numbers)
        self.filters += filters
        for message in [*self.hub.retained.values()]:
            if any(topic_matches_sub(one, message.topic) for one in filters):
                self.received.append(Message(message.topic, message.payload, message.qos, True))
        self.subscribed.append((number, ()))
        return number

    def offer(self, message, kept):
        if any(topic_matches_sub(one, message.topic) for one in self.filters):
            self._arriving.append(Message(message.topic, message.payload, message.qos, kept))

    def leave_will(self):
        if self.will is not None:
            self.hub.publish(self.will)

    def close(self, seconds=0.0):
        self.hub.links = {name: link for name, link in self.hub.links.items() if link is not self}

    def abandon(self):
        if self.hub.links.get(self.client_id) is self:
            self.close()
            self.leave_will()


class FakeControl:
    """Remembers what it was asked for; ``session`` as a real one."""

    def __init__(self):
        self.asked = []
        self.paused = False

    def pause(self):
        self.asked.append("pause")
        self.paused = True

    def resume(self):
        self.asked.append("resume")
        self.paused = False

    def start_session(self, name):
        self.asked.append(("start", name))

    def mark(self, name, group=None):
        self.asked.append(("mark", name, group))

    def stop_session(self):
        from fer_edge.errors import DataError

        raise DataError("no session goes on; start one first")


def state(control=None, people=0, camera="running"):
    """A state as :meth:`fer_edge.outputs.live.Live.snapshot` gives it, without what MQTT does not look at."""
    return {
        "version": 1,
        "people": people,
        "people_today": 3,
        "paused": bool(control and control.paused),
        "session": None,
        "fps": 9.5,
        "temperature": 48.3,
        "dominant": "happy" if people else None,
        "emotions": {name: 0.4 if name == "happy" else 0.1 for name in EMOTIONS} if people else None,
        "attention": 0.25 if people else None,
        "cameras": [{"name": "door", "state": camera, "reason": "", "people": people, "fps": 9.5}],
    }


class WrittenStore:
    """A store that gets minutes and visits at once. ``path``: its file."""

    BEGAN = datetime.fromisoformat("2026-11-26T12:00:00+00:00")

    def __init__(self, path):
        self.path = path
        self._origin = round(self.BEGAN.timestamp() * 1000)
        self._writer = StoreWriter(path, "{}")
        self._at = 0
        self._write([])

    def add(self, minutes=0, visits=0):
        rows = [self._minute() for _ in range(minutes)] + [self._visit() for _ in range(visits)]
        self._write(rows)

    def close(self):
        self._writer.close()

    def _write(self, rows):
        clock = ClockState("boot", None, self._origin)
        entries = [("door", row) for row in rows]
        self._writer.write(Batch(clock, entries, [], 0, self._at))

    def _minute(self):
        self._at += 60_000
        return MinuteRow(
            began=self._at - 60_000,
            length=60_000,
            observed=60_000,
            gap=0,
            frames=600,
            dropped=0,
            lost=0,
            people=1,
            people_max=1,
            visits_begun=1,
            visits_ended=1,
            dwell=30_000,
            seen=30_000,
            unsure=0,
            attention=15_000,
            unclear=0,
            shares=(1000,) * 6 + (4000,),
            cut=0,
            brightness=934,
            face_brightness=1207,
            dark=1500,
            bright=0,
        )

    def _visit(self):
        self._at += 1000
        return VisitRow(
            track=self._at // 1000,
            began=self._at - 1000,
            length=1000,
            seen=1000,
            unsure=0,
            attention=500,
            unclear=0,
            shares=(1000,) * 6 + (4000,),
            smile=1000,
            first_smile=None,
            size=800,
            yaw=10,
            pitch=-5,
            cut=0,
        )


def later(seconds):
    return WrittenStore.BEGAN + timedelta(seconds=seconds)
