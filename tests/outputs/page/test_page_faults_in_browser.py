"""The page when things go wrong: cameras, connections and runs that end, and what needs a token."""

from __future__ import annotations

import re
import threading

import pytest
from ports import free_port

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from outputs.page import rooms
from outputs.page.rooms import CONTRAST, Room, open_room, person, run, until
from pages import wait_for
from playwright.sync_api import expect
from sources.pictures import encoded, grey
from sources.web import MJPEG, multipart, serving

from fer_edge.option import Address
from fer_edge.outputs.page.page import Door, PageOptions, PageOutput

pytestmark = [pytest.mark.services, pytest.mark.heavy]
room, visit = rooms.room, rooms.visit
INK, SOFT = "rgb(26, 30, 36)", "rgb(86, 94, 107)"


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
        expect(page.locator(".frame img")).to_be_visible()
        process.kill()
        expect(page.locator("#link")).to_have_text("connection lost")
        expect(page.locator("#notice")).to_have_text(
            re.compile(r"Connection lost \d+ s ago; what you see is of \d\d:\d\d:\d\d\. Trying again\.")
        )
        assert page.title().startswith("connection lost")
        expect(page.locator(".cameras .state")).to_be_hidden()
        expect(page.locator(".plate")).to_have_text(re.compile(r"No picture since \d\d:\d\d:\d\d"))
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


def test_videos_of_two_windows_leave_a_connection_for_what_is_pressed(visit, tmp_path):
    """Each holds three of the six that a browser opens to a host: two videos, and the events."""
    with open_room(visit, tmp_path, "door", "till") as room:
        first = visit(room.url, failing=True)
        expect(first.locator(".frame img:visible")).to_have_count(2)
        second = first.context.new_page()
        second.goto(room.url)
        expect(second.locator(".frame img:visible")).to_have_count(2)
        second.locator("#pause").click()
        wait_for(lambda: first.wait_for_timeout(50) or room.control.is_paused, 5)
        expect(second.locator("#failure")).to_be_hidden()
        expect(first.locator("#link")).to_have_text("paused")
        first.locator("#pause").click()
        wait_for(lambda: first.wait_for_timeout(50) or not room.control.is_paused, 5)
        expect(second.locator("#link")).to_have_text("live")
        room.fill_timeline(people=3.0, happy=1.0)
        for page in (first, second):
            expect(page.locator("#readout")).to_contain_text("3 people")
        third = first.context.new_page()
        third.goto(room.url)
        for page in (first, second, third):
            expect(page.locator(".frame img:visible")).to_have_count(2)


def test_a_press_that_finds_no_connection_is_told_and_dropped(visit, room):
    page = visit(room.url, failing=True)
    pressed = []
    page.route("**/api/pause", lambda route: pressed.append(route))
    expect(page.locator("#link")).to_have_text("live")
    page.locator("#pause").click()
    expect(page.get_by_role("alert")).to_have_text("That did not work: the device did not answer")
    assert len(pressed) == 1
    assert not room.control.is_paused


def test_what_is_of_a_run_that_ended_is_grey_and_its_buttons_are_disabled(visit, tmp_path):
    with open_room(visit, tmp_path) as room:
        room.put("door", person(1))
        page = visit(room.url, failing=True)
        expect(page.locator(".person")).to_have_count(1)
        expect(page.locator("button:enabled:visible")).to_have_text(["Pause", "Masks", "Start"])
        expect(page.locator(".person .first dt")).to_have_css("color", INK)
    expect(page.locator("#link")).to_have_text("ended")
    expect(page.locator("button:enabled:visible")).to_have_count(0)
    for shown in ("#people-now", ".view", "#persons"):
        expect(page.locator(shown)).to_have_css("filter", "grayscale(1)")
    for text in ("#people-now", "#mood", ".person .emotion", ".person .first dt"):
        expect(page.locator(text)).to_have_css("color", SOFT)
    assert [one for one in page.evaluate(CONTRAST) if one[1] < 4.5] == []


def test_masks_may_be_drawn_but_not_saved_while_the_run_is_gone(visit, tmp_path):
    with open_room(visit, tmp_path) as room:
        page = visit(room.url, failing=True)
        page.get_by_role("button", name="Masks of door").click()
        expect(page.get_by_role("button", name="Save")).to_be_enabled()
    expect(page.locator("#link")).to_have_text("ended")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    expect(page.get_by_role("button", name="Set corner")).to_be_enabled()


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
