"""The page as people meet it: in Chromium, by pointer, by keyboard, and as screen readers are told of it."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ports import free_port

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from pages import CAMERAS, Asked, result, wait_for
from playwright.sync_api import expect
from sources.pictures import encoded, grey
from sources.web import MJPEG, multipart, serving

from fer_edge.labels import EMOTIONS
from fer_edge.option import Address
from fer_edge.outputs.live import Live
from fer_edge.outputs.page.page import Door, PageOptions, PageOutput

pytestmark = [pytest.mark.services, pytest.mark.heavy]

REPOSITORY = Path(__file__).resolve().parents[3]
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


def certificate(folder, *names):
    """A certificate for ``names`` that nobody signed, and its key."""
    made = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-keyout", made[1], "-out", made[0], "-subj", "/CN=fer-edge",
         "-addext", "subjectAltName=" + ",".join(names)],
        check=True, capture_output=True,
    )  # fmt: skip
    made[1].chmod(0o600)
    return made


@contextlib.contextmanager
def nginx(visit, folder, pages_port):
    """nginx before a page, by the configuration of docs/page.md; gives its port."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "Debian's package nginx is not installed"
    (server,) = re.findall(r"```nginx\n(.*?)```", (REPOSITORY / "docs" / "page.md").read_text(), re.S)
    port = free_port()
    cert, key = certificate(folder, "DNS:shop.example")
    for documented, here in {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "http://127.0.0.1:8080;": f"http://127.0.0.1:{pages_port};",
        "/etc/ssl/shop.example.pem;": f"{cert};",
        "/etc/ssl/private/shop.example.key;": f"{key};",
    }.items():
        assert documented in server
        server = server.replace(documented, here)
    # nginx opens the log of before its configuration at a place of its own.
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    written = folder / "nginx.conf"
    written.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}{server}}}\n"
    )
    process = subprocess.Popen([program, "-p", folder, "-e", folder / "error.log", "-c", written])
    try:
        wait_for(lambda: listens(port) or process.poll() is not None, SECONDS)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        visit.leave()
        process.terminate()
        process.wait(SECONDS)


def width_of(page, selector):
    return page.locator(selector).evaluate("element => element.getBoundingClientRect().width")


def until(page, expression, seconds=SECONDS):
    """Wait until an expression is true in the page, and return it."""
    end = time.monotonic() + seconds
    while not (value := page.evaluate(expression)):
        assert time.monotonic() < end, f"not in time: {expression}"
        page.wait_for_timeout(50)
    return value


def test_the_rooms_of_these_tests_have_the_form_of_a_run_s():
    room, live = Room("door"), Live(("door",))
    assert set(room.snapshot()) == set(live.snapshot())
    assert set(room.snapshot()["cameras"][0]) == set(live.snapshot()["cameras"][0])


# A run: a face, its bars, the timeline.


def test_a_face_of_the_demo_camera_appears(visit, tmp_path):
    pytest.importorskip("skimage")
    with run(visit, tmp_path, "--camera", "demo") as (_, url):
        page = visit(url)
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator("#persons .person")).to_have_count(1)
        expect(page.locator(".words")).to_have_text(re.compile(r"\d+ of 10 would say happy"))
        expect(page.locator(".emotion")).to_have_text("happy")
        expect(page.locator("#people-now")).to_have_text("1")
        expect(page.locator("#people-today")).to_have_text(re.compile("[1-9]"))
        expect(page.locator("#mood")).to_contain_text("mostly happy")
        expect(page.locator(".view .state")).to_have_text("running")
        expect(page.locator("#latency")).to_have_text(re.compile(r"[\d.]+ ms"))
        assert until(page, "document.querySelector('.frame img').naturalWidth") == 640
        frame, box = page.locator(".frame").bounding_box(), page.locator(".box").bounding_box()
        assert frame["x"] < box["x"] < box["x"] + box["width"] < frame["x"] + frame["width"]
        assert box["width"] > frame["width"] / 5, "her face is large"
        expect(page.locator(".box")).to_contain_text("1 happy")
        before = int(page.locator("#chart").get_attribute("aria-valuemax") or 0)
        length = page.locator(".area").first.get_attribute("d")
        until(page, f"document.getElementById('chart').getAttribute('aria-valuemax') > {before}")
        assert len(page.locator(".area").first.get_attribute("d")) > len(length), "the timeline grows"
        assert page.title().startswith("1 person \u2013 ")


