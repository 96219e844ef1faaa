"""The configuration of ``fer-edge run``: every option, from flags, environment, a TOML file, or its default.

An option is one field: here where it concerns the source's name or an output, in
:class:`~fer_edge.pipeline.options.WatchOptions` where it concerns the loop. Of the field
(:func:`fer_edge.option.option`) are made its flag, its key in the file, its environment variable, its line in
``--print-config`` and its row in docs/configuration.md.

**The file** is flat: ``min_score = 0.8`` is ``--min-score 0.8`` and ``FER_EDGE_MIN_SCORE=0.8``. Values of the
right TOML type are then parsed as the flag's text is, so that they obey the same limits.

**Several cameras** are an array of tables, or ``--camera`` given more than once; one process reads them::

    min_score = 0.8                 # of all cameras that say nothing else
    jsonl = "/var/lib/fer-edge/all.jsonl"

    [[camera]]
    name = "door"                   # what results, file names and messages call it; needed, unique
    source = 0                      # whatever SOURCE or --camera takes
    rotate = 180
    region = [0.1, 0.0, 0.9, 1.0]   # left, top, right, bottom in parts of the turned picture
    mask = [[[0.0, 0.0], [0.3, 0.0], [0.3, 1.0]]]   # polygons in parts of it; faces in them are ignored
    save_video = "door.mp4"

    [[camera]]
    name = "till"
    source = "rtsp://viewer@192.168.1.20/stream"
    password_file = "/etc/fer-edge/till.password"

``[[camera]]`` excludes the keys ``source`` and ``camera`` (TOML itself refuses the latter); SOURCE and
``--camera`` displace the tables. A table takes ``name`` and the options of :data:`TABLE`: all that is no
matter of the one detector and classifier or of the whole run. What it does not say it has from the keys above
the tables, except ``jsonl``: that above gets the results of all cameras, a table's those of its camera alone.
``save_video`` and ``save_image`` above give each camera that has none a file of its own, with the name added.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .config_checks import REQUIRABLE, refuse_contradictions
from .control.folder import state_path
from .defaults import KEEP, KEEP_DETAIL, KEEP_FREE
from .errors import DataError, FerEdgeError, printable
from .files import is_folder
from .log import LEVELS
from .option import (
    ADDRESS,
    BYTES,
    CAMERA,
    COUNT,
    DAYS,
    DURATION,
    FILE_LIMIT,
    MASK,
    NAME,
    NUMBER,
    ON_OFF,
    PREFIX,
    REGION,
    TWO_FILES,
    Address,
    FileLimit,
    Kind,
    Option,
    nonempty,
    option,
    options_of,
)
from .pipeline.options import SHARED, WatchOptions
from .toml_text import KeyPath, key_lines, toml

GROUPS = ("source", "output", "control", "page", "mqtt", "classifier", "faces")
"""The headings of options, in the order of the help."""

RESERVED = frozenset({f"{PREFIX}BIN", f"{PREFIX}CONFIG", f"{PREFIX}DEBUG", f"{PREFIX}PURE"})
"""Environment variables that are no options of a run."""

DEFAULT_NAME = "default"
"""What a run is called that was given no name."""

SHOWING = ("page", "mqtt")
"""Options that show what only a store knows."""

_log = logging.getLogger(__name__)


class ConfigError(FerEdgeError, ValueError):
    """A configuration file or environment variable is not what it should be."""

    exit_code = os.EX_CONFIG


def _jsonl_file(text: str) -> str:
    """An argparse type: a file to write to, and not the picture that was to be read."""
    from .sources.headers import HEAD_BYTES, picture_kind

    path = Path(nonempty(text))
    head = b""
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    if path.is_dir() or picture_kind(head) is not None:
        kind = "folder" if path.is_dir() else "picture"
        raise argparse.ArgumentTypeError(
            f"{text!r} is a {kind}, not a file for JSON lines; for stdout give --jsonl - or put --jsonl at "
            "the end of the line"
        )
    return text


def _broker(text: str) -> str:
    """An argparse type: the URL of an MQTT broker."""
    from .control.broker import parse_broker

    try:
        parse_broker(nonempty(text))
    except DataError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _device_name(text: str) -> str:
    """An argparse type: what a device is called."""
    if not text.strip() or len(text) > 64 or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no name of a device: 1 to 64 printable characters")
    return text.strip()


def _topic_prefix(text: str) -> str:
    """An argparse type: what topics begin with."""
    if not re.fullmatch(r"[^+#/\0]+(/[^+#/\0]+)*", text) or text.startswith("$"):
        raise argparse.ArgumentTypeError(f"{text!r} is no prefix of topics such as homeassistant")
    return text


def _prom_file(text: str) -> str:
    """An argparse type: a file that the node exporter reads."""
    if Path(nonempty(text)).suffix != ".prom":
        raise argparse.ArgumentTypeError(
            f"{text!r} does not end in .prom; the node exporter reads no other files"
        )
    return text


@dataclass(frozen=True)
class Config:
    """What a run is to do."""

    source: str | None = option(
        None,
        "source",
        "read an image, folder, video file, rtsp/http URL, or pipe (-: standard input)",
        metavar="SOURCE",
        positional=True,
        instead_of=("camera",),
    )
    camera: tuple[str, ...] = option(
        (),
        "source",
        "read a camera: N of /dev/videoN, usb:VENDOR:PRODUCT[:SERIAL], a path such as those in "
        "/dev/v4l/by-id, picamera2, or demo (without a value: 0); given more than once, read all of them, "
        "streams and files as well",
        CAMERA,
        metavar="CAMERA",
        alone="0",
        instead_of=("source",),
    )
    jsonl: str | None = option(
        None,
        "output",
        "write one JSON object a frame; - or no FILE, at the end of the line, is stdout",
        Kind("a file", _jsonl_file),
        metavar="FILE",
        alone="-",
        reloads=True,
    )
    append: bool = option(
        False, "output", "add to a --jsonl file that has content", instead_of=("force",), reloads=True
    )
    force: bool = option(False, "output", "overwrite files that exist", instead_of=("append",), reloads=True)
    save_video: str | None = option(
        None,
        "output",
        "write an annotated video: .mp4, .avi or .mkv; a camera or stream adds the time to the name",
        metavar="FILE",
        reloads=True,
    )
    segment: float = option(
        600.0,
        "output",
        "start a new --save-video file after this time: 30s, 10m, 1h (default: %(default)s)",
        DURATION,
        metavar="TIME",
        reloads=True,
    )
    save_image: str | None = option(
        None,
        "output",
        "write the annotated last frame; given a folder (existing, or with a / at its end), each image "
        "as NAME.png",
        metavar="FILE",
        reloads=True,
    )
    store: str | None = option(
        None,
        "output",
        "count visits and minutes into this SQLite file, which fer-edge store reads",
        metavar="FILE",
        reloads=True,
    )
    keep: float = option(
        KEEP,
        "output",
        "delete visits and minutes from --store after so many days (default: %(default)s)",
        DAYS,
        metavar="DAYS",
    )
    keep_detail: float = option(
        KEEP_DETAIL,
        "output",
        "delete the seconds of sessions from it after so many days (default: %(default)s)",
        DAYS,
        metavar="DAYS",
    )
    keep_files: tuple[FileLimit, ...] = option(
        (),
        "output",
        "delete the oldest files of --save-video and --jsonl above a size (20G) or age (30d); give it twice "
        "for both. JSON lines then begin a new file each day and 100 MB",
        FILE_LIMIT,
        metavar="LIMIT",
        reloads=True,
    )
    keep_free: int = option(
        KEEP_FREE,
        "output",
        "with --keep-files, delete the oldest also where less than this is free (default: %(default)s)",
        BYTES,
        metavar="SIZE",
        reloads=True,
    )
    require: tuple[str, ...] = option(
        (),
        "output",
        "end the run when this output fails, instead of going on and retrying",
        choices=tuple(REQUIRABLE),
        reloads=True,
    )
    events: str | None = option(
        None,
        "control",
        "record in --store what was shown when, by this CSV file (columns time or offset, name, group)",
        metavar="FILE",
    )
    gpio_button: str | None = option(
        None,
        "control",
        "mark an event when a button between this GPIO pin and ground is pressed (extra [gpio])",
        metavar="PIN",
    )
    name: str = option(
        DEFAULT_NAME,
        "control",
        "name the run, for the --run of fer-edge session, pause and resume (default: %(default)s)",
        NAME,
        metavar="NAME",
    )
    state_folder: str | None = option(
        None,
        "control",
        "keep in this folder what outlasts the run, such as a pause and drawn masks (default: %(default)s)",
        metavar="DIR",
        shown="~/.local/state/fer-edge, or what systemd gives",
    )
    window: bool = option(False, "output", "show the annotated frames; q quits")
    unsure: bool = option(
        True,
        "output",
        'say "unsure" of faces on which people would disagree (default: on); JSON lines always record it',
        ON_OFF,
        metavar="on|off",
        reloads=True,
    )
    stats: float | None = option(
        None,
        "output",
        "log rate, latency, losses, memory and heat every S seconds",
        NUMBER,
        metavar="SECONDS",
    )
    mqtt: str | None = option(
        None,
        "mqtt",
        "publish state and figures at this MQTT broker, and take commands there: "
        "mqtt://[USER@]HOST[:PORT][/PREFIX] or, for TLS, mqtts://…; docs/mqtt.md has the topics "
        "(extra [mqtt])",
        Kind("the URL of a broker", _broker),
        metavar="URL",
    )
    mqtt_name: str | None = option(
        None,
        "mqtt",
        "call this device by this name in topics and Home Assistant (default: %(default)s)",
        Kind("the name of a device", _device_name),
        metavar="NAME",
        shown="the host name",
    )
    mqtt_password_file: str | None = option(
        None, "mqtt", "read the password of the user in --mqtt from this file's first line", metavar="FILE"
    )
    mqtt_ca: str | None = option(
        None,
        "mqtt",
        "trust the certificates in this PEM file, instead of those that the system trusts",
        metavar="FILE",
    )
    mqtt_cert: tuple[str, str] | None = option(
        None,
        "mqtt",
        "identify to the broker with this certificate and its key: two PEM files",
        TWO_FILES,
        metavar="CERT,KEY",
    )
    mqtt_every: float = option(
        5.0,
        "mqtt",
        "publish the state at least this often, and also when people come or go (default: %(default)s)",
        DURATION,
        metavar="TIME",
    )
    mqtt_discovery: str | None = option(
        None,
        "mqtt",
        "announce this device to Home Assistant under this discovery prefix (without a value: homeassistant)",
        Kind("a prefix of topics", _topic_prefix),
        metavar="PREFIX",
        alone="homeassistant",
    )
    mqtt_camera: str | None = option(
        None,
        "mqtt",
        "publish a picture of each camera at the same interval, wholly pixelated unless full is given",
        metavar="blurred|full",
        choices=("blurred", "full"),
        alone="blurred",
    )
    metrics: str | None = option(
        None,
        "output",
        "write figures for Prometheus to this .prom file, for the node exporter's textfile collector; "
        "--page serves them as well",
        Kind("a file", _prom_file),
        metavar="FILE",
    )
    log_level: str = option(
        "info", "output", "show messages from this level on (default: %(default)s)", choices=LEVELS
    )
    max_heat: float | None = option(
        None,
        "source",
        "halve the rate while the processor has so many degrees Celsius, or too little voltage; 0: never "
        "(default: %(default)s)",
        NUMBER,
        metavar="DEGREES",
        shown="80 on a Raspberry Pi, 0 elsewhere",
    )
    page: Address | None = option(
        None,
        "page",
        "serve a live page with the picture and all figures at this address; :PORT is for this machine only",
        ADDRESS,
        metavar="HOST:PORT",
    )
    page_picture: str | None = option(
        None,
        "page",
        "show the picture on the page as it is, pixelated as a whole, or not at all (default: %(default)s)",
        choices=("off", "blurred", "full"),
        shown="full for this machine only, else blurred",
    )
    page_fps: float = option(
        10.0,
        "page",
        "send at most this many pictures a second (default: %(default)s)",
        NUMBER,
        metavar="FPS",
    )
    page_viewers: int = option(
        10,
        "page",
        "let at most this many viewers watch at a time (default: %(default)s)",
        COUNT,
        metavar="N",
    )
    page_tls: tuple[str, str] | None = option(
        None,
        "page",
        "serve the page over TLS, with the certificate (and its chain) and the key in these PEM files",
        TWO_FILES,
        metavar="CERT,KEY",
    )
    page_host: tuple[str, ...] = option(
        (),
        "page",
        "answer to this host name as well, such as that of a reverse proxy",
        metavar="NAME",
    )
    page_token_file: str | None = option(
        None,
        "page",
        "read the token that opens the page from this file, and require it on this machine as well",
        metavar="FILE",
    )
    watch: WatchOptions = field(default_factory=WatchOptions)
    """Options of the loop."""
    cameras: tuple[CameraConfig, ...] = ()
    """Several cameras, where there are any, with what each has for itself."""


@dataclass(frozen=True)
class CameraConfig:
    """One of several cameras."""

    name: str
    config: Config
    """Of this camera alone: its source, its options of the loop and its own outputs."""


_OWN, _OF_WATCH = options_of(Config), options_of(WatchOptions)

OPTIONS: dict[str, Option] = {
    name: one for group in GROUPS for name, one in {**_OWN, **_OF_WATCH}.items() if one.group == group
}
"""Every option of ``fer-edge run`` by its name, in the order of its help."""


@dataclass(frozen=True)
class Setting:
    """The value of an option, and where it comes from."""

    value: Any
    origin: str = "default"
    """``default``, ``--flag``, ``FER_EDGE_VARIABLE``, or the file and line."""
    rank: int = 0
    """0 default, 1 file, 2 environment, 3 flag: the highest wins."""


_OWN_OUTPUTS = frozenset({"jsonl", "append", "force", "save_video", "segment", "save_image"})

TABLE: frozenset[str] = frozenset(
    name
    for name, one in OPTIONS.items()
    if name in _OWN_OUTPUTS
    or (
        one.group not in ("output", "control", "page", "mqtt", "classifier")
        and name not in SHARED
        and name not in ("camera", "max_heat")
    )
)
"""Options that a camera may have for itself."""


@dataclass(frozen=True)
class Table:
    """A camera as the file, or a flag of its own, names it."""

    name: str
    settings: Mapping[str, Setting]
    """What it says of itself."""
    origin: Setting
    """Where it is named."""


@dataclass(frozen=True)
class Loaded:
    """A configuration, and where each of its values comes from."""

    config: Config
    settings: Mapping[str, Setting]
    """All options by name, in the order of :data:`OPTIONS`."""


def load(flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None = None) -> Loaded:
    """Put a configuration together.

    ``flags``: parsed values by option name, of the flags that were given. ``file``: path of a TOML file.

    Raises :class:`ConfigError` for a file that cannot be read, for a key or variable that is unknown, has the
    wrong type or is out of range, and for options that exclude each other where not all are flags;
    ``ValueError`` where all are.
    """
    settings = {name: Setting(one.default) for name, one in OPTIONS.items()}
    layers = [dict(_from_file(Path(file))) if file else {}, dict(_from_environment(environment))]
    layers.append(
        {
            name: Setting(tuple(value) if one.many else value, (not value and one.off) or one.flag, 3)
            for name, value in flags.items()
            for one in [OPTIONS[name]]
        }
    )
    for layer in layers:
        for name, setting in layer.items():
            # Those of one layer exclude each other, which is checked below.
            for other in OPTIONS[name].instead_of if setting.value != OPTIONS[name].default else ():
                settings[other] = Setting(OPTIONS[other].default)
        settings |= layer
    values = {name: setting.value for name, setting in settings.items()}
    try:
        tables = _tables(settings)
        config = _config(values | {"camera": () if tables else values["camera"]})
        cameras = tuple(CameraConfig(table.name, _of_camera(table, settings)) for table in tables)
        shown = any(vars(config).get(name) for name in SHOWING)
        config = with_store(replace(config, cameras=cameras), shown)
        refuse_contradictions(config, _OWN)
    except ConfigError:
        raise
    except ValueError as error:
        places = [
            f"{name}: {setting.origin}"
            for name, setting in settings.items()
            if setting.rank in (1, 2) and re.search(rf"{OPTIONS[name].flag}\b|\b{name}\b", str(error))
        ]
        if not places:
            raise
        raise ConfigError(f"{error} ({', '.join(places)})") from error
    return Loaded(config, settings)


def with_store(config: Config, shown: bool) -> Config:
    """Return ``config`` with a store in the state folder where it is ``shown`` and none is named."""
    if config.store or not shown:
        return config
    return replace(config, store=os.fspath(state_path(config.state_folder) / "store.db"))


def _config(values: Mapping[str, Any]) -> Config:
    watch = WatchOptions(**{name: values[name] for name in _OF_WATCH})
    return Config(**{name: values[name] for name in _OWN}, watch=watch)


def _tables(settings: Mapping[str, Setting]) -> list[Table]:
    """The cameras of a configuration that has several."""
    camera = settings["camera"]
    if camera.value and isinstance(camera.value[0], Table):
        return list(camera.value)
    if len(camera.value) < 2:
        return []
    names = _names(camera.value)
    return [
        Table(name, {"source": replace(camera, value=source)}, camera)
        for name, source in zip(names, camera.value, strict=True)
    ]


def _names(sources: Iterable[str]) -> list[str]:
    """A name for each of several cameras that have none; ``demo 2`` for the second of the same."""
    from .sources.urls import without_secrets

    names: list[str] = []
    for source in sources:
        plain = f"camera {source}" if source.isdecimal() else without_secrets(source)
        same = sum(name == plain or name.startswith(f"{plain} ") for name in names)
        names.append(f"{plain} {same + 1}" if same else plain)
    return names


def _said(table: Table, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """What a camera's table says and no flag or variable displaces; its source and outputs are its own."""
    return {
        name: setting
        for name, setting in table.settings.items()
        if settings[name].rank < 2 or name in ("source", *_OWN_OUTPUTS)
    }


