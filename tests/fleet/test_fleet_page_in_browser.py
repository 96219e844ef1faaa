"""The page of a fleet in Chromium: sorted, found, on a phone, and with whatever devices call themselves."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("playwright")

from fleet.test_fleet_page import ODD, served
from playwright.sync_api import expect

pytestmark = [pytest.mark.services, pytest.mark.heavy]

SECONDS = 30.0
expect.set_options(timeout=1000 * SECONDS)


@pytest.fixture
def opened(tmp_path, browser):
    faults, contexts = [], []
    with served(tmp_path) as (page, port):

        def open_page(**options):
            contexts.append(browser.new_context(**options))
            tab = contexts[-1].new_page()
            tab.set_default_timeout(1000 * SECONDS)
            tab.on("pageerror", lambda error: faults.append(str(error)))
            tab.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
            tab.on("dialog", lambda dialog: faults.append(dialog.message))
            tab.goto(f"http://127.0.0.1:{port}/")
            expect(tab.locator("#devices tr")).to_have_count(3)
            return tab, page

        yield open_page
        for context in contexts:
            context.close()
    assert faults == []


def names(tab):
    return tab.locator("#devices tr td:first-child").all_inner_texts()


def test_what_needs_somebody_comes_first_and_every_column_sorts(opened):
    tab, _ = opened()
    assert names(tab) == ["shop", ODD, "bar"]
    expect(tab.locator("th[aria-sort=ascending]")).to_have_text("State")
    tab.get_by_role("button", name="Device").click()
    first = names(tab)
    tab.get_by_role("button", name="Device").click()
    assert names(tab) == first[::-1] and sorted(first) == sorted(["shop", ODD, "bar"])
    expect(tab.locator("th[aria-sort=descending]")).to_have_text("Device")
    for name in ("Missing", "Lost", "People", "Heat", "Version", "Last seen"):
        tab.get_by_role("button", name=name, exact=True).click()
        assert len(names(tab)) == 3
    tab.get_by_role("button", name="Missing", exact=True).click()
    assert names(tab)[0] == "shop"
    row = tab.locator("#devices tr", has_text="shop").inner_text()
    for told in ("problem", "0 s ago", "40", "0.2.0", "62 °C", "7"):
        assert told in row, told


def test_a_device_is_found_by_a_part_of_its_name(opened):
    tab, _ = opened()
    tab.get_by_label("Find").fill("SHO")
    expect(tab.locator("#devices tr")).to_have_count(1)
    expect(tab.locator("#shown")).to_have_text("1 of 3 devices")


def test_a_broker_that_is_gone_is_told(opened):
    tab, page = opened()
    page._board.broker = "connection lost"
    page._board._made = None
    expect(tab.locator("#notice")).to_contain_text("The broker is not there: connection lost")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(opened, scheme):
    tab, _ = opened(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    expect(tab.locator("#devices tr", has_text="shop").locator("td[data-label=Missing]")).to_be_visible()
    tab.get_by_label("Sort by").select_option("name")
    assert names(tab) != ["shop", ODD, "bar"]
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(15, 18, 22)") == (scheme == "dark")


NUMBERS = {"People", "Today", "Heat", "Missing", "Lost", "Refused"}


def test_numbers_are_aligned_as_their_headings_are_and_on_a_phone_as_all_else(opened):
    aligned = "all => all.map(one => [one.dataset.label ?? one.textContent, getComputedStyle(one).textAlign])"
    desk, _ = opened(viewport={"width": 1200, "height": 900})
    cells = dict(desk.locator("#devices tr").first.locator("td").evaluate_all(aligned))
    assert {label for label, side in cells.items() if side == "right"} == NUMBERS
    assert dict(desk.locator("#heads th").evaluate_all(aligned)) == cells
    sizes = desk.locator("td").evaluate_all("all => all.map(one => getComputedStyle(one).fontSize)")
    assert len(set(sizes)) == 1
    phone, _ = opened(viewport={"width": 390, "height": 844})
    cells = dict(phone.locator("#devices tr").first.locator("td").evaluate_all(aligned))
    assert len(cells) == 11 and set(cells.values()) == {"left"}
