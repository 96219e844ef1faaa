"""What a device tells a broker of itself and its people, and what its documentation says."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("paho.mqtt.enums")
pytest.importorskip("cv2")
from outputs import mqtt_device
from outputs.mqtt_broker import PLACE, state
from outputs.mqtt_device import OWN, TOPICS
from results import face, result, tracked

from fer_edge.outputs.blur import Blur
from fer_edge.outputs.mqtt.output import MqttOutput
from fer_edge.outputs.mqtt.picture import jpeg
from fer_edge.outputs.mqtt.progress import device_id
from fer_edge.outputs.mqtt.topics import COMMANDS, Topics, plain
from fer_edge.store.schema import TABLES

broker, control, device, store = (
    mqtt_device.broker,
    mqtt_device.control,
    mqtt_device.device,
    mqtt_device.store,
)
DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "mqtt.md"


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


def test_no_picture_that_is_being_made_when_a_mask_is_drawn_is_sent(monkeypatch):
    ear = Ear()
    output = MqttOutput(lambda: ear, live=True, pictures="full")

    def drawn_meanwhile(*arguments):
        output.changed()
        return jpeg(*arguments)

    monkeypatch.setattr("fer_edge.outputs.mqtt.output.jpeg", drawn_meanwhile)
    output.write(replace(frame(), monotonic=time.monotonic()))
    assert ear.pictures == []
    monkeypatch.undo()
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
