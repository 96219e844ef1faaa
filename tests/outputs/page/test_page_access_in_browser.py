"""The page for everybody: on small screens, in the dark, by keyboard, by ear."""

from __future__ import annotations

import itertools
import json

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from outputs.page import rooms
from outputs.page.rooms import CONTRAST, open_room, person, until
from pages import wait_for
from playwright.sync_api import expect

from fer_edge.labels import EMOTIONS

pytestmark = [pytest.mark.services, pytest.mark.heavy]
room, visit = rooms.room, rooms.visit


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
    wait_for(lambda: page.wait_for_timeout(100) or page.evaluate("told.at(-1)?.[1] === '3 people'"))
    times = [at for at, _ in page.evaluate("told")]
    assert all(after - before > 5500 for before, after in itertools.pairwise(times)), times
    assert page.locator("#said").get_attribute("role") == "status"


def test_sentences_that_are_said_together_end_with_one_stop_each(visit, room):
    room.put("door", *crowd(2))
    page = visit(room.url)
    expect(page.locator("#said")).to_have_text("2 people")
    # Within the pause after that.
    room.control.is_paused = True
    expect(page.locator("#said")).to_have_text(
        "Paused: no frame is processed, shown or stored. 0 people. Camera door: paused"
    )


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