def test_bars_follow_the_probabilities(visit, room):
    room.put("door", person(1, "happy", 0.9), person(2, "sad", 0.6, (0.6, 0.3, 0.2, 0.3)))
    page = visit(room.url)
    happy = ".person:nth-child(1) .e-happy i"
    expect(page.locator(".person")).to_have_count(2)
    expect(page.locator(".person:nth-child(1) .e-happy dd")).to_have_text("90 %")
    full = width_of(page, ".person:nth-child(1) .e-happy .bar")
    until(
        page, f"Math.abs(document.querySelector('{happy}').getBoundingClientRect().width - {0.9 * full}) < 1"
    )
    room.put("door", person(1, "surprise", 0.7), person(2, "sad", 0.6, (0.6, 0.3, 0.2, 0.3)))
    expect(page.locator(".person:nth-child(1) .e-happy dd")).to_have_text("5 %")
    until(
        page, f"Math.abs(document.querySelector('{happy}').getBoundingClientRect().width - {0.05 * full}) < 1"
    )
    expect(page.locator(".person:nth-child(1) .words")).to_have_text("7 of 10 would say surprise")
    expect(page.locator(".person:nth-child(1) .emotion")).to_have_text("surprise")
    expect(page.locator(".person:nth-child(2) .e-sad dd")).to_have_text("60 %")


def test_who_leaves_goes_and_the_others_keep_their_cards(visit, room):
    room.put("door", person(1), person(2), person(3))
    page = visit(room.url)
    expect(page.locator(".person")).to_have_count(3)
    page.evaluate("document.querySelectorAll('.person')[1].dataset.mine = 'yes'")
    room.put("door", person(2, "sad"), person(4))
    expect(page.locator(".number")).to_have_text(["Person 2", "Person 4"])
    assert page.locator(".person").first.get_attribute("data-mine") == "yes"
    expect(page.locator(".box")).to_have_count(2)


def test_unsure_is_told_by_word_and_line(visit, room):
    room.put("door", person(1, "sad", 0.35, unsure=True))
    page = visit(room.url)
    expect(page.locator(".emotion")).to_have_text("unsure")
    expect(page.locator(".words")).to_have_text("4 of 10 would say sad")
    expect(page.locator(".box")).to_have_css("border-top-style", "dashed")
    expect(page.locator(".box")).to_contain_text("1 unsure")


def test_a_face_that_was_just_found_is_nobody_yet(visit, room):
    room.put("door", person(1), person(None, "sad"))
    page = visit(room.url)
    expect(page.locator(".box")).to_have_count(2)
    expect(page.locator(".person")).to_have_count(1)


# What goes wrong, and comes back.


@pytest.fixture
def stream():
    """A network camera that can be pulled: ``there`` says whether it gives pictures."""
    there = threading.Event()
    there.set()
    picture = encoded(".jpg", grey(90, (320, 240)))

    def parts():
        while there.is_set():
            yield from multipart([picture], 0.05)

    with serving() as running:
        running.answers["/video"] = lambda _: (MJPEG, None, parts()) if there.is_set() else 503
        yield running.url + "/video", there


def test_a_pulled_camera_is_told_and_recovers(visit, stream, tmp_path):
    url, there = stream
    with run(visit, tmp_path, url) as (_, page_url):
        page = visit(page_url)
        state = page.locator(".view .state")
        expect(state).to_have_text("running")
        until(page, "document.querySelector('.frame img').naturalWidth")
        expect(page.locator("#nobody")).to_have_text("Nobody is in the picture.")
        there.clear()
        expect(state).to_have_text("waiting")
        expect(page.locator(".reason")).to_have_text(re.compile(r"for \d+ s: .+"))
        expect(page.locator(".plate")).to_have_text(re.compile(r"No picture for \d+ s\. Trying again\."))
        expect(page.locator(".frame img")).to_be_hidden()
        expect(page.locator("#said")).to_contain_text("waiting")
        expect(page.locator("#nobody")).to_have_text("No camera is running.")
        there.set()
        expect(state).to_have_text("running")
        expect(page.locator(".frame img")).to_be_visible()
        expect(page.locator(".plate")).to_be_hidden()
        expect(page.locator("#said")).to_contain_text("running")


