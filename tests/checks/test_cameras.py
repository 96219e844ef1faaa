"""What doctor says of cameras, in made situations."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest

from fer_edge.checks import cameras as doctor
from fer_edge.checks import installation
from fer_edge.checks.finding import Finding
from fer_edge.errors import SourceError, SourceLostError
from fer_edge.sources import cameras
from fer_edge.sources.base import Frame, Source
from fer_edge.sources.cameras import Camera
from fer_edge.sources.picamera import has_picamera

USB = Camera(0, "USB Camera", "uvcvideo", True)


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """Set the cameras that the kernel lists; their devices are files here, and there is no picamera2."""

    def pretend(*listed, ribbon=()):
        monkeypatch.setattr(cameras, "list_cameras", lambda: list(listed))
        monkeypatch.setattr(cameras, "ribbon_devices", lambda: list(ribbon))
        for camera in listed:
            (tmp_path / f"video{camera.index}").touch()

    find_spec = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name == "picamera2" else find_spec(name)
    )
    monkeypatch.setattr(doctor, "_device", lambda camera: tmp_path / f"video{camera.index}")
    pretend()
    return pretend


@pytest.fixture
def answers(monkeypatch):
    """Set what the process that tries a camera answers, by the name of the camera."""

    def pretend(**trials):
        def asked(work, *arguments):
            call = f"{work.__name__} {arguments}"
            return next(trial for name, trial in trials.items() if name in call)

        monkeypatch.setattr(doctor, "_asked", asked)

    return pretend


def works(**changed):
    return {"frames": 59, "seconds": 2.0, "width": 640, "height": 480, "brightest": 200, **changed}


def test_a_camera_that_works_is_told_with_its_rate(seen, answers):
    seen(USB)
    answers(**{"'0'": works()})
    assert doctor.try_all() == [Finding("ok", "cameras", "0 (USB Camera): 640x480, 29 frames a second")]


def test_a_single_slow_picture_will_do(seen, answers):
    seen(USB)
    answers(**{"'0'": works(frames=1, seconds=0.0)})
    assert doctor.try_all() == [Finding("ok", "cameras", "0 (USB Camera): 640x480")]


def test_a_black_picture_is_a_note(seen, answers):
    seen(USB)
    answers(**{"'0'": works(brightest=6)})
    (finding,) = doctor.try_all()
    assert (finding.state, "all black" in finding.detail) == ("note", True)


def test_a_camera_that_opens_and_gives_nothing_is_a_fault_with_ways_on(seen, answers, tmp_path):
    seen(USB)
    answers(**{"'0'": {}})
    (finding,) = doctor.try_all()
    assert finding.state == "fault"
    assert "opens, but gives no picture" in finding.detail
    assert "--camera picamera2" in finding.remedy
    assert f"v4l2-ctl -d {tmp_path}/video0" in finding.remedy


def test_one_camera_that_works_is_enough(seen, answers):
    seen(USB, Camera(2, "Other", "uvcvideo", True))
    answers(**{"'0'": {"error": "camera 0: /dev/video0 gives no video"}, "'2'": works()})
    assert [one.state for one in doctor.try_all()] == ["note", "ok"]


def test_none_seen_is_a_fault_only_where_cameras_are_to_be_tried(seen):
    assert [one.state for one in doctor.look()] == ["note"]
    assert "demo" in doctor.look()[0].detail
    assert [one.state for one in doctor.try_all()] == ["fault"]


def test_the_command_tries_cameras_where_it_is_asked_to(cli, seen, monkeypatch):
    for name in ("_backends", "_weights"):
        monkeypatch.setattr(installation, name, list)
    code, out, _ = cli("doctor", "--camera", "--json")
    assert code == 1
    assert json.loads(out)[-1] == {
        "state": "fault",
        "subject": "cameras",
        "detail": "none seen",
        "remedy": "plug one in; lsusb lists what is on USB",
    }
    code, out, _ = cli("doctor", "--camera")
    assert out.splitlines()[-1].endswith("none seen; remedy: plug one in; lsusb lists what is on USB")
    assert cli("doctor")[0] == 0


@pytest.mark.parametrize(
    ("name", "members", "words"),
    [
        ("video", [], "sudo usermod -aG video ada, and log in again"),
        ("video", ["ada"], "log out and in again"),
        ("root", [], "sudo chgrp video "),
    ],
)
def test_no_permission_is_told_with_the_command(seen, monkeypatch, name, members, words):
    seen(Camera(0, "USB Camera", "uvcvideo", False))
    monkeypatch.setattr(doctor, "_user", lambda: "ada")
    monkeypatch.setattr(doctor.os, "getgroups", list)
    group = types.SimpleNamespace(gr_name=name, gr_mem=members)
    monkeypatch.setattr(doctor.grp, "getgrgid", lambda number: group)
    (found,), (tried,) = doctor.look(), doctor.try_all()
    assert (found.state, tried.state) == ("note", "fault")
    assert "no permission for" in found.detail
    assert words in found.remedy
    assert tried.remedy == found.remedy


def test_who_has_the_camera_is_told_with_the_command_that_ends_it(seen, answers, tmp_path):
    seen(USB)
    answers(**{"'0'": {"error": "camera 0: /dev/video0 is busy"}})
    with (tmp_path / "video0").open() as device:
        holder = subprocess.Popen(["sleep", "60"], stdin=device)
    try:
        (found,), (tried,) = doctor.look(), doctor.try_all()
    finally:
        holder.kill()
        holder.wait()
    # Another program may have it open without reading it.
    assert (found.state, found.detail) == ("ok", f"0 (USB Camera), open in sleep (process {holder.pid})")
    assert (tried.state, tried.remedy) == ("fault", f"end that program: kill {holder.pid}")
    assert doctor.look() == [Finding("ok", "cameras", "0 (USB Camera)")]


# ribbon-cable cameras


@pytest.fixture
def python_of(monkeypatch, tmp_path):
    """Pretend that this Python belongs to another folder, and that apt installed picamera2, or not."""

    def pretend(prefix, base, apt):
        monkeypatch.setattr(doctor.sys, "prefix", prefix)
        monkeypatch.setattr(doctor.sys, "base_prefix", base)
        monkeypatch.setattr(doctor, "DIST_PACKAGES", tmp_path / ("there" if apt else "missing"))
        (tmp_path / "there" / "picamera2").mkdir(parents=True)

    return pretend


APT = "sudo apt install -y python3-picamera2 --no-install-recommends"
LET_IN = "sed -i '/^include-system-site-packages/s/false/true/' /opt/fer/pyvenv.cfg"
ANEW = "/usr/bin/python3 -m venv --system-site-packages ~/fer, and install fer-edge there"


@pytest.mark.parametrize(
    ("prefix", "base", "apt", "remedy"),
    [
        ("/opt/fer", "/usr", True, LET_IN),
        ("/opt/fer", "/usr", False, f"{APT}; {LET_IN}"),
        ("/usr", "/usr", False, APT),
        ("/opt/fer", "/opt/.pyenv/versions/3.12", True, ANEW),
    ],
)
def test_a_ribbon_camera_without_picamera2_is_told_with_the_command(
    seen, python_of, prefix, base, apt, remedy
):
    seen(ribbon=[Path("/dev/video0")])
    python_of(prefix, base, apt)
    (found,), (tried,) = doctor.look(), doctor.try_all()
    assert (found.state, tried.state) == ("note", "fault")
    assert "/dev/video0, which only picamera2 can read" in found.detail
    assert found.remedy == tried.remedy == remedy


def test_the_command_lets_a_virtual_environment_see_the_systems_packages(tmp_path, python_of):
    python_of(str(tmp_path), "/usr", True)
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    subprocess.run(doctor._install_picamera(), shell=True, check=True)
    assert (tmp_path / "pyvenv.cfg").read_text().splitlines()[1] == "include-system-site-packages = true"


@pytest.fixture
def picamera(seen, monkeypatch, tmp_path):
    """Install a picamera2 that does what it is told, for this process and for those it starts."""

    def install(code):
        package = tmp_path / "packages" / "picamera2"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(code)
        monkeypatch.syspath_prepend(package.parent)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        found = object()
        monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: found)
        monkeypatch.delitem(sys.modules, "picamera2", raising=False)

    yield install
    sys.modules.pop("picamera2", None)


CLASH = "numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88"


@pytest.mark.parametrize(
    "error", [f"ValueError('{CLASH}')", "ImportError('numpy.core.multiarray failed to import')"]
)
def test_a_picamera2_for_another_numpy_is_told_with_the_command(seen, picamera, error):
    picamera(f"raise {error}\n")
    seen(ribbon=[Path("/dev/video0")])
    (found,), (tried,) = doctor.look(), doctor.try_all()
    assert (found.state, tried.state) == ("note", "fault")
    other = "numpy>=2" if np.__version__.startswith("1.") else "numpy<2"
    assert f"compiled for another NumPy than the installed {np.__version__}" in found.detail
    assert f"pip install '{other}'" in found.detail
    # What a run without --camera would say.
    with pytest.raises(SourceError, match="compiled for another NumPy"):
        has_picamera()


def test_a_picamera2_that_crashes_is_reported(seen, picamera):
    picamera("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n")
    assert "crashes in native code (SIGSEGV)" in doctor.look()[0].detail


def test_a_missing_picamera2_is_no_camera():
    if doctor.importlib.util.find_spec("picamera2"):
        pytest.skip("picamera2 is installed")
    assert not has_picamera()


def test_a_picamera2_without_a_camera_is_silent_beside_another_camera(seen, picamera, answers):
    picamera("")
    none = {"error": "picamera2: no camera found"}
    answers(import_picamera={}, **{"'picamera2'": none, "'0'": works()})
    seen(USB)
    assert [one.state for one in doctor.try_all()] == ["ok"]
    seen(USB, ribbon=[Path("/dev/video1")])
    assert [one.state for one in doctor.try_all()] == ["ok", "note"]
    seen()
    assert [one.state for one in doctor.try_all()] == ["fault"]


# the process that tries


class Made(Source):
    """A camera that does what it is told."""

    live = True
    name = "made"

    def __init__(self, frames, then=None):
        self.frames, self.then, self.closed = frames, then, threading.Event()

    def __iter__(self):
        for _ in range(self.frames):
            time.sleep(0.01)
            yield Frame(np.full((48, 64, 3), 90, np.uint8), 0.0, self.name)
        if self.then is not None:
            raise self.then
        self.closed.wait()

    def close(self):
        self.closed.set()


@pytest.fixture
def camera(monkeypatch):
    def pretend(source):
        def open_camera(spec):
            if isinstance(source, Exception):
                raise source
            return source

        monkeypatch.setattr(doctor, "open_camera", open_camera)

    return pretend


def test_a_camera_is_read_for_the_time_from_its_first_picture_on(camera):
    camera(Made(10**6))
    trial = doctor.try_camera("0", seconds=0.3)
    assert trial.frames > 1
    assert trial.seconds > 0
    assert (trial.width, trial.height, trial.brightest, trial.error) == (64, 48, 90, None)


def test_a_camera_without_pictures_is_given_up(camera):
    silent = Made(0)
    camera(silent)
    assert doctor.try_camera("0", first=0.05) == doctor.Trial()
    silent.closed.set()


@pytest.mark.parametrize("made", [SourceError("it is busy"), Made(2, SourceLostError("it is busy"))])
def test_what_a_camera_fails_with_is_reported(camera, made):
    camera(made)
    assert doctor.try_camera("0").error == "it is busy"


def test_a_camera_is_tried_in_a_process_of_its_own(astronaut):
    answer = doctor._asked(doctor.camera_trial, "demo")
    assert answer["frames"] > 1
    assert answer["error"] is None
    assert answer["width"] > 0


def test_a_camera_is_tried_with_no_module_of_the_working_folder(tmp_path, monkeypatch, astronaut):
    (tmp_path / "cv2.py").write_text("raise ImportError('of another program')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert doctor._asked(doctor.camera_trial, "demo")["error"] is None


def test_a_frozen_program_tries_cameras_itself(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/no/python")
    assert "there is no /dev/video97" in doctor._asked(doctor.camera_trial, "97")["error"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -SEGV $$", "crashes in native code (SIGSEGV)"),
        ("exec sleep 60", "hangs: no answer for 0.5 s"),
        ("echo 'No module named that' >&2; exit 1", "No module named that"),
        ("exit 1", "gives no answer"),
    ],
)
def test_a_driver_that_hangs_or_crashes_is_a_finding(monkeypatch, tmp_path, seen, script, words):
    stub = tmp_path / "python"
    stub.write_text(f"#!/bin/sh\n{script}\n")
    stub.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(stub))
    monkeypatch.setattr(doctor, "PATIENCE", 0.5 if "sleep" in script else 60)
    seen(USB)
    (finding,) = doctor.try_all()
    assert (finding.state, words in finding.detail) == ("fault", True)


def test_a_driver_that_not_even_a_kill_ends_is_a_finding(monkeypatch, tmp_path, seen):
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\nexec sleep 60\n")
    stub.chmod(0o755)
    left = []
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: left.append(process))
    monkeypatch.setattr(doctor.sys, "executable", str(stub))
    monkeypatch.setattr(doctor, "PATIENCE", 0.5)
    monkeypatch.setattr(doctor, "END_PATIENCE", 0.1)
    seen(USB)
    (finding,) = doctor.try_all()
    assert "hangs: no answer for 0.5 s" in finding.detail
    (process,) = left
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_check_that_fails_itself_is_a_finding_beside_the_others(monkeypatch):
    def broken():
        raise RuntimeError("no /proc")

    monkeypatch.setattr(installation, "_crops", broken)
    monkeypatch.setattr(installation, "_backends", list)
    found = installation.examine()
    assert Finding("fault", "crops", "cannot be examined: RuntimeError('no /proc')") in found
    assert any(one.subject == "clock" for one in found)


def test_ribbon_cameras_are_told_by_their_driver(monkeypatch):
    monkeypatch.setattr(cameras, "driver_of", lambda device: "unicam" if device.name == "video7" else "uvc")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [Path("/dev/video8"), Path("/dev/video7")])
    assert cameras.ribbon_devices() == [Path("/dev/video7")]
