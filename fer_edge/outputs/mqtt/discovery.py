"""The announcement of a device to Home Assistant, by which its entities appear automatically.

By device-based discovery (Home Assistant 2024.11 and later,
https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ... import __version__
from ...labels import EMOTIONS
from .topics import AVAILABILITY, ONLINE, STATE, Topics, camera_parts, distinct

PREFIX = "homeassistant"
"""What topics of discovery begin with, where Home Assistant is not told otherwise."""

_URL = "https://pypi.org/project/fer-edge/"

_ICONS = {
    "angry": "mdi:emoticon-angry-outline",
    "disgust": "mdi:emoticon-sick-outline",
    "fear": "mdi:emoticon-frown-outline",
    "happy": "mdi:emoticon-happy-outline",
    "sad": "mdi:emoticon-sad-outline",
    "surprise": "mdi:emoticon-excited-outline",
    "neutral": "mdi:emoticon-neutral-outline",
}


def topic_of(prefix: str, device_id: str, name: str) -> str:
    """Where the device with that id and name is announced."""
    return f"{prefix}/device/{object_id(device_id, name)}/config"


def status_of(prefix: str) -> str:
    """Where Home Assistant tells that it has started."""
    return f"{prefix}/status"


def object_id(device_id: str, name: str) -> str:
    """What Home Assistant calls the device; begins the unique id of each entity.

    With the name, since a device may have two runs of different names.
    """
    return f"fer_edge_{device_id[:12]}_{_slug(name)}"


def expiry(every: float) -> int:
    """Seconds after which a state that is told ``every`` so many seconds is not believed any more."""
    return max(60, round(4 * every))


def payload(
    device_id: str,
    name: str,
    topics: Topics,
    cameras: Sequence[str],
    pictures: bool,
    expire_after: int,
    vanished: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The announcement of a device.

    ``cameras``: names; of several each gets entities of its own. ``pictures``: whether there are any.
    ``expire_after``: seconds after which a state that is not renewed is unknown. ``vanished``: components of
    an earlier announcement, with their platforms, which are to go.
    """
    components = {
        key: {**component, **_names(device_id, name, key, component)}
        for key, component in _components(topics, cameras, pictures, expire_after).items()
    }
    gone = {key: {"p": platform} for key, platform in (vanished or {}).items() if key not in components}
    return {
        "dev": {
            "ids": [object_id(device_id, name)],
            "name": name,
            "mf": "fer-edge",
            "mdl": "facial-expression recognition",
            "sw": __version__,
            "sn": device_id,
        },
        "o": {"name": "fer-edge", "sw": __version__, "url": _URL},
        "avty_t": topics[AVAILABILITY],
        # Of two payloads alone Home Assistant knows that a device is not there; this one has a third.
        "avty_tpl": "{{ 'online' if value == '" + ONLINE + "' else 'offline' }}",
        "cmps": {**gone, **components},
    }


def platforms(announced: Mapping[str, Any]) -> dict[str, str]:
    """The components of an announcement, each with its platform."""
    return {key: component["p"] for key, component in announced["cmps"].items() if len(component) > 1}


def _names(device_id: str, name: str, key: str, component: Mapping[str, Any]) -> dict[str, str]:
    return {
        "uniq_id": f"{object_id(device_id, name)}_{key}",
        "def_ent_id": f"{component['p']}.{_slug(name)}_{key}",
    }


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "fer_edge"