def test_a_lost_connection_is_told_and_comes_back(visit, tmp_path):
    pytest.importorskip("skimage")
    port = free_port()
    with run(visit, tmp_path, "--camera", "demo", port=port) as (process, url):
        page = visit(url, failing=True)
        expect(page.locator("#link")).to_have_text("live")
        process.kill()
        expect(page.locator("#link")).to_have_text("connection lost")
        expect(page.locator("#notice")).to_have_text(
            re.compile(r"Connection lost \d+ s ago; what you see is of \d\d:\d\d:\d\d\. Trying again\.")
        )
        assert page.title().startswith("connection lost")
        expect(page.locator(".cameras .state")).to_be_hidden()
    with run(visit, tmp_path, "--camera", "demo", port=port):
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator("#notice")).to_be_hidden()
        expect(page.locator("#said")).to_contain_text("Connection is back")
        expect(page.locator(".cameras .state")).to_be_visible()
        expect(page.locator(".frame img")).to_be_visible()


def test_the_end_of_a_run_is_told(visit, tmp_path):
    with open_room(visit, tmp_path) as room:
        room.put("door", person(1))
        page = visit(room.url, failing=True)
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator(".box")).to_be_visible()
        page.wait_for_timeout(400)
        before = page.locator(".frame").bounding_box(), page.locator(".box").bounding_box()
    expect(page.locator("#link")).to_have_text("ended")
    expect(page.locator("#notice")).to_contain_text("continues when it is started again")
    # Nobody knows what the camera does by now.
    expect(page.locator(".cameras .state")).to_be_hidden()
    after = page.locator(".frame").bounding_box(), page.locator(".box").bounding_box()
    assert after[1]["y"] - after[0]["y"] == pytest.approx(before[1]["y"] - before[0]["y"], abs=1)


def test_when_too_many_look_on_the_figures_still_come(visit, tmp_path):
    with open_room(visit, tmp_path, viewers=1) as room:
        visit(room.url)
        second = visit(room.url, failing=True)
        expect(second.locator("#link")).to_have_text("live")
        room.put("door", person(1))
        expect(second.locator(".person")).to_have_count(1)


def test_without_the_token_nothing_is_shown(visit, tmp_path):
    (tmp_path / "token").write_text("correct-horse-battery\n")
    (tmp_path / "token").chmod(0o600)
    door = Door(PageOptions(Address("0.0.0.0", 0), token_file=str(tmp_path / "token")), lambda: tmp_path)
    room = Room("door")
    served = PageOutput(door, ("door",), room, room.control, lambda: (b"", "text/plain"))
    served.start()
    try:
        room.put("door", person(1))
        url = f"http://127.0.0.1:{door.port}/"
        page = visit(url, failing=True)
        assert "needs its token" in page.inner_text("body")
        expect(page.locator("section")).to_have_css("border-top-left-radius", "10px")
        expect(page.locator("button")).to_have_css("background-color", "rgb(11, 92, 171)")
        page.emulate_media(color_scheme="dark")
        expect(page.locator("body")).to_have_css("background-color", "rgb(15, 18, 22)")
        assert [one for one in page.evaluate(CONTRAST) if one[1] < 4.5] == []
        assert page.locator("main").count() == 0
        for path in ("api/state", "api/snapshot.jpg", "page.js"):
            assert page.request.get(url + path).status == 401
        page.goto(url + "?token=correct-horse-battery")
        assert page.url == url, "the token stays in no history"
        expect(page.locator(".person")).to_have_count(1)
        assert "correct-horse" not in page.evaluate("document.cookie + document.documentElement.outerHTML")
        page.context.clear_cookies()
        page.evaluate("connect()")
        expect(page.locator("#link")).to_have_text("refused")
        expect(page.locator("#notice")).to_contain_text("open the link with the token")
    finally:
        served.close()


# Over TLS, and behind a proxy.


def test_a_page_over_tls_is_as_any_other(visit, tmp_path):
    pytest.importorskip("skimage")
    cert, key = certificate(tmp_path, "IP:127.0.0.1")
    token = tmp_path / "token"
    token.write_text("correct-horse-battery\n")
    token.chmod(0o600)
    port = free_port()
    tls = ("--page-tls", f"{cert},{key}", "--page-token-file", str(token))
    with run(visit, tmp_path, "--camera", "demo", *tls, port=port):
        url = f"https://127.0.0.1:{port}/"
        page = visit(url + "?token=correct-horse-battery", ignore_https_errors=True)
        assert page.url == url
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator(".words")).to_have_text(re.compile(r"\d+ of 10 would say happy"))
        assert until(page, "document.querySelector('.frame img').naturalWidth") == 640
        (cookie,) = page.context.cookies()
        assert cookie["secure"]
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#link")).to_have_text("paused")


