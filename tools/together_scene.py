"""What ``make together`` runs and checks: an MJPEG camera, devices with all outputs, viewers."""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import json
import random
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
from faults import Outcome, Record, Run, read_lines
from prometheus_client.parser import text_string_to_metric_families
from soak import Sample, look

from fer_edge.control.broker import Broker
from fer_edge.sources.demo import DemoSource
from fer_edge.store.reader import StoreReader

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from outputs.mosquitto import Mosquitto, Reader
from ports import free_port
from sources.web import MJPEG, multipart, serving

PATIENCE = 150.0
"""Seconds to wait for what has to come, under load."""

VIEWERS = 50
"""Viewers that stall at a time."""

PREFIX = "homeassistant"
"""Of discovery."""

TABLES = {"minutes": "minutes", "visits": "people"}
"""Of the store, with the topics under which their rows come."""

RESTED = 2.0
"""Seconds after which messages on their way have arrived."""

_FPS = 10.0


class Camera:
    """An MJPEG camera on the network, which can be pulled, hang, and come back."""

    def __init__(self) -> None:
        frames = itertools.islice(DemoSource(paced=False), 0, 900, 3)
        self._pictures = [cv2.imencode(".jpg", frame.image)[1].tobytes() for frame in frames]
        self._served = contextlib.ExitStack()
        self._pulled, self._flows = threading.Event(), threading.Event()
        self._flows.set()
        self._port = 0
        self.plug()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}/camera.mjpg"

    def plug(self) -> None:
        """Answer again."""
        self._pulled.clear()
        server = self._served.enter_context(serving(self._port))
        self._port = server.server_address[1]
        server.answers["/camera.mjpg"] = lambda _: (MJPEG, None, multipart(self._parts(), 1 / _FPS))

    def pull(self) -> None:
        """Break all connections and refuse new ones."""
        self._pulled.set()
        self._flows.set()
        self._served.close()

    def hang(self, hangs: bool) -> None:
        """Keep connections, and send nothing."""
        (self._flows.clear if hangs else self._flows.set)()

    def _parts(self) -> Iterator[bytes]:
        for picture in itertools.cycle(self._pictures):
            self._flows.wait()
            if self._pulled.is_set():
                return
            yield picture


@dataclass(frozen=True)
class Probe:
    """What ``/healthz`` answered."""

    asked: float
    answered: float
    status: int
    """0: nothing."""
    told: Mapping[str, Any]


