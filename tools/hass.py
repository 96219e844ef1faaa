"""Let a real Home Assistant discover ``fer-edge run``, and look at what it shows; ``make test-hass`` does.

Home Assistant wants a newer Python than Debian stable has, so it is installed in a Debian of its own, from
Debian's mirrors and PyPI, once. It runs there with nothing but its MQTT integration, which is set up as a
person would, over its API. The exit code is 1 if something was not as docs/mqtt.md says. It needs root,
mmdebstrap and mosquitto, and 1 GB in build/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from arm import bootstrap

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from outputs.mosquitto import Mosquitto
from ports import free_port

REPOSITORY = Path(__file__).resolve().parents[1]

RELEASE = "forky"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
# A mirror that lags may have a release file that is out of date by now.
LENIENT = '--aptopt=Acquire::Check-Valid-Until "false"'
HASS = "/srv/hass/bin/hass"
SECONDS = 300.0
START_SECONDS = 900.0
"""At its first start, Home Assistant installs what its default integrations need."""
COMPILED = "pymicro-vad,pyspeex-noise"
"""Of its voice assistant; to install them takes a compiler."""
DEVICE = "shop"
NAME = f"hass-{os.getpid()}"
"""Of the run, so that it is told from others on this machine."""

SHOWN = {
    "sensor": (
        *("people", "people_today", "dominant", "attention", "fps", "temperature"),
        *(f"share_{name}" for name in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")),
    ),
    "binary_sensor": ("problem",),
    "switch": ("pause",),
    "camera": ("camera_picture",),
}
ENTITIES = {f"{kind}.{DEVICE}_{name}" for kind, names in SHOWN.items() for name in names}

CONFIGURATION = """
homeassistant: {name: Test, latitude: 50, longitude: 7, elevation: 60, time_zone: UTC, country: DE}
api:
config:
camera:
automation: !include automations.yaml
logger: {default: warning}
"""


HTTP = {
    "cors_allowed_origins": [],
    "login_attempts_threshold": -1,
    "ip_ban_enabled": True,
    "ssl_profile": "intermediate_v6",
    "use_x_frame_options": True,
    "created_at": "2026-01-01T00:00:00+00:00",
    "error": None,
    "error_message": None,
}
"""What Home Assistant stores of its server besides address and port."""


def main() -> int:
    """Run everything once, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, metavar="DIR", default=REPOSITORY / "build" / "hass",
                        help="the Debian with Home Assistant; made where it is missing")  # fmt: skip
    root = parser.parse_args().root.resolve()
    if os.geteuid() != 0:
        parser.error("needs root, for chroot")
    install(root)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # mosquitto gives up root's rights, and could then not read its files.
        folder.chmod(0o755)
        broker = Mosquitto(folder)
        stack.callback(broker.kill)
        try:
            home = stack.enter_context(home_assistant(root, folder / "hass.log"))
            print(f"Home Assistant {home.ask('/api/config')['version']}")
            home.connect(broker.port)
            look(home, broker.port, folder)
        except Wrong as error:
            print(f"WRONG: {error}\n{(folder / 'hass.log').read_text()[-3000:]}")
            return 1
    return 0


class Wrong(Exception):
    """Something is not as it should be."""


