"""A real mosquitto: passwords, TLS, access lists, a broker that is killed, two devices of one name."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import time
from dataclasses import replace

import pytest

pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("cv2")
from outputs import mqtt_device
from outputs.mosquitto import SECONDS, await_true, kept, mosquittos, passwords, reading
from outputs.mqtt_broker import FakeControl, state

from fer_edge.control.broker import broker_of
from fer_edge.errors import OutputError
from fer_edge.outputs.mqtt import publisher as publishing
from fer_edge.outputs.mqtt.link import Link
from fer_edge.outputs.mqtt.maintain import check, remove
from fer_edge.outputs.mqtt.publisher import Publisher, Telling

pytestmark = pytest.mark.services

OUTAGE = float(os.environ.get("MQTT_OUTAGE", "3"))
"""Seconds for which the broker is dead; 600 for the ten minutes of docs/mqtt.md."""


@pytest.fixture
def mosquitto(tmp_path):
    with mosquittos(tmp_path) as begin:
        yield begin


@contextlib.contextmanager
def published(broker, store, folder, name="shop", control=None, **options):
    telling = Telling(broker, name, folder, store.path, ("door",), **options)
    asked = control or FakeControl()
    publisher = Publisher(telling, lambda: state(asked), asked)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop(2.0)


store = mqtt_device.store


@pytest.fixture
def home(tmp_path):
    made = tmp_path / "home"
    made.mkdir()
    return made


def test_a_broker_that_is_killed_and_loses_what_it_kept_misses_no_minute(mosquitto, store, home, caplog):
    caplog.set_level(logging.INFO)
    broker = mosquitto("allow_anonymous true", "max_inflight_messages 5")
    with (
        published(broker.place, store, home, prefix="homeassistant") as device,
        reading(broker.place) as reader,
    ):
        await_true(lambda: device.online)
        store.add(minutes=3)
        await_true(lambda: len(reader.seqs()) == 3)
        began = time.monotonic()
        broker.kill()
        reader.ready.clear()
        # A minute a minute in a real run; none must get lost however many there are.
        store.add(minutes=300)
        await_true(lambda: not device.online)
        while time.monotonic() < began + OUTAGE:
            time.sleep(0.1)
        broker.start()
        assert reader.ready.wait(SECONDS)
        store.add(minutes=2)
        await_true(lambda: device.online, SECONDS + OUTAGE)
        # The reader may have come later than the device, and asks for what it lacks.
        await_true(lambda: reader.seqs() and reader.seqs()[-1] == 305)
        seen = reader.seqs()
        if len(set(seen)) < 305:
            after = next(seq for seq in range(1, 306) if seq not in seen) - 1
            while True:
                reader.say("fer-edge/shop/minutes/get", json.dumps({"after": after}).encode())
                count = len(reader.told("fer-edge/shop/minutes/answer"))
                await_true(lambda count=count: len(reader.told("fer-edge/shop/minutes/answer")) > count)
                answer = json.loads(reader.told("fer-edge/shop/minutes/answer")[-1])
                seen += [row["seq"] for row in answer["rows"]]
                after = answer["next"]
                if not answer["more"]:
                    break
        assert sorted(set(seen)) == [*range(1, 306)]
        in_order = reader.seqs()
        assert in_order == sorted(in_order)
    left = kept(broker.place)
    assert left["fer-edge/shop/availability"] == b"stopped"
    assert json.loads(left["fer-edge/shop/identity"])["id"] == device.identity.id
    lines = [one for one in caplog.messages if one.startswith("mqtt:")]
    assert len(lines) == 3, lines
    assert "again after" in lines[2]


def test_a_reader_that_stays_gets_every_minute_once_and_in_order(mosquitto, store, home):
    broker = mosquitto("allow_anonymous true")
    with published(broker.place, store, home) as device, reading(broker.place) as reader:
        await_true(lambda: device.online)
        store.add(minutes=2000)
        await_true(lambda: len(reader.seqs()) >= 2000)
    assert reader.seqs() == [*range(1, 2001)]


def test_a_device_that_is_cut_off_is_offline_to_others(mosquitto, store, home, tmp_path):
    broker = mosquitto("allow_anonymous true")
    with published(broker.place, store, home) as device, reading(broker.place) as reader:
        await_true(lambda: device.online)
        await_true(lambda: reader.told("fer-edge/shop/availability")[-1:] == [b"online"])
        # Another client with its id makes the broker cut it off, and it comes back.
        other = Link(broker.place, device._client_id)
        other.connect()
        await_true(lambda: b"offline" in reader.told("fer-edge/shop/availability"))
        other.close()
        await_true(lambda: reader.told("fer-edge/shop/availability")[-1] == b"online")


def test_a_broker_that_hangs_is_left_and_found_again(mosquitto, store, home, monkeypatch, caplog):
    from fer_edge.outputs.mqtt import link

    monkeypatch.setattr(link, "KEEP_ALIVE", 1)
    broker = mosquitto("allow_anonymous true")
    with published(broker.place, store, home) as device:
        await_true(lambda: device.online)
        broker.send(signal.SIGSTOP)
        try:
            store.add(minutes=50)
            await_true(lambda: not device.online)
        finally:
            broker.send(signal.SIGCONT)
        await_true(lambda: device.online)
        with reading(broker.place) as reader:
            reader.say("fer-edge/shop/minutes/get", b'{"after": 0}')
            await_true(lambda: reader.told("fer-edge/shop/minutes/answer"))
            rows = json.loads(reader.told("fer-edge/shop/minutes/answer")[0])["rows"]
    assert [row["seq"] for row in rows] == [*range(1, 51)]


def test_commands_come_through_and_home_assistant_gets_its_announcement_again(mosquitto, store, home):
    broker, control = mosquitto("allow_anonymous true"), FakeControl()
    with (
        published(broker.place, store, home, control=control, prefix="homeassistant") as device,
        reading(broker.place) as reader,
    ):
        await_true(lambda: device.online)
        reader.say("fer-edge/shop/pause/set", b"ON")
        await_true(lambda: control.paused)
        await_true(lambda: any(json.loads(one)["paused"] for one in reader.told("fer-edge/shop/state")))
        topic = f"homeassistant/device/fer_edge_{device.identity.id[:12]}_shop/config"
        before = len(reader.told(topic))
        reader.say("homeassistant/status", b"online")
        await_true(lambda: len(reader.told(topic)) == before + 1)
    assert topic not in kept(broker.place)


def test_two_devices_of_one_name_and_a_copied_card_are_refused(
    mosquitto, store, home, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(publishing, "TAKEN_SECONDS", 0.5)
    broker, other = mosquitto("allow_anonymous true"), tmp_path / "other"
    other.mkdir()
    with published(broker.place, store, home) as first:
        await_true(lambda: first.online)
        with published(broker.place, store, other) as second:
            await_true(lambda: "another device, with id" in caplog.text)
            assert first.online
            assert not second.online
        with published(broker.place, store, home) as copy:
            await_true(lambda: "copy of this one's card" in caplog.text)
            assert first.online
            assert not copy.online
        assert kept(broker.place)["fer-edge/shop/availability"] == b"online"
        with pytest.raises(OutputError, match="the device is online; end its fer-edge run first"):
            remove(broker.place, "shop", other)
    # Which is over now.
    with published(broker.place, store, other) as second:
        await_true(lambda: second.online)


def test_a_device_is_removed_with_all_that_the_broker_kept_of_it_from_any_machine(
    mosquitto, store, home, tmp_path
):
    broker, office = mosquitto("allow_anonymous true"), tmp_path / "office"
    office.mkdir()
    with published(broker.place, store, home, prefix="homeassistant") as device:
        await_true(lambda: device.online)
        with published(broker.place, store, office, name="till") as till:
            await_true(lambda: till.online)
    assert len(kept(broker.place)) == 6
    with reading(broker.place) as reader:
        assert remove(broker.place, "shop", office) == 3
        topic = f"homeassistant/device/fer_edge_{device.identity.id[:12]}_shop/config"
        await_true(lambda: reader.told(topic) == [b""])
    assert {topic.split("/")[1] for topic in kept(broker.place)} == {"till"}
    assert remove(broker.place, "shop", home) == 0
    assert not [*(home / "mqtt").glob("*.json")]


# Who may do what


def certificates(folder):
    """An authority with a server's and a client's certificate, made by openssl."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for authority in ("ca", "foreign"):
        openssl(
            "req",
            "-x509",
            *key,
            "-subj",
            f"/CN={authority}",
            "-keyout",
            f"{authority}.key",
            "-out",
            f"{authority}.crt",
        )
    for name in ("server", "client"):
        (folder / f"{name}.ext").write_text("subjectAltName=DNS:localhost\n")
        openssl("req", *key[:-2], "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt"),
        )
    return folder