ARRIVALS = """async (wanted) => {
  const read = async (path, mark) => {
    const reader = (await fetch(path)).body.getReader();
    const began = performance.now(), decoder = new TextDecoder("latin1"), times = [];
    let text = "";
    while (times.length < wanted) {
      text += decoder.decode((await reader.read()).value);
      const found = text.split(mark).length - 1;
      while (times.length < found) times.push(performance.now() - began);
    }
    reader.cancel();
    return times;
  };
  return Promise.all([read("api/video.mjpg", "image/jpeg"), read("api/events", "event: state")]);
}"""


def test_behind_nginx_as_documented_all_of_it_works_and_nothing_is_held_back(visit, tmp_path):
    (tmp_path / "token").write_text("correct-horse-battery\n")
    (tmp_path / "token").chmod(0o600)
    options = {"hosts": ("shop.example",), "token_file": str(tmp_path / "token")}
    with open_room(visit, tmp_path, **options) as room, nginx(visit, tmp_path, room.port) as port:
        room.put("door", person(1))
        url = f"https://shop.example:{port}/"
        page = visit(url + "?token=correct-horse-battery", ignore_https_errors=True)
        assert page.url == url
        expect(page.locator("#link")).to_have_text("live")
        assert [one["secure"] for one in page.context.cookies()] == [True]
        assert until(page, "document.querySelector('.frame img').naturalWidth") == 320
        for times in page.evaluate(ARRIVALS, 6):
            assert len(set(times)) > 3, "several came together, from a buffer that was full"
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#link")).to_have_text("paused")
        assert room.control.is_paused


# What can be asked of a run.


def test_pause_and_resume_by_keyboard(visit, room):
    room.put("door", person(1))
    page = visit(room.url)
    expect(page.locator(".frame img")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#pause")).to_be_focused()
    page.keyboard.press("Enter")
    wait_for(lambda: room.control.is_paused)
    expect(page.locator("#notice")).to_have_text("Paused: no frame is processed, shown or stored.")
    expect(page.locator("#link")).to_have_text("paused")
    expect(page.locator(".plate")).to_have_text("Paused")
    expect(page.locator(".frame img")).to_be_hidden()
    expect(page.locator(".person")).to_have_count(0)
    expect(page.locator("#pause")).to_have_text("Resume")
    expect(page.locator("#pause")).to_be_focused()
    expect(page.locator("#said")).to_contain_text("Paused")
    page.keyboard.press("Enter")
    wait_for(lambda: not room.control.is_paused)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator(".frame img")).to_be_visible()


def test_no_old_picture_is_left_when_it_was_paused_during_an_outage(visit, room):
    page = visit(room.url)
    expect(page.locator(".frame img")).to_be_visible()
    page.evaluate("source.close(), turn('lost'), tick()")
    expect(page.locator(".frame img")).to_be_visible()
    room.control.pause()
    page.evaluate("connect()")
    expect(page.locator(".plate")).to_have_text("Paused")
    expect(page.locator(".frame img")).to_be_hidden()
    assert page.locator(".frame img").get_attribute("src") is None


def test_a_page_of_an_earlier_version_is_loaded_anew(visit, room):
    page = visit(room.url)
    expect(page.locator("#link")).to_have_text("live")
    with page.expect_navigation():
        room.more["fer_edge"] = "0.3.0"
    expect(page.locator("#about")).to_contain_text("fer-edge 0.3.0")


def test_a_session_is_started_marked_and_stopped(visit, room):
    page = visit(room.url)
    page.get_by_label("Name").fill("Führung <b>1</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#session-now")).to_have_text("Session: Führung <b>1</b>")
    assert room.control.session == "Führung <b>1</b>"
    page.get_by_label("Event").fill("first film")
    page.get_by_role("button", name="Mark").click()
    expect(page.locator("#marked")).to_have_text(re.compile(r"first film marked at \d\d:\d\d:\d\d"))
    page.get_by_label("Event").fill("second film")
    page.get_by_label("Group").fill("children")
    page.get_by_label("Group").press("Enter")
    wait_for(lambda: len(room.control.marks) == 2)
    assert room.control.marks == [("first film", None), ("second film", "children")]
    page.get_by_role("button", name="Stop the session").click()
    expect(page.get_by_label("Name")).to_be_visible()
    assert room.control.session is None


