"""``fer-edge fleet`` as a user calls it: what is wrong is said before anything is begun."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from ports import free_port

from fer_edge.cli import main

BROKER = ["--mqtt", "mqtt://127.0.0.1:9"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--mqtt"),
        (BROKER, "--store"),
        (["--mqtt", "http://broker", "--store", "x.db"], "mqtt"),
        ([*BROKER, "--store", ""], "must not be empty"),
        ([*BROKER, "--store", "x.db", "--asks", "0"], "whole number"),
        ([*BROKER, "--store", "x.db", "--history", "-1"], "whole number"),
        ([*BROKER, "--store", "x.db", "--page", "nowhere"], "HOST:PORT"),
        ([*BROKER, "--store", "x.db", "--mqtt-ca", "none.pem"], "TLS"),
    ],
    ids=range(8),
)
def test_usage_is_told(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["fleet", *arguments])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_help_is_of_a_fleet_and_not_of_a_run(capsys):
    with pytest.raises(SystemExit):
        main(["fleet", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "a table of all devices" in told and "keep the page's token in this folder" in told
    assert "with the picture" not in told and "pause" not in told


@pytest.mark.parametrize("missing", ["paho.mqtt.enums", "psycopg", "starlette"])
def test_a_missing_package_names_its_extra(missing, monkeypatch, capsys, tmp_path):
    if missing != "paho.mqtt.enums":
        pytest.importorskip("paho.mqtt.enums")
    monkeypatch.setitem(sys.modules, missing, None)
    for name in [name for name in sys.modules if name.startswith("fer_edge.outputs.page.page")]:
        monkeypatch.delitem(sys.modules, name)
    store = "postgresql://fleet:secret@db/fleet" if missing == "psycopg" else str(tmp_path / "x.db")
    page = ["--page", ":0"] if missing == "starlette" else []
    extra = {"paho.mqtt.enums": "mqtt", "psycopg": "postgresql", "starlette": "page"}[missing]
    assert main(["fleet", *BROKER, "--store", store, *page]) == 2
    told = capsys.readouterr().err
    assert f"pip install 'fer-edge[{extra}]'" in told and "secret" not in told
    assert not list(tmp_path.iterdir())


def test_it_waits_for_a_broker_and_ends_by_a_signal(tmp_path):
    pytest.importorskip("paho.mqtt.enums")
    port = free_port()
    command = [sys.executable, "-m", "fer_edge", "fleet", "--mqtt", f"mqtt://127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*command, "--store", str(tmp_path / "fleet.db")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        assert "trying again" in line and "refused" in line
        process.send_signal(signal.SIGTERM)
        out, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and "0 rows written" in out and rest == ""
    assert (tmp_path / "fleet.db").stat().st_size


def test_a_store_of_a_device_is_refused(tmp_path, capsys):
    pytest.importorskip("paho.mqtt.enums")
    from outputs.mqtt_broker import WrittenStore

    WrittenStore(tmp_path / "device.db").close()
    assert main(["fleet", *BROKER, "--store", str(tmp_path / "device.db")]) == 2
    assert "single device" in capsys.readouterr().err