def _components(
    topics: Topics, cameras: Sequence[str], pictures: bool, expire_after: int
) -> dict[str, dict[str, Any]]:
    """All components by the end of their unique ids."""

    def sensor(name: str, template: str, icon: str, **more: Any) -> dict[str, Any]:
        return {
            "p": "sensor",
            "name": name,
            "stat_t": topics[STATE],
            "val_tpl": "{{ " + template + " }}",
            "exp_aft": expire_after,
            "ic": icon,
            **more,
        }

    def problem(name: str, states: str, reason: str) -> dict[str, Any]:
        return {
            "p": "binary_sensor",
            "name": name,
            "dev_cla": "problem",
            "ent_cat": "diagnostic",
            "stat_t": topics[STATE],
            "val_tpl": "{{ 'ON' if " + states + " else 'OFF' }}",
            "json_attr_t": topics[STATE],
            "json_attr_tpl": "{{ {'reason': " + reason + "} | tojson }}",
            "exp_aft": expire_after,
        }

    measured = {"stat_cla": "measurement"}
    percent = {"unit_of_meas": "%", "sug_dsp_prc": 0, **measured}
    found: dict[str, dict[str, Any]] = {
        "people": sensor("People", "value_json.people", "mdi:account-group", **measured),
        "people_today": sensor(
            "People today", "value_json.people_today", "mdi:account-clock", stat_cla="total_increasing"
        ),
        "dominant": sensor(
            "Dominant emotion", "value_json.dominant", "mdi:emoticon", dev_cla="enum", ops=list(EMOTIONS)
        ),
    }
    for emotion in EMOTIONS:
        share = f"(100 * value_json.emotions.{emotion}) | round(1) if value_json.emotions else none"
        found[f"share_{emotion}"] = sensor(emotion.capitalize(), share, _ICONS[emotion], **percent)
    attention = "(100 * value_json.attention) | round(1) if value_json.attention is not none else none"
    found["attention"] = sensor("Attention", attention, "mdi:eye", **percent)
    found["fps"] = sensor(
        "Frame rate",
        "value_json.fps",
        "mdi:speedometer",
        unit_of_meas="fps",
        sug_dsp_prc=1,
        ent_cat="diagnostic",
        **measured,
    )
    found["temperature"] = sensor(
        "Temperature",
        "value_json.temperature",
        "mdi:thermometer",
        dev_cla="temperature",
        unit_of_meas="°C",
        ent_cat="diagnostic",
        **measured,
    )
    waiting = "value_json.cameras | selectattr('state', 'eq', 'waiting')"
    found["problem"] = problem(
        "Problem", f"{waiting} | list", f"{waiting} | map(attribute='reason') | join('; ')"
    )
    found["pause"] = {
        "p": "switch",
        "name": "Pause recognition",
        "stat_t": topics[STATE],
        "val_tpl": "{{ 'ON' if value_json.paused else 'OFF' }}",
        "cmd_t": topics["pause/set"],
        "qos": 1,
        "ic": "mdi:eye-off",
    }
    parts = camera_parts(cameras)
    keys = _camera_keys(parts)
    if len(cameras) > 1:
        for camera, key in keys.items():
            own = f"value_json.cameras | selectattr('name', 'eq', {_literal(camera)})"
            state = f"({own} | first | default({{}}))"
            found[f"{key}_people"] = sensor(
                f"{camera} people", f"{state}.people", "mdi:account-group", **measured
            )
            found[f"{key}_fps"] = sensor(
                f"{camera} frame rate",
                f"{state}.fps",
                "mdi:speedometer",
                unit_of_meas="fps",
                sug_dsp_prc=1,
                ent_cat="diagnostic",
                **measured,
            )
            found[f"{key}_problem"] = problem(
                f"{camera} problem", f"{state}.state == 'waiting'", f"{state}.reason"
            )
    if pictures:
        for camera, key in keys.items():
            found[f"{key}_picture"] = {
                "p": "camera",
                "name": f"{camera} picture" if len(cameras) > 1 else "Picture",
                "t": topics.picture(parts[camera]),
            }
    return found


def _camera_keys(parts: Mapping[str, str]) -> dict[str, str]:
    """A part of unique ids for each camera; the only one is ``camera``, so that another in its place fits.

    ``parts``: those of topics, which may differ in nothing but case.
    """
    if len(parts) == 1:
        return dict.fromkeys(parts, "camera")
    keys = distinct([f"camera_{_slug(part)}" for part in parts.values()], "_")
    return dict(zip(parts, keys, strict=True))


def _literal(text: str) -> str:
    """``text`` in a template of Jinja."""
    return "'" + "".join(one if one.isalnum() or one == " " else f"\\U{ord(one):08x}" for one in text) + "'"
