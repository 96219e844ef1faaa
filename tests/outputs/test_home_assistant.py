"""What Home Assistant is told, by a subset that is checked here, and by its own schemas."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("paho.mqtt.enums")
from outputs.mqtt_broker import PLACE, FakeBroker, FakeControl, WrittenStore, state

from fer_edge.labels import EMOTIONS
from fer_edge.outputs.mqtt import discovery
from fer_edge.outputs.mqtt.feed import Stock
from fer_edge.outputs.mqtt.identity import Identity
from fer_edge.outputs.mqtt.presence import Outbox, Presence, Speaker
from fer_edge.outputs.mqtt.progress import Progress
from fer_edge.outputs.mqtt.topics import Topics

REPOSITORY = Path(__file__).resolve().parents[2]
ID = "ab" * 16
SHOP = Topics.of(PLACE, "shop")

# Of https://www.home-assistant.io/integrations/mqtt/ and its pages of platforms, abbreviated.
_ALL = {"p", "name", "uniq_id", "def_ent_id", "ic", "ent_cat", "json_attr_t", "json_attr_tpl", "qos"}
ALLOWED = {
    "sensor": _ALL
    | {"stat_t", "val_tpl", "exp_aft", "dev_cla", "stat_cla", "unit_of_meas", "sug_dsp_prc", "ops"},
    "binary_sensor": _ALL | {"stat_t", "val_tpl", "exp_aft", "dev_cla"},
    "switch": _ALL | {"stat_t", "val_tpl", "cmd_t"},
    "camera": _ALL | {"t"},
}
NEEDED = {
    "sensor": {"stat_t"},
    "binary_sensor": {"stat_t"},
    "switch": {"cmd_t"},
    "camera": {"t"},
}


def announced(cameras=("door",), pictures=False, name="Shop window", vanished=None):
    return discovery.payload(ID, name, SHOP, cameras, pictures, 60, vanished)


VARIANTS = {
    "one camera": announced(),
    "a picture": announced(pictures=True),
    "several cameras": announced(("door", "till 'x' \\ ü 😀", "till-x"), pictures=True),
    "something that goes": announced(vanished={"camera_picture": "camera", "people": "sensor"}),
    "a name of other letters": announced(name="店"),
}


@pytest.mark.parametrize("payload", VARIANTS.values(), ids=VARIANTS)
def test_components_have_what_they_need_and_nothing_unknown(payload):
    assert set(payload) == {"dev", "o", "avty_t", "avty_tpl", "cmps"}
    slug = {"店": "fer_edge"}.get(payload["dev"]["name"], "shop_window")
    assert payload["dev"]["ids"] == [f"fer_edge_abababababab_{slug}"]
    assert payload["o"]["name"] == "fer-edge"
    whole = {key: one for key, one in payload["cmps"].items() if len(one) > 1}
    for key, one in whole.items():
        assert set(one) <= ALLOWED[one["p"]], key
        assert {"p", "uniq_id", "def_ent_id", "name"} | NEEDED[one["p"]] <= set(one), key
        assert one["uniq_id"] == f"fer_edge_abababababab_{slug}_{key}"
        assert one["def_ent_id"].startswith(f"{one['p']}.")
        assert not {"obj_id", "object_id"} & set(one)
        if one["p"] in ("sensor", "binary_sensor"):
            assert one["exp_aft"] == 60
    assert len({one["uniq_id"] for one in whole.values()}) == len(whole)
    assert len(json.dumps(payload)) < 40_000


def test_a_device_has_its_figures_and_a_switch_and_no_picture_unless_asked_for():
    components = announced()["cmps"]
    assert {key: one["p"] for key, one in components.items()} == {
        "people": "sensor",
        "people_today": "sensor",
        "dominant": "sensor",
        **{f"share_{emotion}": "sensor" for emotion in EMOTIONS},
        "attention": "sensor",
        "fps": "sensor",
        "temperature": "sensor",
        "problem": "binary_sensor",
        "pause": "switch",
    }
    assert components["dominant"]["ops"] == list(EMOTIONS)
    assert components["share_fear"]["unit_of_meas"] == "%"
    assert components["temperature"]["ent_cat"] == "diagnostic"
    assert components["people"]["def_ent_id"] == "sensor.shop_window_people"
    assert announced(pictures=True)["cmps"]["camera_picture"]["t"] == "fer-edge/shop/camera/door/picture"


def test_each_of_several_cameras_has_its_own():
    own = set(announced(("door", "till"), pictures=True)["cmps"]) - set(announced()["cmps"])
    assert own == {
        f"camera_{camera}_{what}"
        for camera in ("door", "till")
        for what in ("people", "fps", "problem", "picture")
    }


@pytest.mark.parametrize(
    ("cameras", "topics", "keys"),
    [
        (("door", "till"), ("door", "till"), ("door", "till")),
        # The first digits of `printf 入口 | sha256sum`.
        (("入口", "レジ"), ("1a793027", "10ac2714"), ("1a793027", "10ac2714")),
        (("door 2", "door"), ("door-2", "door"), ("door_2", "door")),
        (("door", "door 2", "door-2"), ("door", "door-2", "door-2-2"), ("door", "door_2", "door_2_2")),
        (("Door", "door"), ("Door", "door"), ("door", "door_2")),
        (("a b", "a-b", "a-b-2"), ("a-b", "a-b-3", "a-b-2"), ("a_b", "a_b_3", "a_b_2")),
        (("Tür", "Tor", "Tör"), ("T-r", "Tor", "T-r-2"), ("t_r", "tor", "t_r_2")),
    ],
)
def test_no_two_cameras_share_a_topic_or_an_entity(cameras, topics, keys):
    components = announced(cameras, pictures=True)["cmps"]
    for camera, topic, key in zip(cameras, topics, keys, strict=True):
        assert components[f"camera_{key}_picture"]["t"] == f"fer-edge/shop/camera/{topic}/picture"
        assert components[f"camera_{key}_people"]["name"] == f"{camera} people"


def test_the_only_camera_has_a_topic_of_its_name_in_any_script():
    components = announced(("入口",), pictures=True)["cmps"]
    assert components["camera_picture"]["t"] == "fer-edge/shop/camera/1a793027/picture"


def rendered(payload, told):
    """What each component shows of a state, as Jinja gives it."""
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    return {
        key: environment.from_string(one["val_tpl"]).render(value_json=told)
        for key, one in payload["cmps"].items()
        if "val_tpl" in one
    }


def test_templates_show_the_state_and_unknown_where_nobody_is_there():
    shown = rendered(announced(), state(people=2))
    assert {key: shown[key] for key in ("people", "people_today", "dominant", "fps", "temperature")} == {
        "people": "2",
        "people_today": "3",
        "dominant": "happy",
        "fps": "9.5",
        "temperature": "48.3",
    }
    assert (shown["share_happy"], shown["share_sad"], shown["attention"]) == ("40.0", "10.0", "25.0")
    assert (shown["problem"], shown["pause"]) == ("OFF", "OFF")
    empty = rendered(announced(), {**state(camera="waiting"), "paused": True, "temperature": None})
    # What Home Assistant takes as unknown is "None".
    for key in ("dominant", "share_happy", "attention", "temperature"):
        assert empty[key] == "None", key
    assert (empty["people"], empty["problem"], empty["pause"]) == ("0", "ON", "ON")


def test_templates_of_a_camera_find_it_whatever_its_name():
    names = ("door", "till 'x' \\ ü 😀")
    told = state(people=3)
    told["cameras"] = [
        {"name": names[0], "state": "running", "reason": "", "people": 1, "fps": 5.0},
        {"name": names[1], "state": "waiting", "reason": "unplugged", "people": 2, "fps": 0.0},
    ]
    shown = rendered(announced(names), told)
    key = "camera_till_x"
    assert (shown["camera_door_people"], shown[f"{key}_people"]) == ("1", "2")
    assert (shown["camera_door_problem"], shown[f"{key}_problem"]) == ("OFF", "ON")
    assert shown["problem"] == "ON"
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Environment().from_string(announced(names)["cmps"]["problem"]["json_attr_tpl"])
    assert json.loads(template.render(value_json=told)) == {"reason": "unplugged"}


def test_availability_knows_online_from_the_two_others():
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Environment().from_string(announced()["avty_tpl"])
    assert [template.render(value=one) for one in ("online", "stopped", "offline")] == [
        "online",
        "offline",
        "offline",
    ]


def test_the_automations_of_the_example_are_about_entities_that_exist():
    example = REPOSITORY / "examples" / "home_assistant.yaml"
    if not example.exists():
        pytest.skip("no examples/ beside the tests")
    named = set(re.findall(r"\b((?:sensor|binary_sensor|switch)\.shop_\w+)", example.read_text()))
    assert len(named) == 3
    assert named <= {one["def_ent_id"] for one in announced(name="shop")["cmps"].values()}


# When it is told


@pytest.fixture
def presence(tmp_path):
    store = WrittenStore(tmp_path / "shop.db")
    broker, progress = FakeBroker(), Progress(tmp_path, PLACE, "shop")

    def begin(**options):
        link = broker.link(PLACE, "device")
        link.connect()
        speaker = Speaker("shop", Identity(ID, "first", "2026"), SHOP, ("door",), prefix="ha", **options)
        return Presence(link, speaker, state, FakeControl(), Stock(store.path), progress, Outbox(), 0.0)

    yield broker, begin
    store.close()


def test_it_is_told_at_each_connection_and_when_home_assistant_starts_and_never_kept(presence):
    broker, begin = presence
    topic = "ha/device/fer_edge_abababababab_shop/config"
    device = begin()
    device.step(1.0)
    assert broker.told(topic) == [announced(name="shop")]
    states = len(broker.told(SHOP["state"]))
    broker.say("ha/status", b"offline")
    broker.links["device"].turn(0)
    device.step(2.0)
    assert len(broker.told(topic)) == 1
    broker.say("ha/status", b"online")
    broker.links["device"].turn(0)
    device.step(3.0)
    assert len(broker.told(topic)) == 2
    assert len(broker.told(SHOP["state"])) == states + 1
    assert topic not in broker.retained


def test_what_is_not_there_any_more_is_taken_away_first(presence):
    broker, begin = presence
    topic = "ha/device/fer_edge_abababababab_shop/config"
    begin(pictures=True)
    begin(pictures=False)
    begin(pictures=False)
    first, going, gone, after = (one["cmps"] for one in broker.told(topic))
    assert first["camera_picture"]["p"] == "camera"
    assert going == {**gone, "camera_picture": {"p": "camera"}}
    assert gone == after == announced(name="shop")["cmps"]


# Home Assistant's own schemas

_FILES = (
    "homeassistant/const.py",
    "homeassistant/generated/entity_platforms.py",
    "homeassistant/helpers/config_validation.py",
    "homeassistant/components/sensor/const.py",
    "homeassistant/components/binary_sensor/const.py",
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The sources of Home Assistant that the schemas are in, and what they are made with; kept in build/."""
    folder = REPOSITORY / "build" / "home-assistant"
    if not (folder / "complete").exists():
        wheels = tmp_path_factory.mktemp("wheels")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        fetched = [
            [*pip, "download", "--no-deps", "--ignore-requires-python", "-d", str(wheels), "homeassistant"],
            [*pip, "install", "--target", str(folder), "voluptuous", "jinja2"],
        ]
        for command in fetched:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"Home Assistant cannot be had from PyPI: {done.stderr.strip()[-200:]}")
        (wheel,) = wheels.glob("homeassistant-*.whl")
        with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as packed:
            for name in packed.namelist():
                mqtt = name.startswith("homeassistant/components/mqtt/") and name.endswith(".py")
                if mqtt or name in _FILES:
                    packed.extract(name, folder)
        (folder / "complete").write_text(wheel.name)
    return folder