def look(home: Home, port: int, folder: Path) -> None:
    """Everything that docs/mqtt.md says of Home Assistant."""
    with running(port, folder, "--mqtt-camera") as process:
        await_that("all entities appear", lambda: set(home.states()) >= ENTITIES)
        await_that("there is somebody happy", lambda: home.states()[f"sensor.{DEVICE}_dominant"] == "happy")
        states = home.states()
        names = ("sensor.{}_people", "binary_sensor.{}_problem", "switch.{}_pause")
        told = [states[name.format(DEVICE)] for name in names]
        check("their states are right", told == ["1", "off", "off"], told)
        strange = {name for name in states if f".{DEVICE}_" in name} - ENTITIES
        check("and there are no others", not strange, strange)
        device = home.template(f"{{{{ device_attr(device_id('sensor.{DEVICE}_people'), 'name') }}}}")
        check("they belong to one device of the right name", device == DEVICE, device)
        await_that("the picture is a JPEG", lambda: picture(home).startswith(b"\xff\xd8"))

        switch = {"entity_id": f"switch.{DEVICE}_pause"}
        home.ask("/api/services/switch/turn_on", switch)
        await_that("the switch pauses", lambda: home.states()[f"switch.{DEVICE}_pause"] == "on")
        await_that("nobody is there in a pause", lambda: home.states()[f"sensor.{DEVICE}_people"] == "0")
        status = fer_edge(
            "session", "status", "--json", "--run", NAME, "--state-folder", str(folder / "state")
        )
        check("the run itself is paused", json.loads(status)["paused"] is True, status)
        home.ask("/api/services/switch/turn_off", switch)
        await_that("and resumes", lambda: home.states()[f"sensor.{DEVICE}_people"] == "1")

        home.restart()
        await_that("a Home Assistant that was restarted knows all again", lambda: not unavailable(home))
        process.send_signal(signal.SIGKILL)
        await_that("a run that was killed is unavailable", lambda: unavailable(home) == ENTITIES)
    with running(port, folder):
        await_that("it comes back", lambda: home.states()[f"sensor.{DEVICE}_people"] == "1")
        await_that("without --mqtt-camera, the picture goes",
                   lambda: f"camera.{DEVICE}_camera_picture" not in home.states())  # fmt: skip
    await_that("a run that has ended is unavailable", lambda: unavailable(home) == ENTITIES)
    fer_edge("mqtt", "--remove", "--mqtt", f"mqtt://127.0.0.1:{port}", "--mqtt-name", DEVICE,
             "--state-folder", str(folder / "state"))  # fmt: skip
    await_that("--remove takes all away", lambda: not ENTITIES & set(home.states()))
    automations = {name for name in home.states() if name.startswith("automation.")}
    wanted = (REPOSITORY / "examples" / "home_assistant.yaml").read_text().count("- alias:")
    check(f"the {wanted} automations of examples/ are loaded", len(automations) == wanted, automations)
    loaded = {home.states()[name] for name in automations}
    check("and none is refused", loaded == {"on"}, loaded)


def picture(home: Home) -> bytes:
    """The device's picture, as Home Assistant has it; empty before the first."""
    try:
        answer: bytes = home.ask(f"/api/camera_proxy/camera.{DEVICE}_camera_picture")
    except Wrong:
        return b""
    return answer


def unavailable(home: Home) -> set[str]:
    """Entities of the device that are not there, or have no state."""
    states = home.states()
    return {name for name in ENTITIES if states.get(name, "unavailable") == "unavailable"}


def check(what: str, true: bool, seen: object) -> None:
    """Print that ``what`` holds. Raises :class:`Wrong` with what was ``seen`` where it does not."""
    if not true:
        raise Wrong(f"{what}? No: {seen}")
    print(f"ok: {what}", flush=True)


