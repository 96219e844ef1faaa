"""A real mosquitto for tests marked ``services``, and somebody who reads there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time

from ports import free_port

from fer_edge.control.broker import Broker
from fer_edge.outputs.mqtt.link import Link, LinkLost, Message

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SECONDS = 60.0


def await_true(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


class Mosquitto:
    """A broker of its own port, which keeps nothing on the disk."""

    def __init__(self, folder, lines=("allow_anonymous true",)):
        self.port = free_port()
        self.folder = folder
        self._file = folder / "mosquitto.conf"
        self._file.write_text("\n".join([f"listener {self.port} 127.0.0.1", *lines, ""]))
        self._process = None
        self.start()

    def start(self):
        assert MOSQUITTO, "mosquitto is not installed: apt install mosquitto"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._file)], stdout=log, stderr=log)
        await_true(self._listens)

    def _listens(self):
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def send(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait()

    @property
    def place(self):
        return Broker("127.0.0.1", self.port)


@contextlib.contextmanager
def mosquittos(path, *always):
    """What begins brokers below ``path``; lines of their configuration come after those ``always`` there."""
    folder = path / "mosquitto"
    folder.mkdir()
    # mosquitto gives root away, and could then read nothing of ours.
    folder.chmod(0o755)
    made = []

    def begin(*lines):
        made.append(Mosquitto(folder, [f"user {os.environ.get('USER', 'root')}", *always, *lines]))
        return made[-1]

    try:
        yield begin
    finally:
        for one in made:
            one.kill()


class Reader:
    """Somebody else at the broker, with a connection that is kept up; stores each message."""

    def __init__(self, broker, filters=("fer-edge/#", "homeassistant/#"), client_id="reader"):
        self._broker, self._filters, self._client_id = broker, filters, client_id
        self.messages: list[Message] = []
        self._outbox: list[Message] = []
        self._over = threading.Event()
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        assert self.ready.wait(SECONDS)

    def _work(self):
        while not self._over.is_set():
            link = Link(self._broker, self._client_id)
            with contextlib.suppress(LinkLost):
                link.connect()
                number = link.subscribe(self._filters)
                while not self._over.is_set():
                    link.turn(0.05)
                    while link.received:
                        self.messages.append(link.received.popleft())
                    if any(one == number for one, _ in link.subscribed):
                        self.ready.set()
                    while self._outbox:
                        link.publish(self._outbox.pop(0))
            link.abandon()
            time.sleep(0.05)

    def say(self, topic, payload):
        self._outbox.append(Message(topic, payload, 1))

    def told(self, topic):
        return [one.payload for one in self.messages if one.topic == topic]

    def seqs(self):
        return [json.loads(one)["seq"] for one in self.told("fer-edge/shop/minutes")]

    def close(self):
        self._over.set()
        self._thread.join(SECONDS)


@contextlib.contextmanager
def reading(broker, **options):
    reader = Reader(broker, **options)
    try:
        yield reader
    finally:
        reader.close()


def kept(broker):
    """What the broker has retained."""
    with reading(broker) as reader:
        time.sleep(0.3)
        return {one.topic: one.payload for one in reader.messages if one.retain}


def passwords(folder):
    """Write mosquitto's file of passwords for the user ``shop``; return the one with the password itself."""
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(folder / "passwords"), "shop", "s3cret/@:"], check=True
    )
    (folder / "passwords").chmod(0o644)
    file = folder / "shop.password"
    file.write_text("s3cret/@:\n")
    file.chmod(0o600)
    return file