def _of_camera(table: Table, settings: Mapping[str, Setting]) -> Config:
    """What a camera has for itself: what its table says, and all else but outputs from above."""
    from .sources.password import takes_password

    values = {name: setting.value for name, setting in settings.items()}
    said = {name: setting.value for name, setting in _said(table, settings).items()}
    above = {**values, "camera": (), "jsonl": None, "require": ()}
    above |= {name: one.default for name, one in OPTIONS.items() if one.group == "mqtt"}
    for name in ("save_video", "save_image"):
        above[name] = _for_camera(values[name], table.name)
    if not takes_password(said["source"]):
        above["password_file"] = None
    # What is said above of files holds for those of this camera, where it has any.
    if not said.get("jsonl"):
        above["append"] = False
    if not any((above | said)[name] for name in ("jsonl", "save_video", "save_image")):
        above["force"] = False
    if not any((above | said)[name] for name in ("jsonl", "save_video")):
        above["keep_files"] = ()
    try:
        config = _config(above | said)
        refuse_contradictions(config, _OWN)
    except ValueError as error:
        told = f"camera {table.name!r}: {error}"
        place = f"{table.origin.origin}: " if table.origin.rank == 1 else ""
        raise (ConfigError if place else DataError)(f"{place}{told}") from error
    return config


