"""A thousand simulated devices at a real mosquitto: what the fleet server costs, and whether it loses a row.

The devices are one process with one connection, which publishes under the topics of all of them and answers
requests as docs/mqtt.md says; their rows are generated, so that each is known. Prints processor seconds of
the server alone, and compares every row in its store with the generated one.

    python benchmarks/fleet.py                                       # 5 minutes, then an hour's rows at once
    python benchmarks/fleet.py --devices 20 --minutes 0.2 --outage 3 # a try
    python benchmarks/fleet.py --store postgresql:///fleet?host=/tmp/pg
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_edge.control.broker import Broker
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.mqtt.feed import to_payload
from fer_edge.outputs.mqtt.link import Link, LinkLost, Message
from fer_edge.outputs.mqtt.presence import ROWS_AT_ONCE
from fer_edge.store.postgresql import open_store

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
BEGAN = 1_790_000_000_000
BOOT_BEGAN = 100_000


class Device:
    """Makes rows of minutes, and remembers how many."""

    def __init__(self, number: int, root: str) -> None:
        self.base = f"{root}/device-{number:04}"
        self.store = f"00000000-0000-4000-8000-{number:012}"
        self.number = number
        self.last = 0

    def row(self, seq: int) -> dict[str, Any]:
        """The row of that number, always the same."""
        monotonic = BOOT_BEGAN + seq * 60_000
        moment = datetime.fromtimestamp((BEGAN + seq * 60_000) / 1000, UTC)
        share = round(1 / len(EMOTIONS), 4)
        return {
            "device": "raspberrypi", "camera": "door", "seq": seq, "run": 1, "boot": f"boot-{self.number}",
            "film": None, "monotonic": monotonic / 1000, "began": moment, "ended": moment, "seconds": 60.0,
            "observed": 59.9, "gap": 0.1, "frames": 900, "dropped": 3, "lost": 0, "people": seq % 7,
            "people_mean": 1.5, "people_max": 3, "visits_begun": 2, "visits_ended": 2, "dwell": 41.25,
            "seen": 90.5, "unsure": 12.125, "attention": 40.0, "unclear": 8.0,
            **dict.fromkeys(EMOTIONS, share), "cut": 0,
        }  # fmt: skip

    def minute(self) -> Message:
        """One more minute, as a message."""
        self.last += 1
        told = {"version": 1, "store": self.store, **self.row(self.last)}
        return Message(f"{self.base}/minutes", to_payload(told), qos=1)

    def state(self) -> Message:
        """The present figures."""
        told = {
            "version": 1, "device": "raspberrypi", "fer_edge": "0.2.0", "people": 2, "people_today": 40,
            "fps": 14.9, "latency_ms": {"p50": 31.0, "p95": 44.0}, "dropped": 9, "temperature": 55.1,
            "throttled": False, "paused": False, "session": None, "uptime": 1000.0,
            "emotions": dict.fromkeys(EMOTIONS, 0.142), "dominant": "happy", "attention": 0.5,
            "cameras": [{"name": "door", "state": "running", "reason": "", "people": 2, "fps": 14.9,
                         "size": [640, 480], "faces": [
                             {"track": 7, "box": [0.1, 0.2, 0.1, 0.2], "emotion": "happy", "unsure": False,
                              "text": "8 of 10 would say happy",
                              "probabilities": dict.fromkeys(EMOTIONS, 0.142)}]}],
        }  # fmt: skip
        return Message(f"{self.base}/state", to_payload(told), retain=True)

    def answer(self, asked: dict[str, Any], table: str) -> Message:
        """As fer_edge.outputs.mqtt.presence answers."""
        given = self.last if table == "minutes" else 0
        after, last = asked["after"], min(asked.get("until") or given, given)
        seqs = range(after + 1, min(after + ROWS_AT_ONCE, last) + 1)
        more = bool(seqs) and seqs[-1] < last
        told = {
            "version": 1, "to": f"{table}/get", "ok": True, "id": asked["id"], "store": self.store,
            "after": after, "rows": [self.row(seq) for seq in seqs],
            "next": seqs[-1] if more else max(after, last), "more": more, "last": given,
        }  # fmt: skip
        return Message(f"{self.base}/{table}/answer", to_payload(told), qos=1)


class Devices:
    """All devices on one connection."""

    def __init__(self, broker: Broker, count: int) -> None:
        self.all = [Device(number, broker.root) for number in range(count)]
        self._by_base = {one.base: one for one in self.all}
        self._broker = broker
        self._waiting: deque[Message] = deque()
        self._unconfirmed: dict[int, Message] = {}
        self.asked = self.lost = 0
        self._connect()

    def _connect(self) -> None:
        self._link = Link(self._broker, "devices")
        self._link.connect()
        topics = [f"{self._broker.root}/+/{table}/get" for table in ("minutes", "visits")]
        self._link.subscribe(topics)

    def send(self, message: Message) -> None:
        """Send, a window of messages at a time."""
        self._waiting.append(message)

    def turn(self, seconds: float) -> None:
        """Send, receive and answer; after a lost connection, send again what the broker had not confirmed."""
        try:
            self._turn(seconds)
        except LinkLost:
            # As where this process gets so little of the machine that the broker takes it for dead.
            self.lost += 1
            self._link.abandon()
            self._waiting.extendleft(reversed(self._unconfirmed.values()))
            self._unconfirmed.clear()
            time.sleep(1)
            self._connect()

    def _turn(self, seconds: float) -> None:
        while self._waiting and len(self._unconfirmed) < self._link.window and not self._link.congested:
            message = self._waiting[0]
            # Without QoS, it is confirmed when it was sent.
            self._unconfirmed[self._link.publish(message)] = message
            self._waiting.popleft()
        self._link.turn(0.0 if self._waiting and len(self._unconfirmed) < self._link.window else seconds)
        for number, _ in self._link.acknowledged:
            self._unconfirmed.pop(number, None)
        self._link.acknowledged.clear()
        while self._link.received:
            message = self._link.received.popleft()
            base, table, _ = message.topic.rsplit("/", 2)
            self.asked += 1
            self.send(self._by_base[base].answer(json.loads(message.payload), table))

    @property
    def idle(self) -> bool:
        """Whether everything was sent and confirmed by the broker."""
        return not self._waiting and not self._unconfirmed


class Server:
    """The fleet server, as a process."""

    def __init__(self, broker: Broker, store: str, *more: str) -> None:
        self._command = [
            sys.executable, "-m", "fer_edge", "fleet", "--mqtt", f"mqtt://{broker.place}",
            "--store", store, *more,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)

    def cpu(self) -> float:
        """Processor seconds so far."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident MB."""
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()


