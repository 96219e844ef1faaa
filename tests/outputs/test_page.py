"""The page's answers, over real sockets, held against the description of its API."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
jsonschema = pytest.importorskip("jsonschema")

import results
from conftest import repository_module
from pages import CAMERAS, SECONDS, Asked, result, served, until_closed, wait_for

from fer_edge.errors import DataError
from fer_edge.outputs.blur import pixelated
from fer_edge.outputs.page.events import KEPT, Events
from fer_edge.outputs.page.pictures import Pictures, View
from fer_edge.outputs.store import StoreOutput
from fer_edge.pipeline.state import State

REPOSITORY = Path(__file__).resolve().parents[2]
OPENAPI = REPOSITORY / "docs" / "openapi.json"
TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
LOST = State("waiting", "camera 0: unplugged", 4.0)


@pytest.fixture
def page(tmp_path):
    with served(tmp_path) as one:
        yield one


def described():
    if not OPENAPI.exists():
        pytest.skip("no docs/ beside the tests")
    return json.loads(OPENAPI.read_text())


def check(document, path, method, answer):
    """Hold an answer against the description: its status, its kind, its fields."""
    responses = document["paths"][path.partition("?")[0]][method.lower()]["responses"]
    assert str(answer.status) in responses, (path, method, answer.status, answer.body[:200])
    told = responses[str(answer.status)]
    if "$ref" in told:
        told = document["components"]["responses"][told["$ref"].rpartition("/")[2]]
    if "content" not in told:
        assert answer.body == b""
        return
    ((kind, content),) = told["content"].items()
    assert answer.headers["content-type"].partition(";")[0] == kind, path
    if content.get("schema"):
        schema = {**content["schema"], "components": document["components"]}
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(answer.json)


def test_every_address_answers_with_every_status_that_is_described(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_edge.outputs.page.routes.BODY_SECONDS", 0.3)
    monkeypatch.setattr("fer_edge.outputs.page.routes._SNAPSHOT_SECONDS", 0.3)
    (tmp_path / "token").write_text(TOKEN)
    document, seen = described(), set()

    def hold(path, method, answer):
        check(document, path, method, answer)
        seen.add((path.partition("?")[0], method, str(answer.status)))

    origin = {"Origin": "http://evil.example"}
    with served(tmp_path, token_file=str(tmp_path / "token"), store=_store(tmp_path), viewers=1) as page:
        hold("/healthz", "GET", page.ask("/healthz"))
        page.feed()
        for path, methods in document["paths"].items():
            for method in (name.upper() for name in methods):
                large = {"X": "a" * 16_400}
                hold(path, method, page.ask(path, method, large))
                hold(path, method, page.ask(path, method, BEARER, host="evil.example"))
                foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
                hold(path, method, page.ask(path, method, {**BEARER, **foreign}))
                if path not in ("/healthz", "/page.css"):
                    hold(path, method, page.ask(path, method))
                if method == "POST":
                    json_kind = {**BEARER, "Content-Type": "application/json"}
                    hold(path, method, page.post(path, {}, BEARER))
                    hold(path, method, page.post(path, {"paused": True}, {**BEARER, **origin}))
                    hold(path, method, page.ask(path, method, BEARER, b"{}"))
                    hold(path, method, page.ask(path, method, json_kind, b" " * 70_000))
                    hold(path, method, page.ask(path, method, {**json_kind, "Content-Length": "9"}, b"{"))
        bodies = {
            "/api/pause": [{"paused": True}, {"paused": False}],
            "/api/mask": [{"camera": "door", "polygons": [[[0, 0], [0.3, 0], [0.3, 1]]]}],
            "/api/session": [
                {"action": "mark", "name": "scene"},
                {"action": "start", "name": "evening"},
                {"action": "mark", "name": "scene", "group": "advertisements"},
                {"action": "stop"},
            ],
        }
        for path, values in bodies.items():
            for value in values:
                hold(path, "POST", page.post(path, value, BEARER))
        with page.running():
            once = [path for path in document["paths"] if path not in ("/api/events", "/api/video.mjpg")]
            once = [path for path in once if "get" in document["paths"][path]]
            once += [f"/api/{name}?camera=no" for name in ("snapshot.jpg", "video.mjpg")]
            once += [f"/api/{name}?boxes=2" for name in ("snapshot.jpg", "video.mjpg")]
            for path in (*once, "/api/store?table=sessions"):
                hold(path, "GET", page.ask(path, headers=BEARER))
            for path in ("/api/events", "/api/video.mjpg"):
                with page.connect(page.get(path, f"Authorization: Bearer {TOKEN}\r\n".encode())) as stream:
                    head = stream.recv(4096)
                    (kind,) = document["paths"][path]["get"]["responses"]["200"]["content"]
                    assert head.startswith(b"HTTP/1.1 200 ") and f"content-type: {kind}".encode() in head
                    seen.add((path, "GET", "200"))
                    hold(path, "GET", page.ask(path, headers=BEARER))
        wait_for(lambda: not page.page.pictures.looked_at)
        # A last frame may be left, of which a picture is made yet.
        while ("/api/snapshot.jpg", "GET", "503") not in seen:
            hold("/api/snapshot.jpg", "GET", page.ask("/api/snapshot.jpg", headers=BEARER))
        hold("/", "GET", page.ask(f"/?token={TOKEN}"))
        guesses = itertools.count()
        for path, methods in document["paths"].items():
            for method in (name.upper() for name in methods):
                # On a busy machine the wait of a second may be over before the next request.
                while path not in ("/healthz", "/page.css") and (path, method, "429") not in seen:
                    guess = {"Authorization": f"Bearer guess-{next(guesses)}"}
                    hold(path, method, page.ask(path, method, guess))
    with served(tmp_path, picture="off") as page:
        for path in ("/api/snapshot.jpg", "/api/video.mjpg", "/api/store"):
            hold(path, "GET", page.ask(path))
    with served(tmp_path, store=tmp_path / "none.db") as page:
        hold("/api/store", "GET", page.ask("/api/store"))
    wanted = {
        (path, method.upper(), status)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        for status in told["responses"]
    }
    assert wanted - seen == set()


def _store(folder):
    path = folder / "shop.db"
    output = StoreOutput(path, live=True)
    output.open()
    for index in range(3):
        output.write(result("door", index))
    output.end({})
    output.close()
    return path


def test_the_description_in_the_documentation_is_that_of_the_api():
    """After a change of docs/openapi.json: make man."""
    module = repository_module("tools/api.py")
    assert module.PAGE.read_text() == module.page()


def test_the_files_load_nothing_from_elsewhere(page):
    for path in ("/", "/page.css", "/page.js"):
        text = page.ask(path).body.decode()
        links = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//[^\"')\s]+", text)
        assert links == [], path
        assert not re.search(r"\bon\w+=\"|<style|javascript:| style=\"", text), path


# Health.


def test_health_tells_what_is_wrong(tmp_path):
    with served(tmp_path, silence=5.0) as page:
        answer = page.ask("/healthz")
        assert (answer.status, answer.json["reason"]) == (503, "no frame was processed yet")
        page.feed()
        assert page.ask("/healthz").json == {"ok": True, "paused": False, "cameras": 2, "running": 2}
        page.live.on_state(LOST, "door")
        assert page.ask("/healthz").json == {"ok": True, "paused": False, "cameras": 2, "running": 1}
        page.live.on_state(LOST, "till")
        answer = page.ask("/healthz")
        assert (answer.status, answer.json["reason"]) == (503, "no camera gives frames")
        page.control.pause()
        answer = page.ask("/healthz")
        assert (answer.status, answer.json["paused"]) == (200, True)


def test_a_loop_that_hangs_is_not_healthy(tmp_path):
    with served(tmp_path, silence=0.05) as page:
        page.feed()
        time.sleep(0.1)
        answer = page.ask("/healthz")
        assert answer.status == 503
        assert answer.json["reason"].startswith("no frame was processed for ")


def test_a_run_that_is_resumed_is_healthy_until_a_frame_is_overdue(tmp_path):
    now = [100.0]
    with served(tmp_path, silence=5.0, limits={"clock": lambda: now[0]}) as page:
        page.feed()
        page.live.on_state(State("paused"))
        page.control.pause()
        page.page.changed()
        now[0] += 3600
        assert page.ask("/healthz").json["paused"] is True
        page.control.resume()
        page.page.changed()
        # Its cameras have given no frame yet, so that they are as they were.
        assert page.ask("/healthz").json["ok"] is True
        now[0] += 5.1
        answer = page.ask("/healthz")
        assert (answer.status, answer.json["reason"]) == (503, "no frame was processed for 5 s")
        # Other changes are no reason to be patient.
        page.page.changed()
        assert page.ask("/healthz").status == 503
        page.feed()
        assert page.ask("/healthz").status == 200


# Pictures.


def frames_of(connection, count):
    """The JPEG pictures of a stream, as a browser cuts it."""
    text = b""
    while text.count(b"Content-Type: image/jpeg") < count + 1:
        part = connection.recv(65536)
        if not part:
            break
        text += part
    body = text.partition(b"\r\n\r\n")[2]
    chunked, plain = body, b""
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        if not size or len(rest) < int(size, 16):
            break
        plain += rest[: int(size, 16)]
        chunked = rest[int(size, 16) + 2 :]
    parts = plain.split(b"--fer-edge-picture\r\n")
    assert parts[0] == b""
    pictures = []
    for part in parts[1:]:
        head, _, rest = part.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if length and len(rest) >= int(length[1]):
            pictures.append(cv2.imdecode(np.frombuffer(rest[: int(length[1])], np.uint8), cv2.IMREAD_COLOR))
    return pictures


def test_a_stream_gives_pictures_of_its_camera(page):
    dark, bright = np.full((480, 640, 3), 20, np.uint8), np.full((480, 640, 3), 220, np.uint8)
    over = threading.Event()

    def go():
        while not over.wait(0.02):
            page.feed("door", image=dark)
            page.feed("till", image=bright)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        for camera, level in (("door", 20), ("till", 220)):
            with page.connect(page.get(f"/api/video.mjpg?camera={camera}&boxes=0")) as stream:
                for picture in frames_of(stream, 2):
                    assert picture.shape == (480, 640, 3)
                    assert abs(float(picture.mean()) - level) < 3
    finally:
        over.set()
        thread.join()


def test_boxes_are_drawn_unless_they_are_not_wanted(page):
    grey = np.full((480, 640), 128, np.uint8)
    with page.running(image=grey):
        with_boxes, without = (
            cv2.imdecode(np.frombuffer(page.ask(f"/api/snapshot.jpg?boxes={boxes}").body, np.uint8), 1)
            for boxes in "10"
        )
    assert float(without.std()) < 1
    assert float(with_boxes.std()) > 5
    # As in the state: the box of 80 by 90 at 100, 60.
    assert (abs(with_boxes[60:150, 100].astype(int) - 128).max(axis=1) > 40).mean() > 0.9


def test_large_pictures_are_made_smaller(page):
    with page.running(image=np.zeros((1080, 1920, 3), np.uint8)):
        answer = page.ask("/api/snapshot.jpg")
    assert cv2.imdecode(np.frombuffer(answer.body, np.uint8), 1).shape == (540, 960, 3)


def test_nothing_is_encoded_unless_somebody_looks(page):
    for _ in range(20):
        page.feed()
    assert page.page.pictures.encoded == 0
    with page.running():
        assert page.ask("/api/snapshot.jpg").status == 200
        wait_for(lambda: not page.page.pictures.looked_at)
        before = page.page.pictures.encoded
        time.sleep(0.3)
        assert page.page.pictures.encoded <= before + 1


def test_a_picture_is_encoded_once_for_all_and_not_too_often(tmp_path):
    with served(tmp_path, fps=5.0, cameras=("door",)) as page, page.running():
        streams = [page.connect(page.get("/api/video.mjpg")) for _ in range(6)]
        counts = [0] * len(streams)

        def read(index):
            counts[index] = len(frames_of(streams[index], 6))

        threads = [threading.Thread(target=read, args=(index,)) for index in range(len(streams))]
        began, before = time.monotonic(), page.page.pictures.encoded
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passed, made = time.monotonic() - began, page.page.pictures.encoded - before
        for stream in streams:
            stream.close()
    assert min(counts) >= 5
    assert made <= 5 * passed + 3
    assert made < sum(counts) / 2


def test_a_viewer_who_goes_when_a_picture_comes_is_gone(page):
    """At that moment, a wait that forgets its cancellation would go on for nobody."""
    routes, pictures, view = page.page._routes, page.page.pictures, View("door", True)

    async def look():
        leaving = asyncio.Event()
        sent = []

        async def receive():
            await leaving.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/api/video.mjpg", "raw_path": b"/api/video.mjpg",
                 "query_string": b"", "headers": [], "root_path": "", "app": None}  # fmt: skip
        for ticks in range(8):
            # The loop of the pictures is another one here, so it is woken by hand.
            viewing = asyncio.create_task(routes.app()(scope, receive, send))
            while not pictures._asked[view]:
                await asyncio.sleep(0)
            leaving.set()
            for _ in range(ticks):
                await asyncio.sleep(0)
            pictures._publish(view, b"jpeg", None, pictures._generation)
            pictures._wake()
            async with asyncio.timeout(SECONDS):
                await viewing
            leaving.clear()
            assert (pictures._asked[view], pictures._looking[view]) == (0, 0)

    pictures._loop = None
    asyncio.run(look())


def test_viewers_who_come_and_go_leave_nothing_behind(tmp_path):
    with served(tmp_path, fps=30.0, viewers=40) as page, page.running():
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                for _ in range(30):
                    stack.enter_context(page.connect(page.get("/api/video.mjpg"))).recv(1)
                stack.enter_context(page.connect(page.get("/api/events"))).recv(1)
            wait_for(lambda: page.page.server.connections == 0)
            wait_for(lambda: not page.page.pictures.looked_at)
        wait_for(lambda: set(page.page.pictures._asked.values()) == {0})
        wait_for(lambda: set(page.page._routes._taken.values()) == {0})


def test_a_frame_that_comes_a_little_early_is_taken():
    now = 0.0
    pictures = Pictures(("door",), "full", 10, clock=lambda: now)
    taken = 0
    view = View("door", False)
    with pictures.watched(view):
        pictures._asked[view] = 1
        for frame in range(90):
            now = 100 + frame / 30 + 0.004 * (frame % 3)
            pictures.offer(result())
            taken += bool(pictures._waiting.pop("door", None))
    assert 28 <= taken <= 31


def test_the_whole_picture_is_blurred_before_it_is_encoded(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (480, 640, 3), np.uint8)
    with served(tmp_path, picture="blurred") as page, page.running(image=image):
        answer = page.ask("/api/snapshot.jpg?boxes=0")
    picture = cv2.imdecode(np.frombuffer(answer.body, np.uint8), 1).astype(int)
    # 24 by 18 blocks, and within each nothing but what the encoder leaves.
    small = cv2.resize(picture.astype(np.uint8), (24, 18), interpolation=cv2.INTER_AREA)
    again = cv2.resize(small, (640, 480), interpolation=cv2.INTER_NEAREST).astype(int)
    assert np.abs(picture - again).mean() < 3


def test_blocks_grow_with_faces_and_leave_six_of_one():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (480, 640), np.uint8)
    near, far = (pixelated(image, largest) for largest in (470 / 640, 0))
    assert len(np.unique(far[0])) <= 24
    assert len(np.unique(far[:, 0])) <= 18
    # 470 / 6 = 78 pixels: 8 blocks in 640.
    assert len(np.unique(near[0])) <= 8
    assert near.shape == image.shape


def test_blocks_stay_large_while_a_face_is_lost_for_some_frames():
    now = 100.0
    pictures = Pictures(("door",), "blurred", 10, clock=lambda: now)

    def colours(boxes):
        """How many blocks there are in a row of the next picture."""
        brighter = np.tile(np.linspace(0, 255, 640).astype(np.uint8), (480, 1))
        one = result(image=brighter, boxes=boxes)
        view = View("door", False)
        with pictures.watched(view):
            pictures._asked[view] = 1
            pictures.offer(replace(one, monotonic=now))
            made = []
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "fer_edge.outputs.page.pictures._encoded", lambda picture: made.append(picture) or b"x"
                )
                pictures._make(pictures._waiting.pop("door"), [view], pictures._generation)
        return len(np.unique(made[0][0]))

    assert colours([]) == 24
    # Nobody looks on, and a face comes close.
    pictures._asked.clear()
    pictures.offer(result(image=np.zeros((480, 640), np.uint8), boxes=[(0, 0, 400, 470)]))
    now = 105.0
    assert colours([]) <= 8
    now = 110.0
    assert colours([]) <= 8
    now = 121.0
    assert colours([]) == 24


def test_a_lost_camera_is_told_in_its_picture(page):
    with page.running(), page.connect(page.get("/api/video.mjpg?camera=door")) as stream:
        assert frames_of(stream, 1)[0].mean() > 60
    with page.connect(page.get("/api/video.mjpg?camera=door")) as stream:
        page.live.on_state(LOST)
        wait_for(lambda: page.page.pictures._said[View("door", True)] == "waiting: camera 0: unplugged")
        page.feed("door")
        assert any(picture.mean() < 30 for picture in frames_of(stream, 1))


def test_what_was_seen_before_a_mask_is_not_shown_again(page):
    with page.running(), page.connect(page.get("/api/video.mjpg")) as stream:
        frames_of(stream, 1)
        view = View("door", True)
        assert page.page.pictures._latest[view].jpeg
    page.page.changed()
    assert page.page.pictures._latest[view].jpeg == b""


def test_a_picture_begun_before_a_mask_is_thrown_away():
    pictures = Pictures(("door",), "full", 10)
    view = View("door", False)
    with pictures.watched(view):
        generation = pictures._generation
        pictures.forget()
        pictures._publish(view, b"old", None, generation)
        assert pictures._latest[view].jpeg == b""
        pictures._publish(view, b"new", None, generation + 1)
        assert pictures._latest[view].jpeg == b"new"


def test_a_frame_that_was_read_before_a_mask_was_drawn_is_not_shown():
    """Faces are looked for in it meanwhile, and it comes without the mask when that was answered already."""
    pictures = Pictures(("door",), "full", 10)
    view = View("door", False)
    with pictures.watched(view):
        pictures._asked[view] = 1
        before = result()
        pictures.forget()
        pictures.offer(before)
        assert not pictures._waiting
        pictures.offer(result())
        assert pictures._waiting


def test_a_picture_that_cannot_be_made_does_not_end_the_others(page, caplog, monkeypatch):
    def broken(*_):
        raise ValueError("a broken picture")

    monkeypatch.setattr("fer_edge.outputs.page.pictures._fitted", broken)
    with page.running():
        assert page.ask("/api/snapshot.jpg").status == 503
    assert "no picture of door: a broken picture" in caplog.text
    monkeypatch.undo()
    with page.running():
        assert page.ask("/api/snapshot.jpg").status == 200


def test_too_many_viewers_are_told_and_may_come_when_others_go(tmp_path):
    with served(tmp_path, viewers=2) as page, page.running():

        def begin(path="/api/video.mjpg"):
            with page.connect(page.get(path)) as stream:
                return stream.recv(13)

        with page.connect(page.get("/api/video.mjpg")) as first:
            with page.connect(page.get("/api/video.mjpg")) as second:
                first.recv(1)
                second.recv(1)
                answer = page.ask("/api/video.mjpg")
                assert answer.status == 503
                assert "--page-viewers" in answer.json["error"]
                assert begin("/api/video.mjpg?camera=till") == b"HTTP/1.1 200 "
            wait_for(lambda: begin() == b"HTTP/1.1 200 ")


def test_viewers_who_stall_hold_one_picture_and_are_cut_off(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (540, 960, 3), np.uint8)
    with served(tmp_path, viewers=20, fps=30.0, limits={"stall_seconds": 4.0}) as page:
        with page.running(image=noise):
            stalled = []
            for _ in range(10):
                stream = socket.socket()
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stream.connect(("127.0.0.1", page.port))
                stream.sendall(page.get("/api/video.mjpg"))
                stalled.append(stream)
            wait_for(lambda: page.page.server.connections == 10)
            # Nobody takes a picture, so none is made.
            wait_for(lambda: not any(page.page.pictures._asked.values()))
            made = page.page.pictures.encoded
            longest = 0.0
            for _ in range(100):
                began = time.perf_counter()
                page.page.write(result("door", image=noise))
                longest = max(longest, time.perf_counter() - began)
            assert longest < 0.5
            assert page.page.pictures.encoded <= made + 1
            # Others see pictures all the same.
            with page.connect(page.get("/api/video.mjpg")) as stream:
                assert len(frames_of(stream, 3)) >= 3
            wait_for(lambda: page.page.server.connections == 0)
        for stream in stalled:
            stream.close()


# Events.


def events_of(text):
    """The events of a stream: id, name and data of each."""
    found = []
    for block in text.decode().replace("\r\n", "\n").split("\n\n"):
        fields = dict(re.findall(r"^(id|event|data): (.*)$", block, re.MULTILINE))
        if "event" in fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


def read_events(page, count, more=b"", seconds=SECONDS):
    with page.connect(page.get("/api/events", b"Connection: close\r\n" + more)) as stream:
        text, end = b"", time.monotonic() + seconds
        while text.count(b"event: ") < count and time.monotonic() < end:
            text += stream.recv(65536)
            while text.count(b"event: ") == count and not text.rstrip(b"\r\n0123456789abcdef").endswith(b"}"):
                text += stream.recv(65536)
    body = text.partition(b"\r\n\r\n")[2]
    return events_of(re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", body))


def test_events_tell_the_state_at_once_and_again(page):
    document = described()
    with page.running():
        began = time.monotonic()
        found = read_events(page, 6)
        passed = time.monotonic() - began
    assert {name for _, name, _ in found} == {"state"}
    # At most five a second, besides the first two.
    assert len(found) <= 5 * passed + 3
    schema = {"$ref": "#/components/schemas/State", "components": document["components"]}
    for _, _, data in found:
        jsonschema.Draft202012Validator(schema).validate(data)
    numbers = [int(one.partition("-")[2]) for one, _, _ in found]
    assert numbers == sorted(numbers)


def test_events_go_on_behind_the_last_that_was_seen(page):
    with page.running():
        first = read_events(page, 4)
        last = first[-1][0]
        again = read_events(page, 3, f"Last-Event-ID: {last}\r\n".encode())
    run, _, number = last.partition("-")
    assert [one for one, _, _ in again] == [f"{run}-{int(number) + step}" for step in (1, 2, 3)]


@pytest.mark.parametrize("last", ["00000000-3", "x", "", "-1", "00000000-999999999999999", "9" * 300])
def test_an_id_of_another_run_begins_anew(page, last):
    page.feed()
    found = read_events(page, 1, f"Last-Event-ID: {last}\r\n".encode())
    assert found[0][1] == "state"


def test_whoever_was_away_for_too_long_is_told_what_is_missing():
    async def go():
        events = Events()
        for number in range(KEPT + 10):
            events.tell("state", {"number": number})
        events.tell("ended", {})
        return b"".join([part async for part in events.after(f"{events.run}-2", lambda: b"")])

    found = events_of(asyncio.run(go()))
    # 139 events, of which the last 128 are kept: 3 to 11 are missing.
    assert found[0] == (None, "gap", {"lost": 9})
    assert len(found) == KEPT + 1
    assert found[1][2] == {"number": 11}
    assert found[-1][1] == "ended"


def test_a_change_is_told(page):
    with page.running(), page.connect(page.get("/api/events")) as stream:
        text = stream.recv(65536)
        wait_for(lambda: page.page._routes._listeners == 1)
        while b"event: state" not in text:
            text += stream.recv(65536)
        time.sleep(0.5)
        page.post("/api/pause", {"paused": True})
        while b"event: control" not in text:
            text += stream.recv(65536)
    assert b'"paused":true' in text


def test_viewers_are_told_of_the_end_and_the_end_is_quick(tmp_path):
    with served(tmp_path) as page, page.running(), contextlib.ExitStack() as stack:
        asked = [page.get("/api/events"), page.get("/api/video.mjpg"), b"GET / HTTP/1.1\r\n"]
        events, video, stalled = (stack.enter_context(page.connect(text)) for text in asked)
        video.recv(10)
        events.recv(10)
        began = time.monotonic()
        page.page.close()
        assert time.monotonic() - began < 1.5
        assert b"event: ended" in until_closed(events)
        until_closed(video)
        until_closed(stalled)
        assert not page.page.server.alive
        with pytest.raises(OSError, match="refused"):
            page.connect()


# The store.


def test_rows_of_the_store_are_told(tmp_path):
    with served(tmp_path, store=_store(tmp_path)) as page:
        told = page.ask("/api/store").json
        assert told["table"] == "minutes"
        assert not told["more"]
        rows = told["rows"]
        # Two where a minute begins between the frames.
        assert len(rows) in (1, 2) and sum(row["frames"] for row in rows) == 3
        assert all(row["camera"] == "door" and row["began"].endswith("Z") for row in rows)
        assert all(isinstance(row["cut"], bool) for row in rows)
        assert page.ask("/api/store?camera=till").json["rows"] == []
        assert len(page.ask("/api/store?table=visits").json["rows"]) == 1
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+", "%2B")
        assert page.ask(f"/api/store?from={later}&to=2099-01-01").status == 400
        assert page.ask("/api/store?from=2020-01-01&to=2020-02-01T00:00:00Z").json["rows"] == []
        assert page.ask("/api/store?limit=1").json["more"] is (len(rows) > 1)


def test_pages_of_rows_leave_out_nobody_and_tell_nobody_twice(tmp_path):
    # One stays for two minutes; meanwhile three come and leave at once, and then another one.
    there = {1: (0, 120), 2: (10, 20), 3: (10, 20), 4: (10, 20), 5: (60, 70)}
    path, now = tmp_path / "shop.db", [1000.0]
    output = StoreOutput(path, live=True, clock=lambda: now[0])
    for index in range(250):
        second = index / 2
        now[0] = 1000 + second
        people = [results.face(track=track) for track, (came, left) in there.items() if came <= second < left]
        made = results.result(timestamp=second, index=index)
        output.write(replace(made, faces=results.tracked(*people)))
    output.end({})
    output.close()
    began = results.BEGAN.isoformat().replace("+00:00", "Z")
    hour = f"from={began}&to={(results.BEGAN + timedelta(hours=1)).isoformat().replace('+00:00', 'Z')}"
    told, after = [], 0
    with served(tmp_path, store=path) as page:
        for _ in there:
            answer = page.ask(f"/api/store?table=visits&{hour}&limit=1&after={after}").json
            told += answer["rows"]
            assert answer["more"] is (len(told) < len(there))
            after = answer["next"]
        answer = page.ask(f"/api/store?table=visits&{hour}&after={after}").json
    assert sorted(row["track"] for row in told) == [1, 2, 3, 4, 5]
    assert told[-1]["track"] == 1 and told[-1]["began"] == min(row["began"] for row in told)
    assert (answer["rows"], answer["more"], answer["next"]) == ([], False, after)


@pytest.mark.parametrize(
    "query",
    ["table=device", "table=sqlite_master", "from=yesterday", "from=2020-01-01&to=2026-01-01",
     "to=1900-01-01",
     "limit=0", "limit=5001", "limit=1e3", "limit=%C2%B2", "limit=99999999999999999999",
     "limit=00000000199999", "after=-1", "after=9223372036854775808", "after=1.5", "x=1", "table=",
     "from=0001-01-01T00:00:00%2B23:59", "from=9999-12-31", "to=9999-12-31T23:59:59-23:00",
     "from=2026-01-02&to=2026-01-01"],
)  # fmt: skip
def test_what_cannot_be_asked_of_the_store_is_told(tmp_path, query):
    with served(tmp_path, store=_store(tmp_path)) as page:
        answer = page.ask(f"/api/store?{query}")
        assert answer.status == 400, answer.body
        assert answer.json["error"]


def test_a_run_that_gets_another_store_answers_from_that(tmp_path):
    with served(tmp_path, store=tmp_path / "none.db") as page:
        assert page.ask("/api/store").status == 503
        page.page.set_store(_store(tmp_path))
        assert len(page.ask("/api/store").json["rows"]) == 1


def test_a_damaged_store_is_told_without_its_path(tmp_path):
    (tmp_path / "bad.db").write_bytes(b"nonsense" * 1000)
    with served(tmp_path, store=tmp_path / "bad.db") as page:
        answer = page.ask("/api/store")
    assert answer.status == 503
    assert str(tmp_path) not in answer.json["error"]


# What may be changed.


def test_masks_and_sessions_reach_the_run(page):
    polygon = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]
    assert page.post("/api/mask", {"camera": "till", "polygons": [polygon]}).json["masks"]["till"] == [
        polygon
    ]
    assert page.control.masks == {"till": [polygon]}
    assert page.ask("/api/state").json["page"]["masks"] == {"door": [], "till": [polygon]}
    assert page.post("/api/session", {"action": "start", "name": " evening "}).json["session"] == "evening"
    assert page.post("/api/session", {"action": "start", "name": "again"}).status == 409
    assert page.post("/api/session", {"action": "mark", "name": "scene", "group": "ads"}).status == 200
    assert page.control.marks == [("scene", "ads")]
    assert page.post("/api/session", {"action": "stop"}).json["session"] is None
    assert page.post("/api/session", {"action": "stop"}).status == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/pause", {}),
        ("/api/pause", {"paused": "yes"}),
        ("/api/mask", {"camera": "no", "polygons": []}),
        ("/api/mask", {"camera": 3, "polygons": []}),
        ("/api/mask", {"camera": "door"}),
        ("/api/mask", {"camera": "door", "polygons": "all"}),
        ("/api/session", {"action": "begin"}),
        ("/api/session", {"action": "start"}),
        ("/api/session", {"action": "start", "name": ""}),
        ("/api/session", {"action": "start", "name": "a\nb"}),
        ("/api/session", {"action": "start", "name": "a" * 201}),
        ("/api/session", {"action": "start", "name": "a", "group": "b"}),
        ("/api/session", {"action": "mark", "name": "a", "group": 3}),
        ("/api/session", {"action": "stop", "name": "a"}),
        ("/api/session", {"action": "start", "name": "\ud800"}),
    ],
)
def test_what_cannot_be_changed_is_told(page, path, body):
    answer = page.post(path, body)
    assert answer.status == 400, answer.body
    assert answer.json["error"]
    assert (page.control.masks, page.control.session) == ({}, None)


def test_a_fault_of_ours_is_an_error_and_no_more(page, monkeypatch, caplog):
    def broken():
        raise RuntimeError("a secret")

    monkeypatch.setattr(page.live, "snapshot", broken)
    answer = page.ask("/api/state")
    assert answer.status == 500
    assert answer.json == {"error": "a fault of fer-edge; see its log"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    wait_for(lambda: "RuntimeError" in caplog.text)
    monkeypatch.undo()
    assert page.ask("/api/state").status == 200


def test_a_server_that_fails_is_told_and_the_run_goes_on(tmp_path, monkeypatch, caplog):
    async def broken(self):
        raise RuntimeError("no server")

    monkeypatch.setattr("fer_edge.outputs.page.server._Server._accept", broken)
    monkeypatch.setattr("fer_edge.outputs.page.server._Server.main_loop", broken)
    with served(tmp_path) as page:
        wait_for(lambda: not page.page.server.alive)
        page.feed()
    assert "page: has ended: RuntimeError('no server')" in caplog.text


def test_the_stand_in_does_what_the_control_does():
    from fer_edge.control.control import Control

    names = {name for name in vars(Asked) if not name.startswith("_")}
    assert names <= set(dir(Control))
    with pytest.raises(DataError):
        Asked(CAMERAS).stop_session()
