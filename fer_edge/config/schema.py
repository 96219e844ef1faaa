"""The options of a run: every field with its help, kind and default, and which of them a camera can have."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..defaults import KEEP, KEEP_DETAIL, KEEP_FREE
from ..log import LEVELS
from ..option import (
    ADDRESS,
    BYTES,
    CAMERA,
    COUNT,
    DAYS,
    DURATION,
    FILE_LIMIT,
    NAME,
    NUMBER,
    ON_OFF,
    PREFIX,
    TWO_FILES,
    Address,
    FileLimit,
    Option,
    option,
    options_of,
)
from ..pipeline.options import SHARED, WatchOptions
from .kinds import BROKER, DEVICE_NAME, HOST_NAME, JSONL_FILE, PROM_FILE, TOPIC_PREFIX

GROUPS = ("source", "output", "control", "page", "mqtt", "classifier", "faces")
"""The headings of options, in the order of the help."""

RESERVED = frozenset({f"{PREFIX}BIN", f"{PREFIX}CONFIG", f"{PREFIX}DEBUG", f"{PREFIX}PURE"})
"""Environment variables that are no options of a run."""

DEFAULT_NAME = "default"
"""What a run is called that was given no name."""

REQUIRABLE = {"jsonl": "--jsonl", "video": "--save-video", "image": "--save-image", "store": "--store"}
"""What asks for each output that can be required."""


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
        JSONL_FILE,
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
    window: bool = option(
        False, "output", "show the annotated frames, by an OpenCV with windows (opencv-python); q quits"
    )
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
        BROKER,
        metavar="URL",
    )
    mqtt_name: str | None = option(
        None,
        "mqtt",
        "call this device by this name in topics and Home Assistant (default: %(default)s)",
        DEVICE_NAME,
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
        TOPIC_PREFIX,
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
        PROM_FILE,
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
        HOST_NAME,
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


OWN, OF_WATCH = options_of(Config), options_of(WatchOptions)
"""Options that are fields of :class:`Config`, and those of its ``watch``."""

OPTIONS: dict[str, Option] = {
    name: one for group in GROUPS for name, one in {**OWN, **OF_WATCH}.items() if one.group == group
}
"""Every option of ``fer-edge run`` by its name, in the order of its help."""

OWN_OUTPUTS = frozenset({"jsonl", "append", "force", "save_video", "segment", "save_image"})
"""Options of the outputs that a camera can have for itself alone."""

TABLE: frozenset[str] = frozenset(
    name
    for name, one in OPTIONS.items()
    if name in OWN_OUTPUTS
    or (
        one.group not in ("output", "control", "page", "mqtt", "classifier")
        and name not in SHARED
        and name not in ("camera", "max_heat")
    )
)
"""Options that a camera may have for itself."""