def test_what_is_refused_is_told_with_its_reason(visit, room):
    page = visit(room.url, failing=True)
    page.get_by_label("Name").fill("one")
    room.control.session = "other"
    page.evaluate("post('api/session', {action: 'start', name: 'one'})")
    expect(page.get_by_role("alert")).to_have_text("That did not work: session 'other' goes on")


def test_a_mask_is_drawn_by_pointer_and_removed(visit, room):
    page = visit(room.url)
    page.get_by_role("button", name="Masks of door").click()
    box = page.locator(".canvas").bounding_box()
    corners = [(0.1, 0.2), (0.5, 0.2), (0.5, 0.9)]
    for x, y in [*corners, corners[0]]:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(page.locator(".told")).to_have_text("Mask 1 is closed, but not saved")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".editor")).to_have_count(0)
    (polygon,) = room.control.masks["door"]
    assert [tuple(corner) for corner in polygon] == [pytest.approx(corner, abs=0.005) for corner in corners]
    expect(page.get_by_role("button", name="Masks of door")).to_be_focused()
    until(page, "state.page.masks.door.length === 1")
    page.keyboard.press("Enter")
    expect(page.locator(".mask")).to_have_count(1)
    page.get_by_role("button", name="Remove mask 1").click()
    expect(page.locator(".mask")).to_have_count(0)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".editor")).to_have_count(0)
    assert room.control.masks["door"] == []


def test_a_mask_is_drawn_by_keyboard(visit, room):
    page = visit(room.url)
    page.get_by_role("button", name="Masks of door").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("application", name="Drawing masks of door")).to_be_focused()
    page.keyboard.press("Enter")  # at the middle
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".told")).to_have_text("62 % from the left, 50 % from the top")
    page.keyboard.press("c")
    expect(page.locator(".told")).to_have_text("A mask needs three corners")
    page.keyboard.press("Space")
    page.keyboard.press("Space")
    page.keyboard.press("Backspace")
    for _ in range(7):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("c")
    expect(page.locator(".told")).to_have_text("Mask 1 is closed, but not saved")
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.textContent") != "Save":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".editor")).to_have_count(0)
    assert room.control.masks["door"] == [[[0.5, 0.5], [0.62, 0.5], [0.62, 1.0]]]
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator(".editor")).to_have_count(0)
    expect(page.get_by_role("button", name="Masks of door")).to_be_focused()


# The timeline.


def test_the_timeline_is_told_by_keys_by_pointer_and_as_a_table(visit, room):
    room.fill_timeline(happy=0.6, neutral=0.3, sad=0.1)
    for entry in room.entries[-60:-40]:
        entry.update(people=0.0, shares=None)
    for entry in room.entries[-40:-30]:
        entry.update(people=None, shares=None)
    page = visit(room.url)
    slider = page.get_by_role("slider")
    said = "element => element.getAttribute('aria-valuetext')"
    wait_for(lambda: "people" in slider.evaluate(said))
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d: 2 people, happy 60 %, neutral 30 %, sad 10 %", slider.evaluate(said)
    )
    expect(page.locator("#readout")).to_have_text(slider.evaluate(said))
    slider.focus()
    for _ in range(4):
        page.keyboard.press("PageDown")
    assert slider.evaluate(said).endswith(": nobody"), "48 entries ago"
    page.keyboard.press("PageUp")
    assert slider.evaluate(said).endswith(": no data")
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuenow") == "0"
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuenow") == "1"
    page.keyboard.press("End")
    assert slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax") == "119"
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    assert 40 < int(slider.get_attribute("aria-valuenow")) < 80
    page.mouse.move(5, 5)
    assert slider.get_attribute("aria-valuenow") == "119"
    # Two stretches of seven bands, and nothing between.
    expect(page.locator(".area")).to_have_count(14)
    page.get_by_text("As a table").click()
    rows = page.get_by_role("row")
    names = page.evaluate("EMOTIONS")
    assert rows.first.get_by_role("columnheader").all_inner_texts() == ["time", "people", *names]
    assert 11 <= rows.count() <= 12
    shares = {"happy": 60, "neutral": 30, "sad": 10}
    cells = rows.nth(2).get_by_role("cell").all_inner_texts()
    assert cells == ["2.0", *(f"{shares.get(name, 0)} %" for name in names)]