def count(store: str) -> int:
    """Rows of minutes in the store."""
    try:
        with open_store(store) as reader:
            return sum(found["rows"] for found in reader.totals("minutes", {"rows": "count(*)"}).values())
    except ValueError:
        return 0


def compare(store: str, devices: Devices) -> tuple[int, int]:
    """How many rows were made, and how many of them are in the store as they were made."""
    right = 0
    known = {one.base.rpartition("/")[2]: one for one in devices.all}
    names = ("seq", "began", "monotonic", "people", "dwell", "unsure", "happy")
    with open_store(store) as reader:
        for row in reader.rows("minutes"):
            made = known[row["device"]].row(row["seq"])
            right += all(row[name] == made[name] for name in names)
    return sum(one.last for one in devices.all), right


def settle(devices: Devices, store: str, wanted: int, seconds: float) -> float:
    """Turn until so many rows are in the store; returns how long that took."""
    began, looked = time.monotonic(), 0.0
    while time.monotonic() - began < seconds:
        devices.turn(0.02)
        if time.monotonic() - looked > 1.0 and devices.idle:
            looked = time.monotonic()
            if count(store) >= wanted:
                break
    return time.monotonic() - began


def measure(args: argparse.Namespace, folder: Path) -> int:
    """Print the figures; returns the exit code."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    if MOSQUITTO is None:
        print("mosquitto is not installed: apt install mosquitto", file=sys.stderr)
        return 2
    with (folder / "log").open("wb") as log:
        mosquitto = subprocess.Popen([MOSQUITTO, "-c", str(folder / "mosquitto.conf")], stderr=log)
    time.sleep(1)
    broker, store = Broker("127.0.0.1", port), args.store or str(folder / "fleet.db")
    devices = Devices(broker, args.devices)
    server = Server(broker, store)
    try:
        server.start()
        for one in devices.all:
            devices.send(Message(f"{one.base}/availability", b"online", qos=1, retain=True))
        began = time.monotonic()
        while time.monotonic() - began < 15:
            devices.turn(0.02)

        began, before, sent, states = time.monotonic(), server.cpu(), 0, 0
        total = round(args.minutes * 60 * args.devices / 60)
        while (passed := time.monotonic() - began) < args.minutes * 60 or sent < total:
            for _ in range(sent, min(total, int(passed * args.devices / 60))):
                devices.send(devices.all[sent % args.devices].minute())
                sent += 1
            for _ in range(states, int(passed * args.devices / args.every)):
                devices.send(devices.all[states % args.devices].state())
                states += 1
            devices.turn(0.02)
        settle(devices, store, sent, args.patience)
        passed = time.monotonic() - began
        spent = server.cpu() - before
        print(
            f"{args.devices} devices, {sent} minutes and {states} states in {passed:.0f} s: {spent:.2f} s of "
            f"processor time, {100 * spent / passed:.1f} % of a core, {server.memory():.0f} MB"
        )

        for way in ("the server was away", "the broker was away"):
            rows = args.outage * args.devices
            before_rows = count(store)
            if way.startswith("the server"):
                # kill -9; the broker's queue is far too short for what is published meanwhile.
                server.end(signal.SIGKILL)
                for _ in range(args.outage):
                    for one in devices.all:
                        devices.send(one.minute())
                while not devices.idle:
                    devices.turn(0.02)
                asked = devices.asked
                server.start()
                before = 0.0
            else:
                # Devices send in order what the broker has not confirmed.
                asked, before = devices.asked, server.cpu()
                for one in devices.all:
                    for _ in range(args.outage):
                        devices.send(one.minute())
                # What the broker dropped, as the server was slower than all devices at once, shows with the
                # next minute.
                for one in devices.all:
                    devices.send(one.minute())
                rows += args.devices
            passed = settle(devices, store, before_rows + rows, args.patience)
            print(
                f"{way}: {rows} minutes caught up in {passed:.1f} s, {server.cpu() - before:.2f} s of "
                f"processor time, {devices.asked - asked} questions"
            )
    finally:
        server.end()
        mosquitto.terminate()
        mosquitto.wait()
    made, right = compare(store, devices)
    print(f"{made} minutes made, {right} in the store as they were made, {made - right} lost")
    return int(made != right)


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5.0, help="at the real rate")
    parser.add_argument("--outage", type=int, default=60, help="minutes of each device that are caught up")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two states of a device")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds until rows count as lost")
    parser.add_argument("--store", help="another store than a file in a temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fer-edge-fleet-") as folder:
        # mosquitto drops root privileges.
        Path(folder).chmod(0o755)
        return measure(args, Path(folder))


if __name__ == "__main__":
    raise SystemExit(main())
