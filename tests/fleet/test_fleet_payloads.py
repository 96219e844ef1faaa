"""Payloads: what devices say is taken as docs/mqtt.md has it, and anything else is refused with a reason."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip("paho.mqtt.enums")
from fleet.fleet_devices import BEGAN, BOOT, minute, visit

from fer_edge.fleet.payloads import (
    COLUMNS,
    LARGEST,
    Answer,
    BadPayload,
    Refusal,
    answer_of,
    parsed,
    row_of,
    store_of,
)
from fer_edge.labels import EMOTIONS
from fer_edge.outputs.mqtt.feed import to_payload
from fer_edge.report.material import Minutes
from fer_edge.store.clock import at


def told(row):
    return json.loads(to_payload(row))


def nested():
    """More lists, each in another, than a text of them can be made of."""
    made = []
    for _ in range(100_000):
        made = [made]
    return made


def named(table, row):
    return dict(zip(COLUMNS[table], row.values, strict=True))


def test_a_minute_is_stored_in_milliseconds_and_parts_of_ten_thousand():
    row = row_of("minutes", told(minute(3)))
    assert (row.seq, row.camera, row.run, row.boot, row.film) == (3, "door", 1, "b1", None)
    assert row.origin == BEGAN - BOOT and row.began == BOOT + 180_000
    values = named("minutes", row)
    assert values["length"] == 60_000 and values["observed"] == 59_500 and values["dwell"] == 30_125
    assert values["seen"] == 74_375 and values["people_max"] == 2 and values["visits_ended"] == 2
    assert values["angry"] == 1000 and values["neutral"] == 4000 and values["cut"] == 0


def test_a_visit_has_its_face_and_what_is_unknown_stays_unknown():
    values = named("visits", row_of("visits", told(visit(1, first_smile=None))))
    assert values["track"] == 1 and values["smile"] == 5000 and values["first_smile"] is None
    assert values["size"] == 805 and values["yaw"] is None and values["pitch"] == -35
    assert values["happy"] == values["sad"] == 1000
    values = named("visits", row_of("visits", told(visit(1, **dict.fromkeys(EMOTIONS)))))
    assert values["happy"] is None and values["sad"] is None


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[1]", "malformed"),
        (b'"text"', "malformed"),
        (b"{", "malformed"),
        (b'{"version": NaN}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"version": 1, "a": ' + b"9" * 5000 + b"}", "malformed"),
        (b"{" + b" " * LARGEST, "oversized"),
        (b"{}", "version"),
        (b'{"version": 2}', "version"),
        (b'{"version": true}', "version"),
        (b'{"version": "1"}', "version"),
    ],
    ids=range(13),
)
def test_what_is_no_payload_is_refused_by_its_kind(payload, fault):
    with pytest.raises(BadPayload) as caught:
        parsed(payload)
    assert caught.value.fault == fault
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"seq": 0}, {"seq": -1}, {"seq": 1.0}, {"seq": True}, {"seq": None}, {"seq": 2**63}, {"seq": "1"},
        {"camera": ""}, {"camera": None}, {"camera": "x" * 301}, {"camera": "a\0b"}, {"camera": "\ud800"},
        {"boot": 7}, {"film": 7}, {"run": -1}, {"run": None},
        {"began": "yesterday"}, {"began": None}, {"began": 5}, {"monotonic": None}, {"monotonic": -1},
        {"monotonic": 1e300}, {"seconds": "60"}, {"seen": True}, {"seen": None}, {"dwell": -0.5},
        {"people": 1.5}, {"people": 10**30}, {"frames": None}, {"lost": None},
        {"happy": 1.01}, {"happy": -0.1}, {"happy": "0.5"}, {"happy": True}, {"cut": 2}, {"cut": None},
        {"brightness": 256}, {"brightness": "96"}, {"face_brightness": -1}, {"dark": -0.5}, {"bright": True},
        {"seconds": 10**400}, {"happy": -(10**400)}, {"brightness": 10**400}, {"seq": 10**400},
    ],
    ids=lambda wrong: str(wrong)[:40],
)  # fmt: skip
def test_each_field_has_a_kind_and_a_range(wrong):
    told_row = {**told(minute(1)), **wrong}
    with pytest.raises(BadPayload, match=next(iter(wrong))):
        row_of("minutes", told_row)


@pytest.mark.parametrize("name", ["seq", "camera", "began", "seconds", "cut"])
def test_a_value_that_is_nested_too_deep_to_be_told_is_refused(name):
    with pytest.raises(BadPayload, match=name):
        row_of("minutes", {**told(minute(1)), name: nested()})


def test_a_version_and_an_error_that_are_nested_too_deep_are_told_in_part(monkeypatch):
    assert answer_of("visits", {"ok": False, "error": nested()}).told.startswith("[[[")
    # As a Python whose parser goes deeper than its repr.
    monkeypatch.setattr("fer_edge.fleet.payloads.json.loads", lambda *_, **__: {"version": nested()})
    with pytest.raises(BadPayload, match="version") as caught:
        parsed(b"{}")
    assert caught.value.fault == "version"


@pytest.mark.parametrize("name", ["seq", "camera", "began", "monotonic", "seconds", "people", "boot"])
def test_a_field_that_is_missing_is_named(name):
    row = told(minute(1))
    del row[name]
    with pytest.raises(BadPayload, match=name):
        row_of("minutes", row)


@pytest.mark.parametrize("table", ["minutes", "visits"])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"happy": 1, "neutral": 1}, "the shares must sum to 1, not 2.5"),
        (dict.fromkeys(EMOTIONS, 0), "the shares must sum to 1, not 0"),
        ({"happy": None}, "there are 6 of 7"),
        ({**dict.fromkeys(EMOTIONS), "happy": 1}, "there are 1 of 7"),
        ({"attention": 74.377}, "attention is more than seen"),
        ({"unsure": 80}, "unsure is more than seen"),
        ({"unclear": 1e9}, "unclear is more than seen"),
        ({"began": "9999-12-31T23:59:59Z", "seconds": 1e10}, "a time from 1900 to 9000"),
        ({"began": "0001-01-01T00:00:00+14:00", "monotonic": 0}, "a time from 1900 to 9000"),
        ({"began": "2026-11-26T12:00:00Z", "monotonic": 1e10}, "a time from 1900 to 9000"),
    ],
    ids=str,
)
def test_a_row_that_contradicts_itself_is_refused(table, wrong, reason):
    made = minute(1) if table == "minutes" else visit(1)
    with pytest.raises(BadPayload, match=reason):
        row_of(table, {**told(made), **wrong})


@pytest.mark.parametrize("field", ["attention", "neutral"])
def test_whatever_contradictions_pass_a_report_takes_too(field):
    passed = []
    # From -30 to 30 parts of ten thousand, and 0 to 3 ms.
    steps = [n / 1000 for n in range(4)] if field == "attention" else [n / 10_000 for n in range(-30, 31)]
    for step in steps:
        row = told(minute(1, **{field: (74.375 if field == "attention" else 0.4) + step}))
        try:
            values = named("minutes", row_of("minutes", row))
        except BadPayload:
            continue
        passed.append(round(step * 10_000))
        columns = {name: [values[name]] for name in ("began", "frames", "dropped", "lost", "people")}
        columns |= {name: [values[name]] for name in ("people_max", "visits_begun", "visits_ended")}
        lengths = ("observed", "gap", "dwell", "seen", "unsure", "attention", "unclear")
        columns |= {name: [values[name] / 1000] for name in lengths}
        shares = np.array([[values[name] / 10_000 for name in EMOTIONS]], np.float32)
        Minutes(source=[0], ended=[values["began"] + values["length"]], shares=shares, **columns)
    assert passed == ([0, 10] if field == "attention" else [*range(-19, 20)])


def test_rows_of_any_clock_that_passes_have_a_date():
    farthest = told(minute(1, origin=BEGAN))
    farthest |= {"began": "8999-12-31T23:59:59Z", "monotonic": 0}
    last = row_of("minutes", farthest).origin
    # Another row of that boot, after the most seconds that any may have, which lasts as long.
    assert at(last + 2 * round(1e10 * 1000)).year == 9633
    assert (
        row_of("minutes", {**farthest, "began": "1970-01-01T00:00:00Z", "monotonic": 12.5}).origin == -12_500
    )


def test_fields_that_nobody_knows_yet_are_passed_over():
    assert row_of("minutes", told(minute(1, future={"a": [1]}))) == row_of("minutes", told(minute(1)))


def test_numbers_without_a_value_are_refused():
    with pytest.raises(BadPayload, match="seen"):
        row_of("minutes", {**told(minute(1)), "seen": math.inf})


def test_an_answer_leaves_out_rows_that_are_none_and_says_so():
    rows = [told(minute(5, version=None)), {"seq": 6}, 7]
    found = answer_of(
        "minutes",
        {"ok": True, "id": "a", "store": "s", "after": 4, "rows": rows, "next": 7, "more": False, "last": 9},
    )
    assert isinstance(found, Answer)
    assert [row.seq for row in found.rows] == [5] and len(found.bad) == 2
    assert (found.id, found.store, found.after, found.next, found.last) == ("a", "s", 4, 7, 9)


def test_an_answer_reaches_no_further_than_its_last_row():
    given = {"ok": True, "store": "s", "after": 2**62, "rows": [], "next": 2**62, "more": False, "last": 9}
    found = answer_of("minutes", given)
    assert isinstance(found, Answer) and found.next == 9 and found.id is None


def test_a_refusal_is_no_answer():
    found = answer_of("visits", {"ok": False, "id": "a", "error": "the store cannot be read"})
    assert found == Refusal("a", "the store cannot be read")


@pytest.mark.parametrize(
    "wrong", [{"rows": None}, {"rows": [1] * 1001}, {"after": -1}, {"last": "9"}, {"store": ""}], ids=str
)
def test_an_answer_that_is_none_is_refused(wrong):
    given = {"ok": True, "store": "s", "after": 4, "rows": [], "next": 4, "more": False, "last": 4}
    with pytest.raises(BadPayload):
        answer_of("minutes", {**given, **wrong})


def test_a_payload_without_a_store_cannot_be_numbered():
    with pytest.raises(BadPayload, match="store"):
        store_of({"version": 1})
