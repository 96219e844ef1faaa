"""Options of a run that exclude each other, or do nothing without another."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..credentials import handed_over
from ..errors import DataError, SourceError
from .schema import OWN, REQUIRABLE, Config

LONGEST_STATS = 365 * 86400
"""Seconds; of much more, threads cannot wait."""


def refuse_contradictions(config: Config) -> None:
    """Raise DataError where options exclude each other, or are about an output that was not asked for."""
    _refuse_sources(config)
    _refuse_ranges(config)
    _refuse_files(config)
    _refuse_mqtt(config)
    _refuse_page(config)
    _refuse_store(config)


def _refuse_sources(config: Config) -> None:
    from ..sources.urls import without_secrets

    cameras = config.camera or [str(camera.config.source) for camera in config.cameras]
    if config.source is not None and cameras:
        raise DataError(
            f"give either a source ({without_secrets(config.source)}) or "
            f"--camera {without_secrets(cameras[0])}, not both"
        )
    if config.watch.password_file is not None and not config.cameras:
        _check_password(config.source or "".join(config.camera), config.watch.password_file)


def _refuse_ranges(config: Config) -> None:
    if config.stats is not None and not 1 <= config.stats <= LONGEST_STATS:
        most = f"at most {LONGEST_STATS} seconds, a year"
        bound = most if config.stats > LONGEST_STATS else "1 second or more"
        raise DataError(f"stats must be {bound}, got {config.stats:g}")
    if config.max_heat is not None and config.max_heat != 0 and not 30 <= config.max_heat <= 120:
        raise DataError(f"max_heat must be from 30 to 120 degrees, or 0, got {config.max_heat:g}")


def _refuse_files(config: Config) -> None:
    whole = [config, *(camera.config for camera in config.cameras)]
    jsonl, video, image = (
        {getattr(one, name) for one in whole} - {None} for name in ("jsonl", "save_video", "save_image")
    )
    if config.append and not jsonl:
        raise DataError("--append is for a --jsonl file")
    if config.append and config.force:
        raise DataError("--append adds to a --jsonl file, --force overwrites it; give one of them")
    if config.force and not jsonl | video | image:
        raise DataError("--force is for the files of --jsonl, --save-video and --save-image")
    if config.keep_files and not (jsonl | video) - {"-"}:
        raise DataError("--keep-files is for the files of --jsonl and --save-video")
    of_size = [limit.size is not None for limit in config.keep_files]
    if len(set(of_size)) < len(of_size):
        raise DataError("--keep-files takes one size and one age")
    asked = {"jsonl": jsonl, "video": video, "image": image, "store": config.store}
    for name in config.require:
        if not asked[name]:
            raise DataError(f"--require {name}: there is no such output; give {REQUIRABLE[name]}")


def _refuse_mqtt(config: Config) -> None:
    if config.mqtt is None:
        if given := _given(config, "mqtt_"):
            raise DataError(f"{given[0]} needs --mqtt mqtt://HOST")
        return
    from ..control.broker import parse_broker

    broker = parse_broker(config.mqtt)
    for name in ("mqtt_ca", "mqtt_cert"):
        if getattr(config, name) and not broker.tls:
            raise DataError(f"{OWN[name].flag} is for TLS; give --mqtt mqtts://{broker.place}")
    if config.mqtt_every < 1:
        raise DataError(f"--mqtt-every must be 1s or more, got {config.mqtt_every:g}s")
    if config.mqtt_password_file is not None:
        _check_password(config.mqtt, config.mqtt_password_file, "--mqtt-password-file", "mqtt[s]://USER@HOST")


def _refuse_page(config: Config) -> None:
    if not 0 < config.page_fps <= 30:
        raise DataError(f"--page-fps must be more than 0 and at most 30; got {config.page_fps:g}")
    if config.page is None and (given := _given(config, "page_")):
        raise DataError(f"{given[0]} needs --page HOST:PORT")


def _refuse_store(config: Config) -> None:
    if config.gpio_button and not config.store:
        raise DataError("--gpio-button marks events in a store; add --store FILE.db")
    if config.events and not config.store:
        raise DataError("--events are recorded in a store; add --store FILE.db")


def _given(config: Config, prefix: str) -> list[str]:
    """The flags of options whose names begin with ``prefix`` and whose values are not the defaults."""
    return [
        one.flag
        for name, one in OWN.items()
        if name.startswith(prefix) and getattr(config, name) != one.default
    ]


def _check_password(source: str, file: str | os.PathLike[str], *names: str) -> None:
    """Raise DataError where ``file`` does not give the password of ``source``."""
    from ..sources.password import with_password

    # What can be read only once, as a pipe, is read where the stream is opened. Of a folder that may not be
    # entered, with_password tells.
    with contextlib.suppress(PermissionError):
        place = handed_over(Path(file))
        if place.exists() and not place.is_file():
            return
    try:
        with_password(source, file, *names)
    except SourceError as error:
        raise DataError(str(error).removeprefix(": ")) from error
