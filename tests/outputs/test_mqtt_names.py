"""Names at a broker: two devices of one, cameras of odd ones."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("cv2")

from outputs import mqtt_device
from outputs.mqtt_device import OWN, TOPICS, Device, await_true, folder, published

from fer_edge.outputs.mqtt import identity as identities
from fer_edge.outputs.mqtt import publisher as publishing
from fer_edge.outputs.mqtt.presence import NameTaken
from fer_edge.outputs.mqtt.publisher import Publisher

broker, control, device, quick, store = (
    mqtt_device.broker,
    mqtt_device.control,
    mqtt_device.device,
    mqtt_device.quick,
    mqtt_device.store,
)


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


def test_pictures_of_each_camera_go_where_they_were_announced(broker, store, control, tmp_path):
    cameras = ("入口", "door 2", "レジ", "door-2")
    device = Device(broker, store, control, tmp_path, cameras=cameras, pictures=True, prefix="ha")
    device.outbox.pictures.update({camera: camera.encode() for camera in cameras})
    device.run(1)
    (announced,) = broker.told(f"ha/device/fer_edge_{OWN.id[:12]}_shop/config")
    topics = {one["name"]: one["t"] for one in announced["cmps"].values() if one["p"] == "camera"}
    assert [broker.texts(topics[f"{camera} picture"]) for camera in cameras] == [[one] for one in cameras]
