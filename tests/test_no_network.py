"""No command opens a network socket, or writes anything that was not asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import fer_edge
from fer_edge.models.backends import available_backends

# Clocks, signals and processes under an emulator are the emulator's.
pytestmark = pytest.mark.heavy

REPOSITORY = Path(__file__).parents[1]

# In {photo} there is a face, {table} is a CSV, {out} a folder for what a command is asked to write.
COMMANDS = {
    "doctor": ["doctor"],
    "completion": ["completion", "bash"],
    "predict an image": ["predict", "{photo}", "--backend", "{backend}"],
    "predict a CSV": ["predict", "{table}", "--backend", "{backend}", "--out", "{out}/answers.csv"],
    "run": ["run", "--camera", "demo", "--frames", "3", "--jsonl", "{out}/faces.jsonl"],
    "bench": ["bench", "--calls", "1"],
    "evaluate": ["evaluate", "{labelled}", "--backend", "{backend}", "--confusion", "{out}/confusion.png"],
}

# fmt: off
_FILE_CALLS = (
    "open", "openat", "creat", "mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2",
    "link", "linkat", "symlink", "symlinkat", "truncate", "unlink", "unlinkat", "rmdir", "chmod",
    "fchmodat", "utimensat",
)
# fmt: on
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")


@dataclass(frozen=True)
class Traces:
    """What a command left behind; ``network`` and ``written`` are None where strace does not work."""

    homes: list[Path]
    """In the home, cache and temporary folders, all empty before."""
    network: list[str] | None
    """System calls of the network."""
    written: list[Path] | None
    """Files and folders made, changed or deleted, or tried to, where nothing was asked for."""


def _strace_works() -> bool:
    return (
        bool(shutil.which("strace")) and not subprocess.run(["strace", "-o", os.devnull, "true"]).returncode
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, drawn_csv):
    cv2 = pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("inputs")
    cv2.imwrite(str(folder / "astronaut.png"), data.astronaut()[:, :, ::-1])
    labelled = drawn_csv.read_text().splitlines()[:8]
    (folder / "labelled.csv").write_text("\n".join(labelled) + "\n")
    rows = [line.split(",")[1] for line in labelled]
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    # ONNX Runtime, where it is there: LiteRT writes nothing in any version.
    backend = "onnx" if "onnx" in available_backends() else "auto"
    return {
        "photo": folder / "astronaut.png",
        "table": folder / "table.csv",
        "labelled": folder / "labelled.csv",
        "backend": backend,
    }


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.heavy if name == "bench" else ()) for name in COMMANDS],
)
def traces(request, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    homes = {name: folder / name.lower() for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR")}
    for home in (*homes.values(), folder / "out"):
        home.mkdir()
    if request.param == "doctor":
        # Where the two are not set, as on most machines, both folders are in the home.
        del homes["XDG_CACHE_HOME"], homes["XDG_CONFIG_HOME"]
    # Telemetry leaves out machines that look like continuous integration, so not the whole environment.
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "FER_EDGE_PURE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {name: str(home) for name, home in homes.items()} | {"PYTHONDONTWRITEBYTECODE": "1"}
    arguments = [word.format(out=folder / "out", **inputs) for word in COMMANDS[request.param]]
    command = [sys.executable, "-m", "fer_edge", *arguments]
    traced = _strace_works()
    if traced:
        command = [*_strace(folder / "trace"), *command]
    asked = folder / "out"
    done = subprocess.run(command, env=environment, cwd=asked, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    left = [path for home in homes.values() for path in home.rglob("*")]
    if not traced:
        return Traces(left, None, None)
    lines = (folder / "trace").read_text(errors="replace").splitlines()
    return Traces(left, _network_calls(lines), _written(lines, asked, (asked, homes["TMPDIR"])))


def _strace(trace: Path) -> list[str]:
    calls = ",".join(["%network", *(f"?{name}" for name in _FILE_CALLS)])
    return ["strace", "-f", "-y", "-qq", "-o", str(trace), "-e", f"trace={calls}"]


def _network_calls(lines: list[str]) -> list[str]:
    names = [(re.search(r"^\d+ +(\w+)\(", line), line) for line in lines]
    return [line for name, line in names if name and name.group(1) not in _FILE_CALLS]


def _written(lines: list[str], cwd: Path, allowed: tuple[Path, ...]) -> list[Path]:
    found = []
    for line in lines:
        call = re.search(r"^\d+ +(\w+)\((.*)", line)
        if not call or call.group(1) not in _FILE_CALLS:
            continue
        if call.group(1) in ("open", "openat") and not _WRITES.search(line):
            continue
        for folder, name in re.findall(r'(?:<([^<>]*)>, )?"((?:[^"\\]|\\.)*)"', call.group(2)):
            path = Path(os.path.normpath(Path(folder or cwd) / name))
            if not any(path.is_relative_to(place) for place in (*allowed, "/dev", "/proc")):
                found.append(path)
    return found


def test_home_cache_and_temporary_folders_stay_empty(traces):
    assert traces.homes == []


def test_no_socket_is_opened(traces):
    if traces.network is None:
        pytest.skip("strace is not installed, or may not trace here")
    assert traces.network == []


def test_nothing_is_written_but_what_was_asked(traces):
    if traces.written is None:
        pytest.skip("strace is not installed, or may not trace here")
    assert traces.written == []


def test_the_trace_shows_sockets_and_files(tmp_path):
    if not _strace_works():
        pytest.skip("strace is not installed, or may not trace here")
    code = "import os, socket; socket.socket(); open('a', 'w').close(); os.rename('a', 'c')"
    command = [*_strace(tmp_path / "trace"), sys.executable, "-B", "-c", code]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    lines = (tmp_path / "trace").read_text().splitlines()
    assert [line for line in _network_calls(lines) if "socket(AF_INET" in line]
    assert _written(lines, tmp_path, ()) == [tmp_path / "a", tmp_path / "a", tmp_path / "c"]


@pytest.mark.skipif("onnx" not in available_backends(), reason="ONNX Runtime is not installed")
def test_telemetry_is_off_in_library_use_too(tmp_path):
    code = "import fer_edge; fer_edge.load_classifier(backend='onnx')"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "0"}
    environment |= {
        name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
    assert list(tmp_path.rglob("*")) == []


def test_onnxruntime_is_imported_in_one_place():
    folders = (Path(fer_edge.__file__).parent, REPOSITORY / "train", REPOSITORY / "export")
    importers = {
        path.name
        for folder in folders
        for path in folder.rglob("*.py")
        if re.search(r"(import|from) onnxruntime|import_module\(\W*onnxruntime", path.read_text())
    }
    assert importers == {"backends.py"}
