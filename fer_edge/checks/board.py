"""The board under a program: power, heat, governor, memory, disk and clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from .. import machine
from .finding import Finding

LOW_MEMORY = 200e6
"""Bytes of available memory below which a run, which takes 100 MB, may not fit."""

LOW_DISK = 500e6
"""Bytes free below which recordings soon end."""

_LATEST = (
    Path(__file__),
    Path("/var/lib/systemd/timesync/clock"),
    Path("/etc/fake-hwclock.data"),
    Path("/usr/lib/clock-epoch"),
)
"""Files that were written before now: at the installation, and regularly where a board has no clock."""

_DAY = 86400.0

_SYNCHRONIZE = "sudo timedatectl set-ntp true"


def look() -> list[Finding]:
    """Look at the board; each part that the kernel says nothing of is left out."""
    state = machine.condition()
    return [
        *_power(state.throttling),
        *_heat(state),
        *_governor(machine.describe().governor),
        *_memory(machine.available_memory()),
        *_disk(Path.cwd()),
        _clock(time.time(), machine.is_synchronized()),
    ]


def _power(throttling: tuple[str, ...] | None) -> Iterator[Finding]:
    found = [state for state in throttling or () if state.startswith("under-voltage")]
    if found:
        yield Finding(
            "note",
            "power",
            f"{', '.join(found)}: the board slows down, and cameras and cards fail",
            "the board's own power supply on a short cable, fewer USB devices without their own supply; "
            "vcgencmd get_throttled tells",
        )
    elif throttling is not None:
        yield Finding("ok", "power", "no under-voltage since boot")


def _heat(state: machine.Condition) -> Iterator[Finding]:
    found = [text for text in state.throttling or () if not text.startswith("under-voltage")]
    degrees = "" if state.temperature is None else f"{state.temperature:.0f} °C"
    if found or (state.temperature is not None and state.temperature >= machine.HOT):
        yield Finding(
            "note",
            "heat",
            f"{', '.join(filter(None, [degrees, *found]))}: from {machine.HOT} °C on, the clock is lowered",
            "a heat sink or fan, or less work: fer-edge run --budget 50",
        )
    elif degrees:
        yield Finding("ok", "heat", degrees)


def _governor(governor: str | None) -> Iterator[Finding]:
    if governor == "powersave":
        yield Finding(
            "note",
            "governor",
            "powersave keeps the processor at its lowest clock",
            "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    elif governor:
        yield Finding("ok", "governor", governor)


def _memory(available: int | None) -> Iterator[Finding]:
    if available is None:
        return
    if available >= LOW_MEMORY:
        yield Finding("ok", "memory", f"{available / 1e6:.0f} MB available")
        return
    yield Finding(
        "note",
        "memory",
        f"only {available / 1e6:.0f} MB available, and a run takes 100 MB",
        "end other programs; the largest are first in: ps -eo rss,pid,comm --sort=-rss | head",
    )


def _disk(folder: Path) -> Iterator[Finding]:
    """The file system of a folder, which outputs would be written to."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if status.f_flag & os.ST_RDONLY:
        yield Finding(
            "note",
            "disk",
            f"{folder} is read-only: nothing can be written here",
            f"sudo mount -o remount,rw {_mount(folder)}; where it comes back, replace the card",
        )
    elif free < LOW_DISK:
        yield Finding(
            "note",
            "disk",
            f"only {free / 1e6:.0f} MB free in {folder}",
            "delete old recordings; sudo apt clean; sudo journalctl --vacuum-size=100M",
        )
    else:
        yield Finding("ok", "disk", f"{free / 1e9:.1f} GB free in {folder}")


def _mount(folder: Path) -> Path:
    """Where the file system of ``folder`` is mounted."""
    while not folder.is_mount():
        folder = folder.parent
    return folder


def _clock(now: float, synchronized: bool | None) -> Finding:
    latest = max((path.stat().st_mtime for path in _LATEST if path.exists()), default=0.0)
    shown = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC"
    if now < latest - _DAY:
        written = f"{datetime.fromtimestamp(latest, UTC):%Y-%m-%d}"
        return Finding(
            "note",
            "clock",
            f"{shown} is wrong: this installation or the system wrote files on {written}; results get wrong "
            "times",
            f"{_SYNCHRONIZE}, or without a network: sudo date -s 'YYYY-MM-DD HH:MM'",
        )
    if synchronized is False:
        return Finding("note", "clock", f"{shown}, not synchronized: it may be off, or jump", _SYNCHRONIZE)
    return Finding("ok", "clock", shown + (", synchronized" if synchronized else ""))