def _for_camera(target: str | None, name: str) -> str | None:
    """The file of one camera where all were given the same: its name is added; a folder takes them all."""
    if target is None or is_folder(target):
        return target
    path, plain = Path(target), re.sub(r"[^\w.-]+", "-", name).strip("-")
    return str(path.with_stem(f"{path.stem}-{plain}"))


@dataclass(frozen=True)
class Reloaded:
    """What a run goes on with after its configuration was read again."""

    config: Config
    """The one before, with what has changed and needs no restart."""
    changed: tuple[str, ...]
    """Options that differ from before."""
    left: tuple[str, ...]
    """Options that are to be others, but need a restart."""


def reloaded(running: Config, wanted: Config) -> Reloaded:
    """Change as much of a ``running`` configuration into the ``wanted`` one as a run that goes on can."""
    changed, left = [], []
    taken: dict[bool, dict[str, Any]] = {False: {}, True: {}}
    for name, one in OPTIONS.items():
        of_watch = name in _OF_WATCH
        before, after = (getattr(config.watch if of_watch else config, name) for config in (running, wanted))
        if before != after and one.reloads:
            taken[of_watch][name] = after
            changed.append(name)
        elif before != after:
            left.append(name)
    cameras = running.cameras
    if [camera.name for camera in cameras] != [camera.name for camera in wanted.cameras]:
        left.append("camera")
    else:
        pairs = [*zip(cameras, wanted.cameras, strict=True)]
        news = [reloaded(before.config, after.config) for before, after in pairs]
        cameras = tuple(replace(camera, config=new.config) for camera, new in zip(cameras, news, strict=True))
        for camera, new in zip(cameras, news, strict=True):
            changed += [f"{camera.name}: {name}" for name in new.changed if name not in changed]
            left += [f"{camera.name}: {name}" for name in new.left if name not in left]
    watch = replace(running.watch, **taken[True])
    config = replace(running, **taken[False], watch=watch, cameras=cameras)
    return Reloaded(config, tuple(changed), tuple(left))


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    """The options set by variables; one that is empty counts as not set."""
    variables = {one.variable: one for one in OPTIONS.values()}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in RESERVED:
            continue
        if variable not in variables:
            near = difflib.get_close_matches(variable, variables, 1, cutoff=0.85)
            if near:
                raise ConfigError(f"{variable}: there is no such variable; did you mean {near[0]}?")
            _log.warning("%s: fer-edge has no such option; ignored", variable)
        elif text:
            one = variables[variable]
            parts = text.split(one.kind.separator) if one.many else [text]
            texts = [part.strip() for part in parts]
            yield one.name, Setting(_checked(one, texts, variable), variable, 2)


