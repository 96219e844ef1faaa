"""What tests of the page share: a page that is served, and a client that sends what it is told."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fer_edge.errors import DataError
from fer_edge.faces.faces import Faces
from fer_edge.option import Address
from fer_edge.outputs.live import Live
from fer_edge.outputs.metrics import Metrics
from fer_edge.outputs.page.page import Door, PageOptions, PageOutput
from fer_edge.pipeline.result import FrameResult

CAMERAS = ("door", "till")
SECONDS = 20.0
"""For what takes milliseconds on a machine that is not busy."""


class Asked:
    """Stands in for :class:`fer_edge.control.control.Control`, and notes what is asked of it."""

    def __init__(self, cameras=CAMERAS):
        self.cameras = cameras
        self.is_paused, self.session, self.masks, self.marks = False, None, {}, []

    def pause(self):
        self.is_paused = True

    def resume(self):
        self.is_paused = False

    def set_masks(self, camera, polygons):
        if camera not in self.cameras:
            raise DataError(f"there is no camera {camera!r}")
        if not isinstance(polygons, list):
            raise DataError("masks must be a list of polygons")
        self.masks[camera] = polygons

    def drawn(self, camera):
        return tuple(self.masks.get(camera, ()))

    def start_session(self, name):
        if self.session is not None:
            raise DataError(f"session {self.session!r} goes on")
        self.session = name

    def mark(self, name, group=None):
        if self.session is None:
            raise DataError("no session goes on")
        self.marks.append((name, group))

    def stop_session(self):
        if self.session is None:
            raise DataError("no session goes on")
        self.session = None

    def snapshot(self):
        masks = {camera: self.masks.get(camera, []) for camera in self.cameras}
        return {"paused": self.is_paused, "session": self.session, "masks": masks}


def faces_at(boxes) -> Faces:
    """Happy people at ``boxes``."""
    count = len(boxes)
    probabilities = np.zeros((count, 7), np.float32)
    probabilities[:, 3] = 1
    return Faces(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, 0.9, np.float32),
        np.zeros((count, 5, 2), np.float32),
        np.arange(1, count + 1),
        np.ones(count, np.bool_),
        probabilities,
        np.full(count, 3),
        np.zeros(count, np.float32),
        np.zeros(count, np.bool_),
    )


def result(camera="door", index=0, image=None, boxes=((100, 60, 80, 90),)) -> FrameResult:
    if image is None:
        image = np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8)
    now = time.monotonic()
    return FrameResult(index, camera, camera, now, now, datetime.now(UTC), image, faces_at(boxes), 3.0, 0)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Served:
    """A page and what it is made of."""

    page: PageOutput
    live: Live
    control: Asked
    door: Door
    log: list[tuple[str, str, Answer]] = field(default_factory=list)
    count: int = 0

    @property
    def port(self) -> int:
        return self.door.port

    def ask(self, path, method="GET", headers=(), body=None, host=None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            given = {"Host": f"127.0.0.1:{self.port}" if host is None else host, **dict(headers)}
            if body is not None and not {"Content-Length", "Transfer-Encoding"} & set(given):
                given["Content-Length"] = str(len(body))
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if body is not None:
                    connection.send(body)
            response = connection.getresponse()
            answer = Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        finally:
            connection.close()
        self.log.append((method, path, answer))
        return answer

    def post(self, path, value, headers=()) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask(path, "POST", {"Content-Type": "application/json", **dict(headers)}, body)

    def connect(self, text: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        connection.sendall(text)
        return connection

    def raw(self, text: bytes) -> bytes:
        """All that is answered until the connection is closed."""
        with self.connect(text) as connection:
            return until_closed(connection)

    def get(self, path, more=b"") -> bytes:
        """The head of a request."""
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n".encode() + more + b"\r\n"

    def feed(self, *cameras, image=None) -> None:
        for camera in cameras or CAMERAS:
            self.count += 1
            one = result(camera, self.count, image)
            self.live.take(one)
            self.page.write(one)

    @contextlib.contextmanager
    def running(self, image=None):
        """Feed frames from another thread."""
        over = threading.Event()

        def go():
            while not over.wait(0.02):
                self.feed(image=image)

        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def until_closed(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@contextlib.contextmanager
def served(
    folder: Path, *, host="127.0.0.1", store=None, cameras=CAMERAS, limits=(), silence=10.0, **options
):
    door = Door(PageOptions(Address(host, 0), **options), lambda: folder)
    control = Asked(cameras)
    live = Live(cameras, told=control.snapshot, store=store)
    metrics = Metrics(live, {"version": "0"})
    page = PageOutput(
        door, cameras, live, control, metrics.render, store, silence=lambda: silence, **dict(limits)
    )
    page.start()
    try:
        yield Served(page, live, control, door)
    finally:
        page.close()


def wait_for(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to this in time"
        time.sleep(0.01)
