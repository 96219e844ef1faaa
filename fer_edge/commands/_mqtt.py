"""The broker of a configuration, and what a run publishes there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..config import Config
from ..errors import DataError
from ._beside import Beside, OpenRun

if TYPE_CHECKING:
    from ..control.broker import Broker
    from ..outputs.mqtt.picture import Pixels
    from ._outputs import Watched


def broker_of(config: Config) -> Broker:
    """The broker of ``--mqtt``, with all that is needed to be let in; errors as for its namesake."""
    from ..control import broker

    assert config.mqtt is not None
    return broker.broker_of(config.mqtt, config.mqtt_password_file, config.mqtt_ca, config.mqtt_cert)


def name_of(config: Config) -> str:
    """What the device is called at the broker."""
    from ..outputs.mqtt.topics import default_name

    return config.mqtt_name or default_name()


def broker_for(config: Config, cameras: Sequence[Watched]) -> Broker | None:
    """The broker of a run over ``cameras``, ``None`` without ``--mqtt``; finds out what is wrong with it.

    Raises :class:`~fer_edge.errors.DataError` where its options or the sources do not fit, and
    :class:`~fer_edge.errors.MissingExtraError` without paho-mqtt. That it is not there is no error.
    """
    if config.mqtt is None:
        return None
    from ..control.broker import tls_context
    from ..control.folder import state_folder
    from ..outputs.mqtt.link import require_paho

    require_paho()
    for camera in cameras:
        if not camera.watch.source.related:
            raise DataError(f"--mqtt: {camera.label} has no times, so nobody can be tracked; use --jsonl")
    if config.store is None:
        raise DataError("--mqtt: cameras and films need separate runs, since their times differ")
    broker = broker_of(config)
    if broker.tls:
        # Files that are no certificates are reported now, not when the broker answers.
        tls_context(broker)
    state_folder(config.state_folder)
    return broker


def add_mqtt(beside: Beside, run: OpenRun) -> None:
    """Begin to publish at ``run.broker`` how the run goes.

    Raises :class:`~fer_edge.errors.DataError` where the state folder cannot be used.
    """
    if run.broker is None:
        return
    from ..control.folder import state_folder
    from ..outputs.mqtt.output import MqttOutput
    from ..outputs.mqtt.publisher import Publisher, Telling

    assert run.figures is not None, "a run with a broker has figures"
    config, control, snapshot = run.config, run.control, run.figures.snapshot
    assert config.store is not None, "a run with a broker keeps a store"
    telling = Telling(
        run.broker,
        name_of(config),
        state_folder(config.state_folder),
        Path(config.store),
        control.cameras,
        config.mqtt_every,
        config.mqtt_discovery,
        config.mqtt_camera is not None,
    )

    def make() -> Publisher:
        return Publisher(telling, snapshot, control)

    only = control.cameras[0] if len(control.cameras) == 1 else None
    pictures = cast("Pixels | None", config.mqtt_camera)
    output = MqttOutput(make, run.live, pictures, config.unsure, only, config.mqtt_every)
    control.on_change(output.changed)
    beside.store_readers.append(output.set_store)
    beside.slow.append(output)