HEIGHTS = "[...document.querySelectorAll('.area')].map(a => [a.getAttribute('fill'), a.getBBox().height])"
PLACES = "[...document.querySelectorAll('#drawing text')].map(t => [t.textContent, t.getBBox().y])"


def test_bands_are_as_high_as_their_shares_and_named_where_they_are(visit, room):
    room.fill_timeline(happy=0.5, sad=0.3, angry=0.2)
    page = visit(room.url)
    expect(page.locator(".area")).to_have_count(7)
    heights = dict(page.evaluate(HEIGHTS))
    whole = sum(heights.values())
    assert heights["url(#p-happy)"] / whole == pytest.approx(0.5, abs=0.01)
    assert heights["url(#p-sad)"] / whole == pytest.approx(0.3, abs=0.01)
    assert heights["url(#p-angry)"] / whole == pytest.approx(0.2, abs=0.01)
    places = page.evaluate(PLACES)
    names = [(place, name) for name, place in places if name in EMOTIONS]
    assert [name for _, name in sorted(names)] == page.evaluate("EMOTIONS")
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(sorted(names))]
    assert min(gaps) >= 12, "labels lie over each other"


# Pictures and cameras.


@pytest.mark.parametrize("picture", ["off", "blurred", "full"])
def test_what_is_shown_of_the_picture_is_told(visit, tmp_path, picture):
    with open_room(visit, tmp_path, picture=picture) as room:
        room.put("door", person(1))
        page = visit(room.url)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        expect(page.locator(".box")).to_be_visible()
        note = page.locator("#picture-note")
        if picture == "off":
            expect(note).to_have_text("No picture: boxes and figures only")
            expect(page.locator(".plate")).to_have_text("Picture off")
            page.wait_for_timeout(1500)
            assert not [url for url in asked if "video" in url or "snapshot" in url]
        else:
            expect(page.locator(".frame img")).to_be_visible()
            alt = page.locator(".frame img").get_attribute("alt")
            assert alt == "Picture of door" + (", blurred" if picture == "blurred" else "")
            if picture == "blurred":
                expect(note).to_have_text("Picture is blurred on the device")
            else:
                expect(note).to_be_hidden()


