"""The text of the unit: what it says, what systemd makes of it, and how words are quoted."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fer_edge.credentials import credential_name
from fer_edge.errors import DataError
from fer_edge.service.unit import UnitOptions, unit_text

COMMAND = (sys.executable, "-P", "-m", "fer_edge", "run", "--camera", "0")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)


def keys(text: str, section: str) -> list[tuple[str, str]]:
    """The keys of a section, in order, with their values."""
    body = text.partition(f"[{section}]\n")[2].partition("\n[")[0]
    return [tuple(line.split("=", 1)) for line in body.splitlines() if line]


def service(**options) -> dict[str, str]:
    return dict(keys(unit_text(UnitOptions(COMMAND, **options)), "Service"))


def test_the_unit_warns_of_what_is_forbidden():
    mark, *warning = unit_text(UnitOptions(COMMAND)).partition("\n\n")[0].splitlines()
    assert mark.startswith("# Written by fer-edge service")
    told = " ".join(line.removeprefix("# ") for line in warning)
    assert "forbidden to infer emotions at work and in education" in told
    assert "Article 5(1)(f)" in told and "Mask staff areas" in told


def test_what_fails_or_hangs_is_started_again_and_what_is_misconfigured_is_not():
    unit = service()
    assert unit["Type"] == "notify"
    assert unit["WatchdogSec"] == "30"
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"] == "2 78"
    assert ("StartLimitIntervalSec", "0") in keys(unit_text(UnitOptions(COMMAND)), "Unit")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (252, {"RestartSec": "10"}),
        (253, {"RestartSec": "10"}),
        (254, {"RestartSec": "1", "RestartSteps": "6", "RestartMaxDelaySec": "60"}),
        (257, {"RestartSec": "1", "RestartSteps": "6", "RestartMaxDelaySec": "60"}),
    ],
)
def test_the_time_between_restarts_grows_where_systemd_can(version, expected):
    unit = service(systemd=version)
    assert {key: value for key, value in unit.items() if re.match("Restart(Sec|Steps|Max)", key)} == expected


def test_the_service_has_a_user_of_its_own_that_reaches_cameras():
    text = unit_text(UnitOptions(COMMAND, name="door"))
    unit = dict(keys(text, "Service"))
    assert (unit["User"], unit["DynamicUser"], unit["SupplementaryGroups"]) == ("door", "yes", "video")
    assert (unit["StateDirectory"], unit["WorkingDirectory"]) == ("door", "%S/door")
    # A folder of its own, since it goes with the service, whose user alone may use it.
    assert unit["RuntimeDirectory"] == "fer-edge/door"
    assert "FER_EDGE_NAME=door" in unit["Environment"].split()
    allowed = [value for key, value in keys(text, "Service") if key == "DeviceAllow"]
    # By number: the name is known to the kernel only after the first camera has come.
    assert "char-81 rw" in allowed
    assert unit["DevicePolicy"] == "closed"


def test_pins_are_opened_where_they_are_asked_for():
    text = unit_text(UnitOptions(COMMAND, gpio=True))
    assert dict(keys(text, "Service"))["SupplementaryGroups"] == "video gpio"
    assert "DeviceAllow=char-gpiochip rw\n" in text
    assert "gpio" not in unit_text(UnitOptions(COMMAND))


def test_of_the_homes_only_what_the_program_needs_is_seen():
    shown = ["/home/pi/fer/lib", "/home/pi/fer", "/opt/fer", "/tmp/x: y", "/home/pi/fern"]
    text = unit_text(UnitOptions(COMMAND, reads=[Path(path) for path in shown]))
    bound = [value for key, value in keys(text, "Service") if key == "BindReadOnlyPaths"]
    assert bound == ["/home/pi/fer", "/home/pi/fern", '"/tmp/x\\: y"']
    assert "ProtectHome=tmpfs\n" in text
    assert "ProtectHome=yes\n" in unit_text(UnitOptions(COMMAND, reads=[Path("/opt/fer"), Path("/tmp/x")]))


def test_folders_to_write_in_are_opened_where_they_lie():
    text = unit_text(UnitOptions(COMMAND, writes=[Path("/mnt/usb disk"), Path("/home/pi/films")]))
    unit = dict(keys(text, "Service"))
    assert (unit["ReadWritePaths"], unit["BindPaths"]) == ('"/mnt/usb disk"', "/home/pi/films")
    assert unit["ProtectHome"] == "tmpfs"


def test_systemd_hands_passwords_to_a_service_whose_user_may_not_read_them():
    path = Path("/etc/fer edge/100%.password")
    unit = service(secrets=[path])
    assert unit["LoadCredential"] == f"{credential_name(path)}:/etc/fer edge/100%%.password"
    assert "LoadCredential" not in service(secrets=[path], user=True)


def test_a_users_service_asks_for_nothing_that_needs_root():
    text = unit_text(UnitOptions(COMMAND, user=True))
    assert keys(text, "Install") == [("WantedBy", "default.target")]
    unit = dict(keys(text, "Service"))
    # Users' services that ask for these do not start at all (systemd.exec(5)).
    for key in ("User", "DynamicUser", "SupplementaryGroups", "DeviceAllow", "ProtectSystem", "PrivateTmp"):
        assert key not in unit
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["WatchdogSec"] == "30"


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("plain-word_1", "plain-word_1"),
        ("two words", '"two words"'),
        ("", '""'),
        (";", '";"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("line\nbreak", '"line\\x0abreak"'),
        ("it's", '"it\'s"'),
        ("grün", '"grün"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_words_of_the_command_are_quoted_for_systemd(word, quoted):
    text = unit_text(UnitOptions([*COMMAND, word]))
    assert f"\nExecStart={' '.join(COMMAND)} {quoted}\n" in text


@pytest.mark.parametrize("name", ["", "Door", "1door", "do or", "../door", "d" * 32, "door.service"])
def test_names_that_cannot_be_users_are_refused(name):
    with pytest.raises(DataError, match="lower-case letters, digits and hyphens"):
        UnitOptions(COMMAND, name=name)


def installed_version() -> int:
    told = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.split()[1])


@needs_systemd
@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path, user):
    options = UnitOptions(
        [*COMMAND, "two words", "100%", "$HOME"],
        systemd=installed_version(),
        user=user,
        reads=[Path("/home/pi/fer")],
        secrets=[Path("/etc/fer edge/100%.password")],
        writes=[Path("/mnt/usb disk"), Path("/home/pi/films")],
        reloads=True,
    )
    path = tmp_path / "fer-edge.service"
    path.write_text(unit_text(options))
    # A scope's manager would want a directory of its own; the unit's text is the same for both.
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, timeout=120
    )
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@needs_systemd
def test_systemd_rates_the_exposure_at_3_at_most(tmp_path):
    path = tmp_path / "fer-edge.service"
    text = unit_text(UnitOptions(COMMAND, reads=[Path("/home/pi/fer")], writes=[Path("/home/pi/films")]))
    path.write_text(text)
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", "--no-pager", path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert rated.returncode == 0, rated.stdout
    assert float(re.search(r"exposure level for fer-edge\.service: ([\d.]+)", rated.stdout)[1]) <= 3.0