def judged(sources, payloads):
    """What Home Assistant's schemas say of announcements, each ``None`` where it is right."""
    program = Path(__file__).with_name("home_assistant.py")
    done = subprocess.run(
        [sys.executable, str(program), str(sources)],
        input=json.dumps(payloads),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(sources)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.services
def test_home_assistants_own_schemas_take_all_of_it(sources):
    assert judged(sources, [*VARIANTS.values()]) == [None] * len(VARIANTS)


@pytest.mark.services
def test_home_assistants_own_schemas_would_see_what_is_wrong(sources):
    def changed(key, without=None, **what):
        payload = json.loads(json.dumps(announced(pictures=True)))
        payload["cmps"][key] = {
            name: value for name, value in {**payload["cmps"][key], **what}.items() if name != without
        }
        return payload

    wrong = {
        "extra keys not allowed": changed("people", object_id="sensor.people"),
        "not allowed @ data['stat']": changed("people", stat="x"),
        "is not valid together": changed("temperature", unit_of_meas="K°"),
        "must be used together with device class": changed("people", stat_cla=None, ops=["a"]),
        "required key not provided @ data['state_topic']": changed("people", without="stat_t"),
        "required key not provided @ data['topic']": changed("camera_picture", without="t"),
        "required key not provided @ data['components']['people']['unique_id']": changed(
            "people", without="uniq_id"
        ),
        "expected SensorDeviceClass": changed("people", dev_cla="crowd"),
        "prefix:name": changed("people", ic="group"),
        "Wildcards cannot be used": changed("pause", cmd_t="a/+/b"),
        "identifying value": {**announced(), "dev": {"name": "shop"}},
        "required key not provided @ data['origin']": {
            key: value for key, value in announced().items() if key != "o"
        },
    }
    for said, told in zip(wrong, judged(sources, [*wrong.values()]), strict=True):
        assert told is not None, said
        assert said in told