def await_that(what: str, true: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until ``what`` holds."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise Wrong(f"{what}? Not within {seconds:.0f} s")
        time.sleep(0.2)
    print(f"ok: {what} ({time.monotonic() - began:.1f} s)", flush=True)


def install(root: Path) -> None:
    """Make a Debian with Home Assistant in it, at the first call."""
    if (root / HASS.removeprefix("/")).exists():
        return
    bootstrap(root, RELEASE, PACKAGES, "--variant=apt", LENIENT)
    for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copy(f"/{name}", root / name)
    folder = str(Path(HASS).parents[1])
    for command in (
        ["python3", "-m", "venv", folder],
        [f"{folder}/bin/pip", "install", "-q", "homeassistant"],
    ):
        subprocess.run(["chroot", root, *command], check=True)


class Home:
    """A Home Assistant that runs, and what may be asked of it."""

    def __init__(self, root: Path, log: Path) -> None:
        self._root, self._log = root, log
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._config = root / "srv" / "config"
        shutil.rmtree(self._config, ignore_errors=True)
        self._config.mkdir(parents=True)
        (self._config / "configuration.yaml").write_text(CONFIGURATION)
        # What YAML says of it is on trial for five minutes, until somebody confirms it.
        listening = {"server_host": ["127.0.0.1"], "server_port": port, **HTTP}
        stored = {"stable": listening, "pending": None, "yaml_migration_done": True}
        (self._config / ".storage").mkdir()
        (self._config / ".storage" / "http").write_text(
            json.dumps({"version": 3, "minor_version": 1, "key": "http", "data": stored})
        )
        shutil.copy(REPOSITORY / "examples" / "home_assistant.yaml", self._config / "automations.yaml")
        self._password = secrets.token_urlsafe()
        self._hass("--script", "auth", "-c", "/srv/config", "add", "tester", self._password)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _hass(self, *arguments: str) -> None:
        subprocess.run(["chroot", self._root, HASS, *arguments], check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Start it, and log in."""
        with self._log.open("ab") as log:
            command = ["chroot", str(self._root), HASS, "-c", "/srv/config", "--skip-pip-packages", COMPILED]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._token = ""
        await_that("Home Assistant lets its user in", self._logs_in)
        # Before that, it neither says "online" at the broker nor keeps anything when it is ended.
        await_that("it has started", lambda: self.ask("/api/config")["state"] == "RUNNING", START_SECONDS)

    def _logs_in(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise Wrong(f"Home Assistant ended:\n{self._log.read_text()[-3000:]}")
        client = {"client_id": f"{self._url}/"}
        flow = {"redirect_uri": f"{self._url}/", "handler": ["homeassistant", None]}
        known = {"username": "tester", "password": self._password}
        try:
            asked = self.ask("/auth/login_flow", client | flow)
            code = self.ask(f"/auth/login_flow/{asked['flow_id']}", client | known)["result"]
        except (OSError, Wrong):  # not listening, or not all of it is loaded
            return False
        form = client | {"grant_type": "authorization_code", "code": code}
        self._token = self.ask("/auth/token", form, as_form=True)["access_token"]
        return True

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(SECONDS)

    def restart(self) -> None:
        """End it and start it again."""
        self.stop()
        self.start()

    def connect(self, port: int) -> None:
        """Set up its MQTT integration."""
        flow = self.ask("/api/config/config_entries/flow", {"handler": "mqtt"})
        settings = {"set_client_cert": False, "set_ca_cert": "off", "transport": "tcp"}
        form = {"broker": "127.0.0.1", "port": port, "protocol": "5", "other_settings": settings}
        made = self.ask(f"/api/config/config_entries/flow/{flow['flow_id']}", form)
        check("its MQTT integration is set up", made["type"] == "create_entry", made)

    def states(self) -> dict[str, str]:
        """The state of each entity."""
        return {one["entity_id"]: one["state"] for one in self.ask("/api/states")}

    def template(self, text: str) -> str:
        """What a template gives."""
        answer = self.ask("/api/template", {"template": text})
        return answer.decode() if isinstance(answer, bytes) else str(answer)

    def ask(self, path: str, body: object = None, as_form: bool = False) -> Any:
        """The answer to a request: of JSON its content, else bytes. With a ``body`` it is a POST."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None
        if as_form:
            data = urllib.parse.urlencode(dict(body)).encode()  # type: ignore[call-overload]
        elif body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self._url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                content: bytes = answer.read()
                return (
                    json.loads(content)
                    if answer.headers.get_content_type() == "application/json"
                    else content
                )
        except urllib.error.HTTPError as error:
            raise Wrong(f"{path}: {error}: {error.read(500)!r}") from error


@contextlib.contextmanager
def home_assistant(root: Path, log: Path) -> Iterator[Home]:
    """A Home Assistant that was just installed, and runs."""
    processes = root / "proc"
    subprocess.run(["mount", "-t", "proc", "proc", processes], check=True)
    try:
        home = Home(root, log)
        try:
            yield home
        finally:
            home.stop()
    finally:
        subprocess.run(["umount", "--lazy", processes], check=True)


@contextlib.contextmanager
def running(port: int, folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """``fer-edge run`` of the demo camera at the broker."""
    with (folder / "run.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_edge", "run", "--camera", "demo", "--no-jsonl",
             "--name", NAME, "--state-folder", str(folder / "state"), "--mqtt", f"mqtt://127.0.0.1:{port}",
             "--mqtt-name", DEVICE, "--mqtt-discovery", *options],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(SECONDS)


def fer_edge(*arguments: str) -> str:
    """What a command of ours prints."""
    command = [sys.executable, "-m", "fer_edge", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