class Device:
    """A run with all outputs, and what can be seen of it from outside."""

    def __init__(
        self, name: str, source: str, folder: Path, broker: Broker, password: Path, mounted: bool
    ) -> None:
        self.name, self.folder, self.mounted = name, folder, mounted
        self.port = free_port()
        self.store, self.metrics_file = folder / "shop.db", folder / "fer-edge.prom"
        self._config = folder.parent / f"{name}.toml"
        self._fixed = f"""\
{source}
max_fps = {_FPS:g}
page = ":{self.port}"
page_viewers = {VIEWERS + 10}
mqtt = "mqtt://{broker.user}@{broker.place}"
mqtt_name = "{name}"
mqtt_password_file = "{password}"
mqtt_discovery = "{PREFIX}"
mqtt_camera = "blurred"
store = "{self.store}"
save_video = "{folder / "door.mkv"}"
metrics = "{self.metrics_file}"
state_folder = "{folder / "state"}"
name = "together-{name}"
append = true
stats = 60
"""
        self.lines: list[Path] = []
        self.configure()
        self.run = self.start()
        self.probes: list[Probe] = []
        self.scrapes: list[dict[tuple[str, tuple[tuple[str, str], ...]], float]] = []
        self.problems: list[str] = []
        self.samples: list[Sample] = []
        self.answered: dict[str, set[int]] = {table: set() for table in TABLES}
        """Numbers of rows that came since they were asked for."""

    def start(self) -> Run:
        """Start the run, again if it has ended."""
        return Run(self.folder, "--config", str(self._config), source=(), outputs=False)

    def configure(self, lines: bool = True, extra: str = "") -> None:
        """Write the configuration; ``lines``: with another file for lines, another segment and threshold."""
        if lines:
            self.lines.append(self.folder / f"log-{len(self.lines)}.jsonl")
        count = len(self.lines)
        changing = f"""\
jsonl = "{self.lines[-1]}"
segment = "{(60, 45)[count % 2]}s"
min_score = {(0.7, 0.65)[count % 2]}
{extra}
"""
        self._config.write_text(self._fixed + changing)

    def ask(
        self, path: str, body: Mapping[str, Any] | None = None, seconds: float = 5.0
    ) -> tuple[int, bytes]:
        """The answer of the page; status 0 if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            if body is None:
                connection.request("GET", path, headers={"Connection": "close"})
            else:
                headers = {"Content-Type": "application/json", "Connection": "close"}
                connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def told(self, path: str) -> Any:
        """The page's answer as JSON, ``None`` if there is none."""
        status, body = self.ask(path)
        return json.loads(body) if status in (200, 503) else None

    def camera(self) -> dict[str, Any]:
        """The state of its only camera; empty where the page does not answer."""
        told = self.told("/api/state")
        return dict(told["cameras"][0]) if told else {}

    def health(self) -> Probe:
        """Ask for ``/healthz``."""
        asked = time.monotonic()
        status, body = self.ask("/healthz")
        return Probe(asked, time.monotonic(), status, json.loads(body) if body else {})

    def scrape(self) -> float | None:
        """Take the figures that Prometheus would, keep them, and return the frames; ``None``: no answer."""
        status, body = self.ask("/metrics")
        if status != 200:
            return None
        figures = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode())
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }
        if self.scrapes:
            for key, value in self.scrapes[-1].items():
                now = figures.get(key)
                if now is None or now < value:
                    self.problems.append(f"{self.name}: {key} went from {value} to {now}")
        self.scrapes.append(figures)
        return sum(value for (name, _), value in figures.items() if name == "fer_edge_frames_total")

    def figure(self, name: str) -> float:
        """The sum of a figure in the latest scrape."""
        return sum(value for (found, _), value in self.scrapes[-1].items() if found == name)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The finished rows of its store."""
        with StoreReader(self.store) as store:
            return list(store.rows(table))

    def records(self, outcome: Outcome) -> list[Record]:
        """All its JSON lines, of the files in their order."""
        return [record for path in self.lines if path.exists() for record in read_lines(path, outcome)]


@dataclass
class Scene:
    """All that faults are injected into."""

    seconds: float
    mosquitto: Mosquitto
    broker: Broker
    reader: Reader
    camera: Camera
    devices: list[Device]
    chance: random.Random
    calm: threading.Event = field(default_factory=threading.Event)
    """Set while nobody but this tool is to view the pages."""
    over: threading.Event = field(default_factory=threading.Event)
    turns: Counter[str] = field(default_factory=Counter)
    asked_again: int = 0
    """Rows that had to be asked for, since the reader was late at the broker."""

    def lasting(self, seconds: float, least: float = 5.0) -> float:
        """``seconds`` in a run of an hour, less in a shorter one."""
        return max(least, seconds * min(1.0, self.seconds / 3600))

    def since(self, mark: int, topic: str) -> list[bytes]:
        """What was told under a topic after ``mark`` messages."""
        return [one.payload for one in self.reader.messages[mark:] if one.topic == topic]

    def said(self, mark: int, device: Device, topic: str) -> list[bytes]:
        """What a device said under one of its topics after ``mark`` messages."""
        return self.since(mark, f"fer-edge/{device.name}/{topic}")

    def logged(self) -> dict[str, int]:
        """How much each device has logged so far."""
        return {device.name: len(device.run.messages) for device in self.devices}

    @property
    def mark(self) -> int:
        """Messages so far."""
        return len(self.reader.messages)


def await_that(
    happened: Callable[[], object], what: str, outcome: Outcome, seconds: float = PATIENCE
) -> bool:
    """Wait until something ``happened``; what does not is a problem."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            outcome.check(False, f"{what}: not within {seconds:.0f} s")
            return False
        time.sleep(0.25)
    return True


def await_each(
    devices: Sequence[Device], happened: Callable[[Device], object], what: str, outcome: Outcome
) -> None:
    """Wait until something ``happened`` to each device."""
    for device in devices:
        await_that(functools.partial(happened, device), f"{device.name}: {what}", outcome)


def check_recovered(device: Device, outcome: Outcome) -> None:
    """Check that all is as before: health, page, and frames that go on."""

    def shows_a_person() -> bool:
        camera = device.camera()
        return camera.get("state") == "running" and camera["people"] == 1

    name = device.name
    await_that(lambda: device.health().status == 200, f"{name}: /healthz 200 again", outcome)
    await_that(shows_a_person, f"{name}: the page shows the camera and its person", outcome)
    before = device.scrape() or 0
    await_that(lambda: (device.scrape() or 0) > before, f"{name}: frames go on", outcome)


