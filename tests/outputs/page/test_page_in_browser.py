"""The page as people meet it, in Chromium: faces, timeline, pictures and cameras."""

from __future__ import annotations

import itertools
import re

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from outputs.page import rooms
from outputs.page.rooms import Room, open_room, person, run, until, width_of
from pages import wait_for
from playwright.sync_api import expect

from fer_edge.labels import EMOTIONS
from fer_edge.outputs.live import Live

pytestmark = [pytest.mark.services, pytest.mark.heavy]
room, visit = rooms.room, rooms.visit


def test_the_rooms_of_these_tests_have_the_form_of_a_run_s():
    room, live = Room("door"), Live(("door",))
    assert set(room.snapshot()) == set(live.snapshot())
    assert set(room.snapshot()["cameras"][0]) == set(live.snapshot()["cameras"][0])


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
        length = len(page.locator(".area").first.get_attribute("d"))
        until(page, f"document.getElementById('chart').getAttribute('aria-valuemax') > {before}")
        until(page, f"document.querySelector('.area').getAttribute('d').length > {length}")
        assert page.title().startswith("1 person \u2013 ")


@pytest.mark.parametrize("dropped", [0, 1, 12])
def test_the_foot_counts_dropped_frames(visit, room, dropped):
    room.more["dropped"] = dropped
    page = visit(room.url)
    expect(page.locator("#about")).to_have_text(
        f"fer-edge 0.2.0, up for 2 h 15 min, frames dropped: {dropped}"
    )


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
