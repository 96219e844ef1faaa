"""The faults that ``make together`` injects, each with what has to be reported meanwhile and afterwards."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from faults import Outcome, fill_disk
from together_scene import (
    PATIENCE,
    PREFIX,
    RESTED,
    TABLES,
    VIEWERS,
    Device,
    Scene,
    await_each,
    await_rows,
    await_that,
    begun,
    check_recovered,
    hold,
)

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from outputs.mosquitto import reading


def stalled_viewers(scene: Scene, outcome: Outcome) -> None:
    """50 viewers of each page request the video and read nothing."""
    with contextlib.ExitStack() as stack:
        for device, _ in itertools.product(scene.devices, range(VIEWERS)):
            stack.enter_context(begun(device.port, "/api/video.mjpg"))
            outcome.injected += 1
        hold(scene, scene.lasting(45), outcome, scene.devices)


def page_pause(scene: Scene, outcome: Outcome) -> None:
    """Pause and resume on the page."""

    def switch(device: Device, paused: bool) -> None:
        status, body = device.ask("/api/pause", {"paused": paused}, 30)
        outcome.check(status == 200, f"{device.name}: pause: {status} {body!r}")

    _pause(scene, outcome, switch)


def mqtt_pause(scene: Scene, outcome: Outcome) -> None:
    """Pause and resume at the broker."""

    def switch(device: Device, paused: bool) -> None:
        mark = scene.mark
        scene.reader.say(f"fer-edge/{device.name}/pause/set", b"ON" if paused else b"OFF")
        wanted = {"version": 1, "to": "pause/set", "ok": True, "paused": paused}
        await_that(
            lambda: wanted in map(json.loads, scene.said(mark, device, "answer")),
            f"{device.name}: an answer to pause/set",
            outcome,
        )

    _pause(scene, outcome, switch)


def _pause(scene: Scene, outcome: Outcome, switch: Callable[[Device, bool], None]) -> None:
    mark, connected = scene.mark, scene.reader.ready.is_set()
    for device in scene.devices:
        switch(device, True)
        outcome.injected += 1
    await_each(
        scene.devices,
        lambda device: device.camera().get("state") == "paused",
        "the page says paused",
        outcome,
    )
    # A frame that was on its way.
    time.sleep(RESTED)
    frames = {device.name: device.scrape() for device in scene.devices}
    hold_end = time.monotonic() + scene.lasting(15)
    while time.monotonic() < hold_end:
        for device in scene.devices:
            probe = device.health()
            told = (probe.status, probe.told.get("paused"))
            outcome.check(told == (200, True), f"{device.name}: /healthz while paused: {told}")
        time.sleep(1.0)
    if connected:
        await_each(
            scene.devices,
            lambda device: any(json.loads(state)["paused"] for state in scene.said(mark, device, "state")),
            "a state at the broker that says paused",
            outcome,
        )
    for device in scene.devices:
        before, now = frames[device.name], device.scrape()
        outcome.check(now == before, f"{device.name}: {before} frames, {now} after a pause")
        switch(device, False)
        check_recovered(device, outcome)


def broker_killed(scene: Scene, outcome: Outcome) -> None:
    """The broker is killed, and comes back without its retained messages.

    Meanwhile the runs are paused, and read their configuration anew.
    """
    until = time.monotonic() + scene.lasting(180)
    logged = scene.logged()
    scene.mosquitto.kill()
    scene.reader.ready.clear()
    outcome.injected += 1
    await_each(
        scene.devices,
        lambda device: "trying again" in device.run.messages[logged[device.name] :],
        "a message that the broker is away",
        outcome,
    )
    page_pause(scene, outcome)
    reload(scene, outcome)
    hold(scene, until - time.monotonic(), outcome, scene.devices)
    mark = scene.mark
    scene.mosquitto.start()
    _check_broker_back(scene, outcome, mark, logged)


def broker_hangs(scene: Scene, outcome: Outcome) -> None:
    """The broker is stopped, and continued."""
    logged, mark = scene.logged(), scene.mark
    scene.mosquitto.send(signal.SIGSTOP)
    outcome.injected += 1
    try:
        # Until a device has noticed; commands do not reach it meanwhile.
        hold(scene, scene.lasting(75, 60), outcome, scene.devices)
    finally:
        scene.reader.ready.clear()
        scene.mosquitto.send(signal.SIGCONT)
    _check_broker_back(scene, outcome, mark, logged)


def _check_broker_back(scene: Scene, outcome: Outcome, mark: int, logged: Mapping[str, int]) -> None:
    """Check that devices are back, have published again all that was lost, and lack no minute."""
    scene.reader.ready.wait(PATIENCE)
    for device in scene.devices:
        _check_device_back(scene, outcome, device, mark, logged[device.name])
    with reading(scene.broker, filters=("fer-edge/+/availability",), client_id="other") as other:
        time.sleep(RESTED)
        told = {one.topic.split("/")[1]: one.payload for one in other.messages}
    outcome.check(
        told == {device.name: b"online" for device in scene.devices}, f"retained availability: {told}"
    )


def _check_device_back(scene: Scene, outcome: Outcome, device: Device, mark: int, logged: int) -> None:
    for what, happened in {
        "online at the broker again": lambda: b"online" in scene.said(mark, device, "availability"),
        "its identity at the broker again": lambda: scene.said(mark, device, "identity"),
        "its state at the broker again": lambda: scene.said(mark, device, "state"),
        "announced to Home Assistant again": lambda: discovered(scene, device, mark),
        "a message that the broker is back": lambda: "again after" in device.run.messages[logged:],
    }.items():
        await_that(happened, f"{device.name}: {what}", outcome)
    for table in TABLES:
        await_rows(scene, device, table, outcome)
    check_recovered(device, outcome)


def discovered(scene: Scene, device: Device, mark: int) -> bool:
    """Whether a device was announced to Home Assistant, as a whole, after ``mark`` messages."""
    topics = {one.topic for one in scene.reader.messages[mark:] if one.topic.startswith(f"{PREFIX}/device/")}
    for topic in topics:
        for payload in scene.since(mark, topic):
            told = json.loads(payload)
            if told["dev"]["name"] == device.name and {"o", "cmps"} <= told.keys() and len(told["cmps"]) > 10:
                return True
    return False


def home_assistant(scene: Scene, outcome: Outcome) -> None:
    """Home Assistant restarts."""
    mark = scene.mark
    scene.reader.say(f"{PREFIX}/status", b"online")
    outcome.injected += 1
    await_each(
        scene.devices,
        lambda device: discovered(scene, device, mark),
        "announced to Home Assistant that has started",
        outcome,
    )


def camera_lost(scene: Scene, outcome: Outcome) -> None:
    """The camera on the network is pulled, and put back; every second time it hangs instead."""
    device = next((device for device in scene.devices if device.name == "stream"), None)
    if device is None:
        return
    hangs = scene.turns["camera lost"] % 2 == 0
    mark = scene.mark
    (scene.camera.hang if hangs else scene.camera.pull)(*([True] if hangs else []))
    outcome.injected += 1

    def lost() -> bool:
        probe = device.health()
        return probe.status == 503 and probe.told.get("reason") == "no camera gives frames"

    await_that(lost, f"{device.name}: /healthz 503 with the reason", outcome)
    camera = device.camera()
    outcome.check(camera.get("state") == "waiting" and bool(camera.get("reason")), f"the page says {camera}")
    await_that(
        lambda: any(
            json.loads(state)["cameras"][0]["state"] == "waiting"
            for state in scene.said(mark, device, "state")
        ),
        f"{device.name}: a state at the broker in which the camera is waited for",
        outcome,
    )
    hold(scene, scene.lasting(45), outcome, [device], 503)
    if hangs:
        scene.camera.hang(False)
    else:
        scene.camera.plug()
    check_recovered(device, outcome)


def stopped(scene: Scene, outcome: Outcome) -> None:
    """SIGSTOP for a while; every second time for so long that the broker gives the devices up."""
    long = scene.turns["stopped"] % 2 == 1
    mark = scene.mark
    for device in scene.devices:
        device.run.process.send_signal(signal.SIGSTOP)
        outcome.injected += 1
    time.sleep(60 if long else 12)
    for device in scene.devices:
        outcome.check(
            device.ask("/healthz", seconds=2)[0] == 0, f"{device.name}: answers while it is stopped"
        )
        if long:
            told = scene.said(mark, device, "availability")
            outcome.check(told == [b"offline"], f"{device.name}: availability while it is stopped: {told}")
    for device in scene.devices:
        device.run.process.send_signal(signal.SIGCONT)
    for device in scene.devices:
        check_recovered(device, outcome)
    if long:
        await_each(
            scene.devices,
            lambda device: scene.said(mark, device, "availability")[-1] == b"online",
            "online again",
            outcome,
        )


def full_disk(scene: Scene, outcome: Outcome) -> None:
    """Another program fills the disk for a while."""
    devices = [device for device in scene.devices if device.mounted]
    logged, filled = scene.logged(), threading.Event()

    def told(what: str, device: Device) -> set[str]:
        lines = device.run.messages[logged[device.name] :].splitlines()
        return {
            name
            for name in ("jsonl", "video", "store")
            if any(line.startswith(f"{name}: {what}") for line in lines)
        }

    def fill() -> None:
        while not filled.wait(0.2):
            for device in devices:
                fill_disk(device.folder / "filler")

    thread = threading.Thread(target=fill)
    thread.start()
    outcome.injected += len(devices)
    try:
        # The journal of a store that has run for a while has room for more.
        await_each(
            devices, lambda device: {"jsonl", "video"} <= told("", device), "the disk is told of", outcome
        )
        hold(scene, scene.lasting(30), outcome, devices)
    finally:
        filled.set()
        thread.join()
        for device in devices:
            (device.folder / "filler").unlink(missing_ok=True)
    await_each(
        devices, lambda device: told("works again", device) == told("", device), "all works again", outcome
    )
    for device in devices:
        check_recovered(device, outcome)
        errors = device.figure("fer_edge_output_errors_total")
        outcome.check(errors >= len(told("", device)), f"{device.name}: {errors} errors in /metrics")


def reload(scene: Scene, outcome: Outcome) -> None:
    """SIGHUP with other JSON lines, segments and thresholds, and with a configuration that is bad."""
    for device in scene.devices:
        for changed, extra, wanted in (
            (True, "", "configuration read again, changed: "),
            (False, "no_such_key = 1", "configuration not read again, the old one goes on: "),
            (False, "", "configuration read again, nothing changed"),
        ):
            logged = len(device.run.messages)
            device.configure(changed, extra)
            device.run.process.send_signal(signal.SIGHUP)
            outcome.injected += 1
            say_so = functools.partial(_logged, device, logged, wanted)
            await_that(say_so, f"{device.name}: message {wanted!r}", outcome)
        check_recovered(device, outcome)


def _logged(device: Device, logged: int, wanted: str) -> bool:
    return wanted in device.run.messages[logged:]


FAULTS: Mapping[str, Callable[[Scene, Outcome], None]] = {
    "stalled viewers": stalled_viewers,
    "page pause": page_pause,
    "camera lost": camera_lost,
    "broker killed": broker_killed,
    "reload": reload,
    "full disk": full_disk,
    "stopped": stopped,
    "mqtt pause": mqtt_pause,
    "broker hangs": broker_hangs,
    "home assistant": home_assistant,
}