def _from_file(path: Path) -> Iterator[tuple[str, Setting]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}, byte {error.start}: not UTF-8, which TOML has to be") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; --config wants a TOML file") from error
    try:
        # Of a fault in a last line without an end tomllib tells only that it is at the end.
        table = tomllib.loads(f"{text}\n")
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        told, line, column = found.groups() if found else (str(error), None, None)
        place = f"{path}, line {line}, column {column}" if line else f"{path}, at its end"
        raise ConfigError(
            f"{place}: no valid TOML: {told}{_toml_remedy(told, text, line, column)}"
        ) from error
    lines = key_lines(text) if table else {}
    for key, value in table.items():
        place = f"{path}, line {lines[(key,)]}"
        if key not in OPTIONS:
            raise ConfigError(f"{place}: {_unknown(key, value)}")
        if key == "camera" and isinstance(value, dict):
            raise ConfigError(f"{place}: the table of a camera is [[camera]], with two brackets")
        if key == "source" and type(value) is int:
            raise ConfigError(f"{place}: source: must be a text; the number of a camera is camera = {value}")
        if (
            key == "camera"
            and isinstance(value, list)
            and value
            and all(isinstance(one, dict) for one in value)
        ):
            yield key, Setting(tuple(_from_tables(value, path, lines)), place, 1)
        else:
            yield key, _from_key(key, value, place)


