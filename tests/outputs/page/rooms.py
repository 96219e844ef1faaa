"""What tests of the page in a browser share: runs and rooms made up, and pages that may not fail."""

from __future__ import annotations

import contextlib
import copy
import itertools
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from ports import free_port

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from pages import CAMERAS, Asked, result, wait_for
from playwright.sync_api import expect

from fer_edge.labels import EMOTIONS
from fer_edge.option import Address
from fer_edge.outputs.page.page import Door, PageOptions, PageOutput

SECONDS = 30.0
expect.set_options(timeout=1000 * SECONDS)


class Visits:
    """Opens pages, and notes what fails in them and what they ask of other hosts.

    ``visit(url, failing=True)``: requests may fail, as where a server is stopped.
    """

    def __init__(self, browser):
        self.browser, self.strict, self.lenient, self.faults = browser, [], [], []

    def __call__(self, url, failing=False, **options):
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(1000 * SECONDS)
        (self.lenient if failing else self.strict).append(context)
        page = context.new_page()
        origin = "/".join(url.split("/")[:3])
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((origin, "data:,")) else self.faults.append(request.url)
            ),
        )
        if not failing:
            page.on(
                "console",
                lambda told: self.faults.append(told.text) if told.type in ("error", "warning") else None,
            )
        page.goto(url)
        return page

    def leave(self):
        """Close the pages in which nothing may fail: those of a server that ends would try to reconnect."""
        while self.strict:
            self.strict.pop().close()


@pytest.fixture
def visit(browser):
    """Opens a page; in the end nothing may have been asked of another host, and nothing have failed."""
    visits = Visits(browser)
    yield visits
    visits.leave()
    for context in visits.lenient:
        context.close()
    assert not visits.faults


def person(track, emotion="happy", share=0.82, box=(0.3, 0.3, 0.2, 0.3), unsure=False):
    """A face as the state has it, with what is left shared alike."""
    probabilities = dict.fromkeys(EMOTIONS, (1 - share) / 6) | {emotion: share}
    return {
        "track": track,
        "box": list(box),
        "emotion": emotion,
        "text": f"{round(10 * share)} of 10 would say {emotion}",
        "unsure": unsure,
        "probabilities": probabilities,
    }


class Room:
    """Figures of a run that a test makes up, in the form of Live's; served with what may be asked of it."""

    def __init__(self, *cameras):
        self.control = Asked(cameras)
        self.known = dict.fromkeys(cameras)
        self.more = {}
        self.entries = []
        for name in cameras:
            self.put(name)

    def put(self, camera, *faces, state="running", reason="", since=0.0):
        """Let a camera see ``faces``."""
        self.known[camera] = {
            "name": camera,
            "state": state,
            "reason": reason,
            "since": since,
            "fps": 24.5 if state == "running" else 0.0,
            "people": sum(bool(face["track"]) for face in faces),
            "size": [320, 240],
            "faces": list(faces),
        }

    def snapshot(self):
        cameras = copy.deepcopy(list(self.known.values()))
        told = self.control.snapshot()
        for camera in cameras if told["paused"] else ():
            camera.update(state="paused", faces=[], people=0)
        faces = [face for camera in cameras for face in camera["faces"] if face["track"]]
        shares = (
            {name: sum(face["probabilities"][name] for face in faces) / len(faces) for name in EMOTIONS}
            if faces
            else None
        )
        return {
            "version": 1,
            "device": "kitchen",
            "fer_edge": "0.2.0",
            "time": datetime.now(UTC).isoformat(),
            "uptime": 8123.4,
            "paused": told["paused"],
            "session": told["session"],
            "people": len(faces),
            "people_today": 87,
            "people_today_since": "2026-11-26T00:00:00.000Z",
            "fps": 24.5,
            "latency_ms": {"p50": 11.31, "p95": 14.8},
            "dropped": 12,
            "temperature": 58.4,
            "throttled": False,
            "throttling": [],
            "emotions": shares,
            "dominant": max(shares, key=shares.get) if shares else None,
            "unsure_share": 0.0 if faces else None,
            "attention": 0.5 if faces else None,
            "cameras": cameras,
            **self.more,
        }

    def timeline(self):
        return copy.deepcopy(self.entries)

    def fill_timeline(self, people=2.0, **shares):
        """Ten minutes of ``people`` with these shares, which end now."""
        every = dict.fromkeys(EMOTIONS, 0.0) | shares
        now = datetime.now(UTC)
        self.entries = [
            {
                "time": (now - timedelta(seconds=5 * back)).isoformat(),
                "people": people,
                "shares": every if people else None,
            }
            for back in reversed(range(120))
        ]


@contextlib.contextmanager
def open_room(visit, folder, *cameras, image=None, **options):
    """A page of a room, at ``room.url``, with pictures of all cameras that run; left before it is closed."""
    room = Room(*(cameras or CAMERAS[:1]))
    door = Door(PageOptions(Address("127.0.0.1", 0), **options), lambda: folder)
    page = PageOutput(door, tuple(room.known), room, room.control, lambda: (b"", "text/plain"))
    over = threading.Event()

    def feed():
        for index in itertools.count():
            if over.wait(0.05):
                return
            for name, camera in list(room.known.items()):
                if camera["state"] == "running" and not room.control.is_paused:
                    page.write(result(name, index, image))

    feeder = threading.Thread(target=feed, daemon=True)
    page.start()
    feeder.start()
    room.url, room.port, room.page = door.url, door.port, page
    try:
        yield room
    finally:
        visit.leave()
        over.set()
        feeder.join()
        page.close()


@pytest.fixture
def room(visit, tmp_path):
    with open_room(visit, tmp_path) as one:
        yield one


@contextlib.contextmanager
def run(visit, folder, *arguments, port=None):
    """``fer-edge run`` with a page on a port of its own; gives (process, URL)."""
    port = port or free_port()
    told = folder / "run.log"
    with told.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_edge", "run", *arguments, "--page", f"127.0.0.1:{port}",
             "--state-folder", str(folder)],
            stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        wait_for(lambda: listens(port) or process.poll() is not None, SECONDS)
        assert process.poll() is None, told.read_text()
        yield process, f"http://127.0.0.1:{port}/"
    finally:
        visit.leave()
        process.terminate()
        process.wait(SECONDS)


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def width_of(page, selector):
    return page.locator(selector).evaluate("element => element.getBoundingClientRect().width")


def until(page, expression, seconds=SECONDS):
    """Wait until an expression is true in the page, and return it."""
    end = time.monotonic() + seconds
    while not (value := page.evaluate(expression)):
        assert time.monotonic() < end, f"not in time: {expression}"
        page.wait_for_timeout(50)
    return value


CONTRAST = """() => {
  const parse = (text) => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (top, under) => top.slice(0, 3).map((part, i) => part * top[3] + under[i] * (1 - top[3]));
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const paper = (element) => {
    const under = element.parentElement ? paper(element.parentElement) : [255, 255, 255];
    return over(parse(getComputedStyle(element).backgroundColor), under);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility() || element.closest('.unseen, noscript, template')) continue;
    const style = getComputedStyle(element);
    const ink = parse(element.closest('svg') ? style.fill : style.color);
    const under = paper(element);
    const [dark, bright] = [light(over(ink, under)), light(under)].sort((a, b) => a - b);
    found.push([text, (bright + 0.05) / (dark + 0.05)]);
  }
  return found;
}"""
