"""What a run keeps and sends, by its configuration."""

from __future__ import annotations

import dataclasses

import pytest

from fer_edge.config import Config, load
from fer_edge.notice.facts import DAY, Kept, Sent, facts_of, leaving
from fer_edge.option import Address, FileLimit


def loaded(tmp_path, text):
    (tmp_path / "c.toml").write_text(text)
    return facts_of(load({}, {}, str(tmp_path / "c.toml")).config)


def days(number):
    return (FileLimit(seconds=number * DAY),)


def test_by_default_nothing_is_kept_and_nothing_leaves():
    facts = facts_of(Config())
    assert (facts.kept, facts.sent, facts.masked) == ((), (), False)
    assert leaving(facts) == "leaves this device: nothing"


def test_what_is_kept_is_told_with_its_limits(tmp_path):
    text = (
        'store = "s.db"\nkeep = 30\nkeep_detail = 0.5\njsonl = "a.jsonl"\nsave_video = "v.mkv"\n'
        'force = true\nsave_image = "a.png"\nkeep_files = ["20G", "7d"]\n'
    )
    limits = (FileLimit(size=20 * 10**9), FileLimit(seconds=7 * DAY))
    assert loaded(tmp_path, text).kept == (
        Kept("visits", days(30)),
        Kept("seconds", days(0.5)),
        Kept("lines", limits),
        Kept("film", limits),
        # What is written over and over has no limit.
        Kept("picture"),
    )


def test_outputs_and_masks_of_each_camera_count(tmp_path):
    text = (
        '[[camera]]\nname = "a"\nsource = 0\njsonl = "a.jsonl"\n'
        '[[camera]]\nname = "b"\nsource = 1\nsave_video = "b.mkv"\nmask = [[[0, 0], [1, 0], [1, 1]]]\n'
    )
    facts = loaded(tmp_path, text)
    assert [kept.what for kept in facts.kept] == ["lines", "film"]
    assert facts.masked
    assert [kept.shows_people for kept in facts.kept] == [False, True]
    assert loaded(tmp_path, "camera = 0\nregion = [0, 0, 0.5, 1]").masked


def test_lines_for_another_program_are_told_apart_from_files(tmp_path):
    facts = loaded(tmp_path, 'jsonl = "-"')
    assert facts.kept == ()
    assert facts.sent == (Sent("program", "standard output", local=True),)
    assert leaving(facts) == "leaves this device: nothing; JSON lines go to standard output"


def test_figures_for_a_node_exporter_leave(tmp_path):
    facts = loaded(tmp_path, 'metrics = "/var/lib/m/fer-edge.prom"')
    assert leaving(facts) == "leaves this device: figures for Prometheus in /var/lib/m/fer-edge.prom"


@pytest.mark.parametrize(
    ("host", "picture", "shown", "local"),
    [
        ("0.0.0.0", None, "blurred", False),
        ("0.0.0.0", "full", "full", False),
        ("192.168.1.5", "off", "off", False),
        ("127.0.0.1", None, "full", True),
        ("::1", None, "full", True),
        ("localhost", None, "full", True),
        ("pi.local", None, "blurred", False),
    ],
)
def test_a_page_leaves_unless_it_is_for_this_device_alone(host, picture, shown, local):
    facts = facts_of(Config(page=Address(host=host, port=8080), page_picture=picture))
    where = "[::1]:8080" if host == "::1" else f"{host}:8080"
    assert facts.sent == (Sent("page", where, shown, local),)
    # A page needs a store, and keeps one where none is named.
    assert [kept.what for kept in facts.kept] == ["visits", "seconds"]
    assert ("nothing" in leaving(facts)) == local


def test_a_page_behind_a_proxy_leaves_by_the_name_of_the_proxy():
    config = Config(page=Address(host="127.0.0.1", port=8080), page_host=("shop.example", "door.local"))
    assert facts_of(config).sent == (Sent("page", "shop.example", "blurred"),)
    assert leaving(facts_of(config)) == "leaves this device: page on shop.example (pixelated picture)"


def test_page_and_broker_are_told_in_one_line_without_secrets():
    config = Config(page=Address(host="0.0.0.0", port=8080), mqtt="mqtts://me:pw@broker.example:8883/x")
    assert leaving(facts_of(config)) == (
        "leaves this device: page on 0.0.0.0:8080 (pixelated picture), MQTT to broker.example"
    )
    full = facts_of(dataclasses.replace(config, mqtt_camera="full"))
    assert leaving(full).endswith("MQTT to broker.example (picture)")