def test_password_and_tls_let_the_right_ones_in_and_nobody_else(mosquitto, store, home, tmp_path, caplog):
    folder = tmp_path / "tls"
    folder.mkdir()
    certificates(folder)
    file = passwords(folder)
    broker = mosquitto(
        f"cafile {folder}/ca.crt",
        f"certfile {folder}/server.crt",
        f"keyfile {folder}/server.key",
        "require_certificate true",
        "allow_anonymous false",
        f"password_file {folder}/passwords",
    )
    pair = (f"{folder}/client.crt", f"{folder}/client.key")
    url = f"mqtts://shop@localhost:{broker.port}"
    right = broker_of(url, str(file), f"{folder}/ca.crt", pair)
    with published(right, store, home) as device, reading(right) as reader:
        await_true(lambda: device.online)
        store.add(minutes=3)
        await_true(lambda: reader.seqs() == [1, 2, 3])

    def refusal(wrong):
        with pytest.raises(OutputError) as caught:
            check(wrong, "shop", home)
        assert "s3cret" not in str(caught.value)
        return str(caught.value)

    assert "certificate is not trusted" in refusal(replace(right, ca=f"{folder}/foreign.crt"))
    assert "certificate is not trusted: IP address mismatch" in refusal(replace(right, host="127.0.0.1"))
    assert refusal(replace(right, certificate=None, key=None))
    assert "not authorized" in refusal(replace(right, password="wrong"))
    assert "not authorized" in refusal(replace(right, user=None, password=None))
    assert refusal(replace(right, tls=False))
    assert "s3cret" not in caplog.text + (tmp_path / "mosquitto" / "log").read_text()
    checked = check(right, "shop", home)
    assert (checked.protocol, checked.found.alive, checked.found.availability) == ("5.0", False, "stopped")


def test_an_access_list_that_forbids_minutes_is_told_and_loses_none(
    mosquitto, store, home, tmp_path, monkeypatch, caplog
):
    from fer_edge.outputs.mqtt import feed

    monkeypatch.setattr(feed, "_REFUSED_SECONDS", 0.2)
    access = tmp_path / "access"
    allowed = "topic readwrite fer-edge/shop/#\ntopic read fer-edge/#\n"
    forbidden = "topic read fer-edge/#\ntopic write fer-edge/shop/availability\n"
    access.write_text(forbidden + "topic write fer-edge/shop/identity\n")
    access.chmod(0o644)
    broker = mosquitto("allow_anonymous true", f"acl_file {access}")
    with published(broker.place, store, home) as device, reading(broker.place) as reader:
        await_true(lambda: device.online)
        store.add(minutes=3)
        await_true(lambda: "refuses fer-edge/shop/minutes: not authorized" in caplog.text)
        assert reader.seqs() == []
        access.write_text(allowed)
        broker.send(signal.SIGHUP)
        await_true(lambda: reader.seqs() == [1, 2, 3])
