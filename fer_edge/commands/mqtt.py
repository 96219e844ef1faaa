"""``fer-edge mqtt``: what ``run --mqtt`` needs before and after it."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import OPTIONS, Config, load
from ..errors import DataError, OutputError, counted
from ..option import nonempty
from ._arguments import add_option
from ._mqtt import broker_of, name_of
from ._sources import camera_names

if TYPE_CHECKING:
    from ..control.broker import Broker

HELP = "Check an MQTT broker, print the announcement to Home Assistant, or remove a device."
EPILOG = """\
examples:
  fer-edge mqtt --check --mqtt mqtts://shop@broker.lan --mqtt-password-file shop.password
  fer-edge mqtt --print --mqtt mqtt://broker.lan --mqtt-name shop --camera 0
  fer-edge mqtt --remove --config /etc/fer-edge.toml

Options are those of fer-edge run, also from its file and environment. docs/mqtt.md has all topics.
Exit code: 0 done, 1 the broker is unreachable or refuses, or another device has the name; 2 bad input."""

_OPTIONS = tuple(name for name, one in OPTIONS.items() if one.group == "mqtt")
_NEEDED = (*_OPTIONS, "camera", "state_folder")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--check",
        action="store_true",
        help="connect, and say whether the broker accepts messages and the name is free",
    )
    what.add_argument("--print", action="store_true", help="print the announcement to Home Assistant as JSON")
    what.add_argument(
        "--remove",
        action="store_true",
        help="remove the device from Home Assistant, and its retained messages from the broker",
    )
    group = parser.add_argument_group("mqtt")
    for name in _NEEDED:
        if name in OPTIONS:
            add_option(group, OPTIONS[name], default=argparse.SUPPRESS)
    group.add_argument(
        "--config", type=nonempty, metavar="FILE", help="read options from this TOML file of fer-edge run"
    )


def execute(args: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit code."""
    from ..outputs.mqtt.link import require_paho

    flags = {name: value for name, value in vars(args).items() if name in OPTIONS}
    config = load(flags, os.environ, args.config or os.environ.get("FER_EDGE_CONFIG")).config
    if config.mqtt is None:
        raise DataError("no broker given: add --mqtt mqtt://HOST, or --config FILE with it")
    broker = broker_of(config)
    if args.print:
        print(json.dumps(_announcement(config, broker), indent=2, ensure_ascii=False))
        return 0
    require_paho()
    return (_check if args.check else _remove)(config, broker)


def _folder(config: Config) -> Path:
    from ..control.folder import state_folder

    return state_folder(config.state_folder)


def _announcement(config: Config, broker: Broker) -> dict[str, Any]:
    from ..outputs.mqtt import discovery
    from ..outputs.mqtt.progress import device_id
    from ..outputs.mqtt.topics import Topics

    name = name_of(config)
    return discovery.payload(
        device_id(_folder(config)),
        name,
        Topics.of(broker, name),
        camera_names(config),
        config.mqtt_camera is not None,
        discovery.expiry(config.mqtt_every),
    )


def _check(config: Config, broker: Broker) -> int:
    from ..outputs.mqtt.maintain import check

    name = name_of(config)
    found = check(broker, name, _folder(config))
    print(f"{broker.place}: accepts this device and its messages, MQTT {found.protocol}")
    if found.found.alive:
        other = found.found.identity
        who = "an unknown device" if other is None else f"the device with id {other.id[:12]}"
        if other is not None and other.id == found.own_id:
            print(f"{found.topics.base}: this device itself is online there")
            return 0
        raise OutputError(f"{found.topics.base}: {who} is online with this name; give another --mqtt-name")
    print(f"{found.topics.base}: the name is free")
    return 0


def _remove(config: Config, broker: Broker) -> int:
    from ..outputs.mqtt.maintain import remove

    name = name_of(config)
    topics = remove(broker, name, _folder(config), config.mqtt_discovery)
    if topics:
        told = f"{name} removed, with {counted(topics, 'retained topic')}"
    else:
        told = f"the broker holds nothing of a device {name}; give the --mqtt-name of its run"
    print(f"{broker.place}: {told}")
    return 0
