"""What the machine reports about itself: processor, governor, temperature, throttling, memory used."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CPUINFO = Path("/proc/cpuinfo")
_DEVICE_TREE = Path("/proc/device-tree/model")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_STATUS = Path("/proc/self/status")
_THERMAL = Path("/sys/class/thermal")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")

# Bits of the Raspberry Pi firmware's throttling word; the upper ones stay set until the next boot.
_THROTTLE_BITS = {
    0: "under-voltage now",
    1: "clock capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "clock was capped since boot",
    18: "was throttled since boot",
    19: "soft temperature limit since boot",
}


@dataclass(frozen=True)
class Machine:
    """What does not change while a program runs; None where the machine does not say."""

    board: str | None
    cpu: str
    cores: int
    architecture: str
    system: str
    python: str
    governor: str | None


@dataclass(frozen=True)
class Condition:
    """What changes: temperature in degrees Celsius, load (one-minute average), throttling flags."""

    temperature: float | None
    load: float
    throttling: tuple[str, ...] | None


def describe() -> Machine:
    """The machine this runs on."""
    return Machine(
        board=_read(_DEVICE_TREE),
        cpu=_cpu(_read(_CPUINFO) or ""),
        cores=len(os.sched_getaffinity(0)),
        architecture=platform.machine(),
        system=platform.platform(),
        python=platform.python_version(),
        governor=_read(_GOVERNOR),
    )


def condition() -> Condition:
    """Its state right now."""
    return Condition(_temperature(), os.getloadavg()[0], _throttling(_read(_THROTTLED)))


def has_dot_product() -> bool | None:
    """Whether the processor adds up products of 8-bit numbers in one instruction, as fast int8 networks need.

    That is VNNI on x86 and the dot-product extension on ARM, which a Pi 5 has and a Pi 4 has not. None where
    the machine does not say.
    """
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read(_CPUINFO) or "", re.MULTILINE)
    if flags is None:
        return None
    return not {"avx512_vnni", "avx_vnni", "asimddp"}.isdisjoint(flags.group(1).split())


def boot_id() -> str | None:
    """What the kernel calls the time since it was started; None where it does not say."""
    return _read(_BOOT_ID)


def peak_memory() -> int | None:
    """Largest resident set of this process so far, in bytes; None where the kernel does not say.

    Not from getrusage, which counts what the process was before it executed this program.
    """
    found = re.search(r"^VmHWM:\s*(\d+) kB$", _read(_STATUS) or "", re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _cpu(cpuinfo: str) -> str:
    """The processor's name; x86 reports it, ARM only the core's part number."""
    name = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if name:
        return name.group(1)
    part = re.search(r"^CPU part\s*:\s*(0x[0-9a-f]+)$", cpuinfo, re.MULTILINE)
    cores = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
    return (
        cores.get(part.group(1), f"ARM part {part.group(1)}") if part else platform.processor() or "unknown"
    )


def _temperature() -> float | None:
    """The hottest thermal zone."""
    degrees = []
    for zone in _THERMAL.glob("thermal_zone*/temp"):
        text = _read(zone)
        if text and text.lstrip("-").isdigit():
            degrees.append(int(text) / 1000)
    return max(degrees, default=None)


def _throttling(word: str | None) -> tuple[str, ...] | None:
    if word is None:
        return None
    try:
        bits = int(word, 16)
    except ValueError:
        return None
    return tuple(text for bit, text in _THROTTLE_BITS.items() if bits >> bit & 1)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\x00\n ")
    except OSError:
        return None
