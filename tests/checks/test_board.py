"""What doctor says of power, heat, governor, memory, disk and clock, in made situations."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
import types
from datetime import datetime

import pytest

from fer_edge import machine
from fer_edge.checks import board


def tree(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def pi(tmp_path, monkeypatch):
    """A board whose files below /sys and /proc are written here."""
    for name, folder in {
        "_PLATFORM": "platform",
        "_THERMAL": "thermal",
        "_HWMON": "hwmon",
        "_GOVERNOR": "governor",
        "_MEMINFO": "meminfo",
    }.items():
        monkeypatch.setattr(machine, name, tmp_path / folder)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(subject):
    (finding,) = [one for one in board.look() if one.subject == subject]
    return finding


PI4 = "platform/soc/soc:firmware/get_throttled"
PI5 = "platform/soc@107c000000:firmware/get_throttled"


@pytest.mark.parametrize("path", [PI4, PI5])
def test_under_voltage_is_told_with_what_helps(pi, path):
    tree(pi, {path: "50001\n"})
    power, heat = found("power"), found("heat")
    assert (power.state, heat.state) == ("note", "note")
    assert power.detail.startswith("under-voltage now, under-voltage since boot: ")
    assert "power supply" in power.remedy
    assert heat.detail.startswith("was throttled since boot: ")


def test_a_board_that_is_well_gets_one_line_each(pi):
    tree(pi, {PI4: "0\n", "thermal/thermal_zone0/temp": "51234\n", "governor": "ondemand\n"})
    assert [(one.state, one.detail) for one in map(found, ("power", "heat", "governor"))] == [
        ("ok", "no under-voltage since boot"),
        ("ok", "51 °C"),
        ("ok", "ondemand"),
    ]


@pytest.mark.parametrize(("millidegrees", "state"), [(79900, "ok"), (80000, "note")])
def test_heat_is_told_from_80_degrees_on(pi, millidegrees, state):
    tree(pi, {"thermal/thermal_zone0/temp": f"{millidegrees}\n", "thermal/thermal_zone1/temp": "40000\n"})
    finding = found("heat")
    assert finding.state == state
    assert finding.detail.startswith("80 °C")


def test_vcgencmd_tells_where_the_kernel_does_not(pi):
    tree(pi, {"bin/vcgencmd": "#!/bin/sh\n[ $1 = get_throttled ] && echo throttled=0x4\n"})
    (pi / "bin/vcgencmd").chmod(0o755)
    assert machine.condition().throttling == ("throttled now",)
    (pi / "bin/vcgencmd").write_text("#!/bin/sh\necho VCHI initialization failed\nexit 255\n")
    assert machine.condition().throttling is None


@pytest.mark.parametrize(("alarm", "told"), [("0", ()), ("1", ("under-voltage now",))])
def test_the_voltage_sensor_tells_where_nothing_else_does(pi, alarm, told):
    tree(
        pi,
        {
            "hwmon/hwmon0/name": "cpu_thermal\n",
            "hwmon/hwmon1/name": "rpi_volt\n",
            "hwmon/hwmon1/in0_lcrit_alarm": f"{alarm}\n",
        },
    )
    assert machine.condition().throttling == told


def test_the_slow_governor_is_told_with_the_command_that_changes_it(pi):
    tree(pi, {"governor": "powersave\n"})
    finding = found("governor")
    assert finding.state == "note"
    assert finding.remedy.startswith("echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/")


@pytest.mark.parametrize(("kilobytes", "state"), [(150_000, "note"), (400_000, "ok")])
def test_little_memory_is_reported(pi, kilobytes, state):
    tree(pi, {"meminfo": f"MemTotal:  1000000 kB\nMemAvailable:  {kilobytes} kB\n"})
    finding = found("memory")
    assert finding.state == state
    assert f"{kilobytes * 1.024 / 1000:.0f} MB available" in finding.detail


def status(blocks, flags=0):
    return types.SimpleNamespace(f_bavail=blocks, f_frsize=4096, f_flag=flags)


@pytest.mark.parametrize(
    ("made", "state", "words"),
    [
        (status(100_000), "note", "only 410 MB free"),
        (status(1_000_000), "ok", "4.1 GB free"),
        (status(1_000_000, os.ST_RDONLY), "note", "is read-only"),
    ],
)
def test_a_full_or_read_only_disk_is_reported(pi, monkeypatch, made, state, words):
    monkeypatch.setattr(board.os, "statvfs", lambda folder: made)
    finding = found("disk")
    assert (finding.state, words in finding.detail) == (state, True)
    assert bool(finding.remedy) == (state == "note")


def test_a_read_only_disk_is_mounted_anew_where_it_is_mounted(monkeypatch, tmp_path):
    monkeypatch.setattr(board.Path, "is_mount", lambda self: self == tmp_path)
    assert board._mount(tmp_path / "a" / "b") == tmp_path


NOW = datetime(2026, 11, 26, 12).timestamp()


@pytest.mark.parametrize(
    ("days", "synchronized", "state", "words"),
    [
        (-400, False, "note", "is wrong: this installation or the system wrote files on 2026-11-26"),
        (-400, True, "note", "is wrong"),
        (3, False, "note", "not synchronized"),
        (3, True, "ok", ", synchronized"),
        (3, None, "ok", "2026-11-29"),
    ],
)
def test_a_wrong_clock_is_reported(tmp_path, monkeypatch, days, synchronized, state, words):
    written = tmp_path / "clock"
    written.touch()
    os.utime(written, (NOW, NOW))
    monkeypatch.setattr(board, "_LATEST", (written, tmp_path / "missing"))
    finding = board._clock(NOW + days * 86400, synchronized)
    assert (finding.state, words in finding.detail) == (state, True)
    assert finding.remedy.startswith("sudo timedatectl set-ntp true") == (state == "note")


def test_the_kernels_estimate_of_the_clocks_error_is_read():
    assert machine._largest_error(struct.pack("@i4l", 0, 1, 2, 16_000_000, 4) + bytes(100)) == 16_000_000
    assert machine.is_synchronized() in (True, False, None)


_ARENAS = """
import ctypes, sys, threading
from fer_edge.machine import limit_arenas

limited = sys.argv[1:] == ["limit"] and limit_arenas()
together = threading.Barrier(9)

def work():
    kept = [bytearray(5000 + size) for size in range(50)]
    together.wait()
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
together.wait()
print("limited" if limited else "as it was")
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no arenas")
def test_arenas_are_limited_unless_the_environment_says_how_many_there_are():
    usual = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}

    def arenas(*given, **environment):
        told = subprocess.run(
            [sys.executable, "-c", _ARENAS, *given],
            env={**usual, **environment},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return told.count("<heap nr="), "limited" in told

    assert arenas()[0] > 2
    assert arenas("limit") == (2, True)
    count, limited = arenas("limit", MALLOC_ARENA_MAX="4")
    assert 2 < count <= 4
    assert not limited


def test_available_and_resident_memory_are_read():
    resident, peak = machine.resident_memory(), machine.peak_memory()
    assert resident is not None
    assert peak is not None
    assert 1e6 < resident <= peak + 1e6
    assert resident < 1e12
