"""Minutes and visits that a device tells a broker: in order, once it can, and none twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("cv2")
from outputs import mqtt_device
from outputs.mqtt_broker import PLACE, FakeBroker, FakeControl, WrittenStore, state
from outputs.mqtt_device import TOPICS, Device, seqs

from fer_edge.outputs.mqtt import progress as progresses
from fer_edge.outputs.mqtt.feed import CONFIRM_SECONDS
from fer_edge.outputs.mqtt.link import LinkLost
from fer_edge.outputs.mqtt.progress import Progress
from fer_edge.outputs.mqtt.publisher import Publisher, Telling

SAMPLES = sorted(Path(__file__).parent.glob("mqtt-progress-*.json"))
STORE = "5f0c6a3e9d7b4c12a8e61b2f3c4d5e6f"
"""Of the samples."""

broker, control, device, store = (
    mqtt_device.broker,
    mqtt_device.control,
    mqtt_device.device,
    mqtt_device.store,
)


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


def test_there_is_a_sample_of_progress_of_every_version():
    versions = range(1, progresses._VERSION + 1)
    assert [path.name for path in SAMPLES] == [f"mqtt-progress-{number}.json" for number in versions]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_progress_of_every_version_goes_on(tmp_path, sample):
    path = Progress(tmp_path, PLACE, "shop").path
    path.parent.mkdir()
    path.write_bytes(sample.read_bytes())
    progress = Progress(tmp_path, PLACE, "shop")
    assert [progress.after(STORE, table, 99) for table in ("minutes", "visits")] == [41, 7]
    assert progress.components == {"people": "sensor", "pause": "switch"}


def test_progress_of_a_later_version_sends_all_again_after_a_roll_back(tmp_path, caplog):
    path = Progress(tmp_path, PLACE, "shop").path
    path.parent.mkdir()
    latest = json.loads(SAMPLES[-1].read_text())
    path.write_text(json.dumps({**latest, "version": latest["version"] + 1}))
    assert Progress(tmp_path, PLACE, "shop").after(STORE, "minutes", 99) == 0
    assert f"version {latest['version'] + 1} where {latest['version']} is known" in caplog.text


def test_a_folder_that_cannot_be_written_stops_nothing(device, broker, store, caplog, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fer_edge.outputs.mqtt.progress.write_text", full)
    store.add(minutes=4)
    device.run(15)
    assert seqs(broker) == [1, 2, 3, 4]
    assert "gets some rows again" in caplog.text