def _toml_remedy(told: str, text: str, line: str | None, column: str | None) -> str:
    if told == "Invalid value" and line and column:
        value = text.splitlines()[int(line) - 1][int(column) - 1 :]
        if value[:1].isalpha() or value.startswith(("/", ".")):
            return "; texts stand in quotes"
    if told.startswith("Cannot") and re.search(r"^\s*\[\s*camera\s*\]", text, re.MULTILINE):
        return "; the table of a camera is [[camera]], with two brackets"
    return ""


def _from_key(key: str, value: Any, place: str) -> Setting:
    one = OPTIONS[key]
    texts = list(_texts(one, value, f"{place}: {key}"))
    return Setting(_checked(one, texts, f"{place}: {key}"), place, 1)


def _from_tables(tables: list[dict[str, Any]], path: Path, lines: Mapping[KeyPath, int]) -> Iterator[Table]:
    """The cameras of the tables ``[[camera]]``."""
    names: set[str] = set()
    for number, table in enumerate(tables):
        at = f"{path}, line {lines[('camera', number)]}"
        name = table.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f'{at}: a camera needs a name, as in name = "door"')
        if name in names:
            raise ConfigError(f"{at}: there are two cameras with the name {name!r}")
        names.add(name)
        settings: dict[str, Setting] = {}
        for key, value in table.items():
            place = f"{path}, line {lines[('camera', number, key)]}"
            if key == "name":
                continue
            if key not in TABLE:
                raise ConfigError(f"{place}: camera {name!r}: {_not_of_a_camera(key, value)}")
            numbered = key == "source" and type(value) is int
            settings[key] = _from_key(key, str(value) if numbered else value, place)
        if "source" not in settings:
            raise ConfigError(f"{at}: camera {name!r} needs a source, as in source = 0")
        yield Table(name, settings, Setting(name, at, 1))


