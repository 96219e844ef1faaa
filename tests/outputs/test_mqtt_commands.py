"""What a broker can ask of a device: pauses, sessions, rows."""

from __future__ import annotations

import pytest

pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("cv2")

from outputs import mqtt_device
from outputs.mqtt_device import TOPICS, Device, seqs

from fer_edge.outputs.mqtt.presence import ROWS_AT_ONCE

broker, control, device, store = (
    mqtt_device.broker,
    mqtt_device.control,
    mqtt_device.device,
    mqtt_device.store,
)


def test_home_assistants_switch_pauses_and_the_state_tells_it(device, broker, control):
    device.run(1)
    broker.say(TOPICS["pause/set"], b"ON")
    device.run(2)
    assert (control.asked, broker.told(TOPICS["state"])[-1]["paused"]) == (["pause"], True)
    broker.say(TOPICS["pause/set"], {"paused": False, "id": "7"})
    device.run(2)
    assert (control.asked, broker.told(TOPICS["state"])[-1]["paused"]) == (["pause", "resume"], False)
    assert broker.told(TOPICS["answer"]) == [
        {"version": 1, "to": "pause/set", "ok": True, "paused": True},
        {"version": 1, "to": "pause/set", "ok": True, "paused": False, "id": "7"},
    ]


def test_sessions_are_marked_and_what_fails_is_answered(device, broker, control):
    for asked in (
        {"action": "start", "name": "evening"},
        {"action": "mark", "name": "scene 1", "group": "film"},
        {"action": "stop", "id": 4},
        {"action": "sing"},
        b"\xff",
        b"{",
    ):
        broker.say(TOPICS["session/set"], asked)
    device.run(5)
    assert control.asked == [("start", "evening"), ("mark", "scene 1", "film")]
    answers = broker.told(TOPICS["answer"])
    assert [one["ok"] for one in answers] == [True, True, False, False, False, False]
    assert answers[2]["error"] == "no session goes on; start one first"
    assert answers[2]["id"] == 4
    assert "start" in answers[3]["error"]


@pytest.mark.parametrize(
    "id_",
    [b"NaN", b"1e999", b"[" * 1500 + b"]" * 1500, b'{"a": -Infinity}'],
    ids=["nan", "inf", "deep", "in"],
)
def test_an_id_that_cannot_be_repeated_is_refused_and_ends_no_connection(device, broker, control, id_):
    broker.say(TOPICS["pause/set"], b'{"paused": true, "id": ' + id_ + b"}")
    broker.say(TOPICS["pause/set"], {"paused": True, "id": "next"})
    device.run(3)
    answers = broker.told(TOPICS["answer"])
    assert [one["ok"] for one in answers] == [False, True]
    assert "id" not in answers[0] and answers[1]["id"] == "next"
    assert control.asked == ["pause"]


@pytest.mark.parametrize(
    "payload",
    [b"[" * 200_000, b'{"id": "a\\nerror: b", "instance": "x", "started": "0"}',
     b'{"id": "' + b"a" * 65 + b'", "instance": "x", "started": "0"}'],
    ids=["deep", "two lines", "long"],
)  # fmt: skip
def test_what_is_no_identity_is_passed_over(device, broker, payload):
    broker.say(TOPICS["identity"], payload)
    device.run(2)
    assert broker.texts(TOPICS["availability"]) == ["online"]


def test_commands_that_the_broker_kept_are_not_obeyed(broker, store, control, tmp_path, caplog):
    broker.say(TOPICS["pause/set"], b"ON", retain=True)
    device = Device(broker, store, control, tmp_path)
    device.run(2)
    assert control.asked == []
    assert "pause/set: ignored, since it is a retained command" in caplog.text


def test_a_flood_of_commands_and_a_huge_one_are_cut_off(device, broker, control, caplog):
    broker.say(TOPICS["session/set"], b"{" + b" " * 5000 + b"}")
    for _ in range(1000):
        broker.say(TOPICS["pause/set"], b"ON")
    device.run(20)
    assert 1 <= len(control.asked) <= 16
    assert "dropped: too many commands wait" in caplog.text


def test_minutes_are_given_on_request_in_order_and_in_bounds(device, broker, store):
    store.add(minutes=300)
    device.run(60)
    asked, seen = {"after": 5, "id": "a"}, []
    for _ in range(5):
        broker.say(TOPICS["minutes/get"], asked)
        device.run(1)
        answer = broker.told(TOPICS["minutes/answer"])[-1]
        assert (answer["ok"], answer["id"], answer["last"]) == (True, "a", 300)
        assert len(answer["rows"]) <= ROWS_AT_ONCE
        seen += [row["seq"] for row in answer["rows"]]
        asked["after"] = answer["next"]
        if not answer["more"]:
            break
    assert seen == [*range(6, 301)]
    assert seqs(broker) == [*range(1, 301)]


def test_a_request_may_end_at_a_seq_and_one_that_is_none_is_refused(device, broker, store):
    store.add(minutes=20, visits=3)
    broker.say(TOPICS["minutes/get"], {"after": 3, "until": 7})
    broker.say(TOPICS["minutes/get"], {"after": 20})
    broker.say(TOPICS["visits/get"], {"after": 1})
    for bad in ({"after": -1}, {"after": "1"}, {"after": 1.5}, {"after": 10**30}, b"all", {"until": True}):
        broker.say(TOPICS["minutes/get"], bad)
    device.run(10)
    first, second, *bad = broker.told(TOPICS["minutes/answer"])
    assert [row["seq"] for row in first["rows"]] == [4, 5, 6, 7]
    assert (first["next"], first["more"], first["last"]) == (7, False, 20)
    assert (second["rows"], second["next"], second["more"]) == ([], 20, False)
    assert [one["ok"] for one in bad] == [False] * 6
    (visits,) = broker.told(TOPICS["visits/answer"])
    assert [row["seq"] for row in visits["rows"]] == [2, 3]