def hold(
    scene: Scene, seconds: float, outcome: Outcome, devices: Sequence[Device], status: int = 200
) -> None:
    """Wait while ``/healthz`` of the devices has to answer ``status``."""
    end = time.monotonic() + seconds
    frames = {device.name: device.scrape() for device in devices}
    while True:
        for device in devices:
            probe = device.health()
            # Under load there may be time for neither.
            if probe.status != status:
                again = device.health()
                outcome.check(again.status == status, f"{device.name}: /healthz {again.status} {again.told}")
        if time.monotonic() > end:
            break
        time.sleep(1.0)
    if status == 200:
        await_each(
            devices,
            lambda device: (device.scrape() or 0) > (frames[device.name] or 0),
            "frames meanwhile",
            outcome,
        )


def arrived(scene: Scene, device: Device, table: str) -> list[dict[str, Any]]:
    """The rows that came to the reader, in their order, doubles too."""
    told = map(json.loads, scene.said(0, device, TABLES[table]))
    return [row for row in told if table == "minutes" or row["event"] == "went"]


def await_rows(scene: Scene, device: Device, table: str, outcome: Outcome) -> None:
    """Wait until all finished rows have come; request those that the reader missed."""
    wanted = {row["seq"] for row in device.rows(table)}

    def missing() -> set[int]:
        return wanted - {row["seq"] for row in arrived(scene, device, table)} - device.answered[table]

    # Rows come in order: after the last one, no missing row will follow.
    await_that(lambda: max(wanted, default=0) not in missing(), f"{device.name}: all {table}", outcome)
    while lacking := missing():
        scene.asked_again += len(lacking)
        mark, request = scene.mark, {"after": min(lacking) - 1, "until": max(lacking)}
        scene.reader.say(f"fer-edge/{device.name}/{table}/get", json.dumps(request).encode())
        answers = functools.partial(scene.said, mark, device, f"{table}/answer")
        rows = []
        if await_that(answers, f"{device.name}: an answer with {table}", outcome):
            rows = json.loads(answers()[0])["rows"]
        device.answered[table] |= {row["seq"] for row in rows}
        outcome.check(bool(rows), f"{device.name}: {table} {sorted(lacking)[:20]} are missing")
        if not rows:
            break


def begun(port: int, path: str, more: str = "\r\n") -> socket.socket:
    """A connection on which a request was sent."""
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}".encode())
    return connection


def probe(scene: Scene) -> None:
    """Ask for the health of each device once a second."""
    while not scene.over.wait(1.0):
        for device in scene.devices:
            if device.run.process.poll() is None:
                device.probes.append(device.health())


def visit(scene: Scene, counts: Counter[str]) -> None:
    """Act as readers of the pages that come and go in various ways."""
    chance = random.Random(scene.chance.random())
    files = ("/", "/page.js", "/page.css", "/api/timeline", "/api/store", "/api/snapshot.jpg", "/metrics")
    streams = ("/api/events", "/api/video.mjpg")
    while not scene.over.wait(chance.uniform(0.2, 3.0)):
        if scene.calm.is_set():
            continue
        device = chance.choice(scene.devices)
        way = chance.choice(("file", "file", "stream", "half", "gone"))
        path = chance.choice(streams if way == "stream" else files)
        with contextlib.suppress(OSError):
            if way == "file":
                counts[f"{device.ask(path)[0]}"] += 1
                continue
            with begun(device.port, path, "" if way == "half" else "\r\n") as connection:
                counts[way] += 1
                connection.settimeout(1.0)
                end = time.monotonic() + chance.uniform(0, 8)
                while way == "stream" and time.monotonic() < end and not scene.calm.is_set():
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(1 << 16):
                            break


def take_sample(scene: Scene, began: float) -> None:
    """Measure the processes while there are no viewers: the least of some moments, as readers leave late."""
    scene.calm.set()
    for device in scene.devices:
        found: list[Sample] = []
        end = time.monotonic() + 20
        while time.monotonic() < end and len(found) < 8:
            time.sleep(1.0)
            found.append(look(device.run.process.pid, int(device.scrape() or 0), time.monotonic() - began))
        device.samples.append(
            replace(
                found[-1],
                rss=round(statistics.median(one.rss for one in found)),
                threads=min(one.threads for one in found),
                descriptors=min(one.descriptors for one in found),
            )
        )
    scene.calm.clear()