def _not_of_a_camera(key: str, value: Any) -> str:
    if key in OPTIONS:
        return f"{key} is the same for all cameras; it goes above the first [[camera]]"
    return _unknown(key, value, ["name", *TABLE])


def _unknown(key: str, value: Any, known: Iterable[str] = OPTIONS) -> str:
    inside = isinstance(value, dict) and any(name in OPTIONS for name in value)
    near = difflib.get_close_matches(key.lower().replace("-", "_"), sorted(known), 1)
    if inside:
        remedy = "keys stand in no table; leave its heading out"
    elif near:
        remedy = f"did you mean {near[0]}?"
    else:
        remedy = "fer-edge run --print-config lists all"
    return f"unknown {'table' if isinstance(value, dict) else 'key'} {key!r}; {remedy}"


_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}


_AS_IN = {REGION: "[0.1, 0, 0.9, 1]", MASK: "[[[0, 0], [0.3, 0], [0.3, 1]]]"}
"""Values in TOML whose form is not told by a word."""


def _type_told(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _TYPES.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


def _texts(one: Option, value: Any, place: str) -> Iterator[str]:
    """The texts that stand for a TOML value; raises :class:`ConfigError` where its type is wrong."""
    if one.kind is CAMERA and not isinstance(value, list):
        value = [value]
    as_in = _AS_IN.get(one.kind)
    if as_in and not isinstance(value, list):
        raise ConfigError(f"{place}: must be {one.kind.told}, as in {as_in}, not {_type_told(value)}")
    if one.many and not isinstance(value, list):
        written = f', as in ["{value}"]' if isinstance(value, str) else ""
        raise ConfigError(f"{place}: must be a list of texts{written}, not {_type_told(value)}")
    for part in value if one.many else [value]:
        if as_in and not isinstance(part, list):
            raise ConfigError(
                f"{place}: must be {one.kind.told}, as in {as_in}, not one with {_type_told(part)}"
            )
        if type(part) not in one.kind.toml:
            wanted = [_TYPES[kind] for kind in one.kind.toml if kind is not int or float not in one.kind.toml]
            told = " or ".join(wanted) + f", not {_type_told(part)}"
            if one.many:
                told = f"a list of texts, not one with {_type_told(part)}"
            raise ConfigError(f"{place}: must be {told}")
        try:
            yield ("off", "on")[part] if isinstance(part, bool) else one.kind.text(part)
        except TypeError as error:
            if as_in:
                raise ConfigError(f"{place}: {value!r} is not {one.kind.told}, as in {as_in}") from error
            raise ConfigError(f"{place}: {part!r} is not {one.kind.told}") from error


def _checked(one: Option, texts: Iterable[str], place: str) -> Any:
    """The value of an option from the ``texts`` that it was given; raises :class:`ConfigError`."""
    values = tuple(_parsed(one, text, place) for text in texts)
    value: Any = values if one.many else values[0]
    if one.name in _OF_WATCH:
        alone: dict[str, Any] = {one.name: value}
        try:
            WatchOptions(**alone)
        except ValueError as error:
            named = one.name in str(error)
            raise ConfigError(
                f"{place.removesuffix(f': {one.name}') if named else place}: {error}"
            ) from error
    return value


def _parsed(one: Option, text: str, place: str) -> Any:
    try:
        value = one.kind.parse(text)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{place}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{place}: {text!r} is not {one.kind.told}") from error
    if one.choices and value not in one.choices and value != one.default:
        choices = [str(choice) for choice in one.choices]
        near = difflib.get_close_matches(text, choices, 1)
        remedy = f"did you mean {near[0]}?" if near else f"choose from {', '.join(choices)}"
        raise ConfigError(f"{place}: there is no {text!r}; {remedy}")
    return value


def to_toml(loaded: Loaded) -> str:
    """The configuration as a TOML file that :func:`load` reads, with the origin of each value as a comment.

    Users, passwords and tokens in URLs are left out, and the comment says so. Raises DataError for a text
    that is not Unicode, as names of files may be.
    """
    lines = ["# fer-edge run: flags, then environment, then file, then defaults"]
    tables = _tables(loaded.settings)
    for group in GROUPS:
        lines += ["", f"# {group}"]
        for name, setting in loaded.settings.items():
            if OPTIONS[name].group != group:
                continue
            if name == "camera" and tables:
                lines.append(f"# camera: {len(tables)}, see below ({printable(setting.origin)})")
            else:
                lines.append(_written(name, setting))
    for table in tables:
        lines += ["", "[[camera]]", f"name = {toml(table.name)}"]
        said = _said(table, loaded.settings)
        for name, setting in table.settings.items():
            displaced = f"# {name}: see above ({printable(loaded.settings[name].origin)})"
            lines.append(_written(name, setting) if name in said else displaced)
    return "\n".join(lines)


def _written(name: str, setting: Setting) -> str:
    from .sources.urls import without_secrets

    value, origin = OPTIONS[name].written(setting.value), printable(setting.origin)
    if value is None:
        return f"# {name}: none ({origin})"
    texts = value if isinstance(value, list) else [value]
    plain = [without_secrets(text) if isinstance(text, str) else text for text in texts]
    if plain != texts:
        value, origin = plain if isinstance(value, list) else plain[0], f"{origin}; secrets left out"
    return f"{name} = {toml(value)}  # {origin}"
