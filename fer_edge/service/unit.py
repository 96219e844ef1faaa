"""The text of the systemd unit that runs ``fer-edge run`` as a service."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..credentials import credential_name
from ..errors import DataError

MARK = "# Written by fer-edge service, which replaces and removes this file; for changes: systemctl edit "
"""How the first line of a unit of ours begins; the name follows."""

_WARNING = (
    "# In the EU it is forbidden to infer emotions at work and in education, except for medical or safety",
    "# reasons (Regulation (EU) 2024/1689, Article 5(1)(f)). Mask staff areas; see docs/privacy.md.",
)

WATCHDOG_SECONDS = 30
OLDEST_SYSTEMD = 252
"""That of Debian 12 (Bookworm), the oldest whose keys are used."""

_RESTART_STEPS = 254
"""The version of systemd since which the time between restarts can grow."""

_HIDDEN_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_HIDDEN = (*_HIDDEN_HOMES, Path("/tmp"), Path("/var/tmp"))
"""What a service of the system does not see of the rest."""

# Cameras: V4L2 and, for libcamera, its media controllers, buffers and firmware. systemd looks names up when
# it starts the service; V4L2 has none before the first camera comes, but its number is always 81.
_DEVICES = ("char-81 rw", "char-media rw", "char-dma_heap rw", "/dev/vcio rw")

_FILTERS = {
    "NoNewPrivileges": "yes",
    "LockPersonality": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
}
"""What needs no privileges to be set up, and so is for a user's services, too."""

_ISOLATION = {
    "ProtectSystem": "strict",
    "PrivateTmp": "yes",
    "PrivateMounts": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "RemoveIPC": "yes",
    "KeyringMode": "private",
}


@dataclass(frozen=True)
class UnitOptions:
    """What a unit is made of. Raises :class:`~fer_edge.errors.DataError` for a name that cannot be one."""

    command: Sequence[str]
    """The program, by its absolute path, and all its arguments."""
    name: str = "fer-edge"
    """Of the unit without ``.service``, of its user and of its state folder."""
    systemd: int = OLDEST_SYSTEMD
    """Version of the systemd that is to read the unit."""
    user: bool = False
    """For the systemd of a user who is logged in, instead of the system's."""
    reads: Sequence[Path] = ()
    """Files and folders that the program is made of, or reads, wherever they lie."""
    secrets: Sequence[Path] = ()
    """Files with passwords, which systemd reads for the service's user: no other than root has to."""
    writes: Sequence[Path] = ()
    """Folders, other than that of its state, in which it may write; their owner has to allow it as well."""
    gpio: bool = False
    """Whether the program uses GPIO pins."""
    reloads: bool = False
    """Whether the program reads its configuration again on SIGHUP, instead of ending."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", self.name):
            raise DataError(
                f"--name {self.name}: give at most 31 lower-case letters, digits and hyphens, a letter first"
            )


def unit_text(options: UnitOptions) -> str:
    """The unit, with keys that the given version of systemd knows."""
    sections = {
        "Unit": [
            ("Description", "Facial-expression recognition on a camera (fer-edge)"),
            ("After", "network.target"),
            # It is never given up: a camera may be repaired after weeks.
            ("StartLimitIntervalSec", "0"),
        ],
        "Service": [*_service(options)],
        "Install": [("WantedBy", "default.target" if options.user else "multi-user.target")],
    }
    lines = [f"{MARK}{'--user ' if options.user else ''}{options.name}", *_WARNING]
    for section, keys in sections.items():
        lines += ["", f"[{section}]", *(f"{key}={value}" for key, value in keys)]
    return "\n".join(lines) + "\n"


def _service(options: UnitOptions) -> Iterator[tuple[str, str]]:
    yield "Type", "notify"
    yield "NotifyAccess", "main"
    yield "ExecStart", " ".join(_quoted(word, command=True) for word in options.command)
    if options.reloads:
        yield "ExecReload", "/bin/kill -HUP $MAINPID"
    yield "Environment", f"PYTHONUNBUFFERED=1 FER_EDGE_NAME={options.name}"
    yield "SyslogIdentifier", options.name
    yield "StateDirectory", options.name
    yield "StateDirectoryMode", "0750"
    # One each, as that of a service goes with it. Its socket tells by its mode who may ask.
    yield "RuntimeDirectory", f"fer-edge/{options.name}"
    yield "WorkingDirectory", f"%S/{options.name}"
    yield "UMask", "0027"
    yield from _life(options)
    yield "MemoryMax", "512M"
    # A core would hold pictures of people.
    yield "LimitCORE", "0"
    yield from _FILTERS.items()
    yield "SystemCallFilter", "@system-service"
    yield "SystemCallFilter", "~@privileged"
    if not options.user:
        for path in options.secrets:
            # Not quoted: systemd takes all that follows the colon as it is, specifiers aside.
            yield "LoadCredential", f"{credential_name(path)}:{path}".replace("%", "%%")
        yield from _isolation(options)


def _life(options: UnitOptions) -> Iterator[tuple[str, str]]:
    yield "WatchdogSec", str(WATCHDOG_SECONDS)
    yield "TimeoutStartSec", "120"
    yield "TimeoutStopSec", "30"
    yield "Restart", "on-failure"
    if options.systemd >= _RESTART_STEPS:
        yield "RestartSec", "1"
        yield "RestartSteps", "6"
        yield "RestartMaxDelaySec", "60"
    else:
        yield "RestartSec", "10"
    # Bad options; a bad configuration file or environment.
    yield "RestartPreventExitStatus", "2 78"
    # SIGTERM while it starts.
    yield "SuccessExitStatus", "130"


def _isolation(options: UnitOptions) -> Iterator[tuple[str, str]]:
    yield "DynamicUser", "yes"
    yield "User", options.name
    yield "SupplementaryGroups", "video gpio" if options.gpio else "video"
    yield from _ISOLATION.items()
    yield "DevicePolicy", "closed"
    for device in (*_DEVICES, *(["char-gpiochip rw"] if options.gpio else [])):
        yield "DeviceAllow", device
    hidden = _outermost(path for path in options.reads if _lies_in(path, _HIDDEN))
    # An empty folder, in which what is needed of it can be shown, whatever the homes' own permissions.
    at_home = any(_lies_in(path, _HIDDEN_HOMES) for path in (*hidden, *options.writes))
    yield "ProtectHome", "tmpfs" if at_home else "yes"
    for path in hidden:
        yield "BindReadOnlyPaths", _quoted(str(path)).replace(":", "\\:")
    for path in options.writes:
        # ReadWritePaths= does not lead into what is hidden.
        if _lies_in(path, _HIDDEN):
            yield "BindPaths", _quoted(str(path)).replace(":", "\\:")
        else:
            yield "ReadWritePaths", _quoted(str(path))


def _lies_in(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _outermost(paths: Iterator[Path]) -> list[Path]:
    """``paths`` in order, without those within others."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not _lies_in(path, kept):
            kept.append(path)
    return kept


def _quoted(word: str, command: bool = False) -> str:
    """``word`` as systemd reads it back (systemd.syntax(7), systemd.service(5)).

    A percent sign would begin a specifier, and in a ``command`` a dollar sign a variable.
    """
    escaped = "".join(_escaped(letter) for letter in word).replace("%", "%%")
    if command:
        escaped = escaped.replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./$~-]+", escaped, re.ASCII) else f'"{escaped}"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter < " " or letter == "\x7f" or "\udc80" <= letter <= "\udcff":
        return "".join(f"\\x{byte:02x}" for byte in letter.encode(errors="surrogateescape"))
    return letter
