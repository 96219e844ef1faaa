"""What can be asked of a run on the page: pauses, sessions, masks."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from outputs.page import rooms
from outputs.page.rooms import person, until
from pages import wait_for
from playwright.sync_api import expect

pytestmark = [pytest.mark.services, pytest.mark.heavy]
room, visit = rooms.room, rooms.visit


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
