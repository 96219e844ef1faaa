"""The cameras of a machine: what is seen, what keeps it from being used, and what each gives when tried.

Cameras are tried, and picamera2 is imported, in processes of their own: drivers and camera stacks hang, and
crash, in native code.
"""

from __future__ import annotations

import contextlib
import grp
import importlib.util
import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import FerEdgeError
from ..sources import cameras, open_camera
from ..sources.picamera import load_picamera
from .finding import Finding

SECONDS = 2.0
"""How long a camera is tried from its first picture on."""

FIRST_PICTURE = 6.0
"""Seconds within which the first picture comes from a camera that works."""

PATIENCE = 40.0
"""Seconds after which a camera or picamera2 counts as hanging, on a slow board, too."""

END_PATIENCE = 5.0
"""Seconds for a process that hangs to end when it is killed."""

BLACK = 6
"""Grey level that no pixel of a black picture exceeds, noise included."""

DIST_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""Where apt installs picamera2."""


@dataclass(frozen=True)
class Trial:
    """What a camera gave: ``frames`` in ``seconds`` from the first on, ``width`` x ``height`` pixels.

    ``brightest``: the highest grey level of the last frame; ``error``: why there was none, or no more.
    """

    frames: int = 0
    seconds: float = 0.0
    width: int = 0
    height: int = 0
    brightest: int = 0
    error: str | None = None


def look() -> list[Finding]:
    """Look at the cameras without opening them; what is wrong with one is a note."""
    seen = cameras.list_cameras()
    ribbon = list(_ribbon())
    found = [_seen(camera) for camera in seen] + ribbon
    if found:
        return found
    demo = "works without one"
    if importlib.util.find_spec("skimage") is None:
        demo += " (after pip install 'fer-edge[demo]')"
    return [Finding("note", "cameras", f"none seen; `fer-edge run --camera demo` {demo}")]


def try_all() -> list[Finding]:
    """Try every camera for :data:`SECONDS`. Where one works, what is wrong with the others is a note."""
    found = [_tried(str(camera.index), str(camera), camera) for camera in cameras.list_cameras()]
    for ribbon in _ribbon():
        if ribbon.state != "ok":
            found.append(replace(ribbon, state="fault"))
        elif cameras.ribbon_devices() or not found:
            # A board may have picamera2 without such a camera.
            found.append(_tried("picamera2", "picamera2"))
    if not found:
        return [Finding("fault", "cameras", "none seen", "plug one in; lsusb lists what is on USB")]
    if any(one.state != "fault" for one in found):
        return [replace(one, state="note") if one.state == "fault" else one for one in found]
    return found


def _seen(camera: cameras.Camera) -> Finding:
    if not camera.readable:
        return _forbidden(camera)
    holders = cameras.describe_holders(_device(camera))
    return Finding("ok", "cameras", f"{camera}, open in {holders}" if holders else str(camera))


def _forbidden(camera: cameras.Camera) -> Finding:
    detail, remedy = f"{camera.index}: no permission for {_device(camera)}", ""
    number = _device(camera).stat().st_gid
    try:
        group = grp.getgrgid(number)
    except KeyError:
        group = None
    user = _user()
    if group is None or group.gr_name == "root":
        remedy = f"sudo chgrp video {_device(camera)}; sudo usermod -aG video {user}; log in again"
    elif user in group.gr_mem and number not in os.getgroups():
        remedy = f"log out and in again: {user} is in the group {group.gr_name} since this login began"
    else:
        remedy = f"sudo usermod -aG {group.gr_name} {user}, and log in again"
    return Finding("note", "cameras", detail, remedy)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "$USER"


def _device(camera: cameras.Camera) -> Path:
    return cameras.DEV / f"video{camera.index}"


def _ribbon() -> Iterator[Finding]:
    """What there is to say of ribbon-cable cameras: whether one is plugged in, only opening it tells."""
    devices = cameras.ribbon_devices()
    if importlib.util.find_spec("picamera2") is None:
        if devices:
            yield Finding(
                "note",
                "cameras",
                f"a ribbon-cable camera at {devices[0]}, which only picamera2 can read; this Python lacks it",
                _install_picamera(),
            )
        return
    error = _asked(import_picamera).get("error")
    yield Finding("note", "cameras", error) if error else Finding("ok", "cameras", "picamera2 installed")


def _install_picamera() -> str:
    """The command that lets this Python import picamera2."""
    installed = (DIST_PACKAGES / "picamera2").exists()
    commands = [] if installed else ["sudo apt install -y python3-picamera2 --no-install-recommends"]
    # It is compiled for the system's own Python alone.
    if sys.base_prefix != "/usr":
        commands.append("/usr/bin/python3 -m venv --system-site-packages ~/fer, and install fer-edge there")
    elif sys.prefix != sys.base_prefix:
        commands.append(
            f"sed -i '/^include-system-site-packages/s/false/true/' {Path(sys.prefix, 'pyvenv.cfg')}"
        )
    return "; ".join(commands)


def import_picamera() -> dict[str, Any]:
    """Import picamera2; the ``error`` of the answer says why that failed."""
    try:
        load_picamera()
    except FerEdgeError as error:
        return {"error": str(error)}
    return {}


def camera_trial(spec: str) -> dict[str, Any]:
    """Try a camera; the answer has the members of a :class:`Trial`."""
    return asdict(try_camera(spec))


def report(answer: dict[str, Any]) -> None:
    """Print an answer as JSON and end the process."""
    print(json.dumps(answer), flush=True)
    # Not through the interpreter's end, which would wait for a driver that hangs.
    os._exit(0)


def try_camera(spec: str, seconds: float = SECONDS, first: float = FIRST_PICTURE) -> Trial:
    """Read a camera for so many ``seconds`` from its first picture on, which comes within ``first``."""
    trial = Trial()
    ended, began = threading.Event(), threading.Event()

    def read() -> None:
        nonlocal trial
        started = 0.0
        try:
            with open_camera(spec) as source:
                opened.set()
                for frame in source:
                    now = time.monotonic()
                    if not began.is_set():
                        started = now
                        began.set()
                    height, width = frame.image.shape[:2]
                    brightest = int(frame.image[::4, ::4].max())
                    trial = Trial(trial.frames + 1, now - started, width, height, brightest)
                    if ended.is_set():
                        return
        except Exception as error:  # whatever a driver or library raises
            trial = replace(trial, error=str(error) or repr(error))
        finally:
            opened.set()
            began.set()
            finished.set()

    opened, finished = threading.Event(), threading.Event()
    threading.Thread(target=read, daemon=True).start()
    opened.wait()
    if began.wait(first):
        finished.wait(seconds)
    ended.set()
    # For its camera to be closed; one that hangs in a read is left to the end of the process.
    finished.wait(1)
    return trial


def _tried(spec: str, name: str, camera: cameras.Camera | None = None) -> Finding:
    if camera is not None and not camera.readable:
        return replace(_forbidden(camera), state="fault")
    trial = Trial(**_asked(camera_trial, spec))
    device = None if camera is None else _device(camera)
    if trial.error is not None:
        holders = [] if device is None else sorted(cameras.processes_holding(device))
        remedy = f"end that program: kill {' '.join(map(str, holders))}" if holders else ""
        return Finding("fault", "cameras", f"{name}: {trial.error}", remedy)
    if trial.frames:
        rate = f", {(trial.frames - 1) / trial.seconds:.3g} frames a second" if trial.seconds else ""
        summary = f"{name}: {trial.width}x{trial.height}{rate}"
        if trial.brightest <= BLACK:
            return Finding(
                "note", "cameras", f"{summary}, but all black", "take off the lens cap, or make light"
            )
        return Finding("ok", "cameras", summary)
    if device is None:
        remedy = "seat both ends of the ribbon cable; rpicam-hello tries it alone"
    else:
        remedy = (
            "another port or cable, a powered hub; where it needs libcamera, --camera picamera2; "
            f"v4l2-ctl -d {device} --stream-mmap --stream-count=9 tries it alone"
        )
    return Finding("fault", "cameras", f"{name}: opens, but gives no picture in {FIRST_PICTURE:g} s", remedy)


def _asked(work: Callable[..., dict[str, Any]], *arguments: str) -> dict[str, Any]:
    """What a function of this module answers in a process of its own; an ``error``, where it does not."""
    if getattr(sys, "frozen", False):
        # A program made by PyInstaller has no Python to start.
        return work(*arguments)
    listed = ", ".join(map(repr, arguments))
    code = f"import {__name__} as cameras; cameras.report(cameras.{work.__name__}({listed}))"
    # -P: the working folder may hold modules of other programs.
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"error": f"hangs: no answer for {PATIENCE:g} s; unplug it, or sudo reboot"}
    finally:
        _end(process)
    lines = output.splitlines()
    if process.returncode == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    if process.returncode < 0:
        return {"error": f"crashes in native code ({signal.Signals(-process.returncode).name}); sudo reboot"}
    return {"error": (errors.strip().splitlines() or ["gives no answer"])[-1]}


def _end(process: subprocess.Popen[str]) -> None:
    """End a process; one that hangs within the kernel is left behind."""
    process.kill()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_PATIENCE)
