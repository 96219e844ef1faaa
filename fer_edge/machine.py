"""What the machine reports about itself: processor, governor, temperature, throttling, memory, clock."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CPUINFO = Path("/proc/cpuinfo")
_DEVICE_TREE = Path("/proc/device-tree/model")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_HWMON = Path("/sys/class/hwmon")
_MEMINFO = Path("/proc/meminfo")
_PLATFORM = Path("/sys/devices/platform")
_STATUS = Path("/proc/self/status")
_THERMAL = Path("/sys/class/thermal")

_FIRMWARE = ("soc*/soc*:firmware/get_throttled", "soc*:firmware/get_throttled")
"""Where below :data:`_PLATFORM` the throttling word is, by board."""

_UNSYNCHRONIZED = 16_000_000
"""Microseconds of possible error from which on systemd, too, calls the clock unsynchronized."""

ARENAS = 2
"""Pools of memory for a process that works in one thread and writes in some others."""

_M_ARENA_MAX = -8
"""Of glibc's ``malloc.h``."""

HOT = 80
"""Degrees Celsius at which a Raspberry Pi's firmware begins to lower the clock."""

UNDER_VOLTAGE = "under-voltage now"

# Bits of the Raspberry Pi firmware's throttling word; the upper ones stay set until the next boot.
_THROTTLE_BITS = {
    0: UNDER_VOLTAGE,
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


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0))


def describe() -> Machine:
    """The machine this runs on."""
    return Machine(
        board=_read(_DEVICE_TREE),
        cpu=_cpu(_read(_CPUINFO) or ""),
        cores=usable_cores(),
        architecture=platform.machine(),
        system=platform.platform(),
        python=platform.python_version(),
        governor=_read(_GOVERNOR),
    )


def condition() -> Condition:
    """Its state right now."""
    return Condition(_temperature(), os.getloadavg()[0], _throttling())


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
    return _kilobytes("VmHWM", _STATUS)


def resident_memory() -> int | None:
    """Resident set of this process, in bytes; None where the kernel does not say."""
    return _kilobytes("VmRSS", _STATUS)


def limit_arenas(most: int = ARENAS) -> bool:
    """Let malloc keep at most so many pools of memory; returns whether it does.

    glibc gives each thread a pool of its own, up to eight for each core, and pictures that are freed in
    another thread leave holes in all of them. Threads keep the pools that they have, so this comes first.
    What ``MALLOC_ARENA_MAX`` says holds (mallopt(3)). Other C libraries have no such pools.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_ARENA_MAX, most))


def available_memory() -> int | None:
    """Bytes that programs can still take without swapping; None where the kernel does not say."""
    return _kilobytes("MemAvailable", _MEMINFO)


def is_synchronized() -> bool | None:
    """Whether the clock was set from the network or another clock; None where the kernel does not say."""
    # Struct timex, whose first member 0 asks and changes nothing: int, padding, three long; then the error.
    answer = ctypes.create_string_buffer(512)
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(answer) < 0:
            return None
    except (AttributeError, OSError):
        return None
    return _largest_error(answer.raw) < _UNSYNCHRONIZED


def _largest_error(timex: bytes) -> int:
    """Microseconds by which the clock may be off, of a struct timex."""
    error: int = struct.unpack_from("@illl", timex)[3]
    return error


def _kilobytes(name: str, path: Path) -> int | None:
    """The number behind ``name``, in bytes, of a file with lines such as ``VmHWM:  1234 kB``."""
    found = re.search(rf"^{name}:\s*(\d+) kB$", _read(path) or "", re.MULTILINE)
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


def _throttling() -> tuple[str, ...] | None:
    """What slows a Raspberry Pi down, from the kernel, else from the firmware's own program."""
    for pattern in _FIRMWARE:
        for file in sorted(_PLATFORM.glob(pattern)):
            if (flags := _flags(_read(file))) is not None:
                return flags
    if (flags := _flags(_vcgencmd())) is not None:
        return flags
    for sensor in sorted(_HWMON.glob("hwmon*")):
        if _read(sensor / "name") == "rpi_volt":
            alarm = _read(sensor / "in0_lcrit_alarm")
            return None if alarm is None else (UNDER_VOLTAGE,) * (alarm == "1")
    return None


def _vcgencmd() -> str | None:
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().removeprefix("throttled=")


def _flags(word: str | None) -> tuple[str, ...] | None:
    """The states of a throttling word in hexadecimal; None where it is none."""
    try:
        bits = int(word or "", 16)
    except ValueError:
        return None
    return tuple(text for bit, text in _THROTTLE_BITS.items() if bits >> bit & 1)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\x00\n ")
    except OSError:
        return None
