"""What a device tells a broker: in order, once it can, and nothing twice that was confirmed."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("cv2")
from outputs.mqtt_broker import PLACE, FakeBroker, FakeControl, WrittenStore, state
from results import face, result, tracked

from fer_edge.outputs.blur import Blur
from fer_edge.outputs.mqtt import identity as identities
from fer_edge.outputs.mqtt import publisher as publishing
from fer_edge.outputs.mqtt.feed import CONFIRM_SECONDS, Stock
from fer_edge.outputs.mqtt.identity import Identity
from fer_edge.outputs.mqtt.link import LinkLost, Message
from fer_edge.outputs.mqtt.output import MqttOutput
from fer_edge.outputs.mqtt.picture import jpeg
from fer_edge.outputs.mqtt.presence import ROWS_AT_ONCE, NameTaken, Outbox, Presence, Speaker
from fer_edge.outputs.mqtt.progress import Progress, device_id
from fer_edge.outputs.mqtt.publisher import Publisher, Telling
from fer_edge.outputs.mqtt.topics import COMMANDS, Topics, plain
from fer_edge.store.schema import TABLES

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "mqtt.md"
TOPICS = Topics.of(PLACE, "shop")
OWN = Identity("ab" * 16, "first", "2026-11-26T12:00:00.000+00:00")


@pytest.fixture
def store(tmp_path):
    made = WrittenStore(tmp_path / "shop.db")
    yield made
    made.close()


@pytest.fixture
def broker():
    return FakeBroker()


@pytest.fixture
def control():
    return FakeControl()


class Device:
    """A device at a broker, whose time is told by hand."""

    def __init__(self, broker, store, control, folder, **options):
        self.broker, self.store, self.control, self.folder = broker, store, control, folder
        self.options = {"cameras": ("door",), **options}
        self.now = 0.0
        self.people = 0
        self.outbox = Outbox()
        self.stock = Stock(store.path)
        self.progress = self._remembered()
        self.connect()

    def _remembered(self):
        progress = Progress(self.folder, PLACE, "shop")
        device = self.stock.device()
        for table in ("minutes", "visits"):
            progress.after(device.uuid, table, device.last[table])
        progress.save()
        return progress

    def connect(self):
        self.link = self.broker.link(PLACE, "device", Message(TOPICS["availability"], b"offline", 1, True))
        self.link.connect()
        speaker = Speaker("shop", OWN, TOPICS, **self.options)
        snapshot = lambda: state(self.control, self.people)  # noqa: E731
        self.presence = Presence(
            self.link, speaker, snapshot, self.control, self.stock, self.progress, self.outbox, self.now
        )

    def restart(self):
        """End as a process that is killed, and start again with what lies on the disk."""
        self.link.close()
        self.progress = self._remembered()
        self.connect()

    def run(self, seconds, step=0.5):
        for _ in range(round(seconds / step)):
            self.presence.step(self.now)
            self.link.turn(0)
            self.now += step


@pytest.fixture
def device(broker, store, control, tmp_path):
    return Device(broker, store, control, tmp_path)


def seqs(broker, topic="minutes"):
    return [row["seq"] for row in broker.told(TOPICS[topic])]


def test_a_device_says_who_it_is_that_it_is_there_and_how_it_is(device, broker):
    device.run(1)
    assert broker.told(TOPICS["identity"]) == [
        {"version": 1, "id": OWN.id, "instance": "first", "started": OWN.started}
    ]
    assert broker.texts(TOPICS["availability"]) == ["online"]
    assert broker.told(TOPICS["state"]) == [state()]
    assert set(broker.retained) == {
        TOPICS["identity"],
        TOPICS["availability"],
        TOPICS["state"],
    }


def test_a_device_that_vanishes_is_offline_and_one_that_ends_stopped(device, broker):
    device.link.abandon()
    assert broker.retained[TOPICS["availability"]].payload == b"offline"
    device.connect()
    assert broker.retained[TOPICS["availability"]].payload == b"online"
    device.presence.leave()
    device.link.close()
    assert broker.retained[TOPICS["availability"]].payload == b"stopped"


def test_the_state_is_told_every_so_often_and_at_once_when_people_come(device, broker):
    device.run(20)
    assert len(broker.told(TOPICS["state"])) == 4
    device.people = 2
    device.run(1)
    assert [one["people"] for one in broker.told(TOPICS["state"])] == [0, 0, 0, 0, 2]


def test_state_that_flickers_is_told_once_a_second_at_most(device, broker):
    for second in range(100):
        device.people = second % 2
        device.run(0.1, step=0.1)
    assert 9 <= len(broker.told(TOPICS["state"])) <= 11


def test_minutes_come_in_order_with_their_seq_and_the_store_they_are_of(device, broker, store):
    store.add(minutes=3)
    device.run(5)
    minutes = broker.told(TOPICS["minutes"])
    assert [row["seq"] for row in minutes] == [1, 2, 3]
    assert {(row["version"], row["camera"], row["frames"], row["people"]) for row in minutes} == {
        (1, "door", 600, 1)
    }
    assert minutes[1]["began"] == "2026-11-26T12:01:00.000Z"
    assert minutes[0]["store"] == device.stock.device().uuid
    assert all(message.qos == 1 for message in broker.log if message.topic == TOPICS["minutes"])
    assert TOPICS["minutes"] not in broker.retained


def test_a_broker_that_is_met_gets_minutes_from_then_on(store, broker, control, tmp_path):
    store.add(minutes=5)
    device = Device(broker, store, control, tmp_path)
    store.add(minutes=1)
    device.run(5)
    assert seqs(broker) == [6]


def test_an_outage_loses_no_minute_and_changes_no_order(device, broker, store):
    store.add(minutes=2)
    device.run(5)
    broker.kill()
    with pytest.raises(LinkLost):
        device.run(5)
    store.add(minutes=600)
    device.connect()
    device.run(40)
    assert seqs(broker) == [*range(1, 603)]
    assert broker.retained[TOPICS["availability"]].payload == b"online"
    assert TOPICS["state"] in broker.retained


def test_what_was_not_confirmed_is_sent_again_also_by_a_new_process(device, broker, store):
    store.add(minutes=2)
    device.run(15)
    broker.confirms = False
    store.add(minutes=3)
    device.run(15)
    assert seqs(broker) == [1, 2, 3, 4, 5]
    broker.confirms = True
    device.restart()
    device.run(5)
    assert seqs(broker) == [1, 2, 3, 4, 5, 3, 4, 5]


def test_what_was_confirmed_is_not_sent_again(device, broker, store):
    store.add(minutes=30)
    device.run(25)
    device.restart()
    device.run(10)
    assert seqs(broker) == [*range(1, 31)]


def test_a_confirmation_of_a_later_minute_does_not_pass_over_an_earlier_one(device, broker, store):
    broker.confirms = False
    store.add(minutes=3)
    device.run(3)
    held = [number for link, number in broker.held if link is device.link]
    # The broker has the third, and not the first two.
    device.link.acknowledged.append((held[-1], None))
    device.run(3)
    device.presence.remember()
    broker.confirms = True
    device.restart()
    device.run(5)
    assert seqs(broker) == [1, 2, 3, 1, 2, 3]


def test_a_broker_that_confirms_nothing_gets_no_more_than_a_window_and_is_left(device, broker, store):
    broker.confirms = False
    store.add(minutes=500)
    device.run(CONFIRM_SECONDS - 5)
    assert seqs(broker) == [*range(1, 13)]
    with pytest.raises(LinkLost, match="confirms no messages"):
        device.run(20)


def test_a_broker_that_takes_few_at_a_time_gets_few(device, broker, store):
    device.link.window = 2
    broker.confirms = False
    store.add(minutes=10)
    device.run(10)
    assert seqs(broker) == [1]
    broker.confirm_held()
    device.run(3)
    assert seqs(broker) == [1, 2]


def test_a_broker_that_refuses_minutes_is_offered_them_again_and_it_is_told_once(
    device, broker, store, caplog
):
    broker.refuses = ("/minutes",)
    store.add(minutes=2)
    device.run(70)
    assert seqs(broker) == []
    assert sum("refuses fer-edge/shop/minutes: not authorized" in one for one in caplog.messages) == 2
    broker.refuses = ()
    device.run(70)
    assert seqs(broker) == [1, 2]


def test_while_the_link_is_congested_nothing_is_piled_up(device, broker, store):
    device.run(1)
    device.link.congested = True
    store.add(minutes=5, visits=5)
    device.outbox.events.append({"event": "came"})
    before = len(broker.log)
    device.run(30)
    assert len(broker.log) == before
    device.link.congested = False
    device.run(5)
    assert seqs(broker) == [1, 2, 3, 4, 5]
    assert [one["event"] for one in broker.told(TOPICS["people"])] == ["went"] * 5


def test_visits_are_told_when_they_are_over_with_all_that_the_store_has(device, broker, store):
    store.add(visits=2)
    device.run(5)
    went = broker.told(TOPICS["people"])
    assert [(one["event"], one["late"], one["seq"], one["track"]) for one in went] == [
        ("went", True, 1, 1),
        ("went", True, 2, 2),
    ]
    assert (went[0]["seconds"], went[0]["attention"], went[0]["neutral"], went[0]["size"]) == (
        1.0,
        0.5,
        0.4,
        80,
    )


def test_a_store_that_is_begun_anew_counts_from_its_first_minute(device, broker, store, tmp_path):
    store.add(minutes=3)
    device.run(5)
    store.close()
    for path in tmp_path.glob("shop.db*"):
        path.unlink()
    anew = WrittenStore(tmp_path / "shop.db")
    device.run(5)
    anew.add(minutes=2)
    device.run(5)
    anew.close()
    minutes = broker.told(TOPICS["minutes"])
    assert [row["seq"] for row in minutes] == [1, 2, 3, 1, 2]
    assert minutes[0]["store"] != minutes[3]["store"]


def test_a_run_that_gets_another_store_tells_the_rest_of_the_one_before_first(
    device, broker, store, tmp_path
):
    other = WrittenStore(tmp_path / "other.db")
    other.add(minutes=2)
    store.add(minutes=2)
    device.run(5)
    broker.confirms = False
    store.add(minutes=2)
    device.run(5)
    told = device.stock.device()
    device.stock.follow(other.path)
    second = device.stock.device(newest=True)
    for table in ("minutes", "visits"):
        device.progress.after(second.uuid, table, second.last[table])
    other.add(minutes=2)
    device.run(5)
    # The broker has not confirmed the last rows of the first one.
    assert {row["store"] for row in broker.told(TOPICS["minutes"])} == {told.uuid}
    broker.say(TOPICS["minutes/get"], {"after": 0})
    broker.confirms = True
    broker.confirm_held()
    device.run(5)
    minutes = [(row["store"], row["seq"]) for row in broker.told(TOPICS["minutes"])]
    assert minutes == [*((told.uuid, seq) for seq in (1, 2, 3, 4)), (second.uuid, 3), (second.uuid, 4)]
    # What is asked for is of the one that is written.
    answer = broker.told(TOPICS["minutes/answer"])[-1]
    assert (answer["store"], [row["seq"] for row in answer["rows"]]) == (second.uuid, [1, 2, 3, 4])
    other.close()


def test_a_store_that_is_gone_does_not_hold_up_the_next_one(device, broker, store, tmp_path):
    store.add(minutes=1)
    device.run(5)
    other = WrittenStore(tmp_path / "other.db")
    device.stock.follow(other.path)
    device.stock.follow(other.path)
    store.close()
    store.path.unlink()
    device.run(5)
    other.add(minutes=1)
    device.run(5)
    assert len({row["store"] for row in broker.told(TOPICS["minutes"])}) == 2
    other.close()


def test_a_publisher_knows_at_once_from_where_on_the_next_store_is_told(store, tmp_path):
    broker = FakeBroker()
    broker.down = LinkLost("connection refused")
    other = WrittenStore(tmp_path / "other.db")
    other.add(minutes=2)
    telling = Telling(PLACE, "shop", tmp_path, store.path, ("door",))
    publisher = Publisher(telling, lambda: state(), FakeControl(), broker.link)
    publisher.set_store(other.path)
    other.add(minutes=1)
    (kept,) = (tmp_path / "mqtt").glob("*.json")
    told = json.loads(kept.read_text())["stores"]
    assert [seqs["minutes"] for seqs in told.values()] == [0, 2]
    other.close()


def test_a_store_that_cannot_be_read_is_told_once_and_read_when_it_can(
    device, broker, store, tmp_path, caplog
):
    hidden = tmp_path / "hidden"
    store.path.rename(hidden)
    device.run(20)
    assert sum("no rows for the broker" in one for one in caplog.messages) == 1
    assert len(broker.told(TOPICS["state"])) == 4
    hidden.rename(store.path)
    store.add(minutes=1)
    device.run(5)
    assert seqs(broker) == [1]


def test_progress_that_is_damaged_sends_again_rather_than_never(device, broker, store, caplog):
    store.add(minutes=4)
    device.run(5)
    device.progress.path.write_text("{")
    device.restart()
    device.run(5)
    assert seqs(broker) == [1, 2, 3, 4, 1, 2, 3, 4]
    assert "all rows are sent again" in caplog.text


def test_a_folder_that_cannot_be_written_stops_nothing(device, broker, store, caplog, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fer_edge.outputs.mqtt.progress.write_text", full)
    store.add(minutes=4)
    device.run(15)
    assert seqs(broker) == [1, 2, 3, 4]
    assert "gets some rows again" in caplog.text


# Commands


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


# Two of a name


def test_of_two_that_claim_a_name_at_once_the_later_one_yields(broker, store, control, tmp_path):
    device = Device(broker, store, control, tmp_path)
    device.run(1)
    later = replace(OWN, id="cd" * 16, instance="second", started="2026-11-26T12:00:05.000+00:00")
    broker.say(TOPICS["identity"], dict(later.record), retain=True)
    device.run(2)
    # The older one takes its place again.
    assert json.loads(broker.retained[TOPICS["identity"]].payload)["id"] == OWN.id
    earlier = replace(later, started="2026-11-26T11:00:00.000+00:00")
    broker.say(TOPICS["identity"], dict(earlier.record), retain=True)
    with pytest.raises(NameTaken):
        device.run(2)


@contextlib.contextmanager
def published(broker, store, folder, name="shop", **options):
    telling = Telling(PLACE, name, folder, store.path, ("door",), **options)
    publisher = Publisher(telling, lambda: state(), FakeControl(), broker.link)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop(1.0)


def await_true(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(publishing, "PAUSES", (0.02,))
    monkeypatch.setattr(publishing, "TAKEN_SECONDS", 0.05)


def folder(tmp_path, name):
    made = tmp_path / name
    made.mkdir()
    return made


def test_a_second_device_of_the_same_name_is_refused_until_the_first_has_ended(
    broker, store, tmp_path, quick, caplog
):
    with published(broker, store, folder(tmp_path, "a")) as first:
        await_true(lambda: first.online)
        with published(broker, store, folder(tmp_path, "b")) as second:
            await_true(lambda: "another device, with id" in caplog.text)
            time.sleep(0.3)
            assert first.online
            assert not second.online
            assert sum("another device" in one for one in caplog.messages) == 1
            assert json.loads(broker.retained[TOPICS["identity"]].payload)["id"] == first.identity.id
            assert broker.retained[TOPICS["availability"]].payload == b"online"
            assert first.stop(5.0)
            await_true(lambda: second.online)
            assert json.loads(broker.retained[TOPICS["identity"]].payload)["id"] == second.identity.id


def test_a_copied_card_and_a_second_run_are_refused(broker, store, tmp_path, quick, caplog):
    same = folder(tmp_path, "a")
    with published(broker, store, same) as first:
        await_true(lambda: first.online)
        with published(broker, store, same) as second:
            await_true(lambda: "copy of this one's card" in caplog.text)
            assert not second.online
            assert first.online


def test_a_device_that_died_gives_its_name_to_its_next_run_and_to_another_device(
    broker, store, tmp_path, quick
):
    for number, home in enumerate((folder(tmp_path, "a"), tmp_path / "a", folder(tmp_path, "b"))):
        with published(broker, store, home, name="shop") as one:
            await_true(lambda one=one: one.online)
            assert json.loads(broker.retained[TOPICS["identity"]].payload)["id"] == one.identity.id, number
            # As if the power went: the broker tells the will.
            broker.links[one._client_id].leave_will()


def test_a_device_that_yields_does_not_call_the_other_one_offline(broker, store, tmp_path, quick, caplog):
    earlier = replace(OWN, id="cd" * 16, instance="second", started="2000-01-01T00:00:00.000+00:00")
    with published(broker, store, tmp_path) as one:
        await_true(lambda: one.online)
        broker.say(TOPICS["identity"], dict(earlier.record), retain=True)
        await_true(lambda: "another device had this name first" in caplog.text)
    assert "offline" not in broker.texts(TOPICS["availability"])


def test_a_name_that_only_seems_to_be_taken_is_taken(broker, store, tmp_path, quick, monkeypatch):
    """As where device and broker lost their power at once: nobody told the will."""
    monkeypatch.setattr(identities, "ANSWER_SECONDS", 0.2)
    gone = replace(OWN, id="cd" * 16, instance="gone", started="2026-11-26T11:00:00.000+00:00")
    broker.say(TOPICS["identity"], dict(gone.record), retain=True)
    broker.say(TOPICS["availability"], b"online", retain=True)
    with published(broker, store, tmp_path) as one:
        await_true(lambda: one.online)
        assert json.loads(broker.retained[TOPICS["identity"]].payload)["id"] == one.identity.id


def test_a_device_answers_who_it_is(device, broker):
    device.run(1)
    broker.say(TOPICS["identity/get"], b"")
    device.run(1)
    assert broker.told(TOPICS["identity"]) == [dict(OWN.record)] * 2


def test_a_device_that_yields_takes_its_announcement_back(broker, store, control, tmp_path):
    device = Device(broker, store, control, tmp_path, prefix="ha")
    topic = f"ha/device/fer_edge_{OWN.id[:12]}_shop/config"
    assert len(broker.told(topic)) == 1
    device.presence.withdraw()
    assert broker.texts(topic)[-1] == ""
    assert device.progress.components == {}


def test_takeovers_again_and_again_are_a_second_device_and_not_fought(
    broker, store, tmp_path, quick, caplog, monkeypatch
):
    # So that the identity does not tell before.
    monkeypatch.setattr(Publisher, "_is_free", lambda self: True)
    monkeypatch.setattr(publishing, "TAKEN_SECONDS", 60.0)
    same = folder(tmp_path, "a")
    with published(broker, store, same), published(broker, store, same):
        await_true(lambda: "takes the connection again and again" in caplog.text)


# The thread


def test_a_broker_that_is_away_is_told_once_and_its_return_once(broker, store, tmp_path, quick, caplog):
    caplog.set_level(logging.INFO)
    with published(broker, store, tmp_path) as one:
        await_true(lambda: one.online)
        broker.down = LinkLost("connection refused")
        broker.kill()
        await_true(lambda: not one.online)
        time.sleep(0.3)
        store.add(minutes=10)
        broker.down = None
        await_true(lambda: len(seqs(broker)) == 10)
    assert seqs(broker) == [*range(1, 11)]
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("mqtt:")]
    assert len(lines) == 3, lines
    assert lines[0] == "mqtt: connected to broker.lan:1883 as fer-edge/shop"
    assert lines[1].startswith("mqtt: broker.lan:1883: connection ")
    assert lines[2].startswith("mqtt: connected to broker.lan:1883 again after ")


def test_a_broker_that_refuses_is_told_besides(broker, store, tmp_path, quick, caplog):
    broker.down = LinkLost("connection refused")
    with published(broker, store, tmp_path):
        await_true(lambda: "connection refused" in caplog.text)
        broker.down = LinkLost("the broker refuses: not authorized", refused=True)
        await_true(lambda: "not authorized" in caplog.text)


def test_pauses_grow_to_half_a_minute():
    assert publishing.PAUSES == (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


def test_the_end_sends_what_is_left_and_says_stopped(broker, store, tmp_path):
    with published(broker, store, tmp_path) as one:
        await_true(lambda: one.online)
        store.add(minutes=40)
        assert one.stop(5.0)
    assert seqs(broker) == [*range(1, 41)]
    assert broker.texts(TOPICS["availability"]) == ["online", "stopped"]
    with published(broker, store, tmp_path) as one:
        await_true(lambda: one.online)
        store.add(minutes=1)
        await_true(lambda: len(seqs(broker)) == 41)
    assert seqs(broker) == [*range(1, 42)]


def test_the_end_does_not_wait_for_a_broker_that_hangs(store, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    hanging, answers = FakeBroker(), threading.Event()

    def link(*given):
        made = hanging.link(*given)
        connect = made.connect
        made.connect = lambda: (answers.wait(30), connect())
        return made

    telling = Telling(PLACE, "shop", tmp_path, store.path, ("door",))
    publisher = Publisher(telling, state, FakeControl(), link)
    publisher.start()
    began = time.monotonic()
    assert not publisher.stop(0.3)
    assert time.monotonic() - began < 5
    # A broker that answers after all hears and logs nothing of a run that has ended.
    answers.set()
    await_true(lambda: not publisher._thread.is_alive())
    assert "connected" not in caplog.text
    assert not publisher.online
    assert hanging.told(TOPICS["availability"]) == hanging.told(TOPICS["state"]) == []


def test_a_fault_of_our_own_is_told_and_tried_again(broker, store, tmp_path, quick, caplog):
    calls = []

    def snapshot():
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of order")
        return state()

    publisher = Publisher(
        Telling(PLACE, "shop", tmp_path, store.path, ("door",)), snapshot, FakeControl(), broker.link
    )
    publisher.start()
    await_true(lambda: broker.told(TOPICS["state"]))
    publisher.stop(1.0)
    assert "out of order" in caplog.text


# The output


class Ear:
    """A publisher that only listens."""

    online = True

    def __init__(self):
        self.events, self.pictures, self.ended = [], [], None

    def start(self):
        pass

    def tell(self, event):
        self.events.append(event)

    def show(self, camera, picture):
        self.pictures.append((camera, picture))

    def forget_pictures(self):
        self.pictures.clear()

    def stop(self, seconds):
        self.ended = seconds


def frame(*tracks, camera="door", timestamp=0.0):
    return replace(
        result(timestamp=timestamp), faces=tracked(*(face(track=track) for track in tracks)), camera=camera
    )


def test_everybody_who_comes_is_told_once_by_each_camera():
    ear = Ear()
    output = MqttOutput(lambda: ear, live=True)
    for tracks in ((), (1,), (1, 3), (3,), (), (4,), (1, 4), (0,)):
        output.write(frame(*tracks))
    output.write(frame(1, camera="till"))
    assert [(one["event"], one["camera"], one["track"]) for one in ear.events] == [
        ("came", "door", 1),
        ("came", "door", 3),
        ("came", "door", 4),
        ("came", "till", 1),
    ]
    assert ear.pictures == []
    assert not output.needs_image


def test_pictures_are_sent_only_where_asked_for_and_every_so_often():
    ear, now = Ear(), [0.0]
    output = MqttOutput(lambda: ear, live=True, pictures="blurred", every=2.0, clock=lambda: now[0])
    for step in range(40):
        now[0] = step / 4
        output.write(frame(camera="door"))
        output.write(frame(camera="till"))
    assert [camera for camera, _ in ear.pictures] == ["door", "till"] * 5
    assert output.needs_image
    ear.online = False
    now[0] = 100.0
    output.write(frame())
    assert len(ear.pictures) == 10


def test_no_picture_of_before_a_mask_or_pause_is_sent():
    ear = Ear()
    output = MqttOutput(lambda: ear, live=True, pictures="full", every=0.01)
    waiting = replace(frame(), monotonic=time.monotonic())
    output.write(replace(frame(), monotonic=time.monotonic()))
    assert len(ear.pictures) == 1
    output.changed()
    assert ear.pictures == []
    time.sleep(0.02)
    output.write(waiting)
    assert ear.pictures == []
    output.write(replace(frame(), monotonic=time.monotonic()))
    assert len(ear.pictures) == 1


def test_blocks_stay_large_in_pictures_while_a_face_is_lost():
    pytest.importorskip("cv2")
    ear, now, blocks = Ear(), [0.0], []
    output = MqttOutput(lambda: ear, live=True, pictures="blurred", every=1.0, clock=lambda: now[0])
    brighter = np.tile(np.linspace(0, 255, 640).astype(np.uint8)[None, :, None], (480, 1, 3))
    near = face(box=(100.0, 100.0, 320.0, 320.0))
    for now[0], faces in ((5.0, (near,)), (8.0, ()), (15.0, ()), (25.0, ())):
        output.write(replace(result(image=brighter), faces=tracked(*faces)))
        blocks.append(len(np.unique(output._blur.pixelated("door", brighter)[470])))
    assert blocks == [12, 12, 12, 24]
    assert len(ear.pictures) == 4


def test_a_blurred_picture_is_blurred_as_a_whole_and_a_full_one_is_not():
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (480, 640, 3), np.uint8)
    for blur, spread in ((Blur(), (0, 15)), (None, (35, 90))):
        shown = cv2.imdecode(np.frombuffer(jpeg(result(image=noise), blur), np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (480, 640, 3)
        assert spread[0] <= shown[:, :, 1].std() <= spread[1]


def test_a_run_that_ends_leaves_and_one_that_fails_comes_back():
    ears = []

    def make():
        ears.append(Ear())
        return ears[-1]

    output = MqttOutput(make, live=True)
    output.open()
    assert len(ears) == 1
    output.close()
    assert ears[0].ended == pytest.approx(0.3)
    output.open()
    assert len(ears) == 2
    film = MqttOutput(make, live=False)
    film.close()
    assert ears[2].ended == pytest.approx(10)


# What is written of it


@pytest.mark.skipif(not DOCUMENTATION.exists(), reason="no docs/ beside the tests")
def test_the_documentation_has_every_topic_and_column(device, broker, store):
    told = DOCUMENTATION.read_text()
    for name in (
        *COMMANDS,
        "availability",
        "identity",
        "identity/get",
        "state",
        "people",
        "minutes",
        "answer",
    ):
        assert f"`BASE/{name}`" in told, name
    store.add(minutes=1, visits=1)
    broker.say(TOPICS["minutes/get"], {"after": 0, "id": 1})
    device.run(5)
    (answer,) = broker.told(TOPICS["minutes/answer"])
    example = re.search(r"```json\n(.*?)```", told, re.DOTALL)[1]
    assert set(json.loads(example)) == set(answer)
    own = {"version", "store", "event", "late"}
    (minute,), (visit,) = broker.told(TOPICS["minutes"]), broker.told(TOPICS["people"])
    assert set(minute) - own == {column.name for column in TABLES["minutes"].columns}
    assert set(visit) - own == {column.name for column in TABLES["visits"].columns}


# Names


def test_the_id_of_a_device_lasts_and_a_damaged_one_is_made_anew(tmp_path, caplog):
    first = device_id(tmp_path)
    assert len(first) == 32
    assert device_id(tmp_path) == first
    (tmp_path / "mqtt" / "id").write_text("rubbish")
    assert device_id(tmp_path) != first
    assert "not the id of a device; a new one is made" in caplog.text


@pytest.mark.parametrize(
    ("name", "topic"),
    [("shop", "shop"), ("Shop window #2/+", "Shop-window-2"), ("Küche", "K-che"), ("///", "device")],
)
def test_names_are_plain_in_topics(name, topic):
    assert plain(name) == topic
    assert Topics.of(replace(PLACE, root="home/faces"), name)["state"] == f"home/faces/{topic}/state"