HIDE = """(value) => {
  Object.defineProperty(document, 'hidden', {value, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_no_pictures_are_made_for_a_page_that_is_hidden(visit, room):
    page = visit(room.url)
    expect(page.locator(".frame img")).to_be_visible()
    page.evaluate(HIDE, True)
    wait_for(lambda: not room.page.pictures.looked_at)
    page.evaluate(HIDE, False)
    expect(page.locator(".frame img")).to_be_visible()


def test_more_than_two_cameras_are_shown_by_single_pictures(visit, tmp_path):
    with open_room(visit, tmp_path, "door", "till", "yard") as room:
        room.put("till", person(1))
        room.put("yard", person(2), state="running")
        page = visit(room.url)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        expect(page.locator(".frame img:visible")).to_have_count(3)
        wait_for(
            lambda: (
                page.wait_for_timeout(50)
                or sum("snapshot.jpg" in url and "camera=till" in url for url in asked) > 2
            )
        )
        assert not [url for url in asked if "video" in url]
        expect(page.locator(".place")).to_have_text(["till", "yard"])
        page.get_by_role("radio", name="All").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("radio", name="till")).to_be_checked()
        expect(page.locator(".view:visible .name")).to_have_text("till")
        expect(page.locator(".place")).to_have_text(["till"])
        wait_for(
            lambda: (
                page.wait_for_timeout(50)
                or any("video.mjpg" in url and "camera=till" in url for url in asked)
            )
        )
        page.reload()
        expect(page.get_by_role("radio", name="till")).to_be_checked()


def test_a_lost_camera_is_marked_where_another_is_shown(visit, tmp_path):
    with open_room(visit, tmp_path, "door", "till") as room:
        room.put("till", state="waiting", reason="no such device: /dev/video2", since=65)
        page = visit(room.url)
        label = page.locator("#chooser label").nth(2)
        expect(label).to_have_attribute("data-state", "waiting")
        assert "▲" in label.evaluate("element => getComputedStyle(element, '::before').content")
        expect(page.locator(".reason").nth(1)).to_have_text(
            re.compile(r"for 1 min \d+ s: no such device: /dev/video2")
        )


EVIL = ['<img src=x onerror="document.title=1">', "مدخل القاعة", "x" * 120]


def test_names_are_texts_in_any_script_and_length(visit, tmp_path):
    with open_room(visit, tmp_path, *EVIL) as room:
        room.more["device"] = "<script>alert(1)</script>"
        room.put(EVIL[0], person(1) | {"text": "<b>8</b> of 10"})
        page = visit(room.url, viewport={"width": 360, "height": 740})
        expect(page.locator(".view .name")).to_have_text(EVIL)
        expect(page.locator("#device")).to_have_text("<script>alert(1)</script>")
        expect(page.locator(".words")).to_have_text("<b>8</b> of 10")
        assert page.locator("body script, .view img:not(.frame img), .words b").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


# Everybody: small, dark, by keyboard, by ear.


def crowd(count):
    places = [(0.02 + number % 5 * 0.19, 0.1 + number // 5 * 0.3, 0.12, 0.18) for number in range(count)]
    return [
        person(number + 1, EMOTIONS[number % 7], 0.4 + number / 30, place, unsure=number % 4 == 3)
        for number, place in enumerate(places)
    ]


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
@pytest.mark.parametrize("count", [0, 1, 15])
def test_nothing_overflows_on_any_screen(visit, room, width, count):
    room.put("door", *crowd(count))
    room.fill_timeline(happy=0.6, neutral=0.3, sad=0.1)
    page = visit(room.url, viewport={"width": width, "height": 800}, has_touch=width < 500)
    expect(page.locator(".person")).to_have_count(count)
    expect(page.locator(".area").first).to_be_visible()
    page.get_by_text("As a table").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heights = page.evaluate(
        "[...document.querySelectorAll('button, label')].map(one => one.getBoundingClientRect().height)"
    )
    assert min(height for height in heights if height) >= 24, "too small for a finger"
    expect(page.locator("#nobody")).to_be_visible(visible=not count)


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("what", ["people", "trouble"])
def test_all_text_can_be_read(visit, tmp_path, scheme, what):
    with open_room(visit, tmp_path, "door", "till", picture="blurred") as room:
        room.put("door", *crowd(7))
        room.fill_timeline(happy=0.6, neutral=0.3, sad=0.1)
        room.more["throttled"] = True
        if what == "trouble":
            room.put("till", state="waiting", reason="unplugged")
            room.control.session = "Workshop"
            room.control.is_paused = True
        page = visit(room.url, color_scheme=scheme)
        expect(page.locator("#notice")).to_be_visible(visible=what == "trouble")
        expect(page.locator(".area").first).to_be_visible()
        page.get_by_text("As a table").click()
        page.get_by_role("button", name="Masks of door").click()
        found = page.evaluate(CONTRAST)
        assert len(found) > 100, "most of the page was looked at"
        assert {"kitchen", "Latency", "throttled", "happy"} <= {text for text, _ in found}
        assert not [one for one in found if one[1] < 4.5]


FOCUSED = """() => {
  const element = document.activeElement;
  const drawn = getComputedStyle((element.type === 'radio' && element.closest('label')) || element);
  const name = element.getAttribute('aria-label') || element.textContent || element.labels?.[0]?.textContent;
  return [(name || '').trim(), `${drawn.outlineStyle} ${drawn.outlineWidth}`];
}"""


def test_by_keyboard_everything_is_reached_in_order_and_seen(visit, tmp_path):
    with open_room(visit, tmp_path, "door", "till") as room:
        room.fill_timeline(happy=0.6, sad=0.4)
        page = visit(room.url)
        expect(page.locator(".area").first).to_be_visible()
        names = []
        for _ in range(20):
            page.keyboard.press("Tab")
            name, outline = page.evaluate(FOCUSED)
            if name in names or page.evaluate("document.activeElement === document.body"):
                break
            names.append(name)
            assert outline == "solid 2px", name
        assert names == [
            "Pause",
            "All",
            "Masks of door",
            "Masks of till",
            "Moment of the last 10 minutes",
            "As a table",
            "Name",
            "Start",
        ]


def test_the_accessibility_tree_has_names_and_landmarks(visit, tmp_path):
    with open_room(visit, tmp_path, "door", "till") as room:
        room.put("door", person(1), person(2, "sad"))
        room.fill_timeline(happy=0.6, sad=0.4)
        page = visit(room.url)
        expect(page.locator(".frame img:visible")).to_have_count(2)
        page.get_by_text("As a table").click()
        page.get_by_role("button", name="Masks of door").click()
        session = page.context.new_cdp_session(page)
        nodes = [node for node in session.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        told = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
        for role in (
            "button",
            "textbox",
            "radio",
            "image",
            "slider",
            "region",
            "table",
            "application",
            "heading",
        ):
            of_role = [name for kind, name in told if kind == role]
            assert of_role, role
            assert all(of_role), (role, of_role)
        roles = {role for role, _ in told}
        assert {"banner", "main", "contentinfo", "status", "list", "listitem", "term", "definition"} <= roles
        assert {"Figures", "Cameras", "People", "The room, last 10 minutes", "Session"} <= {
            name for role, name in told if role == "region"
        }
        assert ("image", "Picture of door") in told
        assert ("group", "Camera to show") in told
        texts = " ".join(name for role, name in told if role == "StaticText")
        assert "8 of 10 would say sad" in texts
        assert "Person 2" in texts


def test_what_is_said_aloud_is_little(visit, room):
    page = visit(room.url)
    expect(page.locator("#link")).to_have_text("live")
    page.evaluate(
        "window.told = [];"
        "new MutationObserver(() => told.push([performance.now(), $('said').textContent]))"
        ".observe($('said'), {childList: true, characterData: true, subtree: true})"
    )
    for count in range(40):
        room.put("door", *crowd(count % 5))
        page.wait_for_timeout(200)
    room.put("door", *crowd(3))
    wait_for(lambda: page.wait_for_timeout(100) or page.evaluate("told.at(-1)[1] === '3 people'"))
    times = [at for at, _ in page.evaluate("told")]
    assert all(after - before > 5500 for before, after in itertools.pairwise(times)), times
    assert page.locator("#said").get_attribute("role") == "status"


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_glides_for_those_who_asked_for_it(visit, room, motion):
    room.put("door", person(1))
    page = visit(room.url, reduced_motion=motion)
    wanted = "0s" if motion == "reduce" else "0.15s"
    expect(page.locator(".box")).to_have_css("transition-duration", wanted)
    expect(page.locator(".bar i").first).to_have_css("transition-duration", wanted)


def test_boxes_are_where_the_faces_are_also_in_a_narrow_window(visit, room):
    room.put("door", person(1, box=(0.25, 0.5, 0.5, 0.25)))
    page = visit(room.url, viewport={"width": 360, "height": 740})
    expect(page.locator(".box")).to_be_visible()
    page.wait_for_timeout(400)
    frame, box = page.locator(".frame").bounding_box(), page.locator(".box").bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(320 / 240, rel=0.01)
    assert (box["x"] - frame["x"]) / frame["width"] == pytest.approx(0.25, abs=0.01)
    assert (box["y"] - frame["y"]) / frame["height"] == pytest.approx(0.5, abs=0.01)
    assert box["width"] / frame["width"] == pytest.approx(0.5, abs=0.01)


def test_an_empty_room_takes_little_place(visit, room):
    page = visit(room.url)
    expect(page.locator("#nobody")).to_be_visible()
    until(page, "document.querySelector('.frame img').naturalWidth")
    people, session = page.locator(".people").bounding_box(), page.locator(".session").bounding_box()
    assert people["height"] < 120
    room.put("door", *crowd(1))
    expect(page.locator(".person")).to_have_count(1)
    assert page.locator(".people").bounding_box()["height"] > people["height"]
    assert page.locator(".session").bounding_box() == session, "a button moves under the pointer"


def test_the_page_says_that_it_knows_nothing_yet(visit, room):
    room.put("door", state="waiting", reason="no frame yet")
    room.more.update(temperature=None, throttled=None, latency_ms={"p50": None, "p95": None}, fps=0.0)
    page = visit(room.url)
    expect(page.locator("#latency")).to_have_text("\u2013")
    expect(page.locator("#temperature")).to_have_text("\u2013")
    expect(page.locator("#mood")).to_have_text("nobody here")
    expect(page.locator("#readout")).to_be_hidden()
    assert json.loads(page.evaluate("JSON.stringify(entries)")) == []
