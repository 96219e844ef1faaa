"""``fer-edge service``: what it prints and does to a system, with a ``systemctl`` that takes notes."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from fer_edge.cli import main
from fer_edge.credentials import credential_name
from fer_edge.errors import DataError, ServiceError
from fer_edge.service.install import Manager, install, remove, system_manager, systemd_version
from fer_edge.service.unit import MARK

TEXT = f"{MARK}door\n[Service]\n"
RUN = ["--", "--camera", "0", "--jsonl", "faces.jsonl", "--append"]


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A ``systemctl`` that notes what it is asked for, and fails at a word in ``systemctl.fails``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    notes, fails, says = folder / "notes", folder / "fails", folder / "says"
    says.write_text("Job for door.service failed.")
    notes.touch()
    program = folder / "systemctl"
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "systemd 257 (257.13-1)"; exit; fi\n'
        f'echo "$*" >> {shlex.quote(str(notes))}\n'
        f'for word; do [ "$word" = "$(cat {shlex.quote(str(fails))} 2>/dev/null)" ] || continue\n'
        f"    cat {shlex.quote(str(says))} >&2; exit 1; done\n"
        "exit 0\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return program


def noted(systemctl) -> list[str]:
    return systemctl.with_name("notes").read_text().splitlines()


@pytest.fixture
def manager(tmp_path):
    return Manager(tmp_path / "units")


def test_installing_writes_enables_and_starts(manager, systemctl):
    install(manager, "door", TEXT)
    assert manager.path("door").read_text() == TEXT
    assert noted(systemctl) == ["daemon-reload", "enable door.service", "restart door.service"]


def test_installing_again_replaces_and_starts_anew(manager, systemctl):
    install(manager, "door", TEXT)
    install(manager, "door", TEXT + "ExecStart=/bin/true\n")
    assert manager.path("door").read_text() == TEXT + "ExecStart=/bin/true\n"
    assert noted(systemctl)[3:] == noted(systemctl)[:3]


def test_removing_stops_disables_and_deletes(manager, systemctl):
    install(manager, "door", TEXT)
    remove(manager, "door")
    assert list(manager.folder.iterdir()) == []
    assert noted(systemctl)[3:] == ["disable --now door.service", "daemon-reload"]


def test_a_unit_of_somebody_else_is_neither_replaced_nor_removed(manager, systemctl):
    manager.folder.mkdir()
    manager.path("ssh").write_text("[Service]\n")
    with pytest.raises(DataError, match="was not written by fer-edge service"):
        install(manager, "ssh", TEXT)
    with pytest.raises(DataError, match="was not written by fer-edge service"):
        remove(manager, "ssh")
    assert manager.path("ssh").read_text() == "[Service]\n"
    assert noted(systemctl) == []


def test_what_is_not_there_cannot_be_removed(manager, systemctl):
    with pytest.raises(DataError, match=r"door\.service: there is no such service"):
        remove(manager, "door")


def test_a_refusal_of_systemd_is_told(manager, systemctl):
    systemctl.with_name("fails").write_text("restart")
    with pytest.raises(ServiceError) as refused:
        install(manager, "door", TEXT)
    assert str(refused.value) == "systemctl restart door.service: Job for door.service failed."
    assert refused.value.exit_code == 1


def test_a_user_without_a_systemd_is_told_to_log_in(tmp_path, systemctl):
    systemctl.with_name("fails").write_text("daemon-reload")
    systemctl.with_name("says").write_text("Failed to connect to bus: No medium found")
    with pytest.raises(ServiceError, match="No medium found; log in as this user"):
        install(Manager(tmp_path / "units", ("--user",)), "door", TEXT)


def test_options_of_run_without_a_dash_are_told_where_they_go(capsys):
    with pytest.raises(SystemExit):
        main(["service", "--camera", "0"])
    told = capsys.readouterr().err
    assert told.endswith("unrecognized arguments: --camera; options of fer-edge run come after --\n")


def test_a_system_in_a_folder_is_not_started(tmp_path, systemctl):
    manager = system_manager(tmp_path)
    install(manager, "door", TEXT)
    assert manager.path("door") == tmp_path / "etc/systemd/system/door.service"
    remove(manager, "door")
    assert noted(systemctl) == [
        f"--root={tmp_path} enable door.service",
        f"--root={tmp_path} disable door.service",
    ]


def test_a_password_in_the_command_is_for_root_alone(manager, systemctl):
    install(manager, "door", TEXT)
    assert manager.path("door").stat().st_mode & 0o077 == 0o044
    install(manager, "door", f"{TEXT}ExecStart=/x rtsp://viewer:secret@door/stream\n")
    assert manager.path("door").stat().st_mode & 0o777 == 0o600


def test_the_version_is_that_of_systemctl(systemctl, monkeypatch):
    assert systemd_version() == 257
    monkeypatch.setenv("PATH", "/nowhere")
    assert systemd_version() == 252


def test_without_systemd_nothing_is_installed(manager, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DataError, match="there is no systemctl"):
        install(manager, "door", TEXT)
    assert not manager.folder.exists()


def test_the_unit_is_printed_with_keys_of_this_systemd(systemctl, capsys):
    assert main(["service", "--name", "door", *RUN]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{MARK}door\n")
    assert "\nRestartSteps=6\n" in text
    words = ["--wait-for-camera", *RUN[1:]]
    assert f"\nExecStart={sys.executable} -P -m fer_edge run {' '.join(words)}\n" in text
    assert noted(systemctl) == []


def test_a_users_service_is_installed_and_removed_by_the_command(systemctl, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert main(["service", "--user", "--install", *RUN]) == 0
    path = tmp_path / "config/systemd/user/fer-edge.service"
    assert "\nWantedBy=default.target\n" in path.read_text()
    assert capsys.readouterr().out.startswith(f"installed {path}\n")
    assert main(["service", "--user", "--remove"]) == 0
    assert not path.exists()
    assert noted(systemctl) == [
        "--user daemon-reload",
        "--user enable fer-edge.service",
        "--user restart fer-edge.service",
        "--user disable --now fer-edge.service",
        "--user daemon-reload",
    ]


def test_a_service_is_installed_into_an_image_by_the_command(systemctl, tmp_path):
    assert main(["service", "--root", str(tmp_path), "--install", *RUN]) == 0
    assert (tmp_path / "etc/systemd/system/fer-edge.service").is_file()


def test_a_service_of_the_system_needs_root(systemctl, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["service", "--install", *RUN]) == 2
    assert "needs root: sudo, or --user" in capsys.readouterr().err
    assert noted(systemctl) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--camera", "0", "--jsonl", "faces.jsonl"], "--jsonl faces.jsonl: the second start would find"),
        (["--camera", "0", "--save-image", "last.png"], "--save-image last.png: the second start would find"),
        (["--camera", "0", "--append"], "--append is for a --jsonl file"),
        (["--camera", "0", "--min-score", "7"], "min_score must be"),
    ],
)
def test_options_that_would_fail_later_are_refused_now(systemctl, capsys, options, message):
    assert main(["service", "--", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_the_service_would_look_for_elsewhere_is_refused(
    systemctl, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("pw", "token", "page.key"):
        (tmp_path / name).write_text("secret\n")
    stream = ["rtsp://viewer@127.0.0.1:9/s"]
    page = ["--camera", "0", "--page", ":8080"]
    (tmp_path / "door.toml").write_text(f'source = "{stream[0]}"\npassword_file = "pw"\n')
    (tmp_path / "till.toml").write_text('camera = "0"\n')
    for options, flag, name in (
        (["--", *stream, "--password-file", "pw"], "--password-file", "pw"),
        (["--", *page, "--page-token-file", "token"], "--page-token-file", "token"),
        (["--", *page, "--page-tls", "/etc/page.crt,page.key"], "--page-tls", "page.key"),
        (["--config", "door.toml"], "--password-file", "pw"),
        (["--", "--config", "till.toml"], "--config", "till.toml"),
    ):
        assert main(["service", *options]) == 2
        told = capsys.readouterr().err
        assert f"{flag} {name}: the service works in a folder of its own and would not find it" in told
        assert told.endswith(f"give its whole path, such as {tmp_path / name}\n")


def test_a_service_that_would_only_print_its_options_is_refused(systemctl, capsys):
    assert main(["service", "--", "--camera", "0", "--print-config"]) == 2
    assert "--print-config prints the options and ends; leave it out" in capsys.readouterr().err


GROWS = "nothing deletes what is written"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--jsonl", "faces.jsonl", "--append"], f"--jsonl: {GROWS}"),
        (["--jsonl", "-", "--save-video", "v.mkv"], f"--save-video: {GROWS}"),
        (["--jsonl", "a.jsonl", "--append", "--save-video", "v.mkv"], f"--jsonl and --save-video: {GROWS}"),
        (["--jsonl", "faces.jsonl", "--append", "--keep-files", "5G"], None),
        (["--store", "shop.db"], None),
    ],
)
def test_a_service_that_would_fill_its_card_is_warned_of(systemctl, capsys, options, told):
    assert main(["service", "--", "--camera", "0", *options]) == 0
    err = capsys.readouterr().err
    assert (told in err) if told else (GROWS not in err)


def test_the_configuration_is_read_before_it_is_installed(systemctl, tmp_path, capsys):
    file = tmp_path / "door.toml"
    file.write_text('camera = "0"\nmin_scor = 0.8\n')
    assert main(["service", "--config", str(file)]) == 78
    assert f"{file}, line 2: unknown key 'min_scor'" in capsys.readouterr().err
    file.write_text('camera = "0"\nwait_for_camera = true\n')
    assert main(["service", "--config", str(file)]) == 0
    assert f"-m fer_edge run --config {file}\n" in capsys.readouterr().out


@pytest.mark.parametrize("spelling", ["--config {}", "--config={}", "--conf {}"])
def test_a_service_with_a_configuration_reloads_it_however_its_option_is_spelled(
    systemctl, tmp_path, capsys, spelling
):
    file = tmp_path / "door.toml"
    file.write_text('camera = "0"\n')
    assert main(["service", "--", *spelling.format(file).split(" ")]) == 0
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in capsys.readouterr().out


def test_without_options_and_configuration_there_is_no_service(systemctl, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fer_edge.commands.service.CONFIG", tmp_path / "fer-edge.toml")
    assert main(["service"]) == 2
    assert f"there is no {tmp_path}/fer-edge.toml: write it, or give options" in capsys.readouterr().err
    (tmp_path / "fer-edge.toml").write_text('camera = "0"\n')
    assert main(["service"]) == 0
    assert f" run --wait-for-camera --config {tmp_path}/fer-edge.toml\n" in capsys.readouterr().out


def test_the_service_sees_the_files_that_its_options_name(systemctl, capsys):
    model = Path("/home/pi/models/mine.tflite")
    assert main(["service", "--", "--camera", "0", "--model", str(model)]) == 0
    assert f"\nBindReadOnlyPaths={model}\n" in capsys.readouterr().out


def test_a_service_is_handed_the_key_and_the_token_of_its_page(systemctl, tmp_path, capsys):
    cert, key, token = (tmp_path / name for name in ("cert.pem", "key.pem", "token"))
    options = ["--page", "0.0.0.0:8443", "--page-tls", f"{cert},{key}", "--page-token-file", str(token)]
    assert main(["service", "--", "--camera", "0", *options]) == 0
    unit = capsys.readouterr().out
    assert f"\nBindReadOnlyPaths={cert}\n" in unit
    for secret in (key, token):
        assert f"\nLoadCredential={credential_name(secret)}:{secret}\n" in unit


def test_secrets_for_a_broker_are_for_root_alone_and_certificates_are_seen(systemctl, tmp_path, capsys):
    names = ("shop.password", "ca.crt", "shop.crt", "shop.key")
    password, ca, cert, key = (tmp_path / name for name in names)
    for file in (password, ca, cert, key):
        file.write_text("s\n")
        file.chmod(0o600)
    options = ("--mqtt", "mqtts://shop@broker.lan", "--mqtt-password-file", password, "--mqtt-ca", ca)
    options += ("--mqtt-cert", f"{cert},{key}", "--mqtt-discovery")
    assert main(["service", "--", "--camera", "demo", *map(str, options)]) == 0
    unit = capsys.readouterr().out
    for shown in (ca, cert):
        assert f"\nBindReadOnlyPaths={shown}\n" in unit
    for secret in (password, key):
        assert f"\nLoadCredential={credential_name(secret)}:{secret}\n" in unit


def test_files_of_each_of_several_cameras_are_seen_and_checked(systemctl, tmp_path, capsys):
    file, secret = tmp_path / "two.toml", tmp_path / "door.password"
    secret.write_text("s\n")
    secret.chmod(0o600)
    text = f"""
        jsonl = "all.jsonl"
        append = true
        [[camera]]
        name = "door"
        source = "rtsp://me@host/live"
        password_file = "{secret}"
        [[camera]]
        name = "film"
        source = "/home/pi/film.mp4"
        """
    file.write_text(text)
    assert main(["service", "--config", str(file)]) == 0
    unit, err = capsys.readouterr()
    assert f"--jsonl: {GROWS}" in err
    assert "\nBindReadOnlyPaths=/home/pi/film.mp4\n" in unit
    assert f"\nLoadCredential={credential_name(secret)}:{secret}\n" in unit
    file.write_text(f'{text}save_image = "film.png"\n')
    assert main(["service", "--config", str(file)]) == 2
    assert "--save-image film.png: the second start would find" in capsys.readouterr().err
    file.write_text(f'{text}jsonl = "film.jsonl"\nappend = false\n')
    assert main(["service", "--config", str(file)]) == 2
    assert "--jsonl film.jsonl: the second start would find" in capsys.readouterr().err
